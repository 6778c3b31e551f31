//! Programs that are run beside instances: their output, input, exit code and end.

use super::harness::{
    Fleet, Ran,
    manifests::{container, counting, sleeping},
    wait_until,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Stdio,
};

/// Runs `fleetctl exec` with something on its standard input.
fn exec_with(fleet: &Fleet, args: &[&str], input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut command = fleet.command();
    command
        .arg("exec")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("fleetctl exec");
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("its end");
    // A program that does not read its input closes it early.
    let _ = writing.join().expect("the writer");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), output.stdout, said)
}

fn works_beside(engine: &str) {
    let fleet = Fleet::start();
    let agent = fleet.agent("board");
    let (agent, manifest) = match engine {
        "process" => (agent, sleeping("web")),
        "docker" => (agent.docker(), container("web", engine, "1")),
        _ => (agent.podman(), container("web", engine, "1")),
    };
    let agent = agent.start();
    fleet.apply_wait(&manifest).done();
    fleet.wait_running("web");

    let script = "echo out; echo err >&2; exit 7";
    let ran = fleet.cli(["exec", "web", "--", "/bin/sh", "-c", script]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (7, "out\n", "err\n")
    );

    // More than any buffer on the way holds, in both directions.
    let input: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 7 % 251) as u8).collect();
    let (code, output, said) = exec_with(&fleet, &["-i", "web", "--", "cat"], &input);
    assert_eq!(code, 0, "{said}");
    assert!(output == input, "{} of {} bytes", output.len(), input.len());

    let missing = fleet.cli(["exec", "web", "--", "/no/such/program"]);
    assert_ne!(missing.code, 0, "{missing:?}");
    assert!(missing.err.contains("/no/such/program"), "{missing:?}");

    // Plain, for programs.
    let path = format!("/api/v1/nodes/{}/workloads/web/exec", agent.name);
    let body = json!({"command": ["/bin/sh", "-c", "echo plain; exit 3"]}).to_string();
    let answer = fleet.ask("POST", &path, Some(&body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["exit_code"], 3, "{answer}");
    assert_eq!(answer["stdout"], "plain\n", "{answer}");
    assert_eq!(answer["truncated"], false, "{answer}");

    a_terminal_echoes(&fleet, &path);
    let shown = fleet.wait_running("web");
    assert_eq!(
        shown["restarts"], 0,
        "what runs beside it does not touch it"
    );
}

#[test]
fn a_program_runs_beside_a_process() {
    works_beside("process");
}

#[test]
fn a_program_runs_in_a_docker_container() {
    works_beside("docker");
}

#[test]
fn a_program_runs_in_a_podman_container() {
    works_beside("podman");
}

/// A session over the API's upgrade, frame by frame.
struct Session {
    stream: TcpStream,
}

impl Session {
    fn open(fleet: &Fleet, path: &str, query: &str) -> Session {
        let address = fleet
            .command()
            .get_envs()
            .find_map(|(name, value)| (name == "FLEETCTL_URL").then_some(value?))
            .and_then(|url| url.to_str()?.strip_prefix("http://"))
            .expect("the address of the API")
            .to_owned();
        let mut stream = TcpStream::connect(address).expect("a connection");
        let limit = Some(super::harness::PATIENCE);
        stream.set_read_timeout(limit).expect("a time limit");
        let request = format!(
            "GET {path}?{query} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\n\
             Connection: upgrade\r\nUpgrade: fleetctl-exec\r\n\r\n",
            fleet.token
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("upgrade: fleetctl-exec"), "{head}");
        Session { stream }
    }

    fn send(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame");
        let mut frame = vec![kind];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).expect("a frame is sent");
    }

    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).expect("a frame");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).expect("its payload");
        (head[0], payload)
    }

    /// Output until `words` are in it.
    fn expect(&mut self, words: &str) {
        let mut all = String::new();
        while !all.contains(words) {
            let (kind, payload) = self.next();
            assert_eq!(kind, 0, "{all}{}", String::from_utf8_lossy(&payload));
            all.push_str(&String::from_utf8_lossy(&payload));
        }
    }

    /// The end, whatever is written before it.
    fn end(&mut self) -> Value {
        loop {
            let (kind, payload) = self.next();
            if kind == 4 {
                return serde_json::from_slice(&payload).expect("JSON");
            }
        }
    }
}

