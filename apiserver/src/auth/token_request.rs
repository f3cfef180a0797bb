//! Making a token for a service account: the `token` part of it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::authentication::Tokens;
use super::lookup::{Answer, Lookup, core};
use super::token::{Bound, Claims, sign};
use super::{service_account_user, text::quote};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::schema::time;
use crate::status::{Resource, Status};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
const DEFAULT: i64 = 3_600;
/// The life that admission asks for in every pod. Clients that were written before tokens had an
/// end never fetch a new one, so such a token lives a year and only warns after this time.
const OF_PODS: i64 = 3_607;
const EXTENDED: i64 = 365 * 24 * 3_600;

/// What is asked for, by whom it may be, and when.
#[derive(Debug, Clone, Copy)]
pub struct TokenQuestion<'a> {
    /// The namespace of the path.
    pub namespace: &'a str,
    /// The service account of the path.
    pub name: &'a str,
    /// The TokenRequest that was sent.
    pub body: &'a Object,
    /// The time in seconds since 1970.
    pub now: i64,
    /// A new uuid, the token's own id.
    pub id: &'a str,
}

/// A TokenRequest with its status, and what to warn of.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenAnswer {
    /// The object to answer with.
    pub object: Object,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Answers a TokenRequest.
///
/// # Errors
///
/// Upstream's answers: 404, 409 for another uid, 422, 400 for what tokens cannot be bound to.
pub async fn answer(
    tokens: &Tokens,
    question: &TokenQuestion<'_>,
    lookup: &dyn Lookup,
) -> Answer<TokenAnswer> {
    check_place(question)?;
    let body = question.body;
    let accounts = core("serviceaccounts");
    let account = lookup
        .get(accounts, question.namespace, question.name)
        .await?
        .ok_or_else(|| Status::not_found(accounts, question.name))?;
    let uid = object::uid(body);
    if !uid.is_empty() && uid != object::uid(&account) {
        let why = format!(
            "the UID in the token request ({uid}) does not match the UID of the service account \
             ({})",
            object::uid(&account)
        );
        let kind = Resource { group: GROUP, name: KIND };
        return Err(Box::new(Status::conflict(kind, question.name, &why)));
    }
    let mut seconds = object::number(body, &["spec", "expirationSeconds"]).unwrap_or(DEFAULT);
    check_life(seconds)?;
    let bound = find_bound(question, lookup).await?;
    let mut warnings = Vec::new();
    if let Some(longest) = tokens.longest.filter(|longest| *longest > 0 && seconds > *longest) {
        warnings.push(format!(
            "requested expiration of {seconds} seconds shortened to {longest} seconds"
        ));
        seconds = longest;
    }
    let claims = claims_of(tokens, question, &account, bound, seconds);
    let key = tokens.signing.as_ref().ok_or_else(|| Status::internal("no key to sign tokens"))?;
    let token = sign(&claims, key)
        .map_err(|why| Status::internal(format!("failed to generate token: {why}")))?;
    let object = describe(question, &account, &claims.audiences, seconds, &token);
    Ok(TokenAnswer { object, warnings })
}

fn check_place(question: &TokenQuestion<'_>) -> Answer<()> {
    let told = [
        ("name", question.name, "must match the service account name if specified"),
        ("namespace", question.namespace, "must match the service account namespace if specified"),
    ];
    for (member, expected, why) in told {
        let own = object::text(question.body, &["metadata", member]);
        if !own.is_empty() && own != expected {
            let mut errors = FieldErrors::default();
            errors.invalid(&Path::new("metadata").child(member), own, why);
            return Err(Box::new(Status::invalid(GROUP, KIND, question.name, &errors)));
        }
    }
    Ok(())
}

