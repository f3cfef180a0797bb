//! The resourceVersion into stored bytes, without reading the rest of them.
//!
//! A GET or LIST as JSON needs the stored bytes and one member more. Where the bytes begin as
//! kstore (and upstream) writes them, that member is put in; else the caller decodes.

use crate::kinds::Kind;

/// How an object is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// By itself: with kind and apiVersion.
    Alone,
    /// In a list of its kind: without them, as upstream's typed lists are.
    Listed,
}

/// What the stored bytes of a kind's objects begin with.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// `{"kind":"Pod","apiVersion":"v1",`
    named: String,
}

/// What follows the name of the kind.
const METADATA: &[u8] = b"\"metadata\":{";

impl Head {
    /// That of a kind.
    pub(crate) fn of(kind: &Kind) -> Self {
        let version = kind.api_version();
        Self { named: format!("{{\"kind\":\"{}\",\"apiVersion\":\"{version}\",", kind.kind) }
    }

    /// Appends stored bytes with their resourceVersion to `out`; `false` if they begin otherwise,
    /// and then `out` is as it was.
    pub(crate) fn append(
        &self,
        out: &mut Vec<u8>,
        stored: &[u8],
        revision: u64,
        shown: Shown,
    ) -> bool {
        let inside = stored.strip_prefix(self.named.as_bytes());
        let Some(inside) = inside.and_then(|rest| rest.strip_prefix(METADATA)) else {
            return false;
        };
        match shown {
            Shown::Alone => out.extend_from_slice(self.named.as_bytes()),
            Shown::Listed => out.push(b'{'),
        }
        out.extend_from_slice(METADATA);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(revision.to_string().as_bytes());
        out.extend_from_slice(if inside.starts_with(b"}") { b"\"" } else { b"\"," });
        out.extend_from_slice(inside);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(stored: &str, shown: Shown) -> Option<String> {
        let head = Head { named: r#"{"kind":"Pod","apiVersion":"v1","#.to_owned() };
        let mut out = Vec::new();
        head.append(&mut out, stored.as_bytes(), 7, shown)
            .then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn the_revision_is_put_in_front_of_the_metadata() {
        let stored = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{}}"#;
        let alone = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#;
        let listed = r#"{"metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#;
        assert_eq!(spliced(stored, Shown::Alone).as_deref(), Some(alone));
        assert_eq!(spliced(stored, Shown::Listed).as_deref(), Some(listed));
        let empty = r#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#;
        let whole = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7"}}"#;
        assert_eq!(spliced(empty, Shown::Alone).as_deref(), Some(whole));
    }

    #[test]
    fn bytes_that_begin_otherwise_are_left_to_the_decoder() {
        for stored in [
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{}}"#,
            r#"{"kind":"Event","apiVersion":"v1","metadata":{"name":"a"}}"#,
            "k8s\0...",
            "",
        ] {
            assert_eq!(spliced(stored, Shown::Alone), None, "{stored}");
        }
    }
}
