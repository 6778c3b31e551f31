//! Images.

use super::{OutputArgs, complete};
use crate::{
    image::Platform,
    manifest::quantity::parse_duration_ms,
    model::{Name, RuntimeKind},
};
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ImageVerb {
    /// Bring an image to the controller, and from there to nodes; only what they lack is sent
    #[command(
        after_help = "An image is given by its name in the local Docker or Podman, or as an \
        archive: what `docker save` or `podman save` wrote, an OCI layout, both also as .tar.gz or \
        as a directory.\n\n\
        fleetctl image push app:1 --all\n\
        fleetctl image push app.tar.gz --as registry.example/app:1 --to kiosk-1,kiosk-2\n\
        docker save app:1 | fleetctl image push /dev/stdin -l zone=hall"
    )]
    Push(ImagePushArgs),
    /// List the images that the controller keeps, or those of a node
    Ls(ImageListArgs),
    /// Take images away that no workload names, from the controller or from nodes
    Prune(ImagePruneArgs),
}

/// Nodes that are meant.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Nodes")]
pub(in crate::cli) struct ImageNodes {
    /// Every node with this label or capability; may be repeated
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE")]
    pub(in crate::cli) labels: Vec<String>,
    /// Every node that has a container engine; with -l every such one that it picks
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Nodes at the same time at most [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(in crate::cli) max_parallel: Option<u32>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImagePushArgs {
    /// Name of an image, or an archive
    #[arg(value_name = "REF|ARCHIVE")]
    pub(in crate::cli) source: String,
    /// Nodes that fetch it then; may be repeated
    #[arg(long, value_name = "NODE", value_delimiter = ',', add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) to: Vec<Name>,
    #[command(flatten)]
    pub(in crate::cli) nodes: ImageNodes,
    /// Into this engine of each node only: docker or podman [default: every one that it has]
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    pub(in crate::cli) into: Option<RuntimeKind>,
    /// Where a name is looked for: docker, podman, or the path of a socket
    #[arg(long, value_name = "ENGINE|SOCKET")]
    pub(in crate::cli) engine: Option<String>,
    /// Only this platform of an image for several, as in linux/arm64
    #[arg(long)]
    pub(in crate::cli) platform: Option<Platform>,
    /// The name that it gets
    #[arg(long = "as", value_name = "REF")]
    pub(in crate::cli) name: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImageListArgs {
    /// What the engines of this node have
    #[arg(long, value_name = "NODE", add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Option<Name>,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImagePruneArgs {
    /// Only these images, whether a workload names them or not
    #[arg(value_name = "REF")]
    pub(in crate::cli) images: Vec<String>,
    /// Images that no workload names, which is what is meant without a name; of nodes also those that
    /// have a name, instead of only what a newer image left behind
    #[arg(long, conflicts_with = "images")]
    pub(in crate::cli) unused: bool,
    /// Only what was pushed before so long
    #[arg(long, default_value = "1d", value_parser = parse_duration_ms, value_name = "TIME",
        conflicts_with_all = ["images", "node", "labels", "all"])]
    pub(in crate::cli) older_than: u64,
    /// From the engines of these nodes instead of from the controller; may be repeated
    #[arg(long, value_name = "NODE", value_delimiter = ',', add = ArgValueCandidates::new(complete::nodes))]
    pub(in crate::cli) node: Vec<Name>,
    #[command(flatten)]
    pub(in crate::cli) nodes: ImageNodes,
    /// Do not ask
    #[arg(short = 'y', long)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}

fn engine(text: &str) -> Result<RuntimeKind, String> {
    match text {
        "docker" => Ok(RuntimeKind::Docker),
        "podman" => Ok(RuntimeKind::Podman),
        _ => Err("docker or podman".to_owned()),
    }
}
