// The shapes of answers: media types, tables, metadata, discovery, schemas.

package suite

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	openapiv3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/yaml"
)

const (
	protobuf = "application/vnd.kubernetes.protobuf"
	table    = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"
)

func TestMediaTypes(t *testing.T) {
	g := begin(t)
	g.check("json unless asked", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("/a"), "")
		c.eq("type", got.header.Get("Content-Type"), "application/json")
		c.eq("lines", bytes.Count(got.body, []byte("\n")), 1)
	})
	g.check("json that people can read", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("/a?pretty=1"), "")
		c.that(bytes.HasPrefix(got.body, []byte("{\n  \"kind\": \"ConfigMap\",\n  \"apiVersion\": \"v1\",\n")), "%.60s", got.body)
	})
	g.check("yaml", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("/a"), "", "Accept: application/yaml")
		c.eq("type", got.header.Get("Content-Type"), "application/yaml")
		var object corev1.ConfigMap
		c.ok(yaml.Unmarshal(got.body, &object))
		c.eq("name", object.Name+object.Kind, "aConfigMap")
	})
	g.check("protobuf", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("/a"), "", "Accept: "+protobuf)
		c.eq("type", got.header.Get("Content-Type"), protobuf)
		c.eq("magic", string(got.body[:4]), "k8s\x00")
		var wrapped runtime.Unknown
		c.ok(wrapped.Unmarshal(got.body[4:]))
		c.eq("kind", wrapped.APIVersion+" "+wrapped.Kind, "v1 ConfigMap")
		var object corev1.ConfigMap
		c.ok(object.Unmarshal(wrapped.Raw))
		c.eq("data", object.Data["n"], "0")
	})
	g.check("the first of several that it can", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("/a"), "", "Accept: image/png, application/yaml, application/json")
		c.eq("type", got.header.Get("Content-Type"), "application/yaml")
	})
	g.check("what nobody can", func(c *Case) {
		got := c.ask("GET", c.maps(), "", "Accept: image/png")
		c.eq("code", got.code, 406)
		c.eq("reason", got.at("reason"), any("NotAcceptable"))
		message, _ := got.at("message").(string)
		c.that(strings.HasPrefix(message, "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf"), "%s", message)
	})
	g.check("a body of a type that is none", func(c *Case) {
		got := c.ask("POST", c.maps(), "x", "Content-Type: text/plain")
		c.eq("code", got.code, 415)
		c.eq("reason", got.at("reason"), any("UnsupportedMediaType"))
	})
	g.check("a body that is no json", func(c *Case) {
		got := c.ask("POST", c.maps(), "{")
		c.eq("code", got.code, 400)
		c.eq("reason", got.at("reason"), any("BadRequest"))
	})
	g.check("all fields of a pod through protobuf and json", func(c *Case) {
		made := c.idle("p", func(pod *corev1.Pod) {
			pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromString("http")}}}
			pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}
			pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("1Gi")}
			pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "k", Operator: "In", Values: []string{"v"}}}}}}}}
		})
		inJSON, err := plain.CoreV1().Pods(c.ns).Get(c.ctx, "p", metav1.GetOptions{})
		c.ok(err)
		inProtobuf, err := typed.CoreV1().Pods(c.ns).Get(c.ctx, "p", metav1.GetOptions{})
		c.ok(err)
		one, err := json.Marshal(inJSON)
		c.ok(err)
		other, err := json.Marshal(inProtobuf)
		c.ok(err)
		c.eq("json", string(one), string(other))
		c.eq("uid", inJSON.UID, made.UID)
	})
	g.check("a secret's bytes", func(c *Case) {
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		_, err := typed.CoreV1().Secrets(c.ns).Create(c.ctx, &corev1.Secret{ObjectMeta: named("s"), Data: map[string][]byte{"k": all}}, metav1.CreateOptions{})
		c.ok(err)
		got, err := plain.CoreV1().Secrets(c.ns).Get(c.ctx, "s", metav1.GetOptions{})
		c.ok(err)
		c.that(bytes.Equal(got.Data["k"], all), "%v", got.Data["k"])
	})
	g.check("a large answer is compressed", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("big"), Data: map[string]string{"k": strings.Repeat("x", 200<<10)}}, metav1.CreateOptions{})
		c.ok(err)
		got := c.ask("GET", c.maps("/big"), "", "Accept-Encoding: gzip")
		c.eq("encoding", got.header.Get("Content-Encoding"), "gzip")
		c.that(slices.Contains(got.header.Values("Vary"), "Accept-Encoding"), "Vary: %v", got.header.Values("Vary"))
		reader, err := gzip.NewReader(bytes.NewReader(got.body))
		c.ok(err)
		whole, err := io.ReadAll(reader)
		c.ok(err)
		c.that(len(whole) > 200<<10, "%d bytes", len(whole))
	})
	g.check("a small one is not", func(c *Case) {
		c.put("a")
		c.eq("encoding", c.ask("GET", c.maps("/a"), "", "Accept-Encoding: gzip").header.Get("Content-Encoding"), "")
	})
}

