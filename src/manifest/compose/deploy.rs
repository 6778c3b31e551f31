//! `deploy`, `ulimits` and `logging`: how many, where, and how much.

use super::{
    super::{
        shown,
        span::Flaw,
        tree::{Data, Entry, entry},
        yaml::draft::text,
    },
    rollout,
    service::Service,
    support,
    value::Reader,
};

/// The entries of a map below, after its keys were checked.
pub(super) fn below<'e>(
    service: &Service<'_>,
    keys: &'e [Entry],
    key: &str,
    path: &str,
) -> Option<&'e [Entry]> {
    let found = entry(keys, key)?;
    let keys = service.reader().map(found)?;
    support::check(path, keys, service.file.report);
    Some(keys)
}

/// The entry called `key`, where it has a value.
pub(super) fn find<'e>(keys: &'e [Entry], key: &str) -> Option<&'e Entry> {
    entry(keys, key).filter(|entry| entry.value.data != Data::Null)
}

/// Reads `deploy`.
pub(super) fn read(service: &mut Service<'_>, key: &Entry) {
    let Some(keys) = service.reader().map(key) else {
        return;
    };
    support::check("services.*.deploy", keys, service.file.report);
    if let Some(mode) = find(keys, "mode") {
        match mode.value.as_text() {
            Some("replicated") => {}
            Some("global") => {
                let every = text(&mode.value.span, "every");
                service.draft.put_in("placement", "on", mode, every);
            }
            _ => {
                let flaw = Flaw::new("this mode is not supported");
                service.refuse(&mode.value, flaw.hint("write `replicated` or `global`"));
            }
        }
    }
    if let Some(replicas) = find(keys, "replicas")
        && let Some(number) = service.reader().whole(replicas)
    {
        service.put_once("placement", "replicas", replicas, number);
    }
    let path = "services.*.deploy.resources";
    if let Some(resources) = below(service, keys, "resources", path) {
        read_resources(service, resources);
    }
    let path = "services.*.deploy.restart_policy";
    if let Some(policy) = below(service, keys, "restart_policy", path) {
        read_restart(service, key, policy);
    }
    let path = "services.*.deploy.placement";
    if let Some(placement) = below(service, keys, "placement", path) {
        read_placement(service, placement);
    }
    let path = "services.*.deploy.update_config";
    if let Some(config) = entry(keys, "update_config")
        && let Some(found) = below(service, keys, "update_config", path)
    {
        rollout::read(service, config, found);
    }
}

fn read_resources(service: &mut Service<'_>, resources: &[Entry]) {
    let path = "services.*.deploy.resources.reservations";
    below(service, resources, "reservations", path);
    let path = "services.*.deploy.resources.limits";
    let Some(limits) = below(service, resources, "limits", path) else {
        return;
    };
    let reader = service.reader();
    type Read<'a> = fn(Reader<'a>, &Entry) -> Option<super::super::tree::Value>;
    let rules: [(&str, &str, Read<'_>); 3] = [
        ("cpus", "cpus", Reader::number),
        ("memory", "memory", Reader::size),
        ("pids", "pids", Reader::whole),
    ];
    let mut found = Vec::new();
    for (key, name, read) in rules {
        if let Some(limit) = find(limits, key)
            && let Some(value) = read(reader, limit)
        {
            found.push((name, limit, value));
        }
    }
    for (name, limit, value) in found {
        service.put_once("resources", name, limit, value);
    }
}

fn read_restart(service: &mut Service<'_>, deploy: &Entry, policy: &[Entry]) {
    let condition = find(policy, "condition");
    let written = condition.map_or(Some("any"), |condition| condition.value.as_text());
    let word = match written {
        Some("any") => "always",
        Some("on-failure") => "on_failure",
        Some("none") => "never",
        _ => {
            let flaw = Flaw::new("this condition is not supported");
            let place = condition.map_or(&deploy.value, |condition| &condition.value);
            service.refuse(place, flaw.hint("write `any`, `on-failure` or `none`"));
            return;
        }
    };
    let from = condition.unwrap_or(deploy);
    let word = text(&from.value.span, word);
    service.draft.put_in("restart", "policy", from, word);
    if let Some(delay) = find(policy, "delay")
        && let Some(value) = service.reader().duration(delay)
    {
        service.draft.put_in("restart", "delay", delay, value);
    }
}

fn read_placement(service: &mut Service<'_>, placement: &[Entry]) {
    if let Some(most) = find(placement, "max_replicas_per_node")
        && let Some(number) = service.reader().whole(most)
        && number.data != Data::Integer(1)
    {
        let flaw = Flaw::new("a node runs one instance of a workload, never more");
        service.refuse(&most.value, flaw.hint("write 1, or remove it"));
    }
    if let Some(preferences) = find(placement, "preferences") {
        read_preferences(service, preferences);
    }
    let Some(constraints) = find(placement, "constraints") else {
        return;
    };
    let Some(list) = service.reader().list(constraints) else {
        return;
    };
    for item in list.as_list().unwrap_or_default() {
        match constraint(item.as_text().unwrap_or_default()) {
            Ok((key, word)) => {
                let word = text(&item.span, word);
                service.draft.add_to("placement", key, constraints, word);
            }
            Err(flaw) => service.refuse(item, flaw),
        }
    }
}

