//! What all API servers of a cluster share: the authority that signs certificates, and the key that
//! signs tokens. Both lie in the store, so that a kubeconfig, a certificate or a token of one server
//! is good at all of them, and a server that joins needs no files.
//!
//! ```text
//!   /kstore/pki/ca.crt   /kstore/pki/ca.key   /kstore/pki/sa.key
//! ```
//!
//! The first server writes them in one guarded transaction: those of its directory if it has some
//! (an operator's own, or a cluster's that was made before they were shared), else new ones. All
//! others take what is there.
//!
//! They lie outside `/registry`, so no request to the API can name them. Who reads the store itself
//! reads every secret and could make himself an administrator anyway.

use std::time::Duration;

use bytes::Bytes;
use kstore_apiserver::pki::{Authority, Pair, SigningKey};
use kstore_apiserver::storage::{
    Counting, Freshness, Guarded, ListQuery, Storage, StorageError, Written,
};
use tokio::time::sleep;

/// The authority, and the key for tokens.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) authority: Pair,
    /// A private key in PEM.
    pub(crate) signing: String,
}

impl Shared {
    /// New ones.
    pub(crate) fn make(now: i64) -> Result<Self, String> {
        let authority = Authority::create(now).map_err(|why| why.to_string())?;
        let signing = SigningKey::generate().map_err(|why| why.to_string())?;
        Ok(Self { authority: authority.pair().clone(), signing })
    }
}

/// Keys of the store from here on ...
const START: &[u8] = b"/kstore/pki/";
/// ... and before here.
const END: &[u8] = b"/kstore/pki0";

/// How long to wait until the store is asked again, if it cannot answer yet.
const PAUSE: Duration = Duration::from_millis(20);

/// After how many such pauses the wait is worth a line: a second.
const PAUSES_UNTIL_TOLD: u32 = 50;

/// What the store has; if it has nothing, `first` is put there. It waits for as long as the store
/// cannot answer, as a member alone of three cannot.
pub(crate) async fn agree(
    storage: &dyn Storage,
    first: impl Fn() -> Result<Shared, String>,
) -> Result<Shared, String> {
    let mut pauses: u32 = 0;
    loop {
        match attempt(storage, &first).await? {
            Ok(shared) => return Ok(shared),
            Err(why) => {
                pauses = pauses.saturating_add(1);
                if pauses == PAUSES_UNTIL_TOLD {
                    tracing::warn!(%why, "waiting for the store");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// The outer error ends the server, the inner one is tried again.
async fn attempt(
    storage: &dyn Storage,
    first: impl Fn() -> Result<Shared, String>,
) -> Result<Result<Shared, String>, String> {
    let query = ListQuery {
        start: Bytes::from_static(START),
        end: Bytes::from_static(END),
        limit: 0,
        freshness: Freshness::Latest,
        counting: Counting::None,
    };
    let listed = match storage.list(query).await {
        Ok(listed) => listed,
        Err(error) => return again(error),
    };
    let text = |name: &str| {
        let found =
            listed.items.iter().find(|stored| stored.key[START.len()..] == *name.as_bytes());
        found.map(|stored| String::from_utf8_lossy(&stored.value).into_owned())
    };
    match (text("ca.crt"), text("ca.key"), text("sa.key")) {
        (Some(certificate), Some(key), Some(signing)) => {
            Ok(Ok(Shared { authority: Pair { certificate, key }, signing }))
        }
        (None, None, None) => {
            let shared = first()?;
            match storage.write(writes(&shared)).await {
                Ok(Written::Done { .. }) => Ok(Ok(shared)),
                Ok(Written::Refused { .. }) => Ok(Err("another server was faster".to_owned())),
                Err(error) => again(error),
            }
        }
        _ => Err("the store has a part of /kstore/pki/ only: delete it, and keys are made anew"
            .to_owned()),
    }
}

fn again(error: StorageError) -> Result<Result<Shared, String>, String> {
    match error {
        StorageError::Unavailable(why) => Ok(Err(why)),
        error => Err(error.to_string()),
    }
}

fn writes(shared: &Shared) -> Vec<Guarded> {
    let Shared { authority: Pair { certificate, key }, signing } = shared;
    let files = [("ca.crt", certificate), ("ca.key", key), ("sa.key", signing)];
    let write = |(name, text): (&str, &String)| Guarded {
        key: [START, name.as_bytes()].concat().into(),
        expected: 0,
        value: Some(Bytes::from(text.clone())),
        lease: 0,
    };
    files.map(write).to_vec()
}
