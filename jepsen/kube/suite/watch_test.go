// Watches: where they begin, what they show, how they are framed.

package suite

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func TestWatch(t *testing.T) {
	g := begin(t)
	g.check("from a version it shows what came after", func(c *Case) {
		c.put("before")
		from := c.put("last").ResourceVersion
		w := c.follow(metav1.ListOptions{ResourceVersion: from})
		c.put("after")
		c.comes(w, "ADDED after")
	})
	g.check("from no version it shows what is there first", func(c *Case) {
		c.put("a")
		c.put("b")
		w := c.follow(metav1.ListOptions{FieldSelector: mine})
		got := []string{told(c.next(w)), told(c.next(w))}
		slices.Sort(got)
		c.eq("events", got, []string{"ADDED a", "ADDED b"})
		c.set("a", "1")
		c.comes(w, "MODIFIED a")
	})
	g.check("from version 0 it shows what is there first", func(c *Case) {
		c.put("a")
		w := c.follow(metav1.ListOptions{FieldSelector: mine, ResourceVersion: "0"})
		c.comes(w, "ADDED a")
		c.del("a")
		c.comes(w, "DELETED a")
	})
	g.check("of one name", func(c *Case) {
		from := c.put("a").ResourceVersion
		w := c.follow(metav1.ListOptions{FieldSelector: "metadata.name=b", ResourceVersion: from})
		c.set("a", "1")
		c.put("b")
		c.comes(w, "ADDED b")
	})
	g.check("a label that comes and goes is an object that comes and goes", func(c *Case) {
		made := c.put("a")
		w := c.follow(metav1.ListOptions{LabelSelector: "in=yes", ResourceVersion: made.ResourceVersion})
		made.Labels = map[string]string{"in": "yes"}
		made, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, made, metav1.UpdateOptions{})
		c.ok(err)
		c.comes(w, "ADDED a")
		made.Data["n"] = "1"
		made, err = typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, made, metav1.UpdateOptions{})
		c.ok(err)
		c.comes(w, "MODIFIED a")
		made.Labels["in"] = "no"
		made.Data["n"] = "2"
		made, err = typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, made, metav1.UpdateOptions{})
		c.ok(err)
		event := c.next(w)
		c.eq("event", told(event), "DELETED a")
		gone := event.Object.(*corev1.ConfigMap)
		c.eq("its last state that was selected", gone.Labels["in"]+gone.Data["n"], "yes1")
		c.eq("with the version of the change", gone.ResourceVersion, made.ResourceVersion)
	})
	g.check("a field that comes and goes is an object that comes and goes", func(c *Case) {
		pod := c.idle("p")
		w, err := typed.CoreV1().Pods(c.ns).Watch(c.ctx, metav1.ListOptions{FieldSelector: "status.phase=Running", ResourceVersion: pod.ResourceVersion})
		c.ok(err)
		defer w.Stop()
		pod.Status.Phase = corev1.PodRunning
		pod, err = typed.CoreV1().Pods(c.ns).UpdateStatus(c.ctx, pod, metav1.UpdateOptions{})
		c.ok(err)
		c.comes(w, "ADDED p")
		pod.Status.Phase = corev1.PodFailed
		_, err = typed.CoreV1().Pods(c.ns).UpdateStatus(c.ctx, pod, metav1.UpdateOptions{})
		c.ok(err)
		c.comes(w, "DELETED p")
	})
	g.check("a deletion shows the last state with a version of its own", func(c *Case) {
		made := c.put("a", "k", "v")
		w := c.follow(metav1.ListOptions{ResourceVersion: made.ResourceVersion})
		c.del("a")
		event := c.next(w)
		c.eq("type", event.Type, watch.Deleted)
		gone := event.Object.(*corev1.ConfigMap)
		c.eq("labels", gone.Labels["k"], "v")
		before, err := strconv.Atoi(made.ResourceVersion)
		c.ok(err)
		after, err := strconv.Atoi(gone.ResourceVersion)
		c.ok(err)
		c.that(after > before, "version %d after %d", after, before)
	})
	g.check("a write that changes nothing is no event", func(c *Case) {
		made := c.put("a")
		w := c.follow(metav1.ListOptions{ResourceVersion: made.ResourceVersion})
		same, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, made, metav1.UpdateOptions{})
		c.ok(err)
		c.eq("version", same.ResourceVersion, made.ResourceVersion)
		_, err = typed.CoreV1().ConfigMaps(c.ns).Patch(c.ctx, "a", types.MergePatchType, []byte(`{"data":{"n":"0"}}`), metav1.PatchOptions{})
		c.ok(err)
		c.put("b")
		c.comes(w, "ADDED b")
	})
	g.check("all watchers see one order", func(c *Case) {
		from := c.put("first").ResourceVersion
		watches := []watch.Interface{}
		for range 3 {
			watches = append(watches, c.follow(metav1.ListOptions{ResourceVersion: from}))
		}
		done := make(chan error)
		for writer := range 5 {
			go func() {
				var err error
				for n := range 6 {
					object := &corev1.ConfigMap{ObjectMeta: named(fmt.Sprintf("w%d-%d", writer, n))}
					if _, made := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, object, metav1.CreateOptions{}); made != nil {
						err = made
					}
				}
				done <- err
			}()
		}
		for range 5 {
			c.ok(<-done)
		}
		orders := [3][]string{}
		for i, w := range watches {
			for len(orders[i]) < 30 {
				orders[i] = append(orders[i], told(c.next(w)))
			}
		}
		c.eq("second watcher", orders[1], orders[0])
		c.eq("third watcher", orders[2], orders[0])
	})
	g.check("it ends by itself after its time", func(c *Case) {
		w := c.follow(metav1.ListOptions{TimeoutSeconds: pointer(int64(1)), ResourceVersion: c.put("a").ResourceVersion, FieldSelector: "metadata.name=none"})
		for event := range w.ResultChan() {
			c.Fatalf("%s", told(event))
		}
	})
	g.check("the old path of watches", func(c *Case) {
		from := c.put("a").ResourceVersion
		response := c.open(web, "GET", "/api/v1/watch/namespaces/"+c.ns+"/configmaps?fieldSelector=metadata.name%21%3Dkube-root-ca.crt&resourceVersion="+from, "")
		defer response.Body.Close()
		c.put("b")
		line, err := bufio.NewReader(response.Body).ReadString('\n')
		c.ok(err)
		var event map[string]any
		c.ok(json.Unmarshal([]byte(line), &event))
		c.eq("event", fmt.Sprint(event["type"], " ", at(event, "object", "metadata", "name")), "ADDED b")
	})
	g.check("in all namespaces", func(c *Case) {
		from := c.put("a", "suite", c.ns).ResourceVersion
		w, err := typed.CoreV1().ConfigMaps("").Watch(c.ctx, metav1.ListOptions{LabelSelector: "suite=" + c.ns, ResourceVersion: from})
		c.ok(err)
		defer w.Stop()
		c.del("a")
		c.comes(w, "DELETED a")
	})
	g.check("a version that is none is refused", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Watch(c.ctx, metav1.ListOptions{ResourceVersion: "abc"})
		c.refused(err, metav1.StatusReasonUnknown, 500, `resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax`)
	})
}

