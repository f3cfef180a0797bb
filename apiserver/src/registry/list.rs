//! List: the objects of a kind at one revision, in pages.
//!
//! A page's token names the revision and the key to go on from, so that all pages show one state;
//! only compaction makes it expire, and then the answer offers a token that goes on with the
//! newest state instead. Without a limit the objects are read a few hundred at a time, so that a
//! list of any length needs little memory.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError, Engine as _};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Call, Registry, failure, object_of, revision, stored};
use crate::auth::lookup::Answer;
use crate::kinds::Kind;
use crate::object::{self, Object};
use crate::selector::{fields, labels};
use crate::status::Status;
use crate::storage::{Counting, Freshness, ListQuery, StorageError, Stored};

/// How many objects are read at a time.
const CHUNK: usize = 500;

/// What to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListOptions {
    pub(crate) filter: Filter,
    /// How many at most; 0 for all.
    pub(crate) limit: usize,
    /// The token of the page before; empty for the first.
    pub(crate) next: String,
    /// As the client wrote it.
    pub(crate) resource_version: String,
    /// `Exact`, `NotOlderThan` or nothing.
    pub(crate) version_match: String,
}

/// Which objects are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) labels: labels::Selector,
    pub(crate) fields: fields::Selector,
}

impl Default for Filter {
    fn default() -> Self {
        Self { labels: labels::Selector::everything(), fields: fields::Selector::default() }
    }
}

impl Filter {
    /// Whether everything is wanted.
    pub(crate) fn takes_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is wanted.
    pub(crate) fn takes(&self, kind: &Kind, object: &Object) -> bool {
        let labels = object::map(object, &["metadata", "labels"]);
        self.takes_parts(labels, |field| match field {
            "metadata.name" => object::name(object).to_owned(),
            "metadata.namespace" => object::namespace(object).to_owned(),
            other => (kind.selected)(object, other),
        })
    }

    /// Whether an object with these labels and fields is wanted.
    pub(crate) fn takes_parts(
        &self,
        labels: Option<&Object>,
        field: impl Fn(&str) -> String,
    ) -> bool {
        self.labels.matches(labels) && self.fields.matches(field)
    }

    /// Whether the object of some stored bytes is wanted.
    fn takes_stored(&self, kind: &Kind, stored: &Stored) -> Answer<bool> {
        if self.takes_all() {
            return Ok(true);
        }
        Ok(self.takes(kind, &object_of(kind, &stored.value, stored.mod_revision)?))
    }

    /// The one name that can be wanted, if the selector says so.
    pub(crate) fn only_name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }
}

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The objects as they are stored.
    pub(crate) items: Vec<Stored>,
    /// The revision that this is the state of.
    pub(crate) revision: u64,
    /// The token for what comes after; empty if nothing does.
    pub(crate) next: String,
    /// How many come after, where that is known.
    pub(crate) remaining: Option<u64>,
    /// What is still to be read of this page.
    pub(crate) rest: Option<Rest>,
}

/// Where to go on reading.
#[derive(Debug)]
pub(crate) struct Rest {
    kind: &'static Kind,
    filter: Filter,
    start: Bytes,
    end: Bytes,
    revision: u64,
}

/// What a token says.
struct Token {
    /// `None`: the newest.
    revision: Option<u64>,
    /// The first key behind the list's own prefix, without the slash that upstream puts before it.
    start: String,
}

