//! OCI layouts: `index.json` names manifests, which name blobs, which are files by their digest.

use super::{
    Archive, Descriptor, ImageError, Index, MAX_CONFIG, MAX_MANIFEST, Manifest, Platform, check,
    json::{Config, Form, is_index, parse},
};
use crate::model::Digest;

/// Manifests of one image.
const MAX_MANIFESTS: usize = 100;
/// Layers of one manifest.
const MAX_LAYERS: usize = 500;
/// Indexes in indexes.
const MAX_DEPTH: u32 = 3;
/// Where tools write a whole name.
const NAMES: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];

/// What an archive has.
#[derive(Debug)]
pub(super) struct Found {
    /// Its names, as the archive says them; the first is taken.
    pub(super) references: Vec<String>,
    pub(super) manifests: Vec<Leaf>,
}

/// An image for one platform.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) platform: Platform,
    /// The manifest in the archive, where there is one that may stay as it is.
    pub(super) manifest: Option<(Descriptor, Vec<u8>)>,
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<Layer>,
    /// A file that the archive should have and does not.
    pub(super) missing: Option<String>,
}

/// A layer in an archive.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Its file.
    pub(super) name: String,
    /// What it should be. Of a plain one the digest is also that of what it unpacks to.
    pub(super) descriptor: Descriptor,
}

/// Where a blob lies.
fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

pub(super) fn read(archive: &Archive) -> Result<Found, ImageError> {
    let index: Index = parse("index.json", &archive.small("index.json", MAX_MANIFEST)?)?;
    let mut names: Vec<String> = index.manifests.iter().filter_map(name).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > 1 {
        return Err(ImageError::new(format!(
            "the archive has several images ({}): put one into each archive",
            names.join(", ")
        )));
    }
    let mut manifests = Vec::new();
    descend(archive, index, 0, &mut manifests)?;
    Ok(Found {
        references: names,
        manifests,
    })
}

/// The whole name; a tag alone is none.
fn name(descriptor: &Descriptor) -> Option<String> {
    let written = NAMES
        .iter()
        .find_map(|key| descriptor.annotations.get(*key))?;
    (written.contains(['/', ':'])).then(|| written.clone())
}

fn descend(
    archive: &Archive,
    index: Index,
    depth: u32,
    leaves: &mut Vec<Leaf>,
) -> Result<(), ImageError> {
    if depth >= MAX_DEPTH {
        return Err(ImageError::new("the image's lists of manifests never end"));
    }
    for mut descriptor in index.manifests {
        if descriptor.is_attestation() {
            continue;
        }
        if leaves.len() >= MAX_MANIFESTS {
            return Err(ImageError::new(format!(
                "the image has more than {MAX_MANIFESTS} manifests"
            )));
        }
        let file = blob(&descriptor.digest);
        if !archive.has(&file) {
            // `docker save` of one platform names the others all the same.
            let absent = absent(&descriptor, file);
            if let Some(leaf) = &absent {
                check::platform(&leaf.platform, "the list of manifests")?;
            }
            leaves.extend(absent);
            continue;
        }
        let bytes = small_blob(archive, &descriptor, MAX_MANIFEST)?;
        if descriptor.media_type.is_empty() {
            descriptor.media_type = parse::<Form>(&file, &bytes)?.media_type();
        }
        check::media_type(&descriptor.media_type, &format!("`{file}`"))?;
        if is_index(&descriptor.media_type) {
            descend(archive, parse(&file, &bytes)?, depth + 1, leaves)?;
        } else {
            leaves.push(leaf(archive, descriptor, bytes)?);
        }
    }
    Ok(())
}

fn absent(descriptor: &Descriptor, file: String) -> Option<Leaf> {
    Some(Leaf {
        platform: descriptor.platform.clone()?,
        manifest: None,
        config: Vec::new(),
        layers: Vec::new(),
        missing: Some(file),
    })
}

