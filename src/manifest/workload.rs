//! One table `[workload.<name>]`.

use super::{
    container::{collide, parse_device, parse_port},
    files::{read_files, read_reload},
    getters::Shape,
    health, limits, order,
    placement::{read_placement, read_restart},
    run, schedule,
    span::Flaw,
    table::Table,
    update, volumes,
    word::{engine_name, env_entry, tag, version},
};
use crate::model::{
    DEFAULT_MIN_HEALTHY_TIME_MS, Hook, Name, Port, Run, Workload, WorkloadType, uptime_ms,
};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// A second, an hour and a day.
const SECOND: u64 = 1_000;
const HOUR: u64 = 60 * 60 * SECOND;
const DAY: u64 = 24 * HOUR;
/// How long an instance may take to end, where nothing is written.
pub(crate) const DEFAULT_STOP_TIMEOUT_MS: u64 = 10 * SECOND;
/// The longest that it may be given: one hour.
const MAX_STOP_TIMEOUT_MS: u64 = HOUR;
/// How long a command before the stop may take, where nothing is written.
pub(crate) const DEFAULT_HOOK_TIMEOUT_MS: u64 = 10 * SECOND;
/// The most bytes of parameters, as JSON.
const MAX_PARAMS: usize = 64 * 1024;
/// The most tags.
const MAX_TAGS: usize = 32;

/// Reads the table. `None` where it has no name or nothing to run; that is on record then.
pub(crate) fn read(mut table: Table<'_>, name: Option<Name>) -> Option<Workload> {
    let kind = table.choice(
        "type",
        &[
            ("service", WorkloadType::Service),
            ("agent", WorkloadType::Agent),
            ("script", WorkloadType::Script),
        ],
    );
    // What a type with a slip was to be, nobody knows.
    let is_service = kind.map_or(!table.has("type"), |kind| kind == WorkloadType::Service);
    let is_container = table.has("image");
    let version = table.parsed("version", version);
    let run = run::read(&mut table);
    let mode = schedule::read(&mut table, is_service);
    let timeout_ms = table.ms_within("timeout", SECOND..=30 * DAY);
    let env = table.string_map("env", env_entry);
    let ports = read_ports(&mut table);
    let volumes = volumes::read(&mut table);
    let devices = table
        .parsed_list("devices", parse_device)
        .unwrap_or_default();
    let files = read_files(&mut table, is_container);
    for file in &files {
        if volumes.iter().any(|volume| volume.target == file.path) {
            let flaw = Flaw::new(format!("a volume is mounted on the file `{}`", file.path));
            table.refuse("files", flaw.hint("give one of the two another path"));
        }
    }
    let reload = read_reload(&mut table);
    let params = read_params(&mut table);
    let stop_timeout_ms = table
        .duration_ms("stop_timeout")
        .unwrap_or(DEFAULT_STOP_TIMEOUT_MS);
    if stop_timeout_ms > MAX_STOP_TIMEOUT_MS {
        table.refuse(
            "stop_timeout",
            Flaw::new("`stop_timeout` must be at most one hour"),
        );
    }
    let before_stop = read_hook(&mut table);
    let health = health::read(table.table("health"), is_container);
    let min_healthy_time_ms = table.ms_within("min_healthy_time", 0..=HOUR);
    let depends_on = order::read(&mut table, name.as_ref());
    let resources = limits::read_resources(table.table("resources"), is_container);
    let logs = limits::read_logs(table.table("logs"));
    let placement = read_placement(table.table("placement"), name.as_ref());
    let restart = read_restart(table.table("restart"));
    let tags = read_tags(&mut table);
    // Without a check, so long it must be up before it counts as healthy at all.
    let up_ms = uptime_ms(
        health.as_ref(),
        &mode,
        min_healthy_time_ms.unwrap_or(DEFAULT_MIN_HEALTHY_TIME_MS),
    );
    let update = update::read(&mut table, up_ms);
    let adopt = table.parsed("adopt", |text| engine_name(text, "a container"));
    if let Some((run, _)) = &run {
        refuse_ports_without_network(&mut table, run, &ports);
    }
    table.finish();

    let (run, image) = run?;
    // The tag is what people call the edition of an image.
    let version = version
        .or(image.and_then(|image| image.tag))
        .unwrap_or_else(|| "1".to_owned());
    Some(Workload {
        name: name?,
        kind: kind.unwrap_or_default(),
        version,
        run,
        env,
        ports,
        volumes,
        devices,
        resources,
        placement,
        restart,
        stop_timeout_ms,
        mode,
        timeout_ms,
        health,
        min_healthy_time_ms,
        depends_on,
        before_stop,
        files,
        params,
        reload,
        logs,
        tags,
        adopt,
        update,
    })
}

fn refuse_ports_without_network(table: &mut Table<'_>, run: &Run, ports: &[Port]) {
    if let Run::Container {
        network: Some(network),
        ..
    } = run
        && (network == "host" || network == "none")
        && !ports.is_empty()
    {
        let flaw = Flaw::new(format!(
            "`ports` has no effect with `network = \"{network}\"`"
        ))
        .hint("remove one of the two");
        table.refuse_key("ports", flaw);
    }
}

fn read_ports(table: &mut Table<'_>) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    // Which of them have a number of the node's; there may be hundreds.
    let mut by_number: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    table.parsed_list("ports", |text| {
        let port = parse_port(text)?;
        let others = by_number.entry(port.host).or_default();
        if others.iter().any(|other| collide(&ports[*other], &port)) {
            return Err(Flaw::new(format!(
                "port {}/{} of the node is published twice",
                port.host, port.protocol
            ))
            .hint("give each container port a port of its own on the node"));
        }
        others.push(ports.len());
        ports.push(port);
        Ok(())
    });
    ports
}

/// `before_stop = ["command"]`, or a table with `command` and `timeout`.
fn read_hook(table: &mut Table<'_>) -> Option<Hook> {
    if table.shape("before_stop") != Shape::Map {
        let command = table.command("before_stop")?;
        return Some(Hook {
            command,
            timeout_ms: DEFAULT_HOOK_TIMEOUT_MS,
        });
    }
    let mut inner = table.table("before_stop");
    if !inner.has("command") {
        inner
            .missing(Flaw::new("`before_stop` names no command").hint("write `command = [\"…\"]`"));
    }
    let command = inner.command("command");
    let timeout_ms = inner.ms_within("timeout", 100..=HOUR);
    inner.finish();
    Some(Hook {
        command: command?,
        timeout_ms: timeout_ms.unwrap_or(DEFAULT_HOOK_TIMEOUT_MS),
    })
}

fn read_params(table: &mut Table<'_>) -> Map<String, Json> {
    let params = table.json("params");
    let bytes = serde_json::to_vec(&params).map_or(usize::MAX, |json| json.len());
    if bytes > MAX_PARAMS {
        let flaw = Flaw::new("`params` must be at most 64 KiB as JSON");
        table.refuse("params", flaw.hint("put larger data into `files`"));
    }
    params
}

fn read_tags(table: &mut Table<'_>) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    table.parsed_list("tags", |text| {
        let tag = tag(text)?;
        if tags.contains(&tag) {
            return Err(Flaw::new(format!("`{tag}` is named twice")));
        }
        if tags.len() == MAX_TAGS {
            return Err(Flaw::new(format!("a workload has at most {MAX_TAGS} tags")));
        }
        tags.push(tag);
        Ok(())
    });
    tags
}
