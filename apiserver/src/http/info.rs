//! What a request is about, read from its method, path and query: what authorisers decide by and
//! handlers go by.
//!
//! ```text
//!   /api/v1/namespaces/a/pods/web/status      /apis/apps/v1/deployments     /healthz
//!        │             │  │    │   └ subresource     │   │  └ resource        └ no resource
//!        └ version     │  │    └ name                │   └ version
//!                      │  └ resource                 └ group
//!                      └ namespace
//! ```
//!
//! (Upstream: apiserver `endpoints/request/requestinfo.go`.)

use http::Method;

use crate::auth::{Attributes, review};
use crate::selector::fields;

/// The names and values of a query, decoded, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, Plus::IsSpace), decode(value, Plus::IsSpace))
                })
                .collect(),
        )
    }

    /// The first value of a name; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// Every value of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on: there, and neither `false` nor `0`.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        let is_off = |value: &str| value == "0" || value.eq_ignore_ascii_case("false");
        self.all(name).next().is_some_and(|value| !is_off(value))
    }
}

/// What a plus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plus {
    IsSpace,
    IsPlus,
}

/// Whether every escape of a path is one.
pub(crate) fn is_well_formed(path: &str) -> bool {
    let mut escapes = path.split('%');
    escapes.next();
    escapes.all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Percent-decoding; what is no valid escape stays as it is.
fn decode(text: &str, plus: Plus) -> String {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%' && at + 2 < bytes.len())
            .then(|| Some(hex(bytes[at + 1])? * 16 + hex(*bytes.get(at + 2)?)?))
            .flatten();
        match (bytes[at], escape) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) if plus == Plus::IsSpace => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// Whether it is about a resource; else only `path` says what it is about.
    pub(crate) is_resource: bool,
    pub(crate) path: String,
    /// The lower-case method, or a verb of resources.
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    /// What follows the subresource in the path.
    pub(crate) rest: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What a field selector asks for with `=`: the node authoriser allows lists by them.
    pub(crate) fields: Vec<(String, String)>,
}

/// What stands behind a namespace and is a part of it rather than a resource in it.
const NAMESPACE_PARTS: [&str; 2] = ["status", "finalize"];

impl Info {
    pub(crate) fn of(method: &Method, path: &str, query: &Query) -> Self {
        // Decoded before it is cut, so that an escaped slash is a slash for everybody who looks:
        // no name or namespace ever has one.
        let path = decode(path, Plus::IsPlus);
        let verb = method.as_str().to_lowercase();
        let mut info = Self { path, verb, ..Self::default() };
        let path = info.path.clone();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let mut parts = parts.as_slice();
        match parts.first() {
            Some(&"api") if parts.len() >= 3 => {
                parts[1].clone_into(&mut info.version);
                parts = &parts[2..];
            }
            Some(&"apis") if parts.len() >= 4 => {
                parts[1].clone_into(&mut info.group);
                parts[2].clone_into(&mut info.version);
                parts = &parts[3..];
            }
            _ => return info,
        }
        info.is_resource = true;
        let prefix = match parts {
            ["watch", _, ..] => Prefix::Watch,
            ["proxy", _, ..] => Prefix::Proxy,
            _ => Prefix::None,
        };
        if prefix != Prefix::None {
            parts = &parts[1..];
        }
        info.take_resource(parts);
        info.take_verb(method, prefix, query);
        info
    }

    fn take_verb(&mut self, method: &Method, prefix: Prefix, query: &Query) {
        let of_many = self.name.is_empty();
        let verb = match (prefix, method) {
            (Prefix::Watch, &Method::GET | &Method::HEAD) => "watch",
            (Prefix::Proxy, _) => "proxy",
            // Nothing but reading can be done there: a verb that nobody offers.
            (Prefix::Watch, _) => "",
            (_, &Method::GET | &Method::HEAD) if !of_many => "get",
            (_, &Method::GET | &Method::HEAD) if query.is_on("watch") => "watch",
            (_, &Method::GET | &Method::HEAD) => "list",
            (_, &Method::POST) => "create",
            (_, &Method::PUT) => "update",
            (_, &Method::PATCH) => "patch",
            (_, &Method::DELETE) if of_many => "deletecollection",
            (_, &Method::DELETE) => "delete",
            _ => "",
        };
        verb.clone_into(&mut self.verb);
        if prefix == Prefix::Proxy {
            self.subresource.clear();
        }
        if prefix != Prefix::None {
            return;
        }
        if matches!(verb, "list" | "watch" | "deletecollection") {
            self.fields = review::exact_fields(query.get("fieldSelector"));
        }
        if matches!(verb, "list" | "watch") {
            self.take_selected_name(query);
        }
    }

    fn take_resource(&mut self, parts: &[&str]) {
        let mut parts = parts;
        if parts[0] == "namespaces" && parts.len() > 1 {
            parts[1].clone_into(&mut self.namespace);
            if parts.len() > 2 && !NAMESPACE_PARTS.contains(&parts[2]) {
                parts = &parts[2..];
            }
        }
        let part = |place: usize| parts.get(place).copied().unwrap_or_default().to_owned();
        self.resource = part(0);
        self.name = part(1);
        self.subresource = part(2);
        self.rest = parts.get(3..).map(|rest| rest.join("/")).unwrap_or_default();
    }

    /// A list that can have one object only is about that object.
    fn take_selected_name(&mut self, query: &Query) {
        let selector = fields::Selector::parse(query.get("fieldSelector"));
        if let Ok(selector) = selector
            && let Some(name) = selector.exact("metadata.name")
            && is_path_segment(name)
        {
            self.name = name.to_owned();
        }
    }

