//! What all services share: the member, the settings, the counters and the pulse.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kstore_machine::Reply;
use kstore_machine::command::Command;
use kstore_mvcc::{Revision, Term};
use kstore_proto::etcdserverpb as etcd;
use kstore_raft::Member;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::error;
use crate::histogram::SyncTimes;
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::settings::Settings;

/// The client API of one member. Cloning it is cheap; all clones are the same API.
#[derive(Clone, Debug)]
pub struct Api {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    member: Member,
    settings: Settings,
    metrics: Metrics,
    pulse: Pulse,
    /// Counted by whoever owns the disk.
    syncs: Arc<SyncTimes>,
    /// When the API began, by the calendar.
    begun: Duration,
}

impl Api {
    /// The API of `member`. [`Api::run`] must run beside it. `syncs` is shown in the metrics.
    #[must_use]
    pub fn new(member: Member, settings: Settings, syncs: Arc<SyncTimes>) -> Self {
        let pulse = Pulse::new(&member.status());
        let begun = member.clock().wall();
        let metrics = Metrics::default();
        let shared = Shared { member, settings, metrics, pulse, syncs, begun };
        Self { shared: Arc::new(shared) }
    }

    /// Watches over the member for as long as the API serves; ends only when it is dropped.
    pub async fn run(&self) {
        self.shared.pulse.run(self).await;
    }

    pub(crate) fn member(&self) -> &Member {
        &self.shared.member
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn syncs(&self) -> &SyncTimes {
        &self.shared.syncs
    }

    /// When the API began, since 1970.
    pub(crate) fn begun(&self) -> Duration {
        self.shared.begun
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.shared.pulse
    }

    /// The header of an answer at `revision`.
    pub(crate) fn header(&self, revision: Revision, term: Term) -> etcd::ResponseHeader {
        etcd::ResponseHeader {
            cluster_id: self.member().cluster_id().0,
            member_id: self.member().member_id().0,
            revision: crate::convert::signed(revision.0),
            raft_term: term.0,
        }
    }

    /// The header of an answer that is about now.
    pub(crate) fn header_now(&self) -> etcd::ResponseHeader {
        self.header(self.member().revision(), self.pulse().term())
    }

    /// Has `command` ordered and applied; answers its reply and the answer's header.
    pub(crate) async fn propose(
        &self,
        command: Command,
    ) -> Result<(Option<etcd::ResponseHeader>, Reply), Status> {
        let outcome = match self.member().propose(command).await {
            Ok(outcome) => outcome,
            Err(why) => {
                self.metrics().proposals_failed.fetch_add(1, Ordering::Relaxed);
                return Err(error::unavailable(why));
            }
        };
        self.metrics().proposals_applied.fetch_add(1, Ordering::Relaxed);
        self.pulse().saw_term(outcome.position.term);
        let reply = outcome.reply.map_err(error::rejected)?;
        Ok((Some(self.header(reply.revision, outcome.position.term)), reply))
    }

    /// Waits until this member has applied all that was acknowledged anywhere before this call.
    pub(crate) async fn read_barrier(&self) -> Result<(), Status> {
        self.member().read_barrier().await.map_err(error::unavailable)
    }

    /// The message of a request, unless its sender wants a member with a leader and this one has
    /// none.
    pub(crate) fn admit<T>(&self, request: Request<T>) -> Result<T, Status> {
        if requires_leader(request.metadata()) {
            self.check_leader()?;
        }
        Ok(request.into_inner())
    }

    pub(crate) fn check_leader(&self) -> Result<(), Status> {
        match self.pulse().has_leader() {
            true => Ok(()),
            false => Err(error::NO_LEADER.into()),
        }
    }

    /// Refuses what is larger than the largest request.
    pub(crate) fn check_size(&self, bytes: usize) -> Result<(), Status> {
        if bytes > self.settings().max_request_bytes {
            return Err(error::REQUEST_TOO_LARGE.into());
        }
        Ok(())
    }
}

/// Whether a client asked to be turned away by members that know no leader.
pub(crate) fn requires_leader(metadata: &MetadataMap) -> bool {
    metadata.get("hasleader").is_some_and(|value| value == "true")
}
