//! Every key of a Compose file, with what becomes of it.

use super::Support::{self, Ignored, No, Partly, Yes};

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
        Partly("it becomes the table `update`; without it every instance is replaced at once"),
    ),
    (
        "services.*.deploy.update_config.parallelism",
        Partly("not written: 1; 0 means all at once"),
    ),
    (
        "services.*.deploy.update_config.monitor",
        Partly("it becomes `min_healthy_time`; not written: 10s"),
    ),
    (
        "services.*.deploy.update_config.failure_action",
        Partly("`rollback`, also where nothing is written, and `pause`"),
    ),
    (
        "services.*.deploy.update_config.order",
        Partly("only `stop-first`"),
    ),
    (
        "services.*.deploy.update_config.delay",
        No("use `monitor`: the next ones wait until those before have been healthy for so long"),
    ),
    (
        "services.*.deploy.update_config.max_failure_ratio",
        No("remove it: one failure is enough"),
    ),
    (
        "services.*.deploy.rollback_config",
        No("remove it; `update_config` says whether a failure is rolled back"),
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
    (
        "services.*.deploy.placement.preferences",
        Partly("one `spread`"),
    ),
    (
        "services.*.deploy.placement.preferences.*.spread",
        Partly("`node.labels.x`"),
    ),
    (
        "services.*.deploy.placement.max_replicas_per_node",
        Partly("only 1, which is always so"),
    ),
];
