// Patches of each kind, and what they are refused for.

package suite

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (c *Case) patch(name string, kind types.PatchType, patch string) (*corev1.ConfigMap, error) {
	return typed.CoreV1().ConfigMaps(c.ns).Patch(c.ctx, name, kind, []byte(patch), metav1.PatchOptions{})
}

func TestPatch(t *testing.T) {
	g := begin(t)
	g.check("json: every operation", func(c *Case) {
		c.put("a")
		changed, err := c.patch("a", types.JSONPatchType, `[
			{"op":"test","path":"/data/n","value":"0"},{"op":"replace","path":"/data/n","value":"1"},
			{"op":"add","path":"/data/b","value":"2"},{"op":"copy","from":"/data/b","path":"/data/c"},
			{"op":"move","from":"/data/b","path":"/data/d"},{"op":"add","path":"/metadata/labels","value":{"x/y":"1","z":"2"}},
			{"op":"remove","path":"/metadata/labels/z"},{"op":"replace","path":"/metadata/labels/x~1y","value":"3"}]`)
		c.ok(err)
		c.eq("data", changed.Data, map[string]string{"n": "1", "c": "2", "d": "2"})
		c.eq("labels", changed.Labels, map[string]string{"x/y": "3"})
	})
	g.check("json: a test that fails", func(c *Case) {
		c.put("a")
		_, err := c.patch("a", types.JSONPatchType, `[{"op":"test","path":"/data/n","value":"9"}]`)
		c.refused(err, metav1.StatusReasonInvalid, 422, "the server rejected our request due to an error in our request")
	})
	g.check("json: a path that is not there", func(c *Case) {
		c.put("a")
		_, err := c.patch("a", types.JSONPatchType, `[{"op":"remove","path":"/data/none"}]`)
		c.refused(err, metav1.StatusReasonInvalid, 422, "the server rejected our request due to an error in our request")
	})
	g.check("json: what is none", func(c *Case) {
		c.put("a")
		_, err := c.patch("a", types.JSONPatchType, `{"op":"remove"}`)
		c.refused(err, metav1.StatusReasonBadRequest, 400, "")
	})
	g.check("json: too many operations", func(c *Case) {
		c.put("a")
		operations := strings.Repeat(`{"op":"add","path":"/data/n","value":"1"},`, 10001)
		_, err := c.patch("a", types.JSONPatchType, "["+strings.TrimSuffix(operations, ",")+"]")
		c.refused(err, metav1.StatusReasonRequestEntityTooLarge, 413, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001")
	})
	g.check("merge: sets, and null takes away", func(c *Case) {
		c.put("a", "l", "1")
		changed, err := c.patch("a", types.MergePatchType, `{"metadata":{"labels":{"l":null,"m":"2"}},"data":{"b":"1"}}`)
		c.ok(err)
		c.eq("labels", changed.Labels, map[string]string{"m": "2"})
		c.eq("data", changed.Data, map[string]string{"n": "0", "b": "1"})
	})
	g.check("merge: what is no json", func(c *Case) {
		c.put("a")
		_, err := c.patch("a", types.MergePatchType, `{"data":`)
		c.refused(err, metav1.StatusReasonBadRequest, 400, "")
	})
	g.check("merge: of an older version", func(c *Case) {
		made := c.put("a")
		c.set("a", "1")
		_, err := c.patch("a", types.MergePatchType, fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"data":{"n":"2"}}`, made.ResourceVersion))
		c.refused(err, metav1.StatusReasonConflict, 409, `Operation cannot be fulfilled on configmaps "a": `+modified)
	})
	g.check("merge: of this very version", func(c *Case) {
		made := c.put("a")
		_, err := c.patch("a", types.MergePatchType, fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"data":{"n":"2"}}`, made.ResourceVersion))
		c.ok(err)
	})
	g.check("merge: what changes nothing makes no version", func(c *Case) {
		made := c.put("a")
		changed, err := c.patch("a", types.MergePatchType, `{"data":{"n":"0"}}`)
		c.ok(err)
		c.eq("version", changed.ResourceVersion, made.ResourceVersion)
	})
	g.check("merge: many at once lose nothing", func(c *Case) {
		c.put("a")
		done := make(chan error)
		for i := range 20 {
			go func() {
				_, err := c.patch("a", types.MergePatchType, fmt.Sprintf(`{"data":{"k%d":"v"}}`, i))
				done <- err
			}()
		}
		landed := 1
		for range 20 {
			if <-done == nil {
				landed++
			}
		}
		object, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.ok(err)
		c.eq("keys", len(object.Data), landed)
	})
	g.check("merge: of a name that is not there", func(c *Case) {
		_, err := c.patch("none", types.MergePatchType, `{}`)
		c.refused(err, metav1.StatusReasonNotFound, 404, `configmaps "none" not found`)
	})
	g.check("merge: as a dry run", func(c *Case) {
		c.put("a")
		changed, err := typed.CoreV1().ConfigMaps(c.ns).Patch(c.ctx, "a", types.MergePatchType, []byte(`{"data":{"n":"9"}}`), metav1.PatchOptions{DryRun: []string{"All"}})
		c.ok(err)
		c.eq("answer", changed.Data["n"], "9")
		stored, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.ok(err)
		c.eq("stored", stored.Data["n"], "0")
	})
	g.check("merge: to another name", func(c *Case) {
		c.put("a")
		_, err := c.patch("a", types.MergePatchType, `{"metadata":{"name":"b"}}`)
		c.refused(err, metav1.StatusReasonBadRequest, 400, "the name of the object (b) does not match the name on the URL (a)")
	})
	g.check("strict about fields", func(c *Case) {
		c.put("a")
		_, err := typed.CoreV1().ConfigMaps(c.ns).Patch(c.ctx, "a", types.MergePatchType, []byte(`{"nope":1}`), metav1.PatchOptions{FieldValidation: "Strict"})
		c.refused(err, metav1.StatusReasonInvalid, 422, "")
	})
	g.check("of a type that is none", func(c *Case) {
		c.put("a")
		got := c.ask("PATCH", c.maps("/a"), "{}", "Content-Type: application/json")
		c.eq("code", got.code, 415)
		c.eq("reason", got.at("reason"), any("UnsupportedMediaType"))
	})
	g.check("server-side apply", func(c *Case) {
		got := c.ask("PATCH", c.maps("/a?fieldManager=me"), `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`, "Content-Type: application/apply-patch+yaml")
		if kstore {
			c.eq("code", got.code, 415)
			c.eq("reason", got.at("reason"), any("UnsupportedMediaType"))
			return
		}
		c.eq("code", got.code, 201)
	})
}