fn a_terminal_echoes(fleet: &Fleet, path: &str) {
    let query = "command=/bin/sh&stdin=true&columns=91&rows=17";
    let mut session = Session::open(fleet, path, query);
    // The terminal echoes `$((`, only the shell writes 42.
    session.send(0, b"echo answer-$((6*7))\n");
    session.expect("answer-42");
    session.send(0, b"stty size; test -t 0 && echo it-is-$((1))\n");
    session.expect("it-is-1");
    session.send(2, br#"{"columns":100,"rows":30}"#);
    session.send(5, b"");
    session.send(0, b"exit 5\n");
    assert_eq!(session.end()["exit_code"], 5);
}

#[test]
fn who_goes_away_takes_his_program_with_him() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("web")).done();
    let path = format!("/api/v1/nodes/{}/workloads/web/exec", agent.name);
    let mark = fleet.dir().join("pid");
    let script = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600",
        mark.display()
    );
    let script: String = script.bytes().map(|b| format!("%{b:02X}")).collect();
    let query = format!("command=/bin/sh&command=-c&command={script}");
    let session = Session::open(&fleet, &path, &query);
    wait_until("it runs", || mark.exists());
    let pid = std::fs::read_to_string(&mark).expect("its pid");
    let process = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
    assert!(process.exists());
    drop(session);
    wait_until("it has ended", || !process.exists());
    assert!(agent.process("web").child.lives());
}

#[test]
fn a_program_that_takes_too_long_is_killed_and_said_to_be() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("web")).done();
    let args = ["exec", "--timeout", "1s", "web", "--", "/bin/sleep", "600"];
    fleet.cli(args).failed(1, &["1s", "killed"]);
}

#[test]
fn a_program_needs_an_operator_and_is_in_the_audit_trail() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("web")).done();
    let create = [
        "token", "create", "--kind", "api", "--role", "viewer", "--name", "watcher",
    ];
    let viewer = fleet.cli(create).done().out.trim().to_owned();
    let mut command = fleet.command();
    command
        .env("FLEETCTL_TOKEN", &viewer)
        .args(["exec", "web", "--", "/bin/true"]);
    Ran::of(&mut command).failed(1, &["operator", "watcher"]);
    let node = &agent.name;
    let input = json!({"command": "input", "input": {"session": "x", "n": 0, "kill": true}});
    let path = format!("/api/v1/nodes/{node}/command");
    let answer = fleet.ask_as(Some(&viewer), "POST", &path, Some(&input.to_string()));
    assert_eq!(answer.status, 400, "{}", answer.text());

    fleet.cli(["exec", "web", "--", "/bin/true"]).done();
    let lines = fleet.cli(["audit", "-o", "json"]).done().out;
    assert!(lines.contains("ran `/bin/true` beside web"), "{lines}");
}

#[test]
fn what_cannot_be_run_is_said_at_once() {
    let fleet = Fleet::setup().impatient().start();
    let mut agent = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("web")).done();
    let run = ["exec", "web", "--", "/bin/true"];
    fleet.cli(run).done();
    fleet
        .cli(["exec", "nothing", "--", "/bin/true"])
        .failed(1, &["nothing"]);
    fleet
        .cli(["exec", "--node", "nowhere", "web", "--", "/bin/true"])
        .failed(1, &["nowhere"]);
    fleet.cli(["exec", "web"]).failed(2, &["COMMAND"]);

    agent.daemon.kill9();
    fleet.wait_node(&agent.name, "offline");
    fleet.cli(run).failed(1, &["offline", &agent.name]);
}

#[test]
fn several_instances_have_to_be_chosen_from() {
    let fleet = Fleet::start();
    let (one, two) = (fleet.agent("one").start(), fleet.agent("two").start());
    let manifest = format!(
        "{}[workload.ticker.placement]\non = \"every\"\n",
        counting("ticker", "1")
    );
    fleet.apply_wait(&manifest).done();
    let run = ["exec", "ticker", "--", "/bin/true"];
    fleet.cli(run).failed(2, &["--node", &one.name, &two.name]);
    let on_two = ["exec", "--node", &two.name, "ticker", "--", "/bin/true"];
    fleet.cli(on_two).done();
}
