//! `fleetctl --local …`: this machine's own agent, by its socket, with or without a fleet.
//!
//! Knows `ps`, `logs`, `status`, `start`, `stop`, `restart`, `reload` and `down`. Everything else
//! is for a controller.

mod socket;

use super::{
    Failure,
    args::{ListArgs, LocalArgs, LogsArgs, OutputArgs, Verb},
    output,
};
use crate::{
    agent::{AgentKind, LocalLine, LocalStatus},
    model::{InstanceState, LogLine, Name, ObservedInstance},
};
use hyper::Method;
use socket::{Lines, Socket};
use std::{collections::BTreeMap, process::ExitCode, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

const HEAD: [&str; 12] = [
    "WORKLOAD", "STATE", "RUNTIME", "VERSION", "RESTARTS", "SINCE", "REASON", "EXIT", "HEALTH",
    "RUNS", "HANDLE", "WARNINGS",
];

/// How one of our verbs is said to a controller; `None` for what is not one of them.
pub(super) fn remote_form(verb: &Verb) -> Option<String> {
    let of = |order: &str, names: &[Name]| {
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        format!("`fleetctl workload {order} {}`", names.join(" "))
    };
    Some(match verb {
        Verb::Start(args) => of("start", &args.workloads),
        Verb::Stop(args) => of("stop", &args.workloads),
        Verb::Restart(args) => of("restart", &args.workloads),
        Verb::Status(_) => "`fleetctl node ls` or `fleetctl ps`".to_owned(),
        Verb::Reload => "`fleetctl apply`".to_owned(),
        Verb::Down => "`fleetctl workload stop`".to_owned(),
        _ => return None,
    })
}

/// What is said without `--local` to a verb of ours.
pub(super) fn without_local(form: &str) -> Failure {
    Failure::usage(format!(
        "this speaks to the agent on this machine: say `fleetctl --local …` on the node itself; \
         for a fleet use {form}"
    ))
}

/// Runs one of our verbs.
pub(super) fn run(given: &LocalArgs, verb: Verb) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut socket = Socket::new(given);
        match verb {
            Verb::Ps(args) => ps(&mut socket, args).await,
            Verb::Logs(args) => logs(&mut socket, args).await,
            Verb::Status(args) => status(&mut socket, &args).await,
            Verb::Start(args) => order(&mut socket, &args.workloads, "start", "started").await,
            Verb::Stop(args) => order(&mut socket, &args.workloads, "stop", "stopped").await,
            Verb::Restart(args) => {
                order(&mut socket, &args.workloads, "restart", "restarted").await
            }
            Verb::Reload => reload(&mut socket).await,
            Verb::Down => down(&mut socket).await,
            _ => Err(Failure::usage(
                "`fleetctl --local` knows ps, logs, status, start, stop, restart, reload and down; \
                 everything else is asked of a controller, without --local",
            )),
        }
    })
}

async fn fetch(socket: &mut Socket) -> Result<LocalStatus, Failure> {
    socket.get("/v1/status").await
}

