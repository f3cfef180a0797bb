//! The `kubernetes` service, behind which every API server stands that is alive.
//!
//! ```text
//!   each server, every ten seconds:   /registry/masterleases/<address>:<port>, on a lease of fifteen
//!                                     all that are there ─► endpoints and endpoint slice
//! ```
//!
//! Whoever stops saying so is left out when its lease ends. (Upstream's way; its own servers' entries,
//! which name no port, are read, too.) All servers make the same of the same entries, so that they do
//! not overwrite one another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::auth::lookup::Answer;
use crate::auth::{MASTERS, User};
use crate::kinds;
use crate::registry::stored::{behind, encode};
use crate::registry::{Call, DryRun, Part, failure, object_of};
use crate::server::Server;
use crate::storage::{Counting, Freshness, Guarded, ListQuery, Written};

/// How often the server looks after its own service.
const SERVICE: Duration = Duration::from_secs(10);

/// How many seconds a server counts as alive after it said so.
const ALIVE: i64 = 15;

/// Where they say so.
const SERVERS: &str = "/registry/masterleases/";

/// How many servers are listed at most; more are not told.
const MOST: usize = 1000;

/// The addresses of the servers that are alive, by their ports.
type Alive = BTreeMap<u16, BTreeSet<Ipv4Addr>>;

/// Keeps the `kubernetes` service and its endpoints.
pub(super) async fn keep(server: Arc<Server>) {
    loop {
        if let Err(status) = publish(&server).await {
            tracing::warn!(why = %status, "the kubernetes service is not as it should be");
        }
        sleep(SERVICE).await;
    }
}

async fn publish(server: &Server) -> Answer<()> {
    let (address, port) = server.advertised;
    let service = json!({
        "kind": "Service", "apiVersion": "v1",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": server.registry.network.address(1).to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    server.ensure("", "services", service, &[]).await?;
    if address.is_loopback() {
        // Nobody else could reach it there, and endpoints refuse such addresses.
        return Ok(());
    }
    server.say_alive().await?;
    let alive = server.alive().await?;
    server.ensure("", "endpoints", endpoints(&alive), &["subsets"]).await?;
    let slice = slice(&alive);
    server.ensure("discovery.k8s.io", "endpointslices", slice, &["endpoints", "ports"]).await
}

/// The servers as endpoints: a subset for each port.
fn endpoints(alive: &Alive) -> Value {
    let subset = |(port, addresses): (&u16, &BTreeSet<Ipv4Addr>)| {
        let addresses: Vec<Value> =
            addresses.iter().map(|address| json!({"ip": address.to_string()})).collect();
        json!({"addresses": addresses, "ports": ports(*port)})
    };
    json!({
        "kind": "Endpoints", "apiVersion": "v1",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": alive.iter().map(subset).collect::<Vec<_>>(),
    })
}

/// The servers as a slice. A slice has one list of ports for all, so of servers on several ports
/// those on the lowest are in it.
fn slice(alive: &Alive) -> Value {
    let (port, addresses) = match alive.first_key_value() {
        Some((port, addresses)) => (*port, addresses.iter().collect()),
        None => (0, Vec::new()),
    };
    let endpoint = |address: &Ipv4Addr| json!({"addresses": [address.to_string()], "conditions": {"ready": true}});
    json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": addresses.into_iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports(port),
    })
}

fn ports(port: u16) -> Value {
    json!([{"name": "https", "port": port, "protocol": "TCP"}])
}

impl Server {
    /// Says that this server is alive.
    async fn say_alive(&self) -> Answer<()> {
        let storage = &self.registry.storage;
        let (address, port) = self.advertised;
        let key = Bytes::from(format!("{SERVERS}{address}:{port}"));
        let own = Alive::from([(port, BTreeSet::from([address]))]);
        let Value::Object(object) = endpoints(&own) else { return Ok(()) };
        let value = encode(object)?;
        let lease = storage.grant_lease(ALIVE).await.map_err(failure)?;
        let got = storage.get(key.clone(), Freshness::Latest).await.map_err(failure)?;
        let expected = got.stored.map_or(0, |stored| stored.mod_revision);
        let write = Guarded { key, expected, value: Some(value), lease };
        match storage.write(vec![write]).await.map_err(failure)? {
            Written::Done { .. } => {}
            // The old lease has just ended; the next round says it again.
            Written::Refused { .. } => tracing::debug!("another entry for this server"),
        }
        Ok(())
    }

    /// The servers that are alive.
    async fn alive(&self) -> Answer<Alive> {
        let Some(kind) = kinds::by_resource("", "v1", "endpoints") else { return Ok(Alive::new()) };
        let query = ListQuery {
            start: Bytes::from_static(SERVERS.as_bytes()),
            end: behind(SERVERS),
            limit: MOST,
            freshness: Freshness::Latest,
            counting: Counting::None,
        };
        let listed = self.registry.storage.list(query).await.map_err(failure)?;
        // Who is advertised is alive, whatever the store says.
        let (address, own_port) = self.advertised;
        let mut alive = Alive::from([(own_port, BTreeSet::from([address]))]);
        for stored in &listed.items {
            let object = Value::Object(object_of(kind, &stored.value, stored.mod_revision)?);
            let subset = &object["subsets"][0];
            let port = subset["ports"][0]["port"].as_u64();
            let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(own_port);
            let address = subset["addresses"][0]["ip"].as_str().unwrap_or_default();
            if let Ok(address) = address.parse() {
                alive.entry(port).or_default().insert(address);
            }
        }
        Ok(alive)
    }

    /// Makes an object if there is none, and sets those of its members that are the server's.
    async fn ensure(&self, group: &str, resource: &str, wanted: Value, own: &[&str]) -> Answer<()> {
        let (Some(kind), Value::Object(wanted)) =
            (kinds::by_resource(group, "v1", resource), wanted)
        else {
            return Ok(());
        };
        let user = User { groups: vec![MASTERS.to_owned()], ..User::default() };
        let call = Call {
            user: &user,
            kind,
            subresource: None,
            namespace: "default",
            name: "kubernetes",
            dry_run: DryRun::No,
            warnings: std::sync::Mutex::default(),
        };
        let changed = self.registry.change(&call, Part::Main, |old| {
            let mut new = old.clone();
            for name in own {
                if let Some(value) = wanted.get(*name) {
                    new.insert((*name).to_owned(), value.clone());
                }
            }
            Ok(new)
        });
        match changed.await {
            Err(status) if status.code == 404 => {
                self.registry.create(&call, wanted).await.map(drop)
            }
            other => other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_on_one_port_are_one_subset_and_the_slice() {
        let addresses = ["10.0.0.2", "10.0.0.1"].map(|address| address.parse().unwrap());
        let alive = Alive::from([(6443, BTreeSet::from(addresses))]);
        let subsets = endpoints(&alive)["subsets"].clone();
        assert_eq!(subsets.as_array().unwrap().len(), 1);
        assert_eq!(subsets[0]["addresses"], json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]));
        assert_eq!(slice(&alive)["endpoints"].as_array().unwrap().len(), 2);
    }
}
