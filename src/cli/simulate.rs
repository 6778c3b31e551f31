//! `simulate`: a fleet without hardware ([`crate::simulate`]), its progress and its report.
//!
//! Around the simulation itself this asks the controller: for a token to join with, at the end for
//! what it thinks of the nodes, and to forget them again.

use super::{
    Failure,
    args::{Connection, OutputArgs},
    client::Client,
    context, output,
};
use crate::{
    config::{JoinToken, parse_log},
    fleet::{InstanceView, NodeView},
    http::{NewToken, TokenCreated},
    identity,
    manifest::{Flaw, quantity::parse_duration_ms},
    model::{InstanceState, Name, Presence},
    simulate::{
        Board, MAX_NODES, Profile, Rate, Report, Share, Simulation, Span, Spread, Summary, Verdict,
    },
    support::Shutdown,
};
use clap::Args;
use hyper::Method;
use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tokio::time::{self, Instant, MissedTickBehavior};

/// How long a token is taken that was made for one simulation.
const TOKEN_TTL_MS: u64 = 86_400_000;
/// Connections over which nodes are removed.
const REMOVERS: usize = 8;
/// Problems that are told.
const MAX_PROBLEMS: usize = 10;
/// Longest name of the simulated nodes before their number.
const MAX_PREFIX: usize = 40;

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// How many nodes
    #[arg(long, default_value_t = 10, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_NODES)))]
    nodes: u32,
    /// Join with this token instead of making one; the API is then not needed
    #[arg(
        long,
        env = "FLEETCTL_JOIN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    join: Option<JoinToken>,
    /// What the names of the nodes begin with
    #[arg(long, default_value = "sim", value_name = "NAME", value_parser = parse_prefix)]
    name: String,
    /// Label, with values that the nodes get in turn; may be repeated
    #[arg(short = 'l', long = "label", value_name = "KEY=A,B,C", value_parser = Spread::parse)]
    labels: Vec<Spread>,
    /// What the nodes are, in turn
    #[arg(
        long = "profile",
        value_enum,
        value_delimiter = ',',
        default_value = "pi4"
    )]
    boards: Vec<Board>,
    /// Spread the start of the nodes over this time
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_duration_ms)]
    ramp: u64,
    /// Stop after this time, else with Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    duration: Option<u64>,
    /// How long the fleet may take to be well at the end
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration_ms)]
    settle: u64,
    /// How long an instance takes to start
    #[arg(long, default_value = "50ms..500ms", value_name = "TIME..TIME", value_parser = Span::parse)]
    start_time: Span,
    /// Launches that fail
    #[arg(long, default_value = "0%", value_name = "SHARE", value_parser = Share::parse)]
    fail: Share,
    /// Instances that crash
    #[arg(long, default_value = "0%/min", value_name = "RATE", value_parser = Rate::parse)]
    crash: Rate,
    /// Nodes whose connection breaks, without a good-bye
    #[arg(long, default_value = "0%/min", value_name = "RATE", value_parser = Rate::parse)]
    churn: Rate,
    /// Nodes whose agent hangs
    #[arg(long, default_value = "0%/min", value_name = "RATE", value_parser = Rate::parse)]
    freeze: Rate,
    /// How long such a node is away
    #[arg(long, default_value = "10s..60s", value_name = "TIME..TIME", value_parser = Span::parse)]
    away: Span,
    /// Instances of this version never work: they end with exit code 1 once started
    #[arg(long, value_name = "VERSION")]
    poison: Option<String>,
    /// Where chance begins, to see the same again
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Directory for what the nodes remember; a temporary one by default
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Leave the nodes in the fleet at the end, and their files
    #[arg(long)]
    keep: bool,
    /// Log level of the agents
    #[arg(long, default_value = "off", value_name = "FILTER", value_parser = parse_log)]
    log: String,
    #[command(flatten)]
    output: OutputArgs,
}

fn parse_prefix(text: &str) -> Result<String, Flaw> {
    if text.len() <= MAX_PREFIX && text.parse::<Name>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(Flaw::new("that cannot be the beginning of a node's name")
        .hint("at most 40 lower-case letters, digits and `-`, as in \"sim\""))
}

