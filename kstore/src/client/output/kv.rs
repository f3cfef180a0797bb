//! Answers of the key-value and watch services.

use std::fmt::Write;

use kstore_proto::etcdserverpb::response_op::Response;
use kstore_proto::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeResponse, ResponseHeader, ResponseOp, TxnResponse,
    WatchResponse,
};
use kstore_proto::mvccpb::event::EventType;
use kstore_proto::mvccpb::{Event, KeyValue};
use prost::Message;

use super::{Answer, Fields, Json, Page, Style};

/// A header as a member of an answer.
pub(super) fn header(header: Option<&ResponseHeader>) -> Json {
    let Some(header) = header else {
        return Json::Null;
    };
    Json::sparse([
        ("cluster_id", header.cluster_id.into()),
        ("member_id", header.member_id.into()),
        ("revision", header.revision.into()),
        ("raft_term", header.raft_term.into()),
    ])
}

fn pair(kv: &KeyValue) -> Json {
    Json::sparse([
        ("key", (&kv.key).into()),
        ("create_revision", kv.create_revision.into()),
        ("mod_revision", kv.mod_revision.into()),
        ("version", kv.version.into()),
        ("value", (&kv.value).into()),
        ("lease", kv.lease.into()),
    ])
}

/// `\x61\x62` for `ab`.
fn hex(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(bytes.len() * 4);
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("a String takes every write");
    }
    text.into_bytes()
}

impl Page {
    /// A key and its value, one line each.
    fn pair(&mut self, kv: &KeyValue) {
        let show = |bytes: &[u8]| if self.style.hex { hex(bytes) } else { bytes.to_vec() };
        let (key, value) = (show(&kv.key), show(&kv.value));
        if !self.style.values_only {
            self.line(key);
        }
        self.line(value);
    }
}

impl Fields {
    /// A key and all that is known of it; each name begins with `prefix`.
    fn pair(&mut self, prefix: &str, kv: &KeyValue) {
        self.quoted(&format!("{prefix}Key"), &kv.key);
        self.value(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.value(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.value(&format!("{prefix}Version"), kv.version);
        self.quoted(&format!("{prefix}Value"), &kv.value);
        self.lease(&format!("{prefix}Lease"), kv.lease);
    }

    fn range(&mut self, answer: &RangeResponse) {
        self.header(answer.header.as_ref());
        for kv in &answer.kvs {
            self.pair("", kv);
        }
        self.value("More", answer.more);
        self.value("Count", answer.count);
    }

    fn put(&mut self, answer: &PutResponse) {
        self.header(answer.header.as_ref());
        if let Some(kv) = &answer.prev_kv {
            self.pair("Prev", kv);
        }
    }

    fn delete(&mut self, answer: &DeleteRangeResponse) {
        self.header(answer.header.as_ref());
        self.value("Deleted", answer.deleted);
        for kv in &answer.prev_kvs {
            self.pair("Prev", kv);
        }
    }

    fn txn(&mut self, answer: &TxnResponse) {
        self.header(answer.header.as_ref());
        self.value("Succeeded", answer.succeeded);
        for response in &answer.responses {
            match &response.response {
                Some(Response::ResponseRange(range)) => self.range(range),
                Some(Response::ResponsePut(put)) => self.put(put),
                Some(Response::ResponseDeleteRange(delete)) => self.delete(delete),
                Some(Response::ResponseTxn(txn)) => self.txn(txn),
                None => {}
            }
        }
    }
}

impl Answer for RangeResponse {
    fn simple(&self, page: &mut Page) {
        for kv in &self.kvs {
            page.pair(kv);
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("kvs", Json::list(self.kvs.iter().map(pair))),
            ("more", self.more.into()),
            ("count", self.count.into()),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::new(style);
        fields.range(self);
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Answer for PutResponse {
    fn simple(&self, page: &mut Page) {
        page.line("OK");
        if let Some(kv) = &self.prev_kv {
            page.pair(kv);
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("prev_kv", self.prev_kv.as_ref().map(pair).into()),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::new(style);
        fields.put(self);
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Answer for DeleteRangeResponse {
    fn simple(&self, page: &mut Page) {
        page.line(self.deleted.to_string());
        for kv in &self.prev_kvs {
            page.pair(kv);
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("deleted", self.deleted.into()),
            ("prev_kvs", Json::list(self.prev_kvs.iter().map(pair))),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::new(style);
        fields.delete(self);
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Answer for TxnResponse {
    fn simple(&self, page: &mut Page) {
        page.line(if self.succeeded { "SUCCESS" } else { "FAILURE" });
        for response in &self.responses {
            page.line("");
            match &response.response {
                Some(Response::ResponseRange(range)) => range.simple(page),
                Some(Response::ResponsePut(put)) => put.simple(page),
                Some(Response::ResponseDeleteRange(delete)) => delete.simple(page),
                Some(Response::ResponseTxn(txn)) => txn.simple(page),
                None => {}
            }
        }
    }

    fn json(&self, style: Style) -> Option<Json> {
        let responses = self.responses.iter().map(|response| operation(response, style));
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("succeeded", self.succeeded.into()),
            ("responses", Json::list(responses)),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::new(style);
        fields.txn(self);
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

fn operation(response: &ResponseOp, style: Style) -> Json {
    let member = match &response.response {
        Some(Response::ResponseRange(range)) => ("response_range", range.json(style).into()),
        Some(Response::ResponsePut(put)) => ("response_put", put.json(style).into()),
        Some(Response::ResponseDeleteRange(delete)) => {
            ("response_delete_range", delete.json(style).into())
        }
        Some(Response::ResponseTxn(txn)) => ("response_txn", txn.json(style).into()),
        None => return Json::whole([("Response", Json::Null)]),
    };
    Json::whole([("Response", Json::whole([member]))])
}

fn event(event: &Event) -> Json {
    Json::sparse([
        ("type", i64::from(event.r#type).into()),
        ("kv", event.kv.as_ref().map(pair).into()),
        ("prev_kv", event.prev_kv.as_ref().map(pair).into()),
    ])
}

fn event_name(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

impl Answer for WatchResponse {
    fn simple(&self, page: &mut Page) {
        for event in &self.events {
            page.line(event_name(event));
            for kv in [&event.prev_kv, &event.kv].into_iter().flatten() {
                page.pair(kv);
            }
        }
    }

    /// A watch is shown as the client library hands it out: other names, nothing left out.
    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::whole([
            ("Header", header(self.header.as_ref())),
            ("Events", Json::list(self.events.iter().map(event))),
            ("CompactRevision", self.compact_revision.into()),
            ("Canceled", self.canceled.into()),
            ("Created", self.created.into()),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::headed(style, self.header.as_ref());
        for event in &self.events {
            fields.value("Type", event_name(event));
            if let Some(kv) = &event.prev_kv {
                fields.pair("Prev", kv);
            }
            if let Some(kv) = &event.kv {
                fields.pair("", kv);
            }
        }
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}
