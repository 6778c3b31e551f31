//! One session with one board, over the system's `ssh`: a script as the command, bytes on standard
//! input, lines on standard output. Nothing secret stands in a command line.
//!
//! ```text
//! open(script) ─► until("end") ─► finish(input) ─► all that it printed
//!      └──────────────────────────────┘  or it is dropped, which ends it
//! ```

use crate::deploy::{Board, Trouble, of_ssh};
use std::{io, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Take},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time,
};

/// The most bytes that are taken from a board on either stream.
const MAX_OUTPUT: u64 = 256 << 10;
/// Bytes that are written together.
const PIECE: usize = 128 << 10;
/// Exit code of a script that has said what is wrong.
const SAID: i32 = 91;

/// How boards are reached.
#[derive(Debug, Clone)]
pub(super) struct Ssh {
    /// The program.
    pub(super) program: String,
    /// Keys of hosts that are not known are taken.
    pub(super) accept_new: bool,
    /// How long a connection may take.
    pub(super) connect: Duration,
}

/// What goes to a script.
#[derive(Debug, Clone, Default)]
pub(super) struct Input {
    /// First this.
    pub(super) head: Vec<u8>,
    /// Then this.
    pub(super) body: Option<Arc<[u8]>>,
}

/// Becomes root where it is allowed, then is the script.
const WRAP: &str = "if [ \"$(id -u)\" = 0 ]; then exec sh -c \"$1\"; fi; \
    if [ \"$2\" = yes ] && command -v sudo >/dev/null; then \
    printf \"fleetctl-user %s\\n\" \"$(id -un)\"; exec sudo -n sh -c \"$1\"; fi; \
    printf \"fleetctl-trouble sudo %s\\n\" \"$(id -un)\"; exit 91";

impl Ssh {
    fn command(&self, board: &Board, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        let seconds = self.connect.as_secs().max(1);
        command.args(["-T", "-o", "BatchMode=yes", "-o"]);
        command.arg(format!("ConnectTimeout={seconds}"));
        command.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4"]);
        // Bytes that are not text, once: nothing is gained by packing them on a local line.
        if self.accept_new {
            command.args(["-o", "StrictHostKeyChecking=accept-new"]);
        }
        for option in &board.ssh_options {
            command.arg("-o").arg(option);
        }
        if let Some(port) = board.ssh_port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(key) = &board.ssh_key {
            command.arg("-i").arg(at_home(key));
            command.args(["-o", "IdentitiesOnly=yes"]);
        }
        if let Some(user) = &board.ssh_user {
            command.arg("-l").arg(user);
        }
        let sudo = if board.sudo { "yes" } else { "no" };
        command.arg("--").arg(&board.host).arg(format!(
            "sh -c {} fleetctl {} {sudo}",
            quoted(WRAP),
            quoted(script)
        ));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Begins a session whose command is the script.
    ///
    /// # Errors
    /// There is no such program.
    pub(super) fn open(&self, board: &Board, script: &str) -> Result<Session, Trouble> {
        let no_ssh = |why: String| Trouble::NoSsh {
            program: self.program.clone(),
            why,
        };
        let mut child = self
            .command(board, script)
            .spawn()
            .map_err(|e| no_ssh(e.to_string()))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(no_ssh("it has no pipes".into()));
        };
        Ok(Session {
            host: board.host.clone(),
            child,
            stdin: Some(stdin),
            stdout: Lines::of(stdout),
            stderr: tokio::spawn(Lines::of(stderr).all()),
            complaints: None,
        })
    }

    /// Runs a script that reads nothing. What it printed.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn run(&self, board: &Board, script: &str) -> Result<String, Trouble> {
        let session = self.open(board, script)?;
        session.finish(Input::default(), |_| {}, |_| {}).await
    }
}

/// A script that runs on a board. It ends when this is dropped.
pub(super) struct Session {
    host: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<ChildStdout>,
    stderr: JoinHandle<Result<String, Trouble>>,
    /// What `stderr` gave.
    complaints: Option<String>,
}

impl Session {
    /// What it printed up to the line `end`, which it prints before it reads.
    ///
    /// # Errors
    /// [`Trouble`], also when it ended before.
    pub(super) async fn until(&mut self, end: &str) -> Result<String, Trouble> {
        if !self.listen(&mut |_| {}, Some(end)).await? {
            self.ended_well().await?;
        }
        Ok(self.stdout.text.clone())
    }

