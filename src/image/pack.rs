//! The blobs of an image: every layer checked, and those that are not compressed made smaller,
//! since that is what a slow line needs. The same bytes give the same blobs, every time.
//!
//! A layer that the controller has in a form of its own is not even read: its digest, unpacked, is
//! enough to find it. A manifest changes only where one of its layers was compressed.

use super::{
    Archive, Descriptor, ImageError, Index, Manifest, Platform, Spool, Wish,
    json::{CONFIG, INDEX, LAYER_GZIP, MANIFEST},
    layout::{Layer, Leaf, lies},
    spool::{Counted, Part, bounded},
};
use crate::model::{Digest, Hasher, Image};
use flate2::{Compression, GzBuilder, read::MultiGzDecoder};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

/// Compressed is taken where it is smaller than so many percent.
const WORTH_PERCENT: u64 = 95;
/// Blobs of one image, as the controller takes them.
const MAX_BLOBS: usize = 1_000;

/// Where the bytes of a blob are.
#[derive(Debug)]
pub(crate) enum Blob {
    /// Here.
    Bytes(Vec<u8>),
    /// In the archive.
    Entry(String),
    /// Made of a file of the archive.
    Made(Made),
    /// Only at the controller.
    Kept,
}

/// A file without a name, to be read from any place.
#[derive(Debug)]
pub(crate) struct Made(Part);

/// An image that can be pushed.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) image: Image,
    archive: Archive,
    blobs: BTreeMap<Digest, Blob>,
}

impl Packed {
    /// Blobs of which only the controller has the bytes.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Digest> {
        let kept = self.blobs.iter();
        kept.filter(|(_, blob)| matches!(blob, Blob::Kept))
            .map(|(digest, _)| digest)
    }

    /// To be packed in another way.
    pub(crate) fn into_archive(self) -> Archive {
        self.archive
    }

    /// The bytes of one of its blobs from `offset` on.
    pub(crate) fn open(&self, digest: &Digest, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        match self.blobs.get(digest) {
            Some(Blob::Bytes(bytes)) => {
                let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = bytes.get(skipped..).unwrap_or_default().to_vec();
                Ok(Box::new(io::Cursor::new(rest)))
            }
            Some(Blob::Entry(name)) => self.archive.reader(name, offset),
            Some(Blob::Made(part)) => Ok(Box::new(part.0.from(offset))),
            Some(Blob::Kept) | None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the controller had this layer a moment ago; push once more",
            )),
        }
    }
}

pub(super) fn pack(
    archive: Archive,
    reference: String,
    leaves: Vec<Leaf>,
    wish: &Wish,
    say: &mut dyn FnMut(&str),
) -> Result<Packed, ImageError> {
    let mut making = Making {
        archive: &archive,
        wish,
        blobs: BTreeMap::new(),
        made: BTreeMap::new(),
    };
    let mut manifests = Vec::new();
    for leaf in leaves {
        manifests.push(making.leaf(leaf, say)?);
    }
    let platforms = manifests.iter().map(|(p, _)| p.to_string()).collect();
    let top = match manifests.as_slice() {
        [(_, only)] => only.clone(),
        _ => making.index(&manifests)?,
    };
    let blobs = making.blobs;
    if blobs.len() > MAX_BLOBS {
        return Err(ImageError::new(format!(
            "the image has more than {MAX_BLOBS} blobs"
        )));
    }
    let image = Image {
        reference,
        manifest: top.digest,
        media_type: top.media_type,
        blobs: blobs
            .iter()
            .map(|(digest, (size, _))| (*digest, *size))
            .collect(),
        platforms,
    };
    let blobs = blobs
        .into_iter()
        .map(|(digest, (_, blob))| (digest, blob))
        .collect();
    Ok(Packed {
        image,
        archive,
        blobs,
    })
}

struct Making<'a> {
    archive: &'a Archive,
    wish: &'a Wish,
    /// With their bytes.
    blobs: BTreeMap<Digest, (u64, Blob)>,
    /// What became of layers that more than one image has, by what they are in the archive.
    made: BTreeMap<Digest, Descriptor>,
}

