// Subresources: status, scale, eviction, binding, finalize.

package suite

import (
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestStatus(t *testing.T) {
	g := begin(t)
	g.check("takes the status and leaves the spec", func(c *Case) {
		pod := c.idle("p")
		pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, "10.9.8.7"
		pod.Spec.Containers[0].Image = "other"
		changed, err := typed.CoreV1().Pods(c.ns).UpdateStatus(c.ctx, pod, metav1.UpdateOptions{})
		c.ok(err)
		c.eq("phase", changed.Status.Phase, corev1.PodRunning)
		c.eq("ip", changed.Status.PodIP, "10.9.8.7")
		c.eq("image", changed.Spec.Containers[0].Image, "image")
	})
	g.check("by a patch", func(c *Case) {
		c.idle("p")
		changed, err := typed.CoreV1().Pods(c.ns).Patch(c.ctx, "p", types.StrategicMergePatchType, []byte(`{"status":{"conditions":[{"type":"Mine","status":"True"}]}}`), metav1.PatchOptions{}, "status")
		c.ok(err)
		c.eq("condition", changed.Status.Conditions[len(changed.Status.Conditions)-1].Type, corev1.PodConditionType("Mine"))
	})
	g.check("the other door leaves it", func(c *Case) {
		c.idle("p")
		changed, err := typed.CoreV1().Pods(c.ns).Patch(c.ctx, "p", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}},"status":{"phase":"Failed"}}`), metav1.PatchOptions{})
		c.ok(err)
		c.eq("phase", changed.Status.Phase, corev1.PodPending)
		c.eq("label", changed.Labels["a"], "b")
	})
	g.check("is read like the whole", func(c *Case) {
		c.idle("p")
		got := c.ask("GET", "/api/v1/namespaces/"+c.ns+"/pods/p/status", "")
		c.eq("kind", got.at("kind"), any("Pod"))
		c.eq("phase", got.at("status", "phase"), any("Pending"))
	})
	g.check("keeps annotations that come with it", func(c *Case) {
		_, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, workload("w", 0), metav1.CreateOptions{})
		c.ok(err)
		changed, err := typed.AppsV1().Deployments(c.ns).Patch(c.ctx, "w", types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), metav1.PatchOptions{}, "status")
		c.ok(err)
		c.eq("annotation", changed.Annotations["a"], "b")
	})
	g.check("of a namespace", func(c *Case) {
		got := c.ask("GET", "/api/v1/namespaces/"+c.ns+"/status", "")
		c.eq("phase", got.at("status", "phase"), any("Active"))
	})
	g.check("of what has none", func(c *Case) {
		c.put("a")
		c.eq("code", c.ask("GET", c.maps("/a/status"), "").code, 404)
	})
}

func TestScale(t *testing.T) {
	g := begin(t)
	made := func(c *Case) {
		_, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, workload("w", 2), metav1.CreateOptions{})
		c.ok(err)
	}
	g.check("is read", func(c *Case) {
		made(c)
		scale, err := typed.AppsV1().Deployments(c.ns).GetScale(c.ctx, "w", metav1.GetOptions{})
		c.ok(err)
		c.eq("replicas", scale.Spec.Replicas, int32(2))
		c.eq("selector", scale.Status.Selector, "app=w")
		got := c.ask("GET", "/apis/apps/v1/namespaces/"+c.ns+"/deployments/w/scale", "")
		c.eq("kind", got.at("kind"), any("Scale"))
		c.eq("version", got.at("apiVersion"), any("autoscaling/v1"))
	})
	g.check("is written", func(c *Case) {
		made(c)
		scale, err := typed.AppsV1().Deployments(c.ns).UpdateScale(c.ctx, "w", &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "w", Namespace: c.ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 5}}, metav1.UpdateOptions{})
		c.ok(err)
		c.eq("replicas", scale.Spec.Replicas, int32(5))
		object, err := typed.AppsV1().Deployments(c.ns).Get(c.ctx, "w", metav1.GetOptions{})
		c.ok(err)
		c.eq("spec", *object.Spec.Replicas, int32(5))
		c.eq("generation", object.Generation, int64(2))
	})
	g.check("is patched", func(c *Case) {
		made(c)
		_, err := typed.AppsV1().Deployments(c.ns).Patch(c.ctx, "w", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}, "scale")
		c.ok(err)
		scale, err := typed.AppsV1().Deployments(c.ns).GetScale(c.ctx, "w", metav1.GetOptions{})
		c.ok(err)
		c.eq("replicas", scale.Spec.Replicas, int32(0))
	})
	g.check("of an older version", func(c *Case) {
		made(c)
		scale, err := typed.AppsV1().Deployments(c.ns).GetScale(c.ctx, "w", metav1.GetOptions{})
		c.ok(err)
		scale.ResourceVersion = "1"
		_, err = typed.AppsV1().Deployments(c.ns).UpdateScale(c.ctx, "w", scale, metav1.UpdateOptions{})
		c.refused(err, metav1.StatusReasonConflict, 409, `Operation cannot be fulfilled on deployments.apps "w": `+modified)
	})
	g.check("below nothing", func(c *Case) {
		made(c)
		_, err := typed.AppsV1().Deployments(c.ns).UpdateScale(c.ctx, "w", &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "w", Namespace: c.ns}, Spec: autoscalingv1.ScaleSpec{Replicas: -1}}, metav1.UpdateOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, `Scale.autoscaling "w" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0`)
	})
	g.check("of a replicaset", func(c *Case) {
		made(c)
		c.until("its replicaset", func() bool {
			list, err := typed.AppsV1().ReplicaSets(c.ns).List(c.ctx, metav1.ListOptions{})
			c.ok(err)
			if len(list.Items) == 0 {
				return false
			}
			scale, err := typed.AppsV1().ReplicaSets(c.ns).GetScale(c.ctx, list.Items[0].Name, metav1.GetOptions{})
			c.ok(err)
			return scale.Spec.Replicas == 2
		})
	})
}

func TestBinding(t *testing.T) {
	g := begin(t)
	bind := func(c *Case, pod, node string) error {
		return typed.CoreV1().Pods(c.ns).Bind(c.ctx, &corev1.Binding{ObjectMeta: named(pod), Target: corev1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{})
	}
	g.check("puts a pod on a node", func(c *Case) {
		c.idle("p")
		c.ok(bind(c, "p", "node-of-nobody"))
		pod, err := typed.CoreV1().Pods(c.ns).Get(c.ctx, "p", metav1.GetOptions{})
		c.ok(err)
		c.eq("node", pod.Spec.NodeName, "node-of-nobody")
		c.eq("condition", string(pod.Status.Conditions[0].Type)+string(pod.Status.Conditions[0].Status), "PodScheduledTrue")
	})
	g.check("once", func(c *Case) {
		c.idle("p")
		c.ok(bind(c, "p", "node-of-nobody"))
		c.refused(bind(c, "p", "other"), metav1.StatusReasonConflict, 409, `Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "node-of-nobody"`)
	})
	g.check("of a pod that is not there", func(c *Case) {
		c.refused(bind(c, "none", "node"), metav1.StatusReasonNotFound, 404, `pods "none" not found`)
	})
	g.check("by the old path", func(c *Case) {
		c.idle("p")
		got := c.ask("POST", "/api/v1/namespaces/"+c.ns+"/bindings", `{"metadata":{"name":"p"},"target":{"kind":"Node","name":"node-of-nobody"}}`)
		c.eq("code", got.code, 201)
		pod, err := typed.CoreV1().Pods(c.ns).Get(c.ctx, "p", metav1.GetOptions{})
		c.ok(err)
		c.eq("node", pod.Spec.NodeName, "node-of-nobody")
	})
	g.check("to no node", func(c *Case) {
		c.idle("p")
		c.refused(bind(c, "p", ""), metav1.StatusReasonUnknown, 500, "target.name: Required value")
	})
	g.check("answers 201 and a status", func(c *Case) {
		c.idle("p")
		got := c.ask("POST", "/api/v1/namespaces/"+c.ns+"/pods/p/binding", `{"metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}}`)
		c.eq("code", got.code, 201)
		c.eq("status", got.at("status"), any("Success"))
	})
}

