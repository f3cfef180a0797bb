//! Whether an object that says to be of one kind can be one of another: it cannot, and this is how
//! upstream says why.

use super::types;

/// A kind by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinded<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
}

impl Kinded<'_> {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// Fails with why an object that says so is not of the kind that is wanted; what it does not say,
/// it is.
pub(crate) fn convertible(version: &str, kind: &str, wanted: Kinded<'_>) -> Result<(), String> {
    let own = wanted.api_version();
    let version = if version.is_empty() { own.as_str() } else { version };
    let kind = if kind.is_empty() { wanted.kind } else { kind };
    if version == own && kind == wanted.kind {
        return Ok(());
    }
    let (group, short) = version.split_once('/').unwrap_or(("", version));
    if types().kind(group, short, kind).is_none() {
        return Err(not_registered(version, kind));
    }
    let package = package(wanted.group);
    Err(format!("converting ({short}.{kind}) to ({package}.{}): unknown conversion", wanted.kind))
}

pub(crate) fn not_registered(version: &str, kind: &str) -> String {
    format!(
        "no kind \"{kind}\" is registered for version \"{version}\" in scheme \
         \"pkg/runtime/scheme.go:111\""
    )
}

/// Where upstream's server has the kinds of a group, as its texts show it.
fn package(group: &str) -> &str {
    match group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or(group),
    }
}
