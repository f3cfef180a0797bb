// Refusals: each reason with its code, text and details.

package suite

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestErrors(t *testing.T) {
	g := begin(t)
	g.check("the whole of a status", func(c *Case) {
		got := c.ask("GET", c.maps("/none"), "")
		c.eq("code", got.code, 404)
		c.eq("body", string(got.body), `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"configmaps \"none\" not found","reason":"NotFound","details":{"name":"none","kind":"configmaps"},"code":404}`+"\n")
	})
	g.check("not found in a group", func(c *Case) {
		_, err := typed.AppsV1().Deployments(c.ns).Get(c.ctx, "none", metav1.GetOptions{})
		status := c.refused(err, metav1.StatusReasonNotFound, 404, `deployments.apps "none" not found`)
		c.eq("details", fmt.Sprintf("%s %s %s", status.Details.Name, status.Details.Group, status.Details.Kind), "none apps deployments")
	})
	g.check("in protobuf, too", func(c *Case) {
		got := c.ask("GET", c.maps("/none"), "", "Accept: "+protobuf)
		c.eq("code", got.code, 404)
		c.eq("type", got.header.Get("Content-Type"), protobuf)
	})
	g.check("a path that is not there", func(c *Case) {
		got := c.ask("GET", "/nothing/here", "")
		c.eq("code", got.code, 404)
		got = c.ask("GET", "/apis/none.example/v1/things", "")
		c.eq("code", got.code, 404)
		got = c.ask("GET", "/api/v1/nothings", "")
		c.eq("code", got.code, 404)
	})
	g.check("a method that is none", func(c *Case) {
		c.put("a")
		got := c.ask("POST", c.maps("/a"), "{}")
		c.eq("code", got.code, 405)
		c.eq("reason", got.at("reason"), any("MethodNotAllowed"))
	})
	g.check("already exists", func(c *Case) {
		_, err := typed.CoreV1().Namespaces().Create(c.ctx, &corev1.Namespace{ObjectMeta: named("default")}, metav1.CreateOptions{})
		status := c.refused(err, metav1.StatusReasonAlreadyExists, 409, `namespaces "default" already exists`)
		c.eq("details", status.Details.Name+" "+status.Details.Kind, "default namespaces")
	})
	g.check("invalid, with its causes", func(c *Case) {
		_, err := typed.CoreV1().Pods(c.ns).Create(c.ctx, &corev1.Pod{ObjectMeta: named("p"), Spec: corev1.PodSpec{
			RestartPolicy: "Sometimes", Containers: []corev1.Container{{Name: "C", Image: "i"}, {Name: "d"}},
		}}, metav1.CreateOptions{})
		status := c.refused(err, metav1.StatusReasonInvalid, 422, "")
		c.eq("kind", status.Details.Kind+" "+status.Details.Name, "Pod p")
		causes := map[string]metav1.CauseType{}
		for _, cause := range status.Details.Causes {
			causes[cause.Field] = cause.Type
		}
		c.eq("causes", causes, map[string]metav1.CauseType{
			"spec.containers[0].name": metav1.CauseTypeFieldValueInvalid, "spec.containers[1].image": metav1.CauseTypeFieldValueRequired,
			"spec.restartPolicy": metav1.CauseTypeFieldValueNotSupported,
		})
	})
	g.check("invalid in several ways", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"k": "a b"}}, Data: map[string]string{"a/b": "c"}}, metav1.CreateOptions{})
		status := c.refused(err, metav1.StatusReasonInvalid, 422, "")
		c.that(strings.HasPrefix(status.Message, `ConfigMap "a" is invalid: [metadata.labels: Invalid value: "a b": `), "%s", status.Message)
		c.eq("causes", len(status.Details.Causes), 2)
	})
	for _, bad := range []struct {
		name, text string
		pod        corev1.PodSpec
	}{
		{"no containers", "spec.containers: Required value", corev1.PodSpec{}},
		{"a name twice", `spec.containers[1].name: Duplicate value: "c"`, corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}, {Name: "c", Image: "i"}}}},
		{"a port twice", `spec.containers[0].ports[1].name: Duplicate value: "p"`, corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Ports: []corev1.ContainerPort{{Name: "p", ContainerPort: 1}, {Name: "p", ContainerPort: 2}}}}}},
		{"a volume that is not there", `spec.containers[0].volumeMounts[0].name: Not found: "v"`, corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}}}}},
		{"a policy of dns that is none", `spec.dnsPolicy: Unsupported value: "Some": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"`, corev1.PodSpec{DNSPolicy: "Some", Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
		{"a name of an environment", `spec.containers[0].env[0].name: Required value`, corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Env: []corev1.EnvVar{{Value: "v"}}}}}},
	} {
		g.check("a pod with "+bad.name, func(c *Case) {
			c.account()
			_, err := typed.CoreV1().Pods(c.ns).Create(c.ctx, &corev1.Pod{ObjectMeta: named("p"), Spec: bad.pod}, metav1.CreateOptions{})
			c.refused(err, metav1.StatusReasonInvalid, 422, `Pod "p" is invalid: `+bad.text)
		})
	}
	g.check("what of a deployment cannot change", func(c *Case) {
		_, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, workload("w", 0), metav1.CreateOptions{})
		c.ok(err)
		got := c.ask("PATCH", "/apis/apps/v1/namespaces/"+c.ns+"/deployments/w", `{"spec":{"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}}}}}`, "Content-Type: application/merge-patch+json")
		c.eq("code", got.code, 422)
		c.eq("message", got.at("message"), any(`Deployment.apps "w" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable`))
	})
	g.check("forbidden", func(c *Case) {
		_, err := c.client(as("nobody")).AppsV1().Deployments(c.ns).Get(c.ctx, "d", metav1.GetOptions{})
		status := c.refused(err, metav1.StatusReasonForbidden, 403, `deployments.apps "d" is forbidden: User "nobody" cannot get resource "deployments" in API group "apps" in the namespace "`+c.ns+`"`)
		c.eq("details", fmt.Sprintf("%s %s %s", status.Details.Name, status.Details.Group, status.Details.Kind), "d apps deployments")
	})
	g.check("unauthorized", func(c *Case) {
		_, err := c.client(withToken("nonsense")).CoreV1().Pods(c.ns).List(c.ctx, metav1.ListOptions{})
		c.refused(err, metav1.StatusReasonUnauthorized, 401, "Unauthorized")
	})
	g.check("a body that is too large", func(c *Case) {
		got := c.ask("POST", c.maps(), `{"metadata":{"name":"a"},"data":{"k":"`+strings.Repeat("x", 4<<20)+`"}}`)
		c.eq("code", got.code, 413)
		c.eq("reason", got.at("reason"), any("RequestEntityTooLarge"))
	})
	g.check("a configmap that is too large", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("a"), Data: map[string]string{"k": strings.Repeat("x", 1<<20+1)}}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, `ConfigMap "a" is invalid: []: Too long: may not be more than 1048576 bytes`)
	})
	g.check("an empty body", func(c *Case) {
		got := c.ask("POST", c.maps(), "")
		c.eq("code", got.code, 400)
	})
	g.check("a wrong type", func(c *Case) {
		got := c.ask("POST", c.maps(), `{"metadata":{"name":"a"},"data":{"k":1}}`)
		c.eq("code", got.code, 400)
		c.eq("message", got.at("message"), any(`ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string`))
	})
	g.check("a version that is not there", func(c *Case) {
		got := c.ask("POST", c.maps(), `{"apiVersion":"v9","kind":"ConfigMap","metadata":{"name":"a"}}`)
		c.eq("code", got.code, 400)
		message, _ := got.at("message").(string)
		c.that(strings.HasPrefix(message, `ConfigMap in version "v9" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v9"`), "%s", message)
	})
	g.check("a role without verbs", func(c *Case) {
		_, err := typed.RbacV1().Roles(c.ns).Create(c.ctx, &rbacv1.Role{ObjectMeta: named("r"), Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}}}}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, `Role.rbac.authorization.k8s.io "r" is invalid: rules[0].verbs: Required value: verbs must contain at least one value`)
	})
	g.check("namespaces that stay", func(c *Case) {
		for _, name := range []string{"default", "kube-system"} {
			err := typed.CoreV1().Namespaces().Delete(c.ctx, name, metav1.DeleteOptions{DryRun: []string{"All"}})
			c.refused(err, metav1.StatusReasonForbidden, 403, `namespaces "`+name+`" is forbidden: this namespace may not be deleted`)
		}
	})
	g.check("an id for each answer", func(c *Case) {
		one, other := c.ask("GET", c.maps(), ""), c.ask("GET", c.maps(), "")
		c.that(one.header.Get("Audit-Id") != "" && one.header.Get("Audit-Id") != other.header.Get("Audit-Id"), "%v", one.header)
		c.eq("cache", one.header.Get("Cache-Control"), "no-cache, private")
	})
}
