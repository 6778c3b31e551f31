//! What is executed, as TOML.

use super::{flag, line, optional, quote, quote_list, size, strings};
use crate::model::{ContainerNetwork, ContainerOptions, PullPolicy, Run};

/// The keys of `run`, but for those that are tables of their own.
pub(super) fn keys(text: &mut String, run: &Run) {
    match run {
        Run::Container {
            image,
            command,
            pull,
            engine,
            user,
            working_dir,
            network,
            options: rare,
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
            options(text, rare);
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
        Run::Agent { .. } => {
            text.push_str("# The agent itself, which `fleetctl upgrade` changes.\n");
        }
        Run::Python {
            callable,
            venv,
            path,
            user,
            working_dir,
        } => {
            line(text, "python", quote(callable));
            optional(text, "venv", venv.as_deref());
            strings(text, "python_path", path.iter().cloned());
            optional(text, "user", user.as_deref());
            optional(text, "working_dir", working_dir.as_deref());
        }
    }
}

fn options(text: &mut String, options: &ContainerOptions) {
    for (key, list) in [
        ("entrypoint", &options.entrypoint),
        ("cap_add", &options.cap_add),
        ("cap_drop", &options.cap_drop),
        ("extra_hosts", &options.extra_hosts),
        ("dns", &options.dns),
        ("group_add", &options.group_add),
        ("security_opt", &options.security_opt),
    ] {
        strings(text, key, list.iter().cloned());
    }
    optional(text, "hostname", options.hostname.as_deref());
    flag(text, "privileged", options.privileged);
    flag(text, "init", options.init);
    flag(text, "tty", options.tty);
    size(text, "shm_size", options.shm_size);
    let stop_signal = options.stop_signal.map(|signal| signal.as_str());
    optional(text, "stop_signal", stop_signal);
    if !options.networks.is_empty() {
        let networks: Vec<String> = options.networks.iter().map(network).collect();
        line(text, "networks", format!("[{}]", networks.join(", ")));
    }
}

/// A network: its name where there is nothing more to say.
fn network(network: &ContainerNetwork) -> String {
    let name = quote(&network.name);
    if !network.create && network.aliases.is_empty() {
        return name;
    }
    let mut keys = vec![format!("name = {name}")];
    if network.create {
        keys.push("create = true".to_owned());
    }
    if !network.aliases.is_empty() {
        keys.push(format!("aliases = {}", quote_list(&network.aliases)));
    }
    format!("{{ {} }}", keys.join(", "))
}
