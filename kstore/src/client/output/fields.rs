//! The `fields` form: one `"Name" : value` a line.

use std::fmt::Display;

use kstore_proto::etcdserverpb::ResponseHeader;

use super::Style;
use crate::client::notation::quote;

/// The lines so far.
#[derive(Debug)]
pub(crate) struct Fields {
    style: Style,
    text: String,
}

impl Fields {
    /// No lines yet.
    pub(crate) fn new(style: Style) -> Self {
        Self { style, text: String::new() }
    }

    /// Begins with the header of an answer. An answer inside of a transaction has none of its own
    /// but is shown with one.
    pub(crate) fn headed(style: Style, header: Option<&ResponseHeader>) -> Self {
        let mut fields = Self::new(style);
        fields.header(header);
        fields
    }

    /// The header of an answer. The revision is left out where it has no meaning.
    pub(crate) fn header(&mut self, header: Option<&ResponseHeader>) {
        let nothing = ResponseHeader::default();
        let header = header.unwrap_or(&nothing);
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        if header.revision > 0 {
            self.value("Revision", header.revision);
        }
        self.value("RaftTerm", header.raft_term);
    }

    /// A plain value.
    pub(crate) fn value(&mut self, name: &str, value: impl Display) {
        self.text += &format!("\"{name}\" : {value}\n");
    }

    /// A quoted value.
    pub(crate) fn quoted(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.value(name, quote(value.as_ref()));
    }

    /// A cluster's or member's id.
    pub(crate) fn id(&mut self, name: &str, id: u64) {
        if self.style.hex {
            self.value(name, format_args!("{id:x}"));
        } else {
            self.value(name, id);
        }
    }

    /// A lease's id.
    pub(crate) fn lease(&mut self, name: &str, id: i64) {
        if self.style.hex {
            self.value(name, format_args!("{id:016x}"));
        } else {
            self.value(name, id);
        }
    }

    /// A line of its own form.
    pub(crate) fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    /// The lines.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}
