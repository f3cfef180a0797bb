//! Publishes the server's certificate authority to every namespace, as `kube-root-ca.crt`.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::action::{Action, Decision};
use crate::engine::{self, Controller};
use crate::kinds::{Key, Object, Watched};
use crate::serviceaccount::is_active;
use crate::world::{Change, World};

const NAME: &str = "kube-root-ca.crt";
const ENTRY: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const WORDS: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
    internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage \
    is guaranteed across distributions of Kubernetes clusters.";

/// The certificates with which a client checks its server, as PEM, if its configuration has any.
#[must_use]
pub fn root_ca_of(config: &kube::Config) -> Option<String> {
    let certificates = config.root_cert.as_deref()?;
    let mut pem = String::new();
    for certificate in certificates {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(certificate);
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    Some(pem)
}

pub(crate) fn controller() -> Controller {
    Controller {
        name: "root-ca-certificate-publisher",
        keys,
        decide,
        rank: engine::in_order,
        writers: 5,
        back_off: engine::CONTROLLER_BACK_OFF,
    }
}

fn keys(_: &World, change: &Change, out: &mut BTreeSet<Key>) {
    for side in change.sides() {
        match side {
            Object::Namespace(namespace) => out.insert(namespace.key()),
            Object::ConfigMap(map) => out.insert(Key::new("", map.namespace())),
            _ => false,
        };
    }
}

fn decide(world: &World, key: &Key, _: Timestamp) -> Decision {
    let namespace = world.tables.namespaces.find(key);
    let (Some(_), Some(pem)) = (namespace.filter(|namespace| is_active(namespace)), &world.root_ca)
    else {
        return Decision::nothing();
    };
    let data = BTreeMap::from([(ENTRY.to_owned(), pem.clone())]);
    let Some(known) = world.tables.config_maps.named(&key.name, NAME) else {
        return Decision::one(Action::create(&ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(key.name.clone()),
                annotations: Some(described(BTreeMap::new())),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        }));
    };
    let annotations = known.metadata.annotations.clone().unwrap_or_default();
    if known.data.as_ref() == Some(&data) && annotations.contains_key(DESCRIPTION) {
        return Decision::nothing();
    }
    let mut changed = (**known).clone();
    changed.data = Some(data);
    changed.binary_data = None;
    changed.metadata.annotations = Some(described(annotations));
    Decision::one(Action::replace(&changed))
}

fn described(mut annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.insert(DESCRIPTION.to_owned(), WORDS.to_owned());
    annotations
}
