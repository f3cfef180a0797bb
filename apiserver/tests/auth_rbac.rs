//! Roles and bindings: what they allow, what is told to those who may not, and who may write them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use kstore_apiserver::auth::escalation::{PolicyWrite, check};
use kstore_apiserver::auth::node::NodeGraph;
use kstore_apiserver::auth::rbac::{Policy, PolicyKind, aggregated_rules, rules_status};
use kstore_apiserver::auth::rules::Rule;
use kstore_apiserver::auth::{Attributes, User, authorise, forbidden};
use kstore_apiserver::bootstrap;
use kstore_apiserver::object::{self, Object};
use serde_json::{Value, json};

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().map(ToString::to_string).collect();
    User { name: name.to_owned(), groups, ..User::default() }
}

/// `verb group/resource/part namespace name`, with `-` for nothing.
fn ask(text: &str) -> Attributes {
    let words: Vec<&str> =
        text.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let mut resource = words[1].split('/').map(str::to_owned);
    let mut part = || resource.next().unwrap_or_default();
    let (group, resource, subresource) = (part(), part(), part());
    Attributes {
        verb: words[0].to_owned(),
        is_resource: true,
        group,
        resource,
        subresource,
        namespace: words[2].to_owned(),
        name: words[3].to_owned(),
        ..Attributes::default()
    }
}

fn path(verb: &str, path: &str) -> Attributes {
    Attributes { verb: verb.to_owned(), path: path.to_owned(), ..Attributes::default() }
}

fn put(policy: &mut Policy, kind: PolicyKind, value: Value) {
    let it = object(value);
    policy.apply(kind, Some(&it), object::namespace(&it), object::name(&it));
}

fn rule(value: Value) -> Rule {
    Rule::read(&value)
}

#[test]
fn rules_match_as_upstreams_do() {
    let on = |verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]| {
        rule(json!({"verbs": verbs, "apiGroups": groups, "resources": resources,
                    "resourceNames": names}))
    };
    let cases = [
        (on(&["get"], &[""], &["pods"], &[]), "get /pods ns a", true),
        (on(&["get"], &[""], &["pods"], &[]), "list /pods ns -", false),
        (on(&["get"], &[""], &["pods"], &[]), "get apps/pods ns a", false),
        (on(&["get"], &[""], &["pods"], &[]), "get /pods/log ns a", false),
        (on(&["get"], &[""], &["pods/log"], &[]), "get /pods/log ns a", true),
        (on(&["get"], &[""], &["pods/log"], &[]), "get /pods ns a", false),
        (on(&["*"], &["*"], &["*"], &[]), "frob x/y/z ns a", true),
        (on(&["get"], &["*"], &["*/scale"], &[]), "get apps/deployments/scale ns a", true),
        (on(&["get"], &["*"], &["*/scale"], &[]), "get apps/deployments ns a", false),
        (on(&["get"], &["*"], &["*/sca"], &[]), "get apps/deployments/scale ns a", false),
        (on(&["get"], &[""], &["pods/*"], &[]), "get /pods/log ns a", false),
        (on(&["get"], &[""], &["pods"], &["a"]), "get /pods ns a", true),
        (on(&["get"], &[""], &["pods"], &["a"]), "get /pods ns b", false),
        (on(&["list"], &[""], &["pods"], &["a"]), "list /pods ns -", false),
    ];
    for (rule, asked, expected) in cases {
        let asked = ask(asked);
        assert_eq!(rule.allows(&asked, &asked.combined_resource()), expected, "{rule:?} {asked:?}");
    }
    let paths = |paths: &[&str]| rule(json!({"verbs": ["get"], "nonResourceURLs": paths}));
    let cases = [
        (paths(&["/healthz"]), "/healthz", true),
        (paths(&["/healthz"]), "/healthz/etcd", false),
        (paths(&["/healthz/*"]), "/healthz/etcd", true),
        (paths(&["/healthz/*"]), "/healthz", false),
        (paths(&["*"]), "/anything", true),
        (paths(&["/a*b"]), "/axb", false),
    ];
    for (rule, asked, expected) in cases {
        assert_eq!(rule.allows(&path("get", asked), ""), expected, "{rule:?} {asked}");
    }
    assert!(!paths(&["*"]).allows(&ask("get /pods ns a"), "pods"));
    assert!(!on(&["*"], &["*"], &["*"], &[]).allows(&path("get", "/metrics"), ""));
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    put(
        &mut policy,
        PolicyKind::Role,
        json!({
            "metadata": {"name": "r1", "namespace": "t1"},
            "rules": [{"verbs": ["get", "create"], "apiGroups": ["", "rbac.authorization.k8s.io"],
                       "resources": ["roles", "rolebindings", "pods"]}],
        }),
    );
    put(
        &mut policy,
        PolicyKind::ClusterRole,
        json!({
            "metadata": {"name": "reader"},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}],
        }),
    );
    put(
        &mut policy,
        PolicyKind::RoleBinding,
        json!({
            "metadata": {"name": "b1", "namespace": "t1"},
            "roleRef": {"kind": "Role", "name": "r1"},
            "subjects": [{"kind": "User", "name": "alice"}],
        }),
    );
    put(
        &mut policy,
        PolicyKind::RoleBinding,
        json!({
            "metadata": {"name": "b2", "namespace": "t1"},
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "sa"}, {"kind": "Group", "name": "g"}],
        }),
    );
    policy
}

