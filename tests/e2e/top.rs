//! `top` and what waits with progress, on a real terminal: a pair of ends, of which the program has
//! the other one.

use super::harness::{
    Fleet, PATIENCE,
    manifests::{counting, sleeping},
    wait_for, wait_until,
};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Instant,
};

const COLUMNS: u16 = 120;
const ROWS: u16 = 30;

/// What a terminal shows of what was written to it: as much of its language as is spoken here.
#[derive(Debug, Default)]
struct Shown {
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    /// An escape sequence that has begun.
    escape: Option<String>,
    /// Bytes of a character that is not complete.
    bytes: Vec<u8>,
    alternate: bool,
    hidden: bool,
    /// Backgrounds in red that were written.
    alarms: usize,
    /// Everything, for failures.
    raw: String,
}

impl Shown {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let valid = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            Err(e) => e.valid_up_to(),
        };
        let rest = self.bytes.split_off(valid);
        let text = String::from_utf8(std::mem::replace(&mut self.bytes, rest)).expect("text");
        self.raw.push_str(&text);
        text.chars().for_each(|c| self.char(c));
    }

    fn char(&mut self, c: char) {
        if let Some(escape) = &mut self.escape {
            escape.push(c);
            let sequence = escape.clone();
            let whole = match sequence.strip_prefix('[') {
                Some(rest) => rest.chars().last().is_some_and(|c| c.is_ascii_alphabetic()),
                None => true,
            };
            if whole {
                self.escape = None;
                self.sequence(&sequence);
            }
            return;
        }
        match c {
            '\u{1b}' => self.escape = Some(String::new()),
            '\r' => self.at.0 = 0,
            '\n' => self.at.1 += 1,
            c => {
                let (x, y) = self.at;
                self.rows.resize_with(self.rows.len().max(y + 1), Vec::new);
                let row = &mut self.rows[y];
                row.resize(row.len().max(x + 1), ' ');
                row[x] = c;
                self.at.0 += 1;
            }
        }
    }

    fn sequence(&mut self, sequence: &str) {
        let body = sequence.trim_start_matches('[');
        let (numbers, last) = body.split_at(body.len() - 1);
        let number = |at: usize| {
            numbers
                .split(';')
                .nth(at)
                .and_then(|n| n.parse::<usize>().ok())
        };
        match (last, numbers) {
            ("H", _) => {
                let place = |at| number(at).unwrap_or(1).saturating_sub(1);
                self.at = (place(1), place(0));
            }
            ("A", _) => self.at.1 = self.at.1.saturating_sub(number(0).unwrap_or(1)),
            ("J", "2") => self.rows.clear(),
            ("J", _) => {
                let (x, y) = self.at;
                self.rows.truncate(y + 1);
                if let Some(row) = self.rows.get_mut(y) {
                    row.truncate(x);
                }
            }
            ("h", "?1049") => self.alternate = true,
            ("l", "?1049") => (self.alternate, self.rows) = (false, Vec::new()),
            ("l", "?25") => self.hidden = true,
            ("h", "?25") => self.hidden = false,
            ("m", colours) if colours.contains("48;5;1") || colours.contains("41") => {
                self.alarms += 1;
            }
            _ => {}
        }
    }

    fn text(&self) -> String {
        let lines = self.rows.iter().map(|row| row.iter().collect::<String>());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A program on a terminal.
struct Terminal {
    child: Child,
    ours: File,
    programs: OwnedFd,
    shown: Arc<Mutex<Shown>>,
}

impl Terminal {
    fn run(command: &mut Command) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).expect("a terminal");
        unlockpt(&ours).expect("its other end");
        let programs = ioctl_tiocgptpeer(&ours, flags).expect("its other end");
        let terminal = || Stdio::from(programs.try_clone().expect("another one"));
        command
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(terminal())
            .stdout(terminal())
            .stderr(terminal());
        let size = Winsize {
            ws_row: ROWS,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&ours, size).expect("its size");
        let child = command.spawn().expect("fleetctl");
        let ours = File::from(ours);
        let shown = Arc::new(Mutex::new(Shown::default()));
        let (mut reads, to) = (ours.try_clone().expect("another one"), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reads.read(&mut bytes) {
                to.lock().expect("no panic").take(&bytes[..n]);
            }
        });
        Terminal {
            child,
            ours,
            programs,
            shown,
        }
    }

    fn look<T>(&self, look: impl FnOnce(&Shown) -> T) -> T {
        look(&self.shown.lock().expect("no panic"))
    }

    fn text(&self) -> String {
        self.look(Shown::text)
    }

    #[track_caller]
    fn wait(&mut self, what: &str, holds: impl Fn(&Shown) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.look(&holds) {
            let ended = self.child.try_wait().expect("its state");
            let late = Instant::now() > deadline;
            assert!(
                !late,
                "{what}: {}\nof {ended:?} {:?}",
                self.text(),
                self.look(|s| s.raw.clone())
            );
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
    }

    #[track_caller]
    fn wait_text(&mut self, words: &str) {
        self.wait(words, |shown| shown.text().contains(words));
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).expect("keys");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a signal");
    }

    #[track_caller]
    fn wait_end(&mut self) -> ExitStatus {
        wait_for("it ends", || self.child.try_wait().expect("its state"))
    }

    /// Lines are edited and echoed, signals are made of keys.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.programs).expect("its modes").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[track_caller]
    fn assert_restored(&mut self) {
        self.wait("the terminal is as it was", |s| !s.alternate && !s.hidden);
        assert!(self.is_cooked(), "{:?}", self.look(|s| s.raw.clone()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn top(fleet: &Fleet) -> Terminal {
    let mut terminal = Terminal::run(fleet.command().arg("top"));
    terminal.wait("the screen", |s| s.alternate && s.hidden);
    terminal
}

#[test]
fn the_screen_shows_the_fleet_and_gives_the_terminal_back() {
    let fleet = Fleet::start();
    let mut screen = top(&fleet);
    screen.wait_text("no nodes yet");
    assert!(!screen.is_cooked());

    let board = fleet.agent("board").start();
    let kiosk = fleet.agent("kiosk").start();
    screen.wait_text(&board.name);
    screen.wait_text(&kiosk.name);
    screen.wait_text("2 nodes: 2 online");

    screen.press("/boa");
    let (wanted, other) = (board.name.clone(), kiosk.name.clone());
    screen.wait("the filter narrows", |s| {
        let text = s.text();
        text.contains(&wanted) && !text.contains(&other)
    });
    screen.press("\r");
    screen.wait_text("filter boa: 1 of 2");
    screen.press("\u{1b}");
    screen.wait_text(&kiosk.name);

    fleet.apply_wait(&counting("web", "1")).done();
    screen.press("2");
    screen.wait_text("web");
    screen.wait_text("running");
    screen.press("\r");
    screen.wait_text("log of web on");
    screen.wait_text("1 line ");
    screen.press("\u{1b}");
    screen.wait_text("1 Nodes");
    screen.press("6");
    screen.wait_text("workload_applied");
    screen.press("?");
    screen.wait_text("Ctrl-Z");
    // Escape and a key right behind it are one key to a terminal.
    screen.press("\u{1b}");
    screen.wait("the help is gone", |s| !s.text().contains("Ctrl-Z"));

    // Something else has written over it; and to the shell and back.
    screen.press("\u{c}");
    screen.press("1");
    screen.wait_text("NAME");
    screen.press("\u{1a}");
    screen.wait("the shell has it", |s| s.raw.contains("?1049l"));
    wait_until("it is back", || {
        screen.signal(Signal::CONT);
        screen.look(|s| s.alternate && s.raw.matches("?1049h").count() == 2)
    });
    screen.wait_text("2 nodes: 2 online");

    screen.press("q");
    assert_eq!(screen.wait_end().code(), Some(0));
    screen.assert_restored();
}

#[test]
fn a_signal_gives_the_terminal_back_too() {
    let fleet = Fleet::start();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut screen = top(&fleet);
        screen.wait_text("no nodes yet");
        screen.signal(signal);
        assert_eq!(screen.wait_end().code(), Some(code));
        screen.assert_restored();
    }
    // In raw mode the key makes no signal.
    let mut screen = top(&fleet);
    screen.press("\u{3}");
    assert_eq!(screen.wait_end().code(), Some(0));
    screen.assert_restored();
}

#[test]
fn a_lost_controller_is_seen_and_it_goes_on_by_itself_when_that_is_back() {
    let mut fleet = Fleet::start();
    let board = fleet.agent("board").start();
    let mut screen = top(&fleet);
    screen.wait_text("1 online");
    fleet.controller.kill9();
    screen.wait_text("controller lost since");
    screen.wait("it is red", |s| s.alarms > 0);
    assert!(
        screen.text().contains(&board.name),
        "what was known stays: {}",
        screen.text()
    );
    fleet.restart();
    screen.wait("it goes on", |s| {
        let text = s.text();
        !text.contains("controller lost") && text.contains("connected")
    });
    screen.wait_text("1 online");

    // One that hangs is lost as well, and keys do not wait for it.
    fleet.controller.freeze();
    screen.press("?");
    screen.wait_text("Ctrl-Z");
    screen.press("\u{1b}");
    screen.wait_text("controller lost since");
    fleet.controller.thaw();
    screen.wait("it goes on", |s| !s.text().contains("controller lost"));
    screen.press("q");
    assert_eq!(screen.wait_end().code(), Some(0));
    screen.assert_restored();
}

#[test]
fn where_there_is_no_terminal_it_is_one_look_as_text() {
    let fleet = Fleet::start();
    let board = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("web")).done();
    let text = fleet.cli(["top"]).done().out;
    assert!(
        text.contains("1 node: 1 online") && text.contains(&board.name),
        "{text}"
    );
    assert!(text.contains("instances 1 of 1 run"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let look = fleet.cli(["top", "-o", "json"]).done().json();
    assert_eq!(look["nodes"][0]["name"], board.name.as_str());
    assert_eq!(look["instances"][0]["state"], "running");
    assert_eq!(look["workloads"][0]["name"], "web");
    // A wrong token is said plainly, and no screen is taken.
    let mut command = fleet.command();
    command.arg("top").env("FLEETCTL_TOKEN", "wrong");
    let mut refused = Terminal::run(&mut command);
    assert_eq!(refused.wait_end().code(), Some(1));
    refused.wait_text("error: ");
    assert!(!refused.look(|s| s.raw.contains("?1049h")));
}

#[test]
fn events_are_filtered_followed_and_gone_on_with_after_a_loss() {
    let mut fleet = Fleet::start();
    let board = fleet.agent("board").start();
    fleet.apply_wait(&sleeping("web")).done();
    let ran = |args: &[&str]| fleet.cli(["events"].iter().chain(args)).done().out;
    let of_node = ran(&["--node", &board.name, "--type", "node_"]);
    assert!(
        of_node.contains("node_") && !of_node.contains("workload_"),
        "{of_node}"
    );
    let of_workload = ran(&["--workload", "web", "-n", "1"]);
    assert_eq!(of_workload.lines().count(), 1, "{of_workload}");
    assert_eq!(ran(&["--since", "2100-01-01T00:00:00Z"]), "");
    let all = ran(&["-o", "json"]);
    for line in all.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(event["id"].is_u64(), "{line}");
    }

    let mut followed = Terminal::run(
        fleet
            .command()
            .args(["events", "-f", "--type", "workload_"]),
    );
    followed.wait("a colour or none", |s| s.raw.contains("workload_applied"));
    fleet.controller.kill9();
    followed.wait_text("trying again");
    fleet.restart();
    followed.wait_text("the controller is back");
    fleet.apply(&sleeping("later")).done();
    followed.wait("it goes on", |s| s.raw.contains("later"));
}

#[test]
fn waiting_draws_a_block_and_leaves_the_change_applied_when_it_is_interrupted() {
    let fleet = Fleet::start();
    let _board = fleet.agent("board").start();
    let good = fleet.manifest("good.toml", &sleeping("web"));
    let mut waits = Terminal::run(
        fleet
            .command()
            .args(["apply", "-y", "--wait", "-f"])
            .arg(good),
    );
    waits.wait("a block", |s| {
        s.raw.contains("Ctrl-C stops only the waiting")
    });
    assert_eq!(waits.wait_end().code(), Some(0), "{}", waits.text());
    waits.wait("no block is left", |s| !s.text().contains("Ctrl-C"));

    let nowhere = sleeping("nowhere") + "[workload.nowhere.placement]\nrequires = ['no-such']\n";
    let never = fleet.manifest("never.toml", &nowhere);
    let mut waits = Terminal::run(
        fleet
            .command()
            .args(["apply", "-y", "--wait", "-f"])
            .arg(never),
    );
    waits.wait_text("nowhere: pending");
    waits.signal(Signal::INT);
    assert_eq!(waits.wait_end().code(), Some(130), "{}", waits.text());
    waits.wait_text("no longer waiting; the change stays applied");
    assert!(waits.text().contains("fleetctl ps -w"), "{}", waits.text());
    wait_until("it stays applied", || fleet.instance("nowhere").is_some());
}