impl SimulateArgs {
    fn profile(&self) -> Profile {
        Profile {
            nodes: self.nodes,
            prefix: self.name.clone(),
            boards: self.boards.clone(),
            labels: self.labels.clone(),
            ramp_ms: self.ramp,
            start_time: self.start_time,
            fail: self.fail,
            crash: self.crash,
            churn: self.churn,
            freeze: self.freeze,
            away: self.away,
            poison: self.poison.clone(),
            seed: self.seed.unwrap_or_else(|| {
                // Short enough to be typed again.
                crate::support::clock::seed() % 1_000_000
            }),
            state: self.state.clone(),
        }
    }
}

pub(super) fn run(connection: &Connection, args: &SimulateArgs) -> Result<ExitCode, Failure> {
    start_log(&args.log);
    // With a token the fleet can be joined also from where its API cannot be reached.
    let target = match context::resolve(connection) {
        Ok(target) => Some(target),
        Err(_) if args.join.is_some() => None,
        Err(failure) => return Err(failure),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(simulate(target.map(Client::new), args))
}

fn start_log(filter: &str) {
    use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};
    let filter: Targets = format!("rumqttc=off,{filter}").parse().unwrap_or_default();
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .init();
}

async fn simulate(mut client: Option<Client>, args: &SimulateArgs) -> Result<ExitCode, Failure> {
    let shutdown = Shutdown::on_signals();
    let made = match (&args.join, &mut client) {
        (Some(_), _) => None,
        (None, Some(client)) => Some(make_token(client).await?),
        (None, None) => return Err(Failure::usage("give a token with --join")),
    };
    let token = match (&made, &args.join) {
        (Some(text), _) => JoinToken::parse(text).map_err(|f| Failure::new(f.to_string()))?,
        (None, Some(given)) => given.clone(),
        (None, None) => return Err(Failure::usage("give a token with --join")),
    };
    let result = go_through(&mut client, args, &token, &shutdown).await;
    if let (Some(client), Some(text)) = (&mut client, &made) {
        revoke_token(client, text).await;
    }
    let report = result?;
    output::one(args.output.output, &report, fields)?;
    Ok(match report.converged {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// From the first node's start to the last one's end.
async fn go_through(
    client: &mut Option<Client>,
    args: &SimulateArgs,
    token: &JoinToken,
    shutdown: &Shutdown,
) -> Result<Report, Failure> {
    let mut simulation = Simulation::start(args.profile(), token)?;
    let mut line = Line::new();
    let end = args
        .duration
        .map(|ms| Instant::now() + Duration::from_millis(ms));
    tokio::select! {
        () = shutdown.wait() => {}
        () = show(&simulation, &mut line, "") => {}
        () = until(end) => {}
    }
    simulation.calm().await;
    let patience = Instant::now() + Duration::from_millis(args.settle);
    let (verdict, settled) = settle(&simulation, client, &mut line, patience).await;
    let report = simulation.report(verdict, settled);
    line.end();
    let joined = simulation.joined();
    simulation.stop().await;
    if args.keep {
        let place = simulation.keep().display().to_string();
        eprintln!("the nodes stay in the fleet; to go on with them: --state {place}");
    } else if let Some(client) = client {
        leave(client, joined).await;
    } else if !joined.is_empty() {
        eprintln!("the nodes stay in the fleet, since its API was not given: `fleetctl node rm`");
    }
    Ok(report)
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Shows how it stands, once a second, for ever.
async fn show(simulation: &Simulation, line: &mut Line, phase: &str) {
    let mut seconds = time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        line.show(simulation, phase);
    }
}

/// Until everything is well, here and in the controller's eyes, or patience is at its end.
async fn settle(
    simulation: &Simulation,
    client: &mut Option<Client>,
    line: &mut Line,
    patience: Instant,
) -> (Verdict, bool) {
    let mut looks = time::interval(Duration::from_secs(1));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        line.show(simulation, "settling, ");
        let settled = simulation.progress().is_settled();
        let over = Instant::now() >= patience;
        if settled || over {
            let verdict = match client {
                Some(client) => ask(client, simulation).await,
                None => Verdict::default(),
            };
            // Asking takes a while in a large fleet, and the nodes go on meanwhile.
            let settled = simulation.progress().is_settled();
            if over || (settled && verdict.converged != Some(false)) {
                return (verdict, settled);
            }
        }
    }
}

/// What the controller thinks of the simulated nodes.
async fn ask(client: &mut Client, simulation: &Simulation) -> Verdict {
    let names: BTreeSet<Name> = simulation.joined().into_iter().collect();
    match problems(client, &names).await {
        Ok(problems) => Verdict {
            reachable: true,
            converged: Some(problems.is_empty()),
            problems: problems.into_iter().take(MAX_PROBLEMS).collect(),
        },
        Err(failure) => Verdict {
            reachable: false,
            converged: None,
            problems: vec![failure.message],
        },
    }
}

/// What is not as the controller wants it.
async fn problems(client: &mut Client, names: &BTreeSet<Name>) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    let nodes: Vec<NodeView> = client.list("/api/v1/nodes").await?;
    let known: BTreeSet<&Name> = nodes.iter().map(|n| &n.name).collect();
    for missing in names.iter().filter(|n| !known.contains(n)) {
        all.push(format!("{missing} is not in the fleet"));
    }
    for node in nodes.iter().filter(|n| names.contains(&n.name)) {
        let name = &node.name;
        if node.state != Presence::Online {
            all.push(format!("{name} is {}: {}", node.state, node.reason));
        } else if node.observed_generation != node.generation {
            let (has, wanted) = (node.observed_generation, node.generation);
            all.push(format!(
                "{name} has generation {has} in effect, not {wanted}"
            ));
        }
    }
    let instances: Vec<InstanceView> = client.get("/api/v1/instances").await?;
    for i in &instances {
        let Some(node) = i.node.as_ref().filter(|n| names.contains(*n)) else {
            continue;
        };
        let (workload, state) = (&i.workload, i.state);
        let stopped = state == InstanceState::Stopped;
        if !stopped && !state.is_well() {
            all.push(format!("{workload} on {node} is {state}: {}", i.reason));
        } else if !stopped && !i.up_to_date {
            all.push(format!("{workload} on {node} is not of the wanted version"));
        }
    }
    Ok(all)
}

async fn make_token(client: &mut Client) -> Result<String, Failure> {
    let new = NewToken {
        kind: "join".into(),
        name: "simulate".into(),
        role: None,
        ttl_ms: Some(TOKEN_TTL_MS),
        uses: None,
    };
    let created: TokenCreated = client.post("/api/v1/tokens", &new).await?;
    Ok(created.token)
}

async fn revoke_token(client: &mut Client, text: &str) {
    let Ok(token) = identity::JoinToken::decode(text) else {
        return;
    };
    let path = format!("/api/v1/tokens/{}", token.id);
    if let Err(failure) = client.order(Method::DELETE, &path, None::<&()>).await {
        let message = failure.message;
        eprintln!("the token that was made for this could not be revoked: {message}");
    }
}

/// The fleet forgets the nodes.
async fn leave(client: &Client, names: Vec<Name>) {
    let each = names.len().div_ceil(REMOVERS).max(1);
    let removing = names.chunks(each).map(|part| {
        let mut client = client.another();
        async move {
            let mut failed = None;
            for name in part {
                let path = format!("/api/v1/nodes/{name}");
                let gone = client.order(Method::DELETE, &path, None::<&()>).await;
                failed = failed.or(gone.err().map(|f| (name, f.message)));
            }
            failed
        }
    });
    let failed = futures_util::future::join_all(removing).await;
    if let Some((name, message)) = failed.into_iter().flatten().next() {
        eprintln!("not every node could be removed, such as {name}: {message}");
    }
}

/// The line of progress: written over on a terminal, else one after the other.
struct Line {
    terminal: bool,
    shown: usize,
    messages: u64,
    at: Instant,
}

impl Line {
    fn new() -> Line {
        Line {
            terminal: std::io::stderr().is_terminal(),
            shown: 0,
            messages: 0,
            at: Instant::now(),
        }
    }

    fn show(&mut self, simulation: &Simulation, phase: &str) {
        let stands = simulation.progress();
        let passed = self.at.elapsed().as_secs_f64().max(0.001);
        let rate = (stands.messages - self.messages) as f64 / passed;
        (self.messages, self.at) = (stands.messages, Instant::now());
        let age = simulation.age().as_secs();
        let mut text = format!("{age:>4}s  {phase}{stands}, {rate:.0} messages/s");
        if let Some(trouble) = stands.troubles.first() {
            text.push_str(&format!("; {}", output::visible(trouble)));
        }
        let mut err = std::io::stderr().lock();
        // Whoever closed stderr does not want to know.
        let _ = if self.terminal {
            let width = self.shown.max(text.chars().count());
            self.shown = text.chars().count();
            write!(err, "\r{text:width$}")
        } else {
            writeln!(err, "{text}")
        };
    }

    fn end(&mut self) {
        if self.terminal && self.shown > 0 {
            eprintln!();
        }
    }
}

fn times(of: &Summary) -> String {
    if of.count == 0 {
        return "-".into();
    }
    format!(
        "{} ms (p50), {} ms (p99), {} ms at most, of {}",
        of.p50_ms, of.p99_ms, of.max_ms, of.count
    )
}

fn fields(r: &Report) -> Vec<(&'static str, String)> {
    let yes = |b| if b { "yes" } else { "no" }.to_owned();
    let f = &r.faults;
    let controller = match r.controller.converged {
        Some(true) => "all is as it wants it".to_owned(),
        Some(false) => r.controller.problems.join("\n"),
        None if r.controller.problems.is_empty() => "was not asked".to_owned(),
        None => r.controller.problems.join("\n"),
    };
    vec![
        ("converged", yes(r.converged)),
        (
            "nodes",
            format!(
                "{} of {} connected, {} joined",
                r.connected, r.nodes, r.joined
            ),
        ),
        ("joined in", times(&r.joined_in)),
        ("reconnects", r.reconnects.to_string()),
        ("assignments", r.assignments.to_string()),
        (
            "instances",
            format!("{} of {} running", r.instances_running, r.instances_wanted),
        ),
        ("running in", times(&r.running_in)),
        ("heartbeats", r.heartbeats.to_string()),
        (
            "messages",
            format!("{} sent, {} received", r.messages_sent, r.messages_received),
        ),
        (
            "faults",
            format!(
                "{} launches failed, {} crashes, {} poisoned, {} cut off, {} frozen",
                f.launches_failed, f.crashes, f.poisoned, f.cut_off, f.frozen
            ),
        ),
        ("troubles", r.troubles.join("\n")),
        (
            "this process",
            format!(
                "{} of memory ({} at most), {} s of processor time in {} s",
                output::bytes(r.process.rss),
                output::bytes(r.process.rss_max),
                r.process.cpu_s,
                r.took_s
            ),
        ),
        ("controller", controller),
        ("seed", r.seed.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn typed(words: &str) -> Result<SimulateArgs, String> {
        let words = std::iter::once("simulate").chain(words.split_whitespace());
        let typed = Typed::try_parse_from(words).map_err(|e| e.to_string())?;
        Ok(typed.args)
    }

    #[test]
    fn everything_can_be_said_and_nothing_must() {
        let plain = typed("").unwrap().profile();
        assert_eq!((plain.nodes, plain.prefix.as_str()), (10, "sim"));
        assert_eq!(plain.start_time.to_string(), "50ms..500ms");
        let full = typed(
            "--nodes 1000 --label zone=a,b --label rack=1,2 --profile pi4,pc --ramp 30s \
             --duration 1m --start-time 1s --fail 1% --crash 0.1%/min --churn 5%/min \
             --freeze 1%/h --away 1s..2s --poison 2 --seed 7 --keep -o json --join token",
        );
        let full = full.unwrap();
        assert_eq!(full.duration, Some(60_000));
        let profile = full.profile();
        assert_eq!((profile.nodes, profile.seed), (1_000, 7));
        assert_eq!(profile.boards, [Board::Pi4, Board::Pc]);
        assert_eq!(profile.labels.len(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            "--nodes 0",
            "--nodes 20001",
            "--name Not_A_Name",
            "--label zone",
            "--fail 101%",
            "--churn 5",
            "--away 2s..1s",
            "--ramp soon",
            "--profile toaster",
        ] {
            assert!(typed(words).is_err(), "{words}");
        }
    }
}
