//! `deploy`: boards of an inventory become nodes of the fleet, over the system's `ssh`.
//!
//! ```text
//! looking ─► (plan) ─► copying ─► starting ─► joining ─► waiting ─► deployed
//!    │          ├────► unchanged                             │
//!    └──────────┴──────────────── failed ◄───────────────────┘
//! ```
//!
//! One session for each board: a script says what is there (`probe.sh`) and waits for a line with the
//! script that makes it as wanted (`apply.sh`), which reads the rest, the binary last. What is decided
//! in between is decided in [`crate::deploy`]. The second script is no part of the command, since small
//! servers (dropbear) take a command of 9,000 bytes at most.

mod binaries;
mod show;
mod ssh;
mod uninstall;

use super::{
    Failure,
    args::{BoardsArgs, DeployArgs, DeployVerb},
    client::Client,
};
use crate::{
    deploy::{Board, Known, Plan, Probe, Restart, Step, Trouble, UNIT_NAME, Wanted, parse, plan},
    fleet::{Approval, NodeView},
    http::{NewToken, TokenCreated, VersionView},
    identity::JoinToken,
    manifest::Source,
    model::{Name, Presence},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use binaries::Binaries;
use hyper::Method;
use show::{Outcome, Phase, Report, Show};
use ssh::{Input, Session, Ssh, quoted};
use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::time;

const PROBE: &str = include_str!("probe.sh");
const APPLY: &str = include_str!("apply.sh");
/// What the first script ends with. A shell reads a line byte by byte, and leaves what follows it to the
/// next that reads.
const GO_ON: &str = "IFS= read -r next || exit 0\neval \"$(printf %s \"$next\" | base64 -d)\"\n";
/// Where an agent that is a service of the machine keeps its data.
const DATA_DIR: &str = "/var/lib/fleetctl/agent";
/// How long a board's token is taken.
const TOKEN_TTL_MS: u64 = 3_600_000;
/// How often the controller is asked whether a node is online.
const ASK: Duration = Duration::from_millis(100);
/// How long a connection may take at most.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an agent may take to join at most.
const JOIN: Duration = Duration::from_secs(90);

pub(super) async fn run(client: &mut Client, args: DeployArgs) -> Result<ExitCode, Failure> {
    if let Some(DeployVerb::Uninstall { to, purge, yes }) = args.verb {
        return uninstall::run(client, &to, purge, yes).await;
    }
    let boards = boards(&args.to)?;
    let binaries = Binaries::gather(&args.binaries)?;
    let fleet_key = client
        .get::<VersionView>("/api/v1/version")
        .await?
        .fleet_key;
    let nodes = nodes(client).await?;
    let run = Run {
        ssh: ssh(&args.to),
        binaries,
        fleet_key,
        nodes,
        dry_run: args.dry_run,
        sync_only: args.sync_only,
        timeout: Duration::from_millis(args.to.timeout),
    };
    let (run, client) = (&run, &*client);
    let show = Show::begin(&boards);
    let reports = show::of_all(
        &boards,
        usize::from(args.to.parallel),
        &show,
        async |board, tell| run.board(client.another(), board, tell).await,
    );
    let reports = reports.await;
    show::finish(show, &reports, args.to.output.output)
}

/// The boards of the inventory that are meant.
fn boards(args: &BoardsArgs) -> Result<Vec<Board>, Failure> {
    let inventory = parse(&Source::read(&args.inventory)?)?;
    inventory.limited(&args.limit).map_err(Failure::usage)
}

fn ssh(args: &BoardsArgs) -> Ssh {
    Ssh {
        program: args.ssh.clone(),
        accept_new: args.accept_new_host_keys,
        connect: CONNECT.min(Duration::from_millis(args.timeout)),
    }
}

/// The fleet's nodes, and whether they take part.
async fn nodes(client: &mut Client) -> Result<BTreeMap<Name, Approval>, Failure> {
    let all: Vec<NodeView> = client.list("/api/v1/nodes").await?;
    Ok(all.into_iter().map(|n| (n.name, n.approval)).collect())
}

/// What holds for all boards of one run.
struct Run {
    ssh: Ssh,
    binaries: Binaries,
    fleet_key: String,
    nodes: BTreeMap<Name, Approval>,
    dry_run: bool,
    sync_only: bool,
    timeout: Duration,
}

impl Run {
    async fn board(&self, client: Client, board: &Board, tell: &dyn Fn(Phase)) -> Report {
        let began = Instant::now();
        let done = time::timeout(self.timeout, self.deploy(client, board, tell)).await;
        let outcome = match done {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(trouble)) => Outcome::Failed(trouble.to_string()),
            Err(_) => Outcome::Failed(Trouble::Slow(self.timeout).to_string()),
        };
        Report::new(board, outcome, began.elapsed())
    }

    async fn deploy(
        &self,
        mut client: Client,
        board: &Board,
        tell: &dyn Fn(Phase),
    ) -> Result<Outcome, Trouble> {
        tell(Phase::Looking);
        let (session, probe) = self.probe(board).await?;
        let known = match self.nodes.get(&board.name) {
            None => Known::No,
            Some(Approval::Revoked) => Known::Revoked,
            Some(_) => Known::Yes,
        };
        let wanted = Wanted {
            board,
            binaries: &self.binaries.available,
            fleet_key: &self.fleet_key,
            known,
            sync_only: self.sync_only,
        };
        let plan = plan(&wanted, &probe)?;
        let steps: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
        let notes = plan.notes.clone();
        if self.dry_run {
            return Ok(Outcome::Planned { steps, notes });
        }
        if !plan.is_empty() {
            self.apply(&mut client, session, board, &probe, &plan, tell)
                .await?;
        }
        if self.sync_only {
            return Ok(match steps.is_empty() {
                true => Outcome::Unchanged { notes },
                false => Outcome::Copied { steps, notes },
            });
        }
        tell(Phase::Waiting);
        online(&mut client, &board.name, self.timeout).await?;
        Ok(match steps.is_empty() {
            true => Outcome::Unchanged { notes },
            false => Outcome::Deployed { steps, notes },
        })
    }

    async fn probe(&self, board: &Board) -> Result<(Session, Probe), Trouble> {
        let script = format!("{}{PROBE}{GO_ON}", places(board));
        let mut session = self.ssh.open(board, &script)?;
        let said = session.until("end").await;
        let said = said.map_err(|trouble| trouble.of_board(board))?;
        let probe = Probe::parse(&said).map_err(Trouble::Other)?;
        Ok((session, probe))
    }

    async fn apply(
        &self,
        client: &mut Client,
        session: Session,
        board: &Board,
        probe: &Probe,
        plan: &Plan,
        tell: &dyn Fn(Phase),
    ) -> Result<(), Trouble> {
        let joins = plan.steps.iter().find_map(|s| match s {
            Step::Join { again } => Some(*again),
            _ => None,
        });
        let token = match joins {
            Some(_) => Some(token(client, board).await.map_err(said)?),
            None => None,
        };
        let input = self.order(probe, plan, joins, token.as_deref());
        let size = input.body.as_ref().map_or(0, |b| b.len() as u64);
        let applied = session.finish(
            input,
            |line| match line.strip_prefix("fleetctl-step ") {
                Some("starting") => tell(Phase::Starting),
                Some("joining") => tell(Phase::Joining),
                _ => {}
            },
            |sent| tell(Phase::Copying { sent, of: size }),
        );
        let done = match applied.await {
            Ok(said) if said.lines().any(|l| l == "fleetctl-done") => Ok(()),
            Ok(_) => Err(Trouble::Broke("it did not say that it is done".into())),
            Err(trouble) => Err(trouble.of_board(board)),
        };
        if done.is_err()
            && let Some(token) = token.and_then(|t| JoinToken::decode(&t).ok())
        {
            // Nobody else shall use it; if this fails, it ends within the hour.
            let path = format!("/api/v1/tokens/{}", token.id);
            let _ = client.order(Method::DELETE, &path, None::<&()>).await;
        }
        done
    }

    /// The script that makes the board as the plan says, and what it reads.
    fn order(&self, probe: &Probe, plan: &Plan, joins: Option<bool>, token: Option<&str>) -> Input {
        use crate::deploy::Init;
        let has = |wanted: fn(&Step) -> bool| plan.steps.iter().any(wanted);
        let copies = has(|s| matches!(s, Step::Binary { .. }));
        let digest = self
            .binaries
            .available
            .get(plan.arch)
            .map(|b| b.digest.hex());
        let yes = |is: bool| if is { "yes" } else { "no" };
        let vars = [
            ("SHA256", digest.filter(|_| copies).unwrap_or_default()),
            (
                "INIT",
                match probe.init {
                    Init::Systemd => "systemd",
                    Init::OpenRc => "openrc",
                    Init::Unknown => "none",
                }
                .to_owned(),
            ),
            ("ENABLE", yes(has(|s| matches!(s, Step::Enable))).to_owned()),
            (
                "START",
                match plan.restart() {
                    Restart::No => "no",
                    Restart::Start => "start",
                    Restart::Restart => "restart",
                }
                .to_owned(),
            ),
            (
                "JOIN",
                match joins {
                    None => "no",
                    Some(false) => "yes",
                    Some(true) => "again",
                }
                .to_owned(),
            ),
            (
                "PATIENCE",
                JOIN.min(self.timeout).as_secs().max(1).to_string(),
            ),
        ];
        let mut script = String::new();
        for (name, value) in vars {
            script.push_str(&format!("{name}={}\n", quoted(&value)));
        }
        script.push_str(APPLY);

        let files = &plan.files;
        let text = |text: &str| STANDARD.encode(text);
        let stays = || "-".to_owned();
        let unit = has(|s| matches!(s, Step::Unit));
        let part = |t: &Option<String>| t.as_deref().filter(|_| unit).map_or_else(stays, text);
        let config = has(|s| matches!(s, Step::Config));
        let env = match plan.steps.iter().find(|s| matches!(s, Step::Env { .. })) {
            Some(Step::Env { removed: true }) => "x".to_owned(),
            Some(_) => text(files.env.as_deref().unwrap_or_default()),
            None => stays(),
        };
        let lines = [
            STANDARD.encode(&script),
            if config { text(&files.config) } else { stays() },
            env,
            part(&files.unit),
            part(&files.settings),
            token.map_or_else(stays, str::to_owned),
        ];
        Input {
            head: (lines.join("\n") + "\n").into_bytes(),
            body: self.binaries.bytes(plan.arch).filter(|_| copies),
        }
    }
}

