//! `network_mode`, `networks` and `extra_hosts`.
//!
//! An instance is in one network: that of the node (`host`), none, the engine's own, or one that
//! exists on the node. Networks are not made, so only those that are declared `external: true`
//! can be named.

use super::{
    super::{
        shown,
        span::Flaw,
        tree::{Data, Entry, Value, entry},
        yaml::draft::{as_written, text},
    },
    service::Service,
    support,
    value::with,
};

/// Reads `network_mode`.
pub(super) fn read_mode(service: &mut Service<'_>, key: &Entry) {
    let Some(mode) = service.reader().text(key) else {
        return;
    };
    if mode.contains(':') {
        let flaw = Flaw::new("the network of another container cannot be shared");
        let flaw = flaw.hint("write `host`, `none`, `bridge` or the name of a network");
        service.refuse(&key.value, flaw);
        return;
    }
    service
        .draft
        .put("network", key, text(&key.value.span, mode));
}

/// Reads `networks` of a service: a list, or a map by their names.
pub(super) fn read(service: &mut Service<'_>, key: &Entry) {
    let mut names: Vec<(String, Value)> = Vec::new();
    match &key.value.data {
        Data::Map(networks) => {
            for network in networks {
                if let Some(keys) = service.reader().map(network) {
                    support::check("services.*.networks.*", keys, service.file.report);
                }
                let place = text(&network.name_span, network.name.as_str());
                names.push((network.name.clone(), place));
            }
        }
        _ => {
            let Some(list) = service.reader().list(key) else {
                return;
            };
            for item in list.as_list().unwrap_or_default() {
                let name = item.as_text().unwrap_or_default().to_owned();
                names.push((name, item.clone()));
            }
        }
    }
    if let Some((_, second)) = names.get(1) {
        let flaw = Flaw::new("a service can be in one network only");
        service.refuse(second, flaw.hint("keep the one that it needs"));
    }
    if let Some((name, place)) = names.first() {
        join(service, name, key, place);
    }
}

/// A service without `networks` and `network_mode` is in `default`, which a file may declare.
pub(super) fn finish(service: &mut Service<'_>, named: &Entry) {
    if !service.has("networks") && !service.has("network_mode") {
        let place = text(&named.name_span, "default");
        join(service, "default", named, &place);
    }
}

/// The service is in the network `name`, which `place` says.
fn join(service: &mut Service<'_>, name: &str, key: &Entry, place: &Value) {
    let Some(network) = entry(service.file.networks, name) else {
        if name != "default" {
            let name = shown(name);
            let flaw = Flaw::new(format!("the network `{name}` is not declared"));
            let flaw = flaw.hint(format!(
                "write `{name}: {{ external: true }}` below `networks:`"
            ));
            service.refuse(place, flaw);
        }
        return;
    };
    let external = network
        .value
        .as_map()
        .and_then(|keys| entry(keys, "external"));
    let is_external = match external {
        Some(external) => match &external.value.data {
            // The form of old files: a map with the name.
            Data::Map(_) => {
                let flaw = Flaw::new("`external` must be true or false");
                let flaw = flaw.hint("write `external: true`, and `name: …` beside it");
                service.refuse(&external.value, flaw);
                return;
            }
            _ => service.reader().truth(external).unwrap_or(true),
        },
        None => false,
    };
    if is_external {
        let name = service.file.real_name(network);
        service
            .draft
            .put("network", key, with(place, Data::Text(name)));
    } else if name != "default" {
        let name = shown(name);
        let flaw = Flaw::new(format!("the network `{name}` would have to be made"));
        let flaw = flaw.hint(format!(
            "make it on the nodes (`docker network create {name}`) and declare it \
             `external: true`; or remove `networks`, and write `network_mode: host` where \
             services must reach each other"
        ));
        service.refuse(place, flaw);
    }
}

/// Reads `extra_hosts`: `name:address` or `name=address`, or a map.
pub(super) fn read_extra_hosts(service: &mut Service<'_>, key: &Entry) {
    let mut hosts = Vec::new();
    match &key.value.data {
        Data::Map(entries) => {
            for host in entries {
                let addresses = match host.value.as_list() {
                    Some(addresses) => addresses,
                    None => std::slice::from_ref(&host.value),
                };
                for address in addresses {
                    match as_written(address, service.file.report) {
                        Some(written) => {
                            let word = format!("{}:{written}", host.name);
                            hosts.push(text(&address.span, word));
                        }
                        None => service.refuse(address, Flaw::new("an address must be a text")),
                    }
                }
            }
        }
        _ => match service.reader().list(key).map(|list| list.data) {
            Some(Data::List(list)) => hosts = list,
            _ => return,
        },
    }
    let hosts = with(&key.value, Data::List(hosts));
    service.draft.put("extra_hosts", key, hosts);
}
