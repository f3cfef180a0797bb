// Who one is and what one may.

package suite

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// robot makes a serviceaccount that may do the verbs with configmaps.
func (c *Case) robot(verbs ...string) {
	c.Helper()
	_, err := typed.CoreV1().ServiceAccounts(c.ns).Create(c.ctx, &corev1.ServiceAccount{ObjectMeta: named("robot")}, metav1.CreateOptions{})
	c.ok(err)
	if len(verbs) == 0 {
		return
	}
	c.grant(rbacv1.Subject{Kind: "ServiceAccount", Name: "robot", Namespace: c.ns}, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: verbs})
	c.until("the binding counts", func() bool {
		return c.may(as("system:serviceaccount:"+c.ns+":robot"), verbs[0], "configmaps", "")
	})
}

// grant binds a role of the case to one who is not an administrator.
func (c *Case) grant(to rbacv1.Subject, rules ...rbacv1.PolicyRule) {
	c.Helper()
	_, err := typed.RbacV1().Roles(c.ns).Create(c.ctx, &rbacv1.Role{ObjectMeta: named("granted"), Rules: rules}, metav1.CreateOptions{})
	c.ok(err)
	_, err = typed.RbacV1().RoleBindings(c.ns).Create(c.ctx, &rbacv1.RoleBinding{ObjectMeta: named("granted"),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "granted"}, Subjects: []rbacv1.Subject{to}}, metav1.CreateOptions{})
	c.ok(err)
}

func (c *Case) may(who *rest.Config, verb, resource, name string) bool {
	c.Helper()
	review, err := c.client(who).AuthorizationV1().SelfSubjectAccessReviews().Create(c.ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: c.ns, Verb: verb, Resource: resource, Name: name}}}, metav1.CreateOptions{})
	c.ok(err)
	return review.Status.Allowed
}

func (c *Case) token(request authenticationv1.TokenRequestSpec) *authenticationv1.TokenRequest {
	c.Helper()
	made, err := typed.CoreV1().ServiceAccounts(c.ns).CreateToken(c.ctx, "robot", &authenticationv1.TokenRequest{Spec: request}, metav1.CreateOptions{})
	c.ok(err)
	return made
}

