//! Leases for events: one for many, so that a thousand events are not a thousand leases.
//!
//! A lease lasts a little longer than its events must, and new events hang on it while it is young:
//! so an event goes between one hour and one hour and a minute after it was written. (Upstream does
//! the same with a thousand objects to a lease.)

use tokio::sync::Mutex;

use super::{Registry, failure};
use crate::auth::lookup::Answer;

/// How long events are kept.
const KEPT: i64 = 3600;

/// How long a lease takes new events.
const YOUNG: i64 = 60;

/// The lease that new events hang on.
#[derive(Debug, Default)]
pub(crate) struct EventLeases {
    newest: Mutex<Option<Newest>>,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    lease: i64,
    /// Seconds since 1970.
    granted: i64,
}

impl EventLeases {
    pub(super) async fn lease(&self, registry: &Registry) -> Answer<i64> {
        let now = registry.now();
        let mut newest = self.newest.lock().await;
        if let Some(known) = *newest
            && (0..YOUNG).contains(&(now - known.granted))
        {
            return Ok(known.lease);
        }
        let lease = registry.storage.grant_lease(KEPT + YOUNG).await.map_err(failure)?;
        *newest = Some(Newest { lease, granted: now });
        Ok(lease)
    }
}