fn check_life(seconds: i64) -> Answer<()> {
    let mut errors = FieldErrors::default();
    let path = Path::new("spec.expirationSeconds");
    if seconds < SHORTEST {
        errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > LONGEST {
        errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Box::new(Status::invalid(GROUP, KIND, "", &errors)))
}

/// What the token ends with.
#[derive(Debug, Default)]
struct BoundObjects {
    pod: Option<Bound>,
    secret: Option<Bound>,
    node: Option<Bound>,
}

fn bound_to(found: &Object) -> Option<Bound> {
    Some(Bound { name: object::name(found).to_owned(), uid: object::uid(found).to_owned() })
}

async fn find_bound(question: &TokenQuestion<'_>, lookup: &dyn Lookup) -> Answer<BoundObjects> {
    let Some(reference) = object::map(question.body, &["spec", "boundObjectRef"]) else {
        return Ok(BoundObjects::default());
    };
    let text = |name| object::text(reference, &[name]);
    let (kind, name) = (text("kind"), text("name"));
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let find = async |resource: &'static str, namespace: &str| -> Answer<Arc<Object>> {
        let found = lookup.get(core(resource), namespace, name).await?;
        Ok(found.ok_or_else(|| Status::not_found(core(resource), name))?)
    };
    let mut bound = BoundObjects::default();
    let found = match (group, kind) {
        ("", "Pod") => {
            let pod = find("pods", question.namespace).await?;
            if object::text(&pod, &["spec", "serviceAccountName"]) != question.name {
                return Err(Box::new(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {} to pod running with different \
                     serviceaccount name.",
                    quote(question.name)
                ))));
            }
            bound.pod = bound_to(&pod);
            let node = object::text(&pod, &["spec", "nodeName"]);
            if !node.is_empty() {
                let found = lookup.get(core("nodes"), "", node).await?;
                let unseen = Bound { name: node.to_owned(), uid: String::new() };
                bound.node = found.and_then(|found| bound_to(&found)).or(Some(unseen));
            }
            pod
        }
        ("", "Node") => {
            let node = find("nodes", "").await?;
            bound.node = bound_to(&node);
            node
        }
        ("", "Secret") => {
            let secret = find("secrets", question.namespace).await?;
            bound.secret = bound_to(&secret);
            secret
        }
        _ => {
            let text =
                format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Box::new(Status::bad_request(text)));
        }
    };
    let uid = text("uid");
    if !uid.is_empty() && uid != object::uid(&found) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        );
        let kind = Resource { group, name: kind };
        return Err(Box::new(Status::conflict(kind, name, &why)));
    }
    Ok(bound)
}

fn claims_of(
    tokens: &Tokens,
    question: &TokenQuestion<'_>,
    account: &Object,
    bound: BoundObjects,
    seconds: i64,
) -> Claims {
    let asked: Vec<String> = object::list(question.body, &["spec", "audiences"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let audiences = if asked.is_empty() { tokens.audiences.clone() } else { asked };
    let ours = audiences.iter().all(|audience| tokens.audiences.contains(audience));
    let extended = bound.pod.is_some() && seconds == OF_PODS && ours;
    let now = question.now;
    Claims {
        issuer: tokens.issuers.first().cloned().unwrap_or_default(),
        subject: service_account_user(question.namespace, question.name),
        audiences,
        id: question.id.to_owned(),
        issued: Some(now),
        not_before: Some(now),
        expires: Some(now + if extended { EXTENDED } else { seconds }),
        namespace: question.namespace.to_owned(),
        account: bound_to(account).unwrap_or_default(),
        pod: bound.pod,
        secret: bound.secret,
        node: bound.node,
        warn_after: extended.then_some(now + seconds),
    }
}

fn describe(
    question: &TokenQuestion<'_>,
    account: &Object,
    audiences: &[String],
    seconds: i64,
    token: &str,
) -> Object {
    let mut object = question.body.clone();
    object.insert("kind".to_owned(), KIND.into());
    object.insert("apiVersion".to_owned(), format!("{GROUP}/v1").into());
    object::set(&mut object, &["metadata", "name"], question.name);
    object::set(&mut object, &["metadata", "namespace"], question.namespace);
    object::set(&mut object, &["metadata", "uid"], object::uid(account));
    object::set(&mut object, &["metadata", "creationTimestamp"], time::format(question.now));
    object::set(&mut object, &["spec", "audiences"], audiences.to_vec());
    object::set(&mut object, &["spec", "expirationSeconds"], seconds);
    object::set_default(&mut object, &["spec", "boundObjectRef"], Value::Null);
    let ends = time::format(question.now + seconds);
    object.insert("status".to_owned(), json!({"token": token, "expirationTimestamp": ends}));
    object
}
