//! Single calls that both engines take in Docker's words.

use super::{
    CALL_LIMIT, START_LIMIT, connect, fault::Fault, limited, line::rfc3339_ns, stop_seconds,
};
use bollard::{
    models::{
        ContainerInspectResponse, ContainerUpdateBody, EndpointSettings, ImageConfig, Network,
        NetworkConnectRequest, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum,
    },
    query_parameters::{
        InspectContainerOptions, InspectNetworkOptions, KillContainerOptionsBuilder,
        ListContainersOptionsBuilder, ListNetworksOptions, StopContainerOptionsBuilder,
    },
};
use std::{collections::HashMap, path::Path, time::Duration};

/// Everything about a container, by id or name. Podman's `stopped` cannot be read so.
pub(crate) async fn inspect(
    socket: &Path,
    container: &str,
) -> Result<ContainerInspectResponse, Fault> {
    let engine = connect(socket)?;
    let call = engine.inspect_container(container, None::<InspectContainerOptions>);
    limited(CALL_LIMIT, call).await
}

/// What an image says for its containers; empty when it is not on the node any more.
pub(crate) async fn image_config(socket: &Path, image: &str) -> Result<ImageConfig, Fault> {
    let engine = connect(socket)?;
    match limited(CALL_LIMIT, engine.inspect_image(image)).await {
        Ok(inspected) => Ok(inspected.config.unwrap_or_default()),
        Err(fault) if fault.is_missing_image() => Ok(ImageConfig::default()),
        Err(fault) => Err(fault),
    }
}

/// Sends a signal to a container's first process.
pub(crate) async fn signal(socket: &Path, container: &str, signal: &str) -> Result<(), Fault> {
    let engine = connect(socket)?;
    let options = KillContainerOptionsBuilder::new().signal(signal).build();
    limited(CALL_LIMIT, engine.kill_container(container, Some(options))).await
}

/// The signal that stops it, and SIGKILL after `timeout_ms`. Stopped already, never started or
/// gone is no fault.
pub(crate) async fn stop(socket: &Path, container: &str, timeout_ms: u64) -> Result<(), Fault> {
    let seconds = stop_seconds(timeout_ms);
    let limit = Duration::from_secs(u64::from(seconds)) + CALL_LIMIT;
    let options = StopContainerOptionsBuilder::new().t(seconds as i32).build();
    let engine = connect(socket)?;
    match limited(limit, engine.stop_container(container, Some(options))).await {
        Err(fault)
            if fault.is_missing_container() || fault.is_unchanged() || fault.is_not_running() =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

/// Takes a container's restart policy away, without touching it otherwise. Whether it is away:
/// not every version of Podman can.
pub(crate) async fn never_restart(socket: &Path, container: &str) -> Result<bool, Fault> {
    if restarts_never(&inspect(socket, container).await?) {
        return Ok(true);
    }
    let body = ContainerUpdateBody {
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..ContainerUpdateBody::default()
    };
    let engine = connect(socket)?;
    match limited(START_LIMIT, engine.update_container(container, body)).await {
        Err(fault @ Fault::Unreachable(_)) => return Err(fault),
        Err(fault) => tracing::debug!(container, ?fault, "restart policy not changed"),
        Ok(()) => {}
    }
    Ok(restarts_never(&inspect(socket, container).await?))
}

/// There is a network of this name.
pub(crate) async fn has_network(socket: &Path, name: &str) -> Result<bool, Fault> {
    let engine = connect(socket)?;
    let call = engine.inspect_network(name, None::<InspectNetworkOptions>);
    match limited(CALL_LIMIT, call).await {
        Err(fault) if fault.is_missing_network() => Ok(false),
        Err(fault @ Fault::Unreachable(_)) => Err(fault),
        // There, even where not every word of it can be read.
        _ => Ok(true),
    }
}

/// Makes a network in which containers find each other by name. One that is there already is no
/// fault.
pub(crate) async fn make_network(
    socket: &Path,
    name: &str,
    labels: HashMap<String, String>,
) -> Result<(), Fault> {
    let engine = connect(socket)?;
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        labels: Some(labels),
        ..NetworkCreateRequest::default()
    };
    let made = match limited(START_LIMIT, engine.create_network(request)).await {
        Err(fault) if fault.is_network_conflict() => return Ok(()),
        outcome => outcome?.id,
    };
    // Older engines make two of the same name for two who ask at once, and then use neither: the
    // later one goes.
    let all = limited(
        CALL_LIMIT,
        engine.list_networks(None::<ListNetworksOptions>),
    )
    .await?;
    if is_later_twin(&all, name, &made) {
        limited(START_LIMIT, engine.remove_network(&made)).await?;
    }
    Ok(())
}

/// Another network of this name was made before the one with the id `made`.
fn is_later_twin(all: &[Network], name: &str, made: &str) -> bool {
    let of_name = all.iter().filter(|n| n.name.as_deref() == Some(name));
    let age = |network: &Network| {
        let created = network.created.as_deref().and_then(rfc3339_ns);
        (created, network.id.clone().unwrap_or_default())
    };
    let mut twins: Vec<_> = of_name.map(age).collect();
    twins.sort_unstable();
    twins.iter().skip(1).any(|(_, id)| id == made)
}

/// Connects a container to one more network. Connected already is no fault.
pub(crate) async fn join_network(
    socket: &Path,
    name: &str,
    container: &str,
    aliases: &[String],
) -> Result<(), Fault> {
    let engine = connect(socket)?;
    let request = NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(EndpointSettings {
            aliases: (!aliases.is_empty()).then(|| aliases.to_vec()),
            ..EndpointSettings::default()
        }),
    };
    match limited(START_LIMIT, engine.connect_network(name, request)).await {
        Err(fault) if fault.is_connected_already() => Ok(()),
        outcome => outcome,
    }
}