#[test]
fn bindings_give_roles_to_users_groups_and_service_accounts() {
    let policy = policy();
    let account = user("system:serviceaccount:t1:sa", &[]);
    let cases = [
        (
            user("alice", &[]),
            "get /pods t1 x",
            Some("RBAC: allowed by RoleBinding \"b1/t1\" of Role \"r1\" to User \"alice\""),
        ),
        (user("alice", &[]), "get /pods t2 x", None),
        (user("alice", &[]), "get /pods - x", None),
        (
            user("bob", &["g"]),
            "get /secrets t1 x",
            Some("RBAC: allowed by RoleBinding \"b2/t1\" of ClusterRole \"reader\" to Group \"g\""),
        ),
        (
            account.clone(),
            "get /secrets t1 x",
            Some(
                "RBAC: allowed by RoleBinding \"b2/t1\" of ClusterRole \"reader\" to \
               ServiceAccount \"sa/t1\"",
            ),
        ),
        (account, "get /secrets t2 x", None),
        (user("system:serviceaccount:t2:sa", &[]), "get /secrets t1 x", None),
        (user("g", &[]), "get /secrets t1 x", None),
    ];
    for (user, asked, expected) in cases {
        let decision = policy.authorise(&user, &ask(asked));
        assert_eq!(decision.is_allowed(), expected.is_some(), "{user:?} {asked}");
        assert_eq!(decision.reason(), expected.unwrap_or_default());
    }
}

#[test]
fn what_goes_away_or_changes_no_longer_counts() {
    let mut policy = policy();
    let alice = user("alice", &[]);
    let asked = ask("get /pods t1 x");
    put(
        &mut policy,
        PolicyKind::RoleBinding,
        json!({
            "metadata": {"name": "b1", "namespace": "t1"},
            "roleRef": {"kind": "Role", "name": "r1"},
            "subjects": [{"kind": "User", "name": "bob"}],
        }),
    );
    assert!(!policy.authorise(&alice, &asked).is_allowed());
    assert!(policy.authorise(&user("bob", &[]), &asked).is_allowed());
    policy.apply(PolicyKind::Role, None, "t1", "r1");
    let decision = policy.authorise(&user("bob", &[]), &asked);
    assert!(!decision.is_allowed());
    assert_eq!(decision.reason(), "RBAC: role.rbac.authorization.k8s.io \"r1\" not found");
    policy.apply(PolicyKind::RoleBinding, None, "t1", "b1");
    assert_eq!(policy.authorise(&user("bob", &[]), &asked).reason(), "");
}

