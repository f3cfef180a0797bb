//! The closed loop: clients that send one request after the other until all are done.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use kstore_host::os::OsClock;
use kstore_host::{Clock, Random};
use kstore_proto::etcdserverpb as etcd;
use prost::Message;
use tokio::task::JoinSet;

use crate::Order;
use crate::wire::{Connection, Failure};

/// So many different values are made before the clock starts, and taken in turn.
const VALUES: usize = 64;

/// The latencies that are told apart: from a microsecond to a minute, in three digits.
const LATENCY_MAX_US: u64 = 60_000_000;
const LATENCY_DIGITS: u8 = 3;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Puts of values of one length.
    Put,
    /// Linearizable gets of one key each.
    Get,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) work: Work,
    pub(crate) endpoints: Vec<String>,
    pub(crate) clients: u32,
    pub(crate) connections: u32,
    pub(crate) total: u64,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) keys: u64,
    pub(crate) order: Order,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of the operations that succeeded, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) failed: u64,
    /// The first failure.
    pub(crate) failure: Option<Failure>,
    /// Gets of keys that were not there.
    pub(crate) not_found: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

/// What the clients, which are tasks of one thread, share.
#[derive(Debug)]
struct Shared {
    clock: OsClock,
    work: Work,
    key_bytes: usize,
    keys: u64,
    order: Order,
    values: Vec<Bytes>,
    /// Invariant: not borrowed while a client waits.
    progress: RefCell<Progress>,
}

#[derive(Debug)]
struct Progress {
    begun: u64,
    total: u64,
    outcome: Outcome,
}

impl Work {
    /// The method that is called, as a path.
    fn path(self) -> &'static str {
        match self {
            Self::Put => "/etcdserverpb.KV/Put",
            Self::Get => "/etcdserverpb.KV/Range",
        }
    }
}

/// A connection for each client; clients share connections, and these the endpoints, in turn.
pub(crate) async fn connect(plan: &Plan) -> Result<Vec<Rc<Connection>>, String> {
    let mut connections = Vec::new();
    for url in plan.endpoints.iter().cycle().take(plan.connections as usize) {
        let connection = Connection::open(address(url), plan.work.path()).await;
        connections.push(Rc::new(connection.map_err(|e| format!("connect to {url}: {e}"))?));
    }
    Ok(connections.iter().cycle().take(plan.clients as usize).cloned().collect())
}

fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url)
}

/// Runs all operations of `plan`, and waits for their answers.
pub(crate) async fn run(plan: &Plan, clients: &[Rc<Connection>]) -> Result<Outcome, String> {
    let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS);
    let latencies = latencies.map_err(|e| format!("make a histogram: {e}"))?;
    let outcome =
        Outcome { latencies, failed: 0, failure: None, not_found: 0, took: Duration::ZERO };
    let shared = Rc::new(Shared {
        clock: OsClock::start(),
        work: plan.work,
        key_bytes: plan.key_bytes,
        keys: plan.keys,
        order: plan.order,
        values: values(plan),
        progress: RefCell::new(Progress { begun: 0, total: plan.total, outcome }),
    });
    let began = shared.clock.monotonic();
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn_local(one_client(Rc::clone(&shared), Rc::clone(client)));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|e| format!("a client: {e}"))?;
    }
    let took = shared.clock.monotonic().saturating_sub(began);
    let shared = Rc::into_inner(shared).expect("the tasks, which had the other references, ended");
    Ok(Outcome { took, ..shared.progress.into_inner().outcome })
}

/// Random bytes, so that no server gains by compressing them.
fn values(plan: &Plan) -> Vec<Bytes> {
    if plan.work == Work::Get {
        return Vec::new();
    }
    let value = |_| {
        let mut bytes = vec![0; plan.value_bytes];
        kstore_host::os::OsRandom.fill(&mut bytes);
        Bytes::from(bytes)
    };
    (0..VALUES).map(value).collect()
}

async fn one_client(shared: Rc<Shared>, connection: Rc<Connection>) {
    while let Some(number) = shared.begin() {
        let key = shared.key(number);
        let began = shared.clock.monotonic();
        let answer = match shared.work {
            Work::Put => put(&connection, key, shared.value(number)).await,
            Work::Get => get(&connection, key).await,
        };
        shared.end(shared.clock.monotonic().saturating_sub(began), answer);
    }
}

/// Whether a key was found; a put always finds its own.
async fn put(connection: &Connection, key: Bytes, value: Bytes) -> Result<bool, Failure> {
    let request = etcd::PutRequest { key, value, ..etcd::PutRequest::default() };
    connection.call(&request).await.map(|_| true)
}

/// Whether the key was found.
async fn get(connection: &Connection, key: Bytes) -> Result<bool, Failure> {
    let request = etcd::RangeRequest { key, ..etcd::RangeRequest::default() };
    let answer = connection.call(&request).await?;
    let answer = etcd::RangeResponse::decode(answer).map_err(|_| Failure::Garbled)?;
    Ok(!answer.kvs.is_empty())
}

impl Shared {
    /// The number of the next operation, while there is one.
    fn begin(&self) -> Option<u64> {
        let mut progress = self.progress.borrow_mut();
        if progress.begun == progress.total {
            return None;
        }
        progress.begun += 1;
        Some(progress.begun - 1)
    }

    fn end(&self, took: Duration, answer: Result<bool, Failure>) {
        let outcome = &mut self.progress.borrow_mut().outcome;
        match answer {
            Ok(found) => {
                let microseconds = u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX_US);
                outcome.latencies.saturating_record(microseconds.max(1));
                outcome.not_found += u64::from(!found);
            }
            Err(status) => {
                outcome.failed += 1;
                outcome.failure.get_or_insert(status);
            }
        }
    }

    /// The key of operation `number`: digits, filled up with zeros in front.
    fn key(&self, number: u64) -> Bytes {
        let key = match self.order {
            Order::Sequential => number % self.keys,
            Order::Random => scatter(number) % self.keys,
        };
        let mut bytes = Vec::with_capacity(self.key_bytes.max(20));
        write!(bytes, "{key:0width$}", width = self.key_bytes)
            .expect("a vector takes what it is given");
        Bytes::from(bytes)
    }

    fn value(&self, number: u64) -> Bytes {
        let place = number % VALUES as u64;
        self.values[usize::try_from(place).expect("below VALUES")].clone()
    }
}

/// A number from which no pattern of `number` can be seen (the finalizer of splitmix64).
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Waits until the first of `endpoints` answers a linearizable read; how long that took.
pub(crate) async fn ready(endpoints: &[String], within: Duration) -> Result<Duration, String> {
    const ASK_EVERY: Duration = Duration::from_millis(2);
    let clock = OsClock::start();
    let url = endpoints.first().ok_or("there must be an endpoint")?;
    loop {
        let asked = ask(url).await;
        let now = clock.monotonic();
        match asked {
            Ok(()) => return Ok(now),
            Err(why) if now > within => return Err(format!("{url} is not ready: {why}")),
            Err(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

async fn ask(url: &str) -> Result<(), String> {
    let connection = Connection::open(address(url), Work::Get.path()).await;
    let connection = connection.map_err(|e| e.to_string())?;
    let found = get(&connection, Bytes::from_static(b"ready")).await;
    found.map(|_| ()).map_err(|e| e.to_string())
}
