//! `deploy` to twenty boards with the release's binary, beside plain `scp` and `ssh` of the same
//! bytes, run the same way.

use crate::e2e::harness::{Boards, Daemon, wait_until};
use std::{
    fmt::Write as _,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const BOARDS: u8 = 20;
const AT_ONCE: usize = 8;
/// What twenty boards may take.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn twenty_boards_are_deployed_within_thirty_seconds_and_near_plain_scp() {
    let binary = super::dist().join("fleetctl");
    assert!(
        binary.exists(),
        "{} is missing: make release",
        binary.display()
    );
    let boards = Boards::new();
    let names: Vec<String> = (1..=BOARDS).map(|n| format!("p{n}")).collect();
    let all: Vec<(&str, u8, &[&str])> = names
        .iter()
        .zip(11..)
        .map(|(name, number)| (name.as_str(), number, &["systemd"][..]))
        .collect();
    boards.start_all(&all);

    let data = boards.dir().join("controller");
    let program = binary.to_string_lossy().into_owned();
    let mut command = boards.control_command(&program);
    command
        .args([
            "controller",
            "--embed-broker",
            "--mqtt-listen=tls://0.0.0.0:8883",
        ])
        .arg(format!("--advertise={}", boards.control()))
        .arg("--data-dir")
        .arg(&data);
    let _controller = Daemon::spawn("controller", command, &boards.dir().join("controller.log"));
    let known = boards.dir().join("known_hosts");
    let mut inventory = format!(
        "[defaults]\nssh_user = \"root\"\nssh_key = \"{}\"\nssh_options = \
         [\"UserKnownHostsFile={}\", \"GlobalKnownHostsFile=/dev/null\"]\n",
        boards.key().display(),
        known.display()
    );
    for (name, number, _) in &all {
        let host = boards.address(*number);
        let _ = write!(inventory, "[board.{name}]\nhost = \"{host}\"\n");
    }
    let path = boards.dir().join("inventory.toml");
    fs::write(&path, inventory).unwrap();
    let fleetctl = |args: &[&str]| {
        let mut command = boards.control_command(&program);
        command
            .args(args)
            .env("FLEETCTL_URL", "http://127.0.0.1:7070")
            .env("FLEETCTL_TOKEN_FILE", data.join("admin.token"))
            .env("HOME", boards.dir());
        command
    };
    wait_until("the controller is ready", || {
        let ready = fleetctl(&["check", "--ready"]).output();
        data.join("admin.token").exists() && ready.is_ok_and(|o| o.status.success())
    });

    let path = path.to_string_lossy();
    let words = [
        "deploy",
        "-i",
        &path,
        "--parallel",
        "8",
        "--accept-new-host-keys",
    ];
    let began = Instant::now();
    super::done(&mut fleetctl(&words));
    let deployed = began.elapsed();

    let began = Instant::now();
    let numbers: Vec<u8> = all.iter().map(|(_, number, _)| *number).collect();
    thread::scope(|scope| {
        for lane in 0..AT_ONCE {
            let (boards, numbers, known) = (&boards, &numbers, &known);
            let binary = &binary;
            scope.spawn(move || {
                for number in numbers.iter().skip(lane).step_by(AT_ONCE) {
                    let to = format!("root@{}", boards.address(*number));
                    let options = |command: &mut Command| {
                        command.arg("-q").arg("-i").arg(boards.key());
                        command.args(["-o", "BatchMode=yes", "-o"]);
                        command.arg(format!("UserKnownHostsFile={}", known.display()));
                        command.args(["-o", "GlobalKnownHostsFile=/dev/null"]);
                    };
                    let mut scp = boards.control_command("scp");
                    options(&mut scp);
                    super::done(scp.arg(binary).arg(format!("{to}:/tmp/fleetctl")));
                    let mut ssh = boards.control_command("ssh");
                    options(&mut ssh);
                    super::done(ssh.arg(to).arg("mv /tmp/fleetctl /usr/local/bin/other"));
                }
            });
        }
    });
    let plain = began.elapsed();
    println!(
        "deploy to {BOARDS} boards, {AT_ONCE} at once, until all are online: {deployed:.1?}; plain \
         scp and ssh of the same bytes: {plain:.1?}; {:.2} times",
        deployed.as_secs_f64() / plain.as_secs_f64()
    );
    assert!(deployed <= LIMIT, "{deployed:?}");
    // A second for what is no copying: tokens, joining, being heard.
    let most = plain.mul_f64(1.5) + Duration::from_secs(1);
    assert!(deployed <= most, "{deployed:?} beside {plain:?}");
}
