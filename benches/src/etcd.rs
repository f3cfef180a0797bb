//! Puts and gets of etcd's API.

use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kstore_host::os::OsClock;
use kstore_host::{Clock, Random};
use kstore_proto::etcdserverpb as etcd;
use prost::Message;

use crate::Order;
use crate::load::{Found, Target};
use crate::wire::{Connection, Failure};

/// So many different values are made before the clock starts, and taken in turn.
const VALUES: usize = 64;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Puts of values of one length.
    Put,
    /// Linearizable gets of one key each.
    Get,
}

/// Which keys and values there are.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) work: Work,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) keys: u64,
    pub(crate) order: Order,
}

/// Members, and what to ask them.
#[derive(Debug)]
pub(crate) struct Members {
    plan: Plan,
    values: Vec<Bytes>,
    /// Clients share them in turn.
    connections: Vec<Connection>,
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

impl Members {
    /// Connects so many times, to the endpoints in turn.
    pub(crate) async fn connect(
        plan: Plan,
        endpoints: &[String],
        connections: usize,
    ) -> Result<Rc<Self>, String> {
        let mut open = Vec::new();
        for url in endpoints.iter().cycle().take(connections) {
            let connection = Connection::open(address(url), plan.work.path()).await;
            open.push(connection.map_err(|e| format!("connect to {url}: {e}"))?);
        }
        Ok(Rc::new(Self { values: values(&plan), plan, connections: open }))
    }

    /// The key of operation `number`: digits, filled up with zeros in front.
    fn key(&self, number: u64) -> Bytes {
        let key = match self.plan.order {
            Order::Sequential => number % self.plan.keys,
            Order::Random => scatter(number) % self.plan.keys,
        };
        let mut bytes = Vec::with_capacity(self.plan.key_bytes.max(20));
        write!(bytes, "{key:0width$}", width = self.plan.key_bytes)
            .expect("a vector takes what it is given");
        Bytes::from(bytes)
    }

    fn value(&self, number: u64) -> Bytes {
        let place = number % VALUES as u64;
        self.values[usize::try_from(place).expect("below VALUES")].clone()
    }
}

impl Target for Members {
    async fn operation(&self, client: usize, number: u64) -> Result<Found, String> {
        let connection = &self.connections[client % self.connections.len()];
        let key = self.key(number);
        let answer = match self.plan.work {
            Work::Put => put(connection, key, self.value(number)).await,
            Work::Get => get(connection, key).await,
        };
        answer.map_err(|failure| failure.to_string())
    }
}

fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url)
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

async fn put(connection: &Connection, key: Bytes, value: Bytes) -> Result<Found, Failure> {
    let request = etcd::PutRequest { key, value, ..etcd::PutRequest::default() };
    connection.call(&request).await.map(|_| Found::It)
}

async fn get(connection: &Connection, key: Bytes) -> Result<Found, Failure> {
    let request = etcd::RangeRequest { key, ..etcd::RangeRequest::default() };
    let answer = connection.call(&request).await?;
    let answer = etcd::RangeResponse::decode(answer).map_err(|_| Failure::Garbled)?;
    Ok(if answer.kvs.is_empty() { Found::Nothing } else { Found::It })
}

/// A number from which no pattern of `number` can be seen (the finalizer of splitmix64).
pub(crate) fn scatter(number: u64) -> u64 {
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