func (c *Case) whoami(who *rest.Config) authenticationv1.UserInfo {
	c.Helper()
	review, err := c.client(who).AuthenticationV1().SelfSubjectReviews().Create(c.ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	c.ok(err)
	return review.Status.UserInfo
}

func TestTokens(t *testing.T) {
	g := begin(t)
	g.check("a token is who it was made for", func(c *Case) {
		c.robot("get", "list")
		made := c.token(authenticationv1.TokenRequestSpec{ExpirationSeconds: pointer(int64(600))})
		c.that(!made.Status.ExpirationTimestamp.IsZero(), "no end")
		who := c.whoami(withToken(made.Status.Token))
		c.eq("name", who.Username, "system:serviceaccount:"+c.ns+":robot")
		slices.Sort(who.Groups)
		c.eq("groups", who.Groups, []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + c.ns})
		c.that(len(who.Extra["authentication.kubernetes.io/credential-id"]) == 1, "%v", who.Extra)
	})
	g.check("a token may what its account may", func(c *Case) {
		c.robot("get", "list")
		client := c.client(withToken(c.token(authenticationv1.TokenRequestSpec{}).Status.Token))
		_, err := client.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{})
		c.ok(err)
		_, err = client.CoreV1().ConfigMaps(c.ns).Create(c.ctx, &corev1.ConfigMap{ObjectMeta: named("a")}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonForbidden, 403, `configmaps is forbidden: User "system:serviceaccount:`+c.ns+`:robot" cannot create resource "configmaps" in API group "" in the namespace "`+c.ns+`"`)
	})
	g.check("a token for another audience is none here", func(c *Case) {
		c.robot()
		made := c.token(authenticationv1.TokenRequestSpec{Audiences: []string{"elsewhere"}})
		_, err := c.client(withToken(made.Status.Token)).CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{})
		c.refused(err, metav1.StatusReasonUnauthorized, 401, "Unauthorized")
	})
	g.check("a token that is too short", func(c *Case) {
		c.robot()
		_, err := typed.CoreV1().ServiceAccounts(c.ns).CreateToken(c.ctx, "robot", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: pointer(int64(10))}}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, `TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes`)
	})
	g.check("a token goes with its account", func(c *Case) {
		c.robot()
		made := c.token(authenticationv1.TokenRequestSpec{})
		c.ok(typed.CoreV1().ServiceAccounts(c.ns).Delete(c.ctx, "robot", metav1.DeleteOptions{}))
		c.until("the token counts no more", func() bool {
			_, err := c.client(withToken(made.Status.Token)).CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{})
			return err != nil && strings.Contains(err.Error(), "Unauthorized")
		})
	})
	g.check("a token bound to a pod goes with it", func(c *Case) {
		c.robot()
		pod := c.idle("p", func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = "robot" })
		made := c.token(authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "p", UID: pod.UID}})
		who := c.whoami(withToken(made.Status.Token))
		c.eq("pod", []string(who.Extra["authentication.kubernetes.io/pod-name"]), []string{"p"})
		c.ok(typed.CoreV1().Pods(c.ns).Delete(c.ctx, "p", metav1.DeleteOptions{}))
		c.until("the token counts no more", func() bool {
			_, err := c.client(withToken(made.Status.Token)).CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{})
			return err != nil && strings.Contains(err.Error(), "Unauthorized")
		})
	})
	g.check("a token of nobody's", func(c *Case) {
		_, err := c.client(withToken("eyJhbGciOiJub25lIn0.e30.")).CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{})
		c.refused(err, metav1.StatusReasonUnauthorized, 401, "Unauthorized")
	})
	g.check("a token is reviewed", func(c *Case) {
		c.robot()
		made := c.token(authenticationv1.TokenRequestSpec{})
		review, err := typed.AuthenticationV1().TokenReviews().Create(c.ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: made.Status.Token}}, metav1.CreateOptions{})
		c.ok(err)
		c.eq("user", review.Status.User.Username, "system:serviceaccount:"+c.ns+":robot")
		review, err = typed.AuthenticationV1().TokenReviews().Create(c.ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "none"}}, metav1.CreateOptions{})
		c.ok(err)
		c.that(!review.Status.Authenticated, "anything is a token")
	})
	g.check("without any is system:anonymous", func(c *Case) {
		_, err := c.client(withToken("")).CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{})
		c.refused(err, metav1.StatusReasonForbidden, 403, `configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the namespace "`+c.ns+`"`)
	})
}

func TestImpersonation(t *testing.T) {
	g := begin(t)
	g.check("of a user with groups", func(c *Case) {
		who := c.whoami(as("jane", "dev"))
		c.eq("name", who.Username, "jane")
		c.eq("groups", who.Groups, []string{"dev", "system:authenticated"})
	})
	g.check("of a uid and more", func(c *Case) {
		other := as("jane")
		other.Impersonate.UID, other.Impersonate.Extra = "7", map[string][]string{"scopes": {"a", "b"}}
		who := c.whoami(other)
		c.eq("uid", who.UID, "7")
		c.eq("extra", []string(who.Extra["scopes"]), []string{"a", "b"})
	})
	g.check("of an account brings its groups", func(c *Case) {
		who := c.whoami(as("system:serviceaccount:" + c.ns + ":robot"))
		c.eq("groups", who.Groups, []string{"system:serviceaccounts", "system:serviceaccounts:" + c.ns, "system:authenticated"})
	})
	g.check("is not for everybody", func(c *Case) {
		c.robot("get")
		other := withToken(c.token(authenticationv1.TokenRequestSpec{}).Status.Token)
		other.Impersonate.UserName = "jane"
		_, err := c.client(other).CoreV1().ConfigMaps(c.ns).Get(c.ctx, "a", metav1.GetOptions{})
		status := c.refused(err, metav1.StatusReasonForbidden, 403, "")
		c.that(strings.Contains(status.Message, "cannot impersonate"), "%s", status.Message)
	})
	g.check("of groups alone", func(c *Case) {
		got := c.ask("GET", c.maps(), "", "Impersonate-Group: dev")
		c.that(got.code >= 400, "code %d", got.code)
	})
}

