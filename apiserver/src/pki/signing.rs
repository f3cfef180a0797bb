//! The keys that sign the tokens of service accounts, and those that check them.
//!
//! New keys are ECDSA P-256 (ES256); RSA keys that others made (RS256) are taken too, because
//! upstream's installers make such.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls_pki_types::pem::SectionKind;
use serde_json::{Value, json};

use super::der::{self, Reader, tag};
use super::{Certificate, PkiError, pem};

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Its name in the head of a token.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// The head of `SubjectPublicKeyInfo`: the algorithm.
    pub(super) fn identifier(self) -> &'static [u8] {
        match self {
            // SEQUENCE { id-ecPublicKey, prime256v1 }
            Self::Es256 => &[
                0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A,
                0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07,
            ],
            // SEQUENCE { rsaEncryption, NULL }
            Self::Rs256 => &[
                0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05,
                0x00,
            ],
        }
    }
}

/// Checks tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// The point, or the DER of modulus and exponent.
    bytes: Vec<u8>,
    id: String,
}

impl PublicKey {
    fn new(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let bits = der::write(tag::BIT_STRING, &[&[0], bytes]);
        let info = der::write(tag::SEQUENCE, &[algorithm.identifier(), &bits]);
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, &info));
        Self { algorithm, bytes: bytes.to_vec(), id }
    }

    fn from_info(info: &[u8]) -> Option<Self> {
        let mut fields = Reader(info).enter(tag::SEQUENCE)?;
        let identifier = fields.expect(tag::SEQUENCE)?.whole;
        let (unused, bytes) = fields.expect(tag::BIT_STRING)?.content.split_first()?;
        let algorithm = [Algorithm::Es256, Algorithm::Rs256]
            .into_iter()
            .find(|algorithm| algorithm.identifier() == identifier)?;
        (*unused == 0).then(|| Self::new(algorithm, bytes))
    }

    /// Every key of a PEM file, private ones as their public halves.
    ///
    /// # Errors
    ///
    /// If there is none, or one is of another kind.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, PkiError> {
        let mut keys = Vec::new();
        for (kind, bytes) in pem::read(text) {
            let key = match kind {
                SectionKind::PublicKey => Self::from_info(&bytes),
                SectionKind::Certificate => {
                    Certificate::parse(&bytes).and_then(|c| Self::from_info(&c.public_key_info))
                }
                SectionKind::PrivateKey
                | SectionKind::EcPrivateKey
                | SectionKind::RsaPrivateKey => {
                    SigningKey::from_der(kind, &bytes).map(|key| key.public)
                }
                _ => continue,
            };
            let unknown = || PkiError::new("a key for tokens is neither ECDSA P-256 nor RSA");
            keys.push(key.ok_or_else(unknown)?);
        }
        if keys.is_empty() {
            return Err(PkiError::new("the file of keys for tokens holds none"));
        }
        Ok(keys)
    }

    /// How tokens name it: upstream's digest of its DER.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it checks.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this key's private half signed the message.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let outcome = match self.algorithm {
            Algorithm::Es256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.bytes)
                .verify(message, signature),
            Algorithm::Rs256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.bytes)
                .verify(message, signature),
        };
        outcome.is_ok()
    }

    /// The key as a member of a JSON Web Key Set.
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self.algorithm {
            Algorithm::Es256 => {
                // The point is 4, x, y: one byte and twice thirty-two.
                let (x, y) = self.bytes.get(1..).unwrap_or_default().split_at(32);
                json!({
                    "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
                    "x": encode(x), "y": encode(y),
                })
            }
            Algorithm::Rs256 => {
                let mut numbers = Reader(&self.bytes).enter(tag::SEQUENCE).unwrap_or(Reader(&[]));
                let mut number = || {
                    let bytes = numbers.expect(tag::INTEGER).map_or(&[][..], |item| item.content);
                    // A leading nought keeps the number positive in DER and is no part of it.
                    encode(bytes.strip_prefix(&[0]).unwrap_or(bytes))
                };
                let (n, e) = (number(), number());
                json!({
                    "use": "sig", "kty": "RSA", "kid": self.id, "alg": "RS256", "n": n, "e": e,
                })
            }
        }
    }
}

enum Signer {
    Ecdsa(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

/// Signs tokens.
pub struct SigningKey {
    signer: Signer,
    public: PublicKey,
    random: SystemRandom,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a new key; the answer is its PEM.
    ///
    /// # Errors
    ///
    /// If the machine gives no randomness.
    pub fn generate() -> Result<String, PkiError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map(|document| pem::write("PRIVATE KEY", document.as_ref()))
            .map_err(|_| PkiError::new("the machine gives no randomness"))
    }

    /// Reads the first key of a PEM file.
    ///
    /// # Errors
    ///
    /// If there is none that can sign.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        pem::read(text)
            .into_iter()
            .find_map(|(kind, bytes)| Self::from_der(kind, &bytes))
            .ok_or_else(|| PkiError::new("the key for tokens is neither ECDSA P-256 nor RSA"))
    }

    fn from_der(kind: SectionKind, bytes: &[u8]) -> Option<Self> {
        let random = SystemRandom::new();
        let ecdsa = read_ecdsa(kind, bytes, &ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let rsa = || match kind {
            SectionKind::PrivateKey => RsaKeyPair::from_pkcs8(bytes).ok(),
            SectionKind::RsaPrivateKey => RsaKeyPair::from_der(bytes).ok(),
            _ => None,
        };
        ecdsa.map(Self::of_ecdsa).or_else(|| rsa().map(Self::of_rsa))
    }

    fn of_ecdsa(pair: EcdsaKeyPair) -> Self {
        let public = PublicKey::new(Algorithm::Es256, pair.public_key().as_ref());
        Self { signer: Signer::Ecdsa(Box::new(pair)), public, random: SystemRandom::new() }
    }

    fn of_rsa(pair: RsaKeyPair) -> Self {
        let public = PublicKey::new(Algorithm::Rs256, pair.public_key().as_ref());
        Self { signer: Signer::Rsa(Box::new(pair)), public, random: SystemRandom::new() }
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message.
    ///
    /// # Errors
    ///
    /// If the machine gives no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let failed = |_| PkiError::new("a token could not be signed");
        match &self.signer {
            Signer::Ecdsa(pair) => {
                pair.sign(&self.random, message).map(|s| s.as_ref().to_vec()).map_err(failed)
            }
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

/// The first ECDSA key of a PEM file.
pub(super) fn ecdsa_key(
    text: &str,
    algorithm: &'static EcdsaSigningAlgorithm,
    random: &SystemRandom,
) -> Option<EcdsaKeyPair> {
    pem::read(text).iter().find_map(|(kind, bytes)| read_ecdsa(*kind, bytes, algorithm, random))
}

fn read_ecdsa(
    kind: SectionKind,
    bytes: &[u8],
    algorithm: &'static EcdsaSigningAlgorithm,
    random: &SystemRandom,
) -> Option<EcdsaKeyPair> {
    match kind {
        SectionKind::PrivateKey => EcdsaKeyPair::from_pkcs8(algorithm, bytes, random).ok(),
        // The older form: version, number, `[0]` curve, `[1]` point.
        SectionKind::EcPrivateKey => {
            let mut fields = Reader(bytes).enter(tag::SEQUENCE)?;
            fields.expect(tag::INTEGER)?;
            let number = fields.expect(tag::OCTETS)?.content;
            let point = fields.find(|item| item.tag == tag::MEMBER_1)?;
            let point = Reader(point.content).expect(tag::BIT_STRING)?.content.get(1..)?;
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, number, point, random).ok()
        }
        _ => None,
    }
}
