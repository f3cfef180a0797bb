//! Addresses and ports of services: each is a key, so that two services never have the same.
//!
//! ```text
//!   /registry/kstore.io/clusterips/10.96.0.10     "default/web"
//!   /registry/kstore.io/nodeports/30080           "default/web"
//! ```
//!
//! The keys are written and deleted in the same write as the service, guarded by being absent or
//! its own: there is no bitmap that could differ from the services, and nothing to repair.
//!
//! Free addresses are found by trying random ones, and by walking on from the last try.

use std::net::Ipv4Addr;

use bytes::Bytes;
use serde_json::Value;

use super::{Call, Registry, failure, metadata};
use crate::auth::lookup::Answer;
use crate::field::{FieldErrors, Path};
use crate::kinds::Kind;
use crate::object::{self, Object};
use crate::status::Status;
use crate::storage::{Freshness, Guarded};

/// The addresses of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceNetwork {
    /// The first address of the range, which is nobody's.
    pub(crate) base: Ipv4Addr,
    /// How many bits of it are the range's.
    pub(crate) bits: u8,
}

/// The ports that nodes open for services.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// How many candidates are tried.
const TRIES: usize = 64;

const ADDRESSES: &str = "/registry/kstore.io/clusterips/";
const PORTS: &str = "/registry/kstore.io/nodeports/";

impl ServiceNetwork {
    /// How many addresses there are.
    fn size(self) -> u32 {
        1_u32.checked_shl(32 - u32::from(self.bits)).unwrap_or(u32::MAX)
    }

    /// The address at a place in the range.
    pub(crate) fn address(self, place: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base).wrapping_add(place))
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address).wrapping_sub(u32::from(self.base)) < self.size()
    }
}

impl std::str::FromStr for ServiceNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a range of addresses such as 10.96.0.0/12");
        let (base, bits) = text.split_once('/').ok_or_else(wrong)?;
        let base: Ipv4Addr = base.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        if !(8..=30).contains(&bits) {
            return Err(wrong());
        }
        Ok(Self { base, bits })
    }
}

/// What a service has reserved.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    address: Option<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Held {
    fn of(service: Option<&Object>) -> Self {
        let Some(service) = service else { return Self::default() };
        let address = object::text(service, &["spec", "clusterIP"]).parse().ok();
        let number = |port: &Value| port.get("nodePort")?.as_u64()?.try_into().ok();
        let mut ports: Vec<u16> =
            object::list(service, &["spec", "ports"]).iter().filter_map(number).collect();
        ports.retain(|port| *port != 0);
        ports.sort_unstable();
        ports.dedup();
        Self { address, ports }
    }

    fn keys(&self) -> Vec<Bytes> {
        let address = self.address.iter().map(|address| format!("{ADDRESSES}{address}"));
        let ports = self.ports.iter().map(|port| format!("{PORTS}{port}"));
        address.chain(ports).map(Bytes::from).collect()
    }
}

impl Registry {
    /// Reserves what a service needs and does not have, and lets go of what it needs no more.
    pub(super) async fn reserve(
        &self,
        call: &Call<'_>,
        new: &mut Object,
        old: Option<&Object>,
    ) -> Answer<Vec<Guarded>> {
        if !is_service(call.kind) {
            return Ok(Vec::new());
        }
        keep_address(new, old);
        self.give_address(new).await?;
        self.give_ports(new, old).await?;
        complete(new);
        let owner = owner_of(call, new);
        let (before, after) = (Held::of(old).keys(), Held::of(Some(new)).keys());
        let mut writes = Vec::new();
        for key in after.iter().filter(|key| !before.contains(key)) {
            self.check_free(call.kind, new, key).await?;
            let value = Some(owner.clone());
            writes.push(Guarded { key: key.clone(), expected: 0, value, lease: 0 });
        }
        for key in before.iter().filter(|key| !after.contains(key)) {
            writes.extend(self.let_go(key, &owner).await?);
        }
        Ok(writes)
    }

    /// What goes together with a service.
    pub(super) async fn release(&self, call: &Call<'_>, old: &Object) -> Answer<Vec<Guarded>> {
        let mut writes = Vec::new();
        if is_service(call.kind) {
            let owner = owner_of(call, old);
            for key in Held::of(Some(old)).keys() {
                writes.extend(self.let_go(&key, &owner).await?);
            }
        }
        Ok(writes)
    }

