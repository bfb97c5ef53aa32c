//! Requests of the last minute, in seconds: exact to one second whatever the pattern, and of one size whatever the
//! limit. A bucket that refills would let twice the limit pass within one minute.

use std::time::Duration;

use tokio::time::Instant;

const SECONDS: usize = 60;

/// Counts by second of a monotonic clock.
#[derive(Debug)]
pub(super) struct Window {
    since: Option<Instant>,
    /// The second, from `since`, of the newest count.
    newest: u64,
    counts: [u32; SECONDS],
    total: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self { since: None, newest: 0, counts: [0; SECONDS], total: 0 }
    }
}

impl Window {
    /// Counts one more, unless there are `max` in the minute that ends now.
    ///
    /// # Errors
    /// How long until one more may pass.
    pub(super) fn count(&mut self, now: Instant, max: u32) -> Result<(), Duration> {
        let since = *self.since.get_or_insert(now);
        self.move_to(now.saturating_duration_since(since).as_secs());
        if self.total >= max {
            return Err(self.wait(now.saturating_duration_since(since), max));
        }
        self.counts[slot(self.newest)] += 1;
        self.total += 1;
        Ok(())
    }

    /// Forgets the one that was counted last.
    pub(super) fn take_back(&mut self) {
        let newest = &mut self.counts[slot(self.newest)];
        if *newest > 0 {
            *newest -= 1;
            self.total -= 1;
        }
    }

    pub(super) fn is_empty(&self, now: Instant) -> bool {
        let age = self.since.map_or(0, |since| now.saturating_duration_since(since).as_secs() - self.newest);
        self.total == 0 || age >= SECONDS as u64
    }

    /// Empties the seconds that are more than a minute old.
    fn move_to(&mut self, second: u64) {
        let passed = second.saturating_sub(self.newest).min(SECONDS as u64);
        for step in 1..=passed {
            // After a long pause this goes once around, whichever second it begins with.
            let old = &mut self.counts[slot(second - passed + step)];
            self.total -= std::mem::take(old);
        }
        self.newest = self.newest.max(second);
    }

    /// Until so many of the oldest are a minute old that less than `max` are left.
    fn wait(&self, now: Duration, max: u32) -> Duration {
        let mut left = self.total;
        for age in (0..SECONDS as u64).rev().filter(|age| *age <= self.newest) {
            let second = self.newest - age;
            left -= self.counts[slot(second)];
            if left < max {
                return Duration::from_secs(second + SECONDS as u64).saturating_sub(now);
            }
        }
        Duration::from_secs(SECONDS as u64)
    }
}

fn slot(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn lets_so_many_pass_in_any_minute_and_says_when_the_next_may() {
        let mut window = Window::default();
        let mut passed = Vec::new();
        let start = Clock.instant();
        for _ in 0..600 {
            match window.count(Clock.instant(), 10) {
                Ok(()) => passed.push(Clock.instant() - start),
                Err(after) => {
                    assert!(after <= Duration::from_secs(60) && after > Duration::ZERO, "{after:?}");
                    let mut later = Clock.instant() + after;
                    later += Duration::from_millis(1);
                    let mut copy = Window { counts: window.counts, ..Window::default() };
                    (copy.since, copy.newest, copy.total) = (window.since, window.newest, window.total);
                    assert_eq!(copy.count(later, 10), Ok(()), "it says when to come back");
                }
            }
            advance(Duration::from_millis(700)).await;
        }
        for (at, time) in passed.iter().enumerate() {
            let minute =
                passed[at..].iter().take_while(|other| other.saturating_sub(*time) < Duration::from_secs(59)).count();
            assert!(minute <= 10, "{minute} in the minute from {time:?}");
        }
        assert!(passed.len() >= 70, "{}", passed.len());
    }

    #[tokio::test(start_paused = true)]
    async fn forgets_after_a_long_pause_and_takes_back() {
        let mut window = Window::default();
        assert_eq!(window.count(Clock.instant(), 1), Ok(()));
        assert_eq!(window.count(Clock.instant(), 1), Err(Duration::from_secs(60)));
        window.take_back();
        assert_eq!(window.count(Clock.instant(), 1), Ok(()));
        advance(Duration::from_secs(1_000_000)).await;
        assert!(window.is_empty(Clock.instant()));
        assert_eq!(window.count(Clock.instant(), 1), Ok(()));
    }
}
