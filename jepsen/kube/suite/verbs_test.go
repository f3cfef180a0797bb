// Create, update and delete, with all that decides about them.

package suite

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

const (
	modified = "the object has been modified; please apply your changes to the latest version and try again"
	strict   = "?fieldValidation=Strict"
)

// workload is a deployment of pods that no scheduler takes.
func workload(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{ObjectMeta: named(name), Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{SchedulerName: "nobody", Containers: []corev1.Container{{Name: "c", Image: "image"}}},
		},
	}}
}

func TestCreate(t *testing.T) {
	g := begin(t)
	g.check("sets what is the server's to set", func(c *Case) {
		made, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: "a", UID: "mine", CreationTimestamp: metav1.Unix(1, 0), Generation: 7, SelfLink: "/mine",
		}}, metav1.CreateOptions{})
		c.ok(err)
		c.that(regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(string(made.UID)), "uid %s", made.UID)
		c.that(time.Since(made.CreationTimestamp.Time).Abs() < time.Minute, "time %v", made.CreationTimestamp)
		c.that(made.ResourceVersion != "" && made.ResourceVersion != "0", "version %q", made.ResourceVersion)
		c.eq("namespace", made.Namespace, c.ns)
		c.eq("selfLink", made.SelfLink, "")
	})
	g.check("makes names from a stem", func(c *Case) {
		seen := map[string]bool{}
		for range 5 {
			made, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "stem-"}}, metav1.CreateOptions{})
			c.ok(err)
			c.that(regexp.MustCompile(`^stem-[bcdfghjklmnpqrstvwxz2456789]{5}$`).MatchString(made.Name), "name %q", made.Name)
			c.that(!seen[made.Name], "%s twice", made.Name)
			seen[made.Name] = true
		}
	})
	g.check("cuts a stem that is too long", func(c *Case) {
		made, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: fmt.Sprintf("%070d-", 0)}}, metav1.CreateOptions{})
		c.ok(err)
		c.eq("length", len(made.Name), 63)
	})
	g.check("takes a name before a stem", func(c *Case) {
		made, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "name", GenerateName: "stem-"}}, metav1.CreateOptions{})
		c.ok(err)
		c.eq("name", made.Name, "name")
	})
	g.check("answers 201 and the object", func(c *Case) {
		got := c.ask("POST", c.maps(), `{"metadata":{"name":"a"}}`)
		c.eq("code", got.code, 201)
		c.eq("kind", got.at("kind"), any("ConfigMap"))
		c.eq("version", got.at("apiVersion"), any("v1"))
	})
	g.check("of what is there", func(c *Case) {
		c.put("a")
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("a")}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonAlreadyExists, 409, `configmaps "a" already exists`)
	})
	g.check("in a namespace that is not there", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps("none-"+run).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("a")}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonNotFound, 404, fmt.Sprintf(`namespaces "none-%s" not found`, run))
	})
	g.check("in another namespace than the path says", func(c *Case) {
		got := c.ask("POST", c.maps(), `{"metadata":{"name":"a","namespace":"other"}}`)
		c.eq("code", got.code, 400)
		c.eq("message", got.at("message"), any("the namespace of the provided object does not match the namespace sent on the request"))
	})
	g.check("in a namespace that is going", func(c *Case) {
		held, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}, metav1.CreateOptions{})
		c.ok(err)
		c.ok(typed.CoreV1().Namespaces().Delete(c.ctx, c.ns, metav1.DeleteOptions{}))
		_, err = typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("a")}, metav1.CreateOptions{})
		status := c.refused(err, metav1.StatusReasonForbidden, 403, fmt.Sprintf(`configmaps "a" is forbidden: unable to create new content in namespace %s because it is being terminated`, c.ns))
		c.eq("cause", status.Details.Causes[0].Type, corev1.NamespaceTerminatingCause)
		_, err = typed.CoreV1().ConfigMaps(c.ns).Patch(c.ctx, held.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		c.ok(err)
		c.until("the namespace is gone", func() bool {
			_, err := typed.CoreV1().Namespaces().Get(c.ctx, c.ns, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
	})
	g.check("as a dry run leaves nothing", func(c *Case) {
		made, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("a")}, metav1.CreateOptions{DryRun: []string{"All"}})
		c.ok(err)
		c.that(made.UID != "", "no uid")
		_, err = typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.refused(err, metav1.StatusReasonNotFound, 404, `configmaps "a" not found`)
	})
	g.check("with a dry run that is none", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("a")}, metav1.CreateOptions{DryRun: []string{"Some"}})
		c.refused(err, metav1.StatusReasonInvalid, 422, `CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"`)
	})
	g.check("leaves a status that clients send aside", func(c *Case) {
		object := workload("w", 0)
		object.Status.Replicas = 9
		made, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, object, metav1.CreateOptions{})
		c.ok(err)
		c.eq("replicas", made.Status.Replicas, int32(0))
		c.eq("generation", made.Generation, int64(1))
	})
	g.check("fills in defaults", func(c *Case) {
		made, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, workload("w", 0), metav1.CreateOptions{})
		c.ok(err)
		spec := made.Spec.Template.Spec
		c.eq("strategy", made.Spec.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
		c.eq("surge", made.Spec.Strategy.RollingUpdate.MaxSurge.String(), "25%")
		c.eq("history", *made.Spec.RevisionHistoryLimit, int32(10))
		c.eq("restart", spec.RestartPolicy, corev1.RestartPolicyAlways)
		c.eq("dns", spec.DNSPolicy, corev1.DNSClusterFirst)
		c.eq("grace", *spec.TerminationGracePeriodSeconds, int64(30))
		c.eq("pull", spec.Containers[0].ImagePullPolicy, corev1.PullAlways)
		c.eq("message path", spec.Containers[0].TerminationMessagePath, "/dev/termination-log")
		c.that(spec.SecurityContext != nil, "no security context")
	})
	g.check("notes who set which fields", func(c *Case) {
		made, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("a"), Data: map[string]string{"k": "v"}}, metav1.CreateOptions{FieldManager: "me"})
		c.ok(err)
		c.eq("entries", len(made.ManagedFields), 1)
		c.eq("manager", made.ManagedFields[0].Manager, "me")
		c.eq("operation", made.ManagedFields[0].Operation, metav1.ManagedFieldsOperationUpdate)
		c.eq("fields", string(made.ManagedFields[0].FieldsV1.Raw), `{"f:data":{".":{},"f:k":{}}}`)
	})
	g.check("strict about fields", func(c *Case) {
		got := c.ask("POST", c.maps(strict), `{"metadata":{"name":"a","nope":1},"data":{"a":"1","a":"2"},"more":{}}`)
		c.eq("code", got.code, 400)
		c.eq("message", got.at("message"), any(`ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "metadata.nope", duplicate field "data.a", unknown field "more"`))
	})
	g.check("warns about fields", func(c *Case) {
		got := c.ask("POST", c.maps("?fieldValidation=Warn"), `{"metadata":{"name":"a","nope":1},"data":{"a":"1","a":"2"}}`)
		c.eq("code", got.code, 201)
		c.eq("warnings", got.header.Values("Warning"), []string{`299 - "unknown field \"metadata.nope\""`, `299 - "duplicate field \"data.a\""`})
		c.eq("the last one counts", got.at("data", "a"), any("2"))
	})
	g.check("lets fields pass when asked to", func(c *Case) {
		got := c.ask("POST", c.maps("?fieldValidation=Ignore"), `{"metadata":{"name":"a"},"nope":1}`)
		c.eq("code", got.code, 201)
		c.eq("warnings", len(got.header.Values("Warning")), 0)
	})
	g.check("a field validation that is none", func(c *Case) {
		got := c.ask("POST", c.maps("?fieldValidation=Maybe"), `{"metadata":{"name":"a"}}`)
		c.eq("code", got.code, 422)
	})
	g.check("of yaml", func(c *Case) {
		got := c.ask("POST", c.maps(strict), "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n", "Content-Type: application/yaml")
		c.eq("code", got.code, 201)
		c.eq("data", got.at("data", "k"), any("v"))
	})
	g.check("of another kind than the path's", func(c *Case) {
		got := c.ask("POST", c.maps(), `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}`)
		c.eq("code", got.code, 400)
		c.eq("message", got.at("message"), any(`Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion`))
	})
}

