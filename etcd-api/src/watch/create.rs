//! A client's wish for a watch: what it may say, what it means, and what it is told.

use std::collections::BTreeMap;

use bytes::Bytes;
use kstore_mvcc::{KeyRange, Revision};
use kstore_proto::etcdserverpb::WatchCreateRequest;
use kstore_proto::etcdserverpb::watch_create_request::FilterType;

use crate::error::{self, watch_reason};

/// The id in answers about no watch of the stream, or about all of them.
pub(crate) const NO_WATCH: i64 = -1;

/// Watches on one stream at most; a further one is refused.
const WATCHES: usize = 64 * 1024;

/// What a watch wants to be told, beyond its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) puts: bool,
    pub(crate) deletes: bool,
    pub(crate) previous: bool,
    pub(crate) progress: bool,
    pub(crate) fragments: bool,
}

/// A watch that may be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewWatch {
    pub(crate) id: i64,
    pub(crate) range: KeyRange,
    /// The first revision that the client wants; `None` is the next one.
    pub(crate) from: Option<Revision>,
    pub(crate) wants: Wants,
}

/// What a request amounts to on a stream that has `watches`. `next_id` is the least id that the
/// server has not given out; it only grows.
pub(crate) fn decide<W>(
    request: WatchCreateRequest,
    watches: &BTreeMap<i64, W>,
    next_id: &mut i64,
) -> Result<NewWatch, String> {
    let range = range(request.key, request.range_end);
    if range.is_empty() {
        return Err(watch_reason::EMPTY_RANGE.to_owned());
    }
    if request.start_revision < 0 {
        return Err(error::COMPACTED.text().to_owned());
    }
    if watches.len() >= WATCHES {
        return Err(watch_reason::TOO_MANY.to_owned());
    }
    if request.watch_id != 0 && watches.contains_key(&request.watch_id) {
        return Err(watch_reason::DUPLICATE_ID.to_owned());
    }
    let id = match request.watch_id {
        0 => {
            while watches.contains_key(next_id) {
                *next_id += 1;
            }
            *next_id += 1;
            *next_id - 1
        }
        id => id,
    };
    let without = |filter: FilterType| request.filters.contains(&filter.into());
    let wants = Wants {
        puts: !without(FilterType::Noput),
        deletes: !without(FilterType::Nodelete),
        previous: request.prev_kv,
        progress: request.progress_notify,
        fragments: request.fragment,
    };
    Ok(NewWatch { id, range, from: crate::convert::revision(request.start_revision), wants })
}

/// No key at all stands for the least one there can be.
fn range(key: Bytes, range_end: Bytes) -> KeyRange {
    let key = if key.is_empty() { Bytes::from_static(&[0]) } else { key };
    KeyRange::from_request(key, range_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstore_mvcc::RangeEnd;

    fn request(key: &'static str, end: &'static str) -> WatchCreateRequest {
        WatchCreateRequest {
            key: key.into(),
            range_end: end.into(),
            ..WatchCreateRequest::default()
        }
    }

    #[test]
    fn ids_are_given_from_zero_up_and_pass_over_the_clients_own() {
        let mut next = 0;
        let mut watches = BTreeMap::new();
        for expected in [0, 1] {
            let made = decide(request("a", ""), &watches, &mut next).unwrap();
            assert_eq!(made.id, expected);
            watches.insert(made.id, ());
        }
        let own = WatchCreateRequest { watch_id: 2, ..request("a", "") };
        let made = decide(own.clone(), &watches, &mut next).unwrap();
        assert_eq!(made.id, 2);
        watches.insert(2, ());
        assert_eq!(decide(request("a", ""), &watches, &mut next).unwrap().id, 3);
        assert_eq!(decide(own, &watches, &mut next).unwrap_err(), watch_reason::DUPLICATE_ID);
    }

    #[test]
    fn a_freed_id_of_the_server_is_not_given_again() {
        let mut next = 0;
        let watches: BTreeMap<i64, ()> = BTreeMap::new();
        assert_eq!(decide(request("a", ""), &watches, &mut next).unwrap().id, 0);
        assert_eq!(decide(request("a", ""), &watches, &mut next).unwrap().id, 1);
    }

    #[test]
    fn ranges_that_hold_no_key_are_refused() {
        let none: BTreeMap<i64, ()> = BTreeMap::new();
        for (key, end) in [("b", "a"), ("a", "a")] {
            let refused = decide(request(key, end), &none, &mut 0).unwrap_err();
            assert_eq!(refused, watch_reason::EMPTY_RANGE);
        }
    }

    #[test]
    fn an_empty_key_stands_for_the_least_key() {
        let none: BTreeMap<i64, ()> = BTreeMap::new();
        let made = decide(request("", "\0"), &none, &mut 0).unwrap();
        assert_eq!(made.range.start.as_ref(), b"\0");
        assert_eq!(made.range.end, RangeEnd::Unbounded);
    }

    #[test]
    fn a_negative_revision_is_long_compacted() {
        let none: BTreeMap<i64, ()> = BTreeMap::new();
        let wish = WatchCreateRequest { start_revision: -1, ..request("a", "") };
        let refused = decide(wish, &none, &mut 0).unwrap_err();
        assert_eq!(refused, "etcdserver: mvcc: required revision has been compacted");
    }
}
