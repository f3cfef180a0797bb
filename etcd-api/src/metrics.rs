//! What is counted, and how it reads: Prometheus' text form, with etcd's names where dashboards
//! know them.
//!
//! Counting costs one addition to a number of its own. Everything that the member or the machine
//! already knows is asked for when the page is read, and stored nowhere here.
//!
//! A method's code is the one that its answer began with: a stream that fails later counts as OK.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kstore_raft::{Role, Status};
use tonic::Code;

use crate::api::Api;
use crate::histogram::SyncTimes;
use crate::methods::METHODS;
use crate::pulse::working_leader;
use crate::version;

/// gRPC's codes are the numbers from 0 to 16.
const CODES: usize = 17;

/// The names of gRPC's codes, in the order of their numbers.
const CODE_NAMES: [&str; CODES] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one method.
#[derive(Debug)]
struct Calls {
    started: AtomicU64,
    handled: [AtomicU64; CODES],
}

/// Everything that the API counts by itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    calls: [Calls; METHODS.len()],
    /// Watch streams that are open.
    pub(crate) watch_streams: Gauge,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Proposals that were ordered and applied.
    pub(crate) proposals_applied: AtomicU64,
    /// Proposals that came to nothing.
    pub(crate) proposals_failed: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let calls = || Calls {
            started: AtomicU64::new(0),
            handled: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self {
            calls: std::array::from_fn(|_| calls()),
            watch_streams: Gauge::default(),
            connections: Gauge::default(),
            proposals_applied: AtomicU64::new(0),
            proposals_failed: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// A request for the method at `place` of the table has come.
    pub(crate) fn started(&self, place: usize) {
        self.calls[place].started.fetch_add(1, Ordering::Relaxed);
    }

    /// Its answer has begun.
    pub(crate) fn handled(&self, place: usize, code: Code) {
        let code = usize::try_from(i32::from(code)).unwrap_or(0).min(CODES - 1);
        self.calls[place].handled[code].fetch_add(1, Ordering::Relaxed);
    }
}

/// A page in the making.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn value(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.value(name, "", value);
    }
}

/// The page as it is now.
pub(crate) fn render(api: &Api) -> String {
    let status = api.member().status();
    let mut page = Page(String::with_capacity(16 * 1024));
    server(&mut page, api, &status);
    store(&mut page, api, &status);
    disk(&mut page, api.syncs());
    calls(&mut page, api.metrics());
    process(&mut page, api.begun());
    page.0
}

fn server(page: &mut Page, api: &Api, status: &Status) {
    let metrics = api.metrics();
    let has_leader = u8::from(working_leader(status).is_some());
    let is_leader = u8::from(status.role == Role::Leader);
    let is_learner = u8::from(status.role == Role::Learner);
    let number = |index: Option<kstore_mvcc::Index>| index.map_or(0, |index| index.0);
    let applied = metrics.proposals_applied.load(Ordering::Relaxed);
    let failed = metrics.proposals_failed.load(Ordering::Relaxed);
    page.one("etcd_server_has_leader", "gauge", "Whether or not a leader exists.", has_leader);
    page.one("etcd_server_is_leader", "gauge", "Whether or not this member leads.", is_leader);
    page.one("etcd_server_is_learner", "gauge", "Whether or not this is a learner.", is_learner);
    page.one(
        "etcd_server_leader_changes_seen_total",
        "counter",
        "The number of leader changes seen.",
        status.leader_changes,
    );
    page.one(
        "kstore_raft_leader_silence_max_seconds",
        "gauge",
        "The longest time between two messages of one leader while this member followed it.",
        status.longest_silence.as_secs_f64(),
    );
    page.one(
        "etcd_server_proposals_committed_total",
        "gauge",
        "The index of the last committed entry.",
        number(status.committed_index),
    );
    page.one(
        "etcd_server_proposals_applied_total",
        "gauge",
        "The index of the last applied entry.",
        number(status.applied_index),
    );
    page.one(
        "etcd_server_proposals_pending",
        "gauge",
        "The number of proposals that wait for their outcome.",
        status.proposals_pending,
    );
    page.one(
        "etcd_server_proposals_failed_total",
        "counter",
        "The number of proposals without an outcome.",
        failed,
    );
    page.one(
        "kstore_server_proposals_answered_total",
        "counter",
        "The number of proposals of this member that were applied.",
        applied,
    );
    let quota = api.settings().quota_bytes.unwrap_or(0);
    page.one("etcd_server_quota_backend_bytes", "gauge", "The quota in bytes.", quota);
    page.head("etcd_server_version", "gauge", "Which version is running.");
    page.value("etcd_server_version", &format!("{{server_version=\"{}\"}}", version::SERVER), 1);
    page.head("etcd_server_id", "gauge", "Server or member ID in hexadecimal format.");
    let id = api.member().member_id();
    page.value("etcd_server_id", &format!("{{server_id=\"{id}\"}}"), 1);
    page.one(
        "etcd_network_client_connections",
        "gauge",
        "The number of open client connections.",
        metrics.connections.value(),
    );
}

