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
        self.all(name).next().is_some_and(|value| !matches!(value, "false" | "0"))
    }
}

/// What a plus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plus {
    IsSpace,
    IsPlus,
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
        let mut info =
            Self { path: path.to_owned(), verb: method.as_str().to_lowercase(), ..Self::default() };
        let parts: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| decode(part, Plus::IsPlus))
            .collect();
        let mut parts: &[String] = &parts;
        match parts.first().map(String::as_str) {
            Some("api") if parts.len() >= 3 => {
                info.version.clone_from(&parts[1]);
                parts = &parts[2..];
            }
            Some("apis") if parts.len() >= 4 => {
                info.group.clone_from(&parts[1]);
                info.version.clone_from(&parts[2]);
                parts = &parts[3..];
            }
            _ => return info,
        }
        info.is_resource = true;
        let mut is_watch = false;
        if parts.len() > 1 && parts[0] == "watch" {
            is_watch = true;
            parts = &parts[1..];
        }
        info.take_resource(parts);
        info.verb = verb(method, &info, is_watch || query.is_on("watch")).to_owned();
        if matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
            info.fields = review::exact_fields(query.get("fieldSelector"));
        }
        if info.name.is_empty()
            && matches!(info.verb.as_str(), "list" | "watch" | "deletecollection")
        {
            info.take_selected_name(query);
        }
        info
    }

    fn take_resource(&mut self, parts: &[String]) {
        let mut parts = parts;
        if parts[0] == "namespaces" && parts.len() > 1 {
            self.namespace.clone_from(&parts[1]);
            if parts.len() > 2 && !NAMESPACE_PARTS.contains(&parts[2].as_str()) {
                parts = &parts[2..];
            }
        }
        let part = |place: usize| parts.get(place).cloned().unwrap_or_default();
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

fn verb(method: &Method, info: &Info, is_watch: bool) -> &'static str {
    let of_many = info.name.is_empty();
    match *method {
        Method::GET | Method::HEAD if is_watch => "watch",
        Method::GET | Method::HEAD if of_many => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if of_many => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
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
    fn escapes_are_decoded_once_and_bad_ones_left() {
        let query = Query::parse("a=1%2C2&b=x+y&c&d=%zz&a=3");
        assert_eq!(query.get("a"), "1,2");
        assert_eq!(query.get("b"), "x y");
        assert_eq!(query.get("d"), "%zz");
        assert_eq!(query.all("a").count(), 2);
        assert!(query.is_on("c") && !query.is_on("e"));
    }
}
