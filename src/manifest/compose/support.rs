//! What becomes of every key of a Compose file. The reader goes by it, and the published table is
//! printed from it.

use super::super::{
    report::Report,
    shown,
    span::Flaw,
    tree::{Data, Entry},
    yaml::draft::unknown,
};
use std::fmt::Write;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It means what it means in Compose.
    Yes,
    /// It is supported, with this difference.
    Partly(&'static str),
    /// It has no effect, for this reason; a note says so.
    Ignored(&'static str),
    /// It is refused; this is what to do instead.
    No(&'static str),
}

use Support::{Ignored, No, Partly, Yes};

/// For keys that concern the machine on which Compose runs, or another product.
const NOT_HERE: &str = "it concerns only who works with Compose itself";
const REMOVE: &str = "remove it";
const USE_CPUS: &str = "use `cpus`";
const USE_MEMORY: &str = "use `mem_limit`";
const ON_THE_NODE: &str = "create it on the nodes, and declare it `external: true`";

/// Every key of the format; `*` stands for a name that the user gives.
pub const SUPPORT: &[(&str, Support)] = &[
    // The file.
    (
        "name",
        Partly(
            "it stands in front of the names of networks, not of services and volumes; without it, the name of the file's directory does",
        ),
    ),
    ("version", Ignored("Compose itself ignores it")),
    ("services", Yes),
    (
        "volumes",
        Partly("a volume is called as it is written, without the project's name in front"),
    ),
    (
        "networks",
        Partly(
            "made on each node that has a service in it, as `<project>_<name>`; taken away when nothing uses it",
        ),
    ),
    ("configs", Partly("only with `content` or `file`")),
    (
        "secrets",
        No(
            "secrets would stand in the manifest; put the file on the nodes, and mount it with `volumes`",
        ),
    ),
    ("include", No("give the other file to fleetctl too")),
    ("models", No(REMOVE)),
    (
        "x-fleet",
        Partly("keys of the TOML for all services, `vars`, and `project_dir`"),
    ),
    // Volumes.
    ("volumes.*.external", Yes),
    ("volumes.*.name", Yes),
    ("volumes.*.driver", Partly("only `local`")),
    ("volumes.*.driver_opts", No(ON_THE_NODE)),
    (
        "volumes.*.labels",
        Ignored("the engine makes the volume without labels"),
    ),
    // Networks.
    ("networks.*.external", Yes),
    ("networks.*.name", Yes),
    ("networks.*.driver", Partly("only `bridge`")),
    ("networks.*.driver_opts", No(ON_THE_NODE)),
    ("networks.*.ipam", No(ON_THE_NODE)),
    ("networks.*.internal", No(ON_THE_NODE)),
    ("networks.*.attachable", Ignored("it concerns Swarm only")),
    ("networks.*.enable_ipv4", No(ON_THE_NODE)),
    ("networks.*.enable_ipv6", No(ON_THE_NODE)),
    (
        "networks.*.labels",
        Ignored("the network is made without them"),
    ),
    // Configs.
    (
        "configs.*.content",
        Partly("it becomes one of the `files`, with `verbatim = true`"),
    ),
    (
        "configs.*.name",
        Ignored("a file has no other name than its path"),
    ),
    (
        "configs.*.file",
        Partly("a text of at most 64 KiB below the directory of this file"),
    ),
    (
        "configs.*.environment",
        No("write the content itself with `content`"),
    ),
    (
        "configs.*.external",
        No("write the content itself with `content`"),
    ),
    ("configs.*.labels", Ignored("a file has no labels")),
    ("configs.*.template_driver", No(REMOVE)),
    // Services: what is executed.
    ("services.*.image", Yes),
    (
        "services.*.build",
        Partly("only beside `image`, which is used: build it elsewhere, and push it to a registry"),
    ),
    ("services.*.command", Yes),
    (
        "services.*.entrypoint",
        Partly("an empty one, which resets that of the image, is refused"),
    ),
    (
        "services.*.environment",
        Partly(
            "a variable without a value is refused; `{{ env.NAME }}` takes it from the agent's environment",
        ),
    ),
    (
        "services.*.env_file",
        Partly("files of at most 64 KiB below the directory of this one"),
    ),
    ("services.*.env_file.*.path", Yes),
    ("services.*.env_file.*.required", Yes),
    ("services.*.env_file.*.format", No(REMOVE)),
    ("services.*.user", Yes),
    ("services.*.working_dir", Yes),
    ("services.*.hostname", Yes),
    (
        "services.*.container_name",
        Partly(
            "others find it by this name; the container is called after its workload and its instance",
        ),
    ),
    (
        "services.*.pull_policy",
        Partly("`always`, `never`, `missing` and `if_not_present`"),
    ),
    (
        "services.*.platform",
        Partly("it becomes a requirement, as in `arch=aarch64`"),
    ),
    (
        "services.*.profiles",
        Partly(
            "chosen with `--var COMPOSE_PROFILES=a,b`; other services with profiles are left out",
        ),
    ),
    (
        "services.*.extends",
        No("write out what it takes over, or use an anchor and `<<`"),
    ),
    ("services.*.provider", No(REMOVE)),
    ("services.*.models", No(REMOVE)),
    ("services.*.develop", Ignored(NOT_HERE)),
    ("services.*.attach", Ignored(NOT_HERE)),
    ("services.*.annotations", No("use `labels`")),
    ("services.*.labels", Yes),
    (
        "services.*.label_file",
        No("write its content below `labels`"),
    ),
    ("services.*.tty", Yes),
    (
        "services.*.stdin_open",
        Ignored("nobody sits at its standard input; it is empty"),
    ),
    ("services.*.init", Yes),
    ("services.*.runtime", No(REMOVE)),
    ("services.*.isolation", No(REMOVE)),
    (
        "services.*.x-fleet",
        Partly("keys of the TOML, which win over what is translated"),
    ),
    // Services: network.
    (
        "services.*.ports",
        Partly("the port of the node must be said; ranges of the same length, up to 256 ports"),
    ),
    ("services.*.ports.*.target", Yes),
    ("services.*.ports.*.published", Yes),
    ("services.*.ports.*.host_ip", Yes),
    ("services.*.ports.*.protocol", Yes),
    (
        "services.*.ports.*.mode",
        Ignored("a port is published on the node of the instance"),
    ),
    ("services.*.ports.*.name", Ignored("it is for people")),
    (
        "services.*.ports.*.app_protocol",
        Ignored("it is for people"),
    ),
    (
        "services.*.expose",
        Ignored("it publishes nothing in Compose either"),
    ),
    (
        "services.*.network_mode",
        Partly("`host`, `none`, `bridge` or the name of a network that exists on the nodes"),
    ),
    (
        "services.*.networks",
        Partly("services find each other by name where they are on the same node"),
    ),
    ("services.*.networks.*.aliases", Yes),
    ("services.*.networks.*.ipv4_address", No(REMOVE)),
    ("services.*.networks.*.ipv6_address", No(REMOVE)),
    ("services.*.networks.*.link_local_ips", No(REMOVE)),
    ("services.*.networks.*.mac_address", No(REMOVE)),
    ("services.*.networks.*.interface_name", No(REMOVE)),
    ("services.*.networks.*.driver_opts", No(REMOVE)),
    (
        "services.*.networks.*.priority",
        Ignored("they are joined in the order in which they are written"),
    ),
    (
        "services.*.networks.*.gw_priority",
        Ignored("they are joined in the order in which they are written"),
    ),
    (
        "services.*.links",
        Partly("it says who starts first; a link by another name (`db:database`) is refused"),
    ),
    (
        "services.*.external_links",
        No("use a network that exists on the nodes"),
    ),
    ("services.*.extra_hosts", Yes),
    ("services.*.dns", Yes),
    ("services.*.dns_opt", No(REMOVE)),
    ("services.*.dns_search", No(REMOVE)),
    ("services.*.domainname", No("use `hostname`")),
    ("services.*.mac_address", No(REMOVE)),
    // Services: files and devices.
    (
        "services.*.volumes",
        Partly(
            "named volumes must be declared; a volume without a name gets one; a path must be absolute, or a text file of at most 64 KiB beside this one, which is read-only then, or `--project-dir` (`x-fleet.project_dir`) say where `./` is on the nodes",
        ),
    ),
    (
        "services.*.volumes.*.type",
        Partly("`bind`, `volume` and `tmpfs`"),
    ),
    ("services.*.volumes.*.source", Yes),
    ("services.*.volumes.*.target", Yes),
    ("services.*.volumes.*.read_only", Yes),
    (
        "services.*.volumes.*.consistency",
        Ignored("it is for macOS"),
    ),
    (
        "services.*.volumes.*.bind",
        Partly("only `create_host_path` and `selinux`"),
    ),
    (
        "services.*.volumes.*.bind.create_host_path",
        Ignored("the engine decides"),
    ),
    (
        "services.*.volumes.*.bind.selinux",
        Ignored("nothing is relabelled"),
    ),
    ("services.*.volumes.*.bind.propagation", No(REMOVE)),
    ("services.*.volumes.*.bind.recursive", No(REMOVE)),
    ("services.*.volumes.*.volume", No(REMOVE)),
    ("services.*.volumes.*.image", No(REMOVE)),
    ("services.*.volumes.*.tmpfs", Partly("only `size`")),
    ("services.*.volumes.*.tmpfs.size", Yes),
    ("services.*.volumes.*.tmpfs.mode", No(REMOVE)),
    (
        "services.*.volumes_from",
        No("mount the same volume in both"),
    ),
    ("services.*.tmpfs", Partly("only the option `size`")),
    (
        "services.*.devices",
        Partly("paths; `source`, `target` and `permissions` as a map too"),
    ),
    ("services.*.devices.*.source", Yes),
    ("services.*.devices.*.target", Yes),
    ("services.*.devices.*.permissions", Yes),
    (
        "services.*.device_cgroup_rules",
        No("use `devices` or `privileged`"),
    ),
    (
        "services.*.gpus",
        No("name the device nodes with `devices`"),
    ),
    ("services.*.configs", Partly("the file belongs to root")),
    ("services.*.configs.*.source", Yes),
    ("services.*.configs.*.target", Yes),
    ("services.*.configs.*.mode", Yes),
    ("services.*.configs.*.uid", No(REMOVE)),
    ("services.*.configs.*.gid", No(REMOVE)),
    (
        "services.*.secrets",
        No("put the file on the nodes, and mount it with `volumes`"),
    ),
    ("services.*.read_only", Yes),
    ("services.*.storage_opt", No(REMOVE)),
    ("services.*.shm_size", Yes),
    // Services: rights.
    ("services.*.privileged", Yes),
    ("services.*.cap_add", Yes),
    ("services.*.cap_drop", Yes),
    ("services.*.group_add", Yes),
    ("services.*.sysctls", Yes),
    (
        "services.*.security_opt",
        Partly(
            "`seccomp:unconfined`, `apparmor:…`, `label:…`, `systempaths:unconfined`; `no-new-privileges` is always so",
        ),
    ),
    ("services.*.userns_mode", No(REMOVE)),
    ("services.*.pid", No(REMOVE)),
    ("services.*.ipc", No(REMOVE)),
    ("services.*.uts", No(REMOVE)),
    ("services.*.cgroup", No(REMOVE)),
    ("services.*.cgroup_parent", No(REMOVE)),
    ("services.*.credential_spec", No(REMOVE)),
    (
        "services.*.use_api_socket",
        No("mount the engine's socket with `volumes`"),
    ),
    // Services: order and life.
    (
        "services.*.depends_on",
        Partly("the services must run on the same node: pin them with `x-fleet.placement.nodes`"),
    ),
    ("services.*.depends_on.*.condition", Yes),
    (
        "services.*.depends_on.*.restart",
        Ignored("a service is not restarted with another one"),
    ),
    (
        "services.*.depends_on.*.required",
        Partly("`false`: not waited for where its profiles leave it out"),
    ),
    (
        "services.*.restart",
        Partly(
            "not written: `always`, or `never` where another service waits for its end; the number of tries of `on-failure` is ignored, since delays grow",
        ),
    ),
    ("services.*.stop_signal", Yes),
    ("services.*.stop_grace_period", Yes),
    (
        "services.*.pre_stop",
        Partly("one hook, with `command` only"),
    ),
    ("services.*.pre_stop.*.command", Yes),
    ("services.*.pre_stop.*.user", No(REMOVE)),
    ("services.*.pre_stop.*.privileged", No(REMOVE)),
    ("services.*.pre_stop.*.working_dir", No(REMOVE)),
    ("services.*.pre_stop.*.environment", No(REMOVE)),
    ("services.*.post_start", No(REMOVE)),
    (
        "services.*.healthcheck",
        Partly(
            "an unhealthy service is reported, as in Docker; `x-fleet.health.on_unhealthy: restart` restarts it",
        ),
    ),
    ("services.*.healthcheck.test", Yes),
    ("services.*.healthcheck.interval", Yes),
    ("services.*.healthcheck.timeout", Yes),
    ("services.*.healthcheck.retries", Yes),
    ("services.*.healthcheck.start_period", Yes),
    (
        "services.*.healthcheck.start_interval",
        Ignored("questions come at `interval` from the start"),
    ),
    ("services.*.healthcheck.disable", Yes),
    // Services: logs and limits.
    (
        "services.*.logging",
        Partly("drivers `json-file` and `local`, since the agent keeps what a service writes"),
    ),
    (
        "services.*.logging.driver",
        Partly("`json-file` and `local`"),
    ),
    (
        "services.*.logging.options",
        Partly("`max-size` and `max-file`"),
    ),
    ("services.*.logging.options.max-size", Yes),
    ("services.*.logging.options.max-file", Yes),
    (
        "services.*.logging.options.compress",
        Ignored("logs are not compressed"),
    ),
    ("services.*.logging.options.mode", No(REMOVE)),
    ("services.*.logging.options.tag", No(REMOVE)),
    ("services.*.logging.options.labels", No(REMOVE)),
    ("services.*.cpus", Yes),
    ("services.*.cpu_count", No(USE_CPUS)),
    ("services.*.cpu_percent", No(USE_CPUS)),
    ("services.*.cpu_shares", No(USE_CPUS)),
    ("services.*.cpu_period", No(USE_CPUS)),
    ("services.*.cpu_quota", No(USE_CPUS)),
    ("services.*.cpu_rt_runtime", No(USE_CPUS)),
    ("services.*.cpu_rt_period", No(USE_CPUS)),
    ("services.*.cpuset", No(USE_CPUS)),
    ("services.*.mem_limit", Yes),
    (
        "services.*.mem_reservation",
        Ignored("no memory is set aside"),
    ),
    ("services.*.mem_swappiness", No(USE_MEMORY)),
    ("services.*.memswap_limit", No(USE_MEMORY)),
    ("services.*.oom_kill_disable", No(USE_MEMORY)),
    ("services.*.oom_score_adj", Yes),
    ("services.*.pids_limit", Yes),
    (
        "services.*.ulimits",
        Partly("only `nofile`, with one number for `soft` and `hard`"),
    ),
    ("services.*.ulimits.nofile", Yes),
    ("services.*.ulimits.nofile.soft", Yes),
    ("services.*.ulimits.nofile.hard", Yes),
    ("services.*.ulimits.nproc", No("use `pids_limit`")),
    ("services.*.ulimits.memlock", No(REMOVE)),
    ("services.*.ulimits.core", No(REMOVE)),
    ("services.*.ulimits.rtprio", No(REMOVE)),
    ("services.*.blkio_config", No(REMOVE)),
    // Services: several of them.
    (
        "services.*.scale",
        Partly("each instance is on a node of its own"),
    ),
    ("services.*.deploy", Partly("see below")),
    (
        "services.*.deploy.mode",
        Partly("`replicated`, and `global` for every node"),
    ),
    (
        "services.*.deploy.replicas",
        Partly("each instance is on a node of its own"),
    ),
    (
        "services.*.deploy.labels",
        Ignored("they are for services of Swarm"),
    ),
    ("services.*.deploy.endpoint_mode", No(REMOVE)),
    (
        "services.*.deploy.update_config",
        No("remove it; `fleetctl apply` replaces instances"),
    ),
    (
        "services.*.deploy.rollback_config",
        No("remove it; `fleetctl apply` replaces instances"),
    ),
    (
        "services.*.deploy.restart_policy",
        Partly("it wins over `restart`"),
    ),
    ("services.*.deploy.restart_policy.condition", Yes),
    ("services.*.deploy.restart_policy.delay", Yes),
    (
        "services.*.deploy.restart_policy.max_attempts",
        Ignored("restarts are never given up; their delays grow"),
    ),
    (
        "services.*.deploy.restart_policy.window",
        Ignored("restarts are never given up; their delays grow"),
    ),
    ("services.*.deploy.resources", Yes),
    ("services.*.deploy.resources.limits", Yes),
    ("services.*.deploy.resources.limits.cpus", Yes),
    ("services.*.deploy.resources.limits.memory", Yes),
    ("services.*.deploy.resources.limits.pids", Yes),
    (
        "services.*.deploy.resources.reservations",
        Partly("nothing is set aside"),
    ),
    (
        "services.*.deploy.resources.reservations.cpus",
        Ignored("nothing is set aside"),
    ),
    (
        "services.*.deploy.resources.reservations.memory",
        Ignored("nothing is set aside"),
    ),
    (
        "services.*.deploy.resources.reservations.devices",
        No("name the device nodes with `devices`"),
    ),
    (
        "services.*.deploy.resources.reservations.generic_resources",
        No(REMOVE),
    ),
    ("services.*.deploy.placement", Yes),
    (
        "services.*.deploy.placement.constraints",
        Partly("`node.labels.x`, `node.hostname` and `node.platform.arch`, with `==` and `!=`"),
    ),
    ("services.*.deploy.placement.preferences", No(REMOVE)),
    (
        "services.*.deploy.placement.max_replicas_per_node",
        Partly("only 1, which is always so"),
    ),
];

/// What becomes of the key at `path`; `None` where there is no such key.
fn support(path: &str) -> Option<Support> {
    let known = SUPPORT.iter().find(|(key, _)| *key == path);
    known.map(|(_, support)| *support)
}

/// The keys right below `path`.
fn below(path: &str) -> Vec<&'static str> {
    SUPPORT
        .iter()
        .filter_map(|(key, _)| match path {
            "" => Some(*key),
            _ => key.strip_prefix(path)?.strip_prefix('.'),
        })
        .filter(|key| !key.contains('.'))
        .collect()
}

/// Goes through the keys of the map at `path` (empty for the file): refuses those that do not
/// exist or are not supported, and notes those without effect. `x-…` may hold anything.
pub(super) fn check(path: &str, entries: &[Entry], report: &Report) {
    for Entry {
        name,
        name_span,
        value,
    } in entries
    {
        if name.starts_with("x-") {
            continue;
        }
        let full = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        // A key of ours has no dot, so one with a dot is none.
        let found = support(&full).filter(|_| !name.contains('.'));
        match found {
            Some(Yes | Partly(_)) => {}
            // What is written without a value asks for nothing.
            Some(No(_) | Ignored(_)) if value.data == Data::Null => {}
            Some(Ignored(why)) => {
                let flaw = Flaw::new(format!("`{name}` has no effect: {why}"));
                report.note(name_span.clone(), flaw);
            }
            Some(No(hint)) => {
                let flaw = Flaw::new(format!("`{name}` of Compose is not supported"));
                report.add(name_span.clone(), flaw.hint(hint));
            }
            None => {
                let known = below(path);
                let mut flaw = unknown(name, &known);
                if known.len() > 20 && flaw.hint.as_ref().is_some_and(|h| !h.starts_with("did")) {
                    flaw = Flaw::new(format!("unknown key `{}`", shown(name)))
                        .hint("the table of what Compose files may say has all keys");
                }
                report.add(name_span.clone(), flaw);
            }
        }
    }
}

/// The table as Markdown, as it is published.
pub fn markdown() -> String {
    let mut text = String::new();
    for (title, prefix) in [
        ("A service (`services.*`)", "services.*."),
        ("The file", ""),
    ] {
        let _ = writeln!(text, "| {title} | | |\n|---|---|---|");
        for (key, support) in SUPPORT {
            let key = match (prefix, key.strip_prefix("services.*.")) {
                ("", None) => *key,
                (_, Some(key)) if !prefix.is_empty() => key,
                _ => continue,
            };
            let (word, note) = match support {
                Yes => ("yes", ""),
                Partly(note) => ("partly", *note),
                Ignored(note) => ("no effect", *note),
                No(note) => ("refused", *note),
            };
            let _ = writeln!(text, "| `{key}` | {word} | {note} |");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_stands_once_and_below_one_that_is_supported() {
        let mut keys = BTreeSet::new();
        for (key, _) in SUPPORT {
            assert!(keys.insert(*key), "{key} stands twice");
            let Some((parent, _)) = key.rsplit_once('.') else {
                continue;
            };
            let parent = parent.trim_end_matches(".*");
            let parent = if parent.is_empty() { continue } else { parent };
            assert!(
                matches!(support(parent), Some(Yes | Partly(_))),
                "{key} stands below `{parent}`, which is not supported"
            );
        }
    }

    #[test]
    fn the_published_table_is_this_one() {
        let readme = include_str!("../../../README.md");
        assert!(
            readme.contains(markdown().trim_end()),
            "the table in README.md differs; it should be:\n{}",
            markdown()
        );
    }
}
