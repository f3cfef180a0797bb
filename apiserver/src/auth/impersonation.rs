//! Asking as somebody else: `kubectl --as`.
//!
//! ```text
//!   headers ─► Wish ─► one of these ways, the first that is allowed:
//!              associated-node, arbitrary-node, serviceaccount, user-info:
//!                         `impersonate-on:<way>:<verb>` for what is asked, and `impersonate:<way>`
//!                         for each thing that is claimed
//!              the old way: `impersonate` for each thing that is claimed
//! ```
//!
//! Invariant: only the old way leads to `system:masters`, to an empty group and to odd keys.

use super::authentication::{add_authenticated, service_account_groups};
use super::lookup::Answer;
use super::text::quote;
use super::{
    ANONYMOUS, Attributes, Decision, MASTERS, UNAUTHENTICATED, User, forbidden, node,
    split_service_account,
};
use crate::status::Status;

const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// As whom somebody wants to ask, as the headers say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish(User);

/// Reads the headers of a request, by names in lower case; `None` if nobody is impersonated. (Who
/// reads them must take them out of the request.)
///
/// # Errors
///
/// 400 if groups, a uid or more are named without a user.
pub fn requested<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Answer<Option<Wish>> {
    let first =
        |name: &str| headers.clone().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
    let mut user = User {
        name: first("impersonate-user").to_owned(),
        uid: first("impersonate-uid").to_owned(),
        ..User::default()
    };
    for (key, value) in headers.clone() {
        if key == "impersonate-group" {
            user.groups.push(value.to_owned());
        } else if let Some(key) = key.strip_prefix(EXTRA) {
            let key = unescape(key);
            match user.extra.iter_mut().find(|(known, _)| *known == key) {
                Some((_, values)) => values.push(value.to_owned()),
                None => user.extra.push((key, vec![value.to_owned()])),
            }
        }
    }
    user.extra.sort();
    match (user.name.is_empty(), user == User::default()) {
        (_, true) => Ok(None),
        (true, _) => {
            let text = format!("requested {} without impersonating a user name", show(&user));
            Err(Box::new(Status::bad_request(text)))
        }
        _ => Ok(Some(Wish(user))),
    }
}

/// A user as upstream's language shows it.
fn show(user: &User) -> String {
    let list = |texts: &[String]| {
        let quoted: Vec<String> = texts.iter().map(|text| quote(text)).collect();
        format!("[]string{{{}}}", quoted.join(", "))
    };
    let groups = match user.groups.as_slice() {
        [] => "[]string(nil)".to_owned(),
        groups => list(groups),
    };
    let extra = match user.extra.as_slice() {
        [] => "map[string][]string(nil)".to_owned(),
        extra => {
            let pair =
                |(key, values): &(String, Vec<String>)| format!("{}:{}", quote(key), list(values));
            let pairs: Vec<String> = extra.iter().map(pair).collect();
            format!("map[string][]string{{{}}}", pairs.join(", "))
        }
    };
    let uid = quote(&user.uid);
    format!("&user.DefaultInfo{{Name:\"\", UID:{uid}, Groups:{groups}, Extra:{extra}}}")
}

/// A way to ask as somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Old,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::AssociatedNode,
        Self::ArbitraryNode,
        Self::ServiceAccount,
        Self::UserInfo,
        Self::Old,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Old => "",
        }
    }

    fn verb(self) -> String {
        match self {
            Self::Old => "impersonate".to_owned(),
            way => format!("impersonate:{}", way.name()),
        }
    }

    /// The group of users and groups: the old way knows them in the core group.
    fn group(self) -> &'static str {
        if self == Self::Old { "" } else { AUTHENTICATION }
    }

    /// Whether the way leads from one to the other at all.
    fn leads(self, asker: &User, wished: &User) -> bool {
        let only_name =
            wished.uid.is_empty() && wished.groups.is_empty() && wished.extra.is_empty();
        let node = node_of(&wished.name);
        let account = split_service_account(&wished.name).is_some();
        match self {
            Self::AssociatedNode => {
                let own = match asker.extra(NODE_NAME) {
                    [one] => Some(one.as_str()),
                    _ => None,
                };
                only_name && node.is_some() && asker.service_account().is_some() && node == own
            }
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account,
            Self::UserInfo => node.is_none() && !account,
            Self::Old => true,
        }
    }
}

/// The node that a user's name means, if it is a good one.
fn node_of(name: &str) -> Option<&str> {
    let node = name.strip_prefix("system:node:")?;
    let edge =
        |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let part = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(plain)
    };
    (node.len() <= 253 && node.split('.').all(part)).then_some(node)
}

