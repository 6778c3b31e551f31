//! Taking images away: from the controller those that no workload names, from nodes those that
//! nothing uses.

use super::{Failure, nodes, qualified, short};
use crate::{
    cli::{apply::confirm, args::ImagePruneArgs, client::Client, output},
    http::ImageView,
    manifest::quantity::duration_text,
    model::{Digest, ImageOrder, ImagePrune, UnixMs},
    support::clock,
};
use hyper::Method;
use std::{collections::BTreeMap, process::ExitCode};

pub(super) async fn run(client: &mut Client, args: ImagePruneArgs) -> Result<ExitCode, Failure> {
    let names: Result<Vec<String>, Failure> = args
        .images
        .iter()
        .map(|written| qualified(written).map(|reference| reference.full().to_owned()))
        .collect();
    let names = names?;
    if nodes::are_meant(&args.node, &args.nodes) {
        return of_nodes(client, args, names).await;
    }
    let kept: Vec<ImageView> = client.get("/api/v1/images").await?;
    if let Some(unknown) = names
        .iter()
        .find(|name| !kept.iter().any(|v| v.image.reference == **name))
    {
        return Err(Failure::new(format!(
            "the controller keeps no image `{}`; `fleetctl image ls` lists them",
            short(unknown)
        )));
    }
    let now = clock::unix_ms();
    let goes = |view: &&ImageView| chosen(view, &names, now.saturating_sub(args.older_than));
    let victims: Vec<&ImageView> = kept.iter().filter(goes).collect();
    if victims.is_empty() {
        eprintln!("{}", nothing(&kept, args.older_than));
        return Ok(ExitCode::SUCCESS);
    }
    for view in &victims {
        let workloads: Vec<&str> = view.workloads.iter().map(|w| w.as_str()).collect();
        let named = match workloads.is_empty() {
            true => String::new(),
            false => format!(", named by {}", workloads.join(", ")),
        };
        let reference = short(&view.image.reference);
        eprintln!(
            "{reference}: {}, pushed {} ago{named}",
            output::bytes(view.size),
            output::ago(view.added_ms)
        );
    }
    let free = output::bytes(freed(&kept, &victims));
    if !args.yes && !confirm(&format!("Take these away ({free})?"))? {
        eprintln!("nothing was taken away");
        return Ok(ExitCode::FAILURE);
    }
    for view in &victims {
        let id = query(&format!("image/{}", view.image.reference));
        let path = format!("/api/v1/artifacts?id={id}");
        client.order(Method::DELETE, &path, None::<&()>).await?;
    }
    let count = victims.len();
    eprintln!("{count} taken away; {free} are free once they are an hour old");
    Ok(ExitCode::SUCCESS)
}

/// Why nothing goes by itself: what no workload names was pushed within `older_than`, milliseconds.
fn nothing(kept: &[ImageView], older_than: u64) -> String {
    let young = kept.iter().filter(|v| v.workloads.is_empty()).count();
    let time = duration_text(older_than);
    match young {
        0 => "nothing is to be taken away: no image is kept that no workload names".to_owned(),
        1 => format!(
            "nothing is to be taken away: the only image that no workload names was pushed within \
             {time} (--older-than)"
        ),
        n => format!(
            "nothing is to be taken away: all {n} images that no workload names were pushed within \
             {time} (--older-than)"
        ),
    }
}

/// By name, or because no workload names it and it is old enough.
fn chosen(view: &ImageView, names: &[String], before: UnixMs) -> bool {
    match names.is_empty() {
        true => view.workloads.is_empty() && view.added_ms <= before,
        false => names.contains(&view.image.reference),
    }
}

/// Bytes of blobs that no other image has.
fn freed(kept: &[ImageView], victims: &[&ImageView]) -> u64 {
    let goes = |view: &ImageView| {
        victims
            .iter()
            .any(|v| v.image.reference == view.image.reference)
    };
    let mut blobs: BTreeMap<Digest, u64> = BTreeMap::new();
    for view in victims {
        blobs.extend(&view.image.blobs);
    }
    for stays in kept.iter().filter(|view| !goes(view)) {
        blobs.retain(|digest, _| !stays.image.blobs.contains_key(digest));
    }
    blobs
        .values()
        .fold(0, |sum, size| sum.saturating_add(*size))
}

async fn of_nodes(
    client: &mut Client,
    args: ImagePruneArgs,
    references: Vec<String>,
) -> Result<ExitCode, Failure> {
    let what = match (references.is_empty(), args.unused) {
        (false, _) => references
            .iter()
            .map(|r| short(r))
            .collect::<Vec<_>>()
            .join(", "),
        (true, true) => "every image that no container uses and no workload names".to_owned(),
        (true, false) => "images without a name that no container uses".to_owned(),
    };
    let meant = nodes::meant(client, &args.node, &args.nodes, None).await?;
    if !args.yes && !confirm(&format!("Take {what} away from these nodes?"))? {
        eprintln!("nothing was taken away");
        return Ok(ExitCode::FAILURE);
    }
    let order = ImageOrder::Prune(ImagePrune {
        unused: args.unused,
        references,
        engine: None,
    });
    let report = nodes::order(client, meant, order).await?;
    report.show(args.output.output)?;
    match report.verdict() {
        None => Ok(ExitCode::SUCCESS),
        Some(text) => Err(Failure::new(text)),
    }
}

/// A text as the value of a query key.
pub(super) fn query(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let encode = |b: u8| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Image;

    fn view(reference: &str, layers: &[&str], workload: Option<&str>, added_ms: u64) -> ImageView {
        let blobs: BTreeMap<Digest, u64> = layers
            .iter()
            .map(|l| (Digest::of(l.as_bytes()), 10))
            .collect();
        ImageView {
            image: Image {
                reference: reference.to_owned(),
                manifest: Digest::of(reference.as_bytes()),
                media_type: String::new(),
                blobs,
                platforms: Vec::new(),
            },
            size: 0,
            shared: 0,
            added_ms,
            by: None,
            workloads: workload.map(|w| w.parse().unwrap()).into_iter().collect(),
        }
    }

    #[test]
    fn only_old_images_without_a_workload_go_by_themselves_and_named_ones_always() {
        let old = view("old:1", &[], None, 5);
        let used = view("used:1", &[], Some("web"), 5);
        let new = view("new:1", &[], None, 50);
        let by_itself = |view| chosen(view, &[], 10);
        assert!(by_itself(&old) && !by_itself(&used) && !by_itself(&new));
        let named = ["used:1".to_owned()];
        assert!(chosen(&used, &named, 10) && !chosen(&old, &named, 10));
    }

    #[test]
    fn images_that_are_too_young_to_go_are_said_to_be_left() {
        let used = view("used:1", &[], Some("web"), 5);
        let new = view("new:1", &[], None, 50);
        let day = 86_400_000;
        let said = nothing(std::slice::from_ref(&used), day);
        assert!(!said.contains("--older-than"), "{said}");
        let said = nothing(&[used, new.clone()], day);
        assert!(
            said.contains("only image") && said.contains("within 1d (--older-than)"),
            "{said}"
        );
        let said = nothing(&[new.clone(), new], day);
        assert!(said.contains("all 2 images"), "{said}");
    }

    #[test]
    fn layers_that_others_share_are_not_free() {
        let kept = [
            view("a:1", &["base", "a"], None, 0),
            view("b:1", &["base", "b"], None, 0),
        ];
        assert_eq!(freed(&kept, &[&kept[0]]), 10);
        assert_eq!(freed(&kept, &[&kept[0], &kept[1]]), 30);
        assert_eq!(query("image/a:1"), "image%2Fa%3A1");
    }
}
