//! One member of a cluster, as everything above it sees it: a handle that proposes, reads, watches
//! and tells how things are. It has no type parameters and names nothing of the engine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kstore_host::{Clock, DirectoryLock, Jobs, Random};
use kstore_machine::command::{Command, Envelope};
use kstore_mvcc::{Access, LeaseId, ReadError, Revision, Snapshot, Term};
use kstore_proto::peer::{CallRequest, CallResponse};
use prost::Message;
use tokio::sync::oneshot;

use crate::applied::Applied;
use crate::apply::Applier;
use crate::barrier::Barrier;
use crate::checkpointer::Checkpointer;
use crate::engine::{COMMAND, Engine, EngineState, PeerAddress, Refused, Timing};
use crate::forward::{self, Verdict};
use crate::hearing::Hearing;
use crate::identity::Identity;
use crate::image::ImageStream;
use crate::lessor::Lessor;
use crate::outcome::Outcome;
use crate::peer::{Caller, Channel, Kind, PeerError};
use crate::pending::{Answer, Pending};
use crate::tasks::{BoxFuture, Tasks, within};
use crate::types::{
    ClusterId, LeaseTimes, MemberId, MemberInfo, MoveLeaderError, ReadFailure, Role, Status,
    Unavailable,
};
use crate::wal::Wal;
use crate::watch_stream::{SharedHub, WatchStream};

/// A handle on a running member. Clones are handles on the same member.
#[derive(Clone)]
pub struct Member {
    pub(crate) core: Arc<Core>,
}

/// What all handles and tasks of a member share.
pub(crate) struct Core {
    pub(crate) identity: Identity,
    /// This run's number: commands that it proposed are found again by it.
    pub(crate) origin: u64,
    pub(crate) timing: Timing,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) applier: Arc<Applier>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) applied: Arc<Applied>,
    pub(crate) hub: SharedHub,
    pub(crate) lessor: Arc<Lessor>,
    pub(crate) barrier: Barrier,
    pub(crate) caller: Caller,
    pub(crate) tasks: Arc<dyn Tasks>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) jobs: Arc<dyn Jobs>,
    pub(crate) wal: Wal,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) leader_changes: AtomicU64,
    /// When the leader was heard of last.
    pub(crate) hearing: Hearing,
    /// Set once a stop was asked for.
    pub(crate) stopping: AtomicBool,
    pub(crate) ending: Mutex<Ending>,
    /// Gives the data directory up when the last handle goes.
    pub(crate) _lock: Box<dyn DirectoryLock>,
}

/// How a member ended, and who wants to know.
#[derive(Default)]
pub(crate) struct Ending {
    pub(crate) reason: Option<String>,
    waiting: Vec<oneshot::Sender<String>>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("identity", &self.core.identity).finish_non_exhaustive()
    }
}

/// How long to wait before asking again for a leader that was not there.
pub(crate) const RETRY: Duration = Duration::from_millis(10);

impl Core {
    /// How long a request may take in all: etcd's rule.
    pub(crate) fn request_limit(&self) -> Duration {
        Duration::from_secs(5) + self.timing.election * 2
    }

    pub(crate) fn member(&self) -> MemberId {
        self.identity.member
    }

    /// Ends the member: nothing more is answered, and whoever waits for the end hears why.
    pub(crate) fn end(&self, reason: &str) {
        let waiting = {
            let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
            if ending.reason.is_some() {
                return;
            }
            ending.reason = Some(reason.to_owned());
            std::mem::take(&mut ending.waiting)
        };
        self.pending.close();
        for waiter in waiting {
            drop(waiter.send(reason.to_owned()));
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).reason.is_some()
    }

