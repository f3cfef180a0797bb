// Informers, as controllers use them: shared, dynamic, by metadata only.

package suite

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// heard notes what the handlers of an informer are told.
func heard(c *Case, informer cache.SharedInformer) chan string {
	c.Helper()
	events := make(chan string, 100)
	name := func(object any) string {
		if gone, is := object.(cache.DeletedFinalStateUnknown); is {
			object = gone.Obj
		}
		return object.(metav1.Object).GetName()
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { events <- "add " + name(object) },
		UpdateFunc: func(_, object any) { events <- "update " + name(object) },
		DeleteFunc: func(object any) { events <- "delete " + name(object) },
	})
	c.ok(err)
	return events
}

func hears(c *Case, events chan string, want ...string) {
	c.Helper()
	for _, want := range want {
		select {
		case got := <-events:
			c.eq("handler", got, want)
		case <-c.ctx.Done():
			c.Fatalf("never heard %q", want)
		}
	}
}

// counter notes which requests a client sends.
type counter struct {
	http.RoundTripper
	mutex    sync.Mutex
	requests []string
}

func (n *counter) RoundTrip(request *http.Request) (*http.Response, error) {
	n.mutex.Lock()
	n.requests = append(n.requests, request.URL.RawQuery)
	n.mutex.Unlock()
	return n.RoundTripper.RoundTrip(request)
}

func TestInformer(t *testing.T) {
	g := begin(t)
	only := informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.FieldSelector = mine })
	g.check("hears what is there and what comes", func(c *Case) {
		c.put("a")
		factory := informers.NewSharedInformerFactoryWithOptions(typed, 0, informers.WithNamespace(c.ns), only)
		informer := factory.Core().V1().ConfigMaps()
		events := heard(c, informer.Informer())
		factory.Start(c.ctx.Done())
		hears(c, events, "add a")
		c.put("b")
		c.set("a", "1")
		c.del("a")
		hears(c, events, "add b", "update a", "delete a")
		left, err := informer.Lister().ConfigMaps(c.ns).List(labels.Everything())
		c.ok(err)
		c.eq("in its store", len(left), 1)
	})
	g.check("begins with one request", func(c *Case) {
		c.put("a")
		notes := &counter{}
		noted := rest.CopyConfig(config)
		noted.Wrap(func(rt http.RoundTripper) http.RoundTripper { notes.RoundTripper = rt; return notes })
		client := c.client(noted)
		factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(c.ns), only)
		factory.Core().V1().ConfigMaps().Informer()
		factory.Start(c.ctx.Done())
		factory.WaitForCacheSync(c.ctx.Done())
		notes.mutex.Lock()
		defer notes.mutex.Unlock()
		c.eq("requests", len(notes.requests), 1)
		c.that(strings.Contains(notes.requests[0], "sendInitialEvents=true"), "asked %s", notes.requests[0])
	})
	g.check("goes on after its watch was closed", func(c *Case) {
		short := int64(1)
		factory := informers.NewSharedInformerFactoryWithOptions(typed, 0, informers.WithNamespace(c.ns),
			informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.FieldSelector, options.TimeoutSeconds = mine, &short }))
		events := heard(c, factory.Core().V1().ConfigMaps().Informer())
		factory.Start(c.ctx.Done())
		c.put("a")
		hears(c, events, "add a")
		c.put("b")
		hears(c, events, "add b")
		<-time.After(1200 * time.Millisecond) // the watch of one second is over
		c.put("c")
		hears(c, events, "add c")
	})
	g.check("with a selector hears an object leave", func(c *Case) {
		c.put("a", "in", "yes")
		c.put("b", "in", "no")
		factory := informers.NewSharedInformerFactoryWithOptions(typed, 0, informers.WithNamespace(c.ns),
			informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "in=yes" }))
		events := heard(c, factory.Core().V1().ConfigMaps().Informer())
		factory.Start(c.ctx.Done())
		hears(c, events, "add a")
		object, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		c.ok(err)
		object.Labels["in"] = "no"
		_, err = typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, object, metav1.UpdateOptions{})
		c.ok(err)
		hears(c, events, "delete a")
	})
	g.check("of any kind", func(c *Case) {
		c.put("a")
		factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dyn, 0, c.ns, func(options *metav1.ListOptions) { options.FieldSelector = mine })
		events := heard(c, factory.ForResource(configMaps).Informer())
		factory.Start(c.ctx.Done())
		hears(c, events, "add a")
		c.set("a", "1")
		c.del("a")
		hears(c, events, "update a", "delete a")
	})
	g.check("of metadata only", func(c *Case) {
		c.put("a")
		factory := metadatainformer.NewFilteredSharedInformerFactory(meta, 0, c.ns, func(options *metav1.ListOptions) { options.FieldSelector = mine })
		events := heard(c, factory.ForResource(configMaps).Informer())
		factory.Start(c.ctx.Done())
		hears(c, events, "add a")
		c.put("b")
		c.del("a")
		hears(c, events, "add b", "delete a")
	})
	g.check("many kinds in sync at once", func(c *Case) {
		factory := informers.NewSharedInformerFactory(typed, 0)
		for _, informer := range []cache.SharedIndexInformer{
			factory.Core().V1().Pods().Informer(), factory.Core().V1().Services().Informer(), factory.Core().V1().Nodes().Informer(),
			factory.Core().V1().Namespaces().Informer(), factory.Core().V1().Secrets().Informer(), factory.Core().V1().ServiceAccounts().Informer(),
			factory.Core().V1().Endpoints().Informer(), factory.Core().V1().Events().Informer(), factory.Core().V1().LimitRanges().Informer(),
			factory.Core().V1().ResourceQuotas().Informer(), factory.Apps().V1().Deployments().Informer(), factory.Apps().V1().ReplicaSets().Informer(),
			factory.Discovery().V1().EndpointSlices().Informer(), factory.Coordination().V1().Leases().Informer(),
			factory.Rbac().V1().Roles().Informer(), factory.Rbac().V1().RoleBindings().Informer(), factory.Rbac().V1().ClusterRoles().Informer(),
			factory.Rbac().V1().ClusterRoleBindings().Informer(), factory.Scheduling().V1().PriorityClasses().Informer(),
		} {
			_ = informer
		}
		factory.Start(c.ctx.Done())
		for kind, synced := range factory.WaitForCacheSync(c.ctx.Done()) {
			c.that(synced, "%v is not in sync", kind)
		}
	})
	g.check("the way before watch lists", func(c *Case) {
		c.put("a")
		client := typed.CoreV1().ConfigMaps(c.ns)
		listed, err := client.List(c.ctx, metav1.ListOptions{ResourceVersion: "0", FieldSelector: mine})
		c.ok(err)
		c.until("the cache has it", func() bool {
			listed, err = client.List(c.ctx, metav1.ListOptions{ResourceVersion: "0", FieldSelector: mine})
			c.ok(err)
			return len(listed.Items) == 1
		})
		w := c.follow(metav1.ListOptions{ResourceVersion: listed.ResourceVersion, FieldSelector: mine, AllowWatchBookmarks: true})
		c.put("b")
		c.comes(w, "ADDED b")
	})
}