func TestWatchFraming(t *testing.T) {
	g := begin(t)
	g.check("json is an event a line", func(c *Case) {
		from := c.put("a").ResourceVersion
		response := c.open(web, "GET", c.maps("?watch=true&fieldSelector=metadata.name%21%3Dkube-root-ca.crt&resourceVersion="+from), "", "Accept: application/json", "Accept-Encoding: gzip")
		defer response.Body.Close()
		c.eq("content type", response.Header.Get("Content-Type"), "application/json")
		c.eq("content encoding", response.Header.Get("Content-Encoding"), "")
		c.put("b")
		c.del("b")
		lines := bufio.NewReader(response.Body)
		for _, want := range []string{"ADDED", "DELETED"} {
			line, err := lines.ReadString('\n')
			c.ok(err)
			var event map[string]any
			c.ok(json.Unmarshal([]byte(line), &event))
			c.eq("type", event["type"], any(want))
			c.eq("kind", at(event, "object", "kind"), any("ConfigMap"))
			c.eq("version", at(event, "object", "apiVersion"), any("v1"))
		}
	})
	g.check("protobuf is a length and an event", func(c *Case) {
		from := c.put("a").ResourceVersion
		response := c.open(web, "GET", c.maps("?watch=true&fieldSelector=metadata.name%21%3Dkube-root-ca.crt&resourceVersion="+from), "", "Accept: application/vnd.kubernetes.protobuf;stream=watch")
		defer response.Body.Close()
		c.eq("content type", response.Header.Get("Content-Type"), "application/vnd.kubernetes.protobuf;stream=watch")
		c.put("b")
		length := make([]byte, 4)
		_, err := io.ReadFull(response.Body, length)
		c.ok(err)
		frame := make([]byte, binary.BigEndian.Uint32(length))
		_, err = io.ReadFull(response.Body, frame)
		c.ok(err)
		var event metav1.WatchEvent
		c.ok(event.Unmarshal(frame))
		c.eq("type", event.Type, "ADDED")
		c.eq("magic", string(event.Object.Raw[:4]), "k8s\x00")
	})
	g.check("tables have their columns in the first event only", func(c *Case) {
		from := c.put("a").ResourceVersion
		response := c.open(web, "GET", c.maps("?watch=true&fieldSelector=metadata.name%21%3Dkube-root-ca.crt&resourceVersion="+from), "", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io")
		defer response.Body.Close()
		c.put("b")
		c.put("c")
		lines := bufio.NewReader(response.Body)
		for i, want := range []string{"b", "c"} {
			line, err := lines.ReadString('\n')
			c.ok(err)
			var event map[string]any
			c.ok(json.Unmarshal([]byte(line), &event))
			c.eq("kind", at(event, "object", "kind"), any("Table"))
			c.eq("name", at(event, "object", "rows", 0, "cells", 0), any(want))
			columns, _ := at(event, "object", "columnDefinitions").([]any)
			c.eq("columns", len(columns) > 0, i == 0)
		}
	})
	g.check("an object may be shown by its metadata only", func(c *Case) {
		from := c.put("a").ResourceVersion
		response := c.open(web, "GET", c.maps("?watch=true&fieldSelector=metadata.name%21%3Dkube-root-ca.crt&resourceVersion="+from), "", "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
		defer response.Body.Close()
		c.put("b")
		line, err := bufio.NewReader(response.Body).ReadString('\n')
		c.ok(err)
		var event map[string]any
		c.ok(json.Unmarshal([]byte(line), &event))
		c.eq("kind", at(event, "object", "kind"), any("PartialObjectMetadata"))
		c.eq("name", at(event, "object", "metadata", "name"), any("b"))
		c.eq("data", at(event, "object", "data"), nil)
	})
}

func TestWatchList(t *testing.T) {
	g := begin(t)
	initial := func(options metav1.ListOptions) metav1.ListOptions {
		options.SendInitialEvents = pointer(true)
		options.ResourceVersionMatch = metav1.ResourceVersionMatchNotOlderThan
		options.AllowWatchBookmarks = true
		return options
	}
	end := func(c *Case, event watch.Event) {
		c.Helper()
		c.eq("type", event.Type, watch.Bookmark)
		object := event.Object.(metav1.Object)
		c.eq("annotation", object.GetAnnotations()[metav1.InitialEventsAnnotationKey], "true")
		c.that(object.GetResourceVersion() != "", "no version")
	}
	g.check("shows what is there, a bookmark, and what comes", func(c *Case) {
		c.put("a")
		c.put("b")
		w := c.follow(initial(metav1.ListOptions{FieldSelector: mine}))
		got := []string{told(c.next(w)), told(c.next(w))}
		slices.Sort(got)
		c.eq("events", got, []string{"ADDED a", "ADDED b"})
		end(c, c.next(w))
		c.put("c")
		c.comes(w, "ADDED c")
	})
	g.check("of nothing is the bookmark alone", func(c *Case) {
		w := c.follow(initial(metav1.ListOptions{FieldSelector: "metadata.name=none"}))
		end(c, c.next(w))
	})
	g.check("of what a selector takes", func(c *Case) {
		c.put("a", "k", "1")
		c.put("b", "k", "2")
		w := c.follow(initial(metav1.ListOptions{LabelSelector: "k=2"}))
		c.comes(w, "ADDED b")
		end(c, c.next(w))
	})
	g.check("the bookmark is not older than a write before it", func(c *Case) {
		last := c.put("a")
		w := c.follow(initial(metav1.ListOptions{FieldSelector: mine}))
		c.comes(w, "ADDED a")
		event := c.next(w)
		end(c, event)
		wrote, err := strconv.Atoi(last.ResourceVersion)
		c.ok(err)
		marked, err := strconv.Atoi(event.Object.(metav1.Object).GetResourceVersion())
		c.ok(err)
		c.that(marked >= wrote, "bookmark %d, write %d", marked, wrote)
	})
	g.check("not older than a version", func(c *Case) {
		last := c.put("a")
		w := c.follow(initial(metav1.ListOptions{FieldSelector: mine, ResourceVersion: last.ResourceVersion}))
		c.comes(w, "ADDED a")
		end(c, c.next(w))
	})
	g.check("without initial events it begins now", func(c *Case) {
		from := c.put("a").ResourceVersion
		options := initial(metav1.ListOptions{ResourceVersion: from})
		options.SendInitialEvents = pointer(false)
		w := c.follow(options)
		c.set("a", "1")
		c.comes(w, "MODIFIED a")
	})
	g.check("in protobuf and in JSON alike", func(c *Case) {
		c.put("a")
		w, err := plain.CoreV1().ConfigMaps(c.ns).Watch(c.ctx, initial(metav1.ListOptions{FieldSelector: mine}))
		c.ok(err)
		defer w.Stop()
		c.comes(w, "ADDED a")
		end(c, c.next(w))
	})
	g.check("needs its resourceVersionMatch", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Watch(c.ctx, metav1.ListOptions{SendInitialEvents: pointer(true)})
		status := c.refused(err, metav1.StatusReasonInvalid, 422, "")
		c.eq("kind", status.Details.Kind, "ListOptions")
		c.eq("field", status.Details.Causes[0].Field, "resourceVersionMatch")
	})
	g.check("is for watches only", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{SendInitialEvents: pointer(true)})
		status := c.refused(err, metav1.StatusReasonInvalid, 422, "")
		c.eq("field", status.Details.Causes[0].Field, "sendInitialEvents")
	})
	g.check("resourceVersionMatch alone is refused", func(c *Case) {
		_, err := typed.CoreV1().ConfigMaps(c.ns).Watch(c.ctx, metav1.ListOptions{ResourceVersion: "1", ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
		c.refused(err, metav1.StatusReasonInvalid, 422, "")
	})
}
