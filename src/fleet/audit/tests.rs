//! What the audit trail says of each kind of change.

use super::text::{CUT, MAX_TEXT};
use crate::{
    contract::Seq,
    fleet::{Change, Entry, Fleet, FleetConfig, PlannedMove, Reserved, RolloutOrder, TokenGrant},
    identity::{Role, sha256_hex},
    model::{
        Artifact, Binary, CommandKind, CommandSpec, Desired, Digest, FileSpec, Metric,
        MetricConfig, Name, NodeConfig, PlacementMode, Presence, Run, Workload,
    },
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Instant};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn web(command: &str) -> Workload {
    let run = Run::Process {
        command: vec![command.into()],
        user: None,
        working_dir: None,
    };
    Workload::new(name("web"), run)
}

fn applied(workloads: Vec<Workload>) -> Change {
    Change::WorkloadsApplied {
        workloads,
        removed: Vec::new(),
    }
}

struct World {
    fleet: Fleet,
    at_ms: u64,
}

impl World {
    /// One node, `pi-1`, and one workload, `web`.
    fn new() -> World {
        let mut world = World {
            fleet: Fleet::new(),
            at_ms: 1_000,
        };
        world.does(Change::NodeEnrolled {
            node: name("pi-1"),
            key: "key".into(),
            token: "0011".into(),
            hostname: "pi-1.local".into(),
            approve: true,
            http: false,
        });
        world.does(Change::NodePresenceChanged {
            node: name("pi-1"),
            presence: Presence::Online,
            session: Seq { start: 1, count: 1 },
            reason: String::new(),
        });
        world.does(applied(vec![web("/bin/web")]));
        world
    }

    /// What is said of a change, which must be one that is taken.
    fn does(&mut self, change: Change) -> String {
        let said = self.fleet.what_changes(&change);
        self.at_ms += 1_000;
        let entry = Entry {
            at_ms: self.at_ms,
            by: None,
            change,
        };
        if let Err(refusal) = self.fleet.apply(&entry) {
            panic!("{refusal}: {:?}", entry.change);
        }
        said.unwrap_or_default()
    }

    fn says(&self, change: &Change) -> String {
        self.fleet.what_changes(change).unwrap_or_default()
    }
}

#[test]
fn an_apply_says_field_by_field_what_differs() {
    let mut world = World::new();
    let mut other = web("/bin/other");
    other.placement.mode = PlacementMode::Any { replicas: 3 };
    other.env = BTreeMap::from([("MODE".into(), "prod".into())]);
    other.resources.memory = Some(64 << 20);
    let said = world.does(applied(vec![other.clone()]));
    let expected = "workload web\n\
                    + env.MODE = \"prod\"\n\
                    - placement.replicas = 1\n\
                    + placement.replicas = 3\n\
                    + resources.memory = 67108864\n\
                    - command = [\"/bin/web\"]\n\
                    + command = [\"/bin/other\"]\n";
    assert_eq!(said, expected);
    let again = applied(vec![other.clone()]);
    assert_eq!(world.says(&again), "", "the same once more changes nothing");
    other.env.clear();
    assert_eq!(
        world.does(applied(vec![other])),
        "workload web\n- env.MODE = \"prod\"\n"
    );
}

#[test]
fn what_is_new_and_what_goes_is_said_as_a_whole() {
    let mut world = World::new();
    let mut db = Workload::new(name("db"), web("/bin/db").run);
    db.version = "2".into();
    db.tags = vec!["x".into()];
    let whole = "command = [\"/bin/db\"]\nS tags = [\"x\"]\nS version = \"2\"\n";
    let whole = |sign| format!("workload db\n{sign} {}", whole.replace('S', sign));
    assert_eq!(world.does(applied(vec![db])), whole("+"));
    let both = Change::WorkloadsApplied {
        workloads: vec![web("/bin/web2")],
        removed: vec![name("db")],
    };
    let said = world.says(&both);
    assert!(said.contains("workload web\n- command"), "{said}");
    assert!(said.ends_with(&whole("-")), "{said}");
    let removed = Change::WorkloadsRemoved {
        workloads: vec![name("db")],
    };
    assert_eq!(world.does(removed), whole("-"));
}

