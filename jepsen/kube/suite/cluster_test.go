// What a cluster does by itself: admission, addresses, controllers, leaders.

package suite

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func TestAdmission(t *testing.T) {
	g := begin(t)
	g.check("a pod gets an account and its token", func(c *Case) {
		pod := c.idle("p")
		c.eq("account", pod.Spec.ServiceAccountName, "default")
		c.eq("volume", len(pod.Spec.Volumes), 1)
		c.eq("sources", len(pod.Spec.Volumes[0].Projected.Sources), 3)
		c.eq("mount", pod.Spec.Containers[0].VolumeMounts[0].MountPath, "/var/run/secrets/kubernetes.io/serviceaccount")
		c.that(pod.Spec.Containers[0].VolumeMounts[0].ReadOnly, "writable")
	})
	g.check("a pod may do without a token", func(c *Case) {
		pod := c.idle("p", func(pod *corev1.Pod) { pod.Spec.AutomountServiceAccountToken = pointer(false) })
		c.eq("volumes", len(pod.Spec.Volumes), 0)
	})
	g.check("a pod tolerates a node that is away for five minutes", func(c *Case) {
		pod := c.idle("p")
		c.eq("tolerations", len(pod.Spec.Tolerations), 2)
		c.eq("first", fmt.Sprintf("%s %s %d", pod.Spec.Tolerations[0].Key, pod.Spec.Tolerations[0].Effect, *pod.Spec.Tolerations[0].TolerationSeconds), "node.kubernetes.io/not-ready NoExecute 300")
		c.eq("second", pod.Spec.Tolerations[1].Key, "node.kubernetes.io/unreachable")
	})
	g.check("a pod gets the number of its priority", func(c *Case) {
		name := "suite-" + c.ns
		_, err := typed.SchedulingV1().PriorityClasses().Create(c.ctx, &schedulingv1.PriorityClass{ObjectMeta: named(name), Value: 77}, metav1.CreateOptions{})
		c.ok(err)
		defer func() { _ = typed.SchedulingV1().PriorityClasses().Delete(c.ctx, name, metav1.DeleteOptions{}) }()
		var pod *corev1.Pod
		c.account()
		c.until("the class counts", func() bool {
			pod, err = typed.CoreV1().Pods(c.ns).Create(c.ctx, &corev1.Pod{ObjectMeta: named("p"), Spec: corev1.PodSpec{PriorityClassName: name, SchedulerName: "nobody",
				Containers: []corev1.Container{{Name: "c", Image: "i"}}}}, metav1.CreateOptions{})
			return err == nil
		})
		c.eq("priority", *pod.Spec.Priority, int32(77))
		c.eq("preempts", *pod.Spec.PreemptionPolicy, corev1.PreemptLowerPriority)
	})
	g.check("the classes of the system", func(c *Case) {
		class, err := typed.SchedulingV1().PriorityClasses().Get(c.ctx, "system-node-critical", metav1.GetOptions{})
		c.ok(err)
		c.eq("value", class.Value, int32(2000001000))
	})
	g.check("limits fill in and refuse", func(c *Case) {
		_, err := typed.CoreV1().LimitRanges(c.ns).Create(c.ctx, &corev1.LimitRange{ObjectMeta: named("l"), Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{"cpu": resource.MustParse("1")}, Default: corev1.ResourceList{"cpu": resource.MustParse("500m")},
			DefaultRequest: corev1.ResourceList{"cpu": resource.MustParse("100m")},
		}}}}, metav1.CreateOptions{})
		c.ok(err)
		var pod *corev1.Pod
		n := 0
		c.until("the limits count", func() bool {
			n++
			pod = c.idle(fmt.Sprintf("p%d", n))
			return len(pod.Spec.Containers[0].Resources.Limits) > 0
		})
		c.eq("limit", pod.Spec.Containers[0].Resources.Limits.Cpu().String(), "500m")
		c.eq("request", pod.Spec.Containers[0].Resources.Requests.Cpu().String(), "100m")
		c.eq("note", pod.Annotations["kubernetes.io/limit-ranger"], "LimitRanger plugin set: cpu request for container c; cpu limit for container c")
		_, err = typed.CoreV1().Pods(c.ns).Create(c.ctx, &corev1.Pod{ObjectMeta: named("big"), Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i",
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("2")}}}}}}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonForbidden, 403, `pods "big" is forbidden: maximum cpu usage per Container is 1, but limit is 2`)
	})
	g.check("a quota refuses what is too much", func(c *Case) {
		_, err := typed.CoreV1().ResourceQuotas(c.ns).Create(c.ctx, &corev1.ResourceQuota{ObjectMeta: named("q"), Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"secrets": resource.MustParse("1")}}}, metav1.CreateOptions{})
		c.ok(err)
		c.until("it counts", func() bool {
			quota, err := typed.CoreV1().ResourceQuotas(c.ns).Get(c.ctx, "q", metav1.GetOptions{})
			c.ok(err)
			_, counted := quota.Status.Used["secrets"]
			return counted
		})
		_, err = typed.CoreV1().Secrets(c.ns).Create(c.ctx, &corev1.Secret{ObjectMeta: named("a")}, metav1.CreateOptions{})
		c.ok(err)
		_, err = typed.CoreV1().Secrets(c.ns).Create(c.ctx, &corev1.Secret{ObjectMeta: named("b")}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonForbidden, 403, `secrets "b" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1`)
		c.ok(typed.CoreV1().Secrets(c.ns).Delete(c.ctx, "a", metav1.DeleteOptions{}))
		c.until("room again", func() bool {
			_, err = typed.CoreV1().Secrets(c.ns).Create(c.ctx, &corev1.Secret{ObjectMeta: named("b")}, metav1.CreateOptions{})
			return err == nil
		})
	})
}

