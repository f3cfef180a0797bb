//! Requests about resources: from verb and body to what the registry does, and back.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::HeaderMap;
use serde_json::Value;

use super::answer::{self, Asked};
use super::body::{self, FieldValidation};
use super::info::{Info, Query};
use super::negotiate::{Form, Shape};
use super::{options, reviews, watch};
use crate::auth::User;
use crate::auth::lookup::Answer;
use crate::kinds::{self, Kind, Scope, Subresource};
use crate::object::{self, Object};
use crate::patch::{JsonPatch, parse_merge_patch, parse_strategic_patch};
use crate::registry::{Call, Deleted, Part, Patch, Updated, revision};
use crate::schema::conversion::Kinded;
use crate::server::Server;
use crate::status::Status;
use crate::storage::Freshness;

/// A request that passed the gates.
pub(crate) struct Incoming<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) user: &'a User,
    pub(crate) info: &'a Info,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) asked: Asked,
}

/// An answer and what to warn of.
pub(crate) struct Outgoing {
    pub(crate) response: Response,
    pub(crate) warnings: Vec<String>,
}

impl From<Response> for Outgoing {
    fn from(response: Response) -> Self {
        Self { response, warnings: Vec::new() }
    }
}

/// Answers a request about a resource.
pub(crate) async fn handle(it: Incoming<'_>, body: Body) -> Answer<Outgoing> {
    let info = it.info;
    if let Some(review) = reviews::find(&info.group, &info.version, &info.resource) {
        return it.review(review, body).await;
    }
    let kind = kinds::by_resource(&info.group, &info.version, &info.resource)
        .ok_or_else(|| Box::new(Status::no_such_path()))?;
    let in_namespace = !info.namespace.is_empty() && info.resource != "namespaces";
    if in_namespace && kind.scope == Scope::Cluster {
        return Err(Box::new(Status::no_such_path()));
    }
    let subresource = match info.subresource.as_str() {
        "" => None,
        name => match kind.subresource(name) {
            Some(found) if info.rest.is_empty() => Some(found),
            _ => return Err(Box::new(Status::no_such_path())),
        },
    };
    for name in [&info.name, &info.namespace] {
        if matches!(name.as_str(), "." | "..") {
            let why = format!("Name parameter invalid: \"{name}\": may not be '{name}'");
            return Err(Box::new(Status::bad_request(why)));
        }
    }
    let places_one = matches!(info.verb.as_str(), "create" | "get" | "update" | "patch" | "delete");
    let misplaced = kind.is_namespaced() && info.namespace.is_empty() && places_one;
    let verbs = subresource.map_or(kind.verbs, |sub| sub.verbs);
    let known = verbs.iter().any(|verb| verb.name() == info.verb);
    let of_none = info.name.is_empty() && matches!(info.verb.as_str(), "update" | "patch");
    if misplaced
        || of_none
        || !known
        || (info.verb == "create" && !info.name.is_empty() && subresource.is_none())
    {
        return Err(Box::new(not_allowed()));
    }
    let call = it.call(kind, subresource)?;
    if !kind.deprecation.is_empty() {
        call.warn(kind.deprecation.to_owned());
    }
    let response = match subresource {
        None => it.main(&call, body).await?,
        Some(sub) => it.part(&call, sub, body).await?,
    };
    let warnings = call.warnings.into_inner().unwrap_or_default();
    Ok(Outgoing { response, warnings })
}

/// 405 as upstream says it for methods that a path does not have.
pub(super) fn not_allowed() -> Status {
    let text = "the server does not allow this method on the requested resource";
    let mut status = Status::new(405, "MethodNotAllowed", text);
    status.details = Some(crate::status::Details::default());
    status
}

/// The names of a kind.
pub(crate) fn names_of(kind: &Kind) -> Kinded<'static> {
    Kinded { group: kind.group, version: kind.version, kind: kind.kind }
}

