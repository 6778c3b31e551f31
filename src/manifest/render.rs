//! A workload as the TOML that makes it again: [`super::parse`] of the text gives the same one.

use super::{
    quantity::{bytes_text, duration_text},
    workload::DEFAULT_STOP_TIMEOUT_MS,
};
use crate::model::{
    Device, Mount, MountSource, PlacementMode, Port, Protocol, PullPolicy, Restart, RestartPolicy,
    Run, Strategy, Workload, WorkloadType,
};

/// The TOML of `workload`: name, type, version and what is executed, then whatever differs from
/// its default.
pub fn render(workload: &Workload) -> String {
    let mut text = format!("[workload.{}]\n", quote_key(workload.name.as_str()));
    let kind = match workload.kind {
        WorkloadType::Service => "service",
        WorkloadType::Agent => "agent",
        WorkloadType::Script => "script",
    };
    line(&mut text, "type", quote(kind));
    line(&mut text, "version", quote(&workload.version));
    run(&mut text, &workload.run);
    strings(&mut text, "ports", workload.ports.iter().map(port_text));
    if !workload.env.is_empty() {
        let entries = workload
            .env
            .iter()
            .map(|(k, v)| format!("{} = {}", quote_key(k), quote(v)));
        let entries: Vec<String> = entries.collect();
        line(&mut text, "env", format!("{{ {} }}", entries.join(", ")));
    }
    strings(
        &mut text,
        "volumes",
        workload.volumes.iter().map(mount_text),
    );
    strings(
        &mut text,
        "devices",
        workload.devices.iter().map(device_text),
    );
    if workload.stop_timeout_ms != DEFAULT_STOP_TIMEOUT_MS {
        line(
            &mut text,
            "stop_timeout",
            quote(&duration_text(workload.stop_timeout_ms)),
        );
    }
    let name = quote_key(workload.name.as_str());
    for (table, body) in [
        ("resources", resources(workload)),
        ("placement", placement(workload)),
        ("restart", restart(&workload.restart)),
    ] {
        if !body.is_empty() {
            text.push_str(&format!("\n[workload.{name}.{table}]\n{body}"));
        }
    }
    text
}

fn run(text: &mut String, run: &Run) {
    match run {
        Run::Container {
            image,
            command,
            pull,
            engine,
            user,
            working_dir,
            network,
        } => {
            line(text, "image", quote(image));
            strings(text, "command", command.iter().cloned());
            match pull {
                PullPolicy::Missing => {}
                PullPolicy::Always => line(text, "pull", quote("always")),
                PullPolicy::Never => line(text, "pull", quote("never")),
            }
            optional(text, "engine", engine.map(|engine| engine.as_str()));
            optional(text, "user", user.as_deref());
            optional(text, "working_dir", working_dir.as_deref());
            optional(text, "network", network.as_deref());
        }
        Run::Process {
            command,
            user,
            working_dir,
        } => {
            strings(text, "command", command.iter().cloned());
            optional(text, "user", user.as_deref());
            optional(text, "working_dir", working_dir.as_deref());
        }
    }
}

fn resources(workload: &Workload) -> String {
    let mut text = String::new();
    let resources = &workload.resources;
    if let Some(memory) = resources.memory {
        line(&mut text, "memory", quote(&bytes_text(memory)));
    }
    if let Some(cpus) = resources.cpus {
        line(&mut text, "cpus", cpus.to_string());
    }
    if let Some(nice) = resources.nice {
        line(&mut text, "nice", nice.to_string());
    }
    text
}

fn placement(workload: &Workload) -> String {
    let mut text = String::new();
    let placement = &workload.placement;
    match placement.mode {
        PlacementMode::Every => line(&mut text, "on", quote("every")),
        PlacementMode::Any { replicas: 1 } => {}
        PlacementMode::Any { replicas } => {
            line(&mut text, "on", quote("any"));
            line(&mut text, "replicas", replicas.to_string());
        }
    }
    match placement.strategy {
        // The default; the match fails to compile when there is a second one.
        Strategy::LeastLoaded => {}
    }
    strings(
        &mut text,
        "requires",
        placement.requires.iter().map(ToString::to_string),
    );
    strings(
        &mut text,
        "nodes",
        placement.nodes.iter().map(ToString::to_string),
    );
    text
}

fn restart(restart: &Restart) -> String {
    let mut text = String::new();
    if *restart == Restart::default() {
        return text;
    }
    let policy = match restart.policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on_failure",
        RestartPolicy::Never => "never",
    };
    line(&mut text, "policy", quote(policy));
    line(&mut text, "delay", quote(&duration_text(restart.delay_ms)));
    line(
        &mut text,
        "max_delay",
        quote(&duration_text(restart.max_delay_ms)),
    );
    text
}

fn port_text(port: &Port) -> String {
    let address = match &port.address {
        None => String::new(),
        Some(address) if address.contains(':') => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
    };
    let protocol = if port.protocol == Protocol::Udp {
        "/udp"
    } else {
        ""
    };
    format!("{address}{}:{}{protocol}", port.host, port.container)
}

fn mount_text(mount: &Mount) -> String {
    let (MountSource::Volume(source) | MountSource::Path(source)) = &mount.source;
    format!(
        "{source}:{}{}",
        mount.target,
        if mount.read_only { ":ro" } else { "" }
    )
}

fn device_text(device: &Device) -> String {
    format!(
        "{}:{}:{}",
        device.host, device.container, device.permissions
    )
}

/// `key = value`; `value` is TOML already.
pub(crate) fn line(text: &mut String, key: &str, value: String) {
    text.push_str(&format!("{key} = {value}\n"));
}

/// `key = "value"`, where there is one.
fn optional(text: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        line(text, key, quote(value));
    }
}

/// `key = ["a", "b"]`, where there are any.
fn strings(text: &mut String, key: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    if !items.is_empty() {
        line(text, key, quote_list(&items));
    }
}

/// `["a", "b"]`.
pub(crate) fn quote_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(", "))
}

/// `text` as a key of a table, quoted where it must be.
pub(crate) fn quote_key(text: &str) -> String {
    let bare = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { text.to_owned() } else { quote(text) }
}

/// `text` as a basic string of TOML.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
