//! Role configuration from the outside: files and flags in, settings or problems out.

use super::*;
use clap::Parser;

fn around() -> Surroundings {
    Surroundings {
        root: true,
        host_name: "Pi_4.local".to_owned(),
        ..Surroundings::default()
    }
}

fn embedded() -> ControllerOverrides {
    ControllerOverrides {
        embed_broker: Some(true),
        ..ControllerOverrides::default()
    }
}

pub(super) fn controller(text: &str) -> Result<ControllerConfig, Problems> {
    ControllerConfig::resolve(Some(&Source::new("c.toml", text)), &embedded(), &around())
}

fn agent(text: &str) -> Result<AgentConfig, Problems> {
    let source = Source::new("a.toml", text);
    AgentConfig::resolve(Some(&source), &AgentOverrides::default(), &around())
}

fn broker(text: &str) -> Result<BrokerConfig, Problems> {
    let source = Source::new("b.toml", text);
    BrokerConfig::resolve(Some(&source), &BrokerOverrides::default(), &around())
}

/// The file `config/<name>` as it ships, and with every line `# key = value` uncommented.
fn shipped(name: &str) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let uncommented = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    });
    (text.clone(), uncommented.collect())
}

/// `key = value` rather than a sentence.
fn is_setting(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    })
}

/// The keys of a TOML text with one table.
fn keys(text: &str) -> Vec<String> {
    let keys = text.lines().filter(|line| is_setting(line));
    let mut keys: Vec<_> = keys
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key.to_owned())
        .collect();
    keys.sort();
    keys
}

#[test]
fn the_shipped_files_show_the_defaults() {
    let (text, uncommented) = shipped("controller.toml");
    let default = ControllerConfig::resolve(None, &embedded(), &around()).unwrap();
    assert_eq!(controller(&text).unwrap(), default);
    assert_eq!(
        controller(&uncommented).unwrap_or_else(|p| panic!("{p}")),
        default
    );
    assert_eq!(keys(&uncommented), keys(&default.render()));

    let (text, uncommented) = shipped("agent.toml");
    let default = AgentConfig::resolve(None, &AgentOverrides::default(), &around()).unwrap();
    assert_eq!(agent(&text).unwrap(), default);
    assert_eq!(
        agent(&uncommented).unwrap_or_else(|p| panic!("{p}")),
        default
    );
    // Whether and how it joins is shown only where it is set.
    let shown: Vec<_> = keys(&uncommented)
        .into_iter()
        .filter(|k| !k.starts_with("join"))
        .collect();
    assert_eq!(shown, keys(&default.render()));

    let (text, uncommented) = shipped("broker.toml");
    let default = BrokerConfig::resolve(None, &BrokerOverrides::default(), &around()).unwrap();
    assert_eq!(broker(&text).unwrap(), default);
    assert_eq!(
        broker(&uncommented).unwrap_or_else(|p| panic!("{p}")),
        default
    );
    assert_eq!(keys(&uncommented), keys(&default.render()));
}

/// Else its nodes would look silent after every restart of a controller.
#[test]
fn agents_come_back_before_a_controller_that_has_started_gives_them_up() {
    let agent = AgentConfig::resolve(None, &AgentOverrides::default(), &around()).unwrap();
    let controller = ControllerConfig::resolve(None, &embedded(), &around()).unwrap();
    assert!(agent.reconnect_max_ms * 2 <= controller.start_grace_ms);
}

