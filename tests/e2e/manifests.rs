//! Manifests in every language: applied together, checked, pruned, exported.

use super::harness::{
    Fleet,
    manifests::{image, sleeping},
    native, wait_until,
};
use std::{fs, path::PathBuf};

const YAML_ONE: &str = "name: timer\ntype: service\ncommand: [/bin/sleep, '86400']\n";
const YAML_TWO: &str = "workloads:\n  - name: ticker\n    type: agent\n    \
    command: /bin/sh -c 'echo tick; exec sleep 86400'\n    restart_delay: 1\n  - name: job\n    \
    type: script\n    schedule: '0 3 * * *'\n    command: [/bin/true]\n";

fn compose() -> String {
    let script = "trap 'exit 0' TERM; echo hello compose; while :; do sleep 0.1; done";
    let service = |name: &str, more: &str| {
        format!(
            "  {name}:\n    image: {}\n    command: [/bin/sh, -c, \"{script}\"]\n    \
             stop_grace_period: 1s\n{more}",
            image("docker")
        )
    };
    let web = "    depends_on: [cache]\n    environment:\n      MODE: ${MODE:-fast}\n";
    format!("services:\n{}{}", service("web", web), service("cache", ""))
}

/// A directory of YAML, a Compose file and a TOML file.
struct Files {
    dir: PathBuf,
    compose: PathBuf,
    toml: PathBuf,
}

impl Files {
    fn write(fleet: &Fleet) -> Files {
        let dir = fleet.dir().join("workloads");
        fs::create_dir(&dir).expect("a directory");
        fs::write(dir.join("one.yaml"), YAML_ONE).expect("a manifest");
        fs::write(dir.join("two.yml"), YAML_TWO).expect("a manifest");
        fs::write(dir.join("notes.txt"), "no manifest").expect("a file");
        let compose_file = fleet.dir().join("compose.yaml");
        fs::write(&compose_file, compose()).expect("a Compose file");
        Files {
            dir,
            compose: compose_file,
            toml: fleet.manifest("x", &sleeping("plain")),
        }
    }

    /// `-f` for each.
    fn args(&self) -> Vec<String> {
        let all = [&self.dir, &self.compose, &self.toml];
        all.iter()
            .flat_map(|f| ["-f".to_owned(), f.display().to_string()])
            .collect()
    }

    fn with(&self, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|w| (*w).to_owned());
        words.chain(self.args()).collect()
    }
}

#[test]
fn a_compose_file_a_directory_of_yaml_and_a_toml_file_run_on_one_node() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").docker().start();
    let files = Files::write(&fleet);
    fleet
        .cli(files.with(&["apply", "-y", "--wait", "--timeout", "60s"]))
        .done();
    for name in ["timer", "ticker", "plain", "web", "cache"] {
        let shown = fleet.wait_running(name);
        assert_eq!(shown["node"], agent.name.as_str());
    }
    fleet.wait_instance("job", "waits for its time", |i| i["state"] == "scheduled");
    assert_eq!(agent.containers().len(), 2);
    wait_until("the container speaks", || {
        fleet.cli(["logs", "web"]).out.contains("hello compose")
    });
    let mode = ["exec", "web", "--", "/bin/sh", "-c", "echo $MODE"];
    assert_eq!(fleet.cli(mode).done().out, "fast\n");

    let (plain, web) = (agent.process("plain"), agent.container("web"));
    let again = fleet.cli(files.with(&["apply", "-y"])).done();
    assert!(again.out.contains("= 6 unchanged"), "{again:?}");
    assert_eq!(fleet.cli(files.with(&["plan"])).code, 0);
    assert_eq!(agent.process("plain"), plain);
    assert_eq!(agent.container("web"), web);
}

#[test]
fn standard_input_is_read_in_each_language() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").docker().start();
    let apply = ["apply", "-y", "-f", "-"];
    let composed = compose();
    for (text, name) in [
        (sleeping("plain").as_str(), "plain"),
        (YAML_ONE, "timer"),
        (composed.as_str(), "web"),
    ] {
        fleet.cli_with(&apply, text).done();
        fleet.wait_running(name);
    }
    fleet
        .cli_with(&["validate", "-"], "[workload.a]\ncomand = [\"x\"]\n")
        .failed(1, &["standard input:2:1", "unknown key `comand`"]);
}

