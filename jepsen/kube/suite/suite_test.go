// What all groups share: the connections, the case and its words.

package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// caseTimeout ends a case whose answer never comes.
	caseTimeout = 60 * time.Second
	// poll is how often a case looks again for what it waits for.
	poll = 20 * time.Millisecond
)

var (
	config  *rest.Config
	typed   kubernetes.Interface // speaks protobuf, as client-go does unless told otherwise
	plain   kubernetes.Interface // the same in JSON
	dyn     dynamic.Interface
	meta    metadata.Interface
	web     *http.Client
	skipped = map[string]bool{}
	missing map[string]string // cases that kstore is known to fail, and why
	results *os.File
	run     = fmt.Sprintf("%x", time.Now().UnixNano()&0xffffffff) // makes the names of one run its own
	count   int                                                   // cases begun so far
	kstore  = os.Getenv("SERVER") == "kstore"
)

func TestMain(m *testing.M) { os.Exit(withServer(m)) }

func withServer(m *testing.M) int {
	if err := connect(); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		return 2
	}
	var err error
	if missing, err = known(); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		return 2
	}
	for _, group := range strings.Split(os.Getenv("SKIP"), ",") {
		skipped[group] = true
	}
	if name := os.Getenv("RESULTS"); name != "" {
		file, err := os.Create(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "suite:", err)
			return 2
		}
		defer file.Close()
		results = file
	}
	return m.Run()
}

func connect() error {
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	name := os.Getenv("KUBECONFIG")
	if name == "" {
		return errors.New("KUBECONFIG is not set; see doc.go and run-suite.sh")
	}
	var err error
	if config, err = clientcmd.BuildConfigFromFlags("", name); err != nil {
		return err
	}
	config.QPS, config.Burst = -1, 0 // the server's limits are tested, not the client's
	if typed, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	inJSON := rest.CopyConfig(config)
	inJSON.ContentType, inJSON.AcceptContentTypes = "application/json", "application/json"
	if plain, err = kubernetes.NewForConfig(inJSON); err != nil {
		return err
	}
	if dyn, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	if meta, err = metadata.NewForConfig(config); err != nil {
		return err
	}
	if web, err = rest.HTTPClientFor(config); err != nil {
		return err
	}
	return awaitNode()
}

// awaitNode waits for a node: a server that has just begun has none yet. Cases
// that need one fail by themselves if none comes.
func awaitNode() error {
	for range 1500 {
		nodes, err := plain.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, node := range nodes.Items {
			for _, condition := range node.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
					return nil
				}
			}
		}
		time.Sleep(poll)
	}
	fmt.Fprintln(os.Stderr, "suite: no node is ready")
	return nil
}

// Case is one named case: a test and a namespace of its own.
type Case struct {
	testing.TB
	ctx context.Context
	ns  string
}

// group runs cases by name.
type group struct {
	t    *testing.T
	name string
}

func begin(t *testing.T) group {
	name := strings.TrimPrefix(t.Name(), "Test")
	if skipped[name] {
		t.Skipf("%s is in SKIP", name)
	}
	return group{t, name}
}

// check runs one case. Its name is a sentence and is what the list of results shows.
func (g group) check(name string, body func(c *Case)) {
	g.t.Helper()
	g.t.Run(name, func(t *testing.T) {
		count++
		ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
		c := &Case{TB: t, ctx: ctx, ns: fmt.Sprintf("suite-%s-%03d", run, count)}
		what := g.name + ": " + name
		reason, isMissing := missing[what]
		t.Cleanup(func() {
			cancel()
			c.sweep()
			record(what, t, isMissing)
		})
		work := func() {
			defer c.survive()
			_, err := plain.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: named(c.ns)}, metav1.CreateOptions{})
			c.ok(err)
			body(c)
		}
		if !isMissing {
			work()
			return
		}
		wish := &wish{TB: t}
		c.TB = wish
		wish.runs(work)
		if wish.why == "" {
			t.Error("it works by now: a line less in kstore.missing")
			return
		}
		t.Logf("still missing (%s): %s", reason, wish.why)
	})
}

// wish is the test of a case that is known to fail: its failure is noted and no more.
type wish struct {
	testing.TB
	why string
}

