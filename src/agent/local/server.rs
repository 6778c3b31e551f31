//! The socket: made so that nobody else can open it, taken away at the end.

use super::{LocalRequest, routes};
use crate::support::Shutdown;
use axum::{Router, body::Body, extract::Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream as Probe,
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time,
};
use tower_service::Service;

/// Connections at the same time.
const MAX_CONNECTIONS: usize = 32;
/// Requests that the loop has not taken yet.
const MAX_REQUESTS: usize = 16;
/// For a request's headers.
const HEADERS: Duration = Duration::from_secs(10);
/// For the last answers, when the agent ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The local socket of an agent. Dropped, it is gone from the file system.
pub(in crate::agent) struct Server {
    /// What is wanted of the agent.
    pub(in crate::agent) requests: mpsc::Receiver<LocalRequest>,
    path: Option<PathBuf>,
    stop: Shutdown,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path`; `None` is off. A socket that cannot be made costs the control by it,
    /// not the workloads: it is logged. Needs a tokio runtime around it.
    pub(in crate::agent) fn start(path: Option<&Path>) -> Server {
        let (sender, requests) = mpsc::channel(MAX_REQUESTS);
        let stop = Shutdown::new();
        let mut server = Server {
            requests,
            path: None,
            stop: stop.clone(),
            task: None,
        };
        let Some(path) = path else {
            return server;
        };
        match listen(path) {
            Ok(listener) => {
                tracing::debug!(path = %path.display(), "local socket listens");
                server.path = Some(path.to_owned());
                let app = routes::router(sender);
                server.task = Some(tokio::spawn(accept(listener, app, stop)));
            }
            Err(why) => tracing::warn!(
                path = %path.display(),
                why,
                "there is no local control (`fleetctl --local`); choose another path with \
                 --local-socket"
            ),
        }
        server
    }

    /// Ends it once the answers that are under way have been sent.
    pub(in crate::agent) async fn finish(mut self) {
        self.stop.trigger();
        if let Some(mut task) = self.task.take()
            && time::timeout(LAST_WORDS, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the socket under another name first, so that it is never there with wider permissions.
fn listen(path: &Path) -> Result<UnixListener, String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.to_string()),
        Ok(there) if !there.file_type().is_socket() => {
            return Err("there is a file of that name, which is no socket".to_owned());
        }
        Ok(_) if Probe::connect(path).is_ok() => {
            return Err("another agent listens there".to_owned());
        }
        // Left over from an agent that was killed.
        Ok(_) => {}
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let make = || -> io::Result<UnixListener> {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        Ok(listener)
    };
    make().map_err(|error| error.to_string())
}

async fn accept(listener: UnixListener, app: Router, stop: Shutdown) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.wait() => break,
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        match accepted {
            // Closed at once: who has so many open knows why.
            Ok(_) if open.len() >= MAX_CONNECTIONS => {}
            Ok((stream, _)) => {
                open.spawn(converse(stream, app.clone(), stop.clone()));
            }
            // Out of file descriptors, most likely: give others the time to close some.
            Err(_) => time::sleep(Duration::from_millis(50)).await,
        }
    }
    while open.join_next().await.is_some() {}
}

async fn converse(stream: UnixStream, app: Router, stop: Shutdown) {
    let service =
        hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let request: Request = request.map(Body::new);
            app.clone().call(request)
        });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A client that breaks off is no error of ours.
        _ = connection.as_mut() => {}
        () = stop.wait() => {
            connection.as_mut().graceful_shutdown();
            let _ = time::timeout(LAST_WORDS, connection).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_and_nobody_else_may_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let server = Server::start(Some(&path));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Probe::connect(&path).is_ok());
        server.finish().await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn neither_another_agent_nor_a_file_loses_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let first = Server::start(Some(&path));
        let wrong = listen(&path).unwrap_err();
        assert!(wrong.contains("another agent"), "{wrong}");
        drop(Server::start(Some(&path)));
        assert!(
            Probe::connect(&path).is_ok(),
            "the first one lost its socket"
        );
        drop(first);
        fs::write(&path, "precious").unwrap();
        assert!(listen(&path).unwrap_err().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
