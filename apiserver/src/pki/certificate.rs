//! What a certificate says: whose it is, for which names, and from when to when.
//!
//! It is not checked here that anybody trusts it: TLS has done that before anybody asks.

use std::net::IpAddr;

use super::der::{Reader, tag};
use crate::schema::time;

pub(super) const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
pub(super) const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0A];
/// 1.3.6.1.4.1.57683.2: Kubernetes' own, a user's unique id.
const USER_ID: &[u8] = &[0x2B, 0x06, 0x01, 0x04, 0x01, 0x83, 0xC2, 0x53, 0x02];
pub(super) const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1D, 0x0E];
pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];

/// What names of servers are: `[2]` and `[7]`.
pub(super) const DNS_NAME: u8 = 0x82;
pub(super) const ADDRESS: u8 = 0x87;

/// What a certificate says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name; the last if there are several.
    pub common_name: String,
    /// The subject's organisations.
    pub organisations: Vec<String>,
    /// The subject's user ids, Kubernetes' own attribute.
    pub user_ids: Vec<String>,
    /// The name servers go by.
    pub dns_names: Vec<String>,
    /// The addresses of servers.
    pub addresses: Vec<IpAddr>,
    /// When it begins to count, in seconds since 1970.
    pub not_before: i64,
    /// When it ceases to count.
    pub not_after: i64,
    /// The subject as DER: the issuer of what it signs.
    pub subject: Vec<u8>,
    /// How what it signs names its key; empty if it does not say.
    pub key_id: Vec<u8>,
    /// The subject's public key with its algorithm, as DER.
    pub public_key_info: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate from DER.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut signed = Reader(bytes).enter(tag::SEQUENCE)?;
        let mut fields = signed.enter(tag::SEQUENCE)?;
        // The version stands in [0]; the oldest ones leave it out.
        let mut next = fields.next()?;
        if next.tag == tag::MEMBER_0 {
            next = fields.next()?;
        }
        (next.tag == tag::INTEGER).then_some(())?;
        fields.expect(tag::SEQUENCE)?;
        fields.expect(tag::SEQUENCE)?;
        let mut validity = fields.enter(tag::SEQUENCE)?;
        let mut certificate = Self {
            not_before: moment(&mut validity)?,
            not_after: moment(&mut validity)?,
            ..Self::default()
        };
        let subject = fields.expect(tag::SEQUENCE)?;
        certificate.subject = subject.whole.to_vec();
        certificate.read_subject(Reader(subject.content))?;
        certificate.public_key_info = fields.expect(tag::SEQUENCE)?.whole.to_vec();
        if let Some(extensions) = fields.find(|item| item.tag == tag::MEMBER_3) {
            certificate.read_extensions(Reader(extensions.content).enter(tag::SEQUENCE)?)?;
        }
        Some(certificate)
    }

    fn read_subject(&mut self, names: Reader<'_>) -> Option<()> {
        for set in names {
            (set.tag == tag::SET).then_some(())?;
            for attribute in Reader(set.content) {
                let mut parts = Reader(attribute.content);
                let kind = parts.expect(tag::OBJECT_ID)?.content;
                let value = text(parts.next()?.content)?;
                match kind {
                    COMMON_NAME => self.common_name = value,
                    ORGANISATION => self.organisations.push(value),
                    USER_ID => self.user_ids.push(value),
                    _ => {}
                }
            }
        }
        Some(())
    }

    fn read_extensions(&mut self, extensions: Reader<'_>) -> Option<()> {
        for extension in extensions {
            let mut parts = Reader(extension.content);
            let kind = parts.expect(tag::OBJECT_ID)?.content;
            let value = parts.find(|item| item.tag == tag::OCTETS)?;
            if kind == SUBJECT_KEY_ID {
                self.key_id = Reader(value.content).expect(tag::OCTETS)?.content.to_vec();
            }
            if kind != SUBJECT_ALT_NAME {
                continue;
            }
            for name in Reader(value.content).enter(tag::SEQUENCE)? {
                match (name.tag, name.content) {
                    (DNS_NAME, bytes) => self.dns_names.push(text(bytes)?),
                    (ADDRESS, bytes) => self.addresses.push(address(bytes)?),
                    _ => {}
                }
            }
        }
        Some(())
    }

    /// Whether it counts at a time.
    #[must_use]
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Whether it is time for a new one: less than a quarter of its life is left.
    #[must_use]
    pub fn is_due(&self, now: i64) -> bool {
        let life = self.not_after.saturating_sub(self.not_before);
        now < self.not_before || self.not_after.saturating_sub(now) < life / 4
    }
}

/// A time of a certificate: `YYMMDDhhmmssZ`, or with four digits of the year.
fn moment(reader: &mut Reader<'_>) -> Option<i64> {
    let text = std::str::from_utf8(reader.next()?.content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (century, rest) = match text.len() {
        // Two digits mean 1950 to 2049 (RFC 5280).
        12 if text < "50" => ("20", text),
        12 => ("19", text),
        14 => text.split_at(2),
        _ => return None,
    };
    let part = |index: usize| &rest[2 * index..2 * index + 2];
    let (year, month, day) = (part(0), part(1), part(2));
    let (hour, minute, second) = (part(3), part(4), part(5));
    time::parse(&format!("{century}{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
        .map(|(seconds, _)| seconds)
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
