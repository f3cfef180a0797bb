//! What tests are made of: a simulated machine for one member, or for a whole cluster of them.
//!
//! ```text
//!   host trait     simulated by       what it can do that a real one cannot
//!   Disk, File     SimDisk            lose what was not synced, tear, fail the n-th operation, fork
//!   Clock          SimClock           stand still, jump
//!   Random         SimRandom          say the same again
//!   Jobs, Lane     sim::SimJobs       run in virtual time, stall, die half-way
//! ```
//!
//! [`sim`] puts these together with a runtime for openraft and a net between members, so that a
//! whole cluster runs in one thread.
//!
//! Everything here is driven by [`Prng`]: the same seed gives the same run, byte for byte.
//! Nothing of this crate is linked into a release.

mod clock;
pub mod disk;
mod prng;
pub mod sim;

pub use clock::{SimClock, SimRandom};
pub use disk::SimDisk;
pub use prng::{Prng, mix, mix_bytes};
