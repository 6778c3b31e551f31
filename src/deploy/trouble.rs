//! Why a board cannot be deployed to: each a sentence with what to do.

use super::Board;
use std::time::Duration;

/// What is wrong with a board.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody answers.
    #[error("it cannot be reached: {0}; is it on, and is `host` its address?")]
    Down(String),
    /// Its host key is another one than is known: how it is called in the list of known hosts.
    #[error(
        "its host key is not the one that is known: if the board was set up anew, forget the old \
         key (`ssh-keygen -R {0}`), look at the new one and log in once; else somebody is between"
    )]
    HostKeyChanged(String),
    /// Its host key is not known: what stands behind `ssh` to log in there.
    #[error(
        "its host key is not known: log in once with `ssh {0}` and compare what it shows with the \
         board's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), or say \
         --accept-new-host-keys"
    )]
    HostKeyUnknown(String),
    /// The login is refused.
    #[error(
        "it refuses the login ({0}): set `ssh_user` and `ssh_key`, or put your key there with \
         `ssh-copy-id`"
    )]
    Refused(String),
    /// ssh itself cannot be run.
    #[error("`{program}` cannot be run: {why}; is OpenSSH's client installed?")]
    NoSsh {
        /// What was to be run.
        program: String,
        /// Why not.
        why: String,
    },
    /// Neither root nor sudo.
    #[error(
        "its user {0} is not root and may not use sudo without a password: allow it (a line \
         `{0} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d), or set `ssh_user = \"root\"`"
    )]
    NoSudo(String),
    /// The line broke while something was done.
    #[error("the connection broke: {0}; the board is as before or as wanted: run it again")]
    Broke(String),
    /// It writes without end, or something that was not asked for.
    #[error(
        "it wrote more than {} KiB, far more than is expected of it, and was not listened to any \
         further: log in with `ssh` and see what its login shell or profile prints",
        .0 >> 10
    )]
    TooMuch(u64),
    /// It took too long.
    #[error("it was not done within {0:?}; run it again, with a longer --timeout")]
    Slow(Duration),
    /// A disk has no room.
    #[error(
        "the disk of {dir} (mounted at {mounted}) is full: {} are needed and {} are free; free {}",
        mib(*needed), mib(*free), mib(needed.saturating_sub(*free))
    )]
    Full {
        /// Directory.
        dir: String,
        /// Where its disk is mounted.
        mounted: String,
        /// Bytes.
        free: u64,
        /// Bytes.
        needed: u64,
    },
    /// A disk is mounted read-only.
    #[error(
        "{dir} cannot be written: {mounted} is mounted read-only; remount it for the deployment \
         (`mount -o remount,rw {mounted}`), or turn the overlay of the system off"
    )]
    ReadOnly {
        /// Directory.
        dir: String,
        /// Where its disk is mounted.
        mounted: String,
    },
    /// Programs cannot be run from there.
    #[error(
        "programs in {dir} cannot be run: {mounted} is mounted noexec; set `install_dir` to a \
         directory on another disk"
    )]
    NoExec {
        /// Directory.
        dir: String,
        /// Where its disk is mounted.
        mounted: String,
    },
    /// There is no binary for it.
    #[error(
        "there is no binary for its architecture, {arch}; there is one for {}; give another with \
         --binaries",
        listed(there)
    )]
    NoBinary {
        /// What the board is.
        arch: String,
        /// For which there are.
        there: Vec<String>,
    },
    /// Nothing starts services.
    #[error(
        "it has neither systemd nor OpenRC, so nothing would start the agent: copy with --sync-only \
         and start `fleetctl agent -c /etc/fleetctl/agent.toml` by what it has"
    )]
    NoInit,
    /// It belongs to others.
    #[error(
        "it belongs to another fleet already, as node `{node}`: take it out there first, then \
         `fleetctl deploy uninstall --purge --limit <its name>`"
    )]
    OtherFleet {
        /// Its name there.
        node: String,
    },
    /// It has joined under another name.
    #[error(
        "it is the node `{node}` of this fleet already: call the board so in the inventory, or \
         remove that node and uninstall it first"
    )]
    OtherName {
        /// Its name.
        node: String,
    },
    /// The name is another machine's.
    #[error(
        "its name is taken by another machine of the fleet: choose another, or remove that node \
         (`fleetctl node rm`)"
    )]
    NameTaken,
    /// The node was cut off.
    #[error("the fleet has revoked this node: remove it (`fleetctl node rm`), then deploy again")]
    Revoked,
    /// What the agent said when it did not come up.
    #[error("its agent does not join: {0}")]
    NotJoined(String),
    /// It joined, and is not heard.
    #[error("its agent runs and the fleet does not hear it: {0}")]
    NotOnline(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl Trouble {
    /// With commands that reach this very board, where it says commands.
    pub fn of_board(self, board: &Board) -> Trouble {
        match self {
            Trouble::HostKeyUnknown(_) => Trouble::HostKeyUnknown(login(board)),
            Trouble::HostKeyChanged(_) => Trouble::HostKeyChanged(known_as(board)),
            other => other,
        }
    }
}

/// What stands behind `ssh` to log in there.
fn login(board: &Board) -> String {
    let mut words = Vec::new();
    for option in &board.ssh_options {
        words.extend(["-o".to_owned(), word(option)]);
    }
    if let Some(port) = board.ssh_port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(key) = &board.ssh_key {
        words.extend(["-i".to_owned(), word(key)]);
    }
    words.push(word(&match &board.ssh_user {
        Some(user) => format!("{user}@{}", board.host),
        None => board.host.clone(),
    }));
    words.join(" ")
}

/// What stands behind `ssh-keygen -R`: the name in the list of known hosts, and which list.
fn known_as(board: &Board) -> String {
    let name = match board.ssh_port {
        None | Some(22) => board.host.clone(),
        Some(port) => format!("[{}]:{port}", board.host),
    };
    let list = board.ssh_options.iter().find_map(|option| {
        let (key, value) = option.split_once(['=', ' '])?;
        key.trim()
            .eq_ignore_ascii_case("UserKnownHostsFile")
            .then(|| value.trim())
    });
    match list {
        Some(list) => format!("{} -f {}", word(&name), word(list)),
        None => word(&name),
    }
}

/// As a shell takes it; a path below `~/` is left to the shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%_-+=:,./".contains(c);
    match text.strip_prefix("~/").unwrap_or(text) {
        rest if !rest.is_empty() && rest.chars().all(plain) => text.to_owned(),
        _ => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn listed(all: &[String]) -> String {
    match all {
        [] => "none".to_owned(),
        all => all.join(", "),
    }
}

/// What ssh complained of when it ended with 255: `host` as it was given to it.
pub fn of_ssh(stderr: &str, host: &str) -> Trouble {
    let has = |words: &str| stderr.contains(words);
    let lines = || stderr.lines().map(str::trim).filter(|l| !l.is_empty());
    let last = lines().next_back().unwrap_or("ssh said nothing");
    let last: String = last.chars().filter(|c| !c.is_control()).take(300).collect();
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        return Trouble::HostKeyChanged(host.to_owned());
    }
    if has("Host key verification failed") {
        return Trouble::HostKeyUnknown(host.to_owned());
    }
    if has("Permission denied (") || has("Too many authentication failures") {
        return Trouble::Refused(last);
    }
    let down = [
        "No route to host",
        "Connection timed out",
        "Connection refused",
        "Network is unreachable",
        "Could not resolve hostname",
        "Name or service not known",
        "Operation timed out",
        "banner exchange",
        "Host is down",
    ];
    if down.iter().any(|words| has(words)) {
        return Trouble::Down(last);
    }
    Trouble::Broke(last)
}