fn store(page: &mut Page, api: &Api, status: &Status) {
    let snapshot = api.member().snapshot();
    page.one(
        "etcd_mvcc_db_total_size_in_bytes",
        "gauge",
        "Size of the store's files in bytes.",
        status.store_bytes,
    );
    page.one(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "gauge",
        "Bytes of the store's files that are in use.",
        status.store_bytes_in_use,
    );
    page.one(
        "etcd_debugging_mvcc_current_revision",
        "gauge",
        "The current revision of the store.",
        status.revision.0,
    );
    page.one(
        "etcd_debugging_mvcc_compact_revision",
        "gauge",
        "The revision of the last compaction.",
        snapshot.compacted().0,
    );
    page.one(
        "etcd_debugging_mvcc_watcher_total",
        "gauge",
        "The number of watches.",
        api.member().watches(),
    );
    page.one(
        "etcd_debugging_mvcc_watch_stream_total",
        "gauge",
        "The number of watch streams.",
        api.metrics().watch_streams.value(),
    );
}

fn calls(page: &mut Page, metrics: &Metrics) {
    let each = || METHODS.iter().zip(&metrics.calls);
    page.head(
        "grpc_server_started_total",
        "counter",
        "Total number of RPCs started on the server.",
    );
    for (method, calls) in each() {
        let started = calls.started.load(Ordering::Relaxed);
        if started > 0 {
            let (service, name) = method.names();
            let kind = method.kind.name();
            let labels = format!(
                "{{grpc_method=\"{name}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"}}"
            );
            page.value("grpc_server_started_total", &labels, started);
        }
    }
    page.head(
        "grpc_server_handled_total",
        "counter",
        "Total number of RPCs answered on the server, by code.",
    );
    for (method, calls) in each() {
        for (code, handled) in CODE_NAMES.iter().zip(&calls.handled) {
            let handled = handled.load(Ordering::Relaxed);
            if handled == 0 {
                continue;
            }
            let (service, name) = method.names();
            let kind = method.kind.name();
            let labels = format!(
                "{{grpc_code=\"{code}\",grpc_method=\"{name}\",\
                 grpc_service=\"{service}\",grpc_type=\"{kind}\"}}"
            );
            page.value("grpc_server_handled_total", &labels, handled);
        }
    }
}

fn disk(page: &mut Page, syncs: &SyncTimes) {
    let log = "etcd_disk_wal_fsync_duration_seconds";
    page.head(log, "histogram", "The latency of syncs of the write-ahead log.");
    syncs.log.render(log, &mut page.0);
    let store = "etcd_disk_backend_commit_duration_seconds";
    page.head(store, "histogram", "The latency of syncs of the store's files.");
    syncs.store.render(store, &mut page.0);
}

/// What the kernel counts for this process.
fn process(page: &mut Page, begun: Duration) {
    page.one(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        begun.as_secs_f64(),
    );
    let Some(usage) = kstore_host::process::usage() else { return };
    page.one(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        usage.cpu.as_secs_f64(),
    );
    page.one(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        usage.resident_bytes,
    );
    page.one("process_open_fds", "gauge", "Number of open file descriptors.", usage.open_files);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let metrics = Metrics::default();
        let place = crate::methods::find("/etcdserverpb.KV/Put").unwrap();
        metrics.started(place);
        metrics.handled(place, Code::NotFound);
        let mut page = Page(String::new());
        calls(&mut page, &metrics);
        let expected = "grpc_server_handled_total{grpc_code=\"NotFound\",grpc_method=\"Put\",\
                        grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1\n";
        assert!(page.0.contains(expected), "{}", page.0);
        assert!(!page.0.contains("Range\""), "what was never called is not listed");
    }
}
