use super::{difference, limits::bytes, workload};
use crate::model::{
    HealthCheck, Mount, MountSource, Port, Protocol, RestartPolicy, Run, RuntimeKind, Workload,
};
use bollard::models::{ContainerInspectResponse, ImageConfig};
use serde_json::{Value, json};

/// As Docker 20.10 answers, shortened.
fn inspected(change: impl FnOnce(&mut Value)) -> ContainerInspectResponse {
    let mut json = json!({
        "Id": "0123456789abcdef",
        "Name": "/my_db",
        "Image": "sha256:00",
        "Mounts": [
            {"Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data",
             "Destination": "/var/lib/db", "RW": true, "Propagation": ""},
            {"Type": "bind", "Source": "/etc/db.conf", "Destination": "/etc/db.conf",
             "RW": false, "Propagation": "rprivate"},
        ],
        "Config": {
            "Hostname": "0123456789ab",
            "Image": "r.example/db:15.2",
            "Env": ["PATH=/bin", "MODE=fast", "IMAGE=1"],
            "Cmd": ["serve"],
            "WorkingDir": "/srv",
            "Labels": {"com.docker.compose.project": "shop", "of-image": "1", "mine": "yes"},
            "ExposedPorts": {"5432/tcp": {}},
        },
        "HostConfig": {
            "NetworkMode": "default",
            "PortBindings": {"5432/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5432"}]},
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
            "Memory": 67_108_864,
            "NanoCpus": 500_000_000,
            "ShmSize": 67_108_864,
            "Runtime": "runc",
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
        "NetworkSettings": {
            "Ports": {"5432/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5432"}]},
            "Networks": {"bridge": {}},
        },
    });
    change(&mut json);
    serde_json::from_value(json).unwrap()
}

fn image() -> ImageConfig {
    serde_json::from_value(json!({
        "Env": ["PATH=/bin", "IMAGE=1"],
        "Cmd": ["serve"],
        "Entrypoint": ["/entry"],
        "WorkingDir": "/srv",
        "Labels": {"of-image": "1"},
    }))
    .unwrap()
}

fn described(change: impl FnOnce(&mut Value)) -> (Workload, Vec<String>) {
    let plain = inspected(|json| {
        json["Config"]["Entrypoint"] = json!(["/entry"]);
        change(json);
    });
    workload::of(&plain, &image(), RuntimeKind::Docker).unwrap()
}

#[test]
fn a_container_is_described_as_a_person_would_write_it() {
    let (workload, lost) = described(|_| {});
    assert_eq!(lost, Vec::<String>::new());
    assert_eq!(workload.name.as_str(), "my-db");
    assert_eq!(workload.adopt.as_deref(), Some("my_db"));
    assert_eq!(workload.version, "15.2");
    let Run::Container {
        image,
        command,
        working_dir,
        network,
        options,
        ..
    } = &workload.run
    else {
        panic!("a container");
    };
    assert_eq!(image, "r.example/db:15.2");
    assert!(command.is_empty() && options.entrypoint.is_empty());
    assert_eq!((working_dir, network), (&None, &None));
    assert_eq!(options.hostname, None);
    assert_eq!(options.shm_size, None);
    assert_eq!(options.labels.keys().collect::<Vec<_>>(), ["mine"]);
    assert_eq!(workload.env.iter().collect::<Vec<_>>().len(), 1);
    assert_eq!(workload.env["MODE"], "fast");
    assert_eq!(
        workload.ports,
        [Port {
            address: None,
            host: 5432,
            container: 5432,
            protocol: Protocol::Tcp,
        }]
    );
    assert_eq!(
        workload.volumes,
        [
            Mount {
                source: MountSource::Path("/etc/db.conf".to_owned()),
                target: "/etc/db.conf".to_owned(),
                read_only: true,
                movable: false,
            },
            Mount {
                source: MountSource::Volume("data".to_owned()),
                target: "/var/lib/db".to_owned(),
                read_only: false,
                movable: false,
            },
        ]
    );
    assert_eq!(workload.resources.memory, Some(64 << 20));
    assert_eq!(workload.resources.cpus, Some(0.5));
    assert_eq!(workload.restart.policy, RestartPolicy::Always);
    assert_eq!(
        (workload.logs.max_size, workload.logs.max_files),
        (10 << 20, 3)
    );
    assert_eq!(workload.health, None);
}

#[test]
fn what_no_workload_can_say_is_told() {
    let (workload, lost) = described(|json| {
        json["HostConfig"]["Links"] = json!(["/cache:/my_db/cache"]);
        json["HostConfig"]["PidMode"] = json!("host");
        json["HostConfig"]["PortBindings"] = json!({"9/sctp": [{"HostIp": "", "HostPort": "9"}]});
        json["HostConfig"]["LogConfig"] = json!({"Type": "syslog", "Config": {}});
        json["NetworkSettings"]["Networks"] =
            json!({"front": {"IPAMConfig": {"IPv4Address": "10.9.0.7"}}});
        json["HostConfig"]["SecurityOpt"] = json!(["seccomp={}"]);
        json["Mounts"][0]["Name"] = json!("ab".repeat(32));
        json["Config"]["StopSignal"] = json!("SIGRTMIN+3");
    });
    let all = lost.join("\n");
    for word in [
        "linked",
        "pro",
        "9/sctp",
        "syslog",
        "10.9.0.7",
        "seccomp",
        "/var/lib/db",
        "RTMIN",
    ] {
        assert!(all.contains(word), "{word}: {all}");
    }
    let Run::Container { network, .. } = &workload.run else {
        panic!("a container");
    };
    assert_eq!(network.as_deref(), Some("front"));
    assert!(workload.ports.is_empty());
}

