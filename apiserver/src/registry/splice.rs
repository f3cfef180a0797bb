//! The resourceVersion into stored bytes, without reading the rest of them.
//!
//! A GET or LIST as JSON needs the stored bytes and one member more. Where the bytes have the shape
//! in which kstore (and upstream) writes them, that member is put in; else the caller decodes.

/// How an object is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// By itself: with kind and apiVersion.
    Alone,
    /// In a list of its kind: without them, as upstream's typed lists are.
    Listed,
}

/// Appends stored bytes with their resourceVersion to `out`; `false` if they have another shape,
/// and then `out` is as it was.
pub(crate) fn append(out: &mut Vec<u8>, stored: &[u8], revision: u64, shown: Shown) -> bool {
    let Some(head) = Head::of(stored) else { return false };
    out.push(b'{');
    if shown == Shown::Alone {
        out.extend_from_slice(&stored[1..head.metadata]);
    }
    out.extend_from_slice(b"\"metadata\":{");
    out.extend_from_slice(b"\"resourceVersion\":\"");
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(if stored.get(head.inside) == Some(&b'}') { b"\"" } else { b"\"," });
    out.extend_from_slice(&stored[head.inside..]);
    true
}

/// Where the parts of stored bytes begin.
struct Head {
    /// The name `"metadata"`.
    metadata: usize,
    /// What is inside its braces.
    inside: usize,
}

impl Head {
    /// Reads `{"kind":"…","apiVersion":"…","metadata":{`, with nothing escaped and nothing between.
    fn of(stored: &[u8]) -> Option<Self> {
        let rest = stored.strip_prefix(b"{\"kind\":\"")?;
        let rest = behind_text(rest)?.strip_prefix(b",\"apiVersion\":\"")?;
        let rest = behind_text(rest)?.strip_prefix(b",")?;
        let metadata = stored.len() - rest.len();
        let rest = rest.strip_prefix(b"\"metadata\":{")?;
        Some(Self { metadata, inside: stored.len() - rest.len() })
    }
}

/// What follows a text without escapes, behind its closing quote.
fn behind_text(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (bytes[end] == b'"').then(|| &bytes[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(stored: &str, shown: Shown) -> Option<String> {
        let mut out = Vec::new();
        append(&mut out, stored.as_bytes(), 7, shown)
            .then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn the_revision_is_put_in_front_of_the_metadata() {
        let stored = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{}}"#;
        assert_eq!(
            spliced(stored, Shown::Alone).as_deref(),
            Some(r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#)
        );
        assert_eq!(
            spliced(stored, Shown::Listed).as_deref(),
            Some(r#"{"metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#)
        );
    }

    #[test]
    fn bytes_of_another_shape_are_left_to_the_decoder() {
        for stored in [
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{}}"#,
            r#"{"kind":"P\"od","apiVersion":"v1","metadata":{"name":"a"}}"#,
            "k8s\0...",
            "",
        ] {
            assert_eq!(spliced(stored, Shown::Alone), None, "{stored}");
        }
        let empty = r#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#;
        let whole = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7"}}"#;
        assert_eq!(spliced(empty, Shown::Alone).as_deref(), Some(whole));
    }
}