#[test]
fn each_kind_of_change_says_what_it_changes() {
    let node = || name("pi-1");
    let labels = |all: &[(&str, Option<&str>)]| {
        let own = all
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned)));
        Change::NodeLabelled {
            node: node(),
            labels: own.collect(),
        }
    };
    let config = NodeConfig {
        heartbeat_interval_ms: 5_000,
        telemetry: BTreeMap::from([(Metric::Cpu, MetricConfig::default())]),
        ..NodeConfig::default()
    };
    let desired = |desired| Change::WorkloadDesired {
        workload: name("web"),
        desired,
    };
    let table = vec![
        (
            labels(&[("zone", Some("lab"))]),
            "node pi-1\n+ labels.zone = \"lab\"\n",
        ),
        (
            labels(&[("zone", Some("hall")), ("key", Some("a"))]),
            "node pi-1\n+ labels.key = \"a\"\n- labels.zone = \"lab\"\n+ labels.zone = \"hall\"\n",
        ),
        (
            labels(&[("zone", None)]),
            "node pi-1\n- labels.zone = \"hall\"\n",
        ),
        (
            Change::NodeConfigured {
                node: node(),
                config: Some(config.clone()),
            },
            "node pi-1\n- settings = \"the fleet's\"\n+ settings = \"its own\"\n\
             - config.heartbeat_interval_ms = 12000\n+ config.heartbeat_interval_ms = 5000\n\
             + config.telemetry.cpu.change_threshold = 0.0\n\
             + config.telemetry.cpu.enabled = true\n\
             + config.telemetry.cpu.interval_ms = 30000\n",
        ),
        (
            Change::Configured {
                node_config: NodeConfig {
                    heartbeat_interval_ms: 6_000,
                    ..NodeConfig::default()
                },
            },
            "settings of all nodes\n- heartbeat_interval_ms = 12000\n+ heartbeat_interval_ms = 6000\n",
        ),
        (
            Change::FleetConfigured {
                config: FleetConfig {
                    lost_after_ms: 60_000,
                    rebalance: None,
                },
            },
            "how the fleet is run\n- lost_after_ms = 120000\n+ lost_after_ms = 60000\n",
        ),
        (
            Change::NodeCordoned {
                node: node(),
                cordoned: true,
            },
            "node pi-1\n- cordoned = false\n+ cordoned = true\n",
        ),
        (
            Change::NodeDrained {
                node: node(),
                drain: Some(true),
            },
            "node pi-1\n- draining = false\n+ draining = true\n+ draining_by_force = true\n",
        ),
        (
            Change::NodeDrained {
                node: node(),
                drain: None,
            },
            "node pi-1\n- draining = true\n+ draining = false\n- draining_by_force = true\n",
        ),
        (
            Change::NodeReserved {
                node: node(),
                reserved: Reserved {
                    memory: 1 << 20,
                    cpus: 0.0,
                },
            },
            "node pi-1\n- reserved.memory = 0\n+ reserved.memory = 1048576\n",
        ),
        (
            desired(Desired::Stopped),
            "workload web\n- desired = \"running\"\n+ desired = \"stopped\"\n",
        ),
        (
            desired(Desired::Running),
            "workload web\n- desired = \"stopped\"\n+ desired = \"running\"\n",
        ),
        (
            Change::WorkloadRestarted {
                workload: name("web"),
            },
            "workload web\n- restarts_ordered = 0\n+ restarts_ordered = 1\n",
        ),
        (
            Change::CommandIssued {
                id: "1".into(),
                node: node(),
                order: CommandSpec::new(CommandKind::Stop, Some(name("web"))),
                deadline_ms: 10,
            },
            "node pi-1\n+ command = \"stop\"\n+ workload = \"web\"\n",
        ),
        (
            Change::AlertSilenced {
                alert: "disk.pi-1".into(),
                until_ms: 1 << 40,
                comment: "known".into(),
            },
            "silence of disk.pi-1\n+ comment = \"known\"\n+ until = \"2004-11-03 19:53:47 UTC\"\n",
        ),
        (
            Change::AlertUnsilenced {
                alert: "disk.pi-1".into(),
            },
            "silence of disk.pi-1\n- comment = \"known\"\n- until = \"2004-11-03 19:53:47 UTC\"\n",
        ),
        (
            Change::ArtifactAdded {
                artifact: Artifact::Binary {
                    version: "0.3.0".into(),
                    arch: "arm".into(),
                    binary: Binary {
                        sha256: Digest::of(b"x"),
                        size: 1,
                    },
                },
            },
            "fleetctl/0.3.0/arm\n+ binary.arch = \"arm\"\n+ binary.binary.sha256 = \
             \"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\"\n\
             + binary.binary.size = 1\n+ binary.version = \"0.3.0\"\n",
        ),
        (
            Change::ArtifactRemoved {
                id: "fleetctl/0.3.0/arm".into(),
            },
            "fleetctl/0.3.0/arm\n- binary.arch = \"arm\"\n- binary.binary.sha256 = \
             \"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\"\n\
             - binary.binary.size = 1\n- binary.version = \"0.3.0\"\n",
        ),
        (
            Change::NodeRevoked { node: node() },
            "node pi-1\n- approval = \"approved\"\n+ approval = \"revoked\"\n",
        ),
        (
            Change::NodeRemoved { node: node() },
            "node pi-1\n- approval = \"revoked\"\n\
             - config.heartbeat_interval_ms = 5000\n\
             - config.telemetry.cpu.change_threshold = 0.0\n\
             - config.telemetry.cpu.enabled = true\n\
             - config.telemetry.cpu.interval_ms = 30000\n\
             - cordoned = true\n- hostname = \"pi-1.local\"\n- labels.key = \"a\"\n\
             - reserved.cpus = 0.0\n- reserved.memory = 1048576\n",
        ),
    ];
    let mut world = World::new();
    for (change, expected) in table {
        let lines = |text: &str| {
            let mut all: Vec<String> = text.lines().map(str::to_owned).collect();
            all.sort();
            all
        };
        let shown = format!("{change:?}");
        let said = world.does(change);
        assert_eq!(lines(&said), lines(expected), "{shown}\n{said}");
        assert_eq!(said.lines().next(), expected.lines().next());
    }
}

