//! Room for many nodes in one process: handles of files, a place for what they remember, and a
//! port where nobody listens.

use crate::mqtt::Endpoint;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};
use tokio::net::TcpSocket;

/// Handles for everything but the connections of nodes.
const SPARE_HANDLES: u64 = 256;
/// Bytes on a file system in memory that a node may take, most generously.
const BYTES_PER_NODE: u64 = 64 << 10;

/// There is no room.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    /// Too few handles.
    #[error(
        "{nodes} nodes need {needed} open files and this process may have {limit}: raise the limit \
         with `ulimit -n {needed}`, or simulate fewer nodes"
    )]
    Handles {
        /// Nodes.
        nodes: u32,
        /// Handles for them.
        needed: u64,
        /// Handles that there are.
        limit: u64,
    },
    /// No place.
    #[error("{path} cannot be used for the nodes' files: {message}; choose another with --state")]
    State {
        /// Where.
        path: String,
        /// Why.
        message: String,
    },
    /// No port.
    #[error("no port could be taken on the loopback address: {0}")]
    Port(String),
}

/// One connection for each node, and some.
pub(super) fn raise_handles(nodes: u32) -> Result<(), RoomError> {
    let needed = u64::from(nodes) + SPARE_HANDLES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if current.is_none_or(|limit| limit >= needed) {
        return Ok(());
    }
    let limit = maximum.unwrap_or(u64::MAX);
    let wanted = Rlimit {
        current: Some(needed.min(limit)),
        maximum,
    };
    if limit < needed || setrlimit(Resource::Nofile, wanted).is_err() {
        return Err(RoomError::Handles {
            nodes,
            needed,
            limit,
        });
    }
    Ok(())
}

/// Where nodes keep their files.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    /// It is this simulation's own, and goes with it.
    temporary: bool,
}

impl StateDir {
    /// The directory that was given, else one of its own: in memory where there is room for it.
    pub(super) fn open(given: Option<&Path>, nodes: u32) -> Result<StateDir, RoomError> {
        if let Some(path) = given {
            make(path, true)?;
            return Ok(StateDir {
                path: path.to_owned(),
                temporary: false,
            });
        }
        let memory = Path::new("/dev/shm");
        let base = if has_room(memory, u64::from(nodes) * BYTES_PER_NODE) {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let id = crate::support::clock::seed();
        let path = base.join(format!("fleetctl-simulate-{id:016x}"));
        make(&path, false)?;
        Ok(StateDir {
            path,
            temporary: true,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It stays.
    pub(super) fn keep(&mut self) {
        self.temporary = false;
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn make(path: &Path, may_exist: bool) -> Result<(), RoomError> {
    let mut builder = fs::DirBuilder::new();
    // Keys of nodes are in it.
    let made = builder.recursive(may_exist).mode(0o700).create(path);
    made.map_err(|error| RoomError::State {
        path: path.display().to_string(),
        message: error.to_string(),
    })
}

fn has_room(path: &Path, bytes: u64) -> bool {
    let free = rustix::fs::statvfs(path).map(|s| s.f_bavail.saturating_mul(s.f_frsize));
    let writable = rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    writable && free.is_ok_and(|free| free > bytes)
}

/// A port that is taken and where nobody listens: a connection to it is refused at once, for as
/// long as this lives.
#[derive(Debug)]
pub(super) struct Nowhere {
    _taken: TcpSocket,
    pub(super) endpoint: Endpoint,
}

impl Nowhere {
    pub(super) fn take() -> Result<Nowhere, RoomError> {
        let take = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind(([127, 0, 0, 1], 0).into())?;
            let port = socket.local_addr()?.port();
            std::io::Result::Ok((socket, port))
        };
        let (taken, port) = take().map_err(|e| RoomError::Port(e.to_string()))?;
        Ok(Nowhere {
            _taken: taken,
            endpoint: Endpoint {
                tls: false,
                host: "127.0.0.1".to_owned(),
                port,
                credentials: None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_its_own_goes_and_one_that_was_given_stays() {
        let given = tempfile::tempdir().unwrap();
        let inside = given.path().join("deep/state");
        for again in 0..2 {
            let state = StateDir::open(Some(&inside), 1).unwrap();
            assert_eq!(state.path(), inside, "{again}");
        }
        assert!(inside.exists());
        let own = StateDir::open(None, 1).unwrap();
        let path = own.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(own);
        assert!(!path.exists());
    }

    #[test]
    fn more_handles_than_there_are_is_an_error_with_its_remedy() {
        let Some(limit) = getrlimit(Resource::Nofile).maximum else {
            return raise_handles(1_000).unwrap();
        };
        raise_handles(1).unwrap();
        if let Ok(nodes) = u32::try_from(limit) {
            let error = raise_handles(nodes).unwrap_err().to_string();
            assert!(error.contains("ulimit -n"), "{error}");
        }
    }

    #[tokio::test]
    async fn nobody_listens_nowhere() {
        let nowhere = Nowhere::take().unwrap();
        let address = format!("127.0.0.1:{}", nowhere.endpoint.port);
        let error = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