/// Says as whom somebody asks who has this wish, if that is allowed for what they ask.
///
/// # Errors
///
/// 403 for the first thing that is not allowed on the first way that leads there.
pub fn impersonate(
    wish: &Wish,
    asker: &User,
    asked: &Attributes,
    authorise: impl Fn(&User, &Attributes) -> Decision,
) -> Answer<User> {
    let check = |asker: &User, asked: &Attributes| match authorise(asker, asked) {
        Decision::Allowed(_) => Ok(()),
        Decision::NoOpinion(reason) => Err(Box::new(forbidden(asker, asked, &reason))),
    };
    let mut first = None;
    for way in Way::ALL.into_iter().filter(|way| way.leads(asker, &wish.0)) {
        let attempt = Attempt { way, asker: way_asker(way, asker), wished: &wish.0 };
        match attempt.check(asked, &check) {
            Ok(()) => return Ok(attempt.user()),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    Err(first.unwrap_or_else(|| Box::new(Status::unauthorized())))
}

/// Which node and pod an account is on does not matter once it is known that the node is its own.
fn way_asker(way: Way, asker: &User) -> User {
    if way != Way::AssociatedNode {
        return asker.clone();
    }
    let mut keys: Vec<String> = asker.extra.iter().map(|(key, _)| key.clone()).collect();
    keys.sort();
    let key = "authentication.kubernetes.io/associated-node-keys".to_owned();
    User { extra: vec![(key, keys)], ..asker.clone() }
}

struct Attempt<'a> {
    way: Way,
    asker: User,
    wished: &'a User,
}

impl Attempt<'_> {
    fn check(
        &self,
        asked: &Attributes,
        check: &impl Fn(&User, &Attributes) -> Answer<()>,
    ) -> Answer<()> {
        let check = |asked: &Attributes| check(&self.asker, asked);
        if self.way != Way::Old {
            let verb = format!("impersonate-on:{}:{}", self.way.name(), asked.verb);
            check(&Attributes { verb, ..asked.clone() })?;
        }
        check(&self.name())?;
        if !self.wished.uid.is_empty() {
            check(&self.thing(AUTHENTICATION, "uids", &self.wished.uid))?;
        }
        self.refuse_odd()?;
        for group in &self.wished.groups {
            check(&self.thing(self.way.group(), "groups", group))?;
        }
        for (key, values) in &self.wished.extra {
            for value in values {
                let thing = self.thing(AUTHENTICATION, "userextras", value);
                check(&Attributes { subresource: key.clone(), ..thing })?;
            }
        }
        Ok(())
    }

    fn thing(&self, group: &str, resource: &str, name: &str) -> Attributes {
        Attributes {
            verb: self.way.verb(),
            is_resource: true,
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    fn name(&self) -> Attributes {
        let group = self.way.group();
        if let Some((namespace, name)) = split_service_account(&self.wished.name) {
            let account = self.thing(group, "serviceaccounts", name);
            return Attributes { namespace: namespace.to_owned(), ..account };
        }
        match (self.way, node_of(&self.wished.name)) {
            (Way::AssociatedNode, _) => self.thing(group, "nodes", "*"),
            (Way::ArbitraryNode, Some(node)) => self.thing(group, "nodes", node),
            _ => self.thing(group, "users", &self.wished.name),
        }
    }

    /// What the new ways do not lead to, whoever may do what.
    fn refuse_odd(&self) -> Answer<()> {
        if self.way == Way::Old {
            return Ok(());
        }
        let refused = |resource, name, why: &str| {
            let group = self.way.group();
            Err(Box::new(forbidden(&self.asker, &self.thing(group, resource, name), why)))
        };
        let groups = &self.wished.groups;
        if groups.iter().any(String::is_empty) {
            let why = "impersonating the empty string group is not allowed";
            return refused("groups", "", why);
        }
        if groups.iter().any(|group| group == MASTERS) {
            let why = "impersonating the system:masters group is not allowed";
            return refused("groups", MASTERS, why);
        }
        for (key, values) in &self.wished.extra {
            if key.is_empty() {
                let why = "impersonating the empty string key in extra is not allowed";
                return refused("userextras", "", why);
            }
            if !key.split_once('/').is_some_and(|(domain, path)| is_domain(domain, path)) {
                let why = format!("impersonating an invalid key in extra is not allowed: {key}");
                return refused("userextras", "", &why);
            }
            if values.iter().any(String::is_empty) {
                let why = "impersonating the empty string value in extra is not allowed";
                return refused("userextras", "", why);
            }
        }
        Ok(())
    }

    /// As whom is asked.
    fn user(&self) -> User {
        let mut user = self.wished.clone();
        if let Some((namespace, _)) = split_service_account(&user.name)
            && user.groups.is_empty()
        {
            user.groups = service_account_groups(namespace);
        }
        if matches!(self.way, Way::AssociatedNode | Way::ArbitraryNode) {
            user.groups = vec![node::NODES.to_owned()];
        }
        if user.name == ANONYMOUS && !user.is_in(UNAUTHENTICATED) {
            user.groups.push(UNAUTHENTICATED.to_owned());
        }
        add_authenticated(&mut user);
        user
    }
}

fn is_domain(domain: &str, path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let part = |part: &str| !part.is_empty() && part.bytes().all(plain);
    !path.is_empty() && domain.split('.').all(part)
}

/// Undoes `%2f` and its like; what is malformed stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, next)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = next;
            continue;
        }
        let digits = next.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return text.to_owned();
        };
        bytes.push(byte);
        rest = &next[2..];
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
