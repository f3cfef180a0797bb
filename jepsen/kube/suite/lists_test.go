// Lists: pages, versions, selectors.

package suite

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
)

// many makes configmaps m00, m01, ... and returns the version of the last.
func (c *Case) many(n int) string {
	c.Helper()
	last := ""
	for i := range n {
		last = c.put(fmt.Sprintf("m%02d", i), "even", strconv.FormatBool(i%2 == 0)).ResourceVersion
	}
	return last
}

func (c *Case) list(options metav1.ListOptions) *corev1.ConfigMapList {
	c.Helper()
	if options.FieldSelector == "" && options.LabelSelector == "" {
		options.LabelSelector = "even" // ours, not the one that every namespace is given
	}
	list, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, options)
	c.ok(err)
	return list
}

func names(list *corev1.ConfigMapList) string {
	names := []string{}
	for _, item := range list.Items {
		names = append(names, item.Name)
	}
	return strings.Join(names, " ")
}

func TestList(t *testing.T) {
	g := begin(t)
	g.check("of nothing has no null", func(c *Case) {
		got := c.ask("GET", c.maps("?labelSelector=none"), "")
		c.eq("items", got.at("items"), any([]any{}))
		c.eq("kind", got.at("kind"), any("ConfigMapList"))
		c.that(got.at("metadata", "resourceVersion") != nil, "no version")
	})
	g.check("items carry no kind", func(c *Case) {
		c.put("a")
		got := c.ask("GET", c.maps("?fieldSelector=metadata.name%3Da"), "")
		c.eq("name", got.at("items", 0, "metadata", "name"), any("a"))
		c.eq("kind", got.at("items", 0, "kind"), nil)
	})
	g.check("is sorted by name", func(c *Case) {
		for _, name := range []string{"z", "a", "m.b", "m-b", "m"} {
			c.put(name, "even", "no")
		}
		c.eq("names", names(c.list(metav1.ListOptions{})), "a m m-b m.b z")
	})
	g.check("has the version of its moment", func(c *Case) {
		last := c.many(2)
		list := c.list(metav1.ListOptions{})
		before, err := strconv.Atoi(last)
		c.ok(err)
		now, err := strconv.Atoi(list.ResourceVersion)
		c.ok(err)
		c.that(now >= before, "%d before %d", now, before)
	})
	g.check("in pages", func(c *Case) {
		c.many(7)
		first := c.list(metav1.ListOptions{Limit: 3})
		c.eq("first", names(first), "m00 m01 m02")
		second := c.list(metav1.ListOptions{Limit: 3, Continue: first.Continue})
		c.eq("second", names(second), "m03 m04 m05")
		third := c.list(metav1.ListOptions{Limit: 3, Continue: second.Continue})
		c.eq("third", names(third), "m06")
		c.eq("end", third.Continue, "")
		c.eq("versions", second.ResourceVersion+third.ResourceVersion, first.ResourceVersion+first.ResourceVersion)
	})
	g.check("pages do not see what comes between", func(c *Case) {
		c.many(6)
		first := c.list(metav1.ListOptions{Limit: 3})
		c.put("m03a", "even", "no")
		c.del("m04")
		c.set("m05", "1")
		rest := c.list(metav1.ListOptions{Continue: first.Continue})
		c.eq("names", names(rest), "m03 m04 m05")
		c.eq("old value", rest.Items[2].Data["n"], "0")
	})
	g.check("pages may change their size", func(c *Case) {
		c.many(9)
		first := c.list(metav1.ListOptions{Limit: 2})
		second := c.list(metav1.ListOptions{Limit: 5, Continue: first.Continue})
		c.eq("second", names(second), "m02 m03 m04 m05 m06")
		c.eq("rest", names(c.list(metav1.ListOptions{Limit: 1, Continue: second.Continue})), "m07")
	})
	g.check("pages say how many remain, without a selector", func(c *Case) {
		c.many(4)
		c.until("the configmap that every namespace is given", func() bool {
			_, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "kube-root-ca.crt", metav1.GetOptions{})
			return err == nil
		})
		list, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{Limit: 2})
		c.ok(err)
		c.eq("remain", *list.RemainingItemCount, int64(3))
		last, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{Limit: 9, Continue: list.Continue})
		c.ok(err)
		c.that(last.RemainingItemCount == nil, "%v remain at the end", last.RemainingItemCount)
		c.that(c.list(metav1.ListOptions{Limit: 2}).RemainingItemCount == nil, "counted with a selector")
	})
	g.check("a page that ends exactly is the last", func(c *Case) {
		c.many(4)
		first := c.list(metav1.ListOptions{Limit: 2})
		c.eq("end", c.list(metav1.ListOptions{Limit: 2, Continue: first.Continue}).Continue, "")
	})
	g.check("the pager of client-go", func(c *Case) {
		c.many(12)
		pages := 0
		p := pager.New(func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
			pages++
			options.LabelSelector = "even"
			return typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, options)
		})
		p.PageSize = 5
		seen := 0
		c.ok(p.EachListItem(c.ctx, metav1.ListOptions{}, func(runtime.Object) error { seen++; return nil }))
		c.eq("seen", seen, 12)
		c.eq("pages", pages, 3)
	})
	g.check("with a selector fills its pages", func(c *Case) {
		c.many(9)
		list := c.list(metav1.ListOptions{LabelSelector: "even=true", Limit: 3})
		c.eq("first", names(list), "m00 m02 m04")
		c.eq("rest", names(c.list(metav1.ListOptions{LabelSelector: "even=true", Limit: 3, Continue: list.Continue})), "m06 m08")
	})
	g.check("the token is upstream's", func(c *Case) {
		c.many(3)
		list := c.list(metav1.ListOptions{Limit: 2})
		token, err := base64.RawURLEncoding.DecodeString(list.Continue)
		c.ok(err)
		c.eq("token", string(token), fmt.Sprintf(`{"v":"meta.k8s.io/v1","rv":%s,"start":"/m01\u0000"}`, list.ResourceVersion))
	})
	g.check("a token that is none", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{Continue: "%%%"})
		c.refused(err, metav1.StatusReasonBadRequest, 400, "invalid continue token: continue key is not valid: illegal base64 data at input byte 0")
	})
	g.check("a token with a version beside it", func(c *Case) {
		c.many(3)
		list := c.list(metav1.ListOptions{Limit: 2})
		_, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{Continue: list.Continue, ResourceVersion: list.ResourceVersion})
		c.refused(err, metav1.StatusReasonBadRequest, 400, "specifying resource version is not allowed when using continue")
	})
	g.check("at exactly a version", func(c *Case) {
		from := c.many(2)
		c.put("later", "even", "no")
		list := c.list(metav1.ListOptions{ResourceVersion: from, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
		c.eq("names", names(list), "m00 m01")
		c.eq("version", list.ResourceVersion, from)
	})
	g.check("not older than a version", func(c *Case) {
		c.many(2)
		later := c.put("later", "even", "no").ResourceVersion
		c.eq("names", names(c.list(metav1.ListOptions{ResourceVersion: later, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})), "later m00 m01")
	})
	g.check("a version with a limit is exactly that", func(c *Case) {
		from := c.many(2)
		c.put("later", "even", "no")
		c.eq("names", names(c.list(metav1.ListOptions{ResourceVersion: from, Limit: 5})), "m00 m01")
	})
	for _, refusal := range []struct {
		name, field string
		options     metav1.ListOptions
	}{
		{"a match without a version", "resourceVersionMatch", metav1.ListOptions{ResourceVersionMatch: metav1.ResourceVersionMatchExact}},
		{"exactly version 0", "resourceVersionMatch", metav1.ListOptions{ResourceVersionMatch: metav1.ResourceVersionMatchExact, ResourceVersion: "0"}},
		{"a match that is none", "resourceVersionMatch", metav1.ListOptions{ResourceVersionMatch: "Roughly", ResourceVersion: "1"}},
		{"a match in a later page", "resourceVersionMatch", metav1.ListOptions{ResourceVersionMatch: metav1.ResourceVersionMatchExact, ResourceVersion: "1", Continue: "x"}},
	} {
		g.check(refusal.name, func(c *Case) {
			_, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, refusal.options)
			status := c.refused(err, metav1.StatusReasonInvalid, 422, "")
			c.eq("kind", status.Details.Kind+" "+status.Details.Group, "ListOptions meta.k8s.io")
			c.eq("field", status.Details.Causes[0].Field, refusal.field)
		})
	}
	g.check("of a version that is yet to come", func(c *Case) {
		// client-go would try again and again.
		got := c.ask("GET", c.maps("?resourceVersion=999999999&resourceVersionMatch=NotOlderThan"), "")
		c.eq("code", got.code, 504)
		c.eq("reason", got.at("reason"), any("Timeout"))
		c.eq("cause", got.at("details", "causes", 0, "reason"), any("ResourceVersionTooLarge"))
		c.eq("retry", got.at("details", "retryAfterSeconds"), any(1.0))
	})
	g.check("a version that is none", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{ResourceVersion: "abc"})
		c.refused(err, metav1.StatusReasonBadRequest, 400, `invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax`)
	})
	g.check("an old version that is forgotten", func(c *Case) {
		compact := os.Getenv("COMPACT")
		if compact == "" {
			c.Skip("COMPACT is not set")
		}
		from := c.many(3)
		first := c.list(metav1.ListOptions{Limit: 1})
		c.put("later", "even", "no")
		c.ok(exec.CommandContext(c.ctx, "sh", "-c", compact).Run())
		_, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{ResourceVersion: from, ResourceVersionMatch: metav1.ResourceVersionMatchExact, LabelSelector: "even"})
		c.refused(err, metav1.StatusReasonExpired, 410, "")
		_, err = typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{Continue: first.Continue, Limit: 1, LabelSelector: "even"})
		status := c.refused(err, metav1.StatusReasonExpired, 410, "")
		c.that(status.ListMeta.Continue != "", "no token to go on with")
		c.eq("goes on", names(c.list(metav1.ListOptions{Continue: status.ListMeta.Continue, Limit: 1})), "m01")
	})
}

