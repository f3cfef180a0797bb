//! The operations of a document: what can be done at which path, from the rows of the kinds.
//!
//! ```text
//!   row ─┬─ /api/v1/pods                                 list of all namespaces
//!        ├─ /api/v1/namespaces/{namespace}/pods          list, create, delete many
//!        ├─ …/pods/{name}                                get, put, patch, delete
//!        └─ …/pods/{name}/status                         what its row says
//! ```
//!
//! kubectl finds a kind's `patch` here by its group, version and kind, and learns from it which
//! patches the server takes and whether it checks fields.

use serde_json::{Value, json};

use super::parameters::{self, Parameter};
use super::schemas::{Schemas, Special};
use crate::http::reviews::{Namespaced, Review};
use crate::kinds::{Kind, Subresource, Verb};
use crate::object::Object;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Patches that are taken.
const PATCHES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A version of a group, and how its operations are called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) group: &'a str,
    pub(super) version: &'a str,
}

impl Version<'_> {
    /// Where its resources are: `/api/v1`, `/apis/apps/v1`.
    pub(super) fn root(self) -> String {
        match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }

    /// The group in names: `core`, `apps`, `rbacAuthorization`.
    fn group_name(self) -> String {
        if self.group.is_empty() {
            return "core".to_owned();
        }
        let words = self.group.strip_suffix(".k8s.io").unwrap_or(self.group).split('.');
        words
            .enumerate()
            .map(|(at, word)| if at == 0 { word.to_owned() } else { big(word) })
            .collect()
    }

    /// What its operations are filed under: `apps_v1`.
    fn tag(self) -> String {
        format!("{}_{}", self.group_name(), self.version)
    }

    /// Group and version in the names of operations: `AppsV1`.
    fn name(self) -> String {
        format!("{}{}", big(&self.group_name()), big(self.version))
    }
}

/// A word with its first letter in upper case.
fn big(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Group, version and kind of what an operation is about.
type About<'a> = (&'a str, &'a str, &'a str);

/// An operation to be.
struct Operation<'a> {
    id: String,
    action: &'static str,
    about: About<'a>,
    parameters: Vec<Parameter>,
    body: Option<Value>,
    /// What it gives, with each of these codes.
    gives: Value,
    codes: &'static [(&'static str, &'static str)],
}

const OK: (&str, &str) = ("200", "OK");
const CREATED: (&str, &str) = ("201", "Created");
const ACCEPTED: (&str, &str) = ("202", "Accepted");

/// Writes the paths of a version of a group.
pub(super) struct Paths<'a, 's> {
    of: Version<'a>,
    schemas: &'s mut Schemas<'a>,
    paths: Object,
}

impl<'a, 's> Paths<'a, 's> {
    pub(super) fn new(of: Version<'a>, schemas: &'s mut Schemas<'a>) -> Self {
        let mut paths = Object::new();
        let list = schemas.kind("", "v1", "APIResourceList");
        let id = format!("get{}APIResources", of.name());
        paths.insert(format!("{}/", of.root()), page(&of.tag(), &id, JSON, &list));
        Self { of, schemas, paths }
    }

    pub(super) fn finish(self) -> Object {
        self.paths
    }

    /// The paths of a kind.
    pub(super) fn kind(&mut self, kind: &'static Kind) {
        let root = self.of.root();
        let place = if kind.is_namespaced() { "/namespaces/{namespace}" } else { "" };
        let own = format!("{root}{place}/{}", kind.resource);
        if kind.is_namespaced() && kind.verbs.contains(&Verb::List) {
            let all = self.list(kind, &format!("{}ForAllNamespaces", kind.kind));
            self.add(&format!("{root}/{}", kind.resource), vec![("get", all)]);
        }
        let name = format!("{}{}", namespaced(kind), kind.kind);
        let many: Vec<_> =
            kind.verbs.iter().filter_map(|verb| self.of_many(kind, *verb, &name)).collect();
        self.add(&own, many);
        let about = (kind.group, kind.version, kind.kind);
        let one = kind.verbs.iter().filter_map(|verb| self.of_one(about, *verb, &name)).collect();
        self.add(&format!("{own}/{{name}}"), one);
        for sub in kind.subresources {
            let operations = self.part(kind, sub);
            self.add(&format!("{own}/{{name}}/{}", sub.name), operations);
        }
    }

