//! Token buckets, kept in this process.
//!
//! Each address has a bucket of `capacity` tokens that fills up again within `window`. Several API processes
//! have a bucket each, so that the limit of an installation is at most this one times their number.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Addresses remembered before the full buckets among them, which say nothing, are forgotten.
const REMEMBERED: usize = 10_000;

/// A limit of so many requests in a window, for each address.
#[derive(Debug)]
pub(crate) struct RateLimit {
    capacity: f64,
    window: Duration,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RateLimit {
    pub(crate) fn new(capacity: u32, window: Duration) -> Self {
        Self { capacity: f64::from(capacity), window, buckets: Mutex::default() }
    }

    /// Takes a token for `address`; if there is none, says in how many seconds there will be.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.capacity);
        }
        let bucket =
            buckets.entry(neighbourhood(address)).or_insert(Bucket { tokens: self.capacity, at: now });
        let tokens = self.filled(*bucket, now);
        if tokens >= 1.0 {
            *bucket = Bucket { tokens: tokens - 1.0, at: now };
            return Ok(());
        }
        *bucket = Bucket { tokens, at: now };
        let seconds = ((1.0 - tokens) * self.window.as_secs_f64() / self.capacity).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the window's length"
        )]
        Err((seconds as u64).max(1))
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + passed * self.capacity / self.window.as_secs_f64()).min(self.capacity)
    }
}

/// What one subscriber is given: an IPv4 address, or a /64 of IPv6 addresses.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_eleventh_request_of_a_minute_waits_for_six_seconds() {
        let (limit, start) = (RateLimit::new(10, Duration::from_secs(60)), Instant::now());
        for _ in 0..10 {
            assert_eq!(limit.take(address("192.0.2.1"), start), Ok(()));
        }
        assert_eq!(limit.take(address("192.0.2.1"), start), Err(6));
        assert_eq!(limit.take(address("192.0.2.2"), start), Ok(()), "others are not concerned");
        assert_eq!(limit.take(address("192.0.2.1"), start + Duration::from_secs(6)), Ok(()));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_share_a_bucket() {
        let (limit, now) = (RateLimit::new(1, Duration::from_secs(60)), Instant::now());
        assert_eq!(limit.take(address("2001:db8::1"), now), Ok(()));
        assert!(limit.take(address("2001:db8::2"), now).is_err());
        assert_eq!(limit.take(address("2001:db8:0:1::1"), now), Ok(()));
        assert_eq!(limit.take(address("::ffff:192.0.2.1"), now), Ok(()));
        assert!(limit.take(address("192.0.2.1"), now).is_err());
    }
}
