//! Reviews: questions about who somebody is and what they may, which are answered and not kept.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{self, Asked};
use super::body::{self, FieldValidation};
use super::negotiate::{Form, Shape};
use super::resource::{Incoming, Outgoing};
use crate::auth::lookup::Answer;
use crate::auth::review::{Scope, access_question, access_status, user_info};
use crate::auth::{rbac, review};
use crate::object::{self, Object};
use crate::schema::conversion::Kinded;
use crate::status::Status;

/// A kind of question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Review {
    pub(crate) group: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) namespaced: Namespaced,
}

/// Whether the question is asked in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespaced {
    Yes,
    No,
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORISATION: &str = "authorization.k8s.io";

const fn review_of(group: &'static str, kind: &'static str, resource: &'static str) -> Review {
    Review { group, kind, resource, namespaced: Namespaced::No }
}

/// Every question.
pub(crate) const ALL: [Review; 6] = [
    review_of(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews"),
    review_of(AUTHENTICATION, "TokenReview", "tokenreviews"),
    Review {
        group: AUTHORISATION,
        kind: "LocalSubjectAccessReview",
        resource: "localsubjectaccessreviews",
        namespaced: Namespaced::Yes,
    },
    review_of(AUTHORISATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    review_of(AUTHORISATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    review_of(AUTHORISATION, "SubjectAccessReview", "subjectaccessreviews"),
];

/// The question that a resource is.
pub(crate) fn find(group: &str, version: &str, resource: &str) -> Option<&'static Review> {
    ALL.iter().find(|one| one.group == group && version == "v1" && one.resource == resource)
}

impl Incoming<'_> {
    pub(super) async fn review(&self, review: &'static Review, body: Body) -> Answer<Outgoing> {
        let in_namespace = !self.info.namespace.is_empty();
        if in_namespace != (review.namespaced == Namespaced::Yes) {
            return Err(Box::new(Status::no_such_path()));
        }
        if self.info.verb != "create" {
            let text = "the server does not allow this method on the requested resource";
            return Err(Box::new(Status::new(405, "MethodNotAllowed", text)));
        }
        let kind = Kinded { group: review.group, version: "v1", kind: review.kind };
        let bytes = body::read(body).await?;
        let decoded = body::decode(self.headers, &bytes, kind)?;
        let validation = FieldValidation::of(self.query)?;
        let warnings = validation.judge(decoded.complaints, kind)?;
        let mut object = decoded.object;
        let status = self.answer_of(review.kind, &object).await?;
        object.insert("status".to_owned(), status);
        Ok(Outgoing { response: self.reviewed(object), warnings })
    }

    fn reviewed(&self, object: Object) -> Response {
        let form = Form { shape: Shape::Object, ..self.asked.form };
        answer::value(&Asked { form, ..self.asked }, 201, &Value::Object(object))
    }

    async fn answer_of(&self, kind: &str, body: &Object) -> Answer<Value> {
        let scope = match kind {
            "SelfSubjectReview" => return Ok(json!({"userInfo": user_info(self.user)})),
            "TokenReview" => {
                let (tokens, registry) = (&self.server.tokens, &self.server.registry);
                let reviewed =
                    review::review_token(tokens, body, registry.now(), registry.as_ref());
                return Ok(reviewed.await?.get("status").cloned().unwrap_or(Value::Null));
            }
            "SelfSubjectRulesReview" => {
                let namespace = object::text(body, &["spec", "namespace"]);
                if namespace.is_empty() {
                    let why = "no namespace on request";
                    return Err(Box::new(Status::bad_request(why)));
                }
                let rules =
                    |policy: &rbac::Policy| rbac::rules_status(policy, self.user, namespace);
                return Ok(self.server.access.with_policy(rules));
            }
            "SelfSubjectAccessReview" => Scope::Own(self.user),
            "LocalSubjectAccessReview" => Scope::Local(&self.info.namespace),
            _ => Scope::Subject,
        };
        let (user, asked) = access_question(body, scope)?;
        Ok(access_status(&self.server.access.authorise(&user, &asked)))
    }
}
