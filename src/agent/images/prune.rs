//! Which images of a node may go. No I/O.

use crate::model::{ImagePrune, NodeImage};
use std::collections::BTreeSet;

/// What to take away of these images, by name or, without one, by id; and the bytes of each image
/// that is then gone. `needed`: names that assigned workloads say, which stay although nothing uses
/// them at this moment.
pub(super) fn victims(
    images: &[NodeImage],
    order: &ImagePrune,
    needed: &BTreeSet<String>,
) -> Vec<(Vec<String>, u64)> {
    let wants = |engine| order.engine.is_none_or(|wanted| wanted == engine);
    let candidates = images
        .iter()
        .filter(|image| image.containers == 0 && wants(image.engine));
    let victims = candidates.filter_map(|image| {
        let free: Vec<String> = image
            .references
            .iter()
            .filter(|name| !needed.contains(*name))
            .cloned()
            .collect();
        let names = match (order.references.is_empty(), image.references.is_empty()) {
            (true, true) => vec![image.id.clone()],
            (true, false) if order.unused => free,
            (true, false) => Vec::new(),
            (false, _) => {
                let wanted = |name: &String| order.references.contains(name);
                free.into_iter().filter(wanted).collect()
            }
        };
        let goes = names.len() >= image.references.len().max(1);
        (!names.is_empty()).then_some((names, if goes { image.size } else { 0 }))
    });
    victims.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RuntimeKind;

    fn image(id: &str, references: &[&str], containers: u32) -> NodeImage {
        NodeImage {
            engine: RuntimeKind::Docker,
            id: id.to_owned(),
            references: references.iter().map(|r| (*r).to_owned()).collect(),
            size: 10,
            created_s: 0,
            containers,
        }
    }

    fn gone(order: &ImagePrune) -> Vec<(Vec<String>, u64)> {
        let images = [
            image("dangling", &[], 0),
            image("used", &["app:1"], 1),
            image("dangling-and-used", &[], 2),
            image("old", &["app:0", "app:older"], 0),
            image("scheduled", &["job:1", "job:other"], 0),
        ];
        victims(&images, order, &BTreeSet::from(["job:1".to_owned()]))
    }

    fn names(all: &[(&[&str], u64)]) -> Vec<(Vec<String>, u64)> {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        all.iter().map(|(n, size)| (owned(n), *size)).collect()
    }

    #[test]
    fn what_is_used_or_assigned_always_stays() {
        assert_eq!(gone(&ImagePrune::default()), names(&[(&["dangling"], 10)]));
        let unused = ImagePrune {
            unused: true,
            ..ImagePrune::default()
        };
        let expected = names(&[
            (&["dangling"], 10),
            (&["app:0", "app:older"], 10),
            (&["job:other"], 0),
        ]);
        assert_eq!(gone(&unused), expected);
        let named = ImagePrune {
            references: vec!["app:0".into(), "app:1".into(), "job:1".into()],
            ..ImagePrune::default()
        };
        assert_eq!(gone(&named), names(&[(&["app:0"], 0)]));
        let elsewhere = ImagePrune {
            engine: Some(RuntimeKind::Podman),
            ..unused
        };
        assert!(gone(&elsewhere).is_empty());
    }
}
