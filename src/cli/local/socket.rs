//! HTTP/1.1 over the agent's socket: one connection for each request.

use super::super::{Failure, args::LocalArgs};
use crate::{
    config::{AgentConfig, Role, Surroundings},
    http::ProblemDocument,
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::net::UnixStream;

/// What an answer may have: a thousand instances with their last output.
const MAX_ANSWER: usize = 64 << 20;
/// What one line of a stream may have: a log line of 16 KiB in which everything is escaped.
const MAX_LINE: usize = 1 << 20;

/// Where the agent is to be found.
pub(super) struct Socket {
    path: PathBuf,
}

impl Socket {
    /// The one that was named; else the first that is there, of this user's agent, of the
    /// system's, and of the one in a controller's process.
    pub(super) fn new(given: &LocalArgs) -> Socket {
        if let Some(path) = &given.socket {
            return Socket { path: path.clone() };
        }
        let mine = Surroundings::of_this_process();
        let system = Surroundings {
            root: true,
            ..mine.clone()
        };
        let agent = |around: &Surroundings| around.default_data_dir(Role::Agent);
        let within =
            |around: &Surroundings| Some(around.default_data_dir(Role::Controller)?.join("agent"));
        let dirs = [agent(&mine), agent(&system), within(&mine), within(&system)];
        let sockets: Vec<PathBuf> = dirs
            .iter()
            .flatten()
            .map(|dir| AgentConfig::socket_in(dir))
            .collect();
        // A directory that may not be looked into counts as one where it is: then that is said.
        let there = |path: &&PathBuf| match std::fs::symlink_metadata(path) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        };
        let path = sockets.iter().find(there).or(sockets.first()).cloned();
        Socket {
            path: path.unwrap_or_default(),
        }
    }

    /// An answer in JSON.
    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        let response = self.send(Method::GET, path).await?;
        let bytes = body(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!(
                "the agent's answer is not understood ({error}); is it of another version?"
            ))
        })
    }

    /// A request without an answer to read.
    pub(super) async fn order(&mut self, method: Method, path: &str) -> Result<(), Failure> {
        self.send(method, path).await.map(drop)
    }

    /// An answer that comes line by line.
    pub(super) async fn stream(&mut self, path: &str) -> Result<Lines, Failure> {
        Ok(Lines {
            body: self.send(Method::GET, path).await?.into_body(),
            buffer: Vec::new(),
        })
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|error| unreachable(&self.path, &error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever waits for an answer is told.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await.map_err(|error| {
            Failure::new(format!(
                "the connection to the agent broke: {}",
                crate::support::chain(&error)
            ))
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = body(response).await.unwrap_or_default();
        Err(match serde_json::from_slice::<ProblemDocument>(&bytes) {
            Ok(document) => Failure::new(document.detail),
            Err(_) => Failure::new(format!("the agent answered {status}")),
        })
    }
}

fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "you may not speak to the agent at {path}; try again as the user that it runs as, for \
             example with sudo"
        ),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "no agent answers at {path}: is one running here? Its socket is agent.sock in its data \
             directory; name another one with --socket"
        ),
        _ => format!("the agent at {path} cannot be reached: {error}"),
    })
}

async fn body(response: Response<Incoming>) -> Result<Bytes, Failure> {
    match Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
    {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(Failure::new(format!(
            "the agent's answer broke off: {error}"
        ))),
    }
}

/// Lines of an answer as they come.
pub(super) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line without its end; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(Failure::new("the agent sent a line that does not end"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    let cause = crate::support::chain(&error);
                    return Err(Failure::new(format!("the connection broke: {cause}")));
                }
                None => return Ok(None),
            }
        }
    }
}
