//! The few shapes of DER that certificates and keys need, read and written.
//!
//! Invariant: reading never panics and never reads beyond what a length says; lengths of more than
//! four bytes and of unknown size are refused.

/// What a value is.
pub(super) mod tag {
    pub(in crate::pki) const BOOLEAN: u8 = 0x01;
    pub(in crate::pki) const INTEGER: u8 = 0x02;
    pub(in crate::pki) const BIT_STRING: u8 = 0x03;
    pub(in crate::pki) const OCTETS: u8 = 0x04;
    pub(in crate::pki) const OBJECT_ID: u8 = 0x06;
    pub(in crate::pki) const TEXT: u8 = 0x0C;
    /// A time with two digits of the year.
    pub(in crate::pki) const SHORT_TIME: u8 = 0x17;
    /// A time with four digits of the year.
    pub(in crate::pki) const LONG_TIME: u8 = 0x18;
    pub(in crate::pki) const SEQUENCE: u8 = 0x30;
    pub(in crate::pki) const SET: u8 = 0x31;
    /// The members `[0]`, `[1]`, `[3]` of a structure.
    pub(in crate::pki) const MEMBER_0: u8 = 0xA0;
    pub(in crate::pki) const MEMBER_1: u8 = 0xA1;
    pub(in crate::pki) const MEMBER_3: u8 = 0xA3;
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// What it is.
    pub(super) tag: u8,
    /// What it holds.
    pub(super) content: &'a [u8],
    /// All its bytes.
    pub(super) whole: &'a [u8],
}

/// Reads one value after the other.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let (tag, first) = (*self.0.first()?, *self.0.get(1)?);
        let (header, length) = match first {
            0..=0x7f => (2, usize::from(first)),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let bytes = self.0.get(2..2 + count)?;
                let length = bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
                (2 + count, length)
            }
            _ => return None,
        };
        let end = header.checked_add(length)?;
        let whole = self.0.get(..end)?;
        self.0 = &self.0[end..];
        Some(Item { tag, content: &whole[header..], whole })
    }
}

impl<'a> Reader<'a> {
    /// The next value, if it is this.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Item<'a>> {
        self.next().filter(|item| item.tag == tag)
    }

    /// The values within the next one, if it is this.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.expect(tag).map(|item| Self(item.content))
    }
}

/// A value of these bytes.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let skip = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(bytes[bytes.len() - 1]),
        _ => {
            let count = u8::try_from(bytes.len() - skip).expect("a length has at most eight bytes");
            out.push(0x80 | count);
            out.extend_from_slice(&bytes[skip..]);
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_whatever_its_length() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let bytes = write(tag::OCTETS, &[&content]);
            let item = Reader(&bytes).expect(tag::OCTETS).unwrap();
            assert_eq!(item.content, content);
            assert_eq!(item.whole, bytes);
        }
    }

    #[test]
    fn lengths_beyond_the_end_or_without_one_are_refused() {
        for bytes in [&[][..], &[4], &[4, 1], &[4, 0x80, 0, 0], &[4, 0x85, 0, 0, 0, 0, 1, 9]] {
            assert_eq!(Reader(bytes).next(), None, "{bytes:?}");
        }
        assert_eq!(Reader(&[4, 0x84, 0xff, 0xff, 0xff, 0xff]).next(), None);
    }
}
