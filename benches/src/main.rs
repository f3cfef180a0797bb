//! A lean load generator for any endpoint that speaks etcd's API or Kubernetes'.
//!
//! ```text
//!   client 1 ─┐                                      every client: one request under way,
//!   client 2 ─┼─ connection 1 ─► endpoint 1          the next when the answer is there
//!   client 3 ─┼─ connection 2 ─► endpoint 2
//!      ...    ┘      ...            ...
//! ```
//!
//! What it measures is the server: all clients are tasks of one thread, values are made before the
//! clock starts, and [`wire`] does no more than a unary call needs. What it costs itself is printed
//! with the rest, since on a small machine that time is taken from the server. With the servers' process ids it also prints what they spent.
//!
//! Invariant: only operations that succeeded are counted, and one that failed fails the run.
//!
//! Deliberately missing: an open loop. A closed one answers how much a server does, and what it
//! costs; its latencies are those of a server that is as busy as it can be with so many clients.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod etcd;
mod load;
mod process;
mod rest;
mod wire;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use etcd::{Members, Plan, Work};
use load::{Outcome, Target};
use process::Spent;
use rest::{Objects, Wanted};
use tokio::task::LocalSet;

/// Runs load against any server of etcd's API or Kubernetes' and prints figures, one a line.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes values.
    Put(Load),
    /// Reads keys one by one, linearizably.
    Get(Load),
    /// Waits until the first endpoint answers a linearizable read, and prints how long that took.
    Await {
        /// URLs of members, with commas.
        #[arg(long, value_delimiter = ',', required = true)]
        endpoints: Vec<String>,
        /// How long to wait.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Creates objects of Kubernetes.
    CreateObjects(Rest),
    /// Reads objects of Kubernetes one by one, which must be there.
    GetObjects(Rest),
    /// Lists all objects of a namespace, one list after the other.
    ListObjects(Rest),
}

