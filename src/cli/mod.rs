//! The command line.
//!
//! The three roles run here; everything else is a client of the HTTP API. One file per command;
//! [`output`] prints, [`client`] asks, [`context`] knows whom to ask. Results go to stdout,
//! everything for the person watching to stderr. Exit codes: 0 done, 1 it failed, 2 wrong usage
//! (and, for `plan`: 0 nothing to change, 1 changes, 2 error).

mod adopt;
mod alerts;
mod apply;
mod args;
mod audit;
mod blobs;
mod check;
mod client;
mod cluster;
mod command;
mod complete;
mod config;
mod context;
mod deploy;
mod discover;
mod drain;
mod events;
mod exec;
mod files;
mod follow;
mod image;
mod local;
mod logs;
mod migrate;
mod node;
mod node_config;
mod output;
mod progress;
mod ps;
mod rebalance;
mod role;
mod rollout;
mod run;
mod simulate;
mod terminal;
mod token;
mod top;
mod traced;
mod upgrade;
mod validate;
mod versions;
mod when;
mod why;
mod workload;

use args::{Cli, Verb};
use clap::{CommandFactory, Parser};
use std::process::ExitCode;

/// Why a command failed: a sentence for stderr, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
    /// The controller said no.
    refused: bool,
    /// It said no to something that may be otherwise soon.
    conflict: bool,
}

impl Failure {
    fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            code: 1,
            refused: false,
            conflict: false,
        }
    }

    /// Trying again would not help: what was asked for is not there, or not allowed.
    fn is_final(&self) -> bool {
        self.refused
    }

    /// It was refused as something that is not so at this moment, and may be soon.
    fn is_conflict(&self) -> bool {
        self.conflict
    }

    fn usage(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            code: 2,
            refused: false,
            conflict: false,
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::new(crate::support::chain(&error))
    }
}

/// Everything.
pub fn main() -> ExitCode {
    // Answers the shell when it asks for completions, and does nothing else then.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(Failure { message, code, .. }) => {
            // Problems of a manifest already begin with the word.
            let head = if message.starts_with("error:") {
                ""
            } else {
                "error: "
            };
            eprintln!("{head}{message}");
            ExitCode::from(code)
        }
    }
}

/// The whole command line as data, for who documents it (`examples/man.rs`).
pub fn command_line() -> clap::Command {
    Cli::command()
}

/// What a shell reads once so that it completes commands of fleetctl: it asks the program `program`
/// each time. None for a shell that is not known.
///
/// # Errors
/// When the script cannot be written down.
pub fn completion(shell: &str, program: &str) -> std::io::Result<Option<String>> {
    complete::registration(shell, program)
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli {
        connection,
        local,
        verb,
    } = cli;
    if local.local {
        return local::run(&local, verb);
    }
    if let Some(form) = local::remote_form(&verb) {
        return Err(local::without_local(&form));
    }
    match verb {
        Verb::Run(args) => run::run(&args),
        Verb::Controller(args) => role::controller(&args),
        Verb::Agent(args) => role::agent(&args),
        Verb::Broker(args) => role::broker(&args),
        Verb::Check(args) if args.ready => check::ready(&connection),
        Verb::Check(args) => check::run(&args),
        Verb::Discover(args) => discover::run(&args),
        Verb::Simulate(args) => simulate::run(&connection, &args),
        Verb::Config(verb) => config::run(verb),
        Verb::Validate(args) => validate::run(&args),
        Verb::Completion { shell } => complete::script(shell),
        Verb::Openapi => {
            output::print(&crate::http::openapi_document())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Context(verb) => context::run(verb),
        // Without anybody to ask it still says what it is.
        Verb::Version if context::resolve(&connection).is_err() => {
            output::print(&format!(
                "fleetctl   {}\n",
                crate::support::release::version()
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Audit(args) if args.file().is_some() => audit::offline(&args),
        other => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut client = client::Client::new(context::resolve(&connection)?);
                let invocation = traced::Invocation::begin(&other);
                client.belong_to(invocation.context(), invocation.is_followed());
                let outcome = operate(client, other).await;
                invocation.end(&outcome).await;
                outcome
            })
        }
    }
}

async fn operate(mut client: client::Client, verb: Verb) -> Result<ExitCode, Failure> {
    let done = match verb {
        Verb::Apply(args) => return apply::apply(&mut client, args).await,
        Verb::Plan(args) => return apply::plan(&mut client, args).await,
        Verb::Exec(args) => return exec::run(&mut client, args).await,
        Verb::Rollout(verb) => return rollout::run(&mut client, verb).await,
        Verb::Instance(verb) => return migrate::run(&mut client, verb).await,
        Verb::Rebalance(args) => return rebalance::run(&mut client, args).await,
        Verb::Command(verb) => return command::run(&mut client, verb).await,
        Verb::Image(verb) => return image::run(&mut client, verb).await,
        Verb::Upgrade(args) => return upgrade::run(&mut client, *args).await,
        Verb::Top(args) => return top::run(&mut client, args).await,
        Verb::Deploy(args) => return deploy::run(&mut client, *args).await,
        Verb::Rm(args) => apply::rm(&mut client, args).await,
        Verb::Adopt(args) => adopt::run(&mut client, args).await,
        Verb::Ps(args) => ps::run(&mut client, args).await,
        Verb::Logs(args) => logs::run(&mut client, args).await,
        Verb::Node(verb) => return node::run(&mut client, verb).await,
        Verb::Workload(verb) => return workload::run(&mut client, verb).await,
        Verb::Versions(args) => versions::run(&mut client, args).await,
        Verb::Cluster(verb) => cluster::run(&mut client, verb).await,
        Verb::Token(verb) => token::run(&mut client, verb).await,
        Verb::Alerts(args) => alerts::run(&mut client, args).await,
        Verb::Events(args) => events::run(&mut client, args).await,
        Verb::Audit(args) => audit::run(&mut client, args).await,
        Verb::Version => client.version().await,
        _ => Ok(()),
    };
    done.map(|()| ExitCode::SUCCESS)
}
