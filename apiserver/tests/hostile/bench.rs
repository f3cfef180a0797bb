//! A server on a model of a store, and people who ask it things: admins, nobodies and strangers.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use kstore_apiserver::auth::User;
use kstore_apiserver::auth::authentication::{Anonymous, PeerUser, Tokens};
use kstore_apiserver::housekeeping;
use kstore_apiserver::http::answer;
use kstore_apiserver::pki::SigningKey;
use kstore_apiserver::server::{Parts, Server};
use kstore_apiserver::storage::{
    Freshness, Got, Guarded, ListQuery, Listed, Storage, StorageFuture, WatchStream, Written,
};
use kstore_host::os::{OsClock, OsRandom};
use serde_json::Value;

use crate::memory::MemoryStorage;

/// The issuer of the bench's tokens.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// A store that counts how often it is asked for anything.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    store: MemoryStorage,
    asked: AtomicU64,
}

impl Counted {
    /// How often it was asked.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn count(&self) -> &MemoryStorage {
        self.asked.fetch_add(1, Ordering::SeqCst);
        &self.store
    }
}

impl Storage for Counted {
    fn get(&self, key: Bytes, freshness: Freshness) -> StorageFuture<'_, Got> {
        self.count().get(key, freshness)
    }

    fn list(&self, query: ListQuery) -> StorageFuture<'_, Listed> {
        self.count().list(query)
    }

    fn write(&self, writes: Vec<Guarded>) -> StorageFuture<'_, Written> {
        self.count().write(writes)
    }

    fn watch(&self, start: Bytes, end: Bytes, from: u64) -> StorageFuture<'_, WatchStream> {
        self.count().watch(start, end, from)
    }

    fn current_revision(&self) -> StorageFuture<'_, u64> {
        self.count().current_revision()
    }

    fn compact(&self, revision: u64) -> StorageFuture<'_, ()> {
        self.count().compact(revision)
    }

    fn grant_lease(&self, seconds: i64) -> StorageFuture<'_, i64> {
        self.count().grant_lease(seconds)
    }
}

/// A server whose house is in order and no longer kept, so that nobody but the tests asks its store.
pub(crate) struct Bench {
    pub(crate) server: Arc<Server>,
    pub(crate) store: Arc<Counted>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answered {
    /// The body as JSON; null if it is something else.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The media type without its parameters.
    pub(crate) fn media_type(&self) -> &str {
        let text = self.headers.get("content-type").and_then(|text| text.to_str().ok());
        text.unwrap_or("").split(';').next().unwrap_or("")
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let store = Arc::new(Counted::default());
        let key = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
        let server = Server::new(Parts {
            storage: Arc::clone(&store) as Arc<dyn Storage>,
            clock: Arc::new(OsClock::start()),
            random: Arc::new(OsRandom),
            tokens: Tokens::new(ISSUER, key, Vec::new()),
            anonymous: Anonymous::Allowed,
            service_network: "10.96.0.0/12".to_owned(),
            advertised: (Ipv4Addr::new(192, 0, 2, 1), 6443),
        })
        .unwrap();
        let housekeeping = tokio::spawn(housekeeping::run(Arc::clone(&server)));
        while !server.is_ready() {
            tokio::task::yield_now().await;
        }
        housekeeping.abort();
        drop(housekeeping.await);
        Self { server, store }
    }

    /// What the server answers; `who` is the user of the connection's certificate.
    pub(crate) async fn ask(&self, who: Option<&PeerUser>, request: Request<Body>) -> Answered {
        let (parts, body) = answer(&self.server, who, request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered { code: parts.status.as_u16(), headers: parts.headers, body }
    }
}

/// Somebody of that name, in these groups.
pub(crate) fn person(name: &str, groups: &[&str]) -> PeerUser {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let user = User { name: name.to_owned(), groups, ..User::default() };
    PeerUser { user, expires: i64::MAX }
}

/// Somebody who may do anything.
pub(crate) fn admin() -> PeerUser {
    person("admin", &["system:masters", "system:authenticated"])
}