func TestUpdate(t *testing.T) {
	g := begin(t)
	g.check("of an older version is a conflict", func(c *Case) {
		old := c.put("a")
		c.set("a", "1")
		old.Data["n"] = "2"
		_, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, old, metav1.UpdateOptions{})
		status := c.refused(err, metav1.StatusReasonConflict, 409, `Operation cannot be fulfilled on configmaps "a": `+modified)
		c.eq("details", status.Details.Name+" "+status.Details.Kind, "a configmaps")
	})
	g.check("without a version is unconditional", func(c *Case) {
		made := c.put("a")
		c.set("a", "1")
		made.ResourceVersion, made.Data["n"] = "", "2"
		changed, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, made, metav1.UpdateOptions{})
		c.ok(err)
		c.eq("value", changed.Data["n"], "2")
	})
	g.check("of a lease needs a version", func(c *Case) {
		made, err := typed.CoordinationV1().Leases(c.ns).Create(c.ctx, &coordinationv1.Lease{ObjectMeta: named("l")}, metav1.CreateOptions{})
		c.ok(err)
		made.ResourceVersion = ""
		_, err = typed.CoordinationV1().Leases(c.ns).Update(c.ctx, made, metav1.UpdateOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, `leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update`)
	})
	g.check("of a lease may create it", func(c *Case) {
		got := c.ask("PUT", "/apis/coordination.k8s.io/v1/namespaces/"+c.ns+"/leases/l", `{"metadata":{"name":"l"},"spec":{}}`)
		c.eq("code", got.code, 201)
	})
	g.check("of what is not there", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, &corev1.ConfigMap{ObjectMeta: named("none")}, metav1.UpdateOptions{})
		c.refused(err, metav1.StatusReasonNotFound, 404, `configmaps "none" not found`)
	})
	g.check("with the uid of another", func(c *Case) {
		made := c.put("a")
		uid := made.UID
		made.UID = "00000000-0000-4000-8000-000000000000"
		_, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, made, metav1.UpdateOptions{})
		c.refused(err, metav1.StatusReasonConflict, 409, fmt.Sprintf(`Operation cannot be fulfilled on configmaps "a": StorageError: invalid object, Code: 4, Key: /registry/configmaps/%s/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %s, UID in object meta: %s`, c.ns, made.UID, uid))
	})
	g.check("under another name than the path's", func(c *Case) {
		c.put("a")
		got := c.ask("PUT", c.maps("/a"), `{"metadata":{"name":"b"}}`)
		c.eq("code", got.code, 400)
		c.eq("message", got.at("message"), any("the name of the object (b) does not match the name on the URL (a)"))
	})
	g.check("keeps what is the server's", func(c *Case) {
		made := c.put("a")
		changed := made.DeepCopy()
		changed.CreationTimestamp, changed.Generation, changed.Data["n"] = metav1.Unix(1, 0), 9, "1"
		changed, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, changed, metav1.UpdateOptions{})
		c.ok(err)
		c.eq("time", changed.CreationTimestamp, made.CreationTimestamp)
		c.eq("uid", changed.UID, made.UID)
		c.eq("generation", changed.Generation, made.Generation)
	})
	g.check("counts generations by the spec", func(c *Case) {
		made, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, workload("w", 0), metav1.CreateOptions{})
		c.ok(err)
		change := func(patch string) int64 {
			changed, err := typed.AppsV1().Deployments(c.ns).Patch(c.ctx, made.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			c.ok(err)
			return changed.Generation
		}
		c.eq("a label", change(`{"metadata":{"labels":{"a":"b"}}}`), int64(1))
		c.eq("the spec", change(`{"spec":{"minReadySeconds":1}}`), int64(2))
		c.eq("the same again", change(`{"spec":{"minReadySeconds":1}}`), int64(2))
	})
	g.check("leaves the status alone", func(c *Case) {
		made, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, workload("w", 0), metav1.CreateOptions{})
		c.ok(err)
		c.ok(retry.RetryOnConflict(retry.DefaultRetry, func() error {
			current, err := typed.AppsV1().Deployments(c.ns).Get(c.ctx, made.Name, metav1.GetOptions{})
			c.ok(err)
			current.Status.Replicas = 5
			changed, err := typed.AppsV1().Deployments(c.ns).Update(c.ctx, current, metav1.UpdateOptions{})
			if err == nil {
				c.eq("replicas", changed.Status.Replicas, int32(0))
			}
			return err
		}))
	})
	g.check("as a dry run changes nothing", func(c *Case) {
		made := c.put("a")
		made.Data["n"] = "1"
		answer, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, made, metav1.UpdateOptions{DryRun: []string{"All"}})
		c.ok(err)
		c.eq("answer", answer.Data["n"], "1")
		stored, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.ok(err)
		c.eq("stored", stored.Data["n"], "0")
	})
	g.check("by many at once loses nothing", func(c *Case) {
		c.put("a")
		done := make(chan error)
		for range 8 {
			go func() {
				done <- retry.OnError(retry.DefaultBackoff, func(err error) bool { return true }, func() error {
					return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
						object, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
						if err != nil {
							return err
						}
						object.Data["n"] += "x"
						_, err = typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, object, metav1.UpdateOptions{})
						return err
					})
				})
			}()
		}
		written := 1
		for range 8 {
			if <-done == nil {
				written++
			}
		}
		object, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.ok(err)
		c.eq("length", len(object.Data["n"]), written)
	})
	g.check("of what is immutable", func(c *Case) {
		_, err := typed.CoreV1().Secrets(c.ns).Create(c.ctx, &corev1.Secret{ObjectMeta: named("s"), Immutable: pointer(true), Data: map[string][]byte{"k": []byte("v")}}, metav1.CreateOptions{})
		c.ok(err)
		_, err = typed.CoreV1().Secrets(c.ns).Patch(c.ctx, "s", types.MergePatchType, []byte(`{"data":{"k":"dw=="}}`), metav1.PatchOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, "Secret \"s\" is invalid: data: Forbidden: field is immutable when `immutable` is set")
	})
	g.check("of a type of secret", func(c *Case) {
		made, err := typed.CoreV1().Secrets(c.ns).Create(c.ctx, &corev1.Secret{ObjectMeta: named("s")}, metav1.CreateOptions{})
		c.ok(err)
		c.eq("default", made.Type, corev1.SecretTypeOpaque)
		made.Type = "example.com/other"
		_, err = typed.CoreV1().Secrets(c.ns).Update(c.ctx, made, metav1.UpdateOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, `Secret "s" is invalid: type: Invalid value: "example.com/other": field is immutable`)
	})
}

