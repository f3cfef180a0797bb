//! Certificates as bytes: the fields of X.509, in their order, and the signature.
//!
//! ```text
//!   Certificate = { body, ecdsa-with-SHA256, signature }
//!   body = { version 3, serial, ecdsa-with-SHA256, issuer, from..to, subject, key, extensions }
//! ```
//!
//! We write only these few forms, all of them with ECDSA P-256, and read others' elsewhere.

use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::EcdsaKeyPair;

use super::certificate::{
    ADDRESS, COMMON_NAME, DNS_NAME, ORGANISATION, SUBJECT_ALT_NAME, SUBJECT_KEY_ID,
};
use super::der::{tag, write};
use super::signing::Algorithm;
use super::{PkiError, SubjectNames};
use crate::schema::time;

/// SEQUENCE { ecdsa-with-SHA256 }
const SIGNATURE_ALGORITHM: &[u8] =
    &[0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
const VERSION_3: &[u8] = &[0xA0, 0x03, 0x02, 0x01, 0x02];

const KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x0F];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1D, 0x13];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1D, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x25];
const SERVER_AUTH: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT_AUTH: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// `[0]` of an authority's key id.
const KEY_ID: u8 = 0x80;

/// The last second of the years that are written with two digits.
const LAST_SHORT_YEAR: i64 = 2_524_607_999;

/// What a certificate is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// It signs others.
    Authority,
    /// A server of these names shows it.
    Server(&'a SubjectNames),
    /// A client shows it.
    Client,
}

/// A certificate that is not signed yet.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) serial: [u8; 16],
    /// The issuer's name as DER.
    pub(super) issuer: &'a [u8],
    /// How the issuer names its key; empty if it does not.
    pub(super) issuer_key_id: &'a [u8],
    /// The subject's name as DER.
    pub(super) subject: &'a [u8],
    /// In seconds since 1970.
    pub(super) from: i64,
    pub(super) to: i64,
    /// The subject's public key: a point of P-256.
    pub(super) key: &'a [u8],
    pub(super) purpose: Purpose<'a>,
}

/// A subject's name as DER: groups first, as upstream's tools write them.
pub(super) fn name(common_name: &str, groups: &[&str]) -> Vec<u8> {
    let attribute = |kind: &[u8], text: &str| {
        let kind = write(tag::OBJECT_ID, &[kind]);
        let text = write(tag::TEXT, &[text.as_bytes()]);
        write(tag::SET, &[&write(tag::SEQUENCE, &[&kind, &text])])
    };
    let mut parts: Vec<u8> =
        groups.iter().flat_map(|group| attribute(ORGANISATION, group)).collect();
    parts.extend(attribute(COMMON_NAME, common_name));
    write(tag::SEQUENCE, &[&parts])
}

/// How a key is named: a part of its digest (RFC 7093).
pub(super) fn key_id(key: &[u8]) -> Vec<u8> {
    digest(&SHA256, key).as_ref()[..20].to_vec()
}

/// Signs a certificate.
pub(super) fn issue(
    draft: &Draft<'_>,
    signer: &EcdsaKeyPair,
    random: &SystemRandom,
) -> Result<Vec<u8>, PkiError> {
    let bits = write(tag::BIT_STRING, &[&[0], draft.key]);
    let body = write(
        tag::SEQUENCE,
        &[
            VERSION_3,
            &write(tag::INTEGER, &[&draft.serial]),
            SIGNATURE_ALGORITHM,
            draft.issuer,
            &write(tag::SEQUENCE, &[&moment(draft.from)?, &moment(draft.to)?]),
            draft.subject,
            &write(tag::SEQUENCE, &[Algorithm::Es256.identifier(), &bits]),
            &write(tag::MEMBER_3, &[&extensions(draft)]),
        ],
    );
    let signature = signer
        .sign(random, &body)
        .map_err(|_| PkiError::new("a certificate could not be signed"))?;
    let signature = write(tag::BIT_STRING, &[&[0], signature.as_ref()]);
    Ok(write(tag::SEQUENCE, &[&body, SIGNATURE_ALGORITHM, &signature]))
}

fn extensions(draft: &Draft<'_>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |kind: &[u8], critical: bool, value: &[u8]| {
        let critical = if critical { write(tag::BOOLEAN, &[&[0xFF]]) } else { Vec::new() };
        let kind = write(tag::OBJECT_ID, &[kind]);
        let value = write(tag::OCTETS, &[value]);
        all.extend(write(tag::SEQUENCE, &[&kind, &critical, &value]));
    };
    // A bit string counts from the left: 0 signatures, 5 certificates, 6 lists of revoked ones.
    let (usage, unused) = match draft.purpose {
        Purpose::Authority => (0b1000_0110, 1),
        Purpose::Server(_) | Purpose::Client => (0b1000_0000, 7),
    };
    add(KEY_USAGE, true, &write(tag::BIT_STRING, &[&[unused, usage]]));
    let purpose = |id: &[u8]| write(tag::SEQUENCE, &[&write(tag::OBJECT_ID, &[id])]);
    match draft.purpose {
        Purpose::Authority => {
            let yes = write(tag::BOOLEAN, &[&[0xFF]]);
            add(BASIC_CONSTRAINTS, true, &write(tag::SEQUENCE, &[&yes]));
            add(SUBJECT_KEY_ID, false, &write(tag::OCTETS, &[&key_id(draft.key)]));
        }
        Purpose::Server(names) => {
            add(EXTENDED_KEY_USAGE, false, &purpose(SERVER_AUTH));
            add(BASIC_CONSTRAINTS, true, &write(tag::SEQUENCE, &[]));
            add(SUBJECT_ALT_NAME, false, &alt_names(names));
        }
        Purpose::Client => {
            add(EXTENDED_KEY_USAGE, false, &purpose(CLIENT_AUTH));
            add(BASIC_CONSTRAINTS, true, &write(tag::SEQUENCE, &[]));
        }
    }
    // Some clients insist on it for everything that an authority signs.
    let signed_by_other = !matches!(draft.purpose, Purpose::Authority);
    if signed_by_other && !draft.issuer_key_id.is_empty() {
        let id = write(KEY_ID, &[draft.issuer_key_id]);
        add(AUTHORITY_KEY_ID, false, &write(tag::SEQUENCE, &[&id]));
    }
    write(tag::SEQUENCE, &[&all])
}

fn alt_names(names: &SubjectNames) -> Vec<u8> {
    let mut all = Vec::new();
    for name in &names.dns {
        all.extend(write(DNS_NAME, &[name.as_bytes()]));
    }
    for address in &names.addresses {
        all.extend(match address {
            std::net::IpAddr::V4(address) => write(ADDRESS, &[&address.octets()]),
            std::net::IpAddr::V6(address) => write(ADDRESS, &[&address.octets()]),
        });
    }
    write(tag::SEQUENCE, &[&all])
}

/// A time: with two digits of the year as long as that is clear.
fn moment(seconds: i64) -> Result<Vec<u8>, PkiError> {
    let text = time::format(seconds)
        .ok_or_else(|| PkiError::new("a certificate cannot count beyond the year 9999"))?;
    let digits: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    // `2026-11-21T16:30:45Z` without its signs and the T.
    let digits = digits.replace('T', "");
    Ok(if (0..=LAST_SHORT_YEAR).contains(&seconds) {
        write(tag::SHORT_TIME, &[&digits.as_bytes()[2..]])
    } else {
        write(tag::LONG_TIME, &[digits.as_bytes()])
    })
}
