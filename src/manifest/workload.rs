//! One table `[workload.<name>]`.

use super::{
    container::{collide, parse_device, parse_mount, parse_port},
    not_supported,
    placement::{read_placement, read_resources, read_restart},
    run,
    span::Flaw,
    table::Table,
    word::{env_entry, version},
};
use crate::model::{Mount, Name, Port, Run, Workload, WorkloadType};

/// How long an instance may take to end, where nothing is written.
pub(crate) const DEFAULT_STOP_TIMEOUT_MS: u64 = 10_000;
/// The longest that it may be given: one hour.
const MAX_STOP_TIMEOUT_MS: u64 = 60 * 60 * 1_000;

/// Keys of the format that this release would ignore.
const LATER: [&str; 9] = [
    "depends_on",
    "health",
    "update",
    "schedule",
    "max_runs",
    "timeout",
    "files",
    "params",
    "reload",
];

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
    let version = table.parsed("version", version);
    let run = run::read(&mut table);
    let env = table.string_map("env", env_entry);
    let ports = read_ports(&mut table);
    let volumes = read_volumes(&mut table);
    let devices = table
        .parsed_list("devices", parse_device)
        .unwrap_or_default();
    let stop_timeout_ms = table
        .duration_ms("stop_timeout")
        .unwrap_or(DEFAULT_STOP_TIMEOUT_MS);
    if stop_timeout_ms > MAX_STOP_TIMEOUT_MS {
        table.refuse(
            "stop_timeout",
            Flaw::new("`stop_timeout` must be at most one hour"),
        );
    }
    let resources = read_resources(table.table("resources"));
    let placement = read_placement(table.table("placement"));
    let restart = read_restart(table.table("restart"));
    for key in LATER {
        table.refuse_key(key, not_supported(key));
    }
    if let Some((
        Run::Container {
            network: Some(network),
            ..
        },
        _,
    )) = &run
        && (network == "host" || network == "none")
        && !ports.is_empty()
    {
        let flaw = Flaw::new(format!(
            "`ports` has no effect with `network = \"{network}\"`"
        ))
        .hint("remove one of the two");
        table.refuse_key("ports", flaw);
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
    })
}

fn read_ports(table: &mut Table<'_>) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    table.parsed_list("ports", |text| {
        let port = parse_port(text)?;
        if ports.iter().any(|other| collide(other, &port)) {
            return Err(Flaw::new(format!(
                "port {}/{} of the node is published twice",
                port.host, port.protocol
            ))
            .hint("give each container port a port of its own on the node"));
        }
        ports.push(port);
        Ok(())
    });
    ports
}

fn read_volumes(table: &mut Table<'_>) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    table.parsed_list("volumes", |text| {
        let mount = parse_mount(text)?;
        if mounts.iter().any(|other| other.target == mount.target) {
            let flaw = Flaw::new(format!("two volumes are mounted on `{}`", mount.target));
            return Err(flaw.hint("mount each on a path of its own"));
        }
        mounts.push(mount);
        Ok(())
    });
    mounts
}