func TestDelete(t *testing.T) {
	g := begin(t)
	g.check("answers a status with the uid", func(c *Case) {
		made := c.put("a")
		got := c.ask("DELETE", c.maps("/a"), "")
		c.eq("code", got.code, 200)
		c.eq("status", got.at("status"), any("Success"))
		c.eq("details", got.at("details"), any(map[string]any{"name": "a", "kind": "configmaps", "uid": string(made.UID)}))
	})
	g.check("of what is not there", func(c *Case) {
		err := typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "none", metav1.DeleteOptions{})
		c.refused(err, metav1.StatusReasonNotFound, 404, `configmaps "none" not found`)
	})
	g.check("with the right preconditions", func(c *Case) {
		made := c.put("a")
		c.ok(typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID, ResourceVersion: &made.ResourceVersion}}))
	})
	g.check("with the uid of another", func(c *Case) {
		made := c.put("a")
		other := types.UID("00000000-0000-4000-8000-000000000000")
		err := typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
		c.refused(err, metav1.StatusReasonConflict, 409, fmt.Sprintf(`Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated`, other, made.UID))
	})
	g.check("of an older version", func(c *Case) {
		made := c.put("a")
		now := c.set("a", "1").ResourceVersion
		err := typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &made.ResourceVersion}})
		c.refused(err, metav1.StatusReasonConflict, 409, fmt.Sprintf(`Operation cannot be fulfilled on ConfigMap "a": the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified`, made.ResourceVersion, now))
	})
	g.check("as a dry run deletes nothing", func(c *Case) {
		c.put("a")
		c.ok(typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "a", metav1.DeleteOptions{DryRun: []string{"All"}}))
		_, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.ok(err)
	})
	g.check("waits for finalizers", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Finalizers: []string{"example.com/hold"}}}, metav1.CreateOptions{})
		c.ok(err)
		got := c.ask("DELETE", c.maps("/a"), "")
		c.eq("code", got.code, 200)
		c.eq("kind", got.at("kind"), any("ConfigMap"))
		c.that(got.at("metadata", "deletionTimestamp") != nil, "no deletionTimestamp")
		c.eq("grace", got.at("metadata", "deletionGracePeriodSeconds"), any(0.0))
		changed, err := typed.CoreV1().ConfigMaps(c.ns).Patch(c.ctx, "a", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		c.ok(err)
		c.eq("the last answer", changed.Name, "a")
		_, err = typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.refused(err, metav1.StatusReasonNotFound, 404, "")
	})
	g.check("a finalizer comes too late", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Finalizers: []string{"example.com/hold"}}}, metav1.CreateOptions{})
		c.ok(err)
		c.ok(typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "a", metav1.DeleteOptions{}))
		_, err = typed.CoreV1().ConfigMaps(c.ns).Patch(c.ctx, "a", types.MergePatchType, []byte(`{"metadata":{"finalizers":["example.com/hold","example.com/new"]}}`), metav1.PatchOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, `ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/new"}`)
		_, err = typed.CoreV1().ConfigMaps(c.ns).Patch(c.ctx, "a", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		c.ok(err)
	})
	g.check("of a pod that nobody runs is at once", func(c *Case) {
		c.idle("p")
		c.ok(typed.CoreV1().Pods(c.ns).Delete(c.ctx, "p", metav1.DeleteOptions{}))
		_, err := typed.CoreV1().Pods(c.ns).Get(c.ctx, "p", metav1.GetOptions{})
		c.refused(err, metav1.StatusReasonNotFound, 404, `pods "p" not found`)
	})
	g.check("of many by a selector", func(c *Case) {
		c.put("a", "k", "1")
		c.put("b", "k", "1")
		c.put("c", "k", "2")
		c.ok(typed.CoreV1().ConfigMaps(c.ns).DeleteCollection(c.ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "k=1"}))
		left, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{LabelSelector: "k"})
		c.ok(err)
		c.eq("left", len(left.Items), 1)
		c.eq("is", left.Items[0].Name, "c")
	})
	g.check("of many answers the list", func(c *Case) {
		c.put("a", "k", "1")
		got := c.ask("DELETE", c.maps("?labelSelector=k%3D1"), "")
		c.eq("code", got.code, 200)
		c.eq("kind", got.at("kind"), any("ConfigMapList"))
		c.eq("name", got.at("items", 0, "metadata", "name"), any("a"))
	})
	g.check("of none answers, too", func(c *Case) {
		got := c.ask("DELETE", c.maps("?labelSelector=k%3D1"), "")
		c.eq("code", got.code, 200)
		c.that(got.at("kind") == "ConfigMapList" || got.at("kind") == "Status", "kind %v", got.at("kind"))
	})
	g.check("of all namespaces at once is no method", func(c *Case) {
		got := c.ask("DELETE", "/api/v1/namespaces", "")
		c.eq("code", got.code, 405)
		c.eq("reason", got.at("reason"), any("MethodNotAllowed"))
	})
	g.check("with a propagation that is none", func(c *Case) {
		c.put("a")
		err := typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "a", metav1.DeleteOptions{PropagationPolicy: pointer(metav1.DeletionPropagation("Sideways"))})
		c.refused(err, metav1.StatusReasonInvalid, 422, "")
	})
}

