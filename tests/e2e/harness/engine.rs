//! Containers as their engine sees them, through the part of the API that Docker and Podman share.

use super::http::{Answer, Ask};
use serde_json::Value;
use std::{collections::BTreeMap, io, path::PathBuf};

/// The environment variable, or a word on how to get it.
pub fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run `make test`: it starts the engines"))
}

/// An image in the test registry, which wants credentials.
pub fn in_registry(image: &str) -> String {
    format!("{}/{image}", variable("FLEETCTL_TEST_REGISTRY"))
}

/// One of the private engines.
#[derive(Debug, Clone)]
pub struct Engine {
    pub socket: PathBuf,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub running: bool,
}

impl Engine {
    pub fn docker() -> Engine {
        let socket = variable("FLEETCTL_TEST_DOCKER_SOCKET").into();
        Engine { socket }
    }

    pub fn podman() -> Engine {
        let socket = variable("FLEETCTL_TEST_PODMAN_SOCKET").into();
        Engine { socket }
    }

    fn try_ask(&self, method: &str, path: &str) -> io::Result<Answer> {
        let ask = Ask {
            method,
            path,
            token: None,
            body: None,
        };
        let answer = ask.unix(&self.socket)?;
        match answer.status {
            ..300 => Ok(answer),
            _ => Err(io::Error::other(answer.text())),
        }
    }

    fn try_containers(&self, node: &str) -> io::Result<BTreeMap<String, Container>> {
        let path = format!(
            "/containers/json?all=true&filters=%7B%22label%22%3A%5B%22io.fleetctl.node%3D{node}\
             %22%5D%7D"
        );
        let all: Vec<Value> = serde_json::from_slice(&self.try_ask("GET", &path)?.body)?;
        let read = |c: &Value| {
            let workload = c["Labels"]["io.fleetctl.workload"].as_str()?.to_owned();
            let container = Container {
                id: c["Id"].as_str()?.to_owned(),
                running: c["State"].as_str()? == "running",
            };
            Some((workload, container))
        };
        Ok(all.iter().filter_map(read).collect())
    }

    /// What carries the node's label, by workload, whether it runs or not.
    #[track_caller]
    pub fn containers(&self, node: &str) -> BTreeMap<String, Container> {
        self.try_containers(node)
            .unwrap_or_else(|e| panic!("{self:?} does not list: {e}"))
    }

    /// SIGKILL to its process, behind everybody's back.
    #[track_caller]
    pub fn kill(&self, id: &str) {
        let path = format!("/containers/{id}/kill?signal=KILL");
        let killed = self.try_ask("POST", &path);
        killed.unwrap_or_else(|e| panic!("{self:?} does not kill {id}: {e}"));
    }

    /// Takes away what a test left. Never fails: the test may have failed already.
    pub fn remove_all(&self, node: &str) {
        for container in self.try_containers(node).unwrap_or_default().into_values() {
            let path = format!("/containers/{}?force=true&v=true", container.id);
            if let Err(error) = self.try_ask("DELETE", &path) {
                eprintln!(
                    "container {} of {node} is left behind: {error}",
                    container.id
                );
            }
        }
    }
}