/// `[{ spread: node.labels.zone }]`, the only preference that there is.
fn read_preferences(service: &mut Service<'_>, preferences: &Entry) {
    let Some(items) = preferences.value.as_list() else {
        let found = preferences.value.kind();
        let flaw = Flaw::new(format!("`preferences` must be a list, not {found}"));
        let hint = "write `- spread: node.labels.<label>` below it";
        service.refuse(&preferences.value, flaw.hint(hint));
        return;
    };
    for (index, item) in items.iter().enumerate() {
        let Some(keys) = item.as_map() else {
            let found = item.kind();
            let flaw = Flaw::new(format!("a preference must be a map, not {found}"));
            service.refuse(item, flaw.hint("write `spread: node.labels.<label>`"));
            continue;
        };
        if index > 0 {
            let flaw = Flaw::new("instances are spread over one label only");
            service.refuse(item, flaw.hint("keep the preference that matters most"));
            continue;
        }
        let path = "services.*.deploy.placement.preferences.*";
        support::check(path, keys, service.file.report);
        let Some(spread) = find(keys, "spread") else {
            continue;
        };
        let label = spread.value.as_text().unwrap_or_default().trim();
        match label.strip_prefix("node.labels.") {
            Some(label) => {
                let label = text(&spread.value.span, label);
                service.draft.put_in("placement", "spread", spread, label);
            }
            None => {
                let flaw = Flaw::new("instances can be spread over a label of nodes only");
                service.refuse(&spread.value, flaw.hint("write `node.labels.<label>`"));
            }
        }
    }
}

/// `node.labels.zone == lab` as a word of `requires` or of `nodes`.
fn constraint(written: &str) -> Result<(&'static str, String), Flaw> {
    let wrong = || {
        Flaw::new(format!(
            "the constraint `{}` is not supported",
            shown(written)
        ))
        .hint(
            "write `node.labels.<label>==<value>`, `node.hostname==<node>` or \
             `node.platform.arch==<arch>`",
        )
    };
    let (name, operator, value) = if let Some((name, value)) = written.split_once("!=") {
        (name, "!=", value)
    } else if let Some((name, value)) = written.split_once("==") {
        (name, "=", value)
    } else {
        return Err(wrong());
    };
    let (name, value) = (name.trim(), value.trim());
    if let Some(label) = name.strip_prefix("node.labels.") {
        return Ok(("requires", format!("{label}{operator}{value}")));
    }
    match (name, operator) {
        ("node.platform.arch", _) => Ok(("requires", format!("arch{operator}{value}"))),
        ("node.hostname", "=") => Ok(("nodes", value.to_owned())),
        _ => Err(wrong()),
    }
}

/// Reads `ulimits`: only open files, one number or the same twice.
pub(super) fn read_ulimits(service: &mut Service<'_>, key: &Entry) {
    let reader = service.reader();
    let Some(limits) = reader.map(key) else {
        return;
    };
    support::check("services.*.ulimits", limits, service.file.report);
    let Some(files) = find(limits, "nofile") else {
        return;
    };
    let number = match &files.value.data {
        Data::Map(both) => {
            support::check("services.*.ulimits.nofile", both, service.file.report);
            let soft = find(both, "soft").and_then(|soft| reader.whole(soft));
            let hard = find(both, "hard").and_then(|hard| reader.whole(hard));
            match (soft, hard) {
                (Some(soft), Some(hard)) if soft.data != hard.data => {
                    let flaw = Flaw::new("`soft` and `hard` of `nofile` must be the same number");
                    service.refuse(&hard, flaw.hint("the smaller one is what programs get"));
                    return;
                }
                (Some(soft), _) => Some(soft),
                (None, hard) => hard,
            }
        }
        _ => reader.whole(files),
    };
    if let Some(number) = number {
        service
            .draft
            .put_in("resources", "open_files", files, number);
    }
}

/// Reads `logging`.
pub(super) fn read_logging(service: &mut Service<'_>, key: &Entry) {
    let Some(keys) = service.reader().map(key) else {
        return;
    };
    support::check("services.*.logging", keys, service.file.report);
    if let Some(driver) = find(keys, "driver")
        && !matches!(driver.value.as_text(), Some("json-file" | "local"))
    {
        let flaw = Flaw::new("this driver of logs is not supported");
        let hint = "remove it: the agent keeps what a service writes, and `fleetctl logs` shows it";
        service.refuse(&driver.value, flaw.hint(hint));
    }
    let path = "services.*.logging.options";
    let Some(options) = below(service, keys, "options", path) else {
        return;
    };
    let reader = service.reader();
    let size = find(options, "max-size").map(|size| (size, reader.size(size)));
    let files = find(options, "max-file").map(|files| (files, reader.whole(files)));
    for (name, found) in [("max_size", size), ("max_files", files)] {
        if let Some((from, Some(value))) = found {
            service.draft.put_in("logs", name, from, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints() {
        for (written, key, word) in [
            ("node.labels.zone == lab", "requires", "zone=lab"),
            ("node.labels.zone!=lab", "requires", "zone!=lab"),
            ("node.platform.arch==aarch64", "requires", "arch=aarch64"),
            ("node.hostname == pi-1", "nodes", "pi-1"),
        ] {
            assert_eq!(
                constraint(written).unwrap(),
                (key, word.to_owned()),
                "{written}"
            );
        }
        for written in [
            "",
            "node.role==manager",
            "node.hostname!=pi-1",
            "engine.labels.a==b",
        ] {
            assert!(constraint(written).is_err(), "{written}");
        }
    }
}
