//! The REST API over the model of a store: requests in, answers out, without sockets. The same cases
//! run over real stores in the tests of the binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/memory.rs"]
mod memory;
#[path = "support/rest_cases.rs"]
mod rest_cases;

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request};
use kstore_apiserver::auth::User;
use kstore_apiserver::auth::authentication::{Anonymous, PeerUser, Tokens};
use kstore_apiserver::http::answer;
use kstore_apiserver::pki::SigningKey;
use kstore_apiserver::server::{Parts, Server};
use kstore_apiserver::storage::Freshness;
use kstore_apiserver::{housekeeping, storage::Storage};
use kstore_host::os::{OsClock, OsRandom};

use memory::MemoryStorage;
use rest_cases::{Api, Door, Reply, for_each_case};

/// A server on an empty store, and somebody who may do everything.
struct Bench {
    server: Arc<Server>,
    storage: Arc<dyn Storage>,
    admin: PeerUser,
}

impl Bench {
    async fn new() -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let key = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
        let server = Server::new(Parts {
            storage: Arc::clone(&storage),
            clock: Arc::new(OsClock::start()),
            random: Arc::new(OsRandom),
            tokens: Tokens::new("https://kubernetes.default.svc", key, Vec::new()),
            anonymous: Anonymous::Allowed,
            service_network: "10.96.0.0/12".to_owned(),
            advertised: (Ipv4Addr::new(192, 0, 2, 1), 6443),
        })
        .unwrap();
        tokio::spawn(housekeeping::run(Arc::clone(&server)));
        while !server.is_ready() {
            tokio::task::yield_now().await;
        }
        let user = User {
            name: "admin".to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            ..User::default()
        };
        Self { server, storage, admin: PeerUser { user, expires: i64::MAX } }
    }
}

fn reply(response: Response) -> Reply {
    let code = response.status().as_u16();
    let body = response.into_body().into_data_stream();
    Reply { code, body: body.map(|chunk| chunk.unwrap()).boxed() }
}

impl Door for Bench {
    fn send(&self, method: Method, path: &str, media: &str, body: String) -> BoxFuture<'_, Reply> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(Body::from(body))
            .unwrap();
        Box::pin(async move { reply(answer(&self.server, Some(&self.admin), request).await) })
    }

    fn compact(&self, revision: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.storage.compact(revision).await.unwrap() })
    }

    fn lease_of(&self, key: &str) -> BoxFuture<'_, i64> {
        let key = Bytes::from(key.to_owned());
        Box::pin(async move {
            let got = self.storage.get(key, Freshness::Latest).await.unwrap();
            got.stored.unwrap().lease
        })
    }
}

macro_rules! tests {
    ($($case:ident),*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let door = Arc::new(Bench::new().await);
                rest_cases::$case(&Api::new(door, "case").await).await;
            }
        )*
    };
}
for_each_case!(tests);

#[tokio::test]
async fn a_stranger_may_look_at_health_and_nothing_else() {
    let bench = Bench::new().await;
    let ask = async |path: &str| {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        answer(&bench.server, None, request).await.status().as_u16()
    };
    assert_eq!(ask("/readyz").await, 200);
    assert_eq!(ask("/version").await, 200);
    assert_eq!(ask("/api/v1/pods").await, 403);
    assert_eq!(ask("/api/v1/no/such/thing").await, 403);
    assert_eq!(ask("/metrics").await, 403);
}