/// What every script begins with.
fn places(board: &Board) -> String {
    format!(
        "INSTALL_DIR={}\nDATA_DIR={}\n",
        quoted(&board.install_dir),
        quoted(DATA_DIR)
    )
}

fn said(failure: Failure) -> Trouble {
    Trouble::Other(failure.message)
}

/// A join token for one machine.
async fn token(client: &mut Client, board: &Board) -> Result<String, Failure> {
    let new = NewToken {
        kind: "join".into(),
        name: format!("deploy of {}", board.name),
        role: None,
        ttl_ms: Some(TOKEN_TTL_MS),
        uses: Some(1),
    };
    let created: TokenCreated = client.post("/api/v1/tokens", &new).await?;
    Ok(created.token)
}

/// Until the fleet hears the node; whoever calls says how long at most.
async fn online(client: &mut Client, name: &Name, limit: Duration) -> Result<(), Trouble> {
    let until = Instant::now() + limit.min(JOIN);
    loop {
        let node = client
            .get::<NodeView>(&format!("/api/v1/nodes/{name}"))
            .await;
        let why = match node {
            Ok(n) if n.approval == Approval::Pending => {
                return Err(Trouble::NotOnline(format!(
                    "it waits for approval: `fleetctl node approve {name}`"
                )));
            }
            Ok(n) if n.state == Presence::Online => return Ok(()),
            Ok(n) if n.reason.is_empty() => format!("it is {}", n.state),
            Ok(n) => n.reason,
            Err(failure) => failure.message,
        };
        if Instant::now() >= until {
            return Err(Trouble::NotOnline(format!(
                "{why}; look at its log (`journalctl -u {UNIT_NAME}`, /var/log/{UNIT_NAME}.log)"
            )));
        }
        time::sleep(ASK).await;
    }
}
