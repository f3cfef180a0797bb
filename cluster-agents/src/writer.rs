//! Carries out what was decided: actions become REST calls, answers become news for the world.
//!
//! Steps run in order and stop at the first failure. What the server answered so far is reported
//! in any case, so that the world knows as much as the server does.

use futures_util::future::join_all;
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use tracing::debug;

use crate::action::{
    Action, Deletion, NAME_OF_CREATED, Part, PatchKind, Propagation, Step, Target,
};
use crate::empty;
use crate::kinds::{Key, Object, Resource};
use crate::recorder::Recorder;
use crate::world::{Failure, FailureKind, Remains};

/// What a write has taught us.
#[derive(Debug)]
pub(crate) enum Lesson {
    /// The server answered with this object.
    Object(Object),
    /// An object has been deleted, at once or in time.
    Deleted(Key, Resource),
    /// A pod is bound.
    Bound { uid: String },
    /// There is no such owner.
    Absent { uid: String },
    /// A namespace has been emptied, but for this.
    Emptied { namespace: String, remains: Remains },
}

/// What became of the steps of a decision.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) lessons: Vec<Lesson>,
    pub(crate) failure: Option<Failure>,
}

pub(crate) async fn perform(client: Client, recorder: Recorder, steps: Vec<Step>) -> Report {
    let mut report = Report::default();
    for step in steps {
        match step {
            Step::One(action) => {
                let done = act(&client, &recorder, action).await;
                report.add(done);
            }
            Step::Batch(actions) => batch(&client, &recorder, actions, &mut report).await,
        }
        if report.failure.is_some() {
            break;
        }
    }
    report
}

/// Tries one, then two, then four: a mistake that all of them share is made once.
async fn batch(client: &Client, recorder: &Recorder, actions: Vec<Action>, report: &mut Report) {
    let mut rest = actions.into_iter();
    let mut size = 1;
    while report.failure.is_none() {
        let now: Vec<Action> = rest.by_ref().take(size).collect();
        if now.is_empty() {
            return;
        }
        let calls = now.into_iter().map(|action| act(client, recorder, action));
        for done in join_all(calls).await {
            report.add(done);
        }
        size *= 2;
    }
}

impl Report {
    fn add(&mut self, done: Result<Vec<Lesson>, Failure>) {
        match done {
            Ok(lessons) => self.lessons.extend(lessons),
            Err(failure) => self.failure = self.failure.take().or(Some(failure)),
        }
    }
}

async fn act(client: &Client, recorder: &Recorder, action: Action) -> Result<Vec<Lesson>, Failure> {
    match action {
        Action::Create { resource, namespace, body, told } => {
            let request = call("POST", resource.path(&namespace), "application/json", &body);
            let lessons = answer(client, &resource, request).await?;
            if let (Some(mut note), Some(Lesson::Object(object))) = (told, lessons.first()) {
                let name = object.meta().name.clone().unwrap_or_default();
                note.message = note.message.replace(NAME_OF_CREATED, &name);
                recorder.record(note);
            }
            Ok(lessons)
        }
        Action::Replace { target, part, body } => {
            let path = path(&target, part);
            answer(client, &target.resource, call("PUT", path, "application/json", &body)).await
        }
        Action::Patch { target, part, kind, body } => {
            answer(client, &target.resource, patch(&target, part, kind, &body)).await
        }
        Action::Delete { target, deletion } => delete(client, target, &deletion).await,
        Action::Bind { pod, uid, node } => bind(client, &pod, uid, &node).await,
        Action::Event(note) => {
            recorder.record(note);
            Ok(Vec::new())
        }
        Action::Confirm { target, uid } => confirm(client, &target, uid).await,
        Action::Empty { namespace } => {
            let remains = empty::empty(client, &namespace).await?;
            Ok(vec![Lesson::Emptied { namespace, remains }])
        }
    }
}

fn path(target: &Target, part: Part) -> String {
    let collection = target.resource.path(&target.key.namespace);
    format!("{collection}/{}{}", target.key.name, part.suffix())
}

