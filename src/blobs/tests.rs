//! The directory and uploads.

use super::{BlobError, Blobs, ContentRange, Progress, Upload};
use crate::model::Digest;
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

fn blobs(dir: &Path) -> Arc<Blobs> {
    Arc::new(Blobs::open(dir).unwrap())
}

/// The beginning of a piece, by somebody.
fn begin(
    blobs: &Arc<Blobs>,
    by: &str,
    digest: Digest,
    from: u64,
    end: u64,
    total: u64,
) -> Result<Upload, BlobError> {
    blobs.upload(by, digest, ContentRange { from, end, total })
}

/// A piece of `all`, which is a whole blob.
fn put(
    blobs: &Arc<Blobs>,
    digest: Digest,
    all: &[u8],
    from: usize,
    end: usize,
) -> Result<Progress, BlobError> {
    let total = all.len() as u64;
    let mut upload = begin(blobs, "ann", digest, from as u64, end as u64, total)?;
    upload.write(&all[from..end])?;
    upload.end()
}

fn read(blobs: &Blobs, digest: &Digest, from: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut file, _) = blobs.open_at(digest, from).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn age(path: &Path, age: Duration) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn a_blob_is_there_once_all_of_it_came_and_its_hash_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(dir.path());
    let digest = Digest::of(b"hello world");
    assert_eq!(blobs.has(&digest), None);
    let first = put(&blobs, digest, b"hello world", 0, 5).unwrap();
    assert_eq!((first.received, first.complete), (5, false));
    assert_eq!(blobs.has(&digest), None);
    let last = put(&blobs, digest, b"hello world", 5, 11).unwrap();
    assert!(last.complete && blobs.progress(&digest) == last);
    assert_eq!(blobs.has(&digest), Some(11));
    assert_eq!(read(&blobs, &digest, 6), b"world");
    let mode = fs::metadata(blobs.path(&digest))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!blobs.partial(&digest).exists());
    assert_eq!(blobs.traffic.received.load(Ordering::Relaxed), 11);
    let again = put(&blobs, digest, b"hello world", 0, 5);
    assert!(
        matches!(again, Err(BlobError::Offset { there: 11, .. })),
        "{again:?}"
    );
}

#[test]
fn what_has_another_hash_is_thrown_away_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(dir.path());
    let digest = Digest::of(b"hello world");
    put(&blobs, digest, b"hello WORLD", 0, 8).unwrap();
    let wrong = put(&blobs, digest, b"hello WORLD", 8, 11)
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("upload it anew") && wrong.contains(&digest.to_string()),
        "{wrong}"
    );
    assert_eq!(blobs.progress(&digest).received, 0);
    assert!(put(&blobs, digest, b"hello world", 0, 11).unwrap().complete);
}

#[test]
fn a_piece_begins_where_the_last_one_ended_and_is_as_long_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(dir.path());
    let digest = Digest::of(b"hello world");
    put(&blobs, digest, b"hello world", 0, 5).unwrap();
    for from in [0, 4, 6] {
        let refused = put(&blobs, digest, b"hello world", from, 11).unwrap_err();
        assert!(
            matches!(refused, BlobError::Offset { there: 5, .. }),
            "{refused}"
        );
    }
    let mut long = begin(&blobs, "ann", digest, 5, 7, 11).unwrap();
    assert!(matches!(long.write(b" wor"), Err(BlobError::Length)));
    drop(long);
    let mut short = begin(&blobs, "ann", digest, 5, 11, 11).unwrap();
    short.write(b" wo").unwrap();
    assert!(matches!(short.end(), Err(BlobError::Length)));
    // What came of the broken one counts.
    assert_eq!(blobs.progress(&digest).received, 8);
    assert!(put(&blobs, digest, b"hello world", 8, 11).unwrap().complete);
}

#[test]
fn one_uploads_a_blob_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(dir.path());
    let digest = Digest::of(b"hello world");
    let first = begin(&blobs, "ann", digest, 0, 5, 11).unwrap();
    let second = begin(&blobs, "ann", digest, 0, 5, 11);
    assert!(matches!(second, Err(BlobError::Busy(_))), "{second:?}");
    drop(first);
    assert!(begin(&blobs, "ann", digest, 0, 5, 11).is_ok());
}