/// Names of all networks that carry the label `label`, whatever its value.
pub(crate) async fn networks_with(socket: &Path, label: &str) -> Result<Vec<String>, Fault> {
    let engine = connect(socket)?;
    let call = engine.list_networks(None::<ListNetworksOptions>);
    let all = limited(CALL_LIMIT, call).await?;
    // Not every version of Podman matches a label without a value.
    let ours = all.into_iter().filter(|network| {
        network
            .labels
            .iter()
            .any(|labels| labels.contains_key(label))
    });
    Ok(ours.filter_map(|network| network.name).collect())
}

/// Removes a network that no container is in, also none that does not run. Whether it did.
pub(crate) async fn remove_unused_network(socket: &Path, name: &str) -> Result<bool, Fault> {
    let engine = connect(socket)?;
    let filters = HashMap::from([("network", vec![name.to_owned()])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let users = limited(CALL_LIMIT, engine.list_containers(Some(options))).await?;
    if !users.is_empty() {
        return Ok(false);
    }
    match limited(START_LIMIT, engine.remove_network(name)).await {
        Err(fault) if fault.is_missing_network() => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

fn restarts_never(inspected: &ContainerInspectResponse) -> bool {
    let host = inspected.host_config.as_ref();
    let policy = host.and_then(|host| host.restart_policy.as_ref());
    let name = policy.and_then(|policy| policy.name);
    use RestartPolicyNameEnum as Is;
    matches!(name, None | Some(Is::EMPTY | Is::NO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_networks_of_one_name_the_later_one_is_too_many() {
        let network = |name: &str, id: &str, created: &str| Network {
            name: Some(name.to_owned()),
            id: Some(id.to_owned()),
            created: Some(created.to_owned()),
            ..Network::default()
        };
        let all = [
            network("a", "2", "2026-11-21T00:00:00.12Z"),
            network("a", "1", "2026-11-21T00:00:00.1234Z"),
            network("b", "3", "2026-11-21T00:00:00.1Z"),
        ];
        for (name, id, expected) in [
            ("a", "1", true),
            ("a", "2", false),
            ("b", "3", false),
            ("c", "4", false),
        ] {
            assert_eq!(is_later_twin(&all, name, id), expected, "{name} {id}");
        }
    }
}
