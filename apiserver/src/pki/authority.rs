//! The authority that signs certificates, and the certificates that it signs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::issue::{Draft, Purpose, issue};
use super::{Certificate, PkiError, pem};

/// The name of the authority, as upstream's tools name theirs.
const AUTHORITY_NAME: &str = "kubernetes";
const DAY: i64 = 86_400;
const AUTHORITY_LIFE: i64 = 3_653 * DAY;
const LEAF_LIFE: i64 = 365 * DAY;
/// Clocks of machines differ; what is signed now counts since a little while.
const CLOCK_SKEW: i64 = 300;

/// A certificate and its private key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a server is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectNames {
    /// Its names.
    pub dns: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl SubjectNames {
    /// What every API server is called from inside and beside the cluster.
    #[must_use]
    pub fn of_api_server(first_service_address: IpAddr) -> Self {
        let dns = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
        ];
        Self {
            dns: dns.map(str::to_owned).to_vec(),
            addresses: vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
                first_service_address,
            ],
        }
    }

    /// Adds a name or an address, once.
    pub fn add(&mut self, name: &str) {
        match name.parse() {
            Ok(address) if self.addresses.contains(&address) => {}
            Ok(address) => self.addresses.push(address),
            Err(_) if name.is_empty() || self.dns.iter().any(|known| known == name) => {}
            Err(_) => self.dns.push(name.to_owned()),
        }
    }

    /// Whether a certificate is good for all of these.
    #[must_use]
    pub fn are_covered_by(&self, certificate: &Certificate) -> bool {
        self.dns.iter().all(|name| certificate.dns_names.contains(name))
            && self.addresses.iter().all(|address| certificate.addresses.contains(address))
    }
}

/// Signs certificates.
pub struct Authority {
    key: EcdsaKeyPair,
    /// Its name as DER.
    name: Vec<u8>,
    key_id: Vec<u8>,
    not_before: i64,
    pair: Pair,
    random: SystemRandom,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("pair", &self.pair).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority with a life of ten years.
    ///
    /// # Errors
    ///
    /// If the machine gives no randomness.
    pub fn create(now: i64) -> Result<Self, PkiError> {
        let random = SystemRandom::new();
        let (key, key_pem) = generate(&random)?;
        let name = super::issue::name(AUTHORITY_NAME, &[]);
        let draft = Draft {
            serial: serial(&random)?,
            issuer: &name,
            issuer_key_id: &[],
            subject: &name,
            from: now.saturating_sub(CLOCK_SKEW),
            to: now.saturating_add(AUTHORITY_LIFE),
            key: key.public_key().as_ref(),
            purpose: Purpose::Authority,
        };
        let der = issue(&draft, &key, &random)?;
        let not_before = draft.from;
        let pair = Pair { certificate: pem::write("CERTIFICATE", &der), key: key_pem };
        let key_id = super::issue::key_id(key.public_key().as_ref());
        Ok(Self { key, name, key_id, not_before, pair, random })
    }

    /// Takes an authority that was made before, here or elsewhere.
    ///
    /// # Errors
    ///
    /// If key and certificate do not belong together, or the key is none of ECDSA P-256.
    pub fn load(pair: Pair) -> Result<Self, PkiError> {
        let certificate = parsed(&pair)
            .ok_or_else(|| PkiError::new("the authority's certificate is unreadable"))?;
        let random = SystemRandom::new();
        let key = read_key(&pair.key, &random)?;
        if !certificate.public_key_info.ends_with(key.public_key().as_ref()) {
            return Err(PkiError::new("the authority's key is not that of its certificate"));
        }
        let not_before = certificate.not_before;
        let (name, key_id) = (certificate.subject, certificate.key_id);
        Ok(Self { key, name, key_id, not_before, pair, random })
    }

    /// Its certificate and key.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// A certificate for a server, of a year.
    ///
    /// # Errors
    ///
    /// If a name is no DNS name, or the machine gives no randomness.
    pub fn serving(&self, names: &SubjectNames, now: i64) -> Result<Pair, PkiError> {
        if let Some(wrong) = names.dns.iter().find(|name| !is_dns_name(name)) {
            return Err(PkiError(format!("a server cannot be called {wrong:?}")));
        }
        self.sign("kube-apiserver", &[], Purpose::Server(names), now)
    }

    /// A certificate for a user in some groups, of a year.
    ///
    /// # Errors
    ///
    /// If the machine gives no randomness.
    pub fn client(&self, user: &str, groups: &[&str], now: i64) -> Result<Pair, PkiError> {
        self.sign(user, groups, Purpose::Client, now)
    }

    fn sign(
        &self,
        name: &str,
        groups: &[&str],
        purpose: Purpose<'_>,
        now: i64,
    ) -> Result<Pair, PkiError> {
        let (key, key_pem) = generate(&self.random)?;
        let draft = Draft {
            serial: serial(&self.random)?,
            issuer: &self.name,
            issuer_key_id: &self.key_id,
            subject: &super::issue::name(name, groups),
            from: now.saturating_sub(CLOCK_SKEW),
            to: now.saturating_add(LEAF_LIFE),
            key: key.public_key().as_ref(),
            purpose,
        };
        let der = issue(&draft, &self.key, &self.random)?;
        Ok(Pair { certificate: pem::write("CERTIFICATE", &der), key: key_pem })
    }
}

/// Whether a pair that was made before is to be made anew: it ends soon, it is unreadable, or it is
/// older than its authority.
#[must_use]
pub fn is_due(pair: &Pair, authority: &Authority, now: i64) -> bool {
    parsed(pair).is_none_or(|certificate| {
        certificate.is_due(now) || certificate.not_before < authority.not_before
    })
}

fn parsed(pair: &Pair) -> Option<Certificate> {
    Certificate::parse(&pem::certificate(&pair.certificate)?)
}

/// Letters, digits, hyphens and dots, and a `*` for the first part.
fn is_dns_name(name: &str) -> bool {
    let part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&part.len()) && part.bytes().all(plain)
    };
    name.len() <= 253 && name.strip_prefix("*.").unwrap_or(name).split('.').all(part)
}

const NO_RANDOMNESS: &str = "the machine gives no randomness";

fn serial(random: &SystemRandom) -> Result<[u8; 16], PkiError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| PkiError::new(NO_RANDOMNESS))?;
    // Positive, and of sixteen bytes without a leading nought.
    bytes[0] = bytes[0] & 0x7F | 0x40;
    Ok(bytes)
}

/// A new key, and its PEM.
fn generate(random: &SystemRandom) -> Result<(EcdsaKeyPair, String), PkiError> {
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, random)
        .map_err(|_| PkiError::new(NO_RANDOMNESS))?;
    let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), random)
        .map_err(|_| PkiError::new("a new key is unreadable"))?;
    Ok((key, pem::write("PRIVATE KEY", document.as_ref())))
}

fn read_key(text: &str, random: &SystemRandom) -> Result<EcdsaKeyPair, PkiError> {
    super::signing::ecdsa_key(text, &ECDSA_P256_SHA256_ASN1_SIGNING, random)
        .ok_or_else(|| PkiError::new("the authority's key is none of ECDSA P-256"))
}