func TestTable(t *testing.T) {
	g := begin(t)
	g.check("has columns and rows", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("/a"), "", table)
		c.eq("kind", got.at("kind"), any("Table"))
		c.eq("version", got.at("apiVersion"), any("meta.k8s.io/v1"))
		heads := []string{}
		for _, column := range got.at("columnDefinitions").([]any) {
			heads = append(heads, at(column, "name").(string))
		}
		c.eq("columns", heads, []string{"Name", "Data", "Age"})
		c.eq("name", got.at("rows", 0, "cells", 0), any("a"))
		c.eq("data", got.at("rows", 0, "cells", 1), any(1.0))
		c.eq("object", got.at("rows", 0, "object", "kind"), any("PartialObjectMetadata"))
		c.eq("format", got.at("columnDefinitions", 0, "format"), any("name"))
	})
	g.check("with the whole object", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("/a?includeObject=Object"), "", table)
		c.eq("object", got.at("rows", 0, "object", "kind"), any("ConfigMap"))
		c.eq("data", got.at("rows", 0, "object", "data", "n"), any("0"))
	})
	g.check("with no object", func(c *Case) {
		c.put("a")
		c.eq("object", c.ask("GET", c.maps("/a?includeObject=None"), "", table).at("rows", 0, "object"), nil)
	})
	g.check("of a list has its version and pages", func(c *Case) {
		c.many(3)
		got := c.ask("GET", c.maps("?limit=2&labelSelector=even"), "", table)
		c.eq("rows", len(got.at("rows").([]any)), 2)
		c.that(got.at("metadata", "resourceVersion") != nil && got.at("metadata", "continue") != nil, "%v", got.at("metadata"))
	})
	g.check("of nothing has its columns", func(c *Case) {
		got := c.ask("GET", c.maps("?labelSelector=none"), "", table)
		c.eq("rows", got.at("rows"), any([]any{}))
		c.eq("columns", len(got.at("columnDefinitions").([]any)), 3)
	})
	for _, kind := range []struct{ path, columns string }{
		{"/api/v1/namespaces/{ns}/pods", "Name Ready Status Restarts Age IP Node Nominated Node Readiness Gates"},
		{"/api/v1/namespaces/{ns}/services", "Name Type Cluster-IP External-IP Port(s) Age Selector"},
		{"/api/v1/namespaces/{ns}/secrets", "Name Type Data Age"},
		{"/api/v1/namespaces/{ns}/serviceaccounts", "Name Age"},
		{"/api/v1/namespaces/{ns}/endpoints", "Name Endpoints Age"},
		{"/api/v1/namespaces/{ns}/events", "Last Seen Type Reason Object Subobject Source Message First Seen Count Name"},
		{"/api/v1/namespaces/{ns}/limitranges", "Name Created At"},
		{"/api/v1/namespaces/{ns}/resourcequotas", "Name Request Limit Age"},
		{"/api/v1/namespaces", "Name Status Age"},
		{"/api/v1/nodes", "Name Status Roles Age Version Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"},
		{"/apis/apps/v1/namespaces/{ns}/deployments", "Name Ready Up-to-date Available Age Containers Images Selector"},
		{"/apis/apps/v1/namespaces/{ns}/replicasets", "Name Desired Current Ready Age Containers Images Selector"},
		{"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases", "Name Holder Age"},
		{"/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices", "Name AddressType Ports Endpoints Age"},
		{"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles", "Name Created At"},
		{"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings", "Name Role Age Users Groups ServiceAccounts"},
		{"/apis/rbac.authorization.k8s.io/v1/clusterroles", "Name Created At"},
		{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "Name Role Age Users Groups ServiceAccounts"},
		{"/apis/scheduling.k8s.io/v1/priorityclasses", "Name Value Global-Default Age PreemptionPolicy"},
	} {
		g.check("columns of "+kind.path[strings.LastIndex(kind.path, "/")+1:], func(c *Case) {
			got := c.ask("GET", strings.ReplaceAll(kind.path, "{ns}", c.ns), "", table)
			heads := []string{}
			for _, column := range got.at("columnDefinitions").([]any) {
				heads = append(heads, at(column, "name").(string))
			}
			c.eq("columns", strings.Join(heads, " "), kind.columns)
		})
	}
}

