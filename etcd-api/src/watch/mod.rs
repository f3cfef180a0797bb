//! The Watch service: any number of watches on one gRPC stream.
//!
//! ```text
//!   client ──create, cancel, progress──► Session ──► responses, in one order
//!                                         ▲   │
//!               member's WatchStream ─────┘   └─ reads of previous values (jobs, when cold)
//! ```
//!
//! A session is no task: it is the stream of responses itself, polled by the connection when that
//! can send. So a client that does not read holds up nobody: its events stay in the store, and the
//! session costs what its watches cost.
//!
//! Invariant: a response that tells progress to revision R leaves after all events up to R. Both
//! come out of one queue, and progress is asked for only when nothing is on its way into it.
//!
//! Invariant: the queue holds what one step produced (one batch of one watch, or one request's
//! answers); the next step begins only when it is empty. That is the bound on its memory.

mod create;
mod events;
mod session;

use kstore_proto::etcdserverpb::{WatchRequest, watch_server::Watch};
use tonic::{Request, Response, Status, Streaming};

use crate::api::{Api, requires_leader};
pub(crate) use session::Session;

#[tonic::async_trait]
impl Watch for Api {
    type WatchStream = Session;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Session>, Status> {
        let needs_leader = requires_leader(request.metadata());
        let requests = self.admit(request)?;
        Ok(Response::new(Session::new(self.clone(), requests, needs_leader)))
    }
}