impl Registry {
    /// Lists objects.
    pub(crate) async fn list(&self, call: &Call<'_>, options: &ListOptions) -> Answer<Page> {
        check(options)?;
        let prefix = stored::prefix(call.kind, call.namespace);
        let token = match options.next.as_str() {
            "" => None,
            text => Some(Token::read(text)?),
        };
        let mut start = match &token {
            Some(token) => Bytes::from(format!("{prefix}{}", token.start)),
            None => Bytes::from(prefix.clone()),
        };
        let mut end = stored::behind(&prefix);
        if let Some(key) = single_key(call, &options.filter) {
            let behind = [key.as_ref(), b"\0"].concat();
            start = start.max(key);
            end = end.min(Bytes::from(behind));
        }
        let mut freshness = freshness(options, token.as_ref())?;
        let mut page = Page {
            items: Vec::new(),
            revision: 0,
            next: String::new(),
            remaining: None,
            rest: None,
        };
        // Only who asks for a part of everything is told how much remains.
        let is_counted = options.limit > 0 && options.filter.takes_all();
        let counting = if is_counted { Counting::All } else { Counting::None };
        loop {
            let limit = chunk(options, page.items.len());
            let (from, to) = (start.clone(), end.clone());
            let query = ListQuery { start: from, end: to, limit, freshness, counting };
            let listed = self.read(query).await;
            let listed = listed.map_err(|error| expired(error, token.as_ref(), freshness))?;
            page.revision = page.revision.max(listed.revision);
            freshness = Freshness::Exactly(page.revision);
            let behind = listed.count.saturating_sub(listed.items.len() as u64);
            let mut more = listed.more;
            for stored in listed.items {
                if options.limit > 0 && page.items.len() == options.limit {
                    more = true;
                    break;
                }
                start = Bytes::from([stored.key.as_ref(), b"\0"].concat());
                if options.filter.takes_stored(call.kind, &stored)? {
                    page.items.push(stored);
                }
            }
            if !more {
                return Ok(page);
            }
            if options.limit == 0 {
                let (kind, filter) = (call.kind, options.filter.clone());
                page.rest = Some(Rest { kind, filter, start, end, revision: page.revision });
                return Ok(page);
            }
            if page.items.len() >= options.limit {
                let revision = Some(page.revision);
                let key = String::from_utf8_lossy(&start[prefix.len()..]).into_owned();
                page.next = Token { revision, start: key }.write();
                page.remaining = is_counted.then_some(behind);
                return Ok(page);
            }
        }
    }

    /// The next objects of a page; none when it is over.
    pub(crate) async fn more(&self, rest: &mut Rest) -> Answer<Vec<Stored>> {
        let mut items = Vec::new();
        while rest.start < rest.end && items.is_empty() {
            let freshness = Freshness::Exactly(rest.revision);
            let (start, end) = (rest.start.clone(), rest.end.clone());
            let counting = Counting::None;
            let query = ListQuery { start, end, limit: CHUNK, freshness, counting };
            let listed = self.storage.list(query).await.map_err(failure)?;
            for stored in listed.items {
                rest.start = Bytes::from([stored.key.as_ref(), b"\0"].concat());
                if rest.filter.takes_stored(rest.kind, &stored)? {
                    items.push(stored);
                }
            }
            if !listed.more {
                rest.start = rest.end.clone();
            }
        }
        Ok(items)
    }

    /// Reads; if the revision is yet to come, it is waited for, but not for long.
    async fn read(&self, query: ListQuery) -> Result<crate::storage::Listed, StorageError> {
        match self.storage.list(query.clone()).await {
            Err(StorageError::Future(_)) if self.reaches(asked(query.freshness)).await => {
                self.storage.list(query).await
            }
            listed => listed,
        }
    }
}

/// How many objects to read next. With a filter some of them will not do, so a whole chunk.
fn chunk(options: &ListOptions, have: usize) -> usize {
    match options.limit {
        0 => CHUNK,
        limit if options.filter.takes_all() => limit.saturating_sub(have),
        _ => CHUNK,
    }
}

/// The one key that a selector by name leaves, if it does.
fn single_key(call: &Call<'_>, filter: &Filter) -> Option<Bytes> {
    let name = filter.only_name()?;
    let known = !call.kind.is_namespaced() || !call.namespace.is_empty();
    known.then(|| stored::key(call.kind, call.namespace, name))
}

/// How fresh the list must be.
fn freshness(options: &ListOptions, token: Option<&Token>) -> Answer<Freshness> {
    if let Some(token) = token {
        if !matches!(options.resource_version.as_str(), "" | "0") {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Box::new(Status::bad_request(why)));
        }
        return Ok(token.revision.map_or(Freshness::Latest, Freshness::Exactly));
    }
    if options.resource_version.is_empty() {
        return Ok(Freshness::Latest);
    }
    let revision = revision::of_list(&options.resource_version)?;
    Ok(match (options.version_match.as_str(), revision) {
        ("Exact", revision) => Freshness::Exactly(revision),
        ("NotOlderThan", revision) | ("", revision @ 0) => Freshness::NotOlderThan(revision),
        // Clients that page from a revision have always been given that very state.
        (_, revision) if options.limit > 0 => Freshness::Exactly(revision),
        (_, revision) => Freshness::NotOlderThan(revision),
    })
}

/// What is wrong with the options (apimachinery `internalversion/validation`).
fn check(options: &ListOptions) -> Answer<()> {
    use crate::field::{FieldErrors, Path};
    let mut errors = FieldErrors::default();
    let path = Path::new("resourceVersionMatch");
    let wanted = options.version_match.as_str();
    if !wanted.is_empty() {
        if !options.next.is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden for continue");
        } else if options.resource_version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.forbidden(&path, why);
        }
        if !matches!(wanted, "Exact" | "NotOlderThan") {
            errors.not_supported(&path, wanted, &["Exact", "NotOlderThan", ""]);
        }
        if wanted == "Exact" && options.resource_version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.forbidden(&path, why);
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Box::new(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)))
}

