//! Addresses of the Internet, as upstream takes them.

use std::net::{IpAddr, Ipv4Addr};

use crate::field::{FieldErrors, Path};

/// Reads an address; zeros before an IPv4 number do not matter.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let mut numbers = [0_u8; 4];
    let mut parts = text.split('.');
    for number in &mut numbers {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part
            .trim_start_matches('0')
            .parse()
            .or_else(|error| if part.bytes().all(|byte| byte == b'0') { Ok(0) } else { Err(error) })
            .ok()?;
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(numbers)))
}

/// Checks an address.
pub(super) fn check(text: &str, path: &Path, errors: &mut FieldErrors) {
    match parse(text) {
        None => {
            let rule = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.invalid(path, text, rule);
        }
        Some(_) if text.parse::<IpAddr>().is_err() => {
            errors.invalid(path, text, "must not have leading 0s");
        }
        Some(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            errors.invalid(path, text, "must not be an IPv4-mapped IPv6 address");
        }
        Some(_) => {}
    }
}

/// Warns of an address that others may read or compare in another way.
pub(super) fn warning(text: &str, path: &Path) -> Option<String> {
    let address = parse(text)?;
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_none() => {
            let canonical = v6.to_string();
            (canonical != text).then(|| {
                let rule = "should be in RFC 5952 canonical format";
                format!("{path}: IPv6 address \"{text}\" {rule} (\"{canonical}\")")
            })
        }
        Ok(IpAddr::V4(_)) => None,
        _ => {
            let plain = address.to_canonical();
            Some(format!("{path}: non-standard IP address \"{text}\" is invalid: use \"{plain}\""))
        }
    }
}

/// Checks an address that traffic can be sent to.
pub(super) fn check_endpoint(text: &str, path: &Path, errors: &mut FieldErrors) {
    let Some(address) = parse(text) else {
        errors.invalid(path, text, "must be a valid IP address");
        return;
    };
    let mut refuse = |why: &str| errors.invalid(path, text, why);
    if address.is_unspecified() {
        refuse(&format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if local_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Whether a text is a range of addresses.
pub(super) fn is_range(text: &str) -> bool {
    let Some((ip, bits)) = text.split_once('/') else { return false };
    let most = match parse(ip) {
        Some(IpAddr::V4(_)) => 32,
        Some(IpAddr::V6(_)) => 128,
        None => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// Checks a range of addresses.
pub(super) fn check_range(text: &str, path: &Path, errors: &mut FieldErrors) {
    if !is_range(text) {
        let rule = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        return errors.invalid(path, text, rule);
    }
    let (ip, bits) = text.split_once('/').unwrap_or_default();
    if ip.parse::<IpAddr>().is_err() || (bits.len() > 1 && bits.starts_with('0')) {
        errors.invalid(path, text, "must not have leading 0s in IP or prefix length");
    }
}
