//! Connections at the broker's port of which is not known yet whose they are.
//!
//! ```text
//!  enter ──► guest ──┬─ a statement that is taken ──► known: no guest any more
//!                    ├─ ten seconds are over ──────► closed
//!                    └─ too many newer ones ────────► closed
//! ```
//!
//! Anybody may connect, so that a newcomer always gets in, and the one that has been there longest
//! goes for it: whoever has a statement shows it at once, who only holds a place has been there for
//! long. They are counted per address (of IPv6 per network, of which a host has all addresses).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time};

/// Guests from one address.
const MAX_PER_ADDRESS: usize = 16;
/// Guests at once.
const MAX_GUESTS: usize = 256;

/// All that are there.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<Book>);

/// Pure: who has to go for whom.
#[derive(Debug, Default)]
struct Book {
    /// By the order in which they came.
    there: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    next: u64,
}

impl Book {
    /// Lets one in; returns its number.
    fn enter(&mut self, address: IpAddr, sent_away: Arc<Notify>) -> u64 {
        let place = place(address);
        let same = self.there.values().filter(|(at, _)| *at == place).count();
        if same >= MAX_PER_ADDRESS {
            self.send_away(|at| at == place);
        } else if self.there.len() >= MAX_GUESTS {
            let crowded = self.most_crowded();
            self.send_away(|at| Some(at) == crowded);
        }
        self.next += 1;
        self.there.insert(self.next, (place, sent_away));
        self.next
    }

    /// The oldest of these.
    fn send_away(&mut self, which: impl Fn(IpAddr) -> bool) {
        let oldest = self.there.iter().find(|(_, (at, _))| which(*at));
        if let Some((_, sent_away)) = oldest
            .map(|(number, _)| *number)
            .and_then(|number| self.there.remove(&number))
        {
            sent_away.notify_one();
        }
    }

    /// Where most of them come from.
    fn most_crowded(&self) -> Option<IpAddr> {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for (at, _) in self.there.values() {
            *counts.entry(*at).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(at, _)| at)
    }
}

/// What addresses are counted by.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

impl Guests {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A newcomer.
    pub(super) fn enter(self: &Arc<Guests>, address: IpAddr) -> Guest {
        let sent_away = Arc::new(Notify::new());
        let number = self.book().enter(address, sent_away.clone());
        Guest {
            guests: self.clone(),
            number,
            sent_away,
            known: AtomicBool::new(false),
        }
    }
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    guests: Arc<Guests>,
    number: u64,
    sent_away: Arc<Notify>,
    known: AtomicBool,
}

impl Guest {
    /// It has shown who it is.
    pub(super) fn is_known_now(&self) {
        // One that was sent away at this very moment goes all the same, and comes again.
        let was_there = self.guests.book().there.remove(&self.number).is_some();
        self.known.store(was_there, Ordering::Release);
    }

    /// Returns when it has to go; while it is known, it does not return.
    pub(super) async fn has_to_go(&self, patience: Duration) {
        let _ = time::timeout(patience, self.sent_away.notified()).await;
        if self.known.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.book().there.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(3_600);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn goes(guest: &Guest) -> bool {
        time::timeout(SOON, guest.has_to_go(LATE)).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_of_an_address_goes_for_a_newcomer() {
        let guests = Arc::new(Guests::default());
        let other = guests.enter(address("10.0.0.2"));
        let all: Vec<Guest> = (0..MAX_PER_ADDRESS + 3)
            .map(|_| guests.enter(address("10.0.0.1")))
            .collect();
        for (n, guest) in all.iter().enumerate() {
            assert_eq!(goes(guest).await, n < 3, "{n}");
        }
        assert!(!goes(&other).await);
        assert_eq!(guests.book().there.len(), MAX_PER_ADDRESS + 1);
        drop((all, other));
        assert!(guests.book().there.is_empty());
    }

    #[tokio::test]
    async fn many_addresses_have_a_bound_too_and_the_most_crowded_one_gives_way() {
        let guests = Arc::new(Guests::default());
        let crowd: Vec<Guest> = (0..MAX_PER_ADDRESS)
            .map(|_| guests.enter(address("10.1.0.1")))
            .collect();
        let single: Vec<Guest> = (0..MAX_GUESTS - MAX_PER_ADDRESS)
            .map(|n| guests.enter(IpAddr::from([10, 2, 0, n as u8])))
            .collect();
        let newcomer = guests.enter(address("10.3.0.1"));
        assert_eq!(guests.book().there.len(), MAX_GUESTS);
        assert!(goes(&crowd[0]).await && !goes(&crowd[1]).await);
        assert!(!goes(&single[0]).await && !goes(&newcomer).await);
    }

    #[tokio::test]
    async fn one_that_is_known_stays_and_one_that_is_not_goes_in_time() {
        let guests = Arc::new(Guests::default());
        let (known, unknown) = (guests.enter(address("::1")), guests.enter(address("::1")));
        known.is_known_now();
        assert!(
            time::timeout(10 * SOON, known.has_to_go(SOON))
                .await
                .is_err()
        );
        assert!(time::timeout(LATE, unknown.has_to_go(SOON)).await.is_ok());
        assert_eq!(guests.book().there.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(
            place(address("2001:db8::1")),
            place(address("2001:db8::ff:2"))
        );
        assert_ne!(
            place(address("2001:db8::1")),
            place(address("2001:db8:0:1::1"))
        );
        assert_eq!(place(address("::ffff:10.0.0.1")), address("10.0.0.1"));
        assert_ne!(place(address("10.0.0.1")), place(address("10.0.0.2")));
    }
}