impl Incoming<'_> {
    fn call(
        &self,
        kind: &'static Kind,
        subresource: Option<&'static Subresource>,
    ) -> Answer<Call<'_>> {
        Ok(Call {
            user: self.user,
            kind,
            subresource,
            namespace: if kind.is_namespaced() { &self.info.namespace } else { "" },
            name: &self.info.name,
            dry_run: options::dry_run(self.query)?,
            warnings: std::sync::Mutex::default(),
        })
    }

    async fn main(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        match self.info.verb.as_str() {
            "create" if call.kind.resource == "bindings" => self.bind_named(call, body).await,
            "create" => self.create(call, body).await,
            "get" => self.get(call).await,
            "list" => self.list(call).await,
            "watch" => self.watch(call).await,
            "update" => self.update(call, Part::Main, body).await,
            "patch" => self.patch(call, Part::Main, body).await,
            "delete" => self.delete(call, body).await,
            _ => self.delete_all(call, body).await,
        }
    }

    async fn part(&self, call: &Call<'_>, sub: &Subresource, body: Body) -> Answer<Response> {
        match (sub.name, self.info.verb.as_str()) {
            ("status", "get") => self.get(call).await,
            ("status", "update") => self.update(call, Part::Status, body).await,
            ("status", "patch") => self.patch(call, Part::Status, body).await,
            ("finalize", "update") => self.finalize(call, body).await,
            ("scale", verb) => self.scale(call, verb, body).await,
            ("binding", _) => self.bind(call, body).await,
            ("eviction", _) => self.evict(call, body).await,
            ("token", _) => self.token(call, body).await,
            ("log", _) => self.log(call).await,
            _ => Err(Box::new(Status::no_such_path())),
        }
    }

    /// Reads a body that is an object of a kind, and sees to what it should not say.
    pub(crate) async fn object(
        &self,
        call: &Call<'_>,
        kind: Kinded<'static>,
        body: Body,
    ) -> Answer<Object> {
        let validation = FieldValidation::of(self.query)?;
        let bytes = body::read(body).await?;
        let decoded = body::decode(self.headers, &bytes, kind)?;
        for text in validation.judge(decoded.complaints, kind)? {
            call.warn(text);
        }
        Ok(decoded.object)
    }

    /// The same for the resource's own kind: it must lie where the path says.
    async fn own_object(&self, call: &Call<'_>, body: Body) -> Answer<Object> {
        let mut object = self.object(call, names_of(call.kind), body).await?;
        place(call, &mut object)?;
        Ok(object)
    }

    pub(super) fn object_answer(&self, call: &Call<'_>, code: u16, object: Object) -> Response {
        answer::object(&self.asked, call.kind, code, object)
    }

    /// An answer of another kind than the resource's.
    pub(super) fn other_answer(&self, code: u16, object: Object) -> Response {
        let form = Form { shape: Shape::Object, ..self.asked.form };
        answer::value(&Asked { form, ..self.asked }, code, &Value::Object(object))
    }

    async fn create(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        let object = self.own_object(call, body).await?;
        let made = self.server.registry.create(call, object).await?;
        Ok(self.object_answer(call, 201, made))
    }

    async fn get(&self, call: &Call<'_>) -> Answer<Response> {
        let registry = &self.server.registry;
        let freshness = match self.query.get("resourceVersion") {
            "" => Freshness::Latest,
            text => Freshness::NotOlderThan(revision::of_read(text)?),
        };
        if let Freshness::NotOlderThan(revision) = freshness
            && revision > 0
            && !registry.reaches(revision).await
        {
            return Err(registry.too_large(revision).await);
        }
        let stored = registry.stored_at(call, freshness).await?;
        answer::stored(&self.asked, call.kind, &stored)
    }

    async fn list(&self, call: &Call<'_>) -> Answer<Response> {
        let options = options::list(call.kind, self.query)?;
        let page = self.server.registry.list(call, &options).await?;
        answer::list(&self.asked, &self.server.registry, call.kind, page).await
    }

    async fn watch(&self, call: &Call<'_>) -> Answer<Response> {
        let registry = &self.server.registry;
        let mut options = options::watch(call.kind, self.query, registry.random.next_u64())?;
        if !call.name.is_empty() {
            // Who may watch one object by the old path sees no other.
            let fields = std::mem::take(&mut options.filter.fields);
            options.filter.fields = fields.and("metadata.name", call.name);
        }
        let watcher = registry.watch(call, options).await?;
        Ok(watch::response(self.asked, call.kind, watcher))
    }

    async fn update(&self, call: &Call<'_>, part: Part, body: Body) -> Answer<Response> {
        let object = self.own_object(call, body).await?;
        check_name(call, &object)?;
        match self.server.registry.update(call, part, object).await? {
            Updated::Changed(object) => Ok(self.object_answer(call, 200, object)),
            Updated::Created(object) => Ok(self.object_answer(call, 201, object)),
        }
    }

    async fn patch(&self, call: &Call<'_>, part: Part, body: Body) -> Answer<Response> {
        let (patch, complaints) = self.read_patch(body).await?;
        let validation = FieldValidation::of(self.query)?;
        let judge = |more: Vec<String>| {
            let all: Vec<String> = complaints.iter().cloned().chain(more).collect();
            match validation {
                FieldValidation::Ignore => {}
                FieldValidation::Warn => all.into_iter().for_each(|text| call.warn(text)),
                FieldValidation::Strict if all.is_empty() => {}
                FieldValidation::Strict => {
                    return Err(format!("strict decoding error: {}", all.join(", ")));
                }
            }
            Ok(())
        };
        let made = self.server.registry.patch(call, part, &patch, &judge).await?;
        Ok(self.object_answer(call, 200, made))
    }

    pub(super) async fn read_patch(&self, body: Body) -> Answer<(Patch, Vec<String>)> {
        let media = body::media_type(self.headers);
        if !PATCH_TYPES.contains(&media) {
            return Err(Box::new(Status::unsupported_media_type(&PATCH_TYPES)));
        }
        let bytes = body::read(body).await?;
        Ok(match media {
            "application/json-patch+json" => {
                let (patch, complaints) = JsonPatch::parse(&bytes)?;
                (Patch::Json(patch), complaints)
            }
            "application/merge-patch+json" => {
                let (patch, complaints) = parse_merge_patch(&bytes)?;
                (Patch::Merge(patch), complaints)
            }
            _ => {
                let (patch, complaints) = parse_strategic_patch(&bytes)?;
                (Patch::Strategic(patch), complaints)
            }
        })
    }

    async fn read_options(&self, body: Body) -> Answer<Option<Object>> {
        let bytes = body::read(body).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        body::decode_options(self.headers, &bytes).map(Some)
    }

    async fn delete(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        let sent = self.read_options(body).await?;
        let (options, dry_run) = options::delete(self.query, sent.as_ref())?;
        let call = Call { dry_run, warnings: std::sync::Mutex::default(), ..*call };
        match self.server.registry.delete(&call, &options).await? {
            Deleted::Leaving(object) => Ok(self.object_answer(&call, 200, object)),
            Deleted::Gone(object) => Ok(self.other_answer(200, success(&call, &object))),
        }
    }

    async fn delete_all(&self, call: &Call<'_>, body: Body) -> Answer<Response> {
        let sent = self.read_options(body).await?;
        let (options, dry_run) = options::delete(self.query, sent.as_ref())?;
        let registry = &self.server.registry;
        let listed = options::list(call.kind, self.query)?;
        let page = registry.list(call, &listed).await?;
        let mut deleted = page;
        let mut next = std::mem::take(&mut deleted.items);
        while !next.is_empty() {
            for stored in &next {
                let found = registry.object_of(call.kind, stored)?;
                let one = Call {
                    namespace: object::namespace(&found),
                    name: object::name(&found),
                    dry_run,
                    warnings: std::sync::Mutex::default(),
                    ..*call
                };
                match registry.delete(&one, &options).await {
                    Err(status) if status.code != 404 => return Err(status),
                    _ => {}
                }
            }
            deleted.items.append(&mut next);
            if let Some(rest) = &mut deleted.rest {
                next = registry.more(rest).await?;
            }
        }
        deleted.rest = None;
        answer::list(&self.asked, registry, call.kind, deleted).await
    }
}

