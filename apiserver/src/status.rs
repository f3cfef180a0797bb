//! The answer when something did not work: `metav1.Status`, with upstream's reasons and texts.
//!
//! Clients decide by `reason` and `code`, and people read `message`; both are upstream's
//! (apimachinery `api/errors`), to the byte.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::field::FieldErrors;

/// A resource by its group and plural name, as texts name it: `pods`, `deployments.apps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The plural name.
    pub name: &'a str,
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// One cause of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// A word for machines, such as `FieldValueInvalid`.
    pub reason: String,
    /// A text for people.
    pub message: String,
    /// Where in the object; empty if nowhere.
    pub field: String,
}

/// What a failure is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name.
    pub name: String,
    /// The API group.
    pub group: String,
    /// The resource for most failures, the kind for `Invalid`.
    pub kind: String,
    /// The object's uid.
    pub uid: String,
    /// What is wrong in particular.
    pub causes: Vec<Cause>,
    /// After how many seconds to try again; 0 for no advice.
    pub retry_after_seconds: u32,
}

/// A failure as clients see it. (Boxed by whoever returns it often: it is large.)
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The code of HTTP.
    pub code: u16,
    /// A word for machines; empty where upstream gives none.
    pub reason: &'static str,
    /// A text for people.
    pub message: String,
    /// What it is about.
    pub details: Option<Details>,
    /// `metadata.continue`, which a list that expired offers.
    pub next: Option<String>,
}

impl Status {
    /// A failure without details.
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, next: None }
    }

    fn about(mut self, resource: Resource<'_>, name: &str) -> Self {
        self.details = Some(Details {
            name: name.to_owned(),
            group: resource.group.to_owned(),
            kind: resource.name.to_owned(),
            ..Details::default()
        });
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.causes.push(Cause {
            reason: reason.to_owned(),
            message: message.to_owned(),
            field: field.to_owned(),
        });
        self
    }

    /// Advises to try again after so many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// 404: there is no such object.
    #[must_use]
    pub fn not_found(resource: Resource<'_>, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found")).about(resource, name)
    }

    /// 404: nothing is served under this path.
    #[must_use]
    pub fn no_such_path() -> Self {
        let text = "the server could not find the requested resource";
        let mut status = Self::new(404, "NotFound", text);
        status.details = Some(Details::default());
        status
    }

    /// 409: there is such an object already.
    #[must_use]
    pub fn already_exists(resource: Resource<'_>, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists"))
            .about(resource, name)
    }

    /// 409: the object is not as the request wants it to be.
    #[must_use]
    pub fn conflict(resource: Resource<'_>, name: &str, why: &str) -> Self {
        let text = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(409, "Conflict", text).about(resource, name)
    }

    /// 409: somebody else changed the object in between.
    #[must_use]
    pub fn modified(resource: Resource<'_>, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(resource, name, why)
    }

    /// 422: the object says what it must not say. `kind` is the kind, not the resource.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &FieldErrors) -> Self {
        let text = errors.joined();
        let full = Resource { group, name: kind };
        let mut status = Self::new(422, "Invalid", format!("{full} \"{name}\" is invalid: {text}"))
            .about(full, name);
        for error in &errors.0 {
            let (body, path) = (error.body(), error.path.to_string());
            status = status.with_cause(error.fault.reason(), &body, &path);
        }
        status
    }

    /// 403: not allowed. `why` is the whole text behind `is forbidden: `.
    #[must_use]
    pub fn forbidden(resource: Resource<'_>, name: &str, why: &str) -> Self {
        let text = match (resource.name, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", text).about(resource, name)
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: who are you?
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 405: this resource has no such verb.
    #[must_use]
    pub fn method_not_allowed(resource: Resource<'_>, action: &str) -> Self {
        let text = format!("{action} is not supported on resources of kind \"{resource}\"");
        Self::new(405, "MethodNotAllowed", text).about(resource, "")
    }

    /// 410: this revision was compacted.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413: the body is too large.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 415: none of the accepted media types.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        let text = format!(
            "the body of the request was in an unknown format - accepted media types include: {list}"
        );
        Self::new(415, "UnsupportedMediaType", text)
    }

    /// 406: no form that the client accepts.
    #[must_use]
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let list = accepted.join(", ");
        Self::new(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {list}"),
        )
    }

    /// 429: later.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", message).with_retry_after(retry_after_seconds)
    }

    /// 500: it is the server's fault.
    #[must_use]
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}")).with_cause(
            "",
            &message.to_string(),
            "",
        )
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 504: it took too long.
    #[must_use]
    pub fn timeout(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(504, "Timeout", message).with_retry_after(retry_after_seconds)
    }

    /// The object that clients get.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(next) = &self.next {
            metadata.insert("continue".to_owned(), json!(next));
        }
        let mut object = Map::new();
        object.insert("kind".to_owned(), json!("Status"));
        object.insert("apiVersion".to_owned(), json!("v1"));
        object.insert("metadata".to_owned(), Value::Object(metadata));
        object.insert("status".to_owned(), json!("Failure"));
        put_text(&mut object, "message", &self.message);
        put_text(&mut object, "reason", self.reason);
        if let Some(details) = &self.details {
            object.insert("details".to_owned(), details.to_value());
        }
        object.insert("code".to_owned(), json!(self.code));
        Value::Object(object)
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut object = Map::new();
        put_text(&mut object, "name", &self.name);
        put_text(&mut object, "group", &self.group);
        put_text(&mut object, "kind", &self.kind);
        put_text(&mut object, "uid", &self.uid);
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(Cause::to_value).collect();
            object.insert("causes".to_owned(), Value::Array(causes));
        }
        if self.retry_after_seconds > 0 {
            object.insert("retryAfterSeconds".to_owned(), json!(self.retry_after_seconds));
        }
        Value::Object(object)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut object = Map::new();
        put_text(&mut object, "reason", &self.reason);
        put_text(&mut object, "message", &self.message);
        put_text(&mut object, "field", &self.field);
        Value::Object(object)
    }
}

fn put_text(object: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        object.insert(name.to_owned(), json!(text));
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Path;

    #[test]
    fn failures_read_as_upstream_writes_them() {
        let deployments = Resource { group: "apps", name: "deployments" };
        let status = Status::not_found(deployments, "web");
        assert_eq!(
            status.to_value(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "deployments.apps \"web\" not found", "reason": "NotFound",
                "details": {"name": "web", "group": "apps", "kind": "deployments"}, "code": 404,
            })
        );
    }

    #[test]
    fn an_invalid_object_says_each_cause() {
        let mut errors = FieldErrors::default();
        errors.required(&Path::new("spec.selector"), "");
        errors.invalid(&Path::new("spec.replicas"), -1, "must be positive");
        let status = Status::invalid("apps", "Deployment", "web", &errors);
        assert_eq!(
            status.message,
            "Deployment.apps \"web\" is invalid: [spec.selector: Required value, \
             spec.replicas: Invalid value: -1: must be positive]"
        );
        let causes = status.details.map(|details| details.causes).unwrap_or_default();
        assert_eq!(causes.len(), 2);
        assert_eq!(causes[1].field, "spec.replicas");
        assert_eq!(causes[1].reason, "FieldValueInvalid");
    }
}
