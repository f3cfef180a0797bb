//! `grpc.health.v1`: load balancers and clients ask it whether to send requests here.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use kstore_proto::health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::error;

/// The states of one service over time: serving, for as long as there is an answer at all.
pub(crate) type HealthStream =
    Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Api {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(error::UNKNOWN_SERVICE.into());
        }
        Ok(Response::new(says(ServingStatus::Serving)))
    }

    type WatchStream = HealthStream;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthStream>, Status> {
        let state = match is_known(&request.get_ref().service) {
            true => ServingStatus::Serving,
            false => ServingStatus::ServiceUnknown,
        };
        let states = stream::once(std::future::ready(Ok(says(state)))).chain(stream::pending());
        Ok(Response::new(Box::pin(states)))
    }
}

/// The empty name stands for the whole server; no service has a health of its own.
fn is_known(service: &str) -> bool {
    service.is_empty()
}

fn says(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
