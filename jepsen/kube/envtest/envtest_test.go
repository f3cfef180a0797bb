// Package envtest lets controller-runtime's envtest start kstore as etcd and as
// kube-apiserver, by the flags that envtest gives upstream's programs, and does
// with it what the test suites of controllers do.
package envtest

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const limit = 30 * time.Second

func start(t *testing.T) (*envtest.Environment, *rest.Config) {
	t.Helper()
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	environment := &envtest.Environment{
		AttachControlPlaneOutput: os.Getenv("ENVTEST_OUTPUT") != "",
	}
	begun := time.Now()
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Logf("etcd and kube-apiserver were ready after %v", time.Since(begun).Round(time.Millisecond))
	t.Cleanup(func() {
		begun := time.Now()
		if err := environment.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		t.Logf("they had stopped after %v", time.Since(begun).Round(time.Millisecond))
	})
	return environment, config
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// until asks again and again until the answer is yes.
func until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ask(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestObjectsAreCreatedListedAndDeleted(t *testing.T) {
	_, config := start(t)
	ctx := context.Background()
	c := newClient(t, config)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Create(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	made := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: namespace.Name},
		Data:       map[string]string{"k": "v"},
	}
	if err := c.Create(ctx, made); err != nil {
		t.Fatal(err)
	}
	var list corev1.ConfigMapList
	if err := c.List(ctx, &list, client.InNamespace(namespace.Name)); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Data["k"] != "v" {
		t.Fatalf("listed: %v", list.Items)
	}
	if err := c.Delete(ctx, made); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(made), made); !apierrors.IsNotFound(err) {
		t.Fatalf("it is still there: %v", err)
	}
}

// envtest leaves the ServiceAccount plugin out, since nobody makes accounts.
func TestAPodNeedsNoServiceAccount(t *testing.T) {
	_, config := start(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "image"}}},
	}
	if err := newClient(t, config).Create(context.Background(), pod); err != nil {
		t.Fatal(err)
	}
}

func TestAUserThatIsAddedMayWhatRolesSay(t *testing.T) {
	environment, _ := start(t)
	user, err := environment.AddUser(envtest.User{Name: "jane", Groups: []string{"devs"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var list corev1.ConfigMapList
	err = newClient(t, user.Config()).List(context.Background(), &list)
	if !apierrors.IsForbidden(err) {
		t.Fatalf("a user without a role may list: %v", err)
	}
}

// stamp is a controller: every config map gets a label.
type stamp struct{ client.Client }

func (s *stamp) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var found corev1.ConfigMap
	if err := s.Get(ctx, request.NamespacedName, &found); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if found.Labels["stamped"] == "yes" {
		return ctrl.Result{}, nil
	}
	old := found.DeepCopy()
	if found.Labels == nil {
		found.Labels = map[string]string{}
	}
	found.Labels["stamped"] = "yes"
	return ctrl.Result{}, s.Patch(ctx, &found, client.MergeFrom(old))
}

func TestAManagerRunsAController(t *testing.T) {
	_, config := start(t)
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:           scheme.Scheme,
		Metrics:          server.Options{BindAddress: "0"},
		LeaderElection:   true,
		LeaderElectionID: "stamp", LeaderElectionNamespace: "default",
	})
	if err != nil {
		t.Fatal(err)
	}
	err = ctrl.NewControllerManagedBy(manager).For(&corev1.ConfigMap{}).Complete(&stamp{manager.GetClient()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	c := newClient(t, config)
	names := []string{"a", "b", "c"}
	for _, name := range names {
		made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
		if err := c.Create(ctx, made); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all config maps are stamped", func() bool {
		var list corev1.ConfigMapList
		if err := c.List(ctx, &list, client.InNamespace("default"), client.MatchingLabels{"stamped": "yes"}); err != nil {
			t.Fatal(err)
		}
		return len(list.Items) == len(names)
	})
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