func TestEviction(t *testing.T) {
	g := begin(t)
	evict := func(c *Case, eviction *policyv1.Eviction) error {
		eviction.Namespace = c.ns
		return typed.PolicyV1().Evictions(c.ns).Evict(c.ctx, eviction)
	}
	g.check("takes a pod away", func(c *Case) {
		c.idle("p")
		c.ok(evict(c, &policyv1.Eviction{ObjectMeta: named("p")}))
		_, err := typed.CoreV1().Pods(c.ns).Get(c.ctx, "p", metav1.GetOptions{})
		c.refused(err, metav1.StatusReasonNotFound, 404, "")
	})
	g.check("of a pod that is not there", func(c *Case) {
		c.refused(evict(c, &policyv1.Eviction{ObjectMeta: named("none")}), metav1.StatusReasonNotFound, 404, `pods "none" not found`)
	})
	g.check("as a dry run", func(c *Case) {
		c.idle("p")
		c.ok(evict(c, &policyv1.Eviction{ObjectMeta: named("p"), DeleteOptions: &metav1.DeleteOptions{DryRun: []string{"All"}}}))
		_, err := typed.CoreV1().Pods(c.ns).Get(c.ctx, "p", metav1.GetOptions{})
		c.ok(err)
	})
	g.check("of another pod of that name", func(c *Case) {
		c.idle("p")
		other := types.UID("00000000-0000-4000-8000-000000000000")
		err := evict(c, &policyv1.Eviction{ObjectMeta: named("p"), DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}})
		c.that(apierrors.IsConflict(err), "%v", err)
	})
}

func TestFinalize(t *testing.T) {
	g := begin(t)
	g.check("a namespace has its finalizer", func(c *Case) {
		namespace, err := typed.CoreV1().Namespaces().Get(c.ctx, c.ns, metav1.GetOptions{})
		c.ok(err)
		c.eq("finalizers", namespace.Spec.Finalizers, []corev1.FinalizerName{corev1.FinalizerKubernetes})
		c.eq("label", namespace.Labels["kubernetes.io/metadata.name"], c.ns)
	})
	g.check("only its own door changes it", func(c *Case) {
		changed, err := typed.CoreV1().Namespaces().Patch(c.ctx, c.ns, types.MergePatchType, []byte(`{"spec":{"finalizers":null}}`), metav1.PatchOptions{})
		c.ok(err)
		c.eq("finalizers", changed.Spec.Finalizers, []corev1.FinalizerName{corev1.FinalizerKubernetes})
		changed.Spec.Finalizers = append(changed.Spec.Finalizers, "example.com/more")
		changed, err = typed.CoreV1().Namespaces().Finalize(c.ctx, changed, metav1.UpdateOptions{})
		c.ok(err)
		c.eq("now", len(changed.Spec.Finalizers), 2)
		changed.Spec.Finalizers = changed.Spec.Finalizers[:1]
		_, err = typed.CoreV1().Namespaces().Finalize(c.ctx, changed, metav1.UpdateOptions{})
		c.ok(err)
	})
}