func TestServices(t *testing.T) {
	g := begin(t)
	make := func(c *Case, name string, change func(*corev1.ServiceSpec)) (*corev1.Service, error) {
		service := &corev1.Service{ObjectMeta: named(name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
		if change != nil {
			change(&service.Spec)
		}
		return typed.CoreV1().Services(c.ns).Create(c.ctx, service, metav1.CreateOptions{})
	}
	g.check("get addresses of their own", func(c *Case) {
		one, err := make(c, "one", nil)
		c.ok(err)
		other, err := make(c, "other", nil)
		c.ok(err)
		c.that(one.Spec.ClusterIP != other.Spec.ClusterIP, "%s twice", one.Spec.ClusterIP)
		_, err = netip.ParseAddr(one.Spec.ClusterIP)
		c.ok(err)
		c.eq("families", one.Spec.IPFamilies, []corev1.IPFamily{corev1.IPv4Protocol})
		c.eq("affinity", one.Spec.SessionAffinity, corev1.ServiceAffinityNone)
	})
	g.check("an address may be asked for and comes back", func(c *Case) {
		one, err := make(c, "one", nil)
		c.ok(err)
		wanted := one.Spec.ClusterIP
		_, err = make(c, "thief", func(spec *corev1.ServiceSpec) { spec.ClusterIP = wanted })
		c.refused(err, metav1.StatusReasonInvalid, 422, fmt.Sprintf(`Service "thief" is invalid: spec.clusterIPs: Invalid value: [%q]: failed to allocate IP %s: provided IP is already allocated`, wanted, wanted))
		c.ok(typed.CoreV1().Services(c.ns).Delete(c.ctx, "one", metav1.DeleteOptions{}))
		c.until("the address is free", func() bool {
			_, err = make(c, "heir", func(spec *corev1.ServiceSpec) { spec.ClusterIP = wanted })
			return err == nil
		})
	})
	g.check("a port of the node that is taken", func(c *Case) {
		one, err := make(c, "one", func(spec *corev1.ServiceSpec) { spec.Type = corev1.ServiceTypeNodePort })
		c.ok(err)
		port := one.Spec.Ports[0].NodePort
		c.that(port >= 30000 && port <= 32767, "port %d", port)
		_, err = make(c, "thief", func(spec *corev1.ServiceSpec) { spec.Type, spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, port })
		c.refused(err, metav1.StatusReasonInvalid, 422, fmt.Sprintf(`Service "thief" is invalid: spec.ports[0].nodePort: Invalid value: %d: provided port is already allocated`, port))
	})
	g.check("as a dry run take no address", func(c *Case) {
		probe, err := make(c, "probe", nil)
		c.ok(err)
		wanted := probe.Spec.ClusterIP
		c.ok(typed.CoreV1().Services(c.ns).Delete(c.ctx, "probe", metav1.DeleteOptions{}))
		dry := &corev1.Service{ObjectMeta: named("dry"), Spec: corev1.ServiceSpec{ClusterIP: wanted, Ports: []corev1.ServicePort{{Port: 80}}}}
		c.until("the address is free", func() bool {
			_, err := typed.CoreV1().Services(c.ns).Create(c.ctx, dry, metav1.CreateOptions{DryRun: []string{"All"}})
			return err == nil
		})
		_, err = make(c, "real", func(spec *corev1.ServiceSpec) { spec.ClusterIP = wanted })
		c.ok(err)
	})
	g.check("the server has one", func(c *Case) {
		service, err := typed.CoreV1().Services("default").Get(c.ctx, "kubernetes", metav1.GetOptions{})
		c.ok(err)
		c.eq("port", service.Spec.Ports[0].Name, "https")
		c.eq("label", service.Labels["component"]+" "+service.Labels["provider"], "apiserver kubernetes")
	})
}

func TestControllers(t *testing.T) {
	g := begin(t)
	g.check("a deployment becomes running pods and endpoints", func(c *Case) {
		c.account()
		object := workload("w", 3)
		object.Spec.Template.Spec.SchedulerName = ""
		_, err := typed.AppsV1().Deployments(c.ns).Create(c.ctx, object, metav1.CreateOptions{})
		c.ok(err)
		_, err = typed.CoreV1().Services(c.ns).Create(c.ctx, &corev1.Service{ObjectMeta: named("w"), Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "w"}, Ports: []corev1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
		c.ok(err)
		c.until("three are ready", func() bool {
			object, err := typed.AppsV1().Deployments(c.ns).Get(c.ctx, "w", metav1.GetOptions{})
			c.ok(err)
			return object.Status.ReadyReplicas == 3 && object.Status.ObservedGeneration == object.Generation
		})
		c.until("three endpoints", func() bool {
			list, err := typed.DiscoveryV1().EndpointSlices(c.ns).List(c.ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=w"})
			c.ok(err)
			return len(list.Items) == 1 && len(list.Items[0].Endpoints) == 3
		})
		_, err = typed.AppsV1().Deployments(c.ns).Patch(c.ctx, "w", types.MergePatchType, []byte(`{"spec":{"replicas":1}}`), metav1.PatchOptions{})
		c.ok(err)
		c.until("one pod", func() bool {
			list, err := typed.CoreV1().Pods(c.ns).List(c.ctx, metav1.ListOptions{LabelSelector: "app=w"})
			c.ok(err)
			return len(list.Items) == 1
		})
	})
	g.check("a namespace gets an account and the certificate of the server", func(c *Case) {
		c.account()
		c.until("the certificate", func() bool {
			object, err := typed.CoreV1().ConfigMaps(c.ns).Get(c.ctx, "kube-root-ca.crt", metav1.GetOptions{})
			return err == nil && object.Data["ca.crt"] != "" && object.Annotations["kubernetes.io/description"] != ""
		})
	})
	g.check("an account comes back", func(c *Case) {
		c.account()
		c.ok(typed.CoreV1().ServiceAccounts(c.ns).Delete(c.ctx, "default", metav1.DeleteOptions{}))
		c.account()
	})
	g.check("nodes renew their leases", func(c *Case) {
		leases, err := typed.CoordinationV1().Leases("kube-node-lease").List(c.ctx, metav1.ListOptions{})
		c.ok(err)
		c.that(len(leases.Items) > 0 && time.Since(leases.Items[0].Spec.RenewTime.Time) < time.Minute, "%v", leases.Items)
	})
}

func TestLeaders(t *testing.T) {
	g := begin(t)
	// stand lets one stand for election; elected gets its name when it leads.
	stand := func(c *Case, who string, elected chan string) (stop func()) {
		ctx, cancel := context.WithCancel(c.ctx)
		lock := &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "election"}, Client: typed.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: who}}
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) { elected <- who }, OnStoppedLeading: func() {}},
		})
		c.ok(err)
		var done sync.WaitGroup
		done.Go(func() { elector.Run(ctx) })
		return func() { cancel(); done.Wait() }
	}
	g.check("one leads, and hands over", func(c *Case) {
		elected := make(chan string, 9)
		stopOne := stand(c, "one", elected)
		c.eq("leader", <-elected, "one")
		stopOther := stand(c, "other", elected)
		defer stopOther()
		lease, err := typed.CoordinationV1().Leases(c.ns).Get(c.ctx, "election", metav1.GetOptions{})
		c.ok(err)
		c.eq("holder", *lease.Spec.HolderIdentity, "one")
		stopOne()
		select {
		case who := <-elected:
			c.eq("next", who, "other")
		case <-c.ctx.Done():
			c.Fatal("nobody leads")
		}
		lease, err = typed.CoordinationV1().Leases(c.ns).Get(c.ctx, "election", metav1.GetOptions{})
		c.ok(err)
		c.that(*lease.Spec.LeaseTransitions >= 1, "%d transitions", *lease.Spec.LeaseTransitions)
	})
	g.check("times are kept to the microsecond", func(c *Case) {
		now := metav1.NewMicroTime(time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC))
		made, err := typed.CoordinationV1().Leases(c.ns).Create(c.ctx, &coordinationv1.Lease{ObjectMeta: named("l"), Spec: coordinationv1.LeaseSpec{RenewTime: &now, HolderIdentity: pointer("me")}}, metav1.CreateOptions{})
		c.ok(err)
		c.that(made.Spec.RenewTime.Equal(&now), "%v", made.Spec.RenewTime)
		got := c.ask("GET", "/apis/coordination.k8s.io/v1/namespaces/"+c.ns+"/leases/l", "")
		c.eq("text", got.at("spec", "renewTime"), any("2026-01-02T03:04:05.678901Z"))
	})
}
