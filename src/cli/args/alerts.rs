//! `alerts`.

use super::{OutputArgs, complete};
use crate::{manifest::quantity::parse_duration_ms, model::Name};
use clap::{ArgGroup, Args, Subcommand};
use clap_complete::ArgValueCandidates;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct AlertsArgs {
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<AlertsVerb>,
    #[command(flatten)]
    pub(in crate::cli) list: AlertListArgs,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct AlertListArgs {
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
    /// Also those that are over
    #[arg(short, long)]
    pub(in crate::cli) all: bool,
    /// Only of this node
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Option<Name>,
    /// Only of this workload
    #[arg(long, add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Option<Name>,
    /// Show it again whenever it changes
    #[arg(short, long)]
    pub(in crate::cli) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AlertsVerb {
    /// List alerts
    #[command(visible_alias = "list")]
    Ls(AlertListArgs),
    /// Show all about an alert
    Show {
        /// Its id, as listed
        #[arg(add = ArgValueCandidates::new(complete::alerts))]
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Tell nobody of an alert, or of all of a rule, node or workload, for a while
    Silence(SilenceArgs),
    /// Take a silence back
    Unsilence {
        /// Id of the alert, or what the silence is about as `alerts silences` shows it
        id: String,
    },
    /// List what nobody is told of now
    Silences {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List what is looked for
    Rules {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List who is told, and how that goes
    Receivers {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Try a receiver: tell it that this is a test
    Test {
        /// Its name in the controller's configuration
        receiver: Name,
    },
}

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("what").required(true).multiple(true).args(["id", "rule", "node", "workload"])
))]
pub(in crate::cli) struct SilenceArgs {
    /// Id of the alert, as listed
    #[arg(
        conflicts_with_all = ["rule", "node", "workload"],
        add = ArgValueCandidates::new(complete::alerts)
    )]
    pub(in crate::cli) id: Option<String>,
    /// Every alert of this rule, also those that are to come
    #[arg(long)]
    pub(in crate::cli) rule: Option<String>,
    /// Every alert of this node
    #[arg(long, add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Option<Name>,
    /// Every alert of this workload
    #[arg(long, add = ArgValueCandidates::new(complete::workloads))]
    pub(in crate::cli) workload: Option<Name>,
    /// For how long: 30m, 2h, 7d
    #[arg(long = "for", value_parser = parse_duration_ms, value_name = "TIME")]
    pub(in crate::cli) for_ms: u64,
    /// Why
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(in crate::cli) comment: String,
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Verb};
    use super::*;
    use clap::Parser;

    fn typed(line: &str) -> Result<AlertsArgs, clap::Error> {
        match Cli::try_parse_from(line.split_whitespace())?.verb {
            Verb::Alerts(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn alerts_without_a_verb_lists_them() {
        let args = typed("fleetctl alerts -o json --all --node pi").unwrap();
        assert!(args.verb.is_none() && args.list.all && args.list.node.is_some());
        let args = typed("fleetctl alerts ls -w").unwrap();
        assert!(matches!(args.verb, Some(AlertsVerb::Ls(list)) if list.watch));
    }

    #[test]
    fn a_silence_is_of_one_alert_or_of_all_that_fit() {
        for line in [
            "fleetctl alerts silence disk.pi --for 2h",
            "fleetctl alerts silence --node pi --for 2h --comment mending",
            "fleetctl alerts silence --rule disk --workload web --for 1d",
        ] {
            typed(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        for line in [
            "fleetctl alerts silence --for 2h",
            "fleetctl alerts silence disk.pi",
            "fleetctl alerts silence disk.pi --node pi --for 2h",
            "fleetctl alerts silence disk.pi --for long",
        ] {
            assert!(typed(line).is_err(), "{line}");
        }
        let said = typed("fleetctl alerts silence --for 2h").unwrap_err();
        let said = said.to_string();
        for word in ["ID", "--rule", "--node", "--workload"] {
            assert!(said.contains(word), "{word} in {said}");
        }
    }
}
