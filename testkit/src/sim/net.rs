//! Links between members: bytes that arrive late, or not at all.
//!
//! ```text
//!   call(1 → 2) ── fate(1→2) ──► handler of 2, as a task of 2 ── fate(2→1) ──► answer
//!                    │ lost, cut        │ not serving: refused       │ lost, cut
//!                    ▼                  ▼                            ▼
//!                 silence until the caller's limit: it cannot tell which of them it was
//! ```
//!
//! What is under way belongs to nobody: it arrives although its sender has died meanwhile. Within
//! one [`Channel`] from one member to another, bytes arrive in the order in which they were sent,
//! as on a connection. Each direction of a link has its own options and can be cut on its own.
//! Nothing is ever delivered twice: a connection does not do that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft_rt::{AsyncRuntime, Oneshot, OneshotSender};
use openraft_rt_tokio::TokioOneshot;

use super::BoxFuture;
use super::jobs::Latency;
use super::runtime::SimRuntime;
use super::world::{self, HARNESS, World};
use crate::Prng;

/// Names a connection between two members: order holds within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel(pub u32);

/// How one direction of a link behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkOptions {
    /// How long bytes are under way.
    pub delay: Latency,
    /// One in this many messages is lost; zero means none.
    pub loss_one_in: u64,
    /// What the link carries, if that matters: large messages then take longer.
    pub bytes_per_second: Option<u64>,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            delay: Latency::between(Duration::from_micros(50), Duration::from_micros(500)),
            loss_one_in: 0,
            bytes_per_second: None,
        }
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives when the world's clock shows this.
    Arrives(Duration),
    /// It does not arrive.
    Lost,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError {
    /// Nothing came back in time. The request may have been carried out.
    TimedOut,
    /// Nobody serves there. The request was not carried out.
    Refused,
    /// The other side went away meanwhile. The request may have been carried out.
    Reset,
}

impl Display for CallError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "no answer in time",
            Self::Refused => "connection refused",
            Self::Reset => "connection reset",
        })
    }
}

impl std::error::Error for CallError {}

/// What a member does with a request: given the caller, the channel and the bytes, it answers.
pub type Handler = Arc<dyn Fn(u64, Channel, Bytes) -> BoxFuture<'static, Bytes> + Send + Sync>;

/// The net between members. Clones are handles on the same one.
#[derive(Clone)]
pub struct SimNet {
    world: World,
    state: Arc<Mutex<State>>,
}

struct State {
    prng: Prng,
    options: LinkOptions,
    /// Directions that differ from `options`.
    links: BTreeMap<(u64, u64), LinkOptions>,
    /// Directions that carry nothing.
    cut: BTreeSet<(u64, u64)>,
    /// When the last message of each channel arrives.
    last: BTreeMap<(u64, u64, Channel), Duration>,
    handlers: BTreeMap<u64, Handler>,
    carried: u64,
    lost: u64,
}

impl Debug for SimNet {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("SimNet")
            .field("carried", &state.carried)
            .field("lost", &state.lost)
            .field("cut", &state.cut)
            .finish_non_exhaustive()
    }
}

/// Links.
impl SimNet {
    /// A net in which every direction of every link behaves by `options`.
    #[must_use]
    pub fn new(world: &World, seed: u64, options: LinkOptions) -> Self {
        let state = State {
            prng: Prng::of("net", seed),
            options,
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            last: BTreeMap::new(),
            handlers: BTreeMap::new(),
            carried: 0,
            lost: 0,
        };
        Self { world: world.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how every direction behaves, but for those with options of their own.
    pub fn set_options(&self, options: LinkOptions) {
        self.state().options = options;
    }

    /// Changes how one direction behaves.
    pub fn set_link(&self, from: u64, to: u64, options: LinkOptions) {
        self.state().links.insert((from, to), options);
    }

    /// Cuts one direction.
    pub fn cut(&self, from: u64, to: u64) {
        self.state().cut.insert((from, to));
    }

    /// Mends one direction.
    pub fn mend(&self, from: u64, to: u64) {
        self.state().cut.remove(&(from, to));
    }

    /// Cuts both directions between every member of one side and every member of the other.
    pub fn part(&self, one: &[u64], other: &[u64]) {
        let mut state = self.state();
        for a in one {
            for b in other.iter().filter(|b| *b != a) {
                state.cut.insert((*a, *b));
                state.cut.insert((*b, *a));
            }
        }
    }

    /// Mends everything that is cut and forgets the options of single directions.
    pub fn heal(&self) {
        let mut state = self.state();
        state.cut.clear();
        state.links.clear();
    }

    /// Whether one direction is cut.
    #[must_use]
    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.state().cut.contains(&(from, to))
    }

    /// How many messages were carried, and how many were lost.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.carried, state.lost)
    }

