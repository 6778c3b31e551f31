//! `adopt`: what runs on a node without fleetctl, and the manifest that takes it over.

use super::{Failure, args::AdoptArgs, client::Client, output};
use crate::{manifest, model::Unmanaged};
use std::fmt::Write;

const HEAD: [&str; 6] = ["NAME", "ENGINE", "STATE", "PROJECT", "IMAGE", "LOST"];

pub(super) async fn run(client: &mut Client, args: AdoptArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/nodes/{}/unmanaged", args.node);
    let mut found: Vec<Unmanaged> = client.get(&path).await?;
    let chosen = args.all || !args.containers.is_empty() || args.project.is_some();
    if !chosen {
        let shown = output::list(args.output.output, &found, &HEAD, |u, _| row(u));
        if !found.is_empty() {
            eprintln!(
                "`fleetctl adopt {} NAME…` (or --project, --all) prints the manifest for them",
                args.node
            );
        }
        return shown;
    }
    let missing = |name: &&String| !found.iter().any(|u| u.name == **name);
    if let Some(name) = args.containers.iter().find(missing) {
        return Err(Failure::new(format!(
            "there is no container `{}` on {} that fleetctl did not make; `fleetctl adopt {}` \
             lists them",
            output::visible(name),
            args.node,
            args.node
        )));
    }
    found.retain(|u| {
        args.all
            || args.containers.contains(&u.name)
            || (args.project.is_some() && u.project == args.project)
    });
    if found.is_empty() {
        return Err(Failure::new("nothing on that node is meant by this"));
    }
    output::print(&text(&found))
}

fn row(u: &Unmanaged) -> Vec<String> {
    vec![
        u.name.clone(),
        u.runtime.to_string(),
        if u.running { "running" } else { "stopped" }.into(),
        u.project.clone().unwrap_or_else(|| "-".into()),
        u.image.clone(),
        match u.lost.len() {
            0 => "-".into(),
            n => n.to_string(),
        },
    ]
}

/// Manifests, one after the other; what would be lost stands above each as a comment.
fn text(found: &[Unmanaged]) -> String {
    let mut text = String::new();
    for u in found {
        if !text.is_empty() {
            text.push('\n');
        }
        for lost in &u.lost {
            let _ = writeln!(
                text,
                "# lost when this is applied: {}",
                output::visible(lost)
            );
        }
        match &u.workload {
            Some(workload) => text.push_str(&manifest::render(workload)),
            None => {
                let name = output::visible(&u.name);
                let _ = writeln!(
                    text,
                    "# {name} cannot be taken over: no workload can say it"
                );
            }
        }
    }
    text
}