    /// Proposes a command and waits until this member has applied it. `guard`: it has effects only
    /// in that term.
    pub(crate) async fn propose(
        self: &Arc<Self>,
        command: Command,
        guard: Option<Term>,
    ) -> Result<Outcome, Unavailable> {
        let deadline = self.clock.monotonic() + self.request_limit();
        let mut ticket = self.pending.take(deadline)?;
        let mut envelope = Envelope::new(self.origin, ticket.sequence, command);
        envelope.term_guard = guard.map(|term| term.0);
        let mut payload = BytesMut::with_capacity(1 + envelope.encoded_len());
        payload.put_u8(COMMAND);
        envelope.encode(&mut payload).expect("a growing buffer takes any message");
        let payload = payload.freeze();
        loop {
            let handed = self.hand_over(payload.clone(), ticket.sequence, deadline).await;
            let refused = match handed {
                Ok(()) => match ticket.answer.await {
                    Ok(Answer::Outcome(outcome)) => return Ok(outcome),
                    Ok(Answer::Unavailable(unavailable)) => return Err(unavailable),
                    Ok(Answer::Refused(refused)) => refused,
                    Err(_) => return Err(Unavailable::Stopped),
                },
                Err(refused) => refused,
            };
            match refused {
                Refused::Stopped => {
                    self.pending.give_up(ticket.sequence);
                    return Err(Unavailable::Stopped);
                }
                // Appended somewhere: it may still be applied. Asking again could do it twice.
                Refused::Unknown => {
                    ticket.answer = self.pending.renew(ticket.sequence, deadline)?;
                    return match ticket.answer.await {
                        Ok(Answer::Outcome(outcome)) => Ok(outcome),
                        Ok(Answer::Unavailable(unavailable)) => Err(unavailable),
                        Ok(Answer::Refused(_)) => Err(Unavailable::TimedOutLeaderFail),
                        Err(_) => Err(Unavailable::Stopped),
                    };
                }
                Refused::NotLeader | Refused::NoQuorum => {}
            }
            if self.clock.monotonic() + RETRY >= deadline {
                self.pending.give_up(ticket.sequence);
                return Err(Unavailable::TimedOut);
            }
            self.tasks.sleep(RETRY).await;
            ticket.answer = self.pending.renew(ticket.sequence, deadline)?;
        }
    }

    /// Brings a payload to the leader, this member or another. `Err` means that it was appended
    /// nowhere; later refusals come through the ticket.
    async fn hand_over(
        self: &Arc<Self>,
        payload: Bytes,
        sequence: u64,
        deadline: Duration,
    ) -> Result<(), Refused> {
        if self.engine.leads().is_some() {
            let pending = Arc::clone(&self.pending);
            let on_refused = Box::new(move |refused| pending.refuse(sequence, refused));
            return self.engine.propose(payload, on_refused).await;
        }
        let body = forward::Propose { payload }.encode_to_vec().into();
        let limit = deadline.saturating_sub(self.clock.monotonic());
        match self.ask_leader::<forward::Proposed>(Kind::Propose, body, limit).await {
            Ok(answer) => match answer.verdict() {
                Verdict::Accepted => Ok(()),
                Verdict::NotLeader => Err(Refused::NotLeader),
                Verdict::NoQuorum | Verdict::TooMany => Err(Refused::NoQuorum),
                Verdict::Unknown => Err(Refused::Unknown),
            },
            Err(PeerError::Unreachable(_) | PeerError::Refused(_)) => Err(Refused::NotLeader),
            // It may have arrived. Whether it did shows when it is applied, or never.
            Err(PeerError::TimedOut) => Ok(()),
        }
    }

    /// Asks the leader, if it is another member.
    pub(crate) async fn ask_leader<M: Message + Default>(
        &self,
        kind: Kind,
        body: Bytes,
        limit: Duration,
    ) -> Result<M, PeerError> {
        let unknown = || PeerError::Unreachable("no leader".to_owned());
        let (leader, address) = self.engine.leader().ok_or_else(unknown)?;
        let address = address.ok_or_else(unknown)?;
        if leader == self.member() {
            return Err(unknown());
        }
        let answer = self.caller.call(leader, &address, Channel::Forward, kind, body, limit);
        let answer = answer.await?;
        M::decode(answer).map_err(|e| PeerError::Refused(e.to_string()))
    }

    /// One round of the read barrier.
    pub(crate) async fn barrier_round(self: &Arc<Self>) -> Result<(), Unavailable> {
        let deadline = self.clock.monotonic() + self.request_limit();
        loop {
            match self.confirmed_index().await {
                Ok(index) => {
                    let limit = deadline.saturating_sub(self.clock.monotonic());
                    let reached = within(&*self.tasks, limit, self.applied.reached(index)).await;
                    return match reached {
                        Some(Ok(())) => Ok(()),
                        Some(Err(_)) => Err(Unavailable::Stopped),
                        None => Err(Unavailable::TimedOut),
                    };
                }
                Err(Refused::Stopped) => return Err(Unavailable::Stopped),
                Err(_) if self.has_ended() => return Err(Unavailable::Stopped),
                Err(_) if self.clock.monotonic() + RETRY >= deadline => {
                    return Err(Unavailable::TimedOut);
                }
                Err(_) => self.tasks.sleep(RETRY).await,
            }
        }
    }

    /// The index that a linearizable read must have applied, from the leader, whoever it is.
    async fn confirmed_index(self: &Arc<Self>) -> Result<kstore_mvcc::Index, Refused> {
        if self.engine.leads().is_some() {
            return self.engine.read_index().await;
        }
        let body = forward::ReadIndex {}.encode_to_vec().into();
        let limit = self.timing.election;
        match self.ask_leader::<forward::ReadIndexAnswer>(Kind::ReadIndex, body, limit).await {
            Ok(answer) if answer.verdict() == Verdict::Accepted => {
                Ok(kstore_mvcc::Index(answer.index))
            }
            _ => Err(Refused::NotLeader),
        }
    }
}

