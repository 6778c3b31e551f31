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

    /// By its name in a manifest.
    pub fn named(name: &str) -> Engine {
        match name {
            "podman" => Engine::podman(),
            _ => Engine::docker(),
        }
    }

    fn try_ask(&self, method: &str, path: &str) -> io::Result<Answer> {
        self.try_send(method, path, None)
    }

    pub(super) fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> io::Result<Answer> {
        let ask = Ask {
            method,
            path,
            token: None,
            body,
        };
        let answer = ask.unix(&self.socket)?;
        match answer.status {
            ..300 => Ok(answer),
            _ => Err(io::Error::other(answer.text())),
        }
    }

    /// The workload of each container with the node's label, and the container.
    fn try_every(&self, node: &str) -> io::Result<Vec<(String, Container)>> {
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

    /// All containers of one workload; more than one only while something goes wrong.
    #[track_caller]
    pub fn of_workload(&self, node: &str, workload: &str) -> Vec<Container> {
        let all = self.try_every(node);
        let all = all.unwrap_or_else(|e| panic!("{self:?} does not list: {e}"));
        let own = all.into_iter().filter(|(name, _)| name == workload);
        own.map(|(_, container)| container).collect()
    }

    /// What the engine knows of a container.
    #[track_caller]
    pub fn inspect(&self, id: &str) -> Value {
        let answer = self.try_ask("GET", &format!("/containers/{id}/json"));
        answer
            .unwrap_or_else(|e| panic!("{self:?} does not know {id}: {e}"))
            .json()
    }

    /// Takes an image away, where it is there.
    pub fn remove_image(&self, image: &str) {
        let _ = self.try_ask("DELETE", &format!("/images/{image}?force=true"));
    }

    /// What carries the node's label, by workload, whether it runs or not.
    #[track_caller]
    pub fn containers(&self, node: &str) -> BTreeMap<String, Container> {
        let all = self.try_every(node);
        all.unwrap_or_else(|e| panic!("{self:?} does not list: {e}"))
            .into_iter()
            .collect()
    }

    /// SIGKILL to its process, behind everybody's back.
    #[track_caller]
    pub fn kill(&self, id: &str) {
        let path = format!("/containers/{id}/kill?signal=KILL");
        let killed = self.try_ask("POST", &path);
        killed.unwrap_or_else(|e| panic!("{self:?} does not kill {id}: {e}"));
    }

    fn try_networks(&self) -> io::Result<Vec<Value>> {
        Ok(serde_json::from_slice(
            &self.try_ask("GET", "/networks")?.body,
        )?)
    }

    /// Names of the networks that begin so, in order.
    #[track_caller]
    pub fn networks(&self, prefix: &str) -> Vec<String> {
        let all = self.try_networks();
        let all = all.unwrap_or_else(|e| panic!("{self:?} does not list networks: {e}"));
        let names = all.iter().filter_map(|n| n["Name"].as_str());
        let mut own: Vec<String> = names
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        own.sort_unstable();
        own
    }

    /// Makes a network that is nobody's.
    #[track_caller]
    pub fn make_network(&self, name: &str) {
        let body = format!("{{\"Name\": \"{name}\", \"Driver\": \"bridge\"}}");
        let made = self.try_send("POST", "/networks/create", Some(&body));
        made.unwrap_or_else(|e| panic!("{self:?} makes no network: {e}"));
    }

    #[track_caller]
    pub fn remove_network(&self, name: &str) {
        let gone = self.try_ask("DELETE", &format!("/networks/{name}"));
        gone.unwrap_or_else(|e| panic!("{self:?} does not remove {name}: {e}"));
    }

    /// Takes away what a test left. Never fails: the test may have failed already.
    pub fn remove_all(&self, node: &str) {
        for (_, container) in self.try_every(node).unwrap_or_default() {
            let path = format!("/containers/{}?force=true&v=true", container.id);
            if let Err(error) = self.try_ask("DELETE", &path) {
                eprintln!(
                    "container {} of {node} is left behind: {error}",
                    container.id
                );
            }
        }
        for network in self.try_networks().unwrap_or_default() {
            if network["Labels"]["io.fleetctl.node"] == node
                && let Some(name) = network["Name"].as_str()
                && let Err(error) = self.try_ask("DELETE", &format!("/networks/{name}"))
            {
                eprintln!("network {name} of {node} is left behind: {error}");
            }
        }
    }
}
