//! `network_mode`, `networks` and `extra_hosts`.
//!
//! As in Compose, the services of a file are in its network `default` where they name none, and a
//! service is found in its networks by its name. A network is called `<project>_<name>` and made
//! on each node that has such a service, but where it is declared `external: true`.

use super::{
    super::{
        networks::alias,
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
    if service.has("network_mode") {
        let flaw = Flaw::new("`networks` and `network_mode` exclude each other");
        service
            .file
            .report
            .add(key.name_span.clone(), flaw.hint("keep one of the two"));
        return;
    }
    let mut joined = Vec::new();
    match &key.value.data {
        Data::Map(networks) => {
            for network in networks {
                let mut aliases = Vec::new();
                if let Some(keys) = service.reader().map(network) {
                    support::check("services.*.networks.*", keys, service.file.report);
                    aliases = entry(keys, "aliases").map_or(aliases, |key| {
                        let list = service.reader().list(key);
                        match list.map(|list| list.data) {
                            Some(Data::List(items)) => items,
                            _ => Vec::new(),
                        }
                    });
                }
                let place = text(&network.name_span, network.name.as_str());
                joined.extend(join(service, &network.name, &place, aliases));
            }
        }
        _ => {
            let Some(list) = service.reader().list(key) else {
                return;
            };
            for item in list.as_list().unwrap_or_default() {
                let name = item.as_text().unwrap_or_default();
                joined.extend(join(service, name, item, Vec::new()));
            }
        }
    }
    if !joined.is_empty() {
        let networks = with(&key.value, Data::List(joined));
        service.draft.put("networks", key, networks);
    }
}

/// A service that names no network is in `default`, which a file may declare.
pub(super) fn finish(service: &mut Service<'_>, named: &Entry) {
    let is_empty = |key: &Entry| match &key.value.data {
        Data::Map(entries) => entries.is_empty(),
        Data::List(items) => items.is_empty(),
        _ => false,
    };
    let names_one =
        service.has("networks") && !entry(service.keys, "networks").is_some_and(is_empty);
    if names_one || service.has("network_mode") {
        return;
    }
    let place = text(&named.name_span, "default");
    if let Some(network) = join(service, "default", &place, Vec::new()) {
        let networks = with(&place, Data::List(vec![network]));
        service.draft.put("networks", named, networks);
    }
}

/// The network `name`, which `place` says, as an item of `networks` in the TOML. `None`: it is no
/// network of the file, which is on record.
fn join(
    service: &Service<'_>,
    name: &str,
    place: &Value,
    mut aliases: Vec<Value>,
) -> Option<Value> {
    let declared = service.file.networks.get(name).copied();
    if declared.is_none() && name != "default" {
        let name = shown(name);
        let flaw = Flaw::new(format!("the network `{name}` is not declared"));
        service.refuse(
            place,
            flaw.hint(format!("write `{name}:` below `networks:`")),
        );
        return None;
    }
    let external = declared.filter(|network| service.file.is_external(network));
    if let Some(external) = external.and_then(|network| network.value.get("external"))
        && !matches!(external.data, Data::Bool(_) | Data::Text(_))
    {
        // The form of old files is a map with the name.
        let flaw = Flaw::new("`external` must be true or false");
        let flaw = flaw.hint("write `external: true`, and `name: …` beside it");
        service.refuse(external, flaw);
        return None;
    }
    let written = declared.and_then(|network| network.value.get("name")?.as_text());
    let real = match (written, external) {
        (Some(written), _) => written.to_owned(),
        (None, Some(_)) => name.to_owned(),
        (None, None) => format!("{}_{name}", service.file.project),
    };
    for own in own_names(service) {
        if !aliases.iter().any(|alias| alias.as_text() == Some(&own)) {
            aliases.push(text(&place.span, own));
        }
    }
    let part = |name: &str, data| Entry {
        name: name.to_owned(),
        name_span: place.span.clone(),
        value: with(place, data),
    };
    let mut table = vec![part("name", Data::Text(real))];
    if external.is_none() {
        table.push(part("create", Data::Bool(true)));
    }
    table.push(part("aliases", Data::List(aliases)));
    Some(with(place, Data::Map(table)))
}

/// The names by which others find a service: its own, and those of its container. What is no such
/// name, as with a template in it, nobody can look up.
fn own_names(service: &Service<'_>) -> Vec<String> {
    let mut names = vec![service.name.to_owned()];
    for key in ["container_name", "hostname"] {
        let written = entry(service.keys, key).and_then(|key| key.value.as_text());
        if let Some(name) = written
            && alias(name).is_ok()
            && !names.iter().any(|other| other == name)
        {
            names.push(name.to_owned());
        }
    }
    names
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