/// The answer when a page's state is gone: a token that goes on with the newest one.
fn expired(error: StorageError, token: Option<&Token>, freshness: Freshness) -> Box<Status> {
    match (error, token) {
        (StorageError::Compacted(_), Some(token)) => {
            let why = "The provided continue parameter is too old to display a consistent list \
                       result. You can start a new list without the continue parameter, or use \
                       the continue token in this response to retrieve the remainder of the \
                       results. Continuing with the provided token results in an inconsistent \
                       list - objects that were created, modified, or deleted between the time \
                       the first chunk was returned and now may show up in the list.";
            let mut status = Status::expired(why);
            status.next = Some(Token { revision: None, start: token.start.clone() }.write());
            Box::new(status)
        }
        (StorageError::Compacted(_), None) => {
            Box::new(Status::expired("The resourceVersion for the provided list is too old."))
        }
        (StorageError::Future(current), _) => too_large(asked(freshness), current),
        (error, _) => failure(error),
    }
}

/// The revision that is asked for.
fn asked(freshness: Freshness) -> u64 {
    match freshness {
        Freshness::NotOlderThan(revision) | Freshness::Exactly(revision) => revision,
        Freshness::Latest => 0,
    }
}

/// The answer when a revision is yet to come.
pub(crate) fn too_large(asked: u64, current: u64) -> Box<Status> {
    let why = format!("Too large resource version: {asked}, current: {current}");
    let status = Status::timeout(format!("Timeout: {why}"), 1);
    Box::new(status.with_cause("ResourceVersionTooLarge", "Too large resource version", ""))
}

impl Token {
    fn write(&self) -> String {
        let revision = self.revision.and_then(|revision| i64::try_from(revision).ok());
        let token = json!({
            "v": "meta.k8s.io/v1", "rv": revision.unwrap_or(-1),
            "start": format!("/{}", self.start),
        });
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    fn read(text: &str) -> Answer<Self> {
        let bad = |why: &str| {
            Box::new(Status::bad_request(format!(
                "invalid continue token: continue key is not valid: {why}"
            )))
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|why| {
            let place = match why {
                DecodeError::InvalidByte(place, _) | DecodeError::InvalidLastSymbol(place, _) => {
                    place
                }
                DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
            };
            bad(&format!("illegal base64 data at input byte {place}"))
        })?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|why| bad(&why.to_string()))?;
        if token.get("v").and_then(Value::as_str) != Some("meta.k8s.io/v1") {
            return Err(bad("server does not recognize this encoded version"));
        }
        let revision = match token.get("rv").and_then(Value::as_i64).unwrap_or(0) {
            0 => {
                return Err(bad(
                    "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
                ));
            }
            number => u64::try_from(number).ok(),
        };
        let start = token.get("start").and_then(Value::as_str).unwrap_or_default();
        if start.is_empty() {
            return Err(bad("encoded start key empty (version meta.k8s.io/v1)"));
        }
        // Upstream takes both, and has written both.
        let within = start.strip_prefix('/').unwrap_or(start);
        let clean = !within.split('/').any(|part| matches!(part, "" | "." | ".."));
        if !clean {
            return Err(bad(start));
        }
        Ok(Self { revision, start: within.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back() {
        let token = Token { revision: Some(7), start: "a/b\0".to_owned() };
        let read = Token::read(&token.write()).unwrap();
        assert_eq!((read.revision, read.start.as_str()), (Some(7), "a/b\0"));
        let newest = Token { revision: None, start: "x\0".to_owned() };
        assert_eq!(Token::read(&newest.write()).unwrap().revision, None);
        let text = URL_SAFE_NO_PAD.decode(token.write()).unwrap();
        assert_eq!(text, br#"{"v":"meta.k8s.io/v1","rv":7,"start":"/a/b\u0000"}"#);
    }

    #[test]
    fn a_token_that_somebody_made_up_is_refused() {
        let forged = |text: &str| Token::read(&URL_SAFE_NO_PAD.encode(text)).map(|_| ());
        for text in [
            "{}",
            r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#,
            r#"{"v":"meta.k8s.io/v1","rv":5,"start":""}"#,
            r#"{"v":"meta.k8s.io/v1","rv":5,"start":"../secrets/a"}"#,
            "no json",
        ] {
            assert_eq!(forged(text).unwrap_err().code, 400, "{text}");
        }
        assert!(Token::read("***").is_err());
    }
}
