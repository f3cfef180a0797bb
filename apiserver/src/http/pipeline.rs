//! The stages of a request, in order, and what every answer has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{AUTHORIZATION, CACHE_CONTROL, WARNING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use tokio::time::timeout;

use super::answer::{self, Asked, Gzip};
use super::info::{self, Info, Query};
use super::negotiate::{self, Form, Offer};
use super::resource::{self, Incoming, Outgoing};
use super::table::Include;
use super::{pages, reviews};
use crate::auth::authentication::{PeerUser, authenticate};
use crate::auth::lookup::Answer;
use crate::auth::{self, Attributes, User, impersonation};
use crate::server::Server;
use crate::status::Status;
use crate::{discovery, openapi};

/// How many requests are worked on at once, beyond watches: reads, and writes. What comes then is
/// told to come again (upstream's numbers).
const READS: u64 = 400;
const WRITES: u64 = 200;

/// How long a request may take, if it is no watch (upstream's number).
const REQUEST: Duration = Duration::from_secs(60);

/// Answers a request; `peer` is who the connection's certificate says is there.
pub async fn answer(
    server: &Arc<Server>,
    peer: Option<&PeerUser>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let info = Info::of(&parts.method, parts.uri.path(), &query);
    let stages = Stages { server, peer, parts: &parts, query: &query, info: &info };
    let mut response = if info::is_well_formed(parts.uri.path()) {
        stages.respond(body).await
    } else {
        // Go's server says it before there is a request.
        answer::bytes(400, "text/plain; charset=utf-8", "400 Bad Request")
    };
    server.requests.answered.fetch_add(1, Ordering::Relaxed);
    server.requests.by_resource.count(&info, response.status().as_u16());
    finish(server, &parts.headers, response.headers_mut());
    response
}

struct Stages<'a> {
    server: &'a Arc<Server>,
    peer: Option<&'a PeerUser>,
    parts: &'a Parts,
    query: &'a Query,
    info: &'a Info,
}

