//! Compose files: each service becomes a workload.
//!
//! A service is translated into the shape of the TOML, with the place of every value, and read by
//! the same reader; so bounds and messages are the same. What is supported is data ([`SUPPORT`]):
//! the reader refuses by it, and the published table is printed from it ([`markdown`]). A key is
//! supported, partly supported, without effect (a note says so), or refused with what to do
//! instead; none is dropped in silence.
//!
//! | file | knows |
//! |---|---|
//! | `support` | every key of the format, and what becomes of it |
//! | `variables` | `${NAME:-default}` |
//! | `value` | durations, sizes and other words as Compose writes them |
//! | `service` | a service, key by key |
//! | `project` | what the file is called, and which of its services are taken |
//! | `ports`, `volumes`, `networks`, `health`, `deploy`, `rollout`, `configs`, `env_file` | the larger keys |
//!
//! `x-fleet` of a service holds keys of the TOML that Compose does not have; they win over what is
//! translated. `x-fleet` of the file holds such keys for all services, which yield to those of a
//! service, and two more: `vars`, and `project_dir`, the directory on the nodes to which paths
//! that begin with `./` are relative. Without it, a small file at such a path is taken from beside
//! the Compose file.
//!
//! Four variables mean something by themselves: `COMPOSE_PROFILES`, `COMPOSE_PROJECT_NAME`,
//! `FLEET_PROJECT_DIR`, and whatever `environment` names without a value.

mod configs;
mod deploy;
mod env_file;
mod health;
mod networks;
mod ports;
mod project;
mod rollout;
mod service;
mod support;
#[cfg(test)]
mod tests;
mod value;
mod variables;
mod volumes;

pub use support::{SUPPORT, Support, markdown};

use super::{
    MAX_WORKLOADS,
    report::Report,
    shown,
    span::{Flaw, Source},
    too_many_workloads,
    tree::{Data, Entry, Value, by_name, entry},
    word::absolute_path,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The text is a Compose file: by its name, or because it has services.
pub(super) fn is_compose(name: &str, root: &Value) -> bool {
    let file = Path::new(name).file_name().and_then(|file| file.to_str());
    let by_name = matches!(
        file,
        Some("compose.yaml" | "compose.yml" | "docker-compose.yaml" | "docker-compose.yml")
    );
    let has = |key: &str| root.get(key).is_some();
    has("services") || (by_name && !has("workloads"))
}

/// What the whole file says, for its services.
struct File<'a> {
    report: &'a Report,
    /// Those that are taken.
    services: Vec<&'a Entry>,
    /// Their names.
    taken: BTreeSet<&'a str>,
    /// The names of those whose end another one waits for.
    awaited: BTreeSet<&'a str>,
    /// Names of those that are left out, since they have profiles.
    left_out: BTreeSet<&'a str>,
    /// What stands in front of the names of its networks.
    project: String,
    volumes: BTreeMap<&'a str, &'a Entry>,
    networks: BTreeMap<&'a str, &'a Entry>,
    configs: BTreeMap<&'a str, &'a Entry>,
    /// `x-fleet` without what is not for workloads.
    defaults: Vec<Entry>,
    /// `x-fleet.project_dir`.
    project_dir: Option<String>,
    variables: &'a BTreeMap<String, String>,
}

/// The services of a Compose file as a tree in the shape of the TOML. `None` where there are none;
/// why is on record.
pub(super) fn read(
    mut root: Value,
    source: &Source,
    variables: &BTreeMap<String, String>,
    report: &Report,
) -> Option<Value> {
    variables::fill(&mut root, variables, report);
    let Data::Map(entries) = &root.data else {
        let flaw = Flaw::new(format!("a Compose file must be a map, not {}", root.kind()));
        report.add(root.span.clone(), flaw.hint("begin it with `services:`"));
        return None;
    };
    Some(Value {
        span: 0..0,
        data: Data::Map(read_file(entries, source, variables, report)?),
    })
}

fn read_file(
    entries: &[Entry],
    source: &Source,
    variables: &BTreeMap<String, String>,
    report: &Report,
) -> Option<Vec<Entry>> {
    support::check("", entries, report);
    let (defaults, vars, project_dir) = read_defaults(entries, report);
    let project_dir = project::directory(variables, report).or(project_dir);
    let all = section(entries, "services", report);
    let (services, left_out) = project::chosen(all, variables, report);
    if let Some(more) = services.get(MAX_WORKLOADS) {
        report.add(more.name_span.clone(), too_many_workloads());
        return None;
    }
    if let Err(flaw) = repeated(&defaults, services.len(), report) {
        let place = entry(entries, "x-fleet").map_or(0..0, |entry| entry.name_span.clone());
        report.add(place, flaw);
        return None;
    }
    let file = File {
        report,
        taken: services.iter().map(|s| s.name.as_str()).collect(),
        awaited: services.iter().flat_map(|s| awaited_by(s)).collect(),
        services,
        left_out: left_out.iter().map(|s| s.name.as_str()).collect(),
        project: project::name(entries, source, variables, report),
        volumes: by_name(section(entries, "volumes", report)),
        networks: by_name(section(entries, "networks", report)),
        configs: by_name(section(entries, "configs", report)),
        defaults,
        project_dir,
        variables,
    };
    file.check_sections();
    if file.services.is_empty() && !file.left_out.is_empty() {
        let flaw = Flaw::new("every service of this file has profiles, and none is chosen");
        let hint = "choose some with `--var COMPOSE_PROFILES=…`";
        report.add_missing(0..0, flaw.hint(hint));
    } else if file.services.is_empty() {
        let flaw = Flaw::new("there is no service in this file");
        report.add_missing(0..0, flaw.hint("write one below `services:`"));
    }
    let workloads: Vec<Entry> = file
        .services
        .iter()
        .filter_map(|service| service::read(&file, service))
        .collect();
    if workloads.is_empty() {
        return None;
    }
    let mut tables = vec![top("workload", Data::Map(workloads))];
    tables.extend(vars);
    Some(tables)
}

