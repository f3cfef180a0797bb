//! Images on their way in.

use bytes::Bytes;

use crate::apply::Home;

/// Takes the pieces of one image at a time.
pub(crate) struct Incoming {}

/// An image that arrived whole.
#[derive(Clone)]
pub(crate) struct ReceivedImage {}

impl Incoming {
    pub(crate) async fn take(
        &self,
        _transfer: u64,
        _offset: u64,
        _bytes: Bytes,
        _last: bool,
    ) -> Result<u64, String> {
        Err("images come later".to_owned())
    }

    pub(crate) async fn finish(&self, _transfer: u64) -> Result<ReceivedImage, String> {
        Err("images come later".to_owned())
    }
}

impl ReceivedImage {
    pub(crate) fn install(&self, _home: &Home) -> Result<(), String> {
        Err("images come later".to_owned())
    }
}
