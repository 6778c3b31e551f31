//! Tokens and contexts.

use super::{OutputArgs, Unasked};
use crate::{identity::Role, manifest::quantity::parse_duration_ms};
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum TokenKind {
    Join,
    Api,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenVerb {
    /// Make a token and print it; it is not shown again
    Create {
        /// For a machine that joins, or for the API
        #[arg(long, value_enum)]
        kind: TokenKind,
        /// Role of an API token: viewer, operator or admin [default: viewer]
        #[arg(long)]
        role: Option<Role>,
        /// How long it is taken [default: a join token 24h, an API token for ever]
        #[arg(long, value_parser = parse_duration_ms, value_name = "TIME")]
        ttl: Option<u64>,
        /// What it is called, for the audit trail
        #[arg(long, default_value = "")]
        name: String,
        /// Keep a join token in this file, for its owner only, and print nothing; none is made while
        /// the one that is there is taken
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Leave the addresses out of a join token: the machine finds the controller by itself in
        /// its local network
        #[arg(long)]
        no_address: bool,
        /// So many machines may join with a join token [default: any number]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        uses: Option<u32>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List tokens
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Take a token back
    Revoke {
        /// Its id, as listed
        id: String,
        #[command(flatten)]
        unasked: Unasked,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ContextVerb {
    /// List contexts
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remember a controller, and use it
    Add {
        /// Name
        name: String,
        /// Address of its API
        #[arg(long)]
        url: String,
        /// API token; asked for on standard input when it is -
        #[arg(long)]
        token: String,
        /// File with its CA; needed for https
        #[arg(long)]
        ca: Option<PathBuf>,
    },
    /// Use a context from now on
    Use {
        /// Name
        name: String,
    },
    /// Forget a context
    Rm {
        /// Name
        name: String,
        #[command(flatten)]
        unasked: Unasked,
    },
}
