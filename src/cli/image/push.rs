//! Bringing an image to the controller: only the blobs that it lacks, and the image itself last, so
//! that it never names anything that is not there.

use super::{Failure, nodes, source};
use crate::{
    cli::{
        args::ImagePushArgs,
        blobs::{self, Pushed},
        client::Client,
        output,
    },
    http::{ImageView, NodeResult, UploadView},
    image::{self, Config, Descriptor, Index, Manifest, Packed, Wish, is_index},
    model::{Artifact, Digest, Image, ImageOrder},
};
use hyper::Method;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Manifests of the controller that are looked at for layers that are there already.
const MAX_LOOKED_AT: usize = 32;
/// Between two words about the same blob.
const SAY_EVERY: Duration = Duration::from_millis(250);

/// What came of a push, for programs.
#[derive(Debug, Serialize)]
struct Report {
    image: Image,
    /// Bytes of all its blobs.
    size: u64,
    /// Bytes that were sent to the controller.
    sent: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<NodeResult>,
}

pub(super) async fn push(client: &mut Client, args: ImagePushArgs) -> Result<ExitCode, Failure> {
    let meant = match nodes::are_meant(&args.to, &args.nodes) {
        true => Some(nodes::meant(client, &args.to, &args.nodes, args.into).await?),
        false => None,
    };
    let (archive, reference) = source::open(&args).await?;
    let mut wish = Wish {
        platform: args.platform.clone(),
        reference,
        known: known_layers(client).await?,
    };
    let mut packed = image::read(archive, &wish, &mut |text| eprintln!("{text}"))?;
    if !has_kept(client, &packed).await? {
        // What it has is not what it was any more: all of it is made of what is here.
        wish.known.clear();
        let archive = packed.into_archive();
        packed = image::read(archive, &wish, &mut |text| eprintln!("{text}"))?;
    }
    // An archive may say it as people do.
    let name = super::qualified(&packed.image.reference)?;
    packed.image.reference = name.full().to_owned();
    let sent = upload(client, &packed).await?;
    let image = packed.image;
    let artifact = Artifact::Image(image.clone());
    client
        .order(Method::PUT, "/api/v1/artifacts", Some(&artifact))
        .await?;
    let size = image.size();
    eprintln!(
        "{} is at the controller: {}, {} sent",
        super::short(&image.reference),
        output::bytes(size),
        output::bytes(sent)
    );
    let format = args.output.output;
    let mut report = Report {
        image,
        size,
        sent,
        nodes: Vec::new(),
    };
    let mut verdict = None;
    if let Some(meant) = meant {
        let order = ImageOrder::Fetch(report.image.to_fetch(args.into));
        let done = nodes::order(client, meant, order).await?;
        verdict = done.verdict();
        if output::is_for_people(format) {
            done.show(format)?;
        }
        report.nodes = done.nodes;
    }
    if !output::is_for_people(format) {
        output::one(format, &report, |_| Vec::new())?;
    }
    match verdict {
        None => Ok(ExitCode::SUCCESS),
        Some(text) => Err(Failure::new(text)),
    }
}

/// Whether the controller still has the layers that are not made here, whole and right.
async fn has_kept(client: &mut Client, packed: &Packed) -> Result<bool, Failure> {
    for digest in packed.kept() {
        let there: UploadView = client.get(&format!("{}/upload", path(digest))).await?;
        if !there.complete {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sends what is not there; the bytes that were sent.
async fn upload(client: &mut Client, packed: &Packed) -> Result<u64, Failure> {
    let mut all = 0;
    let count = packed.image.blobs.len();
    for (n, (digest, size)) in packed.image.blobs.iter().enumerate() {
        let mut line = Line::new(format!("{}/{count} {}", n + 1, digest.short()), *size);
        let mut open = |offset| packed.open(digest, offset);
        let mut show = |sent| line.show(sent);
        let pushed = blobs::push(client, *digest, *size, &mut open, &mut show).await?;
        match pushed {
            Pushed::AlreadyThere => line.end("is there already"),
            Pushed::Sent(sent) => {
                all += sent;
                line.end("sent");
            }
        }
    }
    Ok(all)
}

/// One blob's line on a terminal; elsewhere only its end.
struct Line {
    head: String,
    size: u64,
    said: Option<Instant>,
    live: bool,
}

impl Line {
    fn new(head: String, size: u64) -> Line {
        Line {
            head,
            size,
            said: None,
            live: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, sent: u64) {
        let now = Instant::now();
        let due = self
            .said
            .is_none_or(|at| now.duration_since(at) >= SAY_EVERY);
        if self.live && due {
            self.said = Some(now);
            let percent = sent
                .saturating_mul(100)
                .checked_div(self.size)
                .unwrap_or(100);
            eprint!(
                "\r\u{1b}[K{}: {percent}% of {}",
                self.head,
                output::bytes(self.size)
            );
            let _ = std::io::stderr().flush();
        }
    }

    fn end(&self, how: &str) {
        let clear = if self.live { "\r\u{1b}[K" } else { "" };
        eprintln!("{clear}{}: {} {how}", self.head, output::bytes(self.size));
    }
}

/// Layers that the controller has compressed, by what they unpack to: nobody compresses them again,
/// and whatever compressed them, they are the same blobs.
async fn known_layers(client: &mut Client) -> Result<BTreeMap<Digest, Descriptor>, Failure> {
    let mut images: Vec<ImageView> = client.get("/api/v1/images").await?;
    images.sort_by_key(|view| std::cmp::Reverse(view.added_ms));
    let mut manifests = Vec::new();
    for view in &images {
        let image = &view.image;
        if manifests.len() >= MAX_LOOKED_AT {
            break;
        }
        if is_index(&image.media_type) {
            let index: Result<Index, _> = client.get(&path(&image.manifest)).await;
            let listed = index.map(|index| index.manifests).unwrap_or_default();
            manifests.extend(listed.into_iter().map(|m| m.digest));
        } else {
            manifests.push(image.manifest);
        }
    }
    manifests.truncate(MAX_LOOKED_AT);
    let mut known = BTreeMap::new();
    for digest in manifests {
        // One that cannot be read saves nothing, and that is all.
        let Ok(manifest) = client.get::<Manifest>(&path(&digest)).await else {
            continue;
        };
        let Ok(config) = client.get::<Config>(&path(&manifest.config.digest)).await else {
            continue;
        };
        let ids = config.rootfs.diff_ids;
        if ids.len() == manifest.layers.len() {
            known.extend(ids.into_iter().zip(manifest.layers));
        }
    }
    Ok(known)
}

fn path(digest: &Digest) -> String {
    format!("/api/v1/blobs/{digest}")
}