#[derive(Debug, Args)]
struct Rest {
    /// Where the server is and who asks it.
    #[arg(long)]
    kubeconfig: std::path::PathBuf,
    /// What objects.
    #[arg(long, value_enum, default_value_t = Wanted::Configmaps)]
    resource: Wanted,
    /// Where they are; the namespace must be there.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// About how long one is as JSON.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// The number of the first one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many clients, each with one request under way.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// How many connections they share; no more than there are clients.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// How many operations are measured.
    #[arg(long, default_value_t = 10_000)]
    total: u64,
    /// How many objects there are to be read: operations take any of them, each as likely.
    #[arg(long, default_value_t = 10_000)]
    objects: u64,
    /// How many watch the pods of a node each meanwhile; the run ends when they have seen all.
    #[arg(long, default_value_t = 0)]
    watchers: u64,
    /// Process ids of the servers, with commas: what they spent is printed.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

#[derive(Debug, Args)]
struct Load {
    /// URLs of members, with commas.
    #[arg(long, value_delimiter = ',', required = true)]
    endpoints: Vec<String>,
    /// How many clients, each with one request under way.
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// How many connections they share; no more than there are clients.
    #[arg(long, default_value_t = 8)]
    connections: u32,
    /// How many operations are measured.
    #[arg(long, default_value_t = 100_000)]
    total: u64,
    /// How many operations go before them.
    #[arg(long, default_value_t = 200)]
    warmup: u64,
    /// The length of a key.
    #[arg(long, default_value_t = 16)]
    key_bytes: usize,
    /// The length of a value.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// How many keys there are.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Which key is next.
    #[arg(long, value_enum, default_value_t = Order::Random)]
    order: Order,
    /// Process ids of the servers, with commas: what they spent is printed.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

/// Which key an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Any, each as likely.
    Random,
    /// One after the other: as many operations as keys write each of them once.
    Sequential,
}

fn main() -> ExitCode {
    // One thread: the clients need no locks, and leave the other processors to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(|e| format!("start the runtime: {e}")).and_then(|runtime| {
        LocalSet::new().block_on(&runtime, async {
            match Arguments::parse().command {
                Command::Put(load) => run(Work::Put, load).await,
                Command::Get(load) => run(Work::Get, load).await,
                Command::Await { endpoints, seconds } => {
                    let took = etcd::ready(&endpoints, Duration::from_secs(seconds)).await?;
                    println!("ready_ms {:.1}", took.as_secs_f64() * 1e3);
                    Ok(())
                }
                Command::CreateObjects(rest) => objects(rest::Verb::Create, rest).await,
                Command::GetObjects(rest) => objects(rest::Verb::Get, rest).await,
                Command::ListObjects(rest) => objects(rest::Verb::List, rest).await,
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("kstore-benches: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(work: Work, load: Load) -> Result<(), String> {
    if load.key_bytes + load.value_bytes > wire::PAYLOAD_MAX {
        return Err(format!("a key and a value are at most {} bytes", wire::PAYLOAD_MAX));
    }
    let payload = load.total as f64 * (load.key_bytes + load.value_bytes) as f64;
    let plan = Plan {
        work,
        key_bytes: load.key_bytes,
        value_bytes: load.value_bytes,
        keys: load.keys.max(1),
        order: load.order,
    };
    let connections = load.connections.clamp(1, load.clients.max(1)) as usize;
    let clients = load.clients as usize;
    let members = Members::connect(plan, &load.endpoints, connections).await?;
    if load.warmup > 0 {
        load::run(&members, clients, 0..load.warmup).await?;
    }
    let servers = measure(&members, clients, 0..load.total, &load.pids).await?;
    if work == Work::Put && !load.pids.is_empty() {
        println!("written_per_byte {:.2}", servers.written as f64 / payload);
    }
    Ok(())
}

async fn objects(verb: rest::Verb, rest: Rest) -> Result<(), String> {
    let connections = rest.connections.clamp(1, rest.clients.max(1));
    let plan = rest::Plan {
        verb,
        wanted: rest.resource,
        namespace: rest.namespace,
        bytes: rest.bytes,
        objects: rest.objects.max(1),
        watchers: rest.watchers,
    };
    let objects = Objects::connect(plan, &rest.kubeconfig, connections).await?;
    let numbers = rest.first..rest.first.saturating_add(rest.total);
    measure(&objects, rest.clients, numbers, &rest.pids).await?;
    println!("bytes_per_answer {:.0}", objects.bytes_per_answer());
    Ok(())
}

/// Does the operations, prints what came of them, and says what the servers spent.
async fn measure<T: Target + 'static>(
    target: &Rc<T>,
    clients: usize,
    numbers: std::ops::Range<u64>,
    pids: &[u32],
) -> Result<Spent, String> {
    let servers_before = process::of_all(pids)?;
    let own_before = process::of_self()?;
    let outcome = load::run(target, clients, numbers).await?;
    let own = process::of_self()?.since(&own_before);
    let servers = process::of_all(pids)?.since(&servers_before);
    tell(&outcome, &own);
    if !pids.is_empty() {
        tell_servers(&outcome, &servers);
    }
    match outcome.failure {
        Some(why) => Err(format!("{} operations failed, such as: {why}", outcome.failed)),
        None => Ok(servers),
    }
}

fn tell(outcome: &Outcome, own: &Spent) {
    let done = outcome.latencies.len();
    let seconds = outcome.took.as_secs_f64();
    let latencies = &outcome.latencies;
    println!("operations {done}");
    println!("failed {}", outcome.failed);
    println!("not_found {}", outcome.not_found);
    println!("seconds {seconds:.3}");
    println!("per_second {:.0}", done as f64 / seconds);
    println!("p50_us {}", latencies.value_at_quantile(0.50));
    println!("p99_us {}", latencies.value_at_quantile(0.99));
    println!("max_us {}", latencies.max());
    println!("client_cpu_seconds {:.2}", own.cpu_seconds);
    println!("client_cpu_per_million {:.1}", own.cpu_seconds * 1e6 / done.max(1) as f64);
}

fn tell_servers(outcome: &Outcome, servers: &Spent) {
    let done = outcome.latencies.len().max(1) as f64;
    println!("server_cpu_seconds {:.2}", servers.cpu_seconds);
    println!("server_cpu_per_million {:.1}", servers.cpu_seconds * 1e6 / done);
    println!("resident_mib {:.1}", servers.resident as f64 / f64::from(1 << 20));
    println!("peak_mib {:.1}", servers.peak as f64 / f64::from(1 << 20));
}