    pub(crate) fn attributes(&self) -> Attributes {
        Attributes {
            verb: self.verb.clone(),
            is_resource: self.is_resource,
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path: self.path.clone(),
            fields: self.fields.clone(),
        }
    }
}

/// Whether a name can be a part of a path. (Upstream: apimachinery `validate/content`.)
fn is_path_segment(name: &str) -> bool {
    !matches!(name, "." | "..") && !name.contains(['/', '%'])
}

/// A word in front of the resource that says what is wanted: the oldest form of a watch, and one
/// that is long gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefix {
    None,
    Watch,
    Proxy,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: Method, target: &str) -> Info {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Info::of(&method, path, &Query::parse(query))
    }

    #[test]
    fn a_path_says_what_the_request_is_about() {
        let it = info(Method::PUT, "/apis/apps/v1/namespaces/a/deployments/web/scale");
        assert_eq!((it.group.as_str(), it.version.as_str()), ("apps", "v1"));
        assert_eq!((it.namespace.as_str(), it.name.as_str()), ("a", "web"));
        assert_eq!((it.resource.as_str(), it.subresource.as_str()), ("deployments", "scale"));
        assert_eq!(it.verb, "update");
        let it = info(Method::GET, "/api/v1/pods?watch=1");
        assert_eq!(
            (it.verb.as_str(), it.resource.as_str(), it.namespace.as_str()),
            ("watch", "pods", "")
        );
        let it = info(Method::GET, "/api/v1/watch/namespaces/a/pods");
        assert_eq!((it.verb.as_str(), it.namespace.as_str()), ("watch", "a"));
        let it = info(Method::GET, "/api/v1/watch/namespaces/a/pods/x");
        assert_eq!((it.verb.as_str(), it.name.as_str()), ("watch", "x"));
        let it = info(Method::DELETE, "/api/v1/namespaces/a/pods");
        assert_eq!(it.verb, "deletecollection");
        assert!(!info(Method::GET, "/healthz").is_resource);
        assert!(!info(Method::GET, "/api/v1").is_resource);
        assert!(!info(Method::GET, "/apis/apps/v1").is_resource);
    }

    #[test]
    fn a_namespace_is_a_resource_and_its_parts_are_parts() {
        let it = info(Method::GET, "/api/v1/namespaces/a");
        assert_eq!(
            (it.resource.as_str(), it.name.as_str(), it.namespace.as_str()),
            ("namespaces", "a", "a")
        );
        let it = info(Method::PUT, "/api/v1/namespaces/a/finalize");
        assert_eq!((it.resource.as_str(), it.subresource.as_str()), ("namespaces", "finalize"));
        assert_eq!(info(Method::GET, "/api/v1/namespaces").verb, "list");
    }

    #[test]
    fn a_selector_by_name_makes_a_list_about_that_object() {
        let it = info(Method::GET, "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dweb");
        assert_eq!((it.verb.as_str(), it.name.as_str()), ("list", "web"));
    }

    #[test]
    fn a_name_with_an_escaped_slash_is_not_a_name() {
        let it = info(Method::GET, "/api/v1/namespaces/a%2fpods/x");
        assert_eq!((it.namespace.as_str(), it.resource.as_str()), ("a", "pods"));
        let it = info(Method::GET, "/api/v1/namespaces/a/pods/..%2f..%2fsecrets");
        assert_eq!((it.name.as_str(), it.subresource.as_str()), ("..", ".."));
        assert_eq!(info(Method::GET, "/%68ealthz").path, "/healthz");
        let it = info(Method::GET, "/api//v1/pods");
        assert_eq!(
            (it.version.as_str(), it.resource.as_str(), it.name.as_str()),
            ("", "v1", "pods")
        );
    }

    #[test]
    fn only_a_list_or_a_watch_is_about_the_name_that_it_selects() {
        let selected = "fieldSelector=metadata.name%3Dx";
        let it = info(Method::DELETE, &format!("/api/v1/namespaces/a/pods?{selected}"));
        assert_eq!((it.verb.as_str(), it.name.as_str()), ("deletecollection", ""));
        let it = info(Method::GET, &format!("/api/v1/namespaces/a/pods?{selected}%2Fy"));
        assert_eq!(it.name, "");
        let it = info(Method::GET, "/api/v1/namespaces/a/pods/x?watch=true");
        assert_eq!(it.verb, "get");
        let it = info(Method::GET, "/api/v1/namespaces/a/pods?watch=FALSE");
        assert_eq!(it.verb, "list");
    }

    #[test]
    fn the_oldest_form_of_a_watch_does_nothing_but_watch() {
        for method in [Method::DELETE, Method::POST, Method::PUT, Method::PATCH] {
            assert_eq!(info(method, "/api/v1/watch/namespaces/a/pods").verb, "");
        }
    }

    #[test]
    fn a_path_with_half_an_escape_is_none() {
        for path in ["/a", "/%2F", "/%c3%A4/x"] {
            assert!(is_well_formed(path), "{path}");
        }
        for path in ["/%", "/%2", "/%zz", "/%2F%"] {
            assert!(!is_well_formed(path), "{path}");
        }
    }

    #[test]
    fn escapes_are_decoded_once_and_bad_ones_left() {
        let query = Query::parse("a=1%2C2&b=x+y&c&d=%zz&a=3");
        assert_eq!(query.get("a"), "1,2");
        assert_eq!(query.get("b"), "x y");
        assert_eq!(query.get("d"), "%zz");
        assert_eq!(query.all("a").count(), 2);
        assert!(query.is_on("c") && !query.is_on("e"));
    }
}