// runs runs a case whose failure ends it and not the test.
func (w *wish) runs(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	<-done
}

func (w *wish) Errorf(format string, args ...any) { w.why = fmt.Sprintf(format, args...) }

func (w *wish) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	runtime.Goexit()
}

func (w *wish) Fatal(args ...any) { w.Fatalf("%s", fmt.Sprint(args...)) }

// known reads what kstore is known not to do yet: lines "group: case  # reason".
func known() (map[string]string, error) {
	lines, err := os.ReadFile("kstore.missing")
	if err != nil || !kstore {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(string(lines)) {
		what, reason, is := strings.Cut(strings.TrimSpace(line), "  # ")
		if !is {
			return nil, fmt.Errorf("kstore.missing: %q has no reason", line)
		}
		all[what] = reason
	}
	return all, nil
}

// survive makes a panic the failure of one case, so that the others still run.
func (c *Case) survive() {
	if cause := recover(); cause != nil {
		c.Errorf("panic: %v\n%s", cause, debug.Stack())
	}
}

// sweep leaves nothing behind, so that a server can be used for many runs.
func (c *Case) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = plain.CoreV1().Namespaces().Delete(ctx, c.ns, metav1.DeleteOptions{})
}

func record(name string, t *testing.T, isMissing bool) {
	verdict := "pass"
	if t.Failed() {
		verdict = "fail"
	} else if isMissing {
		verdict = "missing"
	} else if t.Skipped() {
		verdict = "skip"
	}
	if results != nil {
		fmt.Fprintf(results, "%s: %s\n", name, verdict)
	}
}

// --- Words for the cases -------------------------------------------------

func (c *Case) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("refused: %v", err)
	}
}

