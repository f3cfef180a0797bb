//! One stream to a peer: requests go out as they come, and answers find their callers by number.
//!
//! ```text
//!   call ──► number, place in `callers` ──► outgoing ══ one HTTP/2 stream ══► the peer
//!     ▲                                                                         │ answers, in
//!     └────────── listen: callers[number] ◄══════════════════════════════════════┘ any order
//! ```
//!
//! A stream costs its headers once, and what is said at the same time goes out in one write; a
//! call of its own for each message costs several times as much as the message.
//!
//! Invariant: a caller hears an answer, or that the stream has ended, or gives up by itself; in
//! each case its place is free again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream;
use kstore_proto::peer::peer_client::PeerClient;
use kstore_proto::peer::{CallRequest, CallResponse};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel as Connection;
use tonic::{Status, Streaming};

/// Requests that wait to be written; at the bound callers wait, each no longer than its limit.
const OUTGOING: usize = 256;

/// A stream to a peer, open until one side ends it.
pub(super) struct Talk {
    outgoing: mpsc::Sender<CallRequest>,
    callers: Arc<Callers>,
}

/// Who waits for which answer. Bounded by the member's own requests in flight.
#[derive(Default)]
struct Callers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<CallResponse>>,
    /// Why the stream ended, if it did.
    ended: Option<Status>,
}

impl Callers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> Result<(u64, oneshot::Receiver<CallResponse>), Status> {
        let mut state = self.state();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        let (sender, answer) = oneshot::channel();
        state.next += 1;
        let number = state.next;
        state.waiting.insert(number, sender);
        Ok((number, answer))
    }

    fn why_ended(&self) -> Status {
        let ended = self.state().ended.clone();
        ended.unwrap_or_else(|| Status::unavailable("the stream to the peer has ended"))
    }
}

/// Frees a caller's place, however its call ends.
struct Place<'a> {
    callers: &'a Callers,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.callers.state().waiting.remove(&self.number);
    }
}

impl Talk {
    /// Opens a stream on a connection.
    pub(super) async fn open(mut client: PeerClient<Connection>) -> Result<Self, Status> {
        let (outgoing, mut requests) = mpsc::channel(OUTGOING);
        let requests = stream::poll_fn(move |context| requests.poll_recv(context));
        let answers = client.stream(requests).await?.into_inner();
        let callers = Arc::<Callers>::default();
        tokio::spawn(listen(answers, Arc::clone(&callers)));
        Ok(Self { outgoing, callers })
    }

    /// Sends a request and waits for its answer. An error is the stream's end.
    pub(super) async fn call(&self, mut request: CallRequest) -> Result<CallResponse, Status> {
        let Ok(room) = self.outgoing.reserve().await else { return Err(self.callers.why_ended()) };
        let (number, answer) = self.callers.enter()?;
        let _place = Place { callers: &self.callers, number };
        request.sequence = number;
        room.send(request);
        answer.await.map_err(|_| self.callers.why_ended())
    }
}

/// Hands answers to those who wait for them, until the stream ends.
async fn listen(mut answers: Streaming<CallResponse>, callers: Arc<Callers>) {
    let why = loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                let caller = callers.state().waiting.remove(&answer.sequence);
                // A caller that gave up no longer wants to know.
                caller.map(|caller| caller.send(answer));
            }
            Ok(None) => break Status::unavailable("the peer has ended the stream"),
            Err(status) => break status,
        }
    };
    let waiting = {
        let mut state = callers.state();
        state.ended = Some(why);
        std::mem::take(&mut state.waiting)
    };
    drop(waiting);
}
