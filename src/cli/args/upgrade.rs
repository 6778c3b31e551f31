//! Upgrading the agents through the fleet.

use super::{OutputArgs, Unasked};
use crate::{
    manifest::quantity::parse_duration_ms,
    model::{Name, Share, Window},
};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What is behind `--help`.
const ABOUT: &str = "\
Upgrade the agents of the fleet, step by step, each with a way back

Without a verb: bring a release to the agents. It is a rollout of the workload fleetctl-agent: one \
canary first, then a fifth of the nodes at a time. Each agent keeps its old program, starts the new \
one, and goes back by itself unless the new one is well in time; workloads are not touched. \
`fleetctl rollout pause|resume|promote|abort|show fleetctl-agent` as for any other.

With -l or --node only these nodes are upgraded, now and when they join later. All others are left \
out: the fleet decides nothing there, and they keep the release that they have, until an upgrade \
includes them.

A FILE (a binary, a release's .tar.gz, a directory of them) is pushed first; with --plan nothing is \
sent, and what would be pushed is said.";

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    long_about = ABOUT,
    override_usage = "fleetctl upgrade [OPTIONS] VERSION|FILE...\n       fleetctl upgrade <COMMAND>"
)]
pub(in crate::cli) struct UpgradeArgs {
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<UpgradeVerb>,
    #[command(flatten)]
    pub(in crate::cli) to: UpgradeToArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum UpgradeVerb {
    /// Bring binaries to the controller, which gives them to the agents; goes on where a line broke
    Push {
        /// Binary of fleetctl, tarball of a release, or directory of them; a SHA256SUMS beside them
        /// is looked at
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List the binaries that the controller has
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Take the binaries of a release away; what agents run is not touched
    Rm {
        /// Release
        #[arg(value_name = "VERSION")]
        version: String,
        #[command(flatten)]
        unasked: Unasked,
    },
    /// Show which release each node has, and how it stands to the one that is wanted
    Status {
        /// Show it again whenever it changes
        #[arg(short, long)]
        watch: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Go back to the release before, or to what was installed on the boards
    Rollback {
        /// Revision or version, as in `workload history fleetctl-agent` [default: the last good one]
        #[arg(long, value_name = "REVISION|VERSION")]
        to: Option<String>,
        /// Wait until it is everywhere
        #[arg(long)]
        wait: bool,
        /// Longest wait
        #[arg(long, default_value = "10m", value_parser = parse_duration_ms, value_name = "TIME")]
        timeout: u64,
        #[command(flatten)]
        unasked: Unasked,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UpgradeToArgs {
    /// Release to upgrade to; or files of one release, which are pushed first
    #[arg(value_name = "VERSION|FILE", conflicts_with = "to")]
    pub(in crate::cli) what: Vec<String>,
    /// Release to upgrade to
    #[arg(long, value_name = "VERSION")]
    pub(in crate::cli) to: Option<String>,
    /// Nodes that change before all others [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub(in crate::cli) canary: Option<u32>,
    /// Wait for `fleetctl rollout promote fleetctl-agent` once the canaries are well
    #[arg(long)]
    pub(in crate::cli) hold: bool,
    /// Nodes that change at the same time, as in 3 or 20% [default: 20%]
    #[arg(long, value_name = "SHARE")]
    pub(in crate::cli) max_parallel: Option<Share>,
    /// Only while this is open, as in '0 2 * * * for 2h in Europe/Berlin'; may be repeated
    #[arg(long, value_name = "WINDOW", value_parser = window)]
    pub(in crate::cli) window: Vec<Window>,
    /// So long a new agent must have been well [default: 10s]
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) min_healthy_time: Option<u64>,
    /// One that is not well after so long has failed [default: 3m]
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) healthy_deadline: Option<u64>,
    /// No further node has become well for so long: it has failed [default: 10m]
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) progress_deadline: Option<u64>,
    /// At a failure stop, and leave the nodes that have changed as they are
    #[arg(long)]
    pub(in crate::cli) no_rollback: bool,
    /// Label by whose value nodes change one group after the other
    #[arg(long, value_name = "LABEL")]
    pub(in crate::cli) sequence: Option<String>,
    /// Only nodes with this label or capability, as in zone=lab; may be repeated
    #[arg(short = 'l', long = "label", value_name = "REQUIREMENT")]
    pub(in crate::cli) labels: Vec<String>,
    /// Only this node; may be repeated
    #[arg(long = "node", value_name = "NODE")]
    pub(in crate::cli) nodes: Vec<Name>,
    /// Only show what would be done
    #[arg(long, conflicts_with_all = ["yes", "wait"])]
    pub(in crate::cli) plan: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
    /// Wait until it is everywhere; fails when it is not
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// Longest wait
    #[arg(long, default_value = "30m", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) timeout: u64,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

/// `CRON for DURATION`, and ` in ZONE` where it is not UTC.
fn window(text: &str) -> Result<Window, String> {
    let form = "write when it opens and for how long, as in '0 2 * * * for 2h'";
    let (opens, rest) = text.split_once(" for ").ok_or(form)?;
    let (duration, time_zone) = match rest.split_once(" in ") {
        Some((duration, zone)) => (duration, Some(zone.trim().to_owned())),
        None => (rest, None),
    };
    Ok(Window {
        opens: opens.trim().to_owned(),
        duration_ms: parse_duration_ms(duration.trim()).map_err(|e| e.message)?,
        time_zone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_written_as_it_is_said() {
        let read = window("0 2 * * 1,3 for 2h in Europe/Berlin").unwrap();
        assert_eq!(read.opens, "0 2 * * 1,3");
        assert_eq!(read.duration_ms, 7_200_000);
        assert_eq!(read.time_zone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(window("@daily for 90m").unwrap().time_zone, None);
        assert!(window("0 2 * * *").is_err());
        assert!(window("0 2 * * * for ever").is_err());
    }
}