func (c *Case) eq(what string, got, want any) {
	c.Helper()
	if !reflect.DeepEqual(got, want) {
		c.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (c *Case) that(holds bool, format string, args ...any) {
	c.Helper()
	if !holds {
		c.Fatalf(format, args...)
	}
}

// refused checks reason, code and text of a refusal; an empty text is any.
func (c *Case) refused(err error, reason metav1.StatusReason, code int32, text string) *metav1.Status {
	c.Helper()
	if err == nil {
		c.Fatalf("accepted, want %s %q", reason, text)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		c.Fatalf("not a Status: %v", err)
	}
	got := status.Status()
	if got.Reason != reason || got.Code != code || (text != "" && got.Message != text) {
		c.Fatalf("got %s %d %q,\nwant %s %d %q", got.Reason, got.Code, got.Message, reason, code, text)
	}
	return &got
}

// until looks again and again until what it waits for holds.
func (c *Case) until(what string, holds func() bool) {
	c.Helper()
	for !holds() {
		select {
		case <-c.ctx.Done():
			c.Fatalf("never: %s", what)
		case <-time.After(poll):
		}
	}
}

// answer is what HTTP brought, undecoded.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// json decodes an answer.
func (a answer) json() map[string]any {
	var value map[string]any
	if err := json.Unmarshal(a.body, &value); err != nil {
		panic(fmt.Sprintf("%v in %.200s", err, a.body))
	}
	return value
}

// at is what stands at a path of an answer's JSON, nil if nothing does.
func (a answer) at(path ...any) any { return at(a.json(), path...) }

func at(value any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

// ask sends one request as it is. Headers are "Name: value".
func (c *Case) ask(method, path, body string, headers ...string) answer {
	c.Helper()
	return c.askWith(web, method, path, body, headers...)
}

func (c *Case) askWith(client *http.Client, method, path, body string, headers ...string) answer {
	c.Helper()
	response := c.open(client, method, path, body, headers...)
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	c.ok(err)
	return answer{response.StatusCode, response.Header, all}
}

// open is ask for an answer that goes on.
func (c *Case) open(client *http.Client, method, path, body string, headers ...string) *http.Response {
	c.Helper()
	request, err := http.NewRequestWithContext(c.ctx, method, strings.TrimSuffix(config.Host, "/")+path, bytes.NewReader([]byte(body)))
	c.ok(err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	if body != "" && request.Header.Get("Content-Type") == "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	c.ok(err)
	return response
}

// as is the configuration of the administrator who speaks for another.
func as(user string, groups ...string) *rest.Config {
	other := rest.CopyConfig(config)
	other.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return other
}

// withToken is a configuration that has a token and nothing else.
func withToken(token string) *rest.Config {
	other := rest.AnonymousClientConfig(config)
	other.BearerToken = token
	other.QPS = -1
	return other
}

func (c *Case) client(config *rest.Config) kubernetes.Interface {
	c.Helper()
	client, err := kubernetes.NewForConfig(config)
	c.ok(err)
	return client
}

// --- Objects ----------------------------------------------------------------

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func pointer[T any](value T) *T { return &value }

// maps is the path of the case's configmaps.
func (c *Case) maps(rest ...string) string {
	return "/api/v1/namespaces/" + c.ns + "/configmaps" + strings.Join(rest, "")
}

// put creates a configmap with pairs of labels.
func (c *Case) put(name string, labels ...string) *corev1.ConfigMap {
	c.Helper()
	object := &corev1.ConfigMap{ObjectMeta: named(name), Data: map[string]string{"n": "0"}}
	for i := 0; i+1 < len(labels); i += 2 {
		if object.Labels == nil {
			object.Labels = map[string]string{}
		}
		object.Labels[labels[i]] = labels[i+1]
	}
	made, err := typed.CoreV1().ConfigMaps(c.ns).Create(c.ctx, object, metav1.CreateOptions{})
	c.ok(err)
	return made
}

// set changes a value of a configmap.
func (c *Case) set(name, value string) *corev1.ConfigMap {
	c.Helper()
	object, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, name, metav1.GetOptions{})
	c.ok(err)
	object.Data = map[string]string{"n": value}
	changed, err := typed.CoreV1().ConfigMaps(c.ns).Update(c.ctx, object, metav1.UpdateOptions{})
	c.ok(err)
	return changed
}

func (c *Case) del(name string) {
	c.Helper()
	c.ok(typed.CoreV1().ConfigMaps(c.ns).Delete(c.ctx, name, metav1.DeleteOptions{}))
}

// mine leaves out the configmap that every namespace is given.
const mine = "metadata.name!=kube-root-ca.crt"

// idle makes a pod that no scheduler of the cluster takes.
func (c *Case) idle(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	c.Helper()
	c.account()
	pod := &corev1.Pod{ObjectMeta: named(name), Spec: corev1.PodSpec{
		SchedulerName: "nobody", Containers: []corev1.Container{{Name: "c", Image: "image"}},
	}}
	for _, change := range change {
		change(pod)
	}
	made, err := typed.CoreV1().Pods(c.ns).Create(c.ctx, pod, metav1.CreateOptions{})
	c.ok(err)
	return made
}

// account waits for the account that pods run under.
func (c *Case) account() {
	c.Helper()
	c.until("a default serviceaccount", func() bool {
		_, err := typed.CoreV1().ServiceAccounts(c.ns).Get(c.ctx, "default", metav1.GetOptions{})
		return err == nil
	})
}

// --- Watches ------------------------------------------------------------------

// next is the next event of a watch, its type and the object.
func (c *Case) next(w watch.Interface) watch.Event {
	c.Helper()
	select {
	case event, open := <-w.ResultChan():
		if !open {
			c.Fatal("the watch has ended")
		}
		return event
	case <-c.ctx.Done():
		c.Fatal("no event came")
	}
	return watch.Event{}
}

// told is an event in words: "ADDED name".
func told(event watch.Event) string {
	object, is := event.Object.(metav1.Object)
	if !is {
		return fmt.Sprintf("%s %v", event.Type, event.Object)
	}
	return string(event.Type) + " " + object.GetName()
}

// follow watches configmaps that the case has made, until it ends.
func (c *Case) follow(options metav1.ListOptions) watch.Interface {
	c.Helper()
	if options.FieldSelector == "" {
		options.FieldSelector = mine
	}
	w, err := typed.CoreV1().ConfigMaps(c.ns).Watch(c.ctx, options)
	c.ok(err)
	c.Cleanup(w.Stop)
	return w
}

// comes wants the next events to be these.
func (c *Case) comes(w watch.Interface, want ...string) {
	c.Helper()
	for _, want := range want {
		if got := told(c.next(w)); got != want {
			c.Fatalf("got %s, want %s", got, want)
		}
	}
}