#[test]
fn several_networks_and_names_in_them_are_networks_of_the_workload() {
    let (there, lost) = described(|json| {
        json["HostConfig"]["NetworkMode"] = json!("front");
        json["HostConfig"]["SecurityOpt"] =
            json!(["no-new-privileges", "seccomp=unconfined", "label=disable"]);
        json["NetworkSettings"]["Networks"] =
            json!({"back": {"Aliases": ["db", "my_db"]}, "front": {}, "bridge": {}});
    });
    assert_eq!(lost, Vec::<String>::new());
    let Run::Container {
        network, options, ..
    } = &there.run
    else {
        panic!("a container");
    };
    assert_eq!(*network, None);
    let names: Vec<&str> = options.networks.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["front", "back"], "that in which it was made first");
    assert_eq!(
        options.networks[1].aliases,
        ["db"],
        "its own name is none that was given"
    );
    assert_eq!(options.security_opt, ["seccomp=unconfined"]);

    // Made by us or not, and found by more names than are wanted: no difference.
    let mut wanted = there.clone();
    let Run::Container { options, .. } = &mut wanted.run else {
        panic!("a container");
    };
    options.networks.reverse();
    options.networks[0].create = true;
    options.networks[0].aliases.clear();
    assert_eq!(difference::between(&wanted, &there), Vec::<&str>::new());
    let Run::Container { options, .. } = &mut wanted.run else {
        panic!("a container");
    };
    options.networks[0].aliases = vec!["another".to_owned()];
    assert_eq!(difference::between(&wanted, &there), ["networks"]);
}

#[test]
fn a_check_of_its_own_is_a_check_of_the_workload() {
    let (workload, _) = described(|json| {
        json["Config"]["Healthcheck"] =
            json!({"Test": ["CMD-SHELL", "exit 0"], "Interval": 5_000_000_000i64, "Retries": 2});
    });
    let health = workload.health.unwrap();
    let words = ["/bin/sh", "-c", "exit 0"].map(str::to_owned).to_vec();
    assert_eq!(health.check, HealthCheck::Exec(words));
    assert_eq!((health.interval_ms, health.retries), (5_000, 2));
}

#[test]
fn a_free_port_that_the_engine_chose_is_kept() {
    let (workload, lost) = described(|json| {
        json["HostConfig"]["PortBindings"] =
            json!({"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]});
        json["NetworkSettings"]["Ports"] =
            json!({"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]});
    });
    assert_eq!(lost, Vec::<String>::new());
    assert_eq!(workload.ports[0].host, 32768);
    assert_eq!(workload.ports[0].address.as_deref(), Some("127.0.0.1"));
}

#[test]
fn what_podman_adds_by_itself_is_nobodys_wish() {
    let plain = inspected(|json| {
        json["Config"]["Entrypoint"] = json!(["/entry"]);
        json["Config"]["Env"] = json!([
            "PATH=/bin",
            "TERM=xterm",
            "container=podman",
            "HOME=/root",
            "HOSTNAME=0123456789ab",
            "IMAGE=1"
        ]);
        json["HostConfig"]["NetworkMode"] = json!("bridge");
        json["HostConfig"]["PidsLimit"] = json!(2048);
        json["HostConfig"]["ShmSize"] = json!(65_536_000);
        json["HostConfig"]["Ulimits"] =
            json!([{"Name": "RLIMIT_NOFILE", "Soft": 4096, "Hard": 4096}]);
        json["NetworkSettings"]["Networks"] = json!({"podman": {}});
    });
    let (workload, lost) = workload::of(&plain, &image(), RuntimeKind::Podman).unwrap();
    assert_eq!(lost, Vec::<String>::new());
    assert!(workload.env.is_empty(), "{:?}", workload.env);
    assert_eq!(workload.resources.pids, None);
    let Run::Container {
        network, options, ..
    } = &workload.run
    else {
        panic!("a container");
    };
    assert_eq!((network, options.shm_size), (&None, None));
}

#[test]
fn what_was_described_differs_in_nothing() {
    let (there, _) = described(|_| {});
    let mut wanted = there.clone();
    wanted.name = "another".parse().unwrap();
    wanted.version = "7".to_owned();
    wanted.restart.policy = RestartPolicy::Never;
    wanted.ports[0].address = Some("0.0.0.0".to_owned());
    wanted.volumes.reverse();
    if let Run::Container {
        engine, network, ..
    } = &mut wanted.run
    {
        *engine = None;
        *network = Some("bridge".to_owned());
    }
    assert_eq!(difference::between(&wanted, &there), Vec::<&str>::new());
}

#[test]
fn differences_are_named() {
    let (there, _) = described(|_| {});
    let mut wanted = there.clone();
    wanted.env.insert("MODE".to_owned(), "slow".to_owned());
    wanted.resources.memory = None;
    if let Run::Container { options, image, .. } = &mut wanted.run {
        options.tty = true;
        *image = "r.example/db:16".to_owned();
    }
    assert_eq!(
        difference::between(&wanted, &there),
        ["env", "resources", "image", "tty"]
    );
}

#[test]
fn sizes_are_read_as_engines_do() {
    for (text, expected) in [
        ("10m", Some(10 << 20)),
        ("512k", Some(512 << 10)),
        ("1048576", Some(1 << 20)),
        ("1gb", Some(1 << 30)),
        ("1MiB", Some(1 << 20)),
        ("-1", None),
        ("", None),
        ("18446744073709551615g", None),
    ] {
        assert_eq!(bytes(text), expected, "{text}");
    }
}
