//! Images on their way in: the pieces of one transfer at a time, written to a directory beside the
//! store, checked against their digest, and then installed on the apply lane.
//!
//! Invariant: the pieces of a transfer come in order; one that does not fit ends the transfer, and
//! the sender begins anew.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kstore_host::{Disk, Jobs};
use kstore_mvcc::{ImageReceiver, ReceivedImage};
use tokio::sync::oneshot;

/// Takes images.
pub(crate) struct Incoming {
    disk: Arc<dyn Disk>,
    jobs: Arc<dyn Jobs>,
    /// Where the pieces are written.
    dir: PathBuf,
    current: Mutex<Option<Transfer>>,
}

/// One image on its way.
struct Transfer {
    number: u64,
    length: u64,
    receiver: ImageReceiver,
}

impl Incoming {
    pub(crate) fn new(disk: Arc<dyn Disk>, jobs: Arc<dyn Jobs>, dir: PathBuf) -> Self {
        Self { disk, jobs, dir, current: Mutex::new(None) }
    }

    /// The transfer with this number if the piece fits it; a new one if it is a first piece.
    fn fitting(&self, number: u64, offset: u64) -> Result<Option<Transfer>, String> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.take() {
            Some(transfer) if transfer.number == number && transfer.length == offset => {
                Ok(Some(transfer))
            }
            _ if offset == 0 => Ok(None),
            _ => Err("the piece does not follow the one before".to_owned()),
        }
    }

    async fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let (sender, receiver) = oneshot::channel();
        let job = move || drop(sender.send(work()));
        self.jobs.run(Box::new(job)).map_err(|e| e.to_string())?;
        receiver.await.map_err(|_| "write job was dropped".to_owned())?
    }

    /// Takes a piece; the length of what has come so far.
    pub(crate) async fn take(&self, number: u64, offset: u64, bytes: Bytes) -> Result<u64, String> {
        let transfer = self.fitting(number, offset)?;
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        let write = move || {
            let mut transfer = match transfer {
                Some(transfer) => transfer,
                None => Transfer {
                    number,
                    length: 0,
                    receiver: ImageReceiver::begin(disk, &dir).map_err(|e| e.to_string())?,
                },
            };
            transfer.receiver.write(&bytes).map_err(|e| e.to_string())?;
            transfer.length += bytes.len() as u64;
            Ok(transfer)
        };
        let transfer = self.job(write).await?;
        let length = transfer.length;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(transfer);
        Ok(length)
    }

    /// Ends a transfer whose last piece has come.
    pub(crate) async fn finish(&self, number: u64, length: u64) -> Result<ReceivedImage, String> {
        let transfer = self.fitting(number, length)?.ok_or("there is no such transfer")?;
        self.job(move || transfer.receiver.finish().map_err(|e| e.to_string())).await
    }
}
