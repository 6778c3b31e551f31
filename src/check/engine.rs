//! Docker and Podman.

use super::Finding;
use crate::{config::AgentConfig, model::RuntimeKind, runtime::connect_to_engine};
use std::{io::ErrorKind, os::unix::net::UnixStream, path::Path, time::Duration};

/// An engine that takes longer is one that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn findings(config: &AgentConfig) -> Vec<Finding> {
    let engines = [
        (RuntimeKind::Docker, &config.docker_socket),
        (RuntimeKind::Podman, &config.podman_socket),
    ];
    let mut all = Vec::new();
    let mut found = false;
    for (kind, socket) in engines {
        let Some(socket) = socket.as_deref().filter(|s| s.exists()) else {
            continue;
        };
        found = true;
        all.extend(one(kind, socket).await);
    }
    if !found {
        all.push(if config.processes {
            Finding::warning(
                "engine",
                "there is neither Docker nor Podman here: only native processes can run",
                "install one (`apt install docker.io`, or podman and `systemctl enable --now \
                 podman.socket`) if containers are to run here",
            )
        } else {
            Finding::error(
                "engine",
                "there is neither Docker nor Podman here, and native processes are off",
                "install an engine, or set `processes = true`",
            )
        });
    }
    all
}

async fn one(kind: RuntimeKind, socket: &Path) -> Vec<Finding> {
    let shown = socket.display();
    // The client's own words do not tell these apart.
    if let Err(error) = UnixStream::connect(socket) {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => {
                "run the agent as root, or put its user into the engine's group".to_owned()
            }
            _ => format!("start it: `systemctl start {kind}`, and look at `journalctl -u {kind}`"),
        };
        return vec![Finding::error(
            kind.as_str(),
            format!("{shown} does not take a connection: {error}"),
            advice,
        )];
    }
    let asking = async {
        let client = connect_to_engine(socket).map_err(|e| e.to_string())?;
        client.info().await.map_err(|e| e.to_string())
    };
    let info = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => {
            return vec![Finding::error(
                kind.as_str(),
                format!("it answers, but not with what it is: {error}"),
                format!("look at `journalctl -u {kind}`"),
            )];
        }
        Err(_) => {
            return vec![Finding::error(
                kind.as_str(),
                format!("{shown} takes a connection and then does not answer"),
                format!("restart it: `systemctl restart {kind}`"),
            )];
        }
    };
    let version = info.server_version.unwrap_or_default();
    let mut all = vec![Finding::ok(
        kind.as_str(),
        format!("version {version} answers on {shown}"),
    )];
    if kind == RuntimeKind::Docker && info.live_restore_enabled != Some(true) {
        all.push(Finding::warning(
            "live-restore",
            "containers end when the Docker daemon is restarted or upgraded",
            "put {\"live-restore\": true} into /etc/docker/daemon.json and reload Docker",
        ));
    }
    let limits = info.warnings.unwrap_or_default();
    let limits: Vec<&String> = limits.iter().filter(|w| w.contains("limit")).collect();
    if let Some(first) = limits.first() {
        let first = first.trim_start_matches("WARNING: ");
        all.push(Finding::warning(
            "engine-limits",
            format!("{kind} says: {first} ({} such words)", limits.len()),
            "limits that cannot be enforced are left out and shown as warnings of the instance",
        ));
    }
    all
}
