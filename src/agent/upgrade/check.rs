//! Whether a program can take the agent's place, as far as can be known without being it.

use crate::{
    model::Digest,
    support::release,
    upgrade::place::{hash_of, may_execute},
};
use std::{
    fs::File,
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at it.
const TICK: Duration = Duration::from_millis(20);
/// Bytes that are read of what it says.
const ANSWER_BYTES: u64 = 256;

/// It is whole, for this processor, of that version, and runs. Blocks.
///
/// # Errors
/// One sentence: trying again would not help.
pub(super) fn program(
    path: &Path,
    digest: Option<Digest>,
    version: Option<&str>,
) -> Result<(), String> {
    let name = path.display();
    if let Some(digest) = digest {
        match hash_of(path) {
            Ok(found) if found == digest => {}
            Ok(_) => return Err(format!("{name} is damaged")),
            Err(error) => return Err(format!("{name} cannot be read: {error}")),
        }
    }
    if let Some(version) = version {
        let mut file = File::open(path).map_err(|e| format!("{name} cannot be read: {e}"))?;
        let found = release::inspect(&mut file)
            .map_err(|error| format!("it cannot be the agent: {error}"))?
            .release;
        if found.arch != release::arch() {
            return Err(format!(
                "it is {found}, and this agent is a program for {}",
                release::arch()
            ));
        }
        if found.version != version {
            return Err(format!("it is {found}, and not version {version}"));
        }
    }
    let dir = path.parent().unwrap_or(path);
    if !may_execute(dir) {
        return Err(format!(
            "nothing can be executed in {}: its file system is mounted noexec; mount it without, \
             or give the agent another --data-dir",
            dir.display()
        ));
    }
    let said = ask(path)?;
    match version {
        Some(version) if said.trim() != format!("fleetctl {version}") => Err(format!(
            "it does not say that it is fleetctl {version}, but `{}`",
            crate::model::shown(said.trim())
        )),
        _ => Ok(()),
    }
}

/// What it says to `--version`.
fn ask(path: &Path) -> Result<String, String> {
    let mut child = spawn(path)?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < VERSION_LIMIT => std::thread::sleep(TICK),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "it does not say its version within {} s",
                    VERSION_LIMIT.as_secs()
                ));
            }
            Err(error) => return Err(format!("it cannot be asked for its version: {error}")),
        }
    };
    if !status.success() {
        return Err(format!(
            "it does not run here: asked for its version it ended with {status}"
        ));
    }
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(ANSWER_BYTES).read_to_end(&mut said);
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn spawn(path: &Path) -> Result<Child, String> {
    let begun = Instant::now();
    loop {
        let started = Command::new(path)
            .arg("--version")
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => return Ok(child),
            // A child of ours that is just being started may hold the file open for writing still.
            Err(error)
                if error.kind() == std::io::ErrorKind::ExecutableFileBusy
                    && begun.elapsed() < VERSION_LIMIT =>
            {
                std::thread::sleep(TICK);
            }
            Err(error) => return Err(format!("it does not run here: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    }

    #[test]
    fn what_is_no_release_is_told_in_a_sentence() {
        let (_dir, path) = script("echo fleetctl 9");
        let digest = hash_of(&path).unwrap();
        let why = program(&path, Some(digest), Some("9")).unwrap_err();
        assert_eq!(
            why,
            "it cannot be the agent: it is no program for Linux (ELF)"
        );
        let why = program(&path, Some(Digest::of(b"other")), None).unwrap_err();
        assert!(why.ends_with("program is damaged"), "{why}");
        assert_eq!(program(&path, Some(digest), None), Ok(()));
    }

    #[test]
    fn a_program_that_does_not_run_is_told_so() {
        let (_dir, path) = script("exit 3");
        let why = program(&path, None, None).unwrap_err();
        assert!(why.contains("ended with exit status: 3"), "{why}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let why = program(&path, None, None).unwrap_err();
        assert!(why.starts_with("it does not run here: "), "{why}");
    }
}