impl Making<'_> {
    fn leaf(
        &mut self,
        leaf: Leaf,
        say: &mut dyn FnMut(&str),
    ) -> Result<(Platform, Descriptor), ImageError> {
        let Leaf {
            platform,
            manifest,
            config,
            layers,
            ..
        } = leaf;
        let config = self.document(CONFIG, config);
        let mut descriptors = Vec::new();
        let mut changed = false;
        for layer in layers {
            let before = layer.descriptor.digest;
            let descriptor = match self.made.get(&before) {
                Some(made) => made.clone(),
                None => self.layer(&layer, say)?,
            };
            changed |= descriptor.digest != before;
            self.made.insert(before, descriptor.clone());
            descriptors.push(descriptor);
        }
        let descriptor = match manifest {
            Some((descriptor, bytes)) if !changed => self.document(&descriptor.media_type, bytes),
            _ => {
                let manifest = Manifest {
                    schema_version: 2,
                    media_type: MANIFEST.to_owned(),
                    config,
                    layers: descriptors,
                };
                self.document(MANIFEST, written(&manifest)?)
            }
        };
        Ok((platform, descriptor))
    }

    fn index(&mut self, manifests: &[(Platform, Descriptor)]) -> Result<Descriptor, ImageError> {
        let of = |(platform, descriptor): &(Platform, Descriptor)| Descriptor {
            platform: Some(platform.clone()),
            ..descriptor.clone()
        };
        let index = Index {
            schema_version: 2,
            media_type: INDEX.to_owned(),
            manifests: manifests.iter().map(of).collect(),
        };
        Ok(self.document(INDEX, written(&index)?))
    }

    fn document(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.blobs.insert(digest, (size, Blob::Bytes(bytes)));
        Descriptor::new(media_type, digest, size)
    }

    fn layer(
        &mut self,
        layer: &Layer,
        say: &mut dyn FnMut(&str),
    ) -> Result<Descriptor, ImageError> {
        let Layer { name, descriptor } = layer;
        if let Some(known) = self.wish.known.get(&descriptor.digest) {
            self.blobs.insert(known.digest, (known.size, Blob::Kept));
            return Ok(known.clone());
        }
        let (descriptor, blob) = match (descriptor.is_plain_layer(), self.is_gzip(name)?) {
            (false, _) => {
                self.check(name, &descriptor.digest)?;
                (descriptor.clone(), Blob::Entry(name.clone()))
            }
            (true, true) => {
                let digest = self.unpacks_to(name, &descriptor.digest)?;
                let size = descriptor.size;
                let descriptor = Descriptor::new(LAYER_GZIP, digest, size);
                (descriptor, Blob::Entry(name.clone()))
            }
            (true, false) => {
                let mib = descriptor.size >> 20;
                if mib > 0 {
                    let short = descriptor.digest.short();
                    say(&format!("compressing layer {short} ({mib} MiB)"));
                }
                self.compress(name, descriptor)?
            }
        };
        self.blobs
            .insert(descriptor.digest, (descriptor.size, blob));
        Ok(descriptor)
    }

    fn is_gzip(&self, name: &str) -> Result<bool, ImageError> {
        let mut magic = Vec::new();
        let reader = self.archive.reader(name, 0);
        let read = reader.and_then(|r| r.take(2).read_to_end(&mut magic));
        read.map_err(|e| ImageError::reading(&format!("`{name}`"), &e))?;
        Ok(magic == [0x1f, 0x8b])
    }

    /// That a file is what its name says.
    fn check(&self, name: &str, wanted: &Digest) -> Result<(), ImageError> {
        let mut hasher = Hasher::default();
        self.each(name, |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        same(name, hasher.finish(), wanted)
    }

    fn each(
        &self,
        name: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let failed = |e: io::Error| ImageError::reading(&format!("`{name}`"), &e);
        let mut reader = self.archive.reader(name, 0).map_err(failed)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut buffer).map_err(failed)? {
                0 => return Ok(()),
                n => take(&buffer[..n])?,
            }
        }
    }

    /// That a compressed file unpacks to what the configuration says; its own digest.
    fn unpacks_to(&self, name: &str, wanted: &Digest) -> Result<Digest, ImageError> {
        let failed = |e: io::Error| ImageError::reading(&format!("`{name}`"), &e);
        let own = self.archive.reader(name, 0).map_err(failed)?;
        let mut unpacked = MultiGzDecoder::new(Counted { of: own, read: 0 });
        let (mut inside, mut size, mut buffer) = (Hasher::default(), 0, vec![0; 64 * 1024]);
        loop {
            match unpacked.read(&mut buffer).map_err(failed)? {
                0 => break,
                n => {
                    inside.update(&buffer[..n]);
                    size += n as u64;
                }
            }
            bounded(unpacked.get_ref().read, size, &format!("`{name}`"))?;
        }
        same(name, inside.finish(), wanted)?;
        let mut hasher = Hasher::default();
        self.each(name, |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        Ok(hasher.finish())
    }

    /// Checks and compresses at once.
    fn compress(&self, name: &str, plain: &Descriptor) -> Result<(Descriptor, Blob), ImageError> {
        let failed = |e: io::Error| ImageError::reading(&format!("`{name}`"), &e);
        let mut inside = Hasher::default();
        // No time and no name in it: the same bytes, the same blob.
        let sink = Sink::new()?;
        let mut packed = GzBuilder::new()
            .mtime(0)
            .write(sink, Compression::default());
        self.each(name, |bytes| {
            inside.update(bytes);
            packed.write_all(bytes).map_err(failed)
        })?;
        let Sink { spool, hasher } = packed.finish().map_err(failed)?;
        same(name, inside.finish(), &plain.digest)?;
        let size = spool.size();
        if size.saturating_mul(100) >= plain.size.saturating_mul(WORTH_PERCENT) {
            return Ok((plain.clone(), Blob::Entry(name.to_owned())));
        }
        let part = Made(Part::whole(spool.into_file(), size));
        let descriptor = Descriptor::new(LAYER_GZIP, hasher.finish(), size);
        Ok((descriptor, Blob::Made(part)))
    }
}

fn same(name: &str, is: Digest, wanted: &Digest) -> Result<(), ImageError> {
    if is == *wanted {
        return Ok(());
    }
    Err(lies(name, &is))
}

fn written(document: &impl serde::Serialize) -> Result<Vec<u8>, ImageError> {
    serde_json::to_vec(document).map_err(|e| ImageError::new(e.to_string()))
}

/// Where compressed bytes go.
struct Sink {
    spool: Spool,
    hasher: Hasher,
}

impl Sink {
    fn new() -> Result<Sink, ImageError> {
        Ok(Sink {
            spool: Spool::new()?,
            hasher: Hasher::default(),
        })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spool.add(bytes).map_err(io::Error::other)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
