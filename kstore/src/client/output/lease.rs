//! Answers of the lease service.
//!
//! In JSON most of them bind the members of the header in front of their own, as the client
//! library's types do.

use kstore_proto::etcdserverpb::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseTimeToLiveResponse, ResponseHeader,
};
use prost::Message;

use super::kv::header;
use super::{Answer, Fields, Json, Page, Style};

/// The protobuf form of most of these answers is their header alone: so it comes out of the client
/// library's types, and so it is known.
fn head(header: Option<&ResponseHeader>) -> Vec<u8> {
    header.map_or_else(Vec::new, Message::encode_to_vec)
}

impl Answer for LeaseGrantResponse {
    fn simple(&self, page: &mut Page) {
        page.line(format!("lease {:016x} granted with TTL({}s)", self.id, self.ttl));
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(header(self.header.as_ref()).then([
            ("ID", self.id.into()),
            ("TTL", self.ttl.into()),
            ("Error", self.error.as_str().into()),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::headed(style, self.header.as_ref());
        fields.lease("ID", self.id);
        fields.value("TTL", self.ttl);
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(head(self.header.as_ref()))
    }
}

/// A lease that was given up. The answer itself does not name it.
#[derive(Debug)]
pub(crate) struct Revoked {
    pub(crate) id: i64,
    pub(crate) answer: LeaseRevokeResponse,
}

impl Answer for Revoked {
    fn simple(&self, page: &mut Page) {
        page.line(format!("lease {:016x} revoked", self.id));
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([("header", header(self.answer.header.as_ref()))]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        Some(Fields::headed(style, self.answer.header.as_ref()))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

impl Answer for LeaseKeepAliveResponse {
    fn simple(&self, page: &mut Page) {
        page.line(format!("lease {:016x} keepalived with TTL({})", self.id, self.ttl));
    }

    fn json(&self, _style: Style) -> Option<Json> {
        let own = [("ID", self.id.into()), ("TTL", self.ttl.into())];
        Some(header(self.header.as_ref()).then(own))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::headed(style, self.header.as_ref());
        fields.lease("ID", self.id);
        fields.value("TTL", self.ttl);
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(head(self.header.as_ref()))
    }
}

/// What is left of a lease, and whether its keys were asked for.
#[derive(Debug)]
pub(crate) struct Remaining {
    pub(crate) answer: LeaseTimeToLiveResponse,
    pub(crate) with_keys: bool,
}

impl Answer for Remaining {
    fn simple(&self, page: &mut Page) {
        let lease = &self.answer;
        if lease.granted_ttl == 0 && lease.ttl == -1 {
            page.line(format!("lease {:016x} already expired", lease.id));
            return;
        }
        let mut line = format!(
            "lease {:016x} granted with TTL({}s), remaining({}s)",
            lease.id, lease.granted_ttl, lease.ttl
        )
        .into_bytes();
        if self.with_keys {
            line.extend_from_slice(b", attached keys([");
            line.extend_from_slice(&lease.keys.join(&b' '));
            line.extend_from_slice(b"])");
        }
        page.line(line);
    }

    fn json(&self, _style: Style) -> Option<Json> {
        let lease = &self.answer;
        Some(header(lease.header.as_ref()).then([
            ("id", lease.id.into()),
            ("ttl", lease.ttl.into()),
            ("granted-ttl", lease.granted_ttl.into()),
            ("keys", Json::list_or_null(lease.keys.iter().map(Into::into))),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let lease = &self.answer;
        let mut fields = Fields::headed(style, lease.header.as_ref());
        fields.lease("ID", lease.id);
        fields.value("TTL", lease.ttl);
        fields.value("GrantedTTL", lease.granted_ttl);
        for key in &lease.keys {
            fields.quoted("Key", key);
        }
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(head(self.answer.header.as_ref()))
    }
}

impl Answer for LeaseLeasesResponse {
    fn simple(&self, page: &mut Page) {
        page.line(format!("found {} leases", self.leases.len()));
        for lease in &self.leases {
            page.line(format!("{:016x}", lease.id));
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        let leases = self.leases.iter().map(|lease| Json::whole([("id", lease.id.into())]));
        Some(header(self.header.as_ref()).then([("leases", Json::list(leases))]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::headed(style, self.header.as_ref());
        for lease in &self.leases {
            fields.lease("ID", lease.id);
        }
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(head(self.header.as_ref()))
    }
}