#[test]
fn each_shipped_file_is_checked_as_its_role() {
    for role in Role::ALL {
        let (text, uncommented) = shipped(&format!("{}.toml", role.as_str()));
        for text in [text, uncommented] {
            assert_eq!(check(&Source::new("f.toml", text), &around()), Ok(role));
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = controller("").unwrap();
    assert_eq!(
        config.common.data_dir,
        Path::new("/var/lib/fleetctl/controller")
    );
    assert_eq!(
        (config.heartbeat_interval_ms, config.silent_after_ms),
        (12_000, 14_500)
    );
    let listen: Vec<_> = config.mqtt_listen.iter().map(Listen::mqtt_text).collect();
    assert_eq!(listen, ["tls://0.0.0.0:8883", "tcp://127.0.0.1:1883"]);
    assert!(config.auto_approve && !config.with_agent);
    assert_eq!(agent("").unwrap().name.as_str(), "pi-4-local");
    assert!(!broker("").unwrap().allow_anonymous);
}

#[test]
fn what_is_rendered_is_read_again() {
    let config = controller(
        "[controller]\nlog = 'fleetctl=debug,info'\nlog_format = 'json'\ntopic_prefix = ''\n\
         api_listen = ['0.0.0.0:7070']\nmqtt_listen = ['127.0.0.1:0']\nadvertise = ['a:1']\n\
         node_name = 'n'\nsilent_after = '1m'\nbroker = ''\n",
    )
    .unwrap();
    assert_eq!(controller(&config.render()).unwrap(), config);
    let config = agent(
        "[agent]\nlabels = { zone = 'lab', line = 2 }\ndocker_socket = 'off'\n\
         podman_socket = '/run/p.sock'\njoin_file = '/etc/token'\nprocesses = false\n",
    )
    .unwrap();
    assert_eq!(config.docker_socket, None);
    assert_eq!(config.labels["line"], "2");
    assert_eq!(agent(&config.render()).unwrap(), config);
    let config = broker(
        "[broker]\nmax_packet = '2MiB'\nallow_anonymous = true\n\
         metrics_listen = 'localhost:9464'\n",
    )
    .unwrap();
    assert_eq!(broker(&config.render()).unwrap(), config);
}

#[test]
fn a_token_is_never_shown() {
    let config = agent("[agent]\njoin = 'sesame'\n").unwrap();
    assert!(matches!(&config.join, Some(JoinSource::Token(token)) if token.expose() == "sesame"));
    assert!(!config.render().contains("sesame"));
    assert!(!format!("{config:?}").contains("sesame"));
}

#[test]
fn problems_have_their_place() {
    let whole = |problems: Problems| -> Vec<String> {
        let line = |p: &crate::manifest::Problem| {
            format!("{}:{}:{} {}", p.file, p.line, p.column, p.message)
        };
        problems.0.iter().map(line).collect()
    };
    for (text, expected) in [
        (
            "[controller]\nlgo = 'info'\n",
            "c.toml:2:1 unknown key `lgo`",
        ),
        ("[controler]\n", "c.toml:1:2 unknown key `controler`"),
        (
            "[controller]\nlog = 'loud'\n",
            "c.toml:2:7 `loud` is not a log filter",
        ),
        (
            "[controller]\nmqtt_listen = ['tcp://0.0.0.0:1883']\n",
            "c.toml:2:16 `tcp://` on 0.0.0.0:1883 would send everything in plain text",
        ),
        (
            "[controller]\nmqtt_listen = []\n",
            "c.toml:2:15 `mqtt_listen` names no address",
        ),
        (
            "[controller]\nbroker = 'mqtts://b'\n",
            "c.toml:2:10 `embed_broker` and `broker`",
        ),
        (
            "[controller]\ntopic_prefix = 'a/#'\n",
            "c.toml:2:16 `a/#` is not a topic prefix",
        ),
        (
            "[controller]\nsilent_after = '12s'\n",
            "c.toml:2:16 `silent_after` (12s) must be",
        ),
        (
            "[controller]\nheartbeat_interval = '15s'\n",
            "c.toml:2:22 `silent_after` (14500ms)",
        ),
        (
            "[controller]\nheartbeat_interval = '11m'\n",
            "must be from 1s to 10m",
        ),
        (
            "[controller]\ndata_dir = 'data'\n",
            "c.toml:2:12 `data` is not an absolute path",
        ),
    ] {
        let found = whole(controller(text).unwrap_err());
        assert!(
            found.iter().any(|m| m.contains(expected)),
            "{text}: {found:?}"
        );
    }
    for (text, expected) in [
        (
            "[agent]\njoin = 'a'\njoin_file = '/b'\n",
            "a.toml:3:13 `join` and `join_file`",
        ),
        (
            "[agent]\nparallel_pulls = 0\n",
            "a.toml:2:18 `parallel_pulls` must be from 1 to 16",
        ),
        (
            "[agent]\nparallel_pulls = -1\n",
            "a.toml:2:18 `parallel_pulls` must be from 1 to 16",
        ),
        (
            "[agent]\nlabels = { 'a b' = 'c' }\n",
            "a.toml:2:12 `a b=c` is not a label",
        ),
        ("[agent]\nname = 'Pi'\n", "a.toml:2:8 `Pi` is not a name"),
        (
            "[agent]\ndocker_socket = 'no'\n",
            "a.toml:2:17 `no` is not an absolute path",
        ),
    ] {
        let found = whole(agent(text).unwrap_err());
        assert!(
            found.iter().any(|m| m.contains(expected)),
            "{text}: {found:?}"
        );
    }
    for (text, expected) in [
        ("", "1:1 the file configures nothing"),
        (
            "[agent]\n[broker]\n",
            "2:2 the file is for the agent already",
        ),
        (
            "[broker]\nmax_packet = 1\n",
            "2:14 `max_packet` must be from 16KiB to 256MiB",
        ),
        (
            "[broker]\nmetrics_listen = '0.0.0.0:9464'\n",
            "2:18 metrics on 0.0.0.0:9464 could be read by anybody",
        ),
    ] {
        let found = whole(check(&Source::new("f.toml", text), &around()).unwrap_err());
        assert!(
            found.iter().any(|m| m.contains(expected)),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn what_the_command_line_breaks_is_said_of_the_command_line() {
    let none = ControllerConfig::resolve(None, &ControllerOverrides::default(), &around());
    let problems = none.unwrap_err();
    assert_eq!(problems.0[0].file, COMMAND_LINE);
    assert!(problems.to_string().contains("has no broker"), "{problems}");

    let source = Source::new("c.toml", "[controller]\nsilent_after = '20s'\n");
    let given = ControllerOverrides {
        silent_after: Some(5_000),
        ..embedded()
    };
    let problems = ControllerConfig::resolve(Some(&source), &given, &around()).unwrap_err();
    assert_eq!(
        (problems.0[0].file.as_str(), problems.0[0].line),
        (COMMAND_LINE, 0)
    );

    let nameless = Surroundings {
        root: true,
        ..Surroundings::default()
    };
    let problems = AgentConfig::resolve(None, &AgentOverrides::default(), &nameless).unwrap_err();
    assert!(problems.to_string().contains("--name"), "{problems}");
    let homeless = Surroundings {
        root: false,
        ..around()
    };
    let problems = AgentConfig::resolve(None, &AgentOverrides::default(), &homeless).unwrap_err();
    assert!(problems.to_string().contains("--data-dir"), "{problems}");
}

#[test]
fn who_is_not_root_has_other_defaults() {
    let mine = Surroundings {
        home: Some("/home/me".into()),
        runtime_dir: Some("/run/user/1".into()),
        ..Surroundings {
            root: false,
            ..around()
        }
    };
    let config = AgentConfig::resolve(None, &AgentOverrides::default(), &mine).unwrap();
    assert_eq!(
        config.common.data_dir,
        Path::new("/home/me/.local/state/fleetctl/agent")
    );
    assert_eq!(
        config.podman_socket.as_deref(),
        Some(Path::new("/run/user/1/podman/podman.sock"))
    );
    let mine = Surroundings {
        state_home: Some("/state".into()),
        // Of another role's service, which must not be shared.
        state_directory: Some("/var/lib/fleetctl/controller".into()),
        ..mine
    };
    let config = AgentConfig::resolve(None, &AgentOverrides::default(), &mine).unwrap();
    assert_eq!(config.common.data_dir, Path::new("/state/fleetctl/agent"));
    let service = Surroundings {
        state_directory: Some("/var/lib/fleetctl/agent".into()),
        ..mine
    };
    let config = AgentConfig::resolve(None, &AgentOverrides::default(), &service).unwrap();
    assert_eq!(config.common.data_dir, Path::new("/var/lib/fleetctl/agent"));
}

#[test]
fn flags_go_before_the_file() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        given: ControllerOverrides,
    }
    let line = Line::try_parse_from([
        "x",
        "--embed-broker",
        "--auto-approve=false",
        "--silent-after",
        "1m",
        "--mqtt-listen",
        "127.0.0.1:0,tls://127.0.0.1:0",
        "--log",
        "debug",
    ])
    .unwrap();
    let source = Source::new(
        "c.toml",
        "[controller]\nlog = 'warn'\nsilent_after = '2m'\nauto_approve = true\nwith_agent = true\n",
    );
    let config = ControllerConfig::resolve(Some(&source), &line.given, &around()).unwrap();
    assert_eq!(
        (config.common.log.as_str(), config.silent_after_ms),
        ("debug", 60_000)
    );
    assert!(config.embed_broker && config.with_agent && !config.auto_approve);
    assert_eq!(config.mqtt_listen.len(), 2);
    let refused = Line::try_parse_from(["x", "--mqtt-listen", "tcp://0.0.0.0:1883"])
        .err()
        .unwrap();
    assert!(refused.to_string().contains("plain text"), "{refused}");

    #[derive(clap::Parser)]
    struct AgentLine {
        #[command(flatten)]
        given: AgentOverrides,
    }
    let arguments = [
        "x",
        "--label",
        "zone=hall",
        "--label",
        "a=b",
        "--docker-socket",
        "off",
    ];
    let line = AgentLine::try_parse_from(arguments).unwrap();
    let source = Source::new("a.toml", "[agent]\nlabels = { zone = 'lab', line = '2' }\n");
    let config = AgentConfig::resolve(Some(&source), &line.given, &around()).unwrap();
    let labels: Vec<_> = config
        .labels
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(labels, [("a", "b"), ("line", "2"), ("zone", "hall")]);
    assert_eq!(config.docker_socket, None);
}

#[test]
fn a_file_whose_broker_comes_by_a_flag_is_shown_all_the_same() {
    let around = around();
    let file = Source::new("c.toml", "[controller]\nsilent_after = '1m'\n");
    let shown = ControllerConfig::of_file(&file, &around).unwrap().render();
    assert!(shown.contains("silent_after = \"1m\""), "{shown}");
    let given = ControllerOverrides::default();
    let run = ControllerConfig::resolve(Some(&file), &given, &around).unwrap_err();
    assert!(run.to_string().contains("has no broker"), "{run}");
    let wrong = Source::new("c.toml", "[controller]\nsilent_after = '1x'\n");
    assert!(ControllerConfig::of_file(&wrong, &around).is_err());
}

#[test]
fn the_file_of_the_machine_is_read_where_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = |named: Option<&Path>| {
        let file = named_or_in(dir.path(), Role::Agent, named).map_err(|p| p.to_string())?;
        let given = AgentOverrides::default();
        let config = AgentConfig::resolve(file.as_ref(), &given, &around());
        config
            .map(|config| config.name.to_string())
            .map_err(|p| p.to_string())
    };
    let absent = text(None).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    write("controller.toml", "[controller]\n");
    assert_eq!(text(None).unwrap(), absent, "another role's is not meant");
    write("agent.toml", "[agent]\nname = 'of-the-machine'\n");
    assert_eq!(text(None).unwrap(), "of-the-machine");
    let other = write("other.toml", "[agent]\nname = 'other'\n");
    assert_eq!(text(Some(&other)).unwrap(), "other");
    assert_eq!(
        text(Some(Path::new("/dev/null"))).unwrap(),
        absent,
        "none at all"
    );
    // It is never passed over: neither with a mistake nor when it cannot be read.
    write("agent.toml", "[agent]\nnmae = 'x'\n");
    assert!(text(None).unwrap_err().contains("agent.toml"));
    std::fs::remove_file(dir.path().join("agent.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("agent.toml")).unwrap();
    assert!(text(None).unwrap_err().contains("agent.toml"));
}
