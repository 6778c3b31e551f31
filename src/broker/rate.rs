//! How fast one connection may publish: a token bucket. Pure; the time comes in.

use std::time::Duration;
use tokio::time::Instant;

/// Holds up to `burst` tokens and gains `rate` of them a second; a publish costs one, a large one
/// more.
#[derive(Debug)]
pub struct Bucket {
    tokens: f64,
    rate: f64,
    burst: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one. A rate or burst of 0 counts as 1, so that it always moves.
    pub fn new(rate: u32, burst: u32, now: Instant) -> Bucket {
        let burst = f64::from(burst.max(1));
        Bucket {
            tokens: burst,
            rate: f64::from(rate.max(1)),
            burst,
            filled: now,
        }
    }

    /// Takes a token and another for each 4 KiB of `len`, or says from when there are so many. A
    /// publish that costs more than a full bucket takes a full one.
    pub fn take(&mut self, now: Instant, len: usize) -> Result<(), Instant> {
        let cost = (1.0 + (len / 4096) as f64).min(self.burst);
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.filled = now;
        if self.tokens >= cost {
            self.tokens -= cost;
            return Ok(());
        }
        let missing = (cost - self.tokens) / self.rate;
        // A millisecond more, which is what the timer can tell apart.
        Err(now + Duration::from_secs_f64(missing) + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start, 10), Ok(()));
        }
        let again = bucket.take(start, 10).unwrap_err();
        assert_eq!(again - start, Duration::from_millis(101));
        assert_eq!(bucket.take(again, 10), Ok(()));
        assert!(bucket.take(again, 10).is_err());
        let later = again + Duration::from_secs(100);
        for _ in 0..3 {
            assert_eq!(bucket.take(later, 10), Ok(()));
        }
        assert!(bucket.take(later, 10).is_err());
    }
}