/// The forms that a patch may come in. (Server-side apply comes with a later release.)
const PATCH_TYPES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// An object that does not say its namespace lies where the path says.
pub(super) fn place(call: &Call<'_>, object: &mut Object) -> Answer<()> {
    let said = object::namespace(object);
    if said.is_empty() {
        if call.kind.is_namespaced() {
            object::set(object, &["metadata", "namespace"], call.namespace);
        }
        return Ok(());
    }
    if said != call.namespace {
        let why = if call.kind.is_namespaced() {
            "the namespace of the provided object does not match the namespace sent on the request"
        } else {
            object::remove(object, &["metadata", "namespace"]);
            return Ok(());
        };
        return Err(Box::new(Status::bad_request(why)));
    }
    Ok(())
}

fn check_name(call: &Call<'_>, object: &Object) -> Answer<()> {
    let said = object::name(object);
    if said == call.name {
        return Ok(());
    }
    let why = if said.is_empty() {
        "name must be provided".to_owned()
    } else {
        format!(
            "the name of the object ({said}) does not match the name on the URL ({})",
            call.name
        )
    };
    Err(Box::new(Status::bad_request(why)))
}

/// What a client is told of an object that is gone.
pub(crate) fn success(call: &Call<'_>, object: &Object) -> Object {
    let mut details = Object::new();
    details.insert("name".to_owned(), Value::from(object::name(object)));
    if !call.kind.group.is_empty() {
        details.insert("group".to_owned(), Value::from(call.kind.group));
    }
    details.insert("kind".to_owned(), Value::from(call.kind.resource));
    details.insert("uid".to_owned(), Value::from(object::uid(object)));
    let mut status = success_status();
    status.insert("details".to_owned(), Value::Object(details));
    status
}

/// A Status that says nothing but success.
pub(crate) fn success_status() -> Object {
    let mut status = Object::new();
    status.insert("kind".to_owned(), Value::from("Status"));
    status.insert("apiVersion".to_owned(), Value::from("v1"));
    status.insert("metadata".to_owned(), Value::Object(Object::new()));
    status.insert("status".to_owned(), Value::from("Success"));
    status
}
