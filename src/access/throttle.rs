//! A flood of wrong keys: each address may present so many in a minute, and then has to wait before the store is asked
//! again on its behalf. Keys that are in memory are not concerned, whoever sends them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Kind};

const MINUTE: Duration = Duration::from_secs(60);
/// Addresses that are remembered at once; beyond, the oldest minutes are forgotten.
const SOURCES_MAX: usize = 65_536;

#[derive(Debug)]
pub struct Throttle {
    failures_max: u32,
    sources: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Throttle {
    pub fn new(failures_max: u32) -> Self {
        Self { failures_max, sources: Mutex::default() }
    }

    /// Whether `source` may have the store asked once more.
    ///
    /// # Errors
    /// RateLimited, and when its minute is over.
    pub fn may_ask(&self, source: IpAddr, now: Instant) -> Result<(), Error> {
        let sources = self.sources.lock().expect("no code panics while holding this");
        let Some((since, failures)) = sources.get(&network(source)) else { return Ok(()) };
        let age = now.saturating_duration_since(*since);
        if *failures < self.failures_max || age >= MINUTE {
            return Ok(());
        }
        let message = "too many unknown keys from this address: wait, and check the key";
        Err(Error::new(Kind::RateLimited, message).retry_after_is(MINUTE.saturating_sub(age)))
    }

    /// `source` presented a key that is not known.
    pub fn failed(&self, source: IpAddr, now: Instant) {
        let mut sources = self.sources.lock().expect("no code panics while holding this");
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, (since, _)| now.saturating_duration_since(*since) < MINUTE);
            if sources.len() >= SOURCES_MAX {
                sources.clear();
            }
        }
        let (since, failures) = sources.entry(network(source)).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= MINUTE {
            (*since, *failures) = (now, 0);
        }
        *failures = failures.saturating_add(1);
    }
}

/// Whoever has one address of IPv6 usually has the 2^64 around it.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn lets_an_address_fail_so_often_in_a_minute() {
        let throttle = Throttle::new(3);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..3 {
            throttle.may_ask(one, Clock.instant()).unwrap();
            throttle.failed(one, Clock.instant());
        }
        let refused = throttle.may_ask(one, Clock.instant()).unwrap_err();
        assert_eq!((refused.kind(), refused.retry_after()), (Kind::RateLimited, Some(MINUTE)));
        throttle.may_ask(other, Clock.instant()).unwrap();
        tokio::time::advance(MINUTE).await;
        throttle.may_ask(one, Clock.instant()).unwrap();
        throttle.failed(one, Clock.instant());
        throttle.may_ask(one, Clock.instant()).unwrap();
    }

    #[test]
    fn takes_a_network_of_ipv6_for_one() {
        let throttle = Throttle::new(1);
        throttle.failed("2001:db8:1:2::1".parse().unwrap(), Clock.instant());
        assert!(throttle.may_ask("2001:db8:1:2:ffff::9".parse().unwrap(), Clock.instant()).is_err());
        assert!(throttle.may_ask("2001:db8:1:3::1".parse().unwrap(), Clock.instant()).is_ok());
    }
}
