//! The one clock of the program.

use ib_wire::time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the machine's monotonic clock: it never steps, and all processes read the same.
pub fn now_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts at zero, so neither part is negative.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The same moment as the engines take it.
pub fn now() -> Instant {
    Instant::from_nanos(now_nanos())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_passes_at_the_rate_of_a_second_per_second() {
        let before = now();
        std::thread::sleep(Duration::from_millis(20));
        let passed = now().since(before);
        assert!(passed >= Duration::from_millis(20) && passed < Duration::from_secs(10), "{passed:?}");
    }
}
