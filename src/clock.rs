//! Where time and randomness come from. Nothing else in this crate asks the system for either (clippy sees to it),
//! so that a test can say what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use uuid::{ContextV7, Timestamp, Uuid};

/// The source of time and of identifiers. Cheap to copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Monotonic time, for durations and deadlines. Follows tokio's clock, which tests may pause.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn instant(self) -> Instant {
        Instant::now()
    }

    /// Time of day as microseconds since the Unix epoch, UTC.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn unix_micros(self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// A new UUIDv7 whose time is [`Clock::unix_micros`]; later ones sort after earlier ones.
    pub fn uuid(self) -> Uuid {
        static CONTEXT: std::sync::Mutex<ContextV7> = std::sync::Mutex::new(ContextV7::new());
        let micros = self.unix_micros().unsigned_abs();
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
        Uuid::new_v7(Timestamp::from_unix(&CONTEXT, micros / 1_000_000, nanos))
    }

    /// Random bytes, of a quality for keys.
    ///
    /// # Panics
    /// The system has no randomness, and nothing here could be safe.
    pub fn random<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes).expect("the system has a source of randomness");
        bytes
    }
}

/// `micros` since the epoch as RFC 3339 in UTC, with as many fraction digits as are needed.
pub fn rfc3339(micros: i64) -> String {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000)).unwrap_or(0) * 1_000;
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_times_as_rfc_3339_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_767_323_045_500_000), "2026-01-02T03:04:05.500Z");
    }

    #[test]
    fn makes_identifiers_that_sort_by_time() {
        let ids: Vec<_> = (0..100).map(|_| Clock.uuid()).collect();
        assert!(ids.is_sorted());
    }
}
