//! Holds a lease, so that of several processes one works and the others wait.
//!
//! Times are upstream's: a lease holds for 15 s, is renewed every 2 s, and whoever could not renew
//! it for 10 s stops working, five seconds before somebody else may begin. Others' clocks are not
//! trusted: a lease has expired when it has not changed for as long as it holds, seen from here.

use std::time::Duration;

use http::Request;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::action;
use crate::world::{Failure, FailureKind};
use crate::writer;

const HOLDS_SECONDS: i32 = 15;
const HOLDS: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(2);
const GIVE_UP: Duration = Duration::from_secs(10);
const NAMESPACE: &str = "kube-system";

/// A lease that is ours.
pub(crate) struct Held {
    client: Client,
    name: &'static str,
    identity: String,
    lease: Lease,
}

/// Waits until the lease is free, and takes it.
pub(crate) async fn acquire(client: &Client, name: &'static str, identity: String) -> Held {
    let mut seen: Option<(Lease, Instant)> = None;
    loop {
        match read(client, name).await {
            Err(failure) if failure.kind == FailureKind::NotFound => {
                let lease = taken(new_lease(name), &identity);
                match write(client, "POST", &lease).await {
                    Ok(lease) => return held(client, name, identity, lease),
                    Err(failure) => debug!(name, error = failure.message, "cannot create a lease"),
                }
            }
            Err(failure) => debug!(name, error = failure.message, "cannot read a lease"),
            Ok(lease) => {
                let since = match &seen {
                    Some((known, since)) if known.spec == lease.spec => *since,
                    _ => Instant::now(),
                };
                let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
                let free = holder.is_none_or(|holder| holder.is_empty() || holder == identity)
                    || since.elapsed() > HOLDS;
                if free
                    && let Ok(lease) = write(client, "PUT", &taken(lease.clone(), &identity)).await
                {
                    return held(client, name, identity, lease);
                }
                seen = Some((lease, since));
            }
        }
        tokio::time::sleep(RENEW).await;
    }
}

fn held(client: &Client, name: &'static str, identity: String, lease: Lease) -> Held {
    info!(name, identity, "leads");
    Held { client: client.clone(), name, identity, lease }
}

impl Held {
    /// Renews the lease; returns its name when it is lost.
    pub(crate) async fn keep(mut self) -> &'static str {
        let mut renewed = Instant::now();
        while renewed.elapsed() < GIVE_UP {
            tokio::time::sleep(RENEW).await;
            let next = taken(self.lease.clone(), &self.identity);
            let attempt = tokio::time::timeout(GIVE_UP, write(&self.client, "PUT", &next));
            match attempt.await {
                Ok(Ok(lease)) => {
                    self.lease = lease;
                    renewed = Instant::now();
                }
                Ok(Err(failure)) if failure.kind == FailureKind::Conflict => {
                    if !self.is_still_ours().await {
                        break;
                    }
                }
                _ => debug!(name = self.name, "cannot renew a lease"),
            }
        }
        self.name
    }

    async fn is_still_ours(&mut self) -> bool {
        let Ok(lease) = read(&self.client, self.name).await else { return true };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        let ours = holder == Some(&self.identity);
        self.lease = lease;
        ours
    }
}

fn new_lease(name: &str) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        spec: None,
    }
}

/// The lease as it is when we hold it from now on.
fn taken(mut lease: Lease, identity: &str) -> Lease {
    let now = MicroTime(Timestamp::now());
    let before = lease.spec.take().unwrap_or_default();
    let same = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.unwrap_or(0);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(HOLDS_SECONDS),
        acquire_time: before.acquire_time.filter(|_| same).or_else(|| Some(now.clone())),
        renew_time: Some(now),
        lease_transitions: Some(if same || before.holder_identity.is_none() {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..LeaseSpec::default()
    });
    lease
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

async fn read(client: &Client, name: &str) -> Result<Lease, Failure> {
    let request = Request::get(format!("{LEASES}/{name}"))
        .body(Vec::new())
        .expect("the names of our leases are path segments");
    client.request(request).await.map_err(writer::failure)
}

async fn write(client: &Client, method: &str, lease: &Lease) -> Result<Lease, Failure> {
    let name = lease.metadata.name.as_deref().unwrap_or_default();
    let path = if method == "POST" { LEASES.to_owned() } else { format!("{LEASES}/{name}") };
    let request = writer::call(method, path, "application/json", &action::value(lease));
    client.request(request).await.map_err(writer::failure)
}
