//! What the kernel counts for this process. For people who watch it; nothing rests on it.

use std::fs;
use std::time::Duration;

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Time spent on processors, in user code and in the kernel.
    pub cpu: Duration,
    /// Memory that is really there, in bytes.
    pub resident_bytes: u64,
    /// Open files and sockets.
    pub open_files: u64,
}

/// The kernel reports processor time in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// What this process uses; `None` where the kernel does not say.
#[must_use]
pub fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = resident.split_whitespace().next()?.parse().ok()?;
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(Usage {
        cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
        resident_bytes: kibibytes * 1024,
        open_files,
    })
}

/// Lets this process open as many files and sockets as its user may.
///
/// # Errors
/// The operating system's.
pub fn raise_open_files() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_uses_memory_and_files() {
        let usage = usage().unwrap();
        assert!(usage.resident_bytes > 64 * 1024);
        assert!(usage.open_files >= 3);
    }
}
