//! Which uploads that were broken off make room for a new one: pure.

use super::{BlobError, MAX_PARTIAL, MAX_PARTIAL_BYTES, MAX_PER_TOKEN};
use crate::model::Digest;
use std::time::Duration;

/// One that is idle for so long may have been broken off for good; who goes on with it anyway
/// begins anew.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// An upload that is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    /// Of which blob.
    pub(super) digest: Digest,
    /// How long nothing came; `None`: somebody writes to it.
    pub(super) idle: Option<Duration>,
    /// Bytes it will have, as far as is known.
    pub(super) total: u64,
    /// The API token that it is of, as far as is known.
    pub(super) by: String,
}

/// Beside `others`, one of `total` bytes is to begin, of the token `by`. Returns which of the
/// others have to go.
///
/// # Errors
/// [`BlobError::TooMany`], [`BlobError::TooManyOfOne`]: they are all being written to.
pub(super) fn make_room(
    mut others: Vec<Begun>,
    total: u64,
    by: &str,
) -> Result<Vec<Digest>, BlobError> {
    let mut gone = Vec::new();
    // Idle for longest first.
    others.sort_by_key(|begun| std::cmp::Reverse(begun.idle));
    while others.iter().filter(|begun| begun.by == by).count() >= MAX_PER_TOKEN {
        let first = take_idle(&mut others, |begun| begun.by == by);
        gone.push(first.ok_or(BlobError::TooManyOfOne)?);
    }
    let bytes = |others: &[Begun]| -> u64 {
        let totals = others.iter().map(|begun| begun.total);
        totals.fold(total, u64::saturating_add)
    };
    while others.len() >= MAX_PARTIAL || bytes(&others) > MAX_PARTIAL_BYTES {
        gone.push(take_idle(&mut others, |_| true).ok_or(BlobError::TooMany)?);
    }
    Ok(gone)
}

/// The first of these that nobody writes to.
fn take_idle(others: &mut Vec<Begun>, which: impl Fn(&Begun) -> bool) -> Option<Digest> {
    let idle = |begun: &Begun| begun.idle.is_some_and(|idle| idle > IDLE);
    let at = others
        .iter()
        .position(|begun| which(begun) && idle(begun))?;
    Some(others.remove(at).digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(n: usize, idle: u64, by: &str) -> Begun {
        Begun {
            digest: Digest::of(&n.to_le_bytes()),
            idle: (idle > 0).then(|| Duration::from_secs(idle)),
            total: 1 << 20,
            by: by.to_owned(),
        }
    }

    fn digests(numbers: &[usize]) -> Vec<Digest> {
        numbers.iter().map(|n| begun(*n, 0, "").digest).collect()
    }

    #[test]
    fn the_one_that_was_idle_longest_goes_and_none_that_goes_on() {
        let mut all: Vec<Begun> = (0..MAX_PARTIAL).map(|n| begun(n, 30, "")).collect();
        assert!(make_room(all[1..].to_vec(), 1, "ann").unwrap().is_empty());
        let full = make_room(all.clone(), 1, "ann");
        assert!(matches!(full, Err(BlobError::TooMany)), "{full:?}");
        all[5].idle = Some(Duration::from_secs(70));
        all[9].idle = Some(Duration::from_secs(90));
        all[7].idle = None;
        assert_eq!(make_room(all, 1, "ann").unwrap(), digests(&[9]));
    }

    #[test]
    fn one_token_begins_no_more_than_its_share_and_takes_it_from_itself() {
        let mut all: Vec<Begun> = (0..MAX_PER_TOKEN).map(|n| begun(n, 30, "ann")).collect();
        all.push(begun(100, 999, "bob"));
        let full = make_room(all.clone(), 1, "ann");
        assert!(matches!(full, Err(BlobError::TooManyOfOne)), "{full:?}");
        assert!(make_room(all.clone(), 1, "bob").unwrap().is_empty());
        all[3].idle = Some(Duration::from_secs(61));
        assert_eq!(make_room(all, 1, "ann").unwrap(), digests(&[3]));
    }

    #[test]
    fn so_many_go_that_the_bytes_fit() {
        let mut all: Vec<Begun> = (1..5).map(|n| begun(n, 100 * n as u64, "")).collect();
        for begun in &mut all {
            begun.total = MAX_PARTIAL_BYTES / 4;
        }
        let half = MAX_PARTIAL_BYTES / 2;
        assert_eq!(make_room(all.clone(), half, "").unwrap(), digests(&[4, 3]));
        all[2].idle = None;
        all[3].idle = None;
        all[0].idle = None;
        assert!(matches!(make_room(all, half, ""), Err(BlobError::TooMany)));
    }
}