func TestSelectors(t *testing.T) {
	g := begin(t)
	for _, selector := range []struct{ name, labels, want string }{
		{"equal", "k=1", "a b"}, {"equal, twice", "k==1,l=x", "a"}, {"not equal", "k!=1", "c d"}, {"in", "k in (2,3)", "c"},
		{"not in", "k notin (1,2)", "d"}, {"there", "l", "a c"}, {"not there", "!l", "b d"}, {"an empty value", "e=", "d"},
		{"greater", "k>1", "c"}, {"less", "k<2", "a b"},
	} {
		g.check("labels "+selector.name, func(c *Case) {
			c.put("a", "k", "1", "l", "x")
			c.put("b", "k", "1")
			c.put("c", "k", "2", "l", "y")
			c.put("d", "e", "")
			c.eq("names", names(c.list(metav1.ListOptions{LabelSelector: selector.labels, FieldSelector: mine})), selector.want)
		})
	}
	for _, bad := range []struct{ name, labels, text string }{
		{"labels that are none", "a=b=c", ""},
		{"a label with a bad value", "a=b c", ""},
		{"a set that does not end", "a in (b", ""},
	} {
		g.check(bad.name, func(c *Case) {
			_, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{LabelSelector: bad.labels})
			c.refused(err, metav1.StatusReasonBadRequest, 400, bad.text)
		})
	}
	for _, selector := range []struct{ name, fields, want string }{
		{"spec.nodeName", "spec.nodeName=", "p q"}, {"status.phase", "status.phase=Pending", "p q"}, {"metadata.name", "metadata.name=q", "q"},
		{"spec.restartPolicy", "spec.restartPolicy=Never", "q"}, {"spec.schedulerName", "spec.schedulerName=nobody", "p q"},
		{"spec.serviceAccountName", "spec.serviceAccountName!=default", ""},
	} {
		g.check("pods by "+selector.name, func(c *Case) {
			c.idle("p")
			c.idle("q", func(pod *corev1.Pod) { pod.Spec.RestartPolicy = corev1.RestartPolicyNever })
			list, err := typed.CoreV1().Pods(c.ns).List(c.ctx, metav1.ListOptions{FieldSelector: selector.fields})
			c.ok(err)
			got := []string{}
			for _, pod := range list.Items {
				got = append(got, pod.Name)
			}
			c.eq("names", strings.Join(got, " "), selector.want)
		})
	}
	g.check("secrets by type", func(c *Case) {
		_, err := typed.CoreV1().Secrets(c.ns).Create(c.ctx, &corev1.Secret{ObjectMeta: named("s"), Type: "example.com/t"}, metav1.CreateOptions{})
		c.ok(err)
		list, err := typed.CoreV1().Secrets(c.ns).List(c.ctx, metav1.ListOptions{FieldSelector: "type=example.com/t"})
		c.ok(err)
		c.eq("found", len(list.Items), 1)
	})
	g.check("nodes that take pods", func(c *Case) {
		list, err := typed.CoreV1().Nodes().List(c.ctx, metav1.ListOptions{FieldSelector: "spec.unschedulable=false"})
		c.ok(err)
		c.that(len(list.Items) > 0, "no node")
	})
	g.check("events by what they are about", func(c *Case) {
		_, err := typed.CoreV1().Events(c.ns).Create(c.ctx, &corev1.Event{ObjectMeta: named("e"), Reason: "Because", Type: "Normal",
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: c.ns, Name: "p", UID: "u"}}, metav1.CreateOptions{})
		c.ok(err)
		list, err := typed.CoreV1().Events(c.ns).List(c.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=p,involvedObject.kind=Pod,involvedObject.uid=u,reason=Because,type=Normal"})
		c.ok(err)
		c.eq("found", len(list.Items), 1)
	})
	g.check("by a field that is not known", func(c *Case) {
		_, err := typed.CoreV1().Pods(c.ns).List(c.ctx, metav1.ListOptions{FieldSelector: "spec.nope=1"})
		c.refused(err, metav1.StatusReasonBadRequest, 400, "field label not supported: spec.nope")
	})
}