/// The services whose end `service` waits for.
fn awaited_by(service: &Entry) -> impl Iterator<Item = &str> {
    let on = service.value.get("depends_on").and_then(Value::as_map);
    let ends = |on: &&Entry| {
        let condition = on.value.get("condition").and_then(Value::as_text);
        condition == Some("service_completed_successfully")
    };
    let awaited = on.unwrap_or_default().iter().filter(ends);
    awaited.map(|on| on.name.as_str())
}

/// The defaults are laid under each of so many services.
fn repeated(defaults: &[Entry], services: usize, report: &Report) -> Result<(), Flaw> {
    // A value takes more than its text.
    let bytes = |entry: &Entry| entry.name.len() + entry.value.bytes() + 64 * entry.value.size();
    let bytes: usize = defaults.iter().map(bytes).sum();
    report.add_bytes(bytes.saturating_mul(services.saturating_sub(1)))
}

fn top(name: &str, data: Data) -> Entry {
    Entry {
        name: name.to_owned(),
        name_span: 0..0,
        value: Value { span: 0..0, data },
    }
}

/// A map at the top of the file; an empty one where it is not written.
fn section<'a>(entries: &'a [Entry], key: &str, report: &Report) -> &'a [Entry] {
    match entry(entries, key).map(|entry| &entry.value) {
        None => &[],
        Some(value) => match &value.data {
            Data::Map(entries) => entries,
            Data::Null => &[],
            _ => {
                let flaw = Flaw::new(format!("`{key}` must be a map, not {}", value.kind()));
                report.add(value.span.clone(), flaw);
                &[]
            }
        },
    }
}

/// `x-fleet` at the top: defaults of workloads, `vars`, and `project_dir`.
fn read_defaults(
    entries: &[Entry],
    report: &Report,
) -> (Vec<Entry>, Option<Entry>, Option<String>) {
    let Some(fleet) = entry(entries, "x-fleet") else {
        return (Vec::new(), None, None);
    };
    let Data::Map(own) = &fleet.value.data else {
        let flaw = Flaw::new(format!(
            "`x-fleet` must be a map, not {}",
            fleet.value.kind()
        ));
        report.add(fleet.value.span.clone(), flaw);
        return (Vec::new(), None, None);
    };
    let vars = entry(own, "vars").cloned();
    let project_dir = entry(own, "project_dir").and_then(|entry| {
        let read = match entry.value.as_text() {
            Some(path) => absolute_path(path),
            None => Err(Flaw::new("`project_dir` must be a path on the nodes")),
        };
        read.map_err(|flaw| report.add(entry.value.span.clone(), flaw))
            .ok()
    });
    let defaults = own
        .iter()
        .filter(|entry| entry.name != "vars" && entry.name != "project_dir")
        .cloned()
        .collect();
    (defaults, vars, project_dir)
}

impl File<'_> {
    /// Checks the entries of `volumes`, `networks` and `configs`, whether they are used or not.
    fn check_sections(&self) {
        for (section, path) in [
            (&self.volumes, "volumes.*"),
            (&self.networks, "networks.*"),
            (&self.configs, "configs.*"),
        ] {
            for entry in section.values() {
                match &entry.value.data {
                    Data::Map(keys) => support::check(path, keys, self.report),
                    Data::Null => {}
                    _ => {
                        let found = entry.value.kind();
                        let flaw = Flaw::new(format!(
                            "`{}` must be a map, not {found}",
                            shown(&entry.name)
                        ));
                        self.report.add(entry.value.span.clone(), flaw);
                    }
                }
            }
        }
        for network in self.networks.values() {
            if let Some(driver) = network.value.get("driver")
                && !matches!(driver.as_text(), Some("bridge" | "default" | ""))
                && driver.data != Data::Null
                && !self.is_external(network)
            {
                let flaw = Flaw::new("no network driver but `bridge` is supported");
                let flaw = flaw.hint("create the network on the nodes, and write `external: true`");
                self.report.add(driver.span.clone(), flaw);
            }
        }
        for volume in self.volumes.values() {
            if let Some(driver) = volume.value.get("driver")
                && driver.as_text() != Some("local")
            {
                let flaw = Flaw::new("no volume driver but `local` is supported");
                let flaw = flaw.hint("create the volume on the nodes, and write `external: true`");
                self.report.add(driver.span.clone(), flaw);
            }
        }
    }

    /// It exists on the nodes; what is written wrongly is refused where it is used.
    fn is_external(&self, entry: &Entry) -> bool {
        let external = entry.value.get("external").map(|value| &value.data);
        match external {
            None | Some(Data::Null | Data::Bool(false)) => false,
            Some(Data::Text(text)) => text != "false",
            Some(_) => true,
        }
    }

    /// What the engine calls a volume, network or config of `section`: its `name`, else its key.
    fn real_name(&self, entry: &Entry) -> String {
        let named = entry.value.get("name").and_then(Value::as_text);
        named.unwrap_or(&entry.name).to_owned()
    }
}
