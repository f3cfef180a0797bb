//! openraft's state machine over the [`Applier`].
//!
//! openraft runs apply, install and the questions about snapshots one after the other; each is
//! handed to the apply lane and awaited. What apply answers to clients does not pass through
//! openraft: the lane finds the waiters itself.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use kstore_host::Jobs;
use kstore_mvcc::ReceivedImage;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{AsyncRuntime, RaftSnapshotBuilder, Snapshot, SnapshotMeta};

use super::codec::{decode_stored_membership, encode_payload, encode_stored_membership};
use super::types::{LogId, Payload, StoredMembership, TypeConfig, log_id_at, position_of};
use crate::apply::{Applier, EntryToApply};
use crate::image::{ImageReader, PinnedImage};

/// An image on its way out or in.
#[derive(Clone)]
pub(crate) enum ImageSource {
    /// The files of a durable root of this member.
    Pinned(Arc<PinnedImage>),
    /// What another member has sent.
    /// Taken out when it is installed.
    Received(Arc<Mutex<Option<ReceivedImage>>>),
}

impl ImageSource {
    /// An image that arrived whole.
    pub(crate) fn received(image: ReceivedImage) -> Self {
        Self::Received(Arc::new(Mutex::new(Some(image))))
    }

    /// The stream form of the image, from its beginning.
    pub(crate) fn reader(&self) -> io::Result<ImageReader> {
        match self {
            Self::Pinned(image) => Ok(image.reader()),
            Self::Received(_) => Err(io::Error::other("a received image is installed, not sent")),
        }
    }
}

/// A membership on its way into the store.
pub(crate) struct MembershipEntry {
    /// As the engine reads it back, with the position of its entry.
    pub(crate) encoded: Bytes,
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
}

impl MembershipEntry {
    fn of(stored: &StoredMembership) -> Self {
        Self {
            encoded: encode_stored_membership(stored),
            voters: stored.membership().voter_ids().collect(),
            learners: stored.membership().learner_ids().collect(),
        }
    }
}

/// How many entries are applied before their view is published, and how many bytes of them.
const BATCH_ENTRIES: usize = 1024;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The state machine as openraft sees it. Clones share the applier.
#[derive(Clone)]
pub(crate) struct StateMachine {
    applier: Arc<Applier>,
    jobs: Arc<dyn Jobs>,
    /// Whether an image is made of a checkpoint written for it. A member has a checkpointer, which
    /// asks for an image after each checkpoint; openraft's suite has none.
    checkpoints: bool,
}

impl StateMachine {
    pub(crate) fn new(applier: Arc<Applier>, jobs: Arc<dyn Jobs>) -> Self {
        Self { applier, jobs, checkpoints: false }
    }

    #[cfg(test)]
    pub(crate) fn that_checkpoints(mut self) -> Self {
        self.checkpoints = true;
        self
    }

    /// The newest durable root as a snapshot.
    async fn newest_image<R: AsyncRuntime>(
        &self,
    ) -> io::Result<SnapshotOf<TypeConfig<R>, ImageSource>> {
        let image = self.applier.pin_image(Arc::clone(&self.jobs)).await?;
        let last_membership = membership_of(&image.membership)?;
        let meta = SnapshotMeta { last_log_id: image.position.map(log_id_at), last_membership };
        Ok(Snapshot { meta, snapshot: ImageSource::Pinned(Arc::new(image)) })
    }
}

fn membership_of(stored: &Option<Bytes>) -> io::Result<StoredMembership> {
    match stored {
        None => Ok(StoredMembership::default()),
        Some(bytes) => Ok(decode_stored_membership(bytes)?),
    }
}

impl<R: AsyncRuntime> RaftStateMachine<TypeConfig<R>> for StateMachine {
    type SnapshotData = ImageSource;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let (position, membership) = self.applier.applied_state().await?;
        Ok((position.map(log_id_at), membership_of(&membership)?))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig<R>>>> + Unpin + Send,
    {
        while let Some(first) = entries.next().await {
            let mut batch = Vec::new();
            let mut responders = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(item) = next {
                let (entry, responder) = item?;
                let position = position_of(&entry.log_id);
                let payload = match &entry.payload {
                    Payload::Membership(membership) => {
                        let stored = StoredMembership::new(Some(entry.log_id), membership.clone());
                        EntryToApply::membership(position, MembershipEntry::of(&stored))
                    }
                    other => EntryToApply::payload(position, encode_payload(other)),
                };
                bytes += payload.bytes();
                batch.push(payload);
                responders.extend(responder);
                if batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
                    break;
                }
                next = entries.next().now_or_never().flatten();
            }
            self.applier.apply(batch).await?;
            for responder in responders {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig<R>>,
        snapshot: ImageSource,
    ) -> io::Result<()> {
        let received = match snapshot {
            ImageSource::Received(received) => {
                let received = received.lock().unwrap_or_else(PoisonError::into_inner).take();
                received.ok_or_else(|| io::Error::other("the image was installed before"))?
            }
            ImageSource::Pinned(image) => self.applier.copy_image(image).await?,
        };
        let position = meta.last_log_id.as_ref().map(position_of);
        self.applier.install(received, position).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<TypeConfig<R>, ImageSource>>> {
        // A store that was never written to is no snapshot of anything.
        let image = self.newest_image::<R>().await?;
        Ok(image.meta.last_log_id.is_some().then_some(image))
    }
}

impl<R: AsyncRuntime> RaftSnapshotBuilder<TypeConfig<R>> for StateMachine {
    type SnapshotData = ImageSource;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig<R>, ImageSource>> {
        let image = self.newest_image::<R>().await?;
        // A start that finds a purged log and no root asks, too: the state becomes durable here.
        if image.meta.last_log_id.is_some() && !self.checkpoints {
            return Ok(image);
        }
        self.applier.checkpoint().await?;
        self.newest_image::<R>().await
    }
}