impl Stages<'_> {
    async fn respond(&self, body: Body) -> Response {
        let status = match self.run(body).await {
            Ok(outgoing) => return with_warnings(outgoing),
            Err(status) => status,
        };
        self.server.requests.failed.fetch_add(1, Ordering::Relaxed);
        if *status == Status::no_such_path() && !discovery::is_above(&self.info.path) {
            // Clients make a text of their own from this, which says what they asked for.
            return answer::bytes(404, "text/plain; charset=utf-8", "404 page not found\n");
        }
        let form = negotiate::form(&self.parts.headers, self.query, Offer::Shapes);
        answer::failure(form.unwrap_or(Form::PLAIN), &status)
    }

    async fn run(&self, body: Body) -> Answer<Outgoing> {
        let user = self.who().await?;
        let user = self.as_whom(user)?;
        self.may(&user)?;
        let _place = self.place()?;
        if self.info.verb == "watch" {
            return self.work(&user, body).await;
        }
        match timeout(REQUEST, self.work(&user, body)).await {
            Ok(answer) => answer,
            Err(_) => {
                let text = "Timeout: request did not complete within the allotted timeout";
                Err(Box::new(Status::timeout(text, 0)))
            }
        }
    }

    async fn who(&self) -> Answer<User> {
        let server = self.server;
        let header = self.parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (tokens, now) = (&server.tokens, server.registry.now());
        let registry = server.registry.as_ref();
        authenticate(self.peer, header, server.anonymous, tokens, now, registry).await
    }

    fn as_whom(&self, user: User) -> Answer<User> {
        let headers: Vec<(&str, &str)> = self
            .parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let wish = impersonation::requested(headers.iter().copied())?;
        let Some(wish) = wish else { return Ok(user) };
        let authorise = |user: &User, asked: &Attributes| self.server.access.authorise(user, asked);
        impersonation::impersonate(&wish, &user, &self.info.attributes(), authorise)
    }

    fn may(&self, user: &User) -> Answer<()> {
        let asked = self.info.attributes();
        let decision = self.server.access.authorise(user, &asked);
        if decision.is_allowed() {
            return Ok(());
        }
        Err(Box::new(auth::forbidden(user, &asked, decision.reason())))
    }

    /// One of the places for requests that are worked on; 429 if there is none.
    fn place(&self) -> Answer<Place<'_>> {
        let requests = &self.server.requests;
        let (counter, most) = match self.info.verb.as_str() {
            "watch" => (&requests.watching, u64::MAX),
            "create" | "update" | "patch" | "delete" | "deletecollection" | "post" | "put" => {
                (&requests.writing, WRITES)
            }
            _ => (&requests.reading, READS),
        };
        let place = Place(counter);
        if counter.fetch_add(1, Ordering::Relaxed) < most {
            return Ok(place);
        }
        let why = "the server has received too many requests and has asked us to try again later";
        Err(Box::new(Status::too_many_requests(why, 1)))
    }

    async fn work(&self, user: &User, body: Body) -> Answer<Outgoing> {
        if self.info.path.starts_with("//") {
            return Err(Box::new(Status::no_such_path()));
        }
        if !self.info.is_resource {
            return self.document(user).await.map(Outgoing::from);
        }
        if self.parts.method == Method::HEAD {
            return Err(Box::new(resource::not_allowed()));
        }
        let info = self.info;
        let offer = match reviews::find(&info.group, &info.version, &info.resource) {
            Some(_) => Offer::Plain,
            None if info.subresource == "log" => Offer::Text,
            None if matches!(info.verb.as_str(), "list" | "watch") => Offer::Many,
            None => Offer::Shapes,
        };
        let incoming = Incoming {
            server: self.server,
            user,
            info: self.info,
            query: self.query,
            headers: &self.parts.headers,
            asked: self.asked(offer)?,
        };
        resource::handle(incoming, body).await
    }

    fn asked(&self, offer: Offer) -> Answer<Asked> {
        Ok(self.asked_with(negotiate::form(&self.parts.headers, self.query, offer)?))
    }

    fn asked_with(&self, form: Form) -> Asked {
        Asked {
            form,
            include: Include::of(self.query.get("includeObject")),
            gzip: Gzip::of(&self.parts.headers),
            now: self.server.registry.now(),
        }
    }

    /// Whatever is no resource.
    async fn document(&self, _user: &User) -> Answer<Response> {
        let path = self.info.path.as_str();
        if self.parts.method != Method::GET && (pages::is_read_only(path) || discovery::is_at(path))
        {
            return Err(Box::new(resource::not_allowed()));
        }
        if let Some(page) = pages::page(self.server, path, self.query).await {
            return Ok(page);
        }
        if let Some(found) = openapi::document(path, self.query, &self.parts.headers) {
            return found;
        }
        if let Some(value) = discovery::aggregated(path, &self.parts.headers) {
            let asked = self.asked_with(Form::PLAIN);
            let mut response = answer::value(&asked, 200, &value);
            let content_type = HeaderValue::from_static(discovery::AGGREGATED);
            response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
            return Ok(response);
        }
        let found = discovery::document(path);
        let (value, offer) = found.ok_or_else(|| Box::new(Status::no_such_path()))?;
        Ok(answer::value(&self.asked(offer)?, 200, &value))
    }
}

/// A place among the requests that are worked on.
struct Place<'a>(&'a AtomicU64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many characters all warnings may have; beyond that each is cut, and what is too much left out
/// (upstream's numbers). A field's name can be as long as a body.
const WARNINGS: usize = 4096;
const WARNING_CUT: usize = 256;

/// Warnings are headers, in the form of RFC 7234 that clients expect; each is told once.
fn with_warnings(outgoing: Outgoing) -> Response {
    let mut response = outgoing.response;
    let mut told = BTreeSet::new();
    let texts: Vec<String> =
        outgoing.warnings.into_iter().filter(|text| told.insert(text.clone())).collect();
    let all: usize = texts.iter().map(|text| text.chars().count()).sum();
    let most = if all > WARNINGS { WARNING_CUT } else { WARNINGS };
    let mut written = 0;
    for text in texts {
        if written >= WARNINGS {
            break;
        }
        let text: String = text.chars().take(most).collect();
        written += text.chars().count();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

/// What every answer has.
fn finish(server: &Server, asked: &HeaderMap, headers: &mut HeaderMap) {
    const AUDIT: HeaderName = HeaderName::from_static("audit-id");
    let id = asked.get(AUDIT).cloned();
    let id = id.or_else(|| HeaderValue::from_str(&server.registry.uuid()).ok());
    if let Some(id) = id {
        headers.insert(AUDIT, id);
    }
    headers.entry(CACHE_CONTROL).or_insert_with(|| HeaderValue::from_static("no-cache, private"));
}