impl Member {
    /// The cluster that this member belongs to.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.core.identity.cluster
    }

    /// Its id.
    #[must_use]
    pub fn member_id(&self) -> MemberId {
        self.core.identity.member
    }

    /// Its timing.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.core.timing
    }

    /// Proposes a command, through the leader wherever it is, and waits until this member has
    /// applied it.
    ///
    /// # Errors
    /// See [`Unavailable`]. After a timeout the outcome is unknown.
    pub async fn propose(&self, command: Command) -> Result<Outcome, Unavailable> {
        self.core.propose(command, None).await
    }

    /// Waits until this member has applied everything that any member acknowledged before this
    /// call: a snapshot taken afterwards serves a linearizable read.
    ///
    /// # Errors
    /// There was no leader with a quorum until the deadline.
    pub async fn read_barrier(&self) -> Result<(), Unavailable> {
        let (answer, start) = self.core.barrier.wait();
        if start {
            let core = Arc::clone(&self.core);
            self.core.tasks.spawn(Box::pin(async move {
                while let Some(waiting) = core.barrier.take() {
                    let result = core.barrier_round().await;
                    for waiter in waiting {
                        let _ = waiter.send(result);
                    }
                }
            }));
        }
        answer.await.unwrap_or(Err(Unavailable::Stopped))
    }

    /// The newest published view of the store.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.core.applier.view()
    }

    /// The revision of the newest published view.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.core.applier.view().revision()
    }

    /// The member's term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.core.engine.term()
    }

    /// Reads a view: at once if everything is in memory, else as a job.
    ///
    /// # Errors
    /// The store's, or there was no room for the job.
    pub async fn read<T: Send + 'static>(
        &self,
        snapshot: Snapshot,
        query: impl Fn(&Snapshot, Access) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadFailure> {
        match query(&snapshot, Access::Cached) {
            Ok(answer) => Ok(answer),
            Err(ReadError::Cold) => self.read_as_job(snapshot, query).await,
            Err(error) => Err(ReadFailure::Read(error)),
        }
    }

    /// Reads a view as a job, whatever is in memory: for reads that take long all the same.
    ///
    /// # Errors
    /// The store's, or there was no room for the job.
    pub async fn read_as_job<T: Send + 'static>(
        &self,
        snapshot: Snapshot,
        query: impl Fn(&Snapshot, Access) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadFailure> {
        let (sender, receiver) = oneshot::channel();
        let job = move || drop(sender.send(query(&snapshot, Access::Disk)));
        let overloaded = |_| ReadFailure::Unavailable(Unavailable::Overloaded);
        self.core.jobs.run(Box::new(job)).map_err(overloaded)?;
        match receiver.await {
            Ok(answer) => answer.map_err(ReadFailure::Read),
            Err(_) => Err(ReadFailure::Unavailable(Unavailable::Stopped)),
        }
    }

    /// Opens a stream of watches.
    #[must_use]
    pub fn watch_stream(&self) -> WatchStream {
        let applier = Arc::clone(&self.core.applier);
        WatchStream::open(
            Arc::clone(&self.core.hub),
            Arc::new(move || applier.view()),
            Arc::clone(&self.core.jobs),
            Arc::clone(&self.core.tasks),
        )
    }

    /// How many watches there are.
    #[must_use]
    pub fn watches(&self) -> usize {
        crate::watch_stream::lock(&self.core.hub).subscriptions()
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.core.engine.state();
        let view = self.core.applier.view();
        let ended = self.core.ending.lock().unwrap_or_else(PoisonError::into_inner);
        Status {
            role: state.role,
            leader: state.leader,
            term: state.term,
            last_index: state.last_index,
            committed_index: state.committed,
            applied_index: self.core.applied.index(),
            has_quorum: self.has_quorum(&state),
            revision: view.revision(),
            store_bytes: view.size_on_disk(),
            store_bytes_in_use: view.size_in_use(),
            leader_changes: self.core.leader_changes.load(Ordering::Relaxed),
            longest_silence: self.core.hearing.longest(),
            proposals_pending: self.core.pending.len() as u64,
            fatal: ended.reason.clone().or(state.fatal),
        }
    }

    fn has_quorum(&self, state: &EngineState) -> bool {
        match state.role {
            Role::Leader if state.voters.len() == 1 => true,
            Role::Leader => {
                state.quorum_acknowledged.is_some_and(|age| age <= self.core.timing.lease())
            }
            _ => state.leader.is_some() && self.core.hears_leader(),
        }
    }

    /// Whether this member knows a leader.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.core.engine.leader().is_some()
    }

    /// The members of the cluster, by id.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        let state = self.core.engine.state();
        let attributes: BTreeMap<MemberId, (String, Vec<String>)> =
            self.core.applier.member_attributes();
        let info = |(id, address): (MemberId, PeerAddress)| {
            let (name, client_urls) = attributes.get(&id).cloned().unwrap_or_default();
            MemberInfo {
                id,
                name,
                peer_urls: address.urls,
                client_urls,
                is_learner: state.learners.contains(&id),
            }
        };
        state.addresses.clone().into_iter().map(info).collect()
    }

    /// Renews a lease; its time to live in seconds, or `None` for one that is unknown or over.
    ///
    /// # Errors
    /// No leader answered until the deadline.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Option<u64>, Unavailable> {
        let times = self.core.lease_anywhere(lease, Kind::KeepAlive, Lessor::renew).await?;
        Ok(times.map(|times| times.granted))
    }

    /// What a lease has left; `None` for one that is unknown.
    ///
    /// # Errors
    /// No leader answered until the deadline.
    pub async fn lease_times(&self, lease: LeaseId) -> Result<Option<LeaseTimes>, Unavailable> {
        self.core.lease_anywhere(lease, Kind::LeaseTimes, Lessor::times).await
    }

    /// A consistent image of the store as a stream: what a backup is made of.
    ///
    /// # Errors
    /// One line that says why there is none.
    pub async fn image(&self) -> Result<ImageStream, String> {
        crate::checkpointer::checkpoint(&self.core).await?;
        let image = self.core.applier.pin_image(Arc::clone(&self.core.jobs)).await;
        image.map(|image| ImageStream::new(&image)).map_err(|e| e.to_string())
    }

    /// Hands leadership to another voting member.
    ///
    /// # Errors
    /// See [`MoveLeaderError`].
    pub async fn move_leader(&self, to: MemberId) -> Result<(), MoveLeaderError> {
        let state = self.core.engine.state();
        if state.role != Role::Leader {
            return Err(MoveLeaderError::NotLeader);
        }
        if !state.voters.contains(&to) {
            return Err(MoveLeaderError::BadTransferee);
        }
        if to == self.member_id() {
            return Ok(());
        }
        let limit = self.core.timing.election * 2;
        if self.core.hand_leadership_to(to, limit).await {
            Ok(())
        } else {
            Err(MoveLeaderError::TimedOut)
        }
    }

    /// Sixty-four random bits, for ids that the server chooses.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        self.core.random.next_u64()
    }

    /// The member's clock.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.core.clock)
    }

    /// Is ready after `duration` of the member's time.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.core.tasks.sleep(duration)
    }

    /// Answers a message from another member. Servers of the peer port call this.
    pub async fn serve_peer(&self, request: CallRequest) -> CallResponse {
        self.core.serve(request).await
    }

    /// Is ready when the member has ended, with the reason.
    pub async fn stopped(&self) -> String {
        let receiver = {
            let mut ending = self.core.ending.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(reason) = &ending.reason {
                return reason.clone();
            }
            let (sender, receiver) = oneshot::channel();
            ending.waiting.push(sender);
            receiver
        };
        receiver.await.unwrap_or_else(|_| "member was dropped".to_owned())
    }

    /// Ends the member cleanly: hands leadership over, makes everything durable, ends its tasks.
    pub async fn stop(&self) {
        self.core.stop().await;
    }
}

