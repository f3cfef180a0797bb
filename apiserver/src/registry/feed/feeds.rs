//! The feeds of all kinds, each made when it is first asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Feed;
use crate::kinds::Kind;

/// The feeds of all kinds. Bounded by the table of kinds.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<BTreeMap<(&'static str, &'static str), Arc<Feed>>>);

impl Feeds {
    /// The feed of a kind.
    pub(crate) fn of(&self, kind: &'static Kind) -> Arc<Feed> {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let feed = feeds.entry((kind.group, kind.resource));
        Arc::clone(feed.or_insert_with(|| Arc::new(Feed::new(kind))))
    }
}
