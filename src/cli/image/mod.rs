//! `image`: images brought to the controller and to nodes, listed, and taken away.
//!
//! | file | about |
//! |---|---|
//! | [`source`] | where an image comes from on this machine: an archive, Docker, Podman |
//! | [`push`] | its blobs to the controller, and the order to nodes |
//! | [`nodes`] | one order to many nodes, and how they get on |
//! | [`prune`] | what may go |

mod nodes;
mod prune;
mod push;
mod source;

use super::{
    Failure,
    args::{ImageListArgs, ImageVerb},
    client::Client,
    output,
};
use crate::{
    http::ImageView,
    model::{Name, NodeImage},
    runtime::Reference,
};
use std::process::ExitCode;

const HEAD: [&str; 8] = [
    "IMAGE",
    "PLATFORMS",
    "SIZE",
    "SHARED",
    "PUSHED",
    "BY",
    "WORKLOADS",
    "MANIFEST",
];
const NODE_HEAD: [&str; 6] = ["ENGINE", "IMAGE", "ID", "SIZE", "BUILT", "CONTAINERS"];

pub(super) async fn run(client: &mut Client, verb: ImageVerb) -> Result<ExitCode, Failure> {
    match verb {
        ImageVerb::Push(args) => push::push(client, args).await,
        ImageVerb::Prune(args) => prune::run(client, args).await,
        ImageVerb::Ls(ImageListArgs { node, output }) => {
            match node {
                None => {
                    let images: Vec<ImageView> = client.get("/api/v1/images").await?;
                    output::list(output.output, &images, &HEAD, row)?;
                }
                Some(node) => {
                    let images = of_node(client, &node).await?;
                    output::list(output.output, &images, &NODE_HEAD, node_row)?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn of_node(client: &mut Client, node: &Name) -> Result<Vec<NodeImage>, Failure> {
    client.get(&format!("/api/v1/nodes/{node}/images")).await
}

fn row(view: &ImageView, wide: bool) -> Vec<String> {
    let workloads: Vec<&str> = view.workloads.iter().map(Name::as_str).collect();
    let mut row = vec![
        short(&view.image.reference).to_owned(),
        view.image.platforms.join(","),
        output::bytes(view.size),
        output::bytes(view.shared),
        output::ago(view.added_ms),
        view.by.clone().unwrap_or_default(),
        workloads.join(","),
    ];
    if wide {
        row.push(view.image.manifest.to_string());
    }
    row
}

fn node_row(image: &NodeImage, wide: bool) -> Vec<String> {
    let names: Vec<&str> = image.references.iter().map(|name| short(name)).collect();
    let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    vec![
        image.engine.to_string(),
        names.join(","),
        if wide { id } else { id.get(..12).unwrap_or(id) }.to_owned(),
        output::bytes(image.size),
        output::ago(image.created_s.saturating_mul(1_000)),
        image.containers.to_string(),
    ]
}

/// As people write it.
fn short(reference: &str) -> &str {
    let hub = reference.strip_prefix("docker.io/");
    match hub {
        Some(rest) => rest.strip_prefix("library/").unwrap_or(rest),
        None => reference,
    }
}

/// A name that an image can be kept by, fully qualified.
fn qualified(written: &str) -> Result<Reference, Failure> {
    let reference = Reference::parse(written).map_err(|e| Failure::usage(e.to_string()))?;
    if reference.full().contains('@') {
        return Err(Failure::usage(format!(
            "`{written}` is a digest, and engines give names by tag only: name it as in \
             `--as app:1`"
        )));
    }
    if !crate::image::is_name(reference.full()) {
        return Err(Failure::usage(format!(
            "`{written}` is not the name of an image: lower-case letters and digits, . _ - and / \
             between them, and a tag behind a colon"
        )));
    }
    Ok(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_fully_qualified_and_shown_as_people_write_them() {
        let full = |written: &str| qualified(written).map(|r| r.full().to_owned()).ok();
        assert_eq!(full("app:1").as_deref(), Some("docker.io/library/app:1"));
        assert_eq!(full("me/app").as_deref(), Some("docker.io/me/app:latest"));
        assert_eq!(
            full("r.example:5000/a/b:1").as_deref(),
            Some("r.example:5000/a/b:1")
        );
        for wrong in [
            "",
            "App:1",
            "app:1:2",
            "app@sha256:00",
            "a b",
            "../x",
            "app:",
            "app:-x",
            "-rf",
            "me/-rf:1",
            "r.example:x/app:1",
            "r.example/:1",
            "app:1?x",
        ] {
            assert!(qualified(wrong).is_err(), "{wrong}");
        }
        assert_eq!(short("docker.io/library/app:1"), "app:1");
        assert_eq!(short("docker.io/me/app:1"), "me/app:1");
        assert_eq!(short("r.example/library/app:1"), "r.example/library/app:1");
    }
}