#[test]
fn enrolling_approving_and_moving_is_said() {
    let mut world = World::new();
    let said = world.does(Change::NodeEnrolled {
        node: name("pi-2"),
        key: "a-key-that-is-in-no-text".into(),
        token: "0022".into(),
        hostname: "pi-2.local".into(),
        approve: false,
        http: false,
    });
    assert!(said.contains("+ approval = \"pending\"\n"), "{said}");
    assert!(!said.contains("a-key-that"), "{said}");
    let said = world.does(Change::NodeApproved { node: name("pi-2") });
    let approved = "node pi-2\n- approval = \"pending\"\n+ approval = \"approved\"\n";
    assert_eq!(said, approved);
    let said = world.says(&Change::InstanceMigrated {
        workload: name("web"),
        from: name("pi-1"),
        to: None,
        force: true,
    });
    let moved =
        "workload web\n- node = \"pi-1\"\n+ node = \"the best of the others\"\n+ force = true\n";
    assert_eq!(said, moved);
    let said = world.says(&Change::Rebalanced {
        moves: vec![PlannedMove {
            workload: name("web"),
            from: name("pi-1"),
            to: name("pi-2"),
            why: String::new(),
            cost: String::new(),
        }],
    });
    assert_eq!(said, "workload web\n- node = \"pi-1\"\n+ node = \"pi-2\"\n");
}

#[test]
fn a_rollback_says_from_which_revision_to_which_and_what_that_changes() {
    let mut world = World::new();
    let mut second = web("/bin/second");
    second.version = "2".into();
    world.does(applied(vec![second]));
    let back = |to| Change::RolloutOrdered {
        workload: name("web"),
        order: RolloutOrder::Rollback { to },
    };
    let record = world.fleet.workload("web").unwrap();
    let (now, first) = (record.revision, record.history[0].revision);
    let expected = format!(
        "workload web\n- revision = {now}\n+ revision = {first}\n\
         - command = [\"/bin/second\"]\n+ command = [\"/bin/web\"]\n\
         - version = \"2\"\n+ version = \"1\"\n"
    );
    assert_eq!(world.says(&back(Some(first))), expected);
    assert_eq!(world.says(&back(Some(99))), "", "it will be refused");
    assert_eq!(world.does(back(None)), expected);
    let pause = Change::RolloutOrdered {
        workload: name("web"),
        order: RolloutOrder::Pause,
    };
    let said = world.says(&pause);
    assert_eq!(
        said,
        "workload web\n- rollout.paused = false\n+ rollout.paused = true\n"
    );
}

#[test]
fn of_tokens_neither_secret_nor_digest_is_said() {
    let mut world = World::new();
    let digest = "5eC2e7-digest";
    let created = |id: &str, grant, expires_ms| Change::TokenCreated {
        id: id.into(),
        name: "alice".into(),
        grant,
        expires_ms,
        uses: None,
    };
    let api = TokenGrant::Api {
        role: Role::Operator,
        digest: digest.into(),
    };
    let admin = TokenGrant::Api {
        role: Role::Admin,
        digest: "other".into(),
    };
    world.does(created("root", admin, 0));
    let said = world.does(created("t1", api, 0));
    let all =
        "S expires = \"never\"\nS kind = \"api\"\nS name = \"alice\"\nS role = \"operator\"\n";
    assert_eq!(said, format!("token t1\n{}", all.replace('S', "+")));
    let said = world.does(Change::TokenRevoked { id: "t1".into() });
    assert_eq!(said, format!("token t1\n{}", all.replace('S', "-")));
    let said = world.does(created("t2", TokenGrant::Join, 1 << 40));
    assert!(said.contains("+ kind = \"join\"\n"), "{said}");
    assert!(
        said.contains("+ expires = \"2004-11-03 19:53:47 UTC\"\n"),
        "{said}"
    );
    assert!(!said.contains(digest), "{said}");
}