    /// The path of a question.
    pub(super) fn review(&mut self, review: &'static Review) {
        let (place, namespaced) = match review.namespaced {
            Namespaced::Yes => ("/namespaces/{namespace}", "Namespaced"),
            Namespaced::No => ("", ""),
        };
        let about = (review.group, "v1", review.kind);
        let post = self.create(about, &format!("{namespaced}{}", review.kind));
        let path = format!("{}{place}/{}", self.of.root(), review.resource);
        self.add(&path, vec![("post", post)]);
    }

    fn of_many(
        &mut self,
        kind: &'static Kind,
        verb: Verb,
        name: &str,
    ) -> Option<(&'static str, Operation<'a>)> {
        Some(match verb {
            Verb::List => ("get", self.list(kind, name)),
            Verb::Create => ("post", self.create((kind.group, kind.version, kind.kind), name)),
            Verb::DeleteCollection => {
                let about = (kind.group, kind.version, kind.kind);
                let id = format!("delete{}Collection{name}", self.of.name());
                let many = Operation {
                    id,
                    action: "deletecollection",
                    parameters: parameters::DELETE_MANY.to_vec(),
                    codes: &[OK],
                    ..self.delete(about, name)
                };
                ("delete", many)
            }
            _ => return None,
        })
    }

    fn of_one(
        &mut self,
        about: About<'a>,
        verb: Verb,
        name: &str,
    ) -> Option<(&'static str, Operation<'a>)> {
        Some(match verb {
            Verb::Get => ("get", self.read(about, name)),
            Verb::Update => ("put", self.replace(about, name)),
            Verb::Patch => ("patch", self.patch(about, name)),
            Verb::Delete => ("delete", self.delete(about, name)),
            _ => return None,
        })
    }

    fn part(
        &mut self,
        kind: &'static Kind,
        sub: &'static Subresource,
    ) -> Vec<(&'static str, Operation<'a>)> {
        let name = format!("{}{}{}", namespaced(kind), kind.kind, big(sub.name));
        let about = (sub.group, sub.version, sub.kind);
        if sub.name == "log" {
            return vec![("get", self.log(about, &name))];
        }
        let mut all = Vec::new();
        for verb in sub.verbs {
            match verb {
                Verb::Create => all.push(("post", self.create(about, &name))),
                verb => all.extend(self.of_one(about, *verb, &name)),
            }
        }
        all
    }

    fn id(&self, verb: &str, name: &str) -> String {
        format!("{verb}{}{name}", self.of.name())
    }