    /// Lets go of a key, if it is the owner's.
    async fn let_go(&self, key: &Bytes, owner: &Bytes) -> Answer<Option<Guarded>> {
        let got = self.storage.get(key.clone(), Freshness::Latest).await.map_err(failure)?;
        let own = got.stored.filter(|stored| stored.value == *owner);
        Ok(own.map(|stored| Guarded {
            key: key.clone(),
            expected: stored.mod_revision,
            value: None,
            lease: 0,
        }))
    }

    /// 422 if the client asked for an address or a port that another service has, or that is none
    /// of ours.
    async fn check_free(&self, kind: &Kind, new: &Object, key: &Bytes) -> Answer<()> {
        let mut errors = FieldErrors::default();
        let text = String::from_utf8_lossy(key).into_owned();
        let address = text.strip_prefix(ADDRESSES).and_then(|text| text.parse().ok());
        if let Some(address) = address.filter(|address| !self.network.contains(*address)) {
            let path = Path::new("spec.clusterIPs");
            let why = format!(
                "failed to allocate IP {address}: the provided network does not match the current \
                 range"
            );
            errors.invalid(&path, Value::from(vec![address.to_string()]), why);
            return super::create::invalid_if(kind, new, &errors);
        }
        let port = text.strip_prefix(PORTS).and_then(|text| text.parse().ok());
        if let Some(port) = port.filter(|port| !NODE_PORTS.contains(port)) {
            let why = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                NODE_PORTS.start(),
                NODE_PORTS.end()
            );
            errors.invalid(&port_path(new, port), port, why);
            return super::create::invalid_if(kind, new, &errors);
        }
        if !self.is_taken(key).await? {
            return Ok(());
        }
        match text.strip_prefix(ADDRESSES) {
            Some(address) => {
                let path = Path::new("spec.clusterIPs");
                let why =
                    format!("failed to allocate IP {address}: provided IP is already allocated");
                errors.invalid(&path, Value::from(vec![address]), why);
            }
            None => {
                let port = port.unwrap_or(0);
                errors.invalid(&port_path(new, port), port, "provided port is already allocated");
            }
        }
        super::create::invalid_if(kind, new, &errors)
    }

    async fn is_taken(&self, key: &Bytes) -> Answer<bool> {
        let got = self.storage.get(key.clone(), Freshness::Latest).await.map_err(failure)?;
        Ok(got.stored.is_some())
    }

    async fn give_address(&self, new: &mut Object) -> Answer<()> {
        if !has_address(new) || !object::text(new, &["spec", "clusterIP"]).is_empty() {
            return Ok(());
        }
        let size = self.network.size();
        // Below the first sixteenth lie addresses that people choose (KEP-3070).
        let low = (size / 16).clamp(1, 256);
        let span = size.saturating_sub(low + 1).max(1);
        let start = u32::try_from(self.random.next_u64() % u64::from(span)).unwrap_or(0);
        for step in 0..TRIES {
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            let address = self.network.address(low + start.wrapping_add(step) % span);
            if !self.is_taken(&Bytes::from(format!("{ADDRESSES}{address}"))).await? {
                object::set(new, &["spec", "clusterIP"], address.to_string());
                return Ok(());
            }
        }
        Err(Box::new(Status::internal("failed to allocate a serviceIP: range is full")))
    }

    async fn give_ports(&self, new: &mut Object, old: Option<&Object>) -> Answer<()> {
        if !has_node_ports(new) {
            drop_node_ports(new, old);
            return Ok(());
        }
        let mut taken = Held::of(Some(new)).ports;
        let count = object::list(new, &["spec", "ports"]).len();
        for place in 0..count {
            let asked = object::list(new, &["spec", "ports"])[place].get("nodePort");
            if asked.and_then(Value::as_u64).unwrap_or(0) != 0 {
                continue;
            }
            let port = self.free_port(&taken).await?;
            taken.push(port);
            let ports = object::map_mut(new, &["spec"]).get_mut("ports");
            if let Some(Value::Object(entry)) = ports.and_then(|ports| ports.get_mut(place)) {
                entry.insert("nodePort".to_owned(), Value::from(port));
            }
        }
        Ok(())
    }

    async fn free_port(&self, taken: &[u16]) -> Answer<u16> {
        let span = NODE_PORTS.end() - NODE_PORTS.start() + 1;
        let start = u16::try_from(self.random.next_u64() % u64::from(span)).unwrap_or(0);
        for step in 0..TRIES {
            let step = u16::try_from(step).unwrap_or(u16::MAX);
            let port = NODE_PORTS.start() + start.wrapping_add(step) % span;
            let key = Bytes::from(format!("{PORTS}{port}"));
            if !taken.contains(&port) && !self.is_taken(&key).await? {
                return Ok(port);
            }
        }
        Err(Box::new(Status::internal("failed to allocate a nodePort: range is full")))
    }

    /// Five random letters, for names.
    pub(crate) fn suffix(&self) -> String {
        metadata::suffix(&*self.random)
    }
}

