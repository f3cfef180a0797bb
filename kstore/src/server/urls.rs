//! URLs of members: a scheme, a host and a port.

use std::fmt::{Display, Formatter};

/// `http://host:port` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberUrl {
    /// Whether it is `https`.
    pub(crate) tls: bool,
    /// Host and port, as sockets take them.
    pub(crate) address: String,
}

impl Display for MemberUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl MemberUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| format!("URL must have a scheme: {text}"))?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            "unix" | "unixs" => return Err(format!("unix sockets are not supported yet: {text}")),
            _ => return Err(format!("URL scheme must be http or https: {text}")),
        };
        let address = rest.strip_suffix('/').unwrap_or(rest);
        if address.contains(['/', '?', '#', '@']) {
            return Err(format!("URL must not contain a path: {text}"));
        }
        let port = address.rsplit_once(':').map(|(_, port)| port);
        if port.is_none_or(|port| port.parse::<u16>().is_err()) {
            return Err(format!("URL address does not have the form \"host:port\": {text}"));
        }
        Ok(Self { tls, address: address.to_owned() })
    }
}

/// URLs with commas in between.
pub(crate) fn parse(flag: &str, text: &str) -> Result<Vec<MemberUrl>, String> {
    let urls: Result<Vec<MemberUrl>, String> = text.split(',').map(MemberUrl::parse).collect();
    urls.map_err(|why| format!("invalid value for --{flag}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_alike() {
        let urls = parse("x", "http://127.0.0.1:2379,https://[::1]:1/").unwrap();
        let texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["http://127.0.0.1:2379", "https://[::1]:1"]);
    }

    #[test]
    fn what_is_no_address_is_refused_and_named() {
        for text in ["127.0.0.1:1", "ftp://a:1", "http://a", "http://a:x", "http://a:1/b", ""] {
            assert!(parse("name", text).unwrap_err().contains("--name"), "{text}");
        }
    }
}