#[test]
fn a_role_binding_of_a_namespace_never_reaches_a_cluster_role_as_role() {
    let mut policy = Policy::default();
    put(
        &mut policy,
        PolicyKind::ClusterRole,
        json!({
            "metadata": {"name": "all"},
            "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        }),
    );
    put(
        &mut policy,
        PolicyKind::ClusterRoleBinding,
        json!({
            "metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "all"},
            "subjects": [{"kind": "User", "name": "eve"}],
        }),
    );
    assert!(!policy.authorise(&user("eve", &[]), &ask("get /pods t1 x")).is_allowed());
}

#[test]
fn refusals_read_as_upstream_writes_them() {
    let alice = user("alice", &[]);
    let cases = [
        (
            ask("list /pods t1 -"),
            "",
            "pods is forbidden: User \"alice\" cannot list resource \"pods\" in API group \"\" in the \
          namespace \"t1\"",
        ),
        (
            ask("list /nodes - -"),
            "RBAC: clusterrole.rbac.authorization.k8s.io \"x\" not found",
            "nodes is forbidden: User \"alice\" cannot list resource \"nodes\" in API group \"\" at \
          the cluster scope: RBAC: clusterrole.rbac.authorization.k8s.io \"x\" not found",
        ),
        (
            ask("get /pods/status t1 x"),
            "",
            "pods \"x\" is forbidden: User \"alice\" cannot get resource \"pods/status\" in API group \
          \"\" in the namespace \"t1\"",
        ),
        (path("get", "/metrics"), "", "forbidden: User \"alice\" cannot get path \"/metrics\""),
        (
            ask("get apps/deployments t1 <x>"),
            "",
            "deployments.apps \"<x>\" is forbidden: User \"alice\" cannot get resource \
          \"deployments\" in API group \"apps\" in the namespace \"t1\"",
        ),
    ];
    for (asked, reason, expected) in cases {
        let status = forbidden(&alice, &asked, reason);
        assert_eq!(status.message, expected);
        assert_eq!(status.code, 403);
    }
}

#[test]
fn nobody_grants_what_they_do_not_have() {
    let policy = policy();
    let alice = user("alice", &["system:authenticated"]);
    let decide = |asked: &Attributes| policy.authorise(&alice, asked);
    let write = |kind, object: &Object| {
        let write = PolicyWrite { user: &alice, kind, namespace: "t1", object, old: None };
        check(&write, &policy, decide).map_err(|status| (status.code, status.message))
    };
    let role = |verbs: &[&str], resources: &[&str]| {
        object(json!({
            "metadata": {"name": "r2", "namespace": "t1"},
            "rules": [{"verbs": verbs, "apiGroups": [""], "resources": resources}],
        }))
    };
    assert_eq!(write(PolicyKind::Role, &role(&["get"], &["pods"])), Ok(()));
    let text = "roles.rbac.authorization.k8s.io \"r2\" is forbidden: user \"alice\" \
        (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently \
        held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"delete\"]}\n\
        {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\" \"delete\"]}";
    assert_eq!(
        write(PolicyKind::Role, &role(&["get", "list", "delete"], &["pods", "secrets"])),
        Err((403, text.to_owned()))
    );
    let binding = |kind: &str, name: &str| {
        object(json!({
            "metadata": {"name": "b3", "namespace": "t1"}, "roleRef": {"kind": kind, "name": name},
            "subjects": [{"kind": "User", "name": "bob"}],
        }))
    };
    assert_eq!(write(PolicyKind::RoleBinding, &binding("Role", "r1")), Ok(()));
    let text = "rolebindings.rbac.authorization.k8s.io \"nope\" not found";
    assert_eq!(
        write(PolicyKind::RoleBinding, &binding("Role", "nope")),
        Err((404, text.to_owned()))
    );
    let refused = write(PolicyKind::RoleBinding, &binding("ClusterRole", "reader"));
    assert_eq!(refused.unwrap_err().0, 403);
    let collecting = object(json!({
        "metadata": {"name": "agg"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    }));
    let text = "clusterroles.rbac.authorization.k8s.io \"agg\" is forbidden: must have \
        cluster-admin privileges to use the aggregationRule";
    assert_eq!(write(PolicyKind::ClusterRole, &collecting), Err((403, text.to_owned())));
}

#[test]
fn masters_and_those_with_escalate_or_bind_may_grant_anything() {
    let mut policy = policy();
    put(
        &mut policy,
        PolicyKind::Role,
        json!({
            "metadata": {"name": "granting", "namespace": "t1"},
            "rules": [{"verbs": ["escalate", "bind"], "apiGroups": ["rbac.authorization.k8s.io"],
                       "resources": ["roles", "clusterroles"]}],
        }),
    );
    put(
        &mut policy,
        PolicyKind::RoleBinding,
        json!({
            "metadata": {"name": "granting", "namespace": "t1"},
            "roleRef": {"kind": "Role", "name": "granting"},
            "subjects": [{"kind": "User", "name": "carol"}],
        }),
    );
    let role = object(json!({
        "metadata": {"name": "r2", "namespace": "t1"},
        "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    }));
    let binding = object(json!({
        "metadata": {"name": "b", "namespace": "t1"},
        "roleRef": {"kind": "ClusterRole", "name": "reader"},
    }));
    for user in [user("carol", &[]), user("root", &["system:masters"])] {
        let decide = |asked: &Attributes| policy.authorise(&user, asked);
        for (kind, object) in [(PolicyKind::Role, &role), (PolicyKind::RoleBinding, &binding)] {
            let write = PolicyWrite { user: &user, kind, namespace: "t1", object, old: None };
            check(&write, &policy, decide).unwrap();
        }
    }
}

#[test]
fn taking_owners_or_finalizers_away_grants_nothing() {
    let policy = policy();
    let nobody = user("gc", &[]);
    let old = object(json!({
        "metadata": {"name": "r2", "namespace": "t1", "finalizers": ["orphan"]},
        "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    }));
    let mut new = old.clone();
    object::remove(&mut new, &["metadata", "finalizers"]);
    let decide = |asked: &Attributes| policy.authorise(&nobody, asked);
    let write = |object: &Object| {
        let kind = PolicyKind::Role;
        let write = PolicyWrite { user: &nobody, kind, namespace: "t1", object, old: Some(&old) };
        check(&write, &policy, decide)
    };
    assert!(write(&new).is_ok());
    object::set(&mut new, &["metadata", "labels", "a"], "b");
    assert!(write(&new).is_err());
}

fn default_policy() -> Policy {
    let mut policy = Policy::default();
    for it in bootstrap::objects() {
        let kind = match object::text(&it, &["kind"]) {
            "Role" => PolicyKind::Role,
            "ClusterRole" => PolicyKind::ClusterRole,
            "RoleBinding" => PolicyKind::RoleBinding,
            "ClusterRoleBinding" => PolicyKind::ClusterRoleBinding,
            _ => continue,
        };
        policy.apply(kind, Some(&it), object::namespace(&it), object::name(&it));
    }
    policy
}

#[test]
fn the_default_policy_lets_each_component_do_its_work_and_no_more() {
    let mut policy = default_policy();
    put(
        &mut policy,
        PolicyKind::RoleBinding,
        json!({
            "metadata": {"name": "e", "namespace": "t1"},
            "roleRef": {"kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "User", "name": "erin"}],
        }),
    );
    let known = "system:authenticated";
    let account = |name: &str| user(&format!("system:serviceaccount:kube-system:{name}"), &[known]);
    let cases = [
        (user("root", &["system:masters"]), "frob x/y - -", true),
        (user("system:kube-scheduler", &[known]), "create /pods/binding t1 a", true),
        (user("system:kube-scheduler", &[known]), "delete /nodes - a", false),
        (user("system:kube-controller-manager", &[known]), "list x/y t1 -", true),
        (user("system:kube-controller-manager", &[known]), "create /pods t1 -", false),
        (account("replicaset-controller"), "create /pods t1 -", true),
        (account("deployment-controller"), "create apps/replicasets t1 -", true),
        (account("deployment-controller"), "create /pods t1 -", false),
        (account("generic-garbage-collector"), "delete anything/things t1 a", true),
        (account("namespace-controller"), "deletecollection anything/things t1 -", true),
        (account("endpointslice-controller"), "create discovery.k8s.io/endpointslices t1 -", true),
        (
            user("anybody", &[known]),
            "create authorization.k8s.io/selfsubjectaccessreviews - -",
            true,
        ),
        (user("anybody", &[known]), "list /pods t1 -", false),
        (user("erin", &[known]), "create apps/deployments t1 -", true),
        (user("erin", &[known]), "list /pods t1 -", true),
        (user("erin", &[known]), "list /pods t2 -", false),
        (user("erin", &[known]), "create rbac.authorization.k8s.io/roles t1 -", false),
        (user("system:kube-proxy", &[known]), "watch /services - -", true),
    ];
    for (user, asked, expected) in cases {
        let decision = authorise(&user, &ask(asked), &NodeGraph::default(), &policy);
        assert_eq!(decision.is_allowed(), expected, "{} {asked}: {decision:?}", user.name);
    }
    let nobody = user("system:anonymous", &["system:unauthenticated"]);
    for (asked, expected) in
        [("/healthz", true), ("/version", true), ("/metrics", false), ("/api", false)]
    {
        let decision = authorise(&nobody, &path("get", asked), &NodeGraph::default(), &policy);
        assert_eq!(decision.is_allowed(), expected, "{asked}");
    }
}

#[test]
fn default_objects_are_complete_and_each_is_named_once() {
    let all = bootstrap::objects();
    let count = |kind: &str| all.iter().filter(|o| object::text(o, &["kind"]) == kind).count();
    assert_eq!(count("Namespace"), 4);
    assert_eq!(count("PriorityClass"), 2);
    assert_eq!(count("ClusterRole"), 69);
    assert_eq!(count("Role"), 7);
    assert_eq!(count("RoleBinding"), 7);
    let mut names: Vec<(&str, &str, &str)> = all
        .iter()
        .map(|o| (object::text(o, &["kind"]), object::namespace(o), object::name(o)))
        .collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}

#[test]
fn roles_that_collect_have_the_rules_of_all_that_feed_them() {
    let roles = bootstrap::cluster_roles();
    let rules = |name: &str| {
        let role = roles.iter().find(|role| object::name(role) == name).unwrap();
        object::list(role, &["rules"]).to_vec()
    };
    let (view, edit, admin) = (rules("view"), rules("edit"), rules("admin"));
    assert_eq!(view, rules("system:aggregate-to-view"));
    assert!(view.iter().chain(&rules("system:aggregate-to-edit")).all(|r| edit.contains(r)));
    assert!(edit.iter().chain(&rules("system:aggregate-to-admin")).all(|r| admin.contains(r)));
    let role = object(json!({
        "metadata": {"name": "x"},
        "aggregationRule": {"clusterRoleSelectors": [
            {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]},
                                  {"key": "old", "operator": "DoesNotExist"}]}]},
    }));
    let other = |name: &str, labels: Value| {
        object(json!({
            "metadata": {"name": name, "labels": labels},
            "rules": [{"verbs": [name], "apiGroups": [""], "resources": ["pods"]}],
        }))
    };
    let all = [
        other("b", json!({"team": "b"})),
        other("a", json!({"team": "a"})),
        other("c", json!({"team": "a", "old": ""})),
        other("d", json!({})),
    ];
    let verbs: Vec<Value> = aggregated_rules(&role, &all)
        .unwrap()
        .iter()
        .map(|rule| rule["verbs"][0].clone())
        .collect();
    assert_eq!(verbs, ["a", "b"]);
}

#[test]
fn reconciling_adds_what_is_missing_and_keeps_what_people_added() {
    let roles = bootstrap::cluster_roles();
    let wanted = roles.iter().find(|r| object::name(r) == "system:kube-dns").unwrap();
    assert_eq!(bootstrap::reconciled(wanted, wanted), None);
    let mut stored = wanted.clone();
    let own = json!({"verbs": ["x"], "apiGroups": [""], "resources": ["y"]});
    stored.insert("rules".to_owned(), json!([own]));
    object::set(&mut stored, &["metadata", "labels", "mine"], "1");
    let result = bootstrap::reconciled(&stored, wanted).unwrap();
    assert_eq!(object::list(&result, &["rules"])[0], own);
    assert_eq!(object::text(&result, &["metadata", "labels", "mine"]), "1");
    assert_eq!(bootstrap::reconciled(&result, wanted), None);
    let key = "rbac.authorization.kubernetes.io/autoupdate";
    object::set(&mut stored, &["metadata", "annotations", key], "false");
    assert_eq!(bootstrap::reconciled(&stored, wanted), None);
}

#[test]
fn a_rules_review_shows_what_somebody_may() {
    let status = rules_status(&policy(), &user("alice", &[]), "t1");
    assert_eq!(
        status,
        json!({
            "resourceRules": [{"verbs": ["get", "create"],
                "apiGroups": ["", "rbac.authorization.k8s.io"],
                "resources": ["roles", "rolebindings", "pods"]}],
            "nonResourceRules": [], "incomplete": false,
        })
    );
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.next(of.len())]
    }
}

/// What is there, without any index: kind, namespace, name, object.
type Plain = std::collections::BTreeMap<(usize, String, String), Object>;

const KINDS: [PolicyKind; 4] = [
    PolicyKind::Role,
    PolicyKind::ClusterRole,
    PolicyKind::RoleBinding,
    PolicyKind::ClusterRoleBinding,
];

/// Decides by looking at everything.
fn decide_plainly(plain: &Plain, user: &User, asked: &Attributes) -> bool {
    let names = |binding: &Object, namespace: &str| {
        object::list(binding, &["subjects"]).iter().any(|subject| {
            let name = subject["name"].as_str().unwrap();
            match subject["kind"].as_str().unwrap() {
                "User" => name == user.name,
                "Group" => user.groups.iter().any(|group| group == name),
                _ => {
                    let own = subject["namespace"].as_str().unwrap_or(namespace);
                    format!("system:serviceaccount:{own}:{name}") == user.name
                }
            }
        })
    };
    plain.iter().any(|((kind, namespace, _), binding)| {
        let place = match KINDS[*kind] {
            PolicyKind::RoleBinding => *namespace == asked.namespace,
            PolicyKind::ClusterRoleBinding => true,
            _ => false,
        };
        if !place || !names(binding, namespace) {
            return false;
        }
        let name = object::text(binding, &["roleRef", "name"]).to_owned();
        let key = match object::text(binding, &["roleRef", "kind"]) {
            "Role" => (0, namespace.clone(), name),
            _ => (1, String::new(), name),
        };
        plain.get(&key).is_some_and(|role| {
            Rule::read_all(role).iter().any(|rule| rule.allows(asked, &asked.combined_resource()))
        })
    })
}

#[test]
fn after_any_changes_the_index_decides_as_a_look_at_everything_does() {
    let (mut yes, mut no) = (0, 0);
    for seed in 1..60 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let (mut policy, mut plain) = (Policy::default(), Plain::new());
        for _ in 0..200 {
            let kind = dice.next(4);
            let namespace = if kind.is_multiple_of(2) { dice.one(&["a", "b"]) } else { "" };
            let name = dice.one(&["x", "y", "z"]);
            let key = (kind, namespace.to_owned(), name.to_owned());
            if dice.next(4) == 0 {
                policy.apply(KINDS[kind], None, namespace, name);
                plain.remove(&key);
            } else {
                let subject = json!({"kind": dice.one(&["User", "Group", "ServiceAccount"]),
                                     "name": dice.one(&["u", "v"]), "namespace": "a"});
                let rule = json!({"verbs": [dice.one(&["get", "list", "*"])], "apiGroups": [""],
                                  "resources": [dice.one(&["pods", "secrets"])]});
                let role = json!({"kind": dice.one(&["Role", "ClusterRole"]),
                                  "name": dice.one(&["x", "y", "z"])});
                let it = object(json!({"metadata": {"name": name, "namespace": namespace},
                    "rules": [rule], "subjects": [subject], "roleRef": role}));
                policy.apply(KINDS[kind], Some(&it), namespace, name);
                plain.insert(key, it);
            }
            let who = user(dice.one(&["u", "v", "system:serviceaccount:a:u"]), &["v"]);
            let verb = dice.one(&["get", "list"]);
            let (resource, place) = (dice.one(&["pods", "secrets"]), dice.one(&["a", "b", "-"]));
            let asked = ask(&format!("{verb} /{resource} {place} n"));
            let decided = policy.authorise(&who, &asked).is_allowed();
            assert_eq!(decided, decide_plainly(&plain, &who, &asked), "{who:?} {asked:?}");
            if decided { yes += 1 } else { no += 1 }
        }
    }
    assert!(yes > 500 && no > 500, "{yes} {no}");
}
