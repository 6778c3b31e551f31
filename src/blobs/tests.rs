//! The directory and uploads.

use super::{BlobError, Blobs, Progress};
use crate::model::Digest;
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

fn blobs(dir: &Path) -> Arc<Blobs> {
    Arc::new(Blobs::open(dir).unwrap())
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
    let mut upload = blobs.upload(digest, from as u64, end as u64, total)?;
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
    let mut long = blobs.upload(digest, 5, 7, 11).unwrap();
    assert!(matches!(long.write(b" wor"), Err(BlobError::Length)));
    drop(long);
    let mut short = blobs.upload(digest, 5, 11, 11).unwrap();
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
    let first = blobs.upload(digest, 0, 5, 11).unwrap();
    let second = blobs.upload(digest, 0, 5, 11);
    assert!(matches!(second, Err(BlobError::Busy(_))), "{second:?}");
    drop(first);
    assert!(blobs.upload(digest, 0, 5, 11).is_ok());
}

#[test]
fn what_is_too_large_for_us_or_for_the_disk_is_refused_before_a_byte_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(dir.path());
    let digest = Digest::of(b"");
    let large = blobs.upload(digest, 0, 5, super::MAX_BLOB + 1).unwrap_err();
    assert!(large.to_string().contains("16 GiB"), "{large}");
    let room = blobs.check_room(1 << 60).unwrap_err().to_string();
    assert!(room.contains("fleetctl image prune"), "{room}");
    assert!(!blobs.partial(&digest).exists());
}

#[test]
fn uploads_that_were_begun_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(dir.path());
    for n in 0..super::MAX_PARTIAL as u64 {
        let digest = Digest::of(&n.to_le_bytes());
        blobs.upload(digest, 0, 5, 11).unwrap().write(b"x").unwrap();
    }
    let digest = Digest::of(b"one more");
    let refused = blobs.upload(digest, 0, 8, 8);
    assert!(matches!(refused, Err(BlobError::TooMany)), "{refused:?}");
    // One that was begun goes on.
    let first = Digest::of(&0_u64.to_le_bytes());
    assert!(blobs.upload(first, 1, 5, 11).is_ok());
    // A day later the others are forgotten.
    for entry in fs::read_dir(dir.path().join("partial")).unwrap() {
        age(&entry.unwrap().path(), super::PARTIAL_AGE);
    }
    blobs.prune(&BTreeSet::new(), Duration::ZERO).unwrap();
    assert!(put(&blobs, digest, b"one more", 0, 8).unwrap().complete);
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
            let mut upload = kept.upload(digest, from as u64, end as u64, all.len() as u64).unwrap();
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
