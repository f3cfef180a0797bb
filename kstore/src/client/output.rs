//! Answers, and the forms in which they are printed.
//!
//! ```text
//!   command ──► value that is Answer ──► print ──┬─ simple    for people and shell scripts
//!                                                ├─ json      one line, etcd's field names
//!                                                ├─ fields    one `"Name" : value` a line
//!                                                ├─ table     only where rows make sense
//!                                                └─ protobuf  the message as it came
//! ```
//!
//! The forms are etcdctl's to the byte: other programs read them. A form that an answer does not
//! have fails the command, after the request was sent, as etcdctl does.
//!
//! Invariant: rendering is pure; only [`print`] and [`say`] touch the process's own streams.

use std::io::{self, Write};

pub(crate) use auth::{Done, Role, User};
pub(crate) use cluster::{
    Added, Changed, Downgraded, EndpointHash, EndpointStatus, Health, Moved, alarm_name,
};
pub(crate) use fields::Fields;
pub(crate) use json::Json;
pub(crate) use lease::{Remaining, Revoked};
pub(crate) use table::Table;

use super::failure::{Exit, Failure};

mod auth;
mod cluster;
mod fields;
mod json;
mod kv;
mod lease;
mod table;

/// The values of `--write-out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Json,
    Fields,
    Table,
    Protobuf,
}

impl Format {
    /// Reads the value of `--write-out`.
    pub(crate) fn parse(name: &str) -> Result<Self, Failure> {
        match name {
            "simple" => Ok(Self::Simple),
            "json" => Ok(Self::Json),
            "fields" => Ok(Self::Fields),
            "table" => Ok(Self::Table),
            "protobuf" => Ok(Self::Protobuf),
            _ => Err(Failure::feature("unsupported output format")),
        }
    }

    /// The failure of an answer without this form.
    fn unsupported(self) -> Failure {
        let name = match self {
            Self::Simple => "simple",
            Self::Json => "json",
            Self::Fields => "fields",
            Self::Table => "table",
            Self::Protobuf => "protobuf",
        };
        Failure::feature(format!("{name} not supported as output format"))
    }
}

/// How answers are to be printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// The form.
    pub(crate) format: Format,
    /// Bytes and ids in base 16 where the form allows.
    pub(crate) hex: bool,
    /// Leave the keys out of the simple form.
    pub(crate) values_only: bool,
}

/// What is being rendered: bytes, since keys and values need not be text.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) style: Style,
    /// For standard output.
    pub(crate) bytes: Vec<u8>,
    /// For standard error: the part of an answer that is bad news.
    pub(crate) complaints: String,
}

impl Page {
    pub(crate) fn new(style: Style) -> Self {
        Self { style, bytes: Vec::new(), complaints: String::new() }
    }

    /// Adds one line.
    pub(crate) fn line(&mut self, line: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(line.as_ref());
        self.bytes.push(b'\n');
    }
}

/// Something that a command found out and can print in some of the forms.
pub(crate) trait Answer {
    /// For people.
    fn simple(&self, page: &mut Page);

    /// One JSON value.
    fn json(&self, _style: Style) -> Option<Json> {
        None
    }

    /// Named fields, one a line.
    fn fields(&self, _style: Style) -> Option<Fields> {
        None
    }

    /// Rows.
    fn table(&self) -> Option<Table> {
        None
    }

    /// The encoded message.
    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }
}

/// Renders an answer.
pub(crate) fn render(style: Style, answer: &dyn Answer) -> Result<Page, Failure> {
    let mut page = Page::new(style);
    match style.format {
        Format::Simple => answer.simple(&mut page),
        Format::Json => {
            let json = answer.json(style).ok_or_else(|| style.format.unsupported())?;
            page.line(json.to_string());
        }
        Format::Fields => {
            let fields = answer.fields(style).ok_or_else(|| style.format.unsupported())?;
            page.bytes = fields.into_bytes();
        }
        Format::Table => {
            let table = answer.table().ok_or_else(|| style.format.unsupported())?;
            page.bytes = table.to_string().into_bytes();
        }
        Format::Protobuf => {
            page.bytes = answer.protobuf().ok_or_else(|| style.format.unsupported())?;
        }
    }
    Ok(page)
}

/// Renders an answer and writes it out.
pub(crate) fn print(style: Style, answer: &dyn Answer) -> Result<(), Failure> {
    let page = render(style, answer)?;
    complain(&page.complaints);
    write(&page.bytes)
}

/// Writes one line to standard output, whatever the form.
pub(crate) fn say(line: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut bytes = line.as_ref().to_vec();
    bytes.push(b'\n');
    write(&bytes)
}

/// Writes to standard error. Nobody is left to tell when that fails.
pub(crate) fn complain(text: &str) {
    let _unheard = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes to standard output at once: a watch is read line by line. A reader that went away ends
/// the command quietly, as a signal would.
fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::said(Exit::Error),
        _ => Failure::error(format!("write to standard output: {error}")),
    })
}