/// Where a service says this port.
fn port_path(service: &Object, port: u16) -> Path {
    let ports = object::list(service, &["spec", "ports"]);
    let says = |one: &Value| one.get("nodePort").and_then(Value::as_u64) == Some(port.into());
    let place = ports.iter().position(says).unwrap_or(0);
    Path::new("spec.ports").index(place).child("nodePort")
}

/// What the keys of a service hold.
fn owner_of(call: &Call<'_>, service: &Object) -> Bytes {
    Bytes::from(format!("{}/{}", call.namespace, object::name(service)))
}

fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.resource == "services"
}

fn has_address(service: &Object) -> bool {
    object::text(service, &["spec", "type"]) != "ExternalName"
}

fn has_node_ports(service: &Object) -> bool {
    match object::text(service, &["spec", "type"]) {
        "NodePort" => true,
        "LoadBalancer" => object::at(service, &["spec", "allocateLoadBalancerNodePorts"])
            .is_none_or(|value| value.as_bool() != Some(false)),
        _ => false,
    }
}

/// A service keeps its address unless it stops having one.
fn keep_address(new: &mut Object, old: Option<&Object>) {
    let Some(old) = old else { return };
    if has_address(new) && object::text(new, &["spec", "clusterIP"]).is_empty() {
        let address = object::text(old, &["spec", "clusterIP"]).to_owned();
        if !address.is_empty() {
            object::set(new, &["spec", "clusterIP"], address);
        }
    }
}

/// A service that is no longer for nodes loses the ports that it was given, if it still says them.
fn drop_node_ports(new: &mut Object, old: Option<&Object>) {
    let was_for_nodes = old.is_some_and(has_node_ports);
    let ports = object::map_mut(new, &["spec"]).get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if was_for_nodes {
            port.remove("nodePort");
        }
    }
}

/// What follows from the address.
fn complete(new: &mut Object) {
    if !has_address(new) {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            object::remove(new, &["spec", name]);
        }
        return;
    }
    let address = object::text(new, &["spec", "clusterIP"]).to_owned();
    if !address.is_empty() {
        object::set(new, &["spec", "clusterIPs"], Value::from(vec![address]));
    }
    object::set_default(new, &["spec", "ipFamilies"], Value::from(vec!["IPv4"]));
    object::set_default(new, &["spec", "ipFamilyPolicy"], "SingleStack");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_addresses_is_read_and_bounded() {
        let network: ServiceNetwork = "10.96.0.0/12".parse().unwrap();
        assert_eq!(network.address(1), Ipv4Addr::new(10, 96, 0, 1));
        assert!(network.contains(Ipv4Addr::new(10, 111, 255, 255)));
        assert!(!network.contains(Ipv4Addr::new(10, 112, 0, 0)));
        for wrong in ["10.96.0.0", "10.96.0.0/40", "x/8", ""] {
            assert!(wrong.parse::<ServiceNetwork>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_service_holds_is_its_address_and_its_ports() {
        let service = serde_json::json!({"spec": {
            "clusterIP": "10.96.0.9",
            "ports": [{"nodePort": 30001}, {"nodePort": 0}, {"port": 1}, {"nodePort": 30000}],
        }});
        let held = Held::of(service.as_object());
        assert_eq!(held.ports, [30000, 30001]);
        assert_eq!(held.keys().len(), 3);
    }
}
