//! One close look at one container.
//!
//! A list shows what Podman last wrote down: a container whose process has just ended runs in it
//! until Podman's own cleanup has come along. An inspect makes Podman compare first. `podman-api`
//! asks for the size of the file system with every inspect, for which Podman walks through all
//! files that the container has written; with twenty thousand of them that is 70 ms instead of
//! one. Hence this one is asked for by hand, and only what is needed of it is read.

use crate::runtime::container::{CALL_LIMIT, fault::Fault, limited};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::path::Path;
use tokio::net::UnixStream;

/// An inspect with hundreds of mounts and variables is not longer.
const ANSWER_LIMIT: usize = 4 << 20;

/// What an inspect tells, as far as it is needed here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Look {
    /// What it does, or how it ended.
    pub(super) state: State,
    host_config: HostConfig,
}

/// What a container does, or how it ended.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    status: String,
    pid: i64,
    /// Of the last run; 0 while it runs.
    pub(super) exit_code: Option<i32>,
    /// Podman 4.3 never says so.
    #[serde(rename = "OOMKilled")]
    pub(super) out_of_memory: bool,
    /// Why it could not be started; mostly empty.
    pub(super) error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    memory: Option<i64>,
}

impl Look {
    /// Its first process, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        let pid = u32::try_from(self.state.pid).ok();
        pid.filter(|pid| *pid > 0 && is_running(&self.state.status))
    }

    /// Its limit of memory in bytes; 0 or nothing where it has none.
    pub(super) fn memory_limit(&self) -> Option<i64> {
        self.host_config.memory
    }
}

/// Podman's word for what a container does is one of those in which its process lives.
pub(super) fn is_running(status: &str) -> bool {
    matches!(status, "running" | "paused" | "stopping")
}

/// Looks at the container with this id; Podman brings what it knows up to date first.
///
/// # Errors
/// Podman does not answer, has no such container, or answers something else.
pub(super) async fn at(socket: &Path, id: &str) -> Result<Look, Fault> {
    let unreachable = |error: std::io::Error| Fault::Unreachable(error.to_string());
    let lost = |error: hyper::Error| Fault::Unreachable(error.to_string());
    let looking = async {
        let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(lost)?;
        let request = hyper::Request::get(format!("/v4.3.1/libpod/containers/{id}/json"))
            .header("host", "localhost")
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Fault::said(error.to_string()))?;
        let answering = async {
            let response = sender.send_request(request).await.map_err(lost)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect();
            let body = body.await.map_err(|e| Fault::Unreachable(e.to_string()))?;
            read(status, &body.to_bytes())
        };
        // The connection ends with the answer, and with this future.
        tokio::pin!(answering);
        tokio::select! {
            biased;
            answer = &mut answering => answer,
            ended = connection => {
                ended.map_err(lost)?;
                answering.await
            }
        }
    };
    limited(CALL_LIMIT, looking).await
}

fn read(status: u16, body: &[u8]) -> Result<Look, Fault> {
    if status == 200 {
        return serde_json::from_slice(body)
            .map_err(|error| Fault::said(format!("its answer cannot be understood: {error}")));
    }
    let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = said.as_ref().and_then(|said| said.get("message")?.as_str());
    let text = message.map_or_else(|| format!("it answers {status}"), str::to_owned);
    Err(Fault::Said { status, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspect_is_read() {
        let running = br#"{"Id": "a", "State": {"OciVersion": "1.0.2", "Status": "running",
            "Running": true, "OOMKilled": false, "Pid": 42, "ExitCode": 0, "Error": ""},
            "HostConfig": {"Memory": 16777216}}"#;
        let look = read(200, running).unwrap();
        assert_eq!(look.pid(), Some(42));
        assert_eq!(look.memory_limit(), Some(16 << 20));

        let ended = br#"{"State": {"Status": "stopped", "Pid": 0, "ExitCode": 137,
            "OOMKilled": true, "Error": "why"}}"#;
        let look = read(200, ended).unwrap();
        assert_eq!(look.pid(), None);
        assert_eq!(look.state.exit_code, Some(137));
        assert!(look.state.out_of_memory);
        assert_eq!(look.state.error.as_deref(), Some("why"));
        assert_eq!(look.memory_limit(), None);
    }

    #[test]
    fn a_refusal_keeps_podmans_words() {
        let gone = br#"{"cause": "no such container", "response": 404,
            "message": "no container with name or ID \"a\" found: no such container"}"#;
        assert!(read(404, gone).unwrap_err().is_missing_container());
        for (status, body) in [(500, &b"oh"[..]), (200, b"oh"), (200, b"")] {
            let fault = read(status, body).unwrap_err();
            assert!(!fault.is_missing_container(), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let outcome = at(&dir.path().join("no.sock"), "a").await;
        assert!(matches!(outcome, Err(Fault::Unreachable(_))), "{outcome:?}");
    }
}
