//! Guessing at one account's password from many addresses: after a few wrong ones, each must wait longer than the one before.
//!
//! Nobody is locked out: the longest wait is a minute, and whoever has signed in from an address before is counted apart
//! from everybody elsewhere (ASVS 5.0, 6.1.1 and 6.3.1). A guess counts when it begins, so that many at once are as many as
//! one after the other; the right password forgets them. Names are treated alike whether or not anybody has them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::Script;
use sha2::{Digest, Sha256};

use super::backend::Backend;

/// Guesses before there is a wait, the first wait, and the longest.
const FREE: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After so long without a guess they are forgotten, and after so long without a sign-in an address is.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
const ADDRESS_FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);
/// Accounts remembered in this process before those without a recent guess are forgotten.
const REMEMBERED: usize = 10_000;

/// A hash of how many guesses there were and from when on there may be another. Returns the milliseconds to wait; none to
/// who may guess now. A known address has a count of its own.
const BEGIN: &str = "
local key = KEYS[1]
if redis.call('EXISTS', KEYS[2]) == 1 then key = KEYS[3] end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local until_then = tonumber(redis.call('HGET', key, 'until') or '0')
if now < until_then then return until_then - now end
local count = redis.call('HINCRBY', key, 'count', 1)
local free, first, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if count >= free then
    redis.call('HSET', key, 'until', now + math.min(longest, first * 2 ^ math.min(count - free, 20)))
end
redis.call('PEXPIRE', key, ARGV[4])
return 0
";

/// Forgets the guesses that were counted with this one, and knows the address from now on.
const WAS_RIGHT: &str = "
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DEL', KEYS[3]) else redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])
return 1
";

/// A password that is tried.
#[derive(Debug)]
pub(crate) struct Guess {
    /// Not the name itself: people type passwords there.
    account: String,
    address: String,
}

impl Guess {
    pub(super) fn of(username: &str, address: Option<&str>) -> Self {
        let account = hex::encode(&Sha256::digest(username.to_lowercase())[..16]);
        Self { account, address: address.unwrap_or("nowhere").to_owned() }
    }

    fn anywhere(&self) -> String {
        format!("guesses:{}", self.account)
    }

    fn same_address(&self) -> String {
        format!("guesses:{}:{}", self.account, self.address)
    }

    /// Says that the account has been signed in to from the address.
    fn known(&self) -> String {
        format!("known:{}:{}", self.account, self.address)
    }
}

/// Counts guesses, for all processes together while Redis is there.
pub(crate) struct Guesses {
    shared: Arc<Backend>,
    begin: Script,
    was_right: Script,
    here: Mutex<Here>,
}

#[derive(Debug, Default)]
struct Here {
    counts: HashMap<String, Count>,
    known: HashMap<String, Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    guesses: u32,
    last: Instant,
    wait: Duration,
}

impl Guesses {
    pub(crate) fn new(shared: Arc<Backend>) -> Self {
        Self { shared, begin: Script::new(BEGIN), was_right: Script::new(WAS_RIGHT), here: Mutex::default() }
    }

    /// Counts a guess; how long to wait, if it may not be made now. Then it does not count.
    pub(super) async fn begin(&self, guess: &Guess) -> Option<Duration> {
        let key = |name: String| self.shared.key(&name);
        let mut call = self.begin.key(key(guess.anywhere()));
        call.key(key(guess.known())).key(key(guess.same_address())).arg(FREE);
        for duration in [FIRST_WAIT, LONGEST_WAIT, FORGOTTEN] {
            call.arg(duration.as_secs() * 1000);
        }
        let wait = match self.shared.run::<u64>(&call).await {
            Some(milliseconds) => Duration::from_millis(milliseconds),
            None => self.begin_here(guess, Instant::now()),
        };
        (!wait.is_zero()).then_some(wait)
    }

    /// Forgets the guesses that were counted with this one, and remembers the address.
    pub(crate) async fn was_right(&self, guess: &Guess) {
        self.was_right_here(guess, Instant::now());
        let key = |name: String| self.shared.key(&name);
        let mut call = self.was_right.key(key(guess.anywhere()));
        call.key(key(guess.known())).key(key(guess.same_address())).arg(ADDRESS_FORGOTTEN.as_secs());
        // Without Redis this process remembers alone.
        let _: Option<u8> = self.shared.run(&call).await;
    }

    fn begin_here(&self, guess: &Guess, now: Instant) -> Duration {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.forget(now);
        let key =
            if here.known.contains_key(&guess.known()) { guess.same_address() } else { guess.anywhere() };
        let count = here.counts.entry(key).or_insert(Count { guesses: 0, last: now, wait: Duration::ZERO });
        let waited = now.duration_since(count.last);
        if waited < count.wait {
            return count.wait - waited;
        }
        let guesses = if waited < FORGOTTEN { count.guesses + 1 } else { 1 };
        *count = Count { guesses, last: now, wait: wait_after(guesses) };
        Duration::ZERO
    }

    fn was_right_here(&self, guess: &Guess, now: Instant) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let was_known = here.known.insert(guess.known(), now).is_some();
        let counted = if was_known { guess.same_address() } else { guess.anywhere() };
        here.counts.remove(&counted);
    }
}

impl Here {
    fn forget(&mut self, now: Instant) {
        if self.counts.len() >= REMEMBERED {
            self.counts.retain(|_, count| now.duration_since(count.last) < FORGOTTEN);
        }
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, at| now.duration_since(*at) < FORGOTTEN);
        }
    }
}

/// How long the next has to wait after so many.
fn wait_after(guesses: u32) -> Duration {
    match guesses.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(more) => (FIRST_WAIT * 2_u32.pow(more.min(20))).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses() -> Guesses {
        Guesses::new(Arc::new(Backend::new(None, "test")))
    }

    #[test]
    fn after_five_guesses_each_waits_twice_as_long_as_the_one_before_and_nobody_longer_than_a_minute() {
        let (guesses, start) = (guesses(), Instant::now());
        let guess = |address| Guess::of("Ada", Some(address));
        for _ in 0..5 {
            assert!(guesses.begin_here(&guess("192.0.2.1"), start).is_zero());
        }
        let mut now = start;
        for seconds in [5, 10, 20, 40, 60, 60] {
            let wait = guesses.begin_here(&guess("192.0.2.2"), now);
            assert_eq!(wait, Duration::from_secs(seconds));
            assert_eq!(
                guesses.begin_here(&Guess::of("ada", None), now),
                wait,
                "one that waits does not count"
            );
            assert!(guesses.begin_here(&Guess::of("grace", None), now).is_zero(), "others are not concerned");
            guesses.was_right_here(&Guess::of("grace", None), now);
            now += wait;
            assert!(guesses.begin_here(&guess("192.0.2.3"), now).is_zero());
        }
        let later = now + FORGOTTEN;
        assert!(guesses.begin_here(&guess("192.0.2.1"), later).is_zero());
        assert!(guesses.begin_here(&guess("192.0.2.1"), later).is_zero(), "what is long ago is forgotten");
    }

    #[test]
    fn whoever_signed_in_from_an_address_before_does_not_wait_for_strangers() {
        let (guesses, now) = (guesses(), Instant::now());
        let own = Guess::of("ada", Some("192.0.2.1"));
        guesses.was_right_here(&own, now);
        for _ in 0..5 {
            assert!(guesses.begin_here(&Guess::of("ada", Some("198.51.100.1")), now).is_zero());
        }
        assert!(!guesses.begin_here(&Guess::of("ada", Some("198.51.100.2")), now).is_zero());
        assert!(guesses.begin_here(&own, now).is_zero());
    }
}
