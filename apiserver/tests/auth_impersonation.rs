//! Asking as somebody else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::RefCell;

use kstore_apiserver::auth::impersonation::{impersonate, requested};
use kstore_apiserver::auth::{Attributes, Decision, User};

/// Who asks, for a list of pods, with these headers and these rights: the user as whom they ask and
/// the rights that were looked at, or the refusal.
struct Try<'a> {
    asker: User,
    headers: &'a [(&'a str, &'a str)],
    /// `verb group/resource/part=name`
    may: &'a [&'a str],
}

fn shown(asked: &Attributes) -> String {
    let (group, resource) = (&asked.group, asked.combined_resource());
    format!("{} {group}/{resource}={}", asked.verb, asked.name)
}

impl Try<'_> {
    fn run(&self) -> Result<User, String> {
        let wish = requested(self.headers.iter().copied()).unwrap().unwrap();
        let asked = Attributes {
            verb: "list".to_owned(),
            is_resource: true,
            resource: "pods".to_owned(),
            namespace: "t1".to_owned(),
            ..Attributes::default()
        };
        let decide = |_: &User, asked: &Attributes| {
            if self.may.contains(&shown(asked).as_str()) {
                Decision::Allowed(String::new())
            } else {
                Decision::NoOpinion(String::new())
            }
        };
        impersonate(&wish, &self.asker, &asked, decide).map_err(|status| status.message)
    }
}

fn eve() -> User {
    User { name: "eve".to_owned(), ..User::default() }
}