    fn list(&mut self, kind: &'static Kind, name: &str) -> Operation<'a> {
        let list = self.schemas.kind(kind.group, kind.version, &format!("{}List", kind.kind));
        Operation {
            id: self.id("list", name),
            action: "list",
            about: (kind.group, kind.version, kind.kind),
            parameters: parameters::LIST.to_vec(),
            body: None,
            gives: content(
                &[
                    JSON,
                    "application/json;stream=watch",
                    PROTOBUF,
                    "application/vnd.kubernetes.protobuf;stream=watch",
                    YAML,
                ],
                &list,
            ),
            codes: &[OK],
        }
    }

    fn read(&mut self, about: About<'a>, name: &str) -> Operation<'a> {
        let kind = self.schemas.kind(about.0, about.1, about.2);
        Operation {
            id: self.id("read", name),
            action: "get",
            about,
            parameters: Vec::new(),
            body: None,
            gives: object(&kind),
            codes: &[OK],
        }
    }

    fn log(&mut self, about: About<'a>, name: &str) -> Operation<'a> {
        let text = content(&["text/plain"], &json!({"type": "string"}));
        let parameters = parameters::LOG.to_vec();
        Operation { parameters, gives: text, ..self.read(about, name) }
    }

    fn write(
        &mut self,
        about: About<'a>,
        id: String,
        action: &'static str,
        codes: &'static [(&'static str, &'static str)],
    ) -> Operation<'a> {
        let kind = self.schemas.kind(about.0, about.1, about.2);
        let body = json!({"content": content(&["*/*"], &kind), "required": true});
        let parameters = parameters::WRITE.to_vec();
        Operation { id, action, about, parameters, body: Some(body), gives: object(&kind), codes }
    }

    fn create(&mut self, about: About<'a>, name: &str) -> Operation<'a> {
        self.write(about, self.id("create", name), "post", &[OK, CREATED, ACCEPTED])
    }

    fn replace(&mut self, about: About<'a>, name: &str) -> Operation<'a> {
        self.write(about, self.id("replace", name), "put", &[OK, CREATED])
    }

    fn patch(&mut self, about: About<'a>, name: &str) -> Operation<'a> {
        let patch = self.schemas.special(Special::Patch);
        let body = json!({"content": content(&PATCHES, &patch), "required": true});
        let written = self.write(about, self.id("patch", name), "patch", &[OK, CREATED]);
        Operation { body: Some(body), ..written }
    }

    fn delete(&mut self, about: About<'a>, name: &str) -> Operation<'a> {
        let options = self.schemas.kind("", "v1", "DeleteOptions");
        let status = self.schemas.kind("", "v1", "Status");
        Operation {
            id: self.id("delete", name),
            action: "delete",
            about,
            parameters: parameters::DELETE.to_vec(),
            body: Some(json!({"content": content(&["*/*"], &options)})),
            gives: object(&status),
            codes: &[OK, ACCEPTED],
        }
    }

    /// Adds a path. Parameters that all of its operations have are the path's.
    fn add(&mut self, path: &str, operations: Vec<(&'static str, Operation<'a>)>) {
        if operations.is_empty() {
            return;
        }
        let everywhere = |own: &Parameter| {
            operations.iter().all(|(_, operation)| operation.parameters.contains(own))
        };
        let mut shared: Vec<Parameter> =
            operations[0].1.parameters.iter().filter(|own| everywhere(own)).copied().collect();
        shared.push(parameters::PRETTY);
        let mut written: Vec<Value> = shared.iter().copied().map(parameters::in_query).collect();
        let parts = ["name", "namespace"].into_iter();
        written.extend(
            parts.filter(|part| path.contains(&format!("{{{part}}}"))).map(parameters::in_path),
        );
        written.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
        let tag = self.of.tag();
        let mut item = Object::new();
        for (method, operation) in operations {
            item.insert(method.to_owned(), operation.written(&tag, &shared));
        }
        item.insert("parameters".to_owned(), written.into());
        self.paths.insert(path.to_owned(), item.into());
    }
}

impl Operation<'_> {
    fn written(self, tag: &str, shared: &[Parameter]) -> Value {
        let mut responses = Object::new();
        for (code, description) in self.codes {
            let response = json!({"description": description, "content": self.gives});
            responses.insert((*code).to_owned(), response);
        }
        responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        let (group, version, kind) = self.about;
        let mut operation = Object::new();
        operation.insert("tags".to_owned(), json!([tag]));
        operation.insert("operationId".to_owned(), self.id.into());
        let own = self.parameters.into_iter().filter(|own| !shared.contains(own));
        let own: Vec<Value> = own.map(parameters::in_query).collect();
        if !own.is_empty() {
            operation.insert("parameters".to_owned(), own.into());
        }
        if let Some(body) = self.body {
            operation.insert("requestBody".to_owned(), body);
        }
        operation.insert("responses".to_owned(), responses.into());
        operation.insert("x-kubernetes-action".to_owned(), self.action.into());
        operation.insert(
            "x-kubernetes-group-version-kind".to_owned(),
            json!({"group": group, "version": version, "kind": kind}),
        );
        operation.into()
    }
}

fn namespaced(kind: &Kind) -> &'static str {
    if kind.is_namespaced() { "Namespaced" } else { "" }
}

fn content(media_types: &[&str], schema: &Value) -> Value {
    let all = media_types.iter().map(|one| ((*one).to_owned(), json!({"schema": schema})));
    Value::Object(all.collect())
}

/// What an object is given as.
fn object(schema: &Value) -> Value {
    content(&[JSON, PROTOBUF, YAML], schema)
}

/// A path with nothing but a page to get.
pub(super) fn page(tag: &str, id: &str, media_type: &str, schema: &Value) -> Value {
    json!({"get": {
        "tags": [tag],
        "operationId": id,
        "responses": {
            "200": {"description": "OK", "content": content(&[media_type], schema)},
            "401": {"description": "Unauthorized"},
        },
    }})
}

/// The page of a group, `/apis/<group>/`, and what it is called.
pub(super) fn group_page(group: &str, schemas: &mut Schemas<'_>) -> Value {
    let name = Version { group, version: "" }.group_name();
    let schema = schemas.kind("", "v1", "APIGroup");
    page(&name, &format!("get{}APIGroup", big(&name)), JSON, &schema)
}