#[test]
fn what_is_too_large_for_us_or_for_the_disk_is_refused_before_a_byte_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(dir.path());
    let digest = Digest::of(b"");
    let large = begin(&blobs, "ann", digest, 0, 5, super::MAX_BLOB + 1).unwrap_err();
    assert!(large.to_string().contains("16 GiB"), "{large}");
    let room = blobs.check_room(1 << 60).unwrap_err().to_string();
    assert!(room.contains("fleetctl image prune"), "{room}");
    assert!(!blobs.partial(&digest).exists());
}

/// The first byte of something of eleven bytes.
fn begin_one(blobs: &Arc<Blobs>, by: &str, n: usize) -> Result<Digest, BlobError> {
    let digest = Digest::of(&n.to_le_bytes());
    begin(blobs, by, digest, 0, 5, 11)?.write(b"x")?;
    Ok(digest)
}

#[test]
fn uploads_that_were_begun_are_bounded_and_those_that_were_broken_off_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let kept = blobs(dir.path());
    let begun: Vec<Digest> = (0..super::MAX_PARTIAL)
        .map(|n| begin_one(&kept, &format!("token{}", n % 8), n).unwrap())
        .collect();
    let digest = Digest::of(b"one more");
    let refused = begin(&kept, "ann", digest, 0, 8, 8);
    assert!(matches!(refused, Err(BlobError::TooMany)), "{refused:?}");
    // One that was begun goes on.
    assert!(begin(&kept, "ann", begun[0], 1, 5, 11).is_ok());

    // Of those that are idle, only as many go as have to, and none that is written to.
    age(&kept.partial(&begun[3]), Duration::from_secs(90));
    age(&kept.partial(&begun[4]), Duration::from_secs(120));
    age(&kept.partial(&begun[5]), Duration::from_secs(150));
    let busy = begin(&kept, "ann", begun[5], 1, 5, 11).unwrap();
    assert!(put(&kept, digest, b"one more", 0, 8).unwrap().complete);
    let there = |n: usize| kept.progress(&begun[n]).received;
    assert_eq!([there(3), there(4), there(5)], [1, 0, 1]);
    drop(busy);
    // Also after a restart, which knows the files only.
    let kept = blobs(dir.path());
    begin_one(&kept, "ann", 1_000).unwrap();
    age(&kept.partial(&begun[9]), Duration::from_secs(600));
    begin_one(&kept, "ann", 1_001).unwrap();
    assert_eq!(kept.progress(&begun[9]).received, 0);
    // What is complete asks for no room.
    age(&kept.partial(&begun[10]), Duration::from_secs(600));
    assert!(put(&kept, digest, b"one more", 0, 8).is_err());
    assert_eq!(kept.progress(&begun[10]).received, 1);

    // A day later all are forgotten.
    for entry in fs::read_dir(dir.path().join("partial")).unwrap() {
        age(&entry.unwrap().path(), super::PARTIAL_AGE);
    }
    kept.prune(&BTreeSet::new(), Duration::ZERO).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
}

#[test]
fn one_token_does_not_take_every_upload() {
    let dir = tempfile::tempdir().unwrap();
    let kept = blobs(dir.path());
    for n in 0..super::MAX_PER_TOKEN {
        begin_one(&kept, "ann", n).unwrap();
    }
    let refused = begin_one(&kept, "ann", 100).unwrap_err().to_string();
    assert!(refused.contains("with this token"), "{refused}");
    begin_one(&kept, "bob", 101).unwrap();
    let old = Digest::of(&7_usize.to_le_bytes());
    age(&kept.partial(&old), Duration::from_secs(90));
    begin_one(&kept, "ann", 102).unwrap();
    assert_eq!(kept.progress(&old).received, 0);
}

#[test]
fn every_piece_says_the_same_length_and_none_goes_past_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let kept = blobs(dir.path());
    let digest = Digest::of(b"hello world");
    put(&kept, digest, b"hello world", 0, 5).unwrap();
    let other = begin(&kept, "ann", digest, 5, 11, 12).unwrap_err();
    assert!(
        matches!(other, BlobError::Total { first: 11, .. }),
        "{other}"
    );
    assert!(other.to_string().contains("11 bytes in all"), "{other}");
    // Refused, it does not forget what the first piece said.
    assert!(begin(&kept, "ann", digest, 5, 11, 13).is_err());
    drop(begin(&kept, "ann", digest, 5, 11, 11).unwrap());

    // A restart forgets it, so that the bound is looked at anew.
    let large = [1_usize, 2].map(|n| Digest::of(&n.to_le_bytes()));
    for digest in &large {
        let file = File::create(kept.partial(digest)).unwrap();
        file.set_len(super::MAX_BLOB).unwrap();
    }
    assert!(begin(&kept, "ann", digest, 5, 11, 11).is_ok());
    let kept = blobs(dir.path());
    let full = begin(&kept, "ann", digest, 5, 11, 11);
    assert!(matches!(full, Err(BlobError::TooMany)), "{full:?}");
    age(&kept.partial(&large[0]), Duration::from_secs(90));
    let wrong = begin(&kept, "ann", digest, 5, 11, 12);
    assert!(wrong.is_ok(), "{wrong:?}");
    assert_eq!(kept.progress(&large[0]).received, 0);
    drop(wrong);
    let other = begin(&kept, "ann", digest, 5, 11, 11).unwrap_err();
    assert!(
        matches!(other, BlobError::Total { first: 12, .. }),
        "{other}"
    );
}

