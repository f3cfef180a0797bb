//! Ranges of keys as flags describe them.

use bytes::Bytes;

use super::failure::Failure;

/// Stands for "no end" as the end of a range, and for "from the first key" as its start.
pub(crate) const OPEN: Bytes = Bytes::from_static(b"\0");

/// A key, or the half-open range from it to `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) key: Bytes,
    /// Empty: the key alone.
    pub(crate) end: Bytes,
}

/// The two flags that widen a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widening {
    pub(crate) prefix: bool,
    pub(crate) from_key: bool,
}

impl Range {
    /// The range that words and flags name. `None` when there is no word.
    pub(crate) fn parse(words: &[Bytes], widening: Widening) -> Option<Result<Self, Failure>> {
        let (key, rest) = words.split_first()?;
        Some(Self::of(key, rest, widening))
    }

    fn of(key: &Bytes, rest: &[Bytes], widening: Widening) -> Result<Self, Failure> {
        let Widening { prefix, from_key } = widening;
        if prefix && from_key {
            return Err(Failure::arguments(
                "`--prefix` and `--from-key` cannot be set at the same time, choose one",
            ));
        }
        match rest.first() {
            Some(_) if prefix || from_key => Err(Failure::arguments(
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is \
                 set",
            )),
            Some(end) => Ok(Self { key: key.clone(), end: end.clone() }),
            None if from_key || (prefix && key.is_empty()) => {
                let key = if key.is_empty() { OPEN } else { key.clone() };
                Ok(Self { key, end: OPEN })
            }
            None if prefix => Ok(Self { key: key.clone(), end: prefix_end(key) }),
            None => Ok(Self { key: key.clone(), end: Bytes::new() }),
        }
    }
}

/// The first key behind all keys that begin with `prefix`: the prefix counted up in its last byte
/// that can be.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    let Some(last) = prefix.iter().rposition(|byte| *byte < 0xff) else {
        return OPEN;
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Bytes::from(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_behind_it() {
        assert_eq!(prefix_end(b"/a/"), &b"/a0"[..]);
        assert_eq!(prefix_end(b"a\xff\xff"), &b"b"[..]);
        assert_eq!(prefix_end(b"\xff"), OPEN);
        assert_eq!(prefix_end(b""), OPEN);
    }

    #[test]
    fn an_empty_prefix_is_every_key() {
        let widening = Widening { prefix: true, from_key: false };
        let range = Range::parse(&[Bytes::new()], widening).unwrap().unwrap();
        assert_eq!(range, Range { key: OPEN, end: OPEN });
    }
}