func TestRules(t *testing.T) {
	g := begin(t)
	jane := rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "jane"}
	g.check("of one name", func(c *Case) {
		c.grant(jane, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}, ResourceNames: []string{"a"}})
		c.until("the binding counts", func() bool { return c.may(as("jane"), "get", "configmaps", "a") })
		c.that(!c.may(as("jane"), "get", "configmaps", "b"), "may get b")
		c.that(!c.may(as("jane"), "list", "configmaps", ""), "may list all")
		c.put("a")
		client := c.client(as("jane"))
		list, err := client.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{FieldSelector: "metadata.name=a"})
		c.ok(err)
		c.eq("found", len(list.Items), 1)
	})
	g.check("of a subresource", func(c *Case) {
		c.grant(jane, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/status"}, Verbs: []string{"patch"}})
		review := func(sub string) bool {
			review, err := typed.AuthorizationV1().SubjectAccessReviews().Create(c.ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "jane",
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: c.ns, Verb: "patch", Resource: "pods", Subresource: sub}}}, metav1.CreateOptions{})
			c.ok(err)
			return review.Status.Allowed
		}
		c.until("the binding counts", func() bool { return review("status") })
		c.that(!review(""), "may patch pods")
	})
	g.check("of a group of people", func(c *Case) {
		c.grant(rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "dev-" + c.ns}, rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}})
		c.until("the binding counts", func() bool { return c.may(as("jane", "dev-"+c.ns), "delete", "pods", "") })
		c.that(!c.may(as("jane"), "delete", "pods", ""), "may without the group")
	})
	g.check("only in their namespace", func(c *Case) {
		c.grant(jane, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}})
		client := c.client(as("jane"))
		c.until("the binding counts", func() bool {
			_, err := client.CoreV1().ConfigMaps(c.ns).List(c.ctx, metav1.ListOptions{})
			return err == nil
		})
		_, err := client.CoreV1().ConfigMaps("").List(c.ctx, metav1.ListOptions{})
		c.refused(err, metav1.StatusReasonForbidden, 403, `configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" at the cluster scope`)
	})
	g.check("a review says why", func(c *Case) {
		c.grant(jane, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}})
		var review *authorizationv1.LocalSubjectAccessReview
		c.until("the binding counts", func() bool {
			var err error
			review, err = typed.AuthorizationV1().LocalSubjectAccessReviews(c.ns).Create(c.ctx, &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns}, Spec: authorizationv1.SubjectAccessReviewSpec{User: "jane",
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: c.ns, Verb: "list", Resource: "configmaps"}}}, metav1.CreateOptions{})
			c.ok(err)
			return review.Status.Allowed
		})
		c.eq("reason", review.Status.Reason, `RBAC: allowed by RoleBinding "granted/`+c.ns+`" of Role "granted" to User "jane"`)
	})
	g.check("a list of them", func(c *Case) {
		c.robot("get")
		review, err := c.client(as("system:serviceaccount:"+c.ns+":robot")).AuthorizationV1().SelfSubjectRulesReviews().Create(c.ctx, &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: c.ns}}, metav1.CreateOptions{})
		c.ok(err)
		c.that(slices.ContainsFunc(review.Status.ResourceRules, func(rule authorizationv1.ResourceRule) bool {
			return slices.Contains(rule.Resources, "configmaps") && slices.Contains(rule.Verbs, "get")
		}), "%v", review.Status.ResourceRules)
	})
	g.check("nobody grants what he has not", func(c *Case) {
		c.grant(jane, rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles", "rolebindings"}, Verbs: []string{"create"}})
		client := c.client(as("jane"))
		role := &rbacv1.Role{ObjectMeta: named("more"), Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}}}
		var err error
		c.until("the binding counts", func() bool {
			_, err = client.RbacV1().Roles(c.ns).Create(c.ctx, role, metav1.CreateOptions{})
			return err != nil && !strings.Contains(err.Error(), "cannot create resource")
		})
		c.refused(err, metav1.StatusReasonForbidden, 403, `roles.rbac.authorization.k8s.io "more" is forbidden: user "jane" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:`+"\n"+`{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`)
		_, err = client.RbacV1().RoleBindings(c.ns).Create(c.ctx, &rbacv1.RoleBinding{ObjectMeta: named("more"),
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}, Subjects: []rbacv1.Subject{jane}}, metav1.CreateOptions{})
		c.refused(err, metav1.StatusReasonForbidden, 403, "")
	})
	g.check("a binding keeps its role", func(c *Case) {
		c.grant(jane, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}})
		binding, err := typed.RbacV1().RoleBindings(c.ns).Get(c.ctx, "granted", metav1.GetOptions{})
		c.ok(err)
		binding.RoleRef.Name = "other"
		_, err = typed.RbacV1().RoleBindings(c.ns).Update(c.ctx, binding, metav1.UpdateOptions{})
		c.refused(err, metav1.StatusReasonInvalid, 422, "")
	})
	g.check("roles collect those of others", func(c *Case) {
		label := map[string]string{"suite/" + c.ns: "yes"}
		rule := rbacv1.PolicyRule{APIGroups: []string{"suite.example"}, Resources: []string{c.ns}, Verbs: []string{"get"}}
		roles := typed.RbacV1().ClusterRoles()
		for _, role := range []*rbacv1.ClusterRole{
			{ObjectMeta: named(c.ns + "-collects"), AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: label}}}},
			{ObjectMeta: metav1.ObjectMeta{Name: c.ns + "-gives", Labels: label}, Rules: []rbacv1.PolicyRule{rule}},
		} {
			_, err := roles.Create(c.ctx, role, metav1.CreateOptions{})
			c.ok(err)
			defer func() { _ = roles.Delete(c.ctx, role.Name, metav1.DeleteOptions{}) }()
		}
		has := func(want ...rbacv1.PolicyRule) func() bool {
			return func() bool {
				role, err := roles.Get(c.ctx, c.ns+"-collects", metav1.GetOptions{})
				c.ok(err)
				return reflect.DeepEqual(role.Rules, want)
			}
		}
		c.until("the rule is there", has(rule))
		c.ok(roles.Delete(c.ctx, c.ns+"-gives", metav1.DeleteOptions{}))
		c.until("the rule is gone", has())
	})
	g.check("a path", func(c *Case) {
		got := c.client(as("jane")).Discovery().RESTClient().Get().AbsPath("/metrics").Do(c.ctx)
		c.refused(got.Error(), metav1.StatusReasonForbidden, 403, `forbidden: User "jane" cannot get path "/metrics"`)
	})
	g.check("the server's own roles are there", func(c *Case) {
		for _, name := range []string{"cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user", "system:public-info-viewer", "system:node",
			"system:kube-scheduler", "system:kube-controller-manager", "system:controller:deployment-controller", "system:controller:replicaset-controller"} {
			role, err := typed.RbacV1().ClusterRoles().Get(c.ctx, name, metav1.GetOptions{})
			c.ok(err)
			c.eq(name, role.Labels["kubernetes.io/bootstrapping"], "rbac-defaults")
		}
	})
}