#[test]
fn the_old_way_asks_for_every_thing_that_is_claimed() {
    let headers = [
        ("impersonate-user", "alice"),
        ("impersonate-group", "g1"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-acme.com%2fproject", "p1"),
        ("impersonate-extra-acme.com%2fproject", "p2"),
    ];
    let all = [
        "impersonate /users=alice",
        "impersonate authentication.k8s.io/uids=7",
        "impersonate /groups=g1",
        "impersonate authentication.k8s.io/userextras/acme.com/project=p1",
        "impersonate authentication.k8s.io/userextras/acme.com/project=p2",
    ];
    let user = Try { asker: eve(), headers: &headers, may: &all }.run().unwrap();
    assert_eq!(user.name, "alice");
    assert_eq!(user.uid, "7");
    assert_eq!(user.groups, ["g1", "system:authenticated"]);
    assert_eq!(user.extra("acme.com/project"), ["p1", "p2"]);
    for missing in 0..all.len() {
        let mut some = all.to_vec();
        some.remove(missing);
        assert!(Try { asker: eve(), headers: &headers, may: &some }.run().is_err(), "{missing}");
    }
}

#[test]
fn refusals_name_the_first_way_that_leads_there() {
    let eve = "User \"eve\" cannot";
    let cases = [
        (
            vec![("impersonate-user", "alice")],
            format!(
                "pods is forbidden: {eve} impersonate-on:user-info:list resource \"pods\" in API \
                  group \"\" in the namespace \"t1\""
            ),
        ),
        (
            vec![("impersonate-user", "system:node:n1")],
            format!(
                "pods is forbidden: {eve} impersonate-on:arbitrary-node:list resource \"pods\" in \
                  API group \"\" in the namespace \"t1\""
            ),
        ),
        (
            vec![("impersonate-user", "system:serviceaccount:t1:sa2")],
            format!(
                "pods is forbidden: {eve} impersonate-on:serviceaccount:list resource \"pods\" in \
                  API group \"\" in the namespace \"t1\""
            ),
        ),
        (
            vec![("impersonate-user", "system:serviceaccount:t1:sa2"), ("impersonate-group", "g")],
            format!(
                "serviceaccounts \"sa2\" is forbidden: {eve} impersonate resource \
                  \"serviceaccounts\" in API group \"\" in the namespace \"t1\""
            ),
        ),
    ];
    for (headers, expected) in cases {
        let refused = Try { asker: self::eve(), headers: &headers, may: &[] }.run();
        assert_eq!(refused.unwrap_err(), expected);
    }
}

#[test]
fn the_new_ways_need_what_is_asked_and_what_is_claimed() {
    let account = User {
        name: "system:serviceaccount:t1:agent".to_owned(),
        extra: vec![("authentication.kubernetes.io/node-name".to_owned(), vec!["n1".to_owned()])],
        ..User::default()
    };
    let nodes: &[&str] = &["system:nodes", "system:authenticated"];
    let accounts: &[&str] =
        &["system:serviceaccounts", "system:serviceaccounts:t1", "system:authenticated"];
    let cases: [(User, &str, [&str; 2], &[&str]); 4] = [
        (
            account,
            "system:node:n1",
            [
                "impersonate-on:associated-node:list /pods=",
                "impersonate:associated-node authentication.k8s.io/nodes=*",
            ],
            nodes,
        ),
        (
            eve(),
            "system:node:n1",
            [
                "impersonate-on:arbitrary-node:list /pods=",
                "impersonate:arbitrary-node authentication.k8s.io/nodes=n1",
            ],
            nodes,
        ),
        (
            eve(),
            "system:serviceaccount:t1:sa",
            [
                "impersonate-on:serviceaccount:list /pods=",
                "impersonate:serviceaccount authentication.k8s.io/serviceaccounts=sa",
            ],
            accounts,
        ),
        (
            eve(),
            "alice",
            [
                "impersonate-on:user-info:list /pods=",
                "impersonate:user-info authentication.k8s.io/users=alice",
            ],
            &["system:authenticated"],
        ),
    ];
    for (asker, name, may, groups) in cases {
        let headers = [("impersonate-user", name)];
        let run = |may: &[&str]| Try { asker: asker.clone(), headers: &headers, may }.run();
        let user = run(&may).unwrap();
        assert_eq!(user.name, name);
        assert_eq!(user.groups, groups);
        assert!(run(&may[..1]).is_err() && run(&may[1..]).is_err(), "{name}");
    }
    // Another node than one's own needs the right to be any.
    let other = [("impersonate-user", "system:node:n2")];
    let agent = User { name: "system:serviceaccount:t1:agent".to_owned(), ..User::default() };
    let may = [
        "impersonate-on:associated-node:list /pods=",
        "impersonate:associated-node authentication.k8s.io/nodes=*",
    ];
    assert!(Try { asker: agent, headers: &other, may: &may }.run().is_err());
}

#[test]
fn the_new_ways_never_lead_to_masters() {
    let asked = RefCell::new(Vec::new());
    let headers = [("impersonate-user", "alice"), ("impersonate-group", "system:masters")];
    let wish = requested(headers.iter().copied()).unwrap().unwrap();
    let decide = |_: &User, attributes: &Attributes| {
        asked.borrow_mut().push(shown(attributes));
        if attributes.verb == "impersonate" {
            Decision::NoOpinion(String::new())
        } else {
            Decision::Allowed(String::new())
        }
    };
    let refused = impersonate(&wish, &eve(), &Attributes::default(), decide).unwrap_err();
    assert_eq!(
        refused.message,
        "groups.authentication.k8s.io \"system:masters\" is forbidden: User \"eve\" cannot \
         impersonate:user-info resource \"groups\" in API group \"authentication.k8s.io\" at the \
         cluster scope: impersonating the system:masters group is not allowed"
    );
    assert_eq!(asked.borrow().last().unwrap(), "impersonate /users=alice");
}

#[test]
fn nobody_and_strangers_to_the_server_are_told_apart() {
    let nobody = [("impersonate-user", "system:anonymous")];
    let may = ["impersonate /users=system:anonymous", "impersonate /groups=system:unauthenticated"];
    let user = Try { asker: eve(), headers: &nobody, may: &may }.run().unwrap();
    assert_eq!(user.groups, ["system:unauthenticated"]);
}

#[test]
fn groups_without_a_user_are_a_bad_request() {
    assert_eq!(requested([("accept", "x")].into_iter()).unwrap(), None);
    let headers =
        [("impersonate-group", "a"), ("impersonate-group", "b"), ("impersonate-extra-foo", "x")];
    assert_eq!(
        requested(headers.into_iter()).unwrap_err().message,
        "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"a\", \"b\"}, \
         Extra:map[string][]string{\"foo\":[]string{\"x\"}}} without impersonating a user name"
    );
    assert_eq!(
        requested([("impersonate-uid", "7")].into_iter()).unwrap_err().message,
        "requested &user.DefaultInfo{Name:\"\", UID:\"7\", Groups:[]string(nil), \
         Extra:map[string][]string(nil)} without impersonating a user name"
    );
}
