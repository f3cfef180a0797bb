//! Writes events, beside everything else: nothing waits for it, and nothing fails with it.
//!
//! The same event again is counted in the object that is already there. When the server is slower
//! than what happens, events are dropped: they inform, they do not decide.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::debug;

use crate::action::{Mood, Note};
use crate::writer;

/// Events that wait to be written; more than these are dropped.
const QUEUE: usize = 1024;

/// Events that can be counted on; when there are more, all are forgotten and begin anew.
const REMEMBERED_MOST: usize = 4096;

/// A handle by which events are told.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    notes: mpsc::Sender<Note>,
}

impl Recorder {
    pub(crate) fn record(&self, note: Note) {
        if let Err(error) = self.notes.try_send(note) {
            debug!(%error, "an event is not recorded");
        }
    }
}

/// What makes two events the same.
type Name = (String, Mood, &'static str, String);

struct Written {
    path: String,
    count: i64,
}

/// A recorder, and the work behind it, which ends with the last handle.
pub(crate) fn start(client: Client, host: String) -> (Recorder, impl Future<Output = ()> + Send) {
    let (notes, mut queue) = mpsc::channel(QUEUE);
    let work = async move {
        let mut written: BTreeMap<Name, Written> = BTreeMap::new();
        let mut number: u64 = 0;
        while let Some(note) = queue.recv().await {
            number += 1;
            if written.len() >= REMEMBERED_MOST {
                written.clear();
            }
            write(&client, &host, &mut written, note, number).await;
        }
    };
    (Recorder { notes }, work)
}

async fn write(
    client: &Client,
    host: &str,
    written: &mut BTreeMap<Name, Written>,
    note: Note,
    number: u64,
) {
    let about = note.about.uid.clone().unwrap_or_default();
    let name = (about, note.mood, note.reason, note.message.clone());
    let now = Timestamp::now();
    if let Some(known) = written.get_mut(&name) {
        known.count += 1;
        let body = if is_scheduling(&note) {
            json!({"series": {"count": known.count, "lastObservedTime": micros(now)}})
        } else {
            json!({"count": known.count, "lastTimestamp": seconds(now)})
        };
        let kind = "application/strategic-merge-patch+json";
        let request = writer::call("PATCH", known.path.clone(), kind, &body);
        if client.request_text(request).await.is_ok() {
            return;
        }
        // It has expired: a new one begins.
        written.remove(&name);
    }
    let body = event(&note, host, now, number);
    let namespace = body["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
    let collection = format!("/api/v1/namespaces/{namespace}/events");
    let request = writer::call("POST", collection.clone(), "application/json", &body);
    match client.request_text(request).await {
        Ok(_) => {
            let path = format!("{collection}/{}", body["metadata"]["name"].as_str().unwrap_or(""));
            written.insert(name, Written { path, count: 1 });
        }
        Err(error) => debug!(%error, reason = note.reason, "an event is not written"),
    }
}

/// The time as events carry it.
fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn micros(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// The scheduler writes events of the newer form, with an action and a series; all others write
/// the older one, with a source and a count.
fn is_scheduling(note: &Note) -> bool {
    note.source == crate::scheduler::NAME
}

fn event(note: &Note, host: &str, now: Timestamp, number: u64) -> Value {
    let object = note.about.name.clone().unwrap_or_default();
    let namespace = note.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let unique = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
    let mut event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{object}.{unique:x}{number:x}"), "namespace": namespace},
        "involvedObject": note.about,
        "reason": note.reason,
        "message": note.message,
        "type": match note.mood { Mood::Normal => "Normal", Mood::Warning => "Warning" },
        "reportingComponent": note.source,
    });
    if is_scheduling(note) {
        event["action"] = json!(if note.mood == Mood::Normal { "Binding" } else { "Scheduling" });
        event["eventTime"] = json!(micros(now));
        event["reportingInstance"] = json!(note.source);
        return event;
    }
    event["firstTimestamp"] = json!(seconds(now));
    event["lastTimestamp"] = event["firstTimestamp"].clone();
    event["count"] = json!(1);
    event["source"] = json!({"component": note.source});
    if note.source == "kubelet" {
        event["source"]["host"] = json!(host);
        event["reportingInstance"] = json!(host);
    }
    event
}