/// A request with a JSON body.
pub(crate) fn call(
    method: &str,
    path: String,
    content_type: &str,
    body: &Value,
) -> Request<Vec<u8>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", content_type)
        .header("Accept", "application/json")
        .body(body.to_string().into_bytes())
        .expect("names of objects are path segments already")
}

fn patch(target: &Target, part: Part, kind: PatchKind, body: &Value) -> Request<Vec<u8>> {
    call("PATCH", path(target, part), kind.content_type(), body)
}

async fn answer(
    client: &Client,
    resource: &Resource,
    request: Request<Vec<u8>>,
) -> Result<Vec<Lesson>, Failure> {
    let text = client.request_text(request).await.map_err(failure)?;
    Ok(Object::parse(resource, &text).map(Lesson::Object).into_iter().collect())
}

async fn delete(
    client: &Client,
    target: Target,
    deletion: &Deletion,
) -> Result<Vec<Lesson>, Failure> {
    let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    if let Some(uid) = &deletion.uid {
        body["preconditions"]["uid"] = json!(uid);
    }
    if let Some(version) = &deletion.version {
        body["preconditions"]["resourceVersion"] = json!(version);
    }
    if let Some(seconds) = deletion.grace_seconds {
        body["gracePeriodSeconds"] = json!(seconds);
    }
    if let Some(propagation) = deletion.propagation {
        body["propagationPolicy"] = json!(match propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        });
    }
    let request = call("DELETE", path(&target, Part::Whole), "application/json", &body);
    match client.request_text(request).await.map_err(failure) {
        Ok(text) => Ok(vec![deleted(target, &text)]),
        // Somebody else was faster, or it is another object by now: either way ours is gone.
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(Vec::new()),
        Err(failure) if failure.kind == FailureKind::Conflict && deletion.version.is_none() => {
            Ok(Vec::new())
        }
        Err(failure) => Err(failure),
    }
}

/// The server answers with a `Status` when the object is gone, and with the object when its
/// deletion takes time.
fn deleted(target: Target, text: &str) -> Lesson {
    match Object::parse(&target.resource, text) {
        Some(object) if object.meta().deletion_timestamp.is_some() => Lesson::Object(object),
        _ => Lesson::Deleted(target.key, target.resource),
    }
}

async fn bind(client: &Client, pod: &Key, uid: String, node: &str) -> Result<Vec<Lesson>, Failure> {
    let body = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": uid},
        "target": {"kind": "Node", "name": node},
    });
    let path = format!("/api/v1/namespaces/{}/pods/{}/binding", pod.namespace, pod.name);
    client.request_text(call("POST", path, "application/json", &body)).await.map_err(failure)?;
    Ok(vec![Lesson::Bound { uid }])
}

async fn confirm(client: &Client, target: &Target, uid: String) -> Result<Vec<Lesson>, Failure> {
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
    let request = Request::get(path(target, Part::Whole))
        .header("Accept", accept)
        .body(Vec::new())
        .expect("names of objects are path segments already");
    match client.request::<Value>(request).await.map_err(failure) {
        Ok(found) if found["metadata"]["uid"] == uid.as_str() => Ok(Vec::new()),
        Ok(_) => Ok(vec![Lesson::Absent { uid }]),
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(vec![Lesson::Absent { uid }]),
        Err(failure) => Err(failure),
    }
}

/// What an error of the client means for whoever asked.
pub(crate) fn failure(error: kube::Error) -> Failure {
    let kube::Error::Api(status) = error else {
        debug!(%error, "a request did not get an answer");
        return Failure { kind: FailureKind::Other, message: error.to_string() };
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let terminating = causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating");
    let kind = match status.reason.as_str() {
        _ if terminating => FailureKind::NamespaceTerminating,
        "AlreadyExists" => FailureKind::AlreadyExists,
        "Conflict" => FailureKind::Conflict,
        "NotFound" => FailureKind::NotFound,
        _ if status.code == 404 => FailureKind::NotFound,
        _ => FailureKind::Other,
    };
    Failure { kind, message: status.message }
}
