//! What `docker save` and `podman save` write: `manifest.json` names the configuration and the
//! layers by file, and the configuration says what each layer is, unpacked. Told in OCI's words, so
//! that nothing else needs to know.

use super::{
    Archive, Descriptor, ImageError, MAX_CONFIG, MAX_MANIFEST, check,
    json::{Config, LAYER, parse},
    layout::{Found, Layer, Leaf},
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn read(archive: &Archive) -> Result<Found, ImageError> {
    let saved: Vec<Saved> = parse(
        "manifest.json",
        &archive.small("manifest.json", MAX_MANIFEST)?,
    )?;
    let [saved] = saved.as_slice() else {
        let names: Vec<String> = saved
            .iter()
            .filter_map(|one| one.repo_tags.as_ref()?.first().cloned())
            .collect();
        return Err(ImageError::new(format!(
            "the archive has {} images ({}): put one into each archive",
            saved.len(),
            names.join(", ")
        )));
    };
    let config = archive.small(&saved.config, MAX_CONFIG)?;
    let read: Config = parse(&saved.config, &config)?;
    if read.rootfs.diff_ids.len() != saved.layers.len() {
        return Err(ImageError::new(format!(
            "the archive names {} layers, and the image's configuration has {}: it is damaged",
            saved.layers.len(),
            read.rootfs.diff_ids.len()
        )));
    }
    let layers: Vec<Layer> = saved
        .layers
        .iter()
        .zip(&read.rootfs.diff_ids)
        .map(|(name, digest)| Layer {
            name: name.clone(),
            descriptor: Descriptor::new(LAYER, *digest, archive.size(name).unwrap_or_default()),
        })
        .collect();
    let missing = layers.iter().find(|layer| !archive.has(&layer.name));
    let platform = read.platform();
    check::platform(&platform, &format!("`{}`", saved.config))?;
    Ok(Found {
        references: saved.repo_tags.clone().unwrap_or_default(),
        manifests: vec![Leaf {
            platform,
            manifest: None,
            missing: missing.map(|layer| layer.name.clone()),
            config,
            layers,
        }],
    })
}