    /// Decides what becomes of a message of `length` bytes that is sent now.
    pub fn fate(&self, from: u64, to: u64, channel: Channel, length: usize) -> Fate {
        let now = self.world.now();
        let mut state = self.state();
        let State { prng, options, links, cut, last, .. } = &mut *state;
        let link = links.get(&(from, to)).unwrap_or(options);
        let lost = link.loss_one_in > 0 && prng.one_in(link.loss_one_in);
        let delay = link.delay.draw(prng);
        let carrying = link.bytes_per_second.map_or(Duration::ZERO, |rate| {
            let nanos = u128::from(length as u64) * 1_000_000_000 / u128::from(rate.max(1));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        });
        let fate = if lost || cut.contains(&(from, to)) {
            Fate::Lost
        } else {
            let before = last.entry((from, to, channel)).or_default();
            let arrival = (now + delay + carrying).max(*before + Duration::from_nanos(1));
            *before = arrival;
            Fate::Arrives(arrival)
        };
        match fate {
            Fate::Arrives(_) => state.carried += 1,
            Fate::Lost => state.lost += 1,
        }
        drop(state);
        let mut line = Vec::new();
        for word in [from, to, u64::from(channel.0), length as u64] {
            line.extend(word.to_le_bytes());
        }
        line.push(u8::from(fate == Fate::Lost));
        self.world.trace(&line);
        fate
    }
}

type Answer = Result<Bytes, CallError>;
type AnswerSender = <TokioOneshot as Oneshot>::Sender<Answer>;

/// One call under way.
struct Request {
    from: u64,
    to: u64,
    channel: Channel,
    bytes: Bytes,
    /// How long the caller waits at most.
    limit: Duration,
    answer: AnswerSender,
}

/// Calls.
impl SimNet {
    /// Lets `member` answer calls through `handler` from now on.
    pub fn serve(&self, member: u64, handler: Handler) {
        self.state().handlers.insert(member, handler);
    }

    /// Lets calls to `member` be refused from now on.
    pub fn stop_serving(&self, member: u64) {
        let handler = self.state().handlers.remove(&member);
        drop(handler);
    }

    /// Sends `bytes` from `from`, who must be the current member, to `to`, and waits for the
    /// answer, at most for `limit` by the caller's clock.
    pub async fn call(
        &self,
        from: u64,
        to: u64,
        channel: Channel,
        bytes: Bytes,
        limit: Duration,
    ) -> Answer {
        let (answer, answered) = TokioOneshot::channel();
        let fate = self.fate(from, to, channel, bytes.len());
        let Fate::Arrives(arrival) = fate else {
            world::sleep(limit).await;
            return Err(CallError::TimedOut);
        };
        let request = Request { from, to, channel, bytes, limit, answer };
        let net = self.clone();
        self.world.spawn_on(HARNESS, async move {
            world::sleep_until(arrival).await;
            net.arrive(request).await;
        });
        match SimRuntime::timeout(limit, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Reset),
            Err(_) => Err(CallError::TimedOut),
        }
    }

    async fn arrive(self, request: Request) {
        let Request { from, to, channel, bytes, limit, answer } = request;
        let handler = self.state().handlers.get(&to).cloned();
        let Some(handler) = handler else {
            self.answer(to, from, channel, limit, Err(CallError::Refused), answer).await;
            return;
        };
        // Should the member die over it, the answer's sender is dropped: the caller sees a reset.
        let net = self.clone();
        self.world.spawn_on(to, async move {
            let bytes = handler(from, channel, bytes).await;
            net.world.clone().spawn_on(HARNESS, async move {
                net.answer(to, from, channel, limit, Ok(bytes), answer).await;
            });
        });
    }

    /// Carries an answer back.
    async fn answer(
        &self,
        from: u64,
        to: u64,
        channel: Channel,
        limit: Duration,
        answer: Answer,
        sender: AnswerSender,
    ) {
        let length = answer.as_ref().map_or(0, Bytes::len);
        match self.fate(from, to, channel, length) {
            Fate::Arrives(arrival) => {
                world::sleep_until(arrival).await;
                // The caller may have given up.
                drop(sender.send(answer));
            }
            Fate::Lost => {
                // Silence, not a reset: the sender is kept until the caller has given up.
                world::sleep(limit + limit).await;
            }
        }
    }
}
