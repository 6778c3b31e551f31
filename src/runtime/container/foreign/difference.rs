//! What of a workload a container that is there does not have.

use crate::{
    model::{ContainerNetwork, ContainerOptions, LogLimits, Run, Workload},
    runtime::pull::Reference,
};

/// The differing parts, as a manifest names them; none: it may be taken over as it is.
///
/// `there` is the workload that would make the container. Left aside is what takes effect without
/// a new container, what does not show in one, and in which order things are written.
pub(super) fn between(wanted: &Workload, there: &Workload) -> Vec<&'static str> {
    let (wanted, mut there) = (plain(wanted, there), plain(there, there));
    forgive_aliases(&wanted, &mut there);
    if wanted.spec_hash() == there.spec_hash() {
        return Vec::new();
    }
    let mut differing = Vec::new();
    let mut compare = |same: bool, what: &'static str| {
        if !same {
            differing.push(what);
        }
    };
    compare(wanted.env == there.env, "env");
    compare(wanted.ports == there.ports, "ports");
    compare(wanted.volumes == there.volumes, "volumes");
    compare(wanted.devices == there.devices, "devices");
    compare(wanted.resources == there.resources, "resources");
    compare(
        wanted.stop_timeout_ms == there.stop_timeout_ms,
        "stop_timeout",
    );
    compare(wanted.files == there.files, "files");
    compare(wanted.params == there.params, "params");
    compare(wanted.logs == there.logs, "logs");
    if let (
        Run::Container {
            image,
            command,
            user,
            working_dir,
            network,
            options,
            ..
        },
        Run::Container {
            image: image_there,
            command: command_there,
            user: user_there,
            working_dir: dir_there,
            network: network_there,
            options: options_there,
            ..
        },
    ) = (&wanted.run, &there.run)
    {
        compare(image == image_there, "image");
        compare(command == command_there, "command");
        compare(user == user_there, "user");
        compare(working_dir == dir_there, "working_dir");
        compare(network == network_there, "network");
        differing.extend(of_options(options, options_there));
    }
    if differing.is_empty() {
        // A part that came after this was written.
        differing.push("spec");
    }
    differing
}

fn of_options(wanted: &ContainerOptions, there: &ContainerOptions) -> Vec<&'static str> {
    let all = [
        (wanted.entrypoint == there.entrypoint, "entrypoint"),
        (wanted.hostname == there.hostname, "hostname"),
        (wanted.cap_add == there.cap_add, "cap_add"),
        (wanted.cap_drop == there.cap_drop, "cap_drop"),
        (wanted.privileged == there.privileged, "privileged"),
        (wanted.extra_hosts == there.extra_hosts, "extra_hosts"),
        (wanted.dns == there.dns, "dns"),
        (wanted.group_add == there.group_add, "group_add"),
        (wanted.labels == there.labels, "labels"),
        (wanted.sysctls == there.sysctls, "sysctls"),
        (wanted.init == there.init, "init"),
        (wanted.shm_size == there.shm_size, "shm_size"),
        (wanted.stop_signal == there.stop_signal, "stop_signal"),
        (wanted.tty == there.tty, "tty"),
        (wanted.networks == there.networks, "networks"),
        (wanted.security_opt == there.security_opt, "security_opt"),
    ];
    let differing = all.into_iter().filter(|(same, _)| !same);
    differing.map(|(_, what)| what).collect()
}

/// That it is found by more names than are wanted is no reason to make it anew.
fn forgive_aliases(wanted: &Workload, there: &mut Workload) {
    let (Run::Container { options, .. }, Run::Container { options: more, .. }) =
        (&wanted.run, &mut there.run)
    else {
        return;
    };
    for network in &mut more.networks {
        let same = options.networks.iter().find(|n| n.name == network.name);
        if let Some(same) = same
            && same.aliases.iter().all(|a| network.aliases.contains(a))
        {
            network.aliases.clone_from(&same.aliases);
        }
    }
}

/// One of the two, with everything aside that makes no difference.
fn plain(workload: &Workload, there: &Workload) -> Workload {
    let mut plain = workload.clone();
    plain.name = there.name.clone();
    plain.version = there.version.clone();
    plain.kind = there.kind;
    plain.reload = None;
    plain.resources.nice = None;
    if there.logs == LogLimits::default() {
        // It has none, or nobody can tell; they come with the next container.
        plain.logs = LogLimits::default();
    }
    for port in &mut plain.ports {
        port.address = port
            .address
            .take()
            .filter(|a| !matches!(a.as_str(), "0.0.0.0" | "::"));
    }
    let key = |port: &crate::model::Port| (port.host, port.container, port.protocol as u8);
    plain
        .ports
        .sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.address.cmp(&b.address)));
    plain.volumes.sort_by(|a, b| a.target.cmp(&b.target));
    plain.devices.sort_by(|a, b| a.container.cmp(&b.container));
    plain.resources.tmpfs.sort_by(|a, b| a.path.cmp(&b.path));
    if let Run::Container {
        image,
        pull,
        engine,
        network,
        options,
        ..
    } = &mut plain.run
    {
        if let Ok(reference) = Reference::parse(image) {
            *image = reference.full().to_owned();
        }
        *pull = crate::model::PullPolicy::Missing;
        *engine = None;
        *network = network.take().filter(|network| network != "bridge");
        if let Some(name) = network.take_if(|name| name != "host" && name != "none") {
            options.networks = vec![ContainerNetwork {
                name,
                ..ContainerNetwork::default()
            }];
        }
        for network in &mut options.networks {
            network.create = false;
            network.aliases.sort();
        }
        options.networks.sort_by(|a, b| a.name.cmp(&b.name));
        // Said again with every container, and of no account where it has all privileges.
        options
            .security_opt
            .retain(|option| option != "label=disable");
        options.security_opt.sort();
        for list in [&mut options.cap_add, &mut options.cap_drop] {
            for name in list.iter_mut() {
                let short = name
                    .strip_prefix("CAP_")
                    .unwrap_or(name)
                    .to_ascii_uppercase();
                *name = short;
            }
            list.sort();
        }
        for list in [
            &mut options.extra_hosts,
            &mut options.dns,
            &mut options.group_add,
        ] {
            list.sort();
        }
    }
    plain
}