    /// Gives it what it reads, until it ends; each further line that it prints goes to `line`, and
    /// `sent` is told how much of the body has gone. All that it printed.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn finish(
        mut self,
        input: Input,
        mut line: impl FnMut(&str),
        sent: impl FnMut(u64),
    ) -> Result<String, Trouble> {
        let stdin = self.stdin.take();
        let feed = async move {
            if let Some(stdin) = stdin {
                // A board that ends before it has read everything says why itself.
                let _ = write(stdin, input, sent).await;
            }
        };
        {
            let listen = self.listen(&mut line, None);
            tokio::pin!(feed);
            tokio::pin!(listen);
            let mut fed = false;
            // The end of the script ends the feeding too: nobody reads it any more.
            loop {
                tokio::select! {
                    () = &mut feed, if !fed => fed = true,
                    ended = &mut listen => {
                        ended?;
                        break;
                    }
                }
            }
        }
        self.ended_well().await?;
        Ok(self.stdout.text)
    }

    /// Reads up to a line, or all. `false`: it has ended. Too much of one stream is the end of both;
    /// the child is killed when it is dropped.
    async fn listen(
        &mut self,
        line: &mut impl FnMut(&str),
        until: Option<&str>,
    ) -> Result<bool, Trouble> {
        loop {
            tokio::select! {
                said = self.stdout.next() => match said? {
                    None => return Ok(false),
                    Some(said) => {
                        line(&said);
                        if until == Some(said.as_str()) {
                            return Ok(true);
                        }
                    }
                },
                all = &mut self.stderr, if self.complaints.is_none() => {
                    self.complaints = Some(all.unwrap_or_else(|_| Ok(String::new()))?);
                }
            }
        }
    }

    /// It has printed all; what went wrong, if anything did.
    async fn ended_well(&mut self) -> Result<(), Trouble> {
        if self.complaints.is_none() {
            let all = (&mut self.stderr).await;
            self.complaints = Some(all.unwrap_or_else(|_| Ok(String::new()))?);
        }
        let code = ended(&mut self.child).await;
        let (out, err) = (
            &self.stdout.text,
            self.complaints.as_deref().unwrap_or_default(),
        );
        if let Some(trouble) = said(out, err) {
            return Err(trouble);
        }
        if let Some(user) = not_by_sudo(out, err) {
            return Err(Trouble::NoSudo(user));
        }
        match code {
            Some(0) => Ok(()),
            Some(255) => Err(of_ssh(err, &self.host)),
            Some(SAID) | None => Err(Trouble::Broke(last(err, "the session ended"))),
            Some(code) => Err(Trouble::Other(format!(
                "its shell ended with {code}: {}",
                last(err, "it said nothing")
            ))),
        }
    }
}

/// A stream, line by line and as a whole. Not every board speaks UTF-8: what is none is replaced.
struct Lines<R> {
    from: BufReader<Take<R>>,
    /// Of the line that is being read: reading may be broken off in its middle.
    bytes: Vec<u8>,
    total: u64,
    text: String,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn of(from: R) -> Lines<R> {
        Lines {
            from: BufReader::new(from.take(MAX_OUTPUT + 1)),
            bytes: Vec::new(),
            total: 0,
            text: String::new(),
        }
    }

    /// `None`: its end.
    async fn next(&mut self) -> Result<Option<String>, Trouble> {
        // A stream that breaks ends, as one that is closed.
        let _ = self.from.read_until(b'\n', &mut self.bytes).await;
        if self.bytes.is_empty() {
            return Ok(None);
        }
        self.total += self.bytes.len() as u64;
        if self.total > MAX_OUTPUT {
            return Err(Trouble::TooMuch(MAX_OUTPUT));
        }
        let said = String::from_utf8_lossy(&self.bytes);
        let said = said.trim_end_matches(['\n', '\r']).to_owned();
        self.bytes.clear();
        self.text.push_str(&said);
        self.text.push('\n');
        Ok(Some(said))
    }

    async fn all(mut self) -> Result<String, Trouble> {
        while self.next().await?.is_some() {}
        Ok(self.text)
    }
}

async fn write(mut stdin: ChildStdin, input: Input, mut sent: impl FnMut(u64)) -> io::Result<()> {
    stdin.write_all(&input.head).await?;
    let mut total = 0;
    for piece in input.body.iter().flat_map(|b| b.chunks(PIECE)) {
        stdin.write_all(piece).await?;
        total += piece.len() as u64;
        sent(total);
    }
    stdin.shutdown().await
}

/// Its standard output is at its end, so it is about to.
async fn ended(child: &mut Child) -> Option<i32> {
    match time::timeout(Duration::from_secs(10), child.wait()).await {
        Ok(Ok(status)) => status.code(),
        _ => None,
    }
}

