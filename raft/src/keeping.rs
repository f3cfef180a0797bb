//! Leases on behalf of clients: whichever member is asked, the leader's clock answers.

use std::sync::Arc;
use std::time::Duration;

use kstore_mvcc::LeaseId;
use prost::Message;

use crate::engine::Refused;
use crate::forward::{self, Verdict};
use crate::lessor::{Lessor, Renewal};
use crate::member::{Core, RETRY};
use crate::peer::Kind;
use crate::tasks::within;
use crate::types::{LeaseTimes, Role, Unavailable};

impl Core {
    /// Renews a lease or tells what it has left; this member must lead.
    pub(crate) async fn lease_here(
        &self,
        id: LeaseId,
        ask: fn(&Lessor, LeaseId, Duration) -> Renewal,
    ) -> Result<Option<LeaseTimes>, Refused> {
        let state = self.engine.state();
        if state.role != Role::Leader {
            return Err(Refused::NotLeader);
        }
        if state.quorum_acknowledged.is_none_or(|age| age > self.timing.lease())
            && state.voters.len() > 1
        {
            return Err(Refused::NoQuorum);
        }
        match ask(&self.lessor, id, self.clock.monotonic()) {
            Renewal::Known(times) => return Ok(Some(times)),
            Renewal::NotLeading => return Err(Refused::NotLeader),
            Renewal::Unknown => {}
        }
        // Its grant may be committed and not applied here yet.
        if let Some(committed) = state.committed {
            let reached = self.applied.reached(committed);
            let reached = within(&*self.tasks, self.timing.election, reached).await;
            if !matches!(reached, Some(Ok(()))) {
                return Err(Refused::NoQuorum);
            }
        }
        match ask(&self.lessor, id, self.clock.monotonic()) {
            Renewal::Known(times) => Ok(Some(times)),
            Renewal::NotLeading => Err(Refused::NotLeader),
            Renewal::Unknown => Ok(None),
        }
    }

    /// Asks the leader about a lease until it answers or the time is over.
    pub(crate) async fn lease_anywhere(
        self: &Arc<Self>,
        id: LeaseId,
        kind: Kind,
        ask: fn(&Lessor, LeaseId, Duration) -> Renewal,
    ) -> Result<Option<LeaseTimes>, Unavailable> {
        let deadline = self.clock.monotonic() + self.request_limit();
        loop {
            if self.has_ended() {
                return Err(Unavailable::Stopped);
            }
            match self.lease_here(id, ask).await {
                Ok(times) => return Ok(times),
                Err(Refused::Stopped) => return Err(Unavailable::Stopped),
                Err(_) => {}
            }
            let body = forward::LeaseQuestion { lease: id.0 }.encode_to_vec().into();
            let answer =
                self.ask_leader::<forward::LeaseAnswer>(kind, body, self.timing.election).await;
            if let Ok(answer) = answer
                && answer.verdict() == Verdict::Accepted
            {
                let times = LeaseTimes { granted: answer.granted, remaining: answer.remaining };
                return Ok(answer.found.then_some(times));
            }
            if self.clock.monotonic() + RETRY >= deadline {
                return Err(Unavailable::TimedOut);
            }
            self.tasks.sleep(RETRY).await;
        }
    }
}
