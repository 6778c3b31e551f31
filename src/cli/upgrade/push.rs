//! `upgrade push`.

use super::{
    super::{
        Failure,
        blobs::{self, Pushed},
        client::Client,
        output,
    },
    release_file::{self, ReleaseFile},
};
use crate::{
    model::{Artifact, Binary},
    support::release::Release,
};
use hyper::Method;
use std::{
    io::{IsTerminal, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Between two words on how far it has come.
const SAY: Duration = Duration::from_millis(500);

/// Brings the releases in these files to the controller: all of them are looked at before the first
/// is sent.
pub(super) async fn push(client: &mut Client, paths: &[PathBuf]) -> Result<Vec<Release>, Failure> {
    let mut done = Vec::new();
    for file in looked_at(paths)? {
        one(client, &file).await?;
        done.push(file.release);
    }
    Ok(done)
}

/// The releases in these files, which stay where they are: what would be pushed is said.
pub(super) fn would_push(paths: &[PathBuf]) -> Result<Vec<(Release, Binary)>, Failure> {
    let mut found = Vec::new();
    for file in looked_at(paths)? {
        let binary = binary(&file);
        eprintln!(
            "{} ({}, {}) would be pushed",
            file.release,
            output::bytes(binary.size),
            binary.sha256.short()
        );
        found.push((file.release, binary));
    }
    Ok(found)
}

fn binary(file: &ReleaseFile) -> Binary {
    Binary {
        sha256: file.digest,
        size: file.size,
    }
}

/// All of them, with a warning where one may not start.
fn looked_at(paths: &[PathBuf]) -> Result<Vec<ReleaseFile>, Failure> {
    let files = release_file::gather(paths)?;
    for file in &files {
        if file.dynamic {
            eprintln!(
                "warning: {} needs libraries of the board (it is linked dynamically): where they \
                 are missing it does not start, and the board goes back",
                file.path.display()
            );
        }
    }
    Ok(files)
}

async fn one(client: &mut Client, file: &ReleaseFile) -> Result<(), Failure> {
    let size = file.size;
    let live = std::io::stderr().is_terminal();
    let mut said = Instant::now();
    let mut progress = |there: u64| {
        if live && there < size && said.elapsed() >= SAY {
            said = Instant::now();
            let percent = there.saturating_mul(100) / size.max(1);
            eprint!("\r{}: {percent}%   ", file.release);
            let _ = std::io::stderr().flush();
        }
    };
    let mut open = |offset| file.open(offset);
    let pushed = blobs::push(client, file.digest, size, &mut open, &mut progress).await;
    if live {
        eprint!("\r");
    }
    let pushed = pushed?;
    let artifact = Artifact::Binary {
        version: file.release.version.clone(),
        arch: file.release.arch.clone(),
        binary: binary(file),
    };
    client
        .order(Method::PUT, "/api/v1/artifacts", Some(&artifact))
        .await?;
    let how = match pushed {
        Pushed::AlreadyThere => "was there already".to_owned(),
        Pushed::Sent(sent) if sent < size => {
            format!("pushed, {} of it now", output::bytes(sent))
        }
        Pushed::Sent(_) => "pushed".to_owned(),
    };
    eprintln!(
        "{} ({}, {}) {how}",
        file.release,
        output::bytes(size),
        file.digest.short()
    );
    Ok(())
}
