//! A member answering its peers: the engine's messages are handed to the engine, requests of other
//! members' clients are answered as far as this member leads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kstore_mvcc::LeaseId;
use kstore_proto::peer::{CallRequest, CallResponse};
use prost::Message;
use tokio::sync::oneshot;

use crate::engine::{COMMAND, Refused};
use crate::forward::{self, Verdict};
use crate::lessor::{Lessor, Renewal};
use crate::member::Core;
use crate::peer::{self, Kind};
use crate::types::MemberId;

impl Core {
    /// Answers a peer.
    pub(crate) async fn serve(self: &Arc<Self>, request: CallRequest) -> CallResponse {
        let sequence = request.sequence;
        let refuse = |refusal: String| CallResponse { sequence, body: Bytes::new(), refusal };
        if let Some(refusal) = peer::refusal(self.identity.cluster, self.member(), &request) {
            return refuse(refusal);
        }
        if self.has_ended() {
            return refuse("member has stopped".to_owned());
        }
        let Some(kind) = Kind::from_number(request.kind) else {
            return refuse(format!("message of unknown kind {}", request.kind));
        };
        if matches!(kind, Kind::Append | Kind::ImagePiece) {
            self.hear_of_leader(MemberId(request.from));
        }
        let answer = match kind {
            Kind::Append | Kind::Vote | Kind::PreVote | Kind::Transfer | Kind::ImagePiece => {
                self.engine.serve(kind, request.body).await
            }
            Kind::Propose => self.serve_propose(request.body).await,
            Kind::ReadIndex => Ok(self.serve_read_index().await),
            Kind::KeepAlive => self.serve_lease(request.body, Lessor::renew).await,
            Kind::LeaseTimes => self.serve_lease(request.body, Lessor::times).await,
        };
        match answer {
            Ok(body) => CallResponse { sequence, body, refusal: String::new() },
            Err(refusal) => refuse(refusal),
        }
    }

    /// A message came in that only a leader sends.
    fn hear_of_leader(&self, from: MemberId) {
        if self.engine.leader().is_some_and(|(leader, _)| leader == from) {
            self.hearing.heard(from, self.clock.monotonic());
        }
    }

    /// Whether the leader was heard of within an election timeout.
    pub(crate) fn hears_leader(&self) -> bool {
        let silence = self.hearing.silence(self.clock.monotonic());
        silence.is_some_and(|silence| silence <= self.timing.election)
    }

    async fn serve_propose(self: &Arc<Self>, body: Bytes) -> Result<Bytes, String> {
        let request = forward::Propose::decode(body).map_err(|e| e.to_string())?;
        if request.payload.first() != Some(&COMMAND) {
            return Err("a proposal that is no command".to_owned());
        }
        // Refusals after the hand-over are told here, too: the answer waits until the entry is
        // appended for good or refused, so that the asking member never repeats what may come.
        let (sender, refused) = oneshot::channel();
        let on_refused = Box::new(move |refused| {
            let _ = sender.send(refused);
        });
        let verdict = if self.engine.leads().is_none() {
            Verdict::NotLeader
        } else {
            match self.engine.propose(request.payload, on_refused).await {
                Err(Refused::NotLeader) => Verdict::NotLeader,
                Err(_) => Verdict::NoQuorum,
                // The sender goes away unused once the entry is applied.
                Ok(()) => match refused.await {
                    Ok(Refused::NotLeader) => Verdict::NotLeader,
                    Ok(Refused::NoQuorum) => Verdict::NoQuorum,
                    Ok(Refused::Unknown | Refused::Stopped) => Verdict::Unknown,
                    Err(_) => Verdict::Accepted,
                },
            }
        };
        Ok(forward::Proposed { verdict: verdict.into() }.encode_to_vec().into())
    }

    async fn serve_read_index(self: &Arc<Self>) -> Bytes {
        let answer = match self.engine.leads() {
            None => (Verdict::NotLeader, 0),
            Some(_) => match self.engine.read_index().await {
                Ok(index) => (Verdict::Accepted, index.0),
                Err(Refused::NotLeader) => (Verdict::NotLeader, 0),
                Err(_) => (Verdict::NoQuorum, 0),
            },
        };
        let answer = forward::ReadIndexAnswer { verdict: answer.0.into(), index: answer.1 };
        answer.encode_to_vec().into()
    }

    async fn serve_lease(
        &self,
        body: Bytes,
        ask: fn(&Lessor, LeaseId, Duration) -> Renewal,
    ) -> Result<Bytes, String> {
        let question = forward::LeaseQuestion::decode(body).map_err(|e| e.to_string())?;
        let mut answer = forward::LeaseAnswer::default();
        match self.lease_here(LeaseId(question.lease), ask).await {
            Ok(times) => {
                answer.set_verdict(Verdict::Accepted);
                answer.found = times.is_some();
                answer.granted = times.map_or(0, |t| t.granted);
                answer.remaining = times.map_or(0, |t| t.remaining);
            }
            Err(Refused::NotLeader) => answer.set_verdict(Verdict::NotLeader),
            Err(_) => answer.set_verdict(Verdict::NoQuorum),
        }
        Ok(answer.encode_to_vec().into())
    }
}
