//! PEM: how files and kubeconfigs carry certificates and keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject as _, SectionKind};

/// Writes bytes under a heading such as `CERTIFICATE`.
#[must_use]
pub fn write(heading: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut out = format!("-----BEGIN {heading}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = next;
    }
    out.push_str(&format!("-----END {heading}-----\n"));
    out
}

/// All that a file holds, in its order; what is damaged ends it.
pub(super) fn read(text: &str) -> Vec<(SectionKind, Vec<u8>)> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).map_while(Result::ok).collect()
}

/// The first certificate of a file.
#[must_use]
pub fn certificate(text: &str) -> Option<Vec<u8>> {
    read(text)
        .into_iter()
        .find_map(|(kind, bytes)| (kind == SectionKind::Certificate).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_sixty_four_letters_and_are_read_back() {
        let bytes: Vec<u8> = (0..200).collect();
        let text = write("CERTIFICATE", &bytes);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(certificate(&text), Some(bytes));
        assert_eq!(certificate("no PEM at all"), None);
    }
}
