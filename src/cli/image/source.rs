//! Where an image comes from on this machine.

use super::{Failure, qualified};
use crate::{
    cli::args::ImagePushArgs,
    image::{self, Archive, Spool},
    runtime,
};
use futures_util::StreamExt;
use std::path::{Path, PathBuf};

/// What is to be pushed, and the name that it has, fully qualified, where it is known already.
pub(super) async fn open(args: &ImagePushArgs) -> Result<(Archive, Option<String>), Failure> {
    let named = args.name.as_deref().map(qualified).transpose()?;
    let named = named.map(|reference| reference.full().to_owned());
    let path = Path::new(&args.source);
    if args.engine.is_none() && path.exists() {
        return Ok((image::open(path)?, named));
    }
    let looks_like_a_file = [".tar", ".tgz", ".gz"]
        .iter()
        .any(|end| args.source.ends_with(end));
    if looks_like_a_file || args.source.starts_with(['/', '.']) {
        return Err(Failure::new(format!("there is no file {}", path.display())));
    }
    let wanted = qualified(&args.source)?;
    let mut trouble = Vec::new();
    for (engine, socket) in engines(args.engine.as_deref()) {
        match saved(&socket, wanted.full()).await {
            Ok(archive) => {
                let name = named.unwrap_or_else(|| wanted.full().to_owned());
                return Ok((archive, Some(name)));
            }
            Err(why) => trouble.push(format!("  {engine} ({}): {why}", socket.display())),
        }
    }
    if trouble.is_empty() {
        trouble.push("  there is no socket of Docker or Podman here; --engine says where".into());
    }
    Err(Failure::new(format!(
        "image `{}` was not found on this machine, and there is no such file:\n{}",
        args.source,
        trouble.join("\n")
    )))
}

/// Sockets to ask, in order.
fn engines(wanted: Option<&str>) -> Vec<(&'static str, PathBuf)> {
    let of_variable = |name: &str| {
        let url = std::env::var(name).ok()?;
        url.strip_prefix("unix://").map(PathBuf::from)
    };
    let docker = || of_variable("DOCKER_HOST").unwrap_or_else(|| "/var/run/docker.sock".into());
    let podman = || {
        let own = std::env::var_os("XDG_RUNTIME_DIR");
        let own = own.map(|dir| PathBuf::from(dir).join("podman/podman.sock"));
        of_variable("CONTAINER_HOST")
            .or(own.filter(|socket| socket.exists()))
            .unwrap_or_else(|| "/run/podman/podman.sock".into())
    };
    match wanted {
        Some("docker") => vec![("docker", docker())],
        Some("podman") => vec![("podman", podman())],
        Some(socket) => {
            let path = socket.strip_prefix("unix://").unwrap_or(socket);
            vec![("engine", path.into())]
        }
        None => [("docker", docker()), ("podman", podman())]
            .into_iter()
            .filter(|(_, socket)| socket.exists())
            .collect(),
    }
}

/// Lets an engine write the image into a file without a name. The error is a sentence.
async fn saved(socket: &Path, reference: &str) -> Result<Archive, String> {
    let engine = runtime::connect_to_engine(socket).map_err(|e| e.to_string())?;
    // Its own word for an image that it does not have, before anything is written.
    let known = engine.inspect_image(reference).await;
    known.map_err(|e| crate::support::chain(&e))?;
    let mut spool = Spool::new().map_err(|e| e.to_string())?;
    let mut bytes = std::pin::pin!(engine.export_image(reference));
    while let Some(more) = bytes.next().await {
        let more = more.map_err(|e| crate::support::chain(&e))?;
        spool.add(&more).map_err(|e| e.to_string())?;
    }
    let shown = format!("what {} wrote", socket.display());
    Archive::of_file(spool.into_file(), &shown).map_err(|e| e.to_string())
}
