//! The door: one port for gRPC and for plain HTTP, one function from request to response.
//!
//! ```text
//!                      content-type: application/grpc*        METHODS ──► the service's own code
//!   request ──► Door ──────────────────────────────────────────┤
//!                      anything else ──► pages (health, version, metrics)
//! ```
//!
//! Requests go straight to the generated service, without a router in between: the table of
//! methods says which one it is, and counts.

use std::convert::Infallible;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use kstore_proto::etcdserverpb::{
    auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
    lease_server::LeaseServer, maintenance_server::MaintenanceServer, watch_server::WatchServer,
};
use kstore_proto::health::health_server::HealthServer;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::api::Api;
use crate::methods::{self, METHODS, Service};
use crate::pages;
use crate::settings::Settings;

/// Answers every request that comes in by a client port.
pub struct Door {
    api: Api,
    kv: KvServer<Api>,
    watch: WatchServer<Api>,
    lease: LeaseServer<Api>,
    cluster: ClusterServer<Api>,
    maintenance: MaintenanceServer<Api>,
    auth: AuthServer<Api>,
    health: HealthServer<Api>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// A door to `api`.
    #[must_use]
    pub fn new(api: Api) -> Self {
        let limit = api.settings().max_request_bytes + Settings::GRPC_OVERHEAD;
        Self {
            kv: KvServer::new(api.clone()).max_decoding_message_size(limit),
            watch: WatchServer::new(api.clone()).max_decoding_message_size(limit),
            lease: LeaseServer::new(api.clone()).max_decoding_message_size(limit),
            cluster: ClusterServer::new(api.clone()).max_decoding_message_size(limit),
            maintenance: MaintenanceServer::new(api.clone()).max_decoding_message_size(limit),
            auth: AuthServer::new(api.clone()).max_decoding_message_size(limit),
            health: HealthServer::new(api.clone()).max_decoding_message_size(limit),
            api,
        }
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if !is_grpc(request.headers()) {
            return pages::answer(&self.api, &request).await;
        }
        let Some(place) = methods::find(request.uri().path()) else {
            return unknown_method(request.uri().path());
        };
        self.api.metrics().started(place);
        let response = match METHODS[place].service {
            Service::Kv => call(&self.kv, request).await,
            Service::Watch => call(&self.watch, request).await,
            Service::Lease => call(&self.lease, request).await,
            Service::Cluster => call(&self.cluster, request).await,
            Service::Maintenance => call(&self.maintenance, request).await,
            Service::Auth => call(&self.auth, request).await,
            Service::Health => call(&self.health, request).await,
        };
        let code = code_of(&response);
        self.api.metrics().handled(place, code);
        match code {
            Code::OutOfRange => with_grpcs_own_code(response),
            _ => response,
        }
    }
}

/// Generated services are always ready and never fail.
pub(crate) async fn call<S>(service: &S, request: Request<Incoming>) -> Response<Body>
where
    S: Clone + tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    let mut service = service.clone();
    debug_assert!(matches!(
        service.poll_ready(&mut Context::from_waker(std::task::Waker::noop())),
        Poll::Ready(Ok(()))
    ));
    match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

fn unknown_method(path: &str) -> Response<Body> {
    let (service, method) = path.trim_start_matches('/').rsplit_once('/').unwrap_or((path, ""));
    let known = METHODS.iter().any(|known| known.names().0 == service);
    let text = match known {
        true => format!("unknown method {method} for service {service}"),
        false => format!("unknown service {service}"),
    };
    Status::unimplemented(text).into_http()
}

/// The status of a response that is an error from the start; a stream may still end in one.
fn code_of(response: &Response<Body>) -> Code {
    let code = response.headers().get(Status::GRPC_STATUS);
    code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// A message beyond the limit is out of range for the decoder, and an exhausted resource for the
/// clients of etcd, whose server says it in these words.
fn with_grpcs_own_code(response: Response<Body>) -> Response<Body> {
    let text = response.headers().get(Status::GRPC_MESSAGE).and_then(|text| text.to_str().ok());
    let Some(text) = text.filter(|text| text.contains("message%20length%20too%20large")) else {
        return response;
    };
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|number| number.len() > 2)
        .filter_map(|number| number.parse::<u64>().ok());
    let (got, limit) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let text = format!("grpc: received message larger than max ({got} vs. {limit})");
    Status::resource_exhausted(text).into_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(response: &Response<Body>) -> &str {
        response.headers().get(Status::GRPC_MESSAGE).unwrap().to_str().unwrap()
    }

    #[test]
    fn what_is_not_served_is_named() {
        let response = unknown_method("/etcdserverpb.KV/Nothing");
        assert_eq!(code_of(&response), Code::Unimplemented);
        assert!(message(&response).contains("Nothing"));
        assert!(message(&unknown_method("/some.Other/Thing")).contains("some.Other"));
        assert_eq!(code_of(&unknown_method("nonsense")), Code::Unimplemented);
    }

    #[test]
    fn a_message_beyond_the_limit_is_an_exhausted_resource() {
        let decoder = Status::out_of_range(
            "Error, decoded message length too large: found 3000000 bytes, \
             the limit is: 2097152 bytes",
        );
        let response = with_grpcs_own_code(decoder.into_http());
        assert_eq!(code_of(&response), Code::ResourceExhausted);
        assert!(message(&response).contains("3000000"), "{}", message(&response));
        assert!(message(&response).contains("2097152"));
    }

    #[test]
    fn another_number_out_of_range_stays_what_it_is() {
        let compacted = Status::from(crate::error::COMPACTED);
        assert_eq!(code_of(&with_grpcs_own_code(compacted.into_http())), Code::OutOfRange);
    }
}