fn leaf(archive: &Archive, descriptor: Descriptor, bytes: Vec<u8>) -> Result<Leaf, ImageError> {
    let file = blob(&descriptor.digest);
    let manifest: Manifest = parse(&file, &bytes)?;
    if manifest.layers.len() > MAX_LAYERS {
        return Err(ImageError::new(format!(
            "the image has more than {MAX_LAYERS} layers"
        )));
    }
    let config = small_blob(archive, &manifest.config, MAX_CONFIG)?;
    let config_file = blob(&manifest.config.digest);
    let read: Config = parse(&config_file, &config)?;
    let platforms = [
        (Some(read.platform()), format!("`{config_file}`")),
        (
            descriptor.platform.clone(),
            "the list of manifests".to_owned(),
        ),
    ];
    for (platform, of) in &platforms {
        platform.iter().try_for_each(|p| check::platform(p, of))?;
    }
    check::media_type(&manifest.config.media_type, &format!("`{config_file}`"))?;
    let ids = &read.rootfs.diff_ids;
    if ids.len() != manifest.layers.len() {
        return Err(ImageError::new(format!(
            "`{file}` names {} layers, and the image's configuration has {}: it is damaged",
            manifest.layers.len(),
            ids.len()
        )));
    }
    for (layer, id) in manifest.layers.iter().zip(ids) {
        let name = blob(&layer.digest);
        check::media_type(&layer.media_type, &format!("`{name}`"))?;
        // What is not compressed is its own content.
        if layer.is_plain_layer() && layer.digest != *id {
            return Err(ImageError::new(format!(
                "the image's configuration says that `{name}` holds {id}, and it does not: the \
                 archive is damaged, or somebody changed it"
            )));
        }
    }
    let layers: Vec<Layer> = manifest
        .layers
        .iter()
        .map(|descriptor| Layer {
            name: blob(&descriptor.digest),
            descriptor: descriptor.clone(),
        })
        .collect();
    let missing = layers.iter().find(|layer| !archive.has(&layer.name));
    let missing = missing.map(|layer| layer.name.clone());
    Ok(Leaf {
        platform: descriptor
            .platform
            .clone()
            .unwrap_or_else(|| read.platform()),
        manifest: Some((descriptor, bytes)),
        config,
        layers,
        missing,
    })
}

/// All of a small blob, checked.
fn small_blob(archive: &Archive, wanted: &Descriptor, most: u64) -> Result<Vec<u8>, ImageError> {
    let name = blob(&wanted.digest);
    let bytes = archive.small(&name, most)?;
    let is = Digest::of(&bytes);
    if is != wanted.digest {
        return Err(lies(&name, &is));
    }
    Ok(bytes)
}

/// The sentence for a file that is not what its name says.
pub(super) fn lies(name: &str, is: &Digest) -> ImageError {
    ImageError::new(format!(
        "`{name}` is not what it says: its digest is {is}; the archive is damaged, or somebody \
         changed it"
    ))
}

/// Those that are wanted and whole.
pub(super) fn choose(
    archive: &Archive,
    all: Vec<Leaf>,
    wanted: Option<&Platform>,
) -> Result<Vec<Leaf>, ImageError> {
    let names = |leaves: &[Leaf]| {
        let whole = leaves.iter().filter(|leaf| leaf.missing.is_none());
        let mut names: Vec<String> = whole.map(|leaf| leaf.platform.to_string()).collect();
        names.sort_unstable();
        names.dedup();
        match names.len() {
            0 => "none that is whole".to_owned(),
            _ => names.join(", "),
        }
    };
    if all.is_empty() {
        return Err(ImageError::new("there is no image in the archive"));
    }
    let there = names(&all);
    let fits = |leaf: &Leaf| wanted.is_none_or(|wanted| wanted.takes(&leaf.platform));
    let fitting: Vec<Leaf> = all.into_iter().filter(fits).collect();
    let Some(first) = fitting.first() else {
        let wanted = wanted.map(Platform::to_string).unwrap_or_default();
        return Err(ImageError::new(format!(
            "the archive has no image for {wanted}; it has {there}"
        )));
    };
    let lacks = format!(
        "`{}` of the image for {} is not in the archive: it is cut, or was not made whole",
        first.missing.clone().unwrap_or_default(),
        first.platform
    );
    let whole: Vec<Leaf> = fitting
        .into_iter()
        .filter(|l| l.missing.is_none())
        .collect();
    if whole.is_empty() {
        return Err(ImageError::new(lacks));
    }
    for layer in whole.iter().flat_map(|leaf| &leaf.layers) {
        let size = archive.size(&layer.name).unwrap_or_default();
        if size != layer.descriptor.size {
            return Err(ImageError::new(format!(
                "`{}` has {size} bytes where {} were announced: the archive is damaged",
                layer.name, layer.descriptor.size
            )));
        }
    }
    Ok(whole)
}