/// What a script said is wrong.
fn said(out: &str, err: &str) -> Option<Trouble> {
    let line = out
        .lines()
        .find_map(|l| l.strip_prefix("fleetctl-trouble "))?;
    let line: String = line.chars().filter(|c| !c.is_control()).take(400).collect();
    let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
    let rest = rest.trim().to_owned();
    Some(match word {
        "sudo" => Trouble::NoSudo(rest),
        "cut" | "hash" => Trouble::Broke(last(err, "what arrived is not what was sent")),
        "write" => Trouble::Other(format!(
            "{rest} cannot be written: {}",
            last(err, "is the disk full?")
        )),
        "copy" => match rest.contains("No space left") {
            true => Trouble::Other(format!("the disk filled up while copying to {rest}")),
            false => Trouble::Other(format!("the binary could not be copied to {rest}")),
        },
        "exec" => Trouble::Other(format!(
            "the binary does not run there: {rest}; nothing was replaced. Is it for this \
             architecture, static, and not on a disk mounted noexec?"
        )),
        "service" => Trouble::Other(format!("`{rest}` failed: {}", last(err, "it said nothing"))),
        "join" => Trouble::NotJoined(match rest.is_empty() {
            true => "it has logged nothing".to_owned(),
            false => rest,
        }),
        _ => Trouble::Other(line),
    })
}

/// sudo complained, and nothing of the script was heard: the user's name.
fn not_by_sudo(out: &str, err: &str) -> Option<String> {
    let mut lines = out.lines().skip_while(|l| !l.starts_with("fleetctl-user "));
    let user = lines.next()?.strip_prefix("fleetctl-user ")?;
    let complained = err
        .lines()
        .any(|l| l.starts_with("sudo: ") || l.starts_with("Sorry, user "));
    let silent = !lines.any(|l| l.starts_with("fleetctl-"));
    (complained && silent).then(|| user.chars().filter(|c| !c.is_control()).take(64).collect())
}

fn last(text: &str, none: &str) -> String {
    let line = text.lines().map(str::trim).rfind(|l| !l.is_empty());
    let line = line.unwrap_or(none);
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// As one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn at_home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{deploy::Probe, manifest::Source};
    use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

    /// What is heard of a board behind an `ssh` that is this script.
    async fn with(script: &str) -> Result<String, Trouble> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("ssh");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let ssh = Ssh {
            program: program.to_string_lossy().into_owned(),
            accept_new: false,
            connect: Duration::from_secs(1),
        };
        let source = Source::new("i.toml", "[board.a]\nhost = 'a'\n");
        let board = crate::deploy::parse(&source).unwrap().boards.remove(0);
        ssh.run(&board, "true").await
    }

    #[tokio::test]
    async fn a_board_whose_greeting_is_not_utf_8_is_understood() {
        let said = with(
            "printf 'Gr\\374\\337e\\r\\nfleetctl-probe 1\\nmachine x86_64\\nend\\n'; \
             printf '\\374\\n' >&2",
        )
        .await
        .unwrap();
        assert!(
            said.starts_with("Gr\u{fffd}\u{fffd}e\nfleetctl-probe 1\n"),
            "{said:?}"
        );
        assert_eq!(Probe::parse(&said).unwrap().machine, "x86_64");
        // What it complains of is read, too.
        let why = with("printf 'kaputt: \\374\\n' >&2; exit 3")
            .await
            .unwrap_err();
        assert!(why.to_string().contains("3: kaputt: \u{fffd}"), "{why}");
    }

    #[tokio::test]
    async fn a_board_that_writes_without_end_is_told_so_and_left() {
        // Lines, one endless line, and complaints.
        for flood in ["exec yes", "exec cat /dev/zero", "exec yes >&2"] {
            let began = Instant::now();
            let why = with(flood).await.unwrap_err();
            assert_eq!(why, Trouble::TooMuch(MAX_OUTPUT), "{flood}");
            assert!(why.to_string().contains("more than 256 KiB"), "{why}");
            assert!(began.elapsed() < Duration::from_secs(8), "{flood}");
        }
        let just = with("head -c 262143 /dev/zero | tr '\\0' x; echo").await;
        assert_eq!(just.unwrap().len() as u64, MAX_OUTPUT);
    }

    #[test]
    fn what_a_script_says_is_wrong_becomes_a_sentence() {
        assert_eq!(
            said("x\nfleetctl-trouble sudo pi\n", ""),
            Some(Trouble::NoSudo("pi".into()))
        );
        let full =
            "fleetctl-trouble copy /usr/local/bin cat: write error: No space left on device\n";
        assert!(said(full, "").unwrap().to_string().contains("filled up"));
        let refused = "sudo: a password is required\n";
        assert_eq!(
            not_by_sudo("fleetctl-user pi\n", refused).as_deref(),
            Some("pi")
        );
        // A warning of sudo's own beside a script that ran.
        assert_eq!(
            not_by_sudo(
                "fleetctl-user pi\nfleetctl-done\n",
                "sudo: unable to resolve host"
            ),
            None
        );
        assert_eq!(said("all is well\n", "sudo"), None);
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