func TestStrategicPatch(t *testing.T) {
	g := begin(t)
	containers := func(pod corev1.PodSpec) string {
		said := []string{}
		for _, container := range pod.Containers {
			said = append(said, container.Name+"="+container.Image)
		}
		return strings.Join(said, ",")
	}
	// patched makes a deployment with containers a and b and patches its pods.
	patched := func(c *Case, patch string) corev1.PodSpec {
		object := workload("w", 0)
		object.Spec.Template.Spec.Containers = []corev1.Container{
			{Name: "a", Image: "1", Env: []corev1.EnvVar{{Name: "X", Value: "x"}}, Args: []string{"p", "q"}},
			{Name: "b", Image: "1"},
		}
		object.Spec.Template.Spec.NodeSelector = map[string]string{"old": "one"}
		object.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		_, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, object, metav1.CreateOptions{})
		c.ok(err)
		changed, err := typed.AppsV1().Deployments(c.ns).Patch(c.ctx, "w", types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":`+patch+`}}}`), metav1.PatchOptions{})
		c.ok(err)
		return changed.Spec.Template.Spec
	}
	g.check("lists merge by their key", func(c *Case) {
		c.eq("containers", containers(patched(c, `{"containers":[{"name":"b","image":"2"},{"name":"c","image":"3"}]}`)), "a=1,b=2,c=3")
	})
	g.check("an item is deleted", func(c *Case) {
		c.eq("containers", containers(patched(c, `{"containers":[{"name":"a","$patch":"delete"}]}`)), "b=1")
	})
	g.check("a list is replaced", func(c *Case) {
		c.eq("containers", containers(patched(c, `{"containers":[{"name":"z","image":"9"},{"$patch":"replace"}]}`)), "z=9")
	})
	g.check("the order is set", func(c *Case) {
		c.eq("containers", containers(patched(c, `{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"b","image":"2"}]}`)), "b=2,a=1")
	})
	g.check("lists in lists merge, too", func(c *Case) {
		spec := patched(c, `{"containers":[{"name":"a","env":[{"name":"Y","value":"y"}]}]}`)
		c.eq("env", fmt.Sprint(spec.Containers[0].Env[0].Name, spec.Containers[0].Env[1].Name), "YX")
	})
	g.check("lists without a key are replaced", func(c *Case) {
		c.eq("args", patched(c, `{"containers":[{"name":"a","args":["r"]}]}`).Containers[0].Args, []string{"r"})
	})
	g.check("a volume keeps one source", func(c *Case) {
		spec := patched(c, `{"volumes":[{"$retainKeys":["name","configMap"],"name":"v","configMap":{"name":"cm"}}]}`)
		c.that(spec.Volumes[0].EmptyDir == nil && spec.Volumes[0].ConfigMap != nil, "%+v", spec.Volumes[0])
	})
	g.check("an object is replaced", func(c *Case) {
		c.eq("selector", patched(c, `{"nodeSelector":{"$patch":"replace","only":"this"}}`).NodeSelector, map[string]string{"only": "this"})
	})
	g.check("finalizers are a set", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Finalizers: []string{"e.com/a", "e.com/b"}}}, metav1.CreateOptions{})
		c.ok(err)
		changed, err := c.patch("a", types.StrategicMergePatchType, `{"metadata":{"$deleteFromPrimitiveList/finalizers":["e.com/a"],"finalizers":["e.com/c"]}}`)
		c.ok(err)
		c.eq("finalizers", changed.Finalizers, []string{"e.com/c", "e.com/b"})
		_, err = c.patch("a", types.MergePatchType, `{"metadata":{"finalizers":null}}`)
		c.ok(err)
	})
	g.check("null takes a field away", func(c *Case) {
		c.put("a", "l", "1")
		changed, err := c.patch("a", types.StrategicMergePatchType, `{"metadata":{"labels":null}}`)
		c.ok(err)
		c.eq("labels", len(changed.Labels), 0)
	})
	g.check("a port of a service by its number", func(c *Case) {
		_, err := typed.CoreV1().Services(c.ns).Create(c.ctx, &corev1.Service{ObjectMeta: named("s"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "a", Port: 1}, {Name: "b", Port: 2}}}}, metav1.CreateOptions{})
		c.ok(err)
		changed, err := typed.CoreV1().Services(c.ns).Patch(c.ctx, "s", types.StrategicMergePatchType, []byte(`{"spec":{"ports":[{"port":2,"name":"c"}]}}`), metav1.PatchOptions{})
		c.ok(err)
		names := map[string]int32{}
		for _, port := range changed.Spec.Ports {
			names[port.Name] = port.Port
		}
		c.eq("ports", names, map[string]int32{"a": 1, "c": 2})
	})
	g.check("a patch without its key", func(c *Case) {
		_, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, workload("w", 0), metav1.CreateOptions{})
		c.ok(err)
		_, err = typed.AppsV1().Deployments(c.ns).Patch(c.ctx, "w", types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":{"containers":[{"image":"2"}]}}}}`), metav1.PatchOptions{})
		c.that(err != nil && strings.Contains(err.Error(), "does not contain declared merge key: name"), "%v", err)
	})
}
