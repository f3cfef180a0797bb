//! Reviews: questions about who somebody is and whether they may, answered and stored nowhere.

use serde_json::{Value, json};

use super::authentication::Tokens;
use super::lookup::{Answer, Lookup};
use super::{Attributes, Decision, User};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::status::Status;

const GROUP: &str = "authorization.k8s.io";

/// Whose access a review asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Of the user that it names.
    Subject,
    /// Of the user that it names, in this namespace only.
    Local(&'a str),
    /// Of who asks.
    Own(&'a User),
}

impl Scope<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Subject => "SubjectAccessReview",
            Self::Local(_) => "LocalSubjectAccessReview",
            Self::Own(_) => "SelfSubjectAccessReview",
        }
    }
}

/// Reads an access review: who would do what.
///
/// # Errors
///
/// 422 or 400 with upstream's texts.
pub fn access_question(body: &Object, scope: Scope<'_>) -> Answer<(User, Attributes)> {
    let errors = check_access(body, scope);
    if !errors.is_empty() {
        return Err(Box::new(Status::invalid(GROUP, scope.kind(), "", &errors)));
    }
    if let Scope::Local(namespace) = scope
        && namespace != object::namespace(body)
    {
        let text = format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
        return Err(Box::new(Status::bad_request(text)));
    }
    let user = match scope {
        Scope::Own(user) => user.clone(),
        Scope::Subject | Scope::Local(_) => user_of(body),
    };
    Ok((user, attributes_of(body)))
}

fn check_access(body: &Object, scope: Scope<'_>) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let spec = Path::new("spec");
    let given = |name: &str| object::map(body, &["spec", name]);
    let (resource, path) = (given("resourceAttributes"), given("nonResourceAttributes"));
    if let (Some(_), Some(value)) = (resource, path) {
        let why = "cannot be specified in combination with resourceAttributes";
        errors.invalid(&spec.child("nonResourceAttributes"), value.clone(), why);
    }
    if resource.is_none() && path.is_none() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.invalid(&spec.child("resourceAttributes"), Value::Null, why);
    }
    if !matches!(scope, Scope::Own(_))
        && object::text(body, &["spec", "user"]).is_empty()
        && object::list(body, &["spec", "groups"]).is_empty()
    {
        let why = "at least one of user or group must be specified";
        errors.invalid(&spec.child("user"), "", why);
    }
    check_metadata(body, scope, &mut errors);
    if let Scope::Local(_) = scope {
        let own = resource.map(|attributes| object::text(attributes, &["namespace"]));
        if let Some(own) = own.filter(|own| *own != object::namespace(body)) {
            let place = Path::new("spec.resourceAttributes.namespace");
            errors.invalid(&place, own, "must match metadata.namespace");
        }
        if let Some(value) = path {
            let place = spec.child("nonResourceAttributes");
            errors.invalid(&place, value.clone(), "disallowed on this kind of request");
        }
    }
    errors
}

fn check_metadata(body: &Object, scope: Scope<'_>, errors: &mut FieldErrors) {
    let Some(metadata) = object::map(body, &["metadata"]) else { return };
    let (local, why) = match scope {
        Scope::Local(_) => (true, "must be empty except for namespace"),
        Scope::Subject | Scope::Own(_) => (false, "must be empty"),
    };
    let told = metadata.iter().any(|(name, value)| {
        let allowed = name == "managedFields" || (local && name == "namespace");
        !allowed && !value.is_null()
    });
    if told {
        errors.invalid(&Path::new("metadata"), metadata.clone(), why);
    }
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn user_of(body: &Object) -> User {
    let extra = object::map(body, &["spec", "extra"]);
    let values = |value: &Value| texts(value.as_array().map_or(&[], Vec::as_slice));
    User {
        name: object::text(body, &["spec", "user"]).to_owned(),
        uid: object::text(body, &["spec", "uid"]).to_owned(),
        groups: texts(object::list(body, &["spec", "groups"])),
        // Upstream's authorisers see the keys in lower case.
        extra: extra
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.to_lowercase(), values(value)))
            .collect(),
    }
}

