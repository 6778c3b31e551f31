//! A blob into a file.

use super::{BlobBody, FetchError, NodeBlobs};
use crate::model::{Digest, Hasher};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tokio::{io::AsyncWriteExt, task::spawn_blocking};

/// Left free on the disk, for the agent's own small files.
const RESERVE: u64 = 4 << 20;

pub(super) async fn fetch(
    blobs: &NodeBlobs,
    digest: Digest,
    size: u64,
    to: &Path,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), FetchError> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    if is_there(to, digest, size).await {
        progress(size);
        return Ok(());
    }
    let mut again = true;
    loop {
        let found = download(blobs, digest, size, &part, progress).await?;
        if found == digest {
            break;
        }
        // What was left of an earlier try may have been spoilt by a power cut.
        let _ = std::fs::remove_file(&part);
        if !std::mem::take(&mut again) {
            return Err(FetchError::new(format!(
                "what came as {digest} is {found}, twice: its bytes were changed on the way or at \
                 the controller; nothing of it is used, push it again"
            )));
        }
        tracing::warn!(%digest, %found, "bytes are wrong, fetched anew");
    }
    let to = to.to_owned();
    let kept = spawn_blocking(move || -> io::Result<()> {
        std::fs::rename(&part, &to)?;
        File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
    });
    kept.await
        .map_err(|e| FetchError::new(e.to_string()))?
        .map_err(|e| FetchError::new(format!("{digest} cannot be kept: {e}")))
}

async fn is_there(to: &Path, digest: Digest, size: u64) -> bool {
    let to = to.to_owned();
    let looked = spawn_blocking(move || -> io::Result<bool> {
        let mut file = File::open(to)?;
        Ok(file.metadata()?.len() == size && hash(&mut file)?.0.finish() == digest)
    });
    looked.await.is_ok_and(|found| found.unwrap_or(false))
}

/// Goes on with the partial file until it has `size` bytes, all of them synced; returns their hash.
async fn download(
    blobs: &NodeBlobs,
    digest: Digest,
    size: u64,
    part: &Path,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Digest, FetchError> {
    let failed = |error: io::Error| {
        let path = part.display();
        FetchError::new(format!("{path} cannot be written: {error}"))
    };
    let path = part.to_owned();
    let begun = spawn_blocking(move || begin(&path, size)).await;
    let begun = begun.map_err(|e| FetchError::new(e.to_string()))?;
    let (file, mut hasher, mut at) = match begun.map_err(failed)? {
        Begun::Ready { file, hasher, at } => (file, *hasher, at),
        Begun::NoRoom { free } => {
            return Err(FetchError::new(format!(
                "{digest} needs {} KiB, and only {} KiB of the disk are free; make room at {}",
                size.div_ceil(1_024),
                free >> 10,
                part.parent().unwrap_or(part).display(),
            )));
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    progress(at);
    if at < size {
        let mut body = BlobBody::open(blobs.clone(), digest, Some((at, size))).await?;
        if body.size() != size {
            return Err(FetchError::new(format!(
                "{digest} should have {size} bytes, and the controller's has {}",
                body.size()
            )));
        }
        while let Some(bytes) = body.next().await? {
            hasher.update(&bytes);
            at += bytes.len() as u64;
            file.write_all(&bytes).await.map_err(failed)?;
            progress(at);
        }
    }
    file.sync_all().await.map_err(failed)?;
    Ok(hasher.finish())
}

enum Begun {
    Ready {
        file: File,
        hasher: Box<Hasher>,
        at: u64,
    },
    /// Bytes that are free.
    NoRoom { free: u64 },
}

/// Opens the partial file behind what is there of it.
fn begin(part: &Path, size: u64) -> io::Result<Begun> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(part)?;
    if file.metadata()?.len() > size {
        file.set_len(0)?;
    }
    // Behind what was read, it is written on.
    let (hasher, at) = hash(&mut file)?;
    let disk = rustix::fs::fstatvfs(&file)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < (size - at).saturating_add(RESERVE) {
        return Ok(Begun::NoRoom { free });
    }
    Ok(Begun::Ready {
        file,
        hasher: Box::new(hasher),
        at,
    })
}

fn hash(file: &mut File) -> io::Result<(Hasher, u64)> {
    let (mut hasher, mut count) = (Hasher::default(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hasher, count)),
            read => {
                hasher.update(&buffer[..read]);
                count += read as u64;
            }
        }
    }
}
