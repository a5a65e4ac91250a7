//! Counting: so many in any stretch of time as long as the window.
//!
//! The count is kept in Redis, so that all API processes share it. While Redis is away each process counts for itself, and
//! the limit of an installation is at most this one times their number.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::Script;
use uuid::Uuid;

use super::backend::Backend;

/// Subjects remembered in this process before those without a recent request are forgotten.
const REMEMBERED: usize = 10_000;

/// A sorted set of what was let through, by the time that Redis says it is. Returns whether this one was, how many are
/// in the window, and in how many milliseconds the oldest leaves it.
const TAKE: &str = "
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local count, let_through = redis.call('ZCARD', KEYS[1]), 0
if count < limit then
    redis.call('ZADD', KEYS[1], now, ARGV[3])
    redis.call('PEXPIRE', KEYS[1], window)
    count, let_through = count + 1, 1
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {let_through, count, window - (now - oldest[2])}
";

/// A limit: at most so many in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// What it is called in headers and in Redis.
    pub(crate) name: &'static str,
    pub(crate) limit: u32,
    pub(crate) window: Duration,
}

/// How a request stands with a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) quota: Quota,
    pub(crate) is_let_through: bool,
    pub(crate) remaining: u32,
    /// Until one more is let through than is now.
    pub(crate) until_more: Duration,
    /// To give it back with.
    pub(super) receipt: Receipt,
}

impl Standing {
    /// [`Self::until_more`], in whole seconds, at least one.
    pub(crate) fn seconds(&self) -> u64 {
        (self.until_more.as_millis().div_ceil(1000) as u64).max(1)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receipt {
    key: String,
    id: Uuid,
}

/// Counts what is let through.
pub(crate) struct Counter {
    shared: Arc<Backend>,
    take: Script,
    here: Mutex<HashMap<String, VecDeque<(Instant, Uuid)>>>,
}

impl Counter {
    /// Counts in `shared`, and while that is away in this process.
    pub(crate) fn new(shared: Arc<Backend>) -> Self {
        Self { shared, take: Script::new(TAKE), here: Mutex::default() }
    }

    /// Takes one of `subject`'s share of `quota`, if there is one left.
    pub(crate) async fn take(&self, quota: Quota, subject: &str) -> Standing {
        let key = self.shared.key(&format!("{}:{subject}", quota.name));
        let receipt = Receipt { key, id: Uuid::new_v4() };
        let counted = self.take_together(quota, &receipt).await;
        let (is_let_through, count, until_more) =
            counted.unwrap_or_else(|| self.take_here(quota, &receipt, Instant::now()));
        let remaining = quota.limit.saturating_sub(count);
        Standing { quota, is_let_through, remaining, until_more, receipt }
    }

    /// Undoes [`Self::take`], as far as anybody is there to be told.
    pub(super) async fn give_back(&self, receipt: &Receipt) {
        self.give_back_here(receipt);
        let remove = redis::cmd("ZREM").arg(&receipt.key).arg(receipt.id.to_string()).to_owned();
        let _: Option<u8> = self.shared.ask(&remove).await;
    }

    async fn take_together(&self, quota: Quota, receipt: &Receipt) -> Option<(bool, u32, Duration)> {
        let mut call = self.take.key(&receipt.key);
        call.arg(u64::try_from(quota.window.as_millis()).unwrap_or(u64::MAX))
            .arg(quota.limit)
            .arg(receipt.id.to_string());
        let (let_through, count, wait): (u8, u32, i64) = self.shared.run(&call).await?;
        Some((let_through == 1, count, Duration::from_millis(wait.max(1).unsigned_abs())))
    }

    fn give_back_here(&self, receipt: &Receipt) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = here.get_mut(&receipt.key) {
            taken.retain(|(_, id)| *id != receipt.id);
        }
    }

    fn take_here(&self, quota: Quota, receipt: &Receipt, now: Instant) -> (bool, u32, Duration) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if here.len() >= REMEMBERED {
            here.retain(|_, taken| {
                taken.back().is_some_and(|(at, _)| now.duration_since(*at) < quota.window)
            });
        }
        let taken = here.entry(receipt.key.clone()).or_default();
        while taken.front().is_some_and(|(at, _)| now.duration_since(*at) >= quota.window) {
            taken.pop_front();
        }
        let is_let_through = taken.len() < quota.limit as usize;
        if is_let_through {
            taken.push_back((now, receipt.id));
        }
        let oldest = taken.front().map_or(now, |(at, _)| *at);
        let count = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        (is_let_through, count, quota.window.saturating_sub(now.duration_since(oldest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_A_MINUTE: Quota = Quota { name: "test", limit: 10, window: Duration::from_secs(60) };

    fn receipt(subject: &str) -> Receipt {
        Receipt { key: subject.into(), id: Uuid::new_v4() }
    }

    #[test]
    fn the_eleventh_of_a_minute_waits_until_the_first_is_a_minute_old() {
        let (counter, start) = (Counter::new(Arc::new(Backend::new(None, "test"))), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for second in 0..10 {
            let (let_through, count, _) = counter.take_here(TEN_A_MINUTE, &receipt("a"), after(second));
            assert!(let_through && u64::from(count) == second + 1);
        }
        let refused = counter.take_here(TEN_A_MINUTE, &receipt("a"), after(10));
        assert_eq!(refused, (false, 10, Duration::from_secs(50)));
        assert!(counter.take_here(TEN_A_MINUTE, &receipt("b"), after(10)).0, "others are not concerned");
        assert!(!counter.take_here(TEN_A_MINUTE, &receipt("a"), after(59)).0);
        assert!(counter.take_here(TEN_A_MINUTE, &receipt("a"), after(60)).0);
        assert!(!counter.take_here(TEN_A_MINUTE, &receipt("a"), after(60)).0, "only one has left the window");
    }

    #[tokio::test]
    async fn what_is_given_back_can_be_taken_again() {
        let counter = Counter::new(Arc::new(Backend::new(None, "test")));
        let one = Quota { limit: 1, ..TEN_A_MINUTE };
        let first = counter.take(one, "a").await;
        assert!(first.is_let_through && first.remaining == 0);
        assert!(!counter.take(one, "a").await.is_let_through);
        counter.give_back(&first.receipt).await;
        assert!(counter.take(one, "a").await.is_let_through);
    }
}
