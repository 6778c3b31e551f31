//! Networks and published ports of a container.

use crate::model::{ContainerNetwork, Port, Protocol};
use bollard::models::{
    ContainerInspectResponse, EndpointSettings, HostConfig, PortBinding, PortMap,
};

/// Names of the networks that engines use unasked.
const USUAL: [&str; 5] = ["bridge", "default", "podman", "slirp4netns", "pasta"];

/// Its network, where it is not the usual one; several, or one in which it has names of its own,
/// as `networks`.
pub(super) fn network(
    inspected: &ContainerInspectResponse,
    host: &HostConfig,
    lost: &mut Vec<String>,
) -> (Option<String>, Vec<ContainerNetwork>) {
    let mode = host.network_mode.clone().unwrap_or_default();
    for link in host.links.iter().flatten() {
        lost.push(format!("it is linked to another container (`{link}`)"));
    }
    if mode.starts_with("container:") || mode.starts_with("ns:") {
        lost.push(format!(
            "it uses the network of another container (`{mode}`)"
        ));
        return (None, Vec::new());
    }
    if mode == "host" || mode == "none" {
        return (Some(mode), Vec::new());
    }
    let settings = inspected.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    let mut all: Vec<(&String, &EndpointSettings)> = networks
        .into_iter()
        .flatten()
        .filter(|(name, _)| !is_usual(name))
        .collect();
    // The one that it was made in is the first one. Podman says `bridge` for whichever network.
    all.sort_by_key(|(name, _)| (**name != mode, *name));
    for (_, endpoint) in &all {
        let ipam = endpoint.ipam_config.as_ref();
        let fixed = ipam.and_then(|ipam| ipam.ipv4_address.clone().or(ipam.ipv6_address.clone()));
        if let Some(address) = fixed.filter(|address| !address.is_empty()) {
            lost.push(format!("it has the fixed address {address}"));
        }
    }
    let networks: Vec<ContainerNetwork> = all
        .into_iter()
        .map(|(name, endpoint)| ContainerNetwork {
            name: name.clone(),
            create: false,
            aliases: aliases(inspected, endpoint),
        })
        .collect();
    match networks.as_slice() {
        [] => (
            Some(mode).filter(|mode| !mode.is_empty() && !is_usual(mode)),
            networks,
        ),
        [only] if only.aliases.is_empty() => (Some(only.name.clone()), Vec::new()),
        _ => (None, networks),
    }
}

/// The names that somebody gave it; engines add its id by themselves, and its own name.
fn aliases(inspected: &ContainerInspectResponse, endpoint: &EndpointSettings) -> Vec<String> {
    let id = inspected.id.as_deref().unwrap_or_default();
    let name = inspected.name.as_deref().unwrap_or_default();
    let name = name.trim_start_matches('/');
    let mut given: Vec<String> = endpoint.aliases.clone().unwrap_or_default();
    given.retain(|alias| alias != name && !(alias.len() >= 12 && id.starts_with(alias.as_str())));
    given.sort_unstable();
    given.dedup();
    given
}

fn is_usual(name: &str) -> bool {
    let name = name.split(':').next().unwrap_or(name);
    USUAL.contains(&name)
}

/// Its published ports, in order.
pub(super) fn ports(
    inspected: &ContainerInspectResponse,
    host: &HostConfig,
    lost: &mut Vec<String>,
) -> Vec<Port> {
    let (mut ports, mut odd) = (Vec::new(), Vec::new());
    let settings = inspected.network_settings.as_ref();
    let actual = settings.and_then(|settings| settings.ports.as_ref());
    for (inside, bindings) in host.port_bindings.iter().flatten() {
        for (n, binding) in bindings.iter().flatten().enumerate() {
            match port(inside, n, binding, actual) {
                Some(port) => ports.push(port),
                None => odd.push(format!(
                    "its port {inside} is published as `{}`",
                    binding.host_port.as_deref().unwrap_or_default()
                )),
            }
        }
    }
    if host.publish_all_ports == Some(true) {
        lost.push("all ports of its image are published on free ports of the node".to_owned());
    }
    let key = |port: &Port| (port.host, port.container, port.protocol as u8);
    ports.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.address.cmp(&b.address)));
    ports.dedup();
    // Out of a table without order.
    odd.sort();
    lost.append(&mut odd);
    ports
}

/// `80/tcp` and where it is published; a free port that the engine chose is kept.
fn port(inside: &str, n: usize, binding: &PortBinding, actual: Option<&PortMap>) -> Option<Port> {
    let (container, protocol) = inside.split_once('/').unwrap_or((inside, "tcp"));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let written = binding.host_port.as_deref().unwrap_or_default();
    let chosen = || {
        let bindings = actual?.get(inside)?.as_ref()?;
        number(bindings.get(n)?.host_port.as_deref()?)
    };
    let host = match written {
        "" | "0" => chosen()?,
        written => number(written)?,
    };
    Some(Port {
        address: binding
            .host_ip
            .clone()
            .filter(|address| !matches!(address.as_str(), "" | "0.0.0.0" | "::")),
        host,
        container: number(container)?,
        protocol: match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        },
    })
}
