//! In which form a client wants its answer: the `Accept` header.
//!
//! ```text
//!   application/json;as=Table;v=v1;g=meta.k8s.io, application/json
//!   └ encoding       └ transformed into         └ else this
//! ```

use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};

use super::info::Query;
use crate::auth::lookup::Answer;
use crate::status::{Details, Status};

/// The bytes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// What the answer is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nothing else.
    Object,
    /// Rows with cells (`v1` or `v1beta1`).
    Table(&'static str),
    /// The metadata only.
    Metadata(&'static str),
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) encoding: Encoding,
    pub(crate) shape: Shape,
    /// Whether it is indented, for people.
    pub(crate) layout: Layout,
}

/// How JSON is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Compact,
    Indented,
}

impl Form {
    /// JSON, as it is.
    pub(crate) const PLAIN: Self =
        Self { encoding: Encoding::Json, shape: Shape::Object, layout: Layout::Compact };

    pub(crate) fn content_type(self) -> &'static str {
        match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// One of the forms that a client lists.
pub(crate) struct Wanted<'a> {
    pub(crate) media_type: &'a str,
    pub(crate) parameters: Vec<(&'a str, &'a str)>,
}

impl Wanted<'_> {
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }
}

/// What the client lists, best first.
pub(crate) fn wanted(accept: &str) -> Vec<Wanted<'_>> {
    let mut all: Vec<(u32, Wanted<'_>)> = accept
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .map(|one| {
            let mut parts = one.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters.iter().find(|(name, _)| *name == "q");
            let quality = quality.and_then(|(_, value)| value.parse::<f32>().ok()).unwrap_or(1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it lies between 0 and 1000"
            )]
            let rank = (quality.clamp(0.0, 1.0) * 1000.0) as u32;
            (rank, Wanted { media_type, parameters })
        })
        .collect();
    all.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    all.into_iter().map(|(_, wanted)| wanted).collect()
}

/// What an endpoint has to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// The object only.
    Plain,
    /// The same, by a server of groups that says in other words what it does not have.
    Groups,
    /// Tables and metadata too.
    Shapes,
    /// Tables and metadata of many, and what happens to them.
    Many,
    /// A text.
    Text,
}

impl Offer {
    /// 406 for a media type that is none of the endpoint's.
    fn nothing(self) -> Box<Status> {
        let more = match self {
            Self::Groups => return Box::new(Status::not_acceptable(&KNOWN)),
            Self::Text => "text/plain, ",
            Self::Plain | Self::Shapes | Self::Many => "",
        };
        let streams = match self {
            Self::Many => {
                ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
            }
            _ => "",
        };
        let known = KNOWN.join(", ");
        let text =
            format!("406: Not Acceptable\n\nAvailable representations: {more}{known}{streams}");
        let mut status = Status::new(406, "NotAcceptable", text);
        status.details = Some(Details::default());
        Box::new(status)
    }
}

/// The media types of objects.
const KNOWN: [&str; 3] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// The form for this client.
pub(crate) fn form(headers: &HeaderMap, query: &Query, offer: Offer) -> Answer<Form> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let layout = layout(headers, query);
    if accept.trim().is_empty() {
        return Ok(Form { layout, ..Form::PLAIN });
    }
    let mut is_known = false;
    for one in wanted(accept) {
        let encoding = match one.media_type {
            "application/json" | "application/*" | "*/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            "application/vnd.kubernetes.protobuf" => Encoding::Protobuf,
            "text/plain" | "text/*" if offer == Offer::Text => Encoding::Json,
            _ => continue,
        };
        is_known = true;
        let Some(shape) = shape(&one, offer) else { continue };
        return Ok(Form { encoding, shape, layout });
    }
    // It is one thing not to know a media type, and another not to have that shape in it.
    Err(if is_known { Box::new(Status::not_acceptable(&KNOWN)) } else { offer.nothing() })
}

fn shape(wanted: &Wanted<'_>, offer: Offer) -> Option<Shape> {
    let name = wanted.parameter("as");
    if name.is_empty() {
        return Some(Shape::Object);
    }
    let group_fits = wanted.parameter("g") == "meta.k8s.io";
    let version = match wanted.parameter("v") {
        "v1" => "v1",
        "v1beta1" => "v1beta1",
        _ => return None,
    };
    match name {
        _ if !matches!(offer, Offer::Shapes | Offer::Many) || !group_fits => None,
        "Table" => Some(Shape::Table(version)),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Metadata(version)),
        _ => None,
    }
}

/// Browsers and curl get indented JSON, for people read it.
fn layout(headers: &HeaderMap, query: &Query) -> Layout {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let for_people = ["curl", "Wget", "Mozilla/5.0"].iter().any(|name| agent.starts_with(name));
    let asked = query.all("pretty").next();
    match asked {
        Some(_) if query.is_on("pretty") => Layout::Indented,
        Some(_) => Layout::Compact,
        None if for_people => Layout::Indented,
        None => Layout::Compact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(accept: &str) -> Answer<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        form(&headers, &Query::default(), Offer::Shapes)
    }

    #[test]
    fn kubectl_gets_a_table_and_others_what_they_ask_for() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(form_of(kubectl).unwrap().shape, Shape::Table("v1"));
        let protobuf = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(form_of(protobuf).unwrap().encoding, Encoding::Protobuf);
        assert_eq!(form_of("*/*").unwrap(), Form::PLAIN);
        let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(form_of(metadata).unwrap().shape, Shape::Metadata("v1"));
    }

    #[test]
    fn the_better_of_two_is_taken_and_none_of_them_is_not_acceptable() {
        let form = form_of("application/yaml;q=0.5,application/json;q=0.9").unwrap();
        assert_eq!(form.encoding, Encoding::Json);
        let html = form_of("text/html").unwrap_err();
        assert_eq!(html.code, 406);
        assert_eq!(
            html.message,
            "406: Not Acceptable\n\nAvailable representations: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf"
        );
        assert_eq!(
            form_of("application/json;as=Nonsense;v=v1;g=meta.k8s.io").unwrap_err().code,
            406
        );
    }
}