impl Core {
    /// Asks `to` to lead and waits until this member leads no more.
    pub(crate) async fn hand_leadership_to(&self, to: MemberId, limit: Duration) -> bool {
        self.engine.transfer(to).await;
        let gone = async {
            while self.engine.leads().is_some() || self.engine.leader().is_none() {
                self.tasks.sleep(RETRY).await;
            }
        };
        within(&*self.tasks, limit, gone).await.is_some()
    }

    pub(crate) async fn stop(self: &Arc<Self>) {
        if self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        let state = self.engine.state();
        if state.role == Role::Leader {
            let heir = state
                .matching
                .iter()
                .filter(|(id, _)| **id != self.member() && state.voters.contains(id))
                .max_by_key(|(_, index)| **index)
                .map(|(id, _)| *id);
            if let Some(heir) = heir {
                // Without an heir in time the others elect a leader when they miss this one.
                self.hand_leadership_to(heir, self.timing.election / 2).await;
            }
        }
        if let Err(why) = crate::checkpointer::checkpoint(self).await {
            tracing::warn!(%why, "no checkpoint at the stop; the next start replays the log");
        }
        self.engine.shutdown().await;
        let (sender, closed) = oneshot::channel();
        self.wal.close(Box::new(move |result| drop(sender.send(result))));
        drop(within(&*self.tasks, self.timing.election, closed).await);
        self.end("member was stopped");
    }
}