fn attributes_of(body: &Object) -> Attributes {
    let spec = |path: [&str; 2]| object::text(body, &["spec", path[0], path[1]]).to_owned();
    if object::map(body, &["spec", "resourceAttributes"]).is_none() {
        return Attributes {
            verb: spec(["nonResourceAttributes", "verb"]),
            path: spec(["nonResourceAttributes", "path"]),
            ..Attributes::default()
        };
    }
    let text = |name: &str| spec(["resourceAttributes", name]);
    let version = text("version");
    Attributes {
        verb: text("verb"),
        is_resource: true,
        group: text("group"),
        version: if version.is_empty() { "*".to_owned() } else { version },
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: String::new(),
        fields: fields_of(body),
    }
}

/// What the field selector of a question asks for with `=`.
fn fields_of(body: &Object) -> Vec<(String, String)> {
    let path = ["spec", "resourceAttributes", "fieldSelector"];
    let Some(selector) = object::map(body, &path) else { return Vec::new() };
    let mut found = exact_fields(object::text(selector, &["rawSelector"]));
    for requirement in object::list(selector, &["requirements"]) {
        let values = requirement["values"].as_array().map_or(&[][..], Vec::as_slice);
        if let (Some("In"), Some(key), [Value::String(value)]) =
            (requirement["operator"].as_str(), requirement["key"].as_str(), values)
        {
            found.push((key.to_owned(), value.clone()));
        }
    }
    found
}

/// What a field selector such as `spec.nodeName=a,metadata.name!=b` asks for with `=` or `==`.
#[must_use]
pub fn exact_fields(selector: &str) -> Vec<(String, String)> {
    let part = |part: &str| {
        let (key, value) = part.split_once('=')?;
        (!key.ends_with('!')).then(|| {
            (key.trim().to_owned(), value.strip_prefix('=').unwrap_or(value).trim().to_owned())
        })
    };
    selector.split(',').filter_map(part).collect()
}

/// The status of an access review.
#[must_use]
pub fn access_status(decision: &Decision) -> Value {
    let mut status = json!({"allowed": decision.is_allowed()});
    if !decision.reason().is_empty() {
        status["reason"] = decision.reason().into();
    }
    status
}

/// A user as reviews describe it.
#[must_use]
pub fn user_info(user: &User) -> Value {
    let mut info = Object::new();
    info.insert("username".to_owned(), user.name.as_str().into());
    if !user.uid.is_empty() {
        info.insert("uid".to_owned(), user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        info.insert("groups".to_owned(), user.groups.clone().into());
    }
    if !user.extra.is_empty() {
        let mut sorted = user.extra.clone();
        sorted.sort();
        let extra = sorted.into_iter().map(|(key, values)| (key, values.into())).collect();
        info.insert("extra".to_owned(), Value::Object(extra));
    }
    Value::Object(info)
}

/// Answers a TokenReview: whose token it is.
///
/// # Errors
///
/// 400 if there is no token to review.
pub async fn review_token(
    tokens: &Tokens,
    body: &Object,
    now: i64,
    lookup: &dyn Lookup,
) -> Answer<Object> {
    let token = object::text(body, &["spec", "token"]);
    if token.is_empty() {
        let text = "token is required for TokenReview in authentication";
        return Err(Box::new(Status::bad_request(text)));
    }
    let audiences = texts(object::list(body, &["spec", "audiences"]));
    let status = match tokens.know(token, &audiences, now, lookup).await {
        Ok(known) => json!({
            "authenticated": true,
            "user": user_info(&known.user),
            "audiences": known.audiences,
        }),
        Err(why) => json!({"user": {}, "error": why.message()}),
    };
    let mut answer = body.clone();
    answer.insert("status".to_owned(), status);
    Ok(answer)
}
