//! Who finds the faults: the whole-cluster simulator, and the harness that kills real processes.
//!
//! ```text
//!   sim    real members on a simulated disk, network, clock and scheduler, one process, one seed
//!   bin/sim    runs seeds, prints counts, replays a failing one
//!   bin/kill   real processes, killed at random moments under load
//!   compat/    suites in which stock clients are the judge
//! ```

pub mod sim;