#[test]
fn validate_shows_every_mistake_of_several_files() {
    let fleet = Fleet::start();
    let dir = fleet.dir().join("wrong");
    fs::create_dir(&dir).expect("a directory");
    let files = [
        (
            "a.toml",
            "[workload.a]\ncomand = [\"x\"]\n[workload.b]\ncommand = [\"x\"]\n\
             stop_timeout = \"a while\"\n",
        ),
        ("b.yaml", "name: c\ncommand: [x]\nreplicass: 3\n"),
        (
            "compose.yaml",
            "services:\n  web:\n    build: .\n  db:\n    image: db:1\n    links: [\"web:w\"]\n",
        ),
        ("fine.toml", "[workload.fine]\ncommand = [\"/bin/true\"]\n"),
    ];
    for (name, text) in files {
        fs::write(dir.join(name), text).expect("a file");
    }
    let path = dir.to_str().expect("a plain path");
    let said = fleet.cli(["validate", path]).failed(1, &[]);
    for (place, what) in [
        ("a.toml:2:1", "comand"),
        ("a.toml:5:16", "a while"),
        ("b.yaml:3:1", "replicass"),
        ("compose.yaml:3:5", "build"),
        ("compose.yaml:6:13", "web:w"),
    ] {
        assert!(said.err.contains(place), "{place} in {}", said.err);
        assert!(said.err.contains(what), "{what} in {}", said.err);
    }
    // The line itself is shown.
    assert!(said.err.contains("replicass: 3"), "{}", said.err);
    assert!(!said.err.contains("fine.toml"), "{}", said.err);

    let fine = dir.join("fine.toml");
    let fine = fine.to_str().expect("a plain path");
    let said = fleet.cli(["validate", fine]).done();
    assert!(
        said.out.contains("1 workload in 1 file, no mistakes"),
        "{said:?}"
    );
}

#[test]
fn prune_takes_away_what_is_in_no_manifest_and_the_plan_says_so() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let both = sleeping("kept") + &sleeping("gone");
    fleet.apply_wait(&both).done();
    let (kept, gone) = (agent.process("kept"), agent.process("gone"));
    let path = fleet.manifest("kept", &sleeping("kept"));
    let path = path.to_str().expect("a plain path");

    // Without the word nothing is taken away.
    fleet.cli(["apply", "-y", "-f", path]).done();
    assert_eq!(fleet.cli(["plan", "-f", path]).code, 0);
    let plan = fleet.cli(["plan", "--prune", "-f", path]);
    assert_eq!(plan.code, 1, "{plan:?}");
    assert!(plan.out.contains("- gone"), "{plan:?}");
    assert!(gone.child.lives(), "a plan changes nothing");

    let said = fleet.cli(["apply", "-y", "--prune", "-f", path]).done();
    assert!(said.out.contains("- gone"), "{said:?}");
    wait_until("it has ended", || !gone.child.lives());
    wait_until("nothing of it is left", || {
        native::of_workload(agent.data(), "gone").is_empty()
    });
    wait_until("the controller has heard of it", || {
        fleet.instances().len() == 1
    });
    assert_eq!(agent.process("kept"), kept);
    assert_eq!(fleet.cli(["plan", "--prune", "-f", path]).code, 0);
}

#[test]
fn what_is_exported_changes_nothing_when_it_is_applied() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").docker().start();
    let files = Files::write(&fleet);
    let rich = "[workload.rich]\ntype = \"script\"\nversion = \"2\"\n\
                command = [\"/bin/sh\", \"-c\", \"echo 'it is' \\\"so\\\"\"]\n\
                schedule = { cron = \"0 4 * * *\", time_zone = \"Europe/Berlin\", \
                missed = \"run_once\" }\ntimeout = \"5m\"\ntags = [\"edge\"]\n\
                env = { NODE = \"{{ node.name }}\", RAW = \"{{ \\\"{{\\\" }}\" }\n\
                params = { list = [1, \"two\"] }\ndepends_on = { plain = \"healthy\" }\n\
                before_stop = [\"/bin/true\"]\n[workload.rich.files.\"x.conf\"]\n\
                content = \"{{ not a template }}\\n\"\nverbatim = true\nmode = \"0600\"\n";
    fleet
        .cli(files.with(&["apply", "-y", "--wait", "--timeout", "60s"]))
        .done();
    fleet.apply(rich).done();
    fleet.wait_instance("rich", "waits for its time", |i| i["state"] == "scheduled");

    let exported = fleet.cli(["workload", "export"]).done().out;
    let path = fleet.manifest("exported", &exported);
    let path = path.to_str().expect("a plain path");
    let plan = fleet.cli(["plan", "--prune", "-f", path]);
    assert_eq!(plan.code, 0, "{plan:?}\n{exported}");
    let before = (agent.process("plain"), agent.container("web"));
    let said = fleet.cli(["apply", "-y", "--prune", "-f", path]).done();
    assert!(said.out.contains("= 7 unchanged"), "{said:?}");
    assert_eq!((agent.process("plain"), agent.container("web")), before);

    let one = fleet.cli(["workload", "export", "rich"]).done().out;
    assert!(
        one.contains("[workload.rich]") && !one.contains("[workload.plain]"),
        "{one}"
    );
    fleet
        .cli(["workload", "export", "no-such"])
        .failed(1, &["no-such"]);
}