#[test]
fn what_looks_like_a_secret_shows_only_that_it_changed() {
    let mut world = World::new();
    let mut spec = web("/bin/web");
    for (key, value) in [
        ("DB_PASSWORD", "hunter2"),
        ("api.Token", "hunter3"),
        ("MODE", "prod"),
    ] {
        spec.env.insert(key.into(), value.into());
    }
    spec.params.insert("aws_secret_id".into(), "hunter4".into());
    spec.params.insert("depth".into(), 3.into());
    let file = |content: &str| FileSpec {
        path: "app.conf".into(),
        content: content.into(),
        mode: 0o644,
        verbatim: false,
    };
    spec.files = vec![file("password = hunter5")];
    let said = world.does(applied(vec![spec.clone()]));
    assert!(!said.contains("hunter"), "{said}");
    assert!(said.contains("+ env.MODE = \"prod\"\n"), "{said}");
    assert!(said.contains("+ params.depth = 3\n"), "{said}");
    let short = sha256_hex(b"hunter2")[..8].to_owned();
    assert!(
        said.contains(&format!("+ env.DB_PASSWORD = ••• {short}\n")),
        "{said}"
    );
    assert!(
        said.contains("+ files[0].content = 18 bytes, sha256 "),
        "{said}"
    );
    spec.env.insert("DB_PASSWORD".into(), "hunter6".into());
    spec.files = vec![file("password = hunter7")];
    let said = world.does(applied(vec![spec]));
    let other = sha256_hex(b"hunter6")[..8].to_owned();
    let line = format!("- env.DB_PASSWORD = ••• {short}\n+ env.DB_PASSWORD = ••• {other}\n");
    assert!(said.contains(&line), "{said}");
    assert_eq!(said.matches("files[0].content").count(), 2, "{said}");
}

#[test]
fn a_text_is_cut_with_a_line_that_says_so() {
    let world = World::new();
    let many = |n: usize| {
        let of = |n: usize| Workload::new(name(&format!("w{n}")), web("/bin/web").run);
        (0..n).map(of).collect::<Vec<_>>()
    };
    let said = world.says(&applied(many(10_000)));
    assert!(said.len() <= MAX_TEXT, "{}", said.len());
    assert!(said.len() > MAX_TEXT - 300, "{}", said.len());
    assert!(said.ends_with(CUT), "{}", &said[said.len() - 100..]);
    assert!(!world.says(&applied(many(10))).contains('…'));
    let mut long = web("/bin/web");
    long.env.insert("TEXT".into(), "ü".repeat(1 << 20));
    let said = world.says(&applied(vec![long]));
    assert!(said.len() < 2_000, "{}", said.len());
    assert!(said.contains("(2097152 bytes, sha256 "), "{said}");
}

#[test]
fn to_say_it_costs_little() {
    let world = World::new();
    let mut other = web("/bin/other");
    for n in 0..20 {
        other.env.insert(format!("KEY{n}"), "value".into());
    }
    let change = applied(vec![other]);
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(world.fleet.what_changes(&change).is_some());
    }
    let each = begun.elapsed() / 100;
    println!("what one apply changes is said in {each:?}");
    // Generous: this is not an optimised build, and the machine does other things.
    assert!(each.as_millis() < 10, "{each:?}");
}

proptest! {
    #[test]
    fn whatever_is_in_a_value_each_line_is_one_line(key in "\\PC{0,20}|.{0,20}", value in any::<String>()) {
        let world = World::new();
        let mut spec = web("/bin/web");
        spec.env.insert(key.clone(), format!("{value}\n+ forged = 1\u{202e}"));
        spec.params.insert(format!("{key}\n- forged"), value.into());
        let said = world.says(&applied(vec![spec]));
        prop_assert!(said.lines().count() <= 3, "{}", said);
        prop_assert!(said.lines().skip(1).all(|l| l.starts_with("+ ")), "{}", said);
        prop_assert!(!said.contains('\u{202e}'), "{}", said);
    }
}
