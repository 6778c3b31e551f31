//! Starts a shim and waits until it says how it went.

use super::directory::InstanceDir;
use super::mounts;
use super::process_id::ProcessId;
use super::shim::{CGROUP_VARIABLE, answer};
use crate::runtime::RuntimeError;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a shim may take until its program runs. A slow card takes a second at worst.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Runs the plan in `dir`, in `cgroup` where there is one. When this returns `Ok` there is a
/// state or an ending.
pub(super) async fn start(
    shim: &Path,
    dir: &InstanceDir,
    cgroup: Option<&Path>,
) -> Result<(), RuntimeError> {
    let cannot = |error: io::Error| {
        RuntimeError::Failed(format!(
            "the supervising process cannot be started: {error}"
        ))
    };
    let (reader, child) = start_shim(shim, dir, cgroup).map_err(cannot)?;
    reap(child).map_err(cannot)?;
    let answered = async {
        let reader = super::readable::readable(reader)?;
        let mut byte = [0_u8; 1];
        loop {
            let mut ready = reader.readable().await?;
            match rustix::io::read(reader.get_ref(), &mut byte) {
                Ok(count) => return Ok::<_, io::Error>((count == 1).then_some(byte[0])),
                Err(rustix::io::Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    };
    match tokio::time::timeout(START_LIMIT, answered).await {
        Ok(Ok(Some(answer::RUNS | answer::ENDED))) => Ok(()),
        Ok(Ok(Some(answer::BUSY))) => Err(RuntimeError::Failed(format!(
            "another start of `{}` is under way",
            dir.handle()
        ))),
        Ok(Ok(_)) => Err(RuntimeError::Failed(format!(
            "the supervising process of `{}` ended before its program ran; see whether the disk \
             is full",
            dir.handle()
        ))),
        Ok(Err(error)) => Err(cannot(error)),
        Err(_) => Err(RuntimeError::Failed(format!(
            "`{}` did not start within {} s; the node may be overloaded",
            dir.handle(),
            START_LIMIT.as_secs()
        ))),
    }
}

/// The shim, and the pipe on which it answers.
fn start_shim(
    shim: &Path,
    dir: &InstanceDir,
    cgroup: Option<&Path>,
) -> io::Result<(OwnedFd, Child)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // The command owns the writing end and goes at the end of this function: the reader is to
    // see the end of the pipe when the shim dies.
    let mut command = Command::new(shim);
    mounts::of_the_machine(&mut command, Path::new("/"));
    let child = command
        .arg("shim")
        .arg(dir.path())
        .env_clear()
        .envs(cgroup.map(|cgroup| (CGROUP_VARIABLE, cgroup)))
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::null())
        .spawn()?;
    Ok((reader, child))
}

/// Asks for the status of a child when it ends, so that it does not stay as a zombie. A task of
/// a few hundred bytes, gone with the child.
pub(super) fn reap(mut child: Child) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let Some(fd) = ProcessId::of(pid)
        .map(ProcessId::open)
        .transpose()?
        .flatten()
    else {
        let _ = child.try_wait();
        return Ok(());
    };
    let ended = super::readable::readable(fd)?;
    tokio::spawn(async move {
        let _ = ended.readable().await;
        let _ = child.try_wait();
    });
    Ok(())
}
