//! Watches as bodies that go on: one event after the other, each as soon as it is there.
//!
//! JSON events are lines; protobuf events are frames with their length in front. Nothing is packed
//! or held back: an event that waits in a buffer is an event that did not come.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::convert::Infallible;

use super::answer::{Asked, encode, shape};
use super::negotiate::{Encoding, Form, Shape};
use super::table::Headings;
use crate::auth::lookup::Answer;
use crate::kinds::Kind;
use crate::object::Object;
use crate::registry::splice::{Head, Shown};
use crate::registry::{EventForm, Told, WatchEvent, WatchShown, Watcher, object_of};

/// What is the same for all events of a watch.
struct Writer {
    asked: Asked,
    kind: &'static Kind,
    head: Head,
    /// Whether the columns of a table were sent.
    headings: Headings,
}

/// The answer to a watch.
pub(crate) fn response(asked: Asked, kind: &'static Kind, watcher: Watcher) -> Response {
    let content_type = match asked.form.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Json | Encoding::Yaml => "application/json",
    };
    let head = Head::of(kind);
    let writer = Writer { asked, kind, head, headings: Headings::Shown };
    let events = stream::unfold((watcher, writer), |(mut watcher, mut writer)| async move {
        let event = watcher.next().await?;
        let bytes = writer.write(event);
        Some((Ok::<_, Infallible>(bytes), (watcher, writer)))
    });
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

impl Writer {
    fn write(&mut self, event: WatchEvent) -> Bytes {
        match event {
            WatchEvent::Change(told, shown) => self.shared(told, &shown),
            WatchEvent::Bookmark { revision, ends_initial } => {
                let object = self.bookmark(revision, ends_initial);
                Bytes::from(self.value("BOOKMARK", &object))
            }
            WatchEvent::Failed(status) => Bytes::from(self.value("ERROR", &status.to_value())),
        }
    }

    /// A change; where many are told the same in the same form, it is encoded once.
    fn shared(&mut self, told: Told, shown: &WatchShown) -> Bytes {
        let form = match (self.asked.form.encoding, &self.asked.form.shape) {
            (Encoding::Json, Shape::Object) => Some(EventForm::Json),
            (Encoding::Protobuf, Shape::Object) => Some(EventForm::Protobuf),
            _ => None,
        };
        let name = match told {
            Told::Added => "ADDED",
            Told::Modified => "MODIFIED",
            Told::Deleted => "DELETED",
        };
        match (form, &shown.forms) {
            (Some(form), Some(forms)) => {
                forms.get(told, form, || Bytes::from(self.change(name, shown)))
            }
            _ => Bytes::from(self.change(name, shown)),
        }
    }

    fn change(&mut self, name: &str, shown: &WatchShown) -> Vec<u8> {
        if self.asked.form.encoding == Encoding::Json && self.asked.form.shape == Shape::Object {
            let mut line = Vec::with_capacity(shown.value.len() + 128);
            line.extend_from_slice(b"{\"type\":\"");
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\",\"object\":");
            if self.head.append(&mut line, &shown.value, shown.revision, Shown::Alone) {
                line.extend_from_slice(b"}\n");
                return line;
            }
        }
        match self.object(shown) {
            Ok(object) => self.value(name, &object),
            Err(status) => self.value("ERROR", &status.to_value()),
        }
    }

    /// The object of an event in the shape that was asked for.
    fn object(&mut self, shown: &WatchShown) -> Answer<Value> {
        let object = object_of(self.kind, &shown.value, shown.revision)?;
        let headings = std::mem::replace(&mut self.headings, Headings::Left);
        Ok(shape(&self.asked, self.kind, object, headings))
    }

    /// An object that says how far the watch is, and nothing else.
    fn bookmark(&mut self, revision: u64, ends_initial: bool) -> Value {
        let mut metadata = Object::new();
        metadata.insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
        if matches!(self.asked.form.shape, Shape::Object) {
            metadata.insert("creationTimestamp".to_owned(), Value::Null);
        }
        if ends_initial {
            let told = json!({"k8s.io/initial-events-end": "true"});
            metadata.insert("annotations".to_owned(), told);
        }
        let mut object = Object::new();
        object.insert("kind".to_owned(), Value::from(self.kind.kind));
        object.insert("apiVersion".to_owned(), Value::from(self.kind.api_version()));
        object.insert("metadata".to_owned(), Value::Object(metadata));
        let headings = std::mem::replace(&mut self.headings, Headings::Left);
        shape(&self.asked, self.kind, object, headings)
    }

    /// One event as bytes.
    fn value(&self, name: &str, object: &Value) -> Vec<u8> {
        if self.asked.form.encoding == Encoding::Protobuf {
            let plain = Form { encoding: Encoding::Protobuf, ..Form::PLAIN };
            let (raw, _) = encode(plain, object);
            return frame(name, &raw);
        }
        let mut line =
            serde_json::to_vec(&json!({"type": name, "object": object})).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// A protobuf event: its length in four bytes, then `WatchEvent{type = 1, object = 2{raw = 1}}`.
fn frame(name: &str, raw: &[u8]) -> Vec<u8> {
    let mut object = Vec::with_capacity(raw.len() + 8);
    append_bytes(&mut object, 1, raw);
    let mut event = Vec::with_capacity(object.len() + 32);
    append_bytes(&mut event, 1, name.as_bytes());
    append_bytes(&mut event, 2, &object);
    // An event is far below four gigabytes: a stored object is below two megabytes.
    let length = u32::try_from(event.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &event].concat()
}

/// A field of bytes.
fn append_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_length_in_front() {
        let frame = frame("ADDED", &[7; 200]);
        assert_eq!(frame[..4], 213_u32.to_be_bytes());
        assert_eq!(frame.len(), 4 + 213);
        assert_eq!(&frame[4..11], b"\x0a\x05ADDED");
        // 203 bytes of object: tag, two bytes of length, 200 of content.
        assert_eq!(frame[11..17], [0x12, 0xcb, 0x01, 0x0a, 0xc8, 0x01]);
    }
}
