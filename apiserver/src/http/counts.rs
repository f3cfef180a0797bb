//! How many requests there were, by what they were about and what came of it: upstream's
//! `apiserver_request_total`, which dashboards are built on.
//!
//! Invariant: the rows are bounded: names that are not served have no row of their own, so a client
//! cannot fill the memory with paths that it made up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use super::info::Info;
use super::reviews;
use crate::kinds;

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
    verb: &'static str,
    code: u16,
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<Row, u64>>);

impl Counts {
    /// Counts an answer.
    pub(crate) fn count(&self, info: &Info, code: u16) {
        let (group, version, resource, subresource) = served(info).unwrap_or_default();
        let scope = match (resource, info.name.is_empty(), info.namespace.is_empty()) {
            ("", ..) => "",
            (_, false, _) => "resource",
            (_, true, false) => "namespace",
            (_, true, true) => "cluster",
        };
        let verb = verb(&info.verb);
        let row = Row { group, version, resource, subresource, scope, verb, code };
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *rows.entry(row).or_default() += 1;
    }

    /// The rows as Prometheus reads them.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("# TYPE apiserver_request_total counter\n");
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (row, count) in rows.iter() {
            let Row { group, version, resource, subresource, scope, verb, code } = row;
            // Writing to memory does not fail.
            let _ = writeln!(
                text,
                "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",\
                 group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
                 subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\"}} {count}"
            );
        }
        text
    }
}

/// The names of what is asked for, if it is served.
fn served(info: &Info) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    if let Some(review) = reviews::find(&info.group, &info.version, &info.resource) {
        return Some((review.group, "v1", review.resource, ""));
    }
    let kind = kinds::by_resource(&info.group, &info.version, &info.resource)?;
    let part = match info.subresource.as_str() {
        "" => "",
        name => kind.subresource(name)?.name,
    };
    Some((kind.group, kind.version, kind.resource, part))
}

/// A verb as upstream's metrics have it: the methods of HTTP, and what a GET can be.
fn verb(verb: &str) -> &'static str {
    match verb {
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "get" => "GET",
        "head" => "HEAD",
        "list" => "LIST",
        "watch" => "WATCH",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::info::Query;
    use super::*;

    #[test]
    fn requests_are_counted_by_what_is_served_and_by_nothing_else() {
        let counts = Counts::default();
        let of = |method: Method, path: &str| Info::of(&method, path, &Query::default());
        counts.count(&of(Method::GET, "/api/v1/namespaces/a/pods"), 200);
        counts.count(&of(Method::GET, "/api/v1/namespaces/b/pods"), 200);
        counts.count(&of(Method::PUT, "/apis/apps/v1/namespaces/a/deployments/w/scale"), 409);
        for name in ["x", "y\"z"] {
            counts.count(&of(Method::GET, &format!("/api/v1/{name}")), 404);
            counts.count(&of(Method::GET, &format!("/{name}")), 404);
        }
        let text = counts.text();
        let pods = "apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",\
                    group=\"\",resource=\"pods\",scope=\"namespace\",subresource=\"\",\
                    verb=\"LIST\",version=\"v1\"} 2\n";
        assert!(text.contains(pods), "{text}");
        assert!(text.contains("resource=\"deployments\",scope=\"resource\",subresource=\"scale\""));
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}