#[test]
fn numbers_as_large_as_they_can_be_written_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let kept = blobs(dir.path());
    let digest = Digest::of(b"hello world");
    for (from, end, total) in [
        (0, 1, u64::MAX),
        (u64::MAX - 1, u64::MAX, u64::MAX),
        (super::MAX_BLOB - 1, super::MAX_BLOB, super::MAX_BLOB),
    ] {
        assert!(begin(&kept, "ann", digest, from, end, total).is_err());
    }
    assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
}

#[test]
fn what_nobody_wants_is_pruned_once_it_is_old_enough() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(dir.path());
    let keep = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        put(&blobs, digest, bytes, 0, bytes.len()).unwrap();
        digest
    };
    let (wanted, old, new) = (keep(b"wanted"), keep(b"old"), keep(b"new"));
    let hour = Duration::from_secs(3_600);
    age(&blobs.path(&wanted), 2 * hour);
    age(&blobs.path(&old), 2 * hour);
    let pruned = blobs.prune(&BTreeSet::from([wanted]), hour).unwrap();
    assert_eq!((pruned.count, pruned.bytes), (1, 3));
    let left = [wanted, old, new].map(|d| blobs.has(&d).is_some());
    assert_eq!(left, [true, false, true]);
    // Somebody has asked for it.
    age(&blobs.path(&new), 2 * hour);
    blobs.touch(&new);
    assert_eq!(blobs.prune(&BTreeSet::new(), hour).unwrap().count, 1);
    assert!(blobs.has(&new).is_some());
}

#[test]
fn a_blob_that_was_changed_on_the_disk_can_come_anew() {
    let dir = tempfile::tempdir().unwrap();
    let kept = blobs(dir.path());
    let digest = Digest::of(b"hello world");
    put(&kept, digest, b"hello world", 0, 11).unwrap();
    kept.verify(&digest).unwrap();
    assert_eq!(kept.has(&digest), Some(11));
    // Also what another start of the controller kept.
    let again = blobs(dir.path());
    again.verify(&digest).unwrap();
    again.touch(&digest);
    assert!(again.is_known_right(&digest));
    fs::write(kept.path(&digest), b"hello WORLD").unwrap();
    assert!(!again.is_known_right(&digest));
    again.verify(&digest).unwrap();
    assert_eq!(again.progress(&digest).received, 0);
    assert!(put(&again, digest, b"hello world", 0, 11).unwrap().complete);
}

proptest! {
    /// Pieces, broken anywhere, the controller started anew between them.
    #[test]
    fn an_upload_that_breaks_anywhere_is_gone_on_with(
        all in prop::collection::vec(any::<u8>(), 1..5_000),
        cuts in prop::collection::vec((1..2_000_usize, 0..2_000_usize, any::<bool>()), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = blobs(dir.path());
        let digest = Digest::of(&all);
        for (length, written, restart) in cuts {
            let there = kept.progress(&digest);
            if there.complete {
                break;
            }
            let from = usize::try_from(there.received).unwrap();
            prop_assert!(from < all.len());
            let end = all.len().min(from + length);
            let written = end.min(from + written);
            let mut upload = begin(&kept, "ann", digest, from as u64, end as u64, all.len() as u64).unwrap();
            upload.write(&all[from..written]).unwrap();
            match written == end {
                true => drop(upload.end().unwrap()),
                false => drop(upload),
            }
            if restart {
                kept = blobs(dir.path());
            }
        }
        let there = kept.progress(&digest);
        if !there.complete {
            let from = usize::try_from(there.received).unwrap();
            prop_assert!(put(&kept, digest, &all, from, all.len()).unwrap().complete);
        }
        prop_assert_eq!(read(&kept, &digest, 0), all);
    }
}
