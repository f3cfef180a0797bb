//! Who finds the faults: the whole-cluster simulator, and the harness that kills real processes.
//!
//! ```text
//!   kill   real processes under load, killed, started again and compared
//!   sim    real members on a simulated disk, network, clock and scheduler, one process, one seed
//!   bin/sim    runs seeds, prints counts, replays a failing one
//!   bin/power  cuts the power as often as it is told, prints how often each rare thing happened
//!   bin/kill   kills as often as it is told, prints how long writes were held up
//!   compat/    suites in which stock clients are the judge
//! ```

pub mod kill;
pub mod sim;