func TestMetadata(t *testing.T) {
	g := begin(t)
	g.check("one object", func(c *Case) {
		made := c.put("a", "k", "v")
		got, err := meta.Resource(configMaps).Namespace(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.ok(err)
		c.eq("uid", got.UID, made.UID)
		c.eq("label", got.Labels["k"], "v")
	})
	g.check("a list in pages", func(c *Case) {
		c.many(3)
		got, err := meta.Resource(configMaps).Namespace(c.ns).List(c.ctx, metav1.ListOptions{LabelSelector: "even", Limit: 2})
		c.ok(err)
		c.eq("items", len(got.Items), 2)
		c.that(got.Continue != "", "no token")
	})
	g.check("in json", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("?fieldSelector=metadata.name%3Da"), "", "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
		c.eq("kind", got.at("kind"), any("PartialObjectMetadataList"))
		c.eq("version", got.at("apiVersion"), any("meta.k8s.io/v1"))
		c.eq("data", got.at("items", 0, "data"), nil)
		c.eq("item", got.at("items", 0, "metadata", "name"), any("a"))
	})
	g.check("patch and delete", func(c *Case) {
		c.put("a")
		got, err := meta.Resource(configMaps).Namespace(c.ns).Patch(c.ctx, "a", types.MergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}}}`), metav1.PatchOptions{})
		c.ok(err)
		c.eq("label", got.Labels["x"], "y")
		c.ok(meta.Resource(configMaps).Namespace(c.ns).Delete(c.ctx, "a", metav1.DeleteOptions{}))
	})
	g.check("any kind as it is", func(c *Case) {
		object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "u"}, "data": map[string]any{"a": "b"}}}
		_, err := dyn.Resource(configMaps).Namespace(c.ns).Create(c.ctx, object, metav1.CreateOptions{})
		c.ok(err)
		list, err := dyn.Resource(configMaps).Namespace(c.ns).List(c.ctx, metav1.ListOptions{FieldSelector: mine})
		c.ok(err)
		c.eq("items", len(list.Items), 1)
		c.eq("kind", list.Items[0].GetKind(), "ConfigMap")
		got := list.Items[0]
		c.ok(unstructured.SetNestedField(got.Object, "c", "data", "a"))
		_, err = dyn.Resource(configMaps).Namespace(c.ns).Update(c.ctx, &got, metav1.UpdateOptions{})
		c.ok(err)
		c.ok(dyn.Resource(configMaps).Namespace(c.ns).Delete(c.ctx, "u", metav1.DeleteOptions{}))
	})
	g.check("a kind that is not there", func(c *Case) {
		_, err := dyn.Resource(schema.GroupVersionResource{Group: "none.example", Version: "v1", Resource: "things"}).List(c.ctx, metav1.ListOptions{})
		c.refused(err, metav1.StatusReasonNotFound, 404, "the server could not find the requested resource")
	})
}

func TestDiscovery(t *testing.T) {
	g := begin(t)
	client := func(c *Case) *discovery.DiscoveryClient {
		client, err := discovery.NewDiscoveryClientForConfig(config)
		c.ok(err)
		return client
	}
	g.check("the version", func(c *Case) {
		version, err := client(c).ServerVersion()
		c.ok(err)
		c.eq("version", version.Major+"."+version.Minor, "1.36")
	})
	g.check("aggregated", func(c *Case) {
		for _, path := range []string{"/api", "/apis"} {
			got := c.ask("GET", path, "", "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")
			c.eq("type", got.header.Get("Content-Type"), "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
			c.eq("kind", got.at("kind"), any("APIGroupDiscoveryList"))
			c.eq("version", got.at("apiVersion"), any("apidiscovery.k8s.io/v2"))
		}
	})
	g.check("aggregated in a version that is gone", func(c *Case) {
		got := c.ask("GET", "/apis", "", "Accept: application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json")
		c.eq("kind", got.at("kind"), any("APIGroupList"))
	})
	g.check("not aggregated", func(c *Case) {
		c.eq("kind", c.ask("GET", "/api", "").at("kind"), any("APIVersions"))
		c.eq("kind", c.ask("GET", "/apis", "").at("kind"), any("APIGroupList"))
		c.eq("kind", c.ask("GET", "/apis/apps", "").at("kind"), any("APIGroup"))
		c.eq("kind", c.ask("GET", "/apis/apps/v1", "").at("kind"), any("APIResourceList"))
		c.eq("kind", c.ask("GET", "/api/v1", "").at("kind"), any("APIResourceList"))
	})
	g.check("both ways say the same", func(c *Case) {
		old := client(c).WithLegacy()
		for _, version := range []string{"v1", "apps/v1", "coordination.k8s.io/v1", "rbac.authorization.k8s.io/v1", "discovery.k8s.io/v1"} {
			legacy, err := old.ServerResourcesForGroupVersion(version)
			c.ok(err)
			_, lists, err := client(c).ServerGroupsAndResources()
			c.ok(err)
			said := map[string]string{}
			for _, list := range lists {
				if list.GroupVersion == version {
					for _, resource := range list.APIResources {
						said[resource.Name] = resource.Kind + strings.Join(resource.Verbs, ",")
					}
				}
			}
			for _, resource := range legacy.APIResources {
				slices.Sort(resource.Verbs)
				got := strings.Split(strings.TrimPrefix(said[resource.Name], resource.Kind), ",")
				slices.Sort(got)
				c.eq(version+" "+resource.Name, got, []string(resource.Verbs))
			}
		}
	})
	g.check("what drain and tokens look for", func(c *Case) {
		list, err := client(c).WithLegacy().ServerResourcesForGroupVersion("v1")
		c.ok(err)
		said := map[string]string{}
		for _, resource := range list.APIResources {
			said[resource.Name] = resource.Group + "/" + resource.Version + " " + resource.Kind
		}
		c.eq("eviction", said["pods/eviction"], "policy/v1 Eviction")
		c.eq("token", said["serviceaccounts/token"], "authentication.k8s.io/v1 TokenRequest")
		c.eq("binding", said["pods/binding"], "/ Binding")
		c.eq("log", said["pods/log"], "/ Pod")
	})
	g.check("in protobuf", func(c *Case) {
		got := c.ask("GET", "/apis/apps/v1", "", "Accept: "+protobuf)
		c.eq("type", got.header.Get("Content-Type"), protobuf)
		c.eq("magic", string(got.body[:4]), "k8s\x00")
	})
	g.check("the index of paths", func(c *Case) {
		paths, _ := c.ask("GET", "/", "").at("paths").([]any)
		for _, path := range []string{"/api", "/apis", "/apis/apps/v1", "/healthz", "/livez", "/readyz", "/metrics", "/openapi/v3", "/version"} {
			c.that(slices.Contains(paths, any(path)), "%s is not there", path)
		}
	})
	g.check("metrics", func(c *Case) {
		got := c.ask("GET", "/metrics", "")
		c.eq("code", got.code, 200)
		c.that(strings.HasPrefix(got.header.Get("Content-Type"), "text/plain"), "%s", got.header.Get("Content-Type"))
		c.that(bytes.Contains(got.body, []byte("apiserver_request_total")), "no apiserver_request_total")
	})
	g.check("health by its parts", func(c *Case) {
		c.eq("ping", string(c.ask("GET", "/livez/ping", "").body), "ok")
		c.eq("code", c.ask("GET", "/readyz/nothing", "").code, 404)
		c.that(strings.Contains(string(c.ask("GET", "/readyz?verbose", "").body), "readyz check passed"), "not verbose")
	})
	g.check("keys of tokens", func(c *Case) {
		got := c.ask("GET", "/openid/v1/jwks", "")
		c.that(len(got.at("keys").([]any)) > 0, "no keys")
		c.that(c.ask("GET", "/.well-known/openid-configuration", "").at("issuer") != nil, "no issuer")
	})
}

func TestSchemas(t *testing.T) {
	g := begin(t)
	url := func(c *Case, group string) string {
		url, _ := c.ask("GET", "/openapi/v3", "").at("paths", group, "serverRelativeURL").(string)
		c.that(strings.Contains(url, "?hash="), "%q has no hash", url)
		return url
	}
	g.check("each group has one", func(c *Case) {
		paths := c.ask("GET", "/openapi/v3", "").at("paths").(map[string]any)
		for _, group := range []string{"api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "apis/coordination.k8s.io/v1", "version"} {
			c.that(paths[group] != nil, "%s is not there", group)
		}
	})
	g.check("with merge keys", func(c *Case) {
		got := c.ask("GET", url(c, "apis/apps/v1"), "")
		spec := got.at("components", "schemas", "io.k8s.api.core.v1.PodSpec", "properties", "containers")
		c.eq("key", at(spec, "x-kubernetes-patch-merge-key"), any("name"))
		c.eq("strategy", at(spec, "x-kubernetes-patch-strategy"), any("merge"))
		c.eq("kind", got.at("components", "schemas", "io.k8s.api.apps.v1.Deployment", "x-kubernetes-group-version-kind", 0, "kind"), any("Deployment"))
	})
	g.check("with patches and their parameters", func(c *Case) {
		got := c.ask("GET", url(c, "apis/apps/v1"), "")
		patch := got.at("paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch")
		c.eq("kind", at(patch, "x-kubernetes-group-version-kind", "kind"), any("Deployment"))
		c.eq("action", at(patch, "x-kubernetes-action"), any("patch"))
		types := at(patch, "requestBody", "content").(map[string]any)
		c.that(types["application/strategic-merge-patch+json"] != nil, "no strategic patch")
		parameters := []string{}
		for _, parameter := range at(patch, "parameters").([]any) {
			name, _ := at(parameter, "name").(string)
			parameters = append(parameters, name)
		}
		c.that(slices.Contains(parameters, "fieldValidation"), "%v", parameters)
	})
	g.check("may be kept for as long as their hash", func(c *Case) {
		got := c.ask("GET", url(c, "api/v1"), "")
		tag := got.header.Get("ETag")
		c.that(tag != "", "no ETag")
		again := c.ask("GET", url(c, "api/v1"), "", "If-None-Match: "+tag)
		c.eq("code", again.code, 304)
	})
	g.check("in protobuf", func(c *Case) {
		got := c.ask("GET", url(c, "apis/apps/v1"), "", "Accept: application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
		c.eq("type", got.header.Get("Content-Type"), "application/com.github.proto-openapi.spec.v3.v1.0+protobuf")
		var document openapiv3.Document
		c.ok(proto.Unmarshal(got.body, &document))
		inJSON := c.ask("GET", url(c, "apis/apps/v1"), "").json()
		c.eq("paths", len(document.GetPaths().GetPath()), len(inJSON["paths"].(map[string]any)))
		schemas := document.GetComponents().GetSchemas().GetAdditionalProperties()
		c.eq("schemas", len(schemas), len(at(inJSON, "components", "schemas").(map[string]any)))
		for _, schema := range schemas {
			properties, _ := at(inJSON, "components", "schemas", schema.GetName(), "properties").(map[string]any)
			c.eq("properties of "+schema.GetName(), len(schema.GetValue().GetSchema().GetProperties().GetAdditionalProperties()), len(properties))
		}
	})
	g.check("by client-go", func(c *Case) {
		client, err := discovery.NewDiscoveryClientForConfig(config)
		c.ok(err)
		paths, err := client.OpenAPIV3().Paths()
		c.ok(err)
		raw, err := paths["apis/apps/v1"].Schema("application/json")
		c.ok(err)
		c.that(bytes.Contains(raw, []byte("io.k8s.api.apps.v1.Deployment")), "no Deployment")
	})
}
