//! What the failure of a call says about the request: whether it is safe to send it again.
//!
//! Invariant: a request that the server may have seen is never taken for one that was not sent.

use std::error::Error as _;

use tonic::{Code, ConnectError, Status};

/// Whether no connection could be made, so that the server cannot have seen the request.
#[must_use]
pub fn never_sent(status: &Status) -> bool {
    // The connection ended, as in a refused handshake, while the request waited for it.
    if status.message() == "operation was canceled" && status.source().is_some() {
        return true;
    }
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the connection broke, or the server says that it cannot serve at the moment: what only
/// reads may try again.
#[must_use]
pub fn is_interrupted(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // A status with a cause was made on this side: the connection ended amid an answer.
        Code::Unknown | Code::Internal | Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}
