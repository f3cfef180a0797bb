//! What processes have spent, from `/proc`.

use std::fs;

/// Linux tells processes' time in hundredths of a second, however its own clock ticks (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// What some processes have spent between them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// On processors, in user and in kernel mode, by all threads.
    pub(crate) cpu_seconds: f64,
    /// Bytes that were handed to the disk.
    pub(crate) written: u64,
    /// Bytes of memory that are in use now.
    pub(crate) resident: u64,
    /// The most of it that was ever in use, or since `/proc/PID/clear_refs` was told 5.
    pub(crate) peak: u64,
}

impl Spent {
    /// What was spent since `before`. Memory is not spent: it is what is in use now.
    pub(crate) fn since(self, before: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            written: self.written.saturating_sub(before.written),
            resident: self.resident,
            peak: self.peak,
        }
    }
}

/// What this process has spent.
pub(crate) fn of_self() -> Result<Spent, String> {
    of("self")
}

/// What the processes of `pids` have spent in sum.
pub(crate) fn of_all(pids: &[u32]) -> Result<Spent, String> {
    let mut sum = Spent::default();
    for pid in pids {
        let one = of(&pid.to_string())?;
        sum.cpu_seconds += one.cpu_seconds;
        sum.written += one.written;
        sum.resident += one.resident;
        sum.peak += one.peak;
    }
    Ok(sum)
}

fn of(process: &str) -> Result<Spent, String> {
    let file = |name: &str| {
        let path = format!("/proc/{process}/{name}");
        fs::read_to_string(&path).map_err(|e| format!("read {path}: {e}"))
    };
    let ticks = cpu_ticks(&file("stat")?);
    let ticks = ticks.ok_or_else(|| format!("/proc/{process}/stat is in another form"))?;
    let status = file("status")?;
    Ok(Spent {
        cpu_seconds: ticks as f64 / TICKS_PER_SECOND,
        written: field(&file("io")?, "write_bytes:"),
        resident: field(&status, "VmRSS:") * 1024,
        peak: field(&status, "VmHWM:") * 1024,
    })
}

/// The user's and the kernel's ticks: the twelfth and thirteenth word behind the program's name,
/// which is in parentheses since it may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, words) = stat.rsplit_once(')')?;
    let mut words = words.split_ascii_whitespace().skip(11);
    let user: u64 = words.next()?.parse().ok()?;
    let kernel: u64 = words.next()?.parse().ok()?;
    Some(user + kernel)
}

/// The number behind `name` at the beginning of a line; zero if there is none.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_hides_no_ticks() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 9 0 0 0 30 12 0 0 20 0 1 0 5";
        assert_eq!(cpu_ticks(stat), Some(42));
    }

    #[test]
    fn a_field_is_found_at_the_beginning_of_its_line_only() {
        let io = "cancelled_write_bytes: 1\nwrite_bytes: 4096\n";
        assert_eq!(field(io, "write_bytes:"), 4096);
        assert_eq!(field(io, "read_bytes:"), 0);
    }
}