async fn ps(socket: &mut Socket, args: ListArgs) -> Result<ExitCode, Failure> {
    if !args.labels.is_empty() {
        return Err(Failure::usage(
            "-l selects nodes, and there is one here: leave it out with --local",
        ));
    }
    let mut last = String::new();
    loop {
        let status = fetch(socket).await?;
        let text = output::render_list(args.output.output, &status.instances, &HEAD, row)?;
        if text != last {
            if args.watch && !last.is_empty() {
                output::print("\n")?;
            }
            output::print(&text)?;
            last = text;
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn row(i: &ObservedInstance, wide: bool) -> Vec<String> {
    let state = match (i.state, i.progress) {
        (InstanceState::Pulling, Some(percent)) => format!("pulling {percent}%"),
        (state, _) => state.to_string(),
    };
    let reason = match (&i.reason, i.next_run_ms) {
        (None, Some(next)) if i.state == InstanceState::Scheduled => {
            format!("next run {} UTC", output::utc(next))
        }
        (reason, _) => reason.clone().unwrap_or_default(),
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut cells = vec![
        i.workload.to_string(),
        state,
        i.runtime.to_string(),
        i.version.clone(),
        i.restarts.to_string(),
        output::ago(i.since_ms),
        reason,
    ];
    if wide {
        cells.push(or_dash(i.exit_code.map(|code| code.to_string())));
        cells.push(or_dash(i.health.map(|health| health.to_string())));
        cells.push(or_dash(i.runs.map(|runs| runs.to_string())));
        let handle = i.handle.as_ref();
        cells.push(or_dash(handle.map(|h| h.chars().take(16).collect())));
        cells.push(i.warnings.join("; "));
    }
    cells
}

async fn status(socket: &mut Socket, args: &OutputArgs) -> Result<ExitCode, Failure> {
    let status = fetch(socket).await?;
    output::one(args.output, &status, fields)?;
    Ok(ExitCode::SUCCESS)
}

fn fields(status: &LocalStatus) -> Vec<(&'static str, String)> {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in &status.instances {
        *counted.entry(instance.state.as_str()).or_default() += 1;
    }
    let counted: Vec<String> = counted.iter().map(|(s, n)| format!("{n} {s}")).collect();
    let fleet = match (status.kind, status.connected) {
        (AgentKind::Standalone, _) => "none, a directory says what runs",
        (AgentKind::Joined, Some(true)) => "connected",
        (AgentKind::Joined, _) => "not connected, workloads go on",
    };
    let left_out = status.left_out.iter();
    let left_out: Vec<String> = left_out.map(|(w, why)| format!("{w}: {why}")).collect();
    let kept: Vec<&str> = status.kept.iter().map(Name::as_str).collect();
    let kept = match kept.is_empty() {
        true => String::new(),
        false => format!(
            "{} (as before, until the problems are mended)",
            kept.join(", ")
        ),
    };
    let problems: Vec<String> = status.problems.iter().map(ToString::to_string).collect();
    vec![
        ("node", status.node.to_string()),
        ("agent", format!("fleetctl {}", status.version)),
        ("fleet", fleet.to_owned()),
        ("directory", status.dir.clone().unwrap_or_default()),
        ("generation", status.generation.to_string()),
        ("instances", counted.join(", ")),
        ("left out", left_out.join("\n")),
        ("kept", kept),
        ("problems", problems.join("\n")),
    ]
}

async fn order(
    socket: &mut Socket,
    workloads: &[Name],
    verb: &str,
    done: &str,
) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    for workload in workloads {
        let path = format!("/v1/workloads/{workload}/{verb}");
        match socket.order(Method::POST, &path).await {
            Ok(()) => output::print(&format!("{workload} is {done}\n"))?,
            Err(failure) if workloads.len() == 1 => return Err(failure),
            // The others are not to wait for the one that fails.
            Err(failure) => {
                eprintln!("error: {}", failure.message);
                code = ExitCode::from(failure.code);
            }
        }
    }
    Ok(code)
}

async fn reload(socket: &mut Socket) -> Result<ExitCode, Failure> {
    socket.order(Method::POST, "/v1/reload").await?;
    let status = fetch(socket).await?;
    for (workload, reason) in &status.left_out {
        eprintln!("{workload} is left out: {}", output::visible(reason));
    }
    if status.problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for problem in &status.problems {
        eprintln!("{problem}\n");
    }
    Err(Failure::new(
        "not every manifest could be taken; what ran out of these goes on",
    ))
}

async fn down(socket: &mut Socket) -> Result<ExitCode, Failure> {
    let status = fetch(socket).await?;
    socket.order(Method::POST, "/v1/down").await?;
    output::print(match status.kind {
        AgentKind::Standalone => "everything is stopped, and the agent has ended\n",
        AgentKind::Joined => "everything is stopped until it is started or assigned anew\n",
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One workload after the other; following them, as their lines come.
async fn logs(socket: &mut Socket, args: LogsArgs) -> Result<ExitCode, Failure> {
    if args.node.is_some() {
        return Err(Failure::usage(
            "there is one node here: leave --node out with --local",
        ));
    }
    let several = args.workloads.len() > 1;
    let (lines, mut queue) = mpsc::channel::<Result<(Name, LogLine), Failure>>(64);
    let mut streams = Vec::new();
    // All are asked first, so that a name that is wrong is told before anything is shown.
    for workload in &args.workloads {
        let stream = socket.stream(&logs_path(workload, &args)).await?;
        streams.push((workload.clone(), stream));
    }
    tokio::spawn(async move {
        let mut following = JoinSet::new();
        for (workload, stream) in streams {
            let reading = pass_on(workload, stream, lines.clone());
            match args.follow {
                true => drop(following.spawn(reading)),
                false => reading.await,
            }
        }
        while following.join_next().await.is_some() {}
    });
    while let Some(item) = queue.recv().await {
        let (workload, line) = item?;
        let prefix = if several {
            format!("[{workload}] ")
        } else {
            String::new()
        };
        output::print(&shown(&prefix, args.timestamps, &line))?;
    }
    if args.follow {
        return Err(Failure::new("the agent has ended; its workloads go on"));
    }
    Ok(ExitCode::SUCCESS)
}

fn logs_path(workload: &Name, args: &LogsArgs) -> String {
    let mut path = format!("/v1/workloads/{workload}/logs?follow={}", args.follow);
    for (key, value) in [
        ("tail", args.tail.map(u64::from)),
        ("since", args.since),
        ("until", args.until),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={value}"));
        }
    }
    if let Some(stream) = args.stream {
        path.push_str(&format!("&stream={}", stream.as_str()));
    }
    path
}

async fn pass_on(
    workload: Name,
    mut stream: Lines,
    lines: mpsc::Sender<Result<(Name, LogLine), Failure>>,
) {
    loop {
        let item = match stream.next().await {
            Ok(None) => return,
            Ok(Some(text)) => match serde_json::from_str::<LocalLine>(&text) {
                Ok(LocalLine {
                    error: Some(error), ..
                }) => Err(Failure::new(format!(
                    "{workload}: {}",
                    output::visible(&error)
                ))),
                Ok(LocalLine {
                    line: Some(line), ..
                }) => Ok((workload.clone(), line)),
                Ok(_) => continue,
                Err(error) => Err(error.into()),
            },
            Err(failure) => Err(failure),
        };
        let ended = item.is_err();
        if lines.send(item).await.is_err() || ended {
            return;
        }
    }
}

fn shown(prefix: &str, timestamps: bool, line: &LogLine) -> String {
    let mut out = prefix.to_owned();
    if timestamps {
        out.push_str(&format!("{} ", output::utc(line.time_ns / 1_000_000)));
    }
    // A person's terminal must not be driven by a workload; a program gets what was written.
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        let harmless = |c: &char| *c == '\t' || !c.is_control();
        out.extend(line.text.chars().filter(harmless));
    } else {
        out.push_str(&line.text);
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::Parser;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn the_flag_stands_before_or_behind_the_verb() {
        for line in ["fleetctl --local ps", "fleetctl ps --local"] {
            assert!(parse(line).local.local, "{line}");
        }
        assert!(!parse("fleetctl ps").local.local);
    }

    #[test]
    fn without_the_flag_the_form_for_a_fleet_is_named() {
        for (line, form) in [
            ("fleetctl stop web db", "`fleetctl workload stop web db`"),
            ("fleetctl start web", "`fleetctl workload start web`"),
            ("fleetctl reload", "`fleetctl apply`"),
        ] {
            let form_of = remote_form(&parse(line).verb);
            assert_eq!(form_of.as_deref(), Some(form), "{line}");
        }
        assert_eq!(remote_form(&parse("fleetctl ps").verb), None);
        let failure = without_local("`fleetctl apply`");
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains("--local"), "{failure:?}");
    }

    #[test]
    fn a_request_for_logs_says_what_was_typed() {
        let line = "fleetctl --local logs web -n 5 --since 1795168800 --stream stderr";
        let Verb::Logs(args) = parse(line).verb else {
            panic!("another verb");
        };
        assert_eq!(
            logs_path(&args.workloads[0], &args),
            "/v1/workloads/web/logs?follow=false&tail=5&since=1795168800000000000&stream=stderr"
        );
    }
}