func TestPropagation(t *testing.T) {
	g := begin(t)
	// owned makes an owner and a configmap that it owns.
	owned := func(c *Case, block bool) *corev1.ConfigMap {
		owner := c.put("owner")
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "child", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: owner.UID, BlockOwnerDeletion: &block,
		}}}}, metav1.CreateOptions{})
		c.ok(err)
		return owner
	}
	gone := func(c *Case, name string) func() bool {
		return func() bool {
			_, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}
	}
	g.check("in the background what is owned follows", func(c *Case) {
		owned(c, false)
		c.ok(typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "owner", metav1.DeleteOptions{PropagationPolicy: pointer(metav1.DeletePropagationBackground)}))
		c.that(gone(c, "owner")(), "the owner is still there")
		c.until("the child is gone", gone(c, "child"))
	})
	g.check("in the foreground it goes first", func(c *Case) {
		owned(c, true)
		from := c.put("mark").ResourceVersion
		w := c.follow(metav1.ListOptions{ResourceVersion: from})
		c.ok(typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "owner", metav1.DeleteOptions{PropagationPolicy: pointer(metav1.DeletePropagationForeground)}))
		order := []string{}
		for len(order) < 2 {
			if event := told(c.next(w)); event == "DELETED owner" || event == "DELETED child" {
				order = append(order, event)
			}
		}
		c.eq("order", order, []string{"DELETED child", "DELETED owner"})
	})
	g.check("orphans stay", func(c *Case) {
		owned(c, false)
		c.ok(typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, "owner", metav1.DeleteOptions{PropagationPolicy: pointer(metav1.DeletePropagationOrphan)}))
		c.until("the owner is gone", gone(c, "owner"))
		child, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "child", metav1.GetOptions{})
		c.ok(err)
		c.eq("owners", len(child.OwnerReferences), 0)
	})
	g.check("what names an owner that never was goes", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "child", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: "none", UID: "00000000-0000-4000-8000-000000000000",
		}}}}, metav1.CreateOptions{})
		c.ok(err)
		c.until("the child is gone", gone(c, "child"))
	})
	g.check("an owner must be whole", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "child", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: "owner",
		}}}}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, `ConfigMap "child" is invalid: metadata.ownerReferences.uid: Invalid value: "": must not be empty`)
	})
	g.check("a namespace goes with all in it", func(c *Case) {
		c.put("a")
		c.idle("p")
		c.ok(typed.CoreV1().Namespaces().Delete(c.ctx, c.ns, metav1.DeleteOptions{}))
		c.until("the namespace is gone", func() bool {
			_, err := typed.CoreV1().Namespaces().Get(c.ctx, c.ns, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
		c.that(gone(c, "a")(), "the configmap is still there")
	})
}
