//! Archives as tools make them, and as nobody should.

mod words;

use super::{
    Archive, Descriptor, Packed, Spool, Wish,
    json::{INDEX, LAYER, LAYER_GZIP, MANIFEST},
    read,
};
use crate::model::Digest;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

/// Files of an archive that is being made.
#[derive(Default)]
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn put(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> &mut Files {
        self.0.push((name.to_owned(), bytes.into()));
        self
    }

    fn blob(&mut self, bytes: impl Into<Vec<u8>>) -> (Digest, usize) {
        let bytes = bytes.into();
        let (digest, size) = (Digest::of(&bytes), bytes.len());
        self.put(&format!("blobs/sha256/{}", digest.hex()), bytes);
        (digest, size)
    }

    fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in &self.0 {
            tar.append(
                &header(name, bytes.len(), tar::EntryType::Regular),
                bytes.as_slice(),
            )
            .unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn archive(&self) -> Archive {
        archive(&self.tar()).unwrap()
    }
}

fn header(name: &str, size: usize, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size as u64);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

fn archive(bytes: &[u8]) -> Result<Archive, super::ImageError> {
    let mut spool = Spool::new().unwrap();
    spool.add(bytes).unwrap();
    Archive::of_file(spool.into_file(), "test.tar")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A layer that shrinks.
fn layer(what: &str) -> Vec<u8> {
    what.repeat(5_000).into_bytes()
}

fn config(arch: &str, layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
    json!({"os": "linux", "architecture": arch, "rootfs": {"type": "layers", "diff_ids": ids}})
        .to_string()
        .into_bytes()
}

/// As `docker save` has always written it.
fn saved(layers: &[&[u8]]) -> Files {
    let mut files = Files::default();
    let names: Vec<String> = (0..layers.len())
        .map(|n| format!("{n}/layer.tar"))
        .collect();
    for (name, layer) in names.iter().zip(layers) {
        files.put(name, *layer);
    }
    files.put("c.json", config("amd64", layers));
    let manifest = json!([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": names}]);
    files.put("manifest.json", manifest.to_string());
    files
}

fn pack(archive: Archive, wish: &Wish) -> Result<Packed, String> {
    read(archive, wish, &mut |_| {}).map_err(|e| e.to_string())
}

fn packed(files: &Files) -> Packed {
    pack(files.archive(), &Wish::default()).unwrap()
}

#[track_caller]
fn refused(outcome: Result<Packed, String>, words: &[&str]) {
    let text = outcome.unwrap_err();
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

fn bytes(packed: &Packed, digest: &Digest, offset: u64) -> Vec<u8> {
    let mut all = Vec::new();
    let mut reader = packed.open(digest, offset).unwrap();
    reader.read_to_end(&mut all).unwrap();
    all
}

fn document(packed: &Packed, digest: &Digest) -> Value {
    serde_json::from_slice(&bytes(packed, digest, 0)).unwrap()
}

/// Every blob is what its name says, whichever way it is read.
#[track_caller]
fn is_sound(packed: &Packed) {
    for (digest, size) in &packed.image.blobs {
        let all = bytes(packed, digest, 0);
        assert_eq!((Digest::of(&all), all.len() as u64), (*digest, *size));
        assert_eq!(bytes(packed, digest, 3), all[3.min(all.len())..]);
    }
}

#[test]
fn what_docker_saves_becomes_compressed_blobs_and_the_same_ones_each_time() {
    let (one, two) = (layer("one"), layer("two"));
    let files = saved(&[&one, &two]);
    let first = packed(&files);
    is_sound(&first);
    assert_eq!(first.image.reference, "app:1");
    assert_eq!(first.image.media_type, MANIFEST);
    assert_eq!(first.image.platforms, ["linux/amd64"]);
    assert_eq!(
        first.image.blobs.len(),
        4,
        "manifest, configuration, two layers"
    );
    let manifest = document(&first, &first.image.manifest);
    assert_eq!(manifest["layers"][0]["mediaType"], LAYER_GZIP);
    let digest: Digest = manifest["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut unpacked = Vec::new();
    let reader = first.open(&digest, 0).unwrap();
    flate2::read::GzDecoder::new(reader)
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, one);
    assert_eq!(packed(&files).image, first.image);
    let zipped = archive(&gzip(&files.tar())).unwrap();
    assert_eq!(pack(zipped, &Wish::default()).unwrap().image, first.image);
    // A changed layer above changes that, the configuration and the manifest.
    let changed = packed(&saved(&[&one, &layer("three")]));
    let shared = changed
        .image
        .blobs
        .keys()
        .filter(|d| first.image.blobs.contains_key(*d));
    assert_eq!(shared.count(), 1);
}

#[test]
fn a_layer_that_does_not_shrink_and_one_that_is_compressed_stay_as_they_are() {
    let noise: Vec<u8> = (0u32..2_000)
        .flat_map(|n| {
            *Digest::of(&n.to_le_bytes())
                .hex()
                .as_bytes()
                .first_chunk::<8>()
                .unwrap()
        })
        .collect();
    let noise = gzip(&noise);
    let plain = layer("plain");
    let mut files = saved(&[&plain]);
    // As some builders do: the file is compressed, the configuration names what is inside.
    files.0[0].1 = gzip(&plain);
    let image = packed(&files);
    is_sound(&image);
    assert!(image.image.blobs.contains_key(&Digest::of(&gzip(&plain))));
    // Twice compressed it would only grow; as a plain layer it stays one.
    let mut odd = Files::default();
    let mut body = b"x".to_vec();
    body.extend(&noise);
    oci(&mut odd, "amd64", LAYER, &body, None);
    let image = packed(&odd);
    let manifest = document(&image, &image.image.manifest);
    assert_eq!(manifest["layers"][0]["mediaType"], LAYER);
}

/// Adds an image to an OCI layout; what names it.
fn oci(files: &mut Files, arch: &str, kind: &str, layer: &[u8], name: Option<&str>) -> Value {
    let (config, config_size) = files.blob(config(arch, &[layer]));
    let (digest, size) = files.blob(layer);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": config, "size": config_size},
        "layers": [{"mediaType": kind, "digest": digest, "size": size}],
    });
    let (digest, size) = files.blob(manifest.to_string());
    let mut entry = json!({"mediaType": MANIFEST, "digest": digest, "size": size,
                           "platform": {"os": "linux", "architecture": arch}});
    if let Some(name) = name {
        entry["annotations"] = json!({"io.containerd.image.name": name});
    }
    let index = json!({"schemaVersion": 2, "manifests": [entry.clone()]});
    files.0.retain(|(name, _)| name != "index.json");
    files.put("index.json", index.to_string());
    if name.is_none() {
        files.0.retain(|(name, _)| name != "index.json");
        let mut named = index;
        named["manifests"][0]["annotations"] = json!({"io.containerd.image.name": "app:1"});
        files.put("index.json", named.to_string());
    }
    entry
}

fn two_platforms() -> Files {
    let mut files = Files::default();
    let arm = oci(&mut files, "arm64", LAYER_GZIP, &gzip(&layer("arm")), None);
    let amd = oci(&mut files, "amd64", LAYER_GZIP, &gzip(&layer("amd")), None);
    let attested = json!({
        "mediaType": MANIFEST, "digest": arm["digest"], "size": arm["size"],
        "platform": {"os": "unknown", "architecture": "unknown"},
    });
    let absent = json!({
        "mediaType": MANIFEST, "digest": Digest::of(b"?"), "size": 1,
        "platform": {"os": "linux", "architecture": "s390x"},
    });
    let inner = json!({"schemaVersion": 2, "mediaType": INDEX,
                       "manifests": [arm, amd, attested, absent]});
    let (digest, size) = files.blob(inner.to_string());
    files.0.retain(|(name, _)| name != "index.json");
    let outer = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": INDEX, "digest": digest, "size": size,
         "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/app:1"}}]});
    files.put("index.json", outer.to_string());
    files
}

#[test]
fn a_layout_of_several_platforms_is_taken_whole_or_one_of_them_or_says_what_there_is() {
    let files = two_platforms();
    let all = packed(&files);
    is_sound(&all);
    assert_eq!(all.image.platforms, ["linux/arm64", "linux/amd64"]);
    assert_eq!(
        (all.image.media_type.as_str(), all.image.blobs.len()),
        (INDEX, 7)
    );
    assert_eq!(all.image.reference, "docker.io/library/app:1");
    let of = |platform: &str| Wish {
        platform: Some(platform.parse().unwrap()),
        ..Wish::default()
    };
    let one = pack(files.archive(), &of("linux/arm64")).unwrap();
    assert_eq!(
        (one.image.media_type.as_str(), one.image.blobs.len()),
        (MANIFEST, 3)
    );
    assert!(
        all.image.blobs.contains_key(&one.image.manifest),
        "as it was"
    );
    refused(
        pack(files.archive(), &of("linux/riscv64")),
        &["linux/riscv64", "it has linux/amd64, linux/arm64"],
    );
    refused(
        pack(files.archive(), &of("linux/s390x")),
        &["linux/s390x", "not in the archive"],
    );
}

#[test]
fn a_layer_that_the_controller_has_is_neither_read_nor_compressed() {
    let (one, two) = (layer("one"), layer("two"));
    let known = Descriptor::new(LAYER_GZIP, Digest::of(b"theirs"), 77);
    let wish = Wish {
        known: BTreeMap::from([(Digest::of(&one), known.clone())]),
        ..Wish::default()
    };
    let image = pack(saved(&[&one, &two]).archive(), &wish).unwrap();
    assert_eq!(image.image.blobs[&known.digest], 77);
    assert!(image.open(&known.digest, 0).is_err());
}

#[test]
fn what_lies_is_refused() {
    let honest = layer("one");
    let mut files = saved(&[&honest]);
    files.0[0].1[7] ^= 1;
    refused(
        pack(files.archive(), &Wish::default()),
        &["0/layer.tar", "not what it says"],
    );
    // The same of a layer that is compressed, and of a layout's blobs and documents.
    files.0[0].1 = gzip(&layer("two"));
    refused(
        pack(files.archive(), &Wish::default()),
        &["not what it says"],
    );
    for victim in 0..2 {
        let mut files = Files::default();
        oci(&mut files, "amd64", LAYER_GZIP, &gzip(&honest), None);
        let blobs = files.0.iter_mut().filter(|(n, _)| n.starts_with("blobs/"));
        let (_, blob) = blobs.into_iter().nth(victim).unwrap();
        let last = blob.len() - 1;
        blob[last] = b' ';
        refused(
            pack(files.archive(), &Wish::default()),
            &["not what it says"],
        );
    }
}

#[test]
fn an_archive_that_is_cut_is_refused_wherever_it_is_cut() {
    let whole = saved(&[&layer("one"), &layer("two")]).tar();
    for at in [
        0,
        100,
        512,
        700,
        16_000,
        whole.len() / 2,
        whole.len() - 1_600,
    ] {
        let taken = archive(&whole[..at]).map_err(|e| e.to_string());
        let outcome = taken.and_then(|a| pack(a, &Wish::default()));
        assert!(outcome.is_err(), "cut at {at} it was taken");
    }
    let zipped = gzip(&whole);
    let cut = archive(&zipped[..zipped.len() / 2]);
    let text = cut.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(text.contains("cut"), "{text}");
}

#[test]
fn names_and_links_that_lead_out_are_refused() {
    for name in ["../evil", "/etc/passwd", "a/../../b"] {
        let mut files = saved(&[&layer("one")]);
        files.put(name, "x");
        let text = archive(&files.tar()).unwrap_err().to_string();
        assert!(text.contains("leads out"), "{text}");
    }
    for (link, fine) in [
        ("../0/layer.tar", true),
        ("../../x", false),
        ("/etc/passwd", false),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = header("1/layer.tar", 0, tar::EntryType::Symlink);
        header.set_link_name_literal(link).unwrap();
        header.set_cksum();
        tar.append(&header, &[][..]).unwrap();
        let taken = archive(&tar.into_inner().unwrap());
        assert_eq!(taken.is_ok(), fine, "{link}");
    }
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header("pipe", 0, tar::EntryType::Fifo), &[][..])
        .unwrap();
    assert!(archive(&tar.into_inner().unwrap()).is_err());
}

#[test]
fn a_layer_that_two_share_is_found_behind_its_link_and_a_loop_is_none() {
    let one = layer("one");
    let mut files = saved(&[&one, &one]);
    files.0.retain(|(name, _)| name != "1/layer.tar");
    let mut tar = tar::Builder::new(files.tar());
    // The two empty blocks at the end of what there is.
    let end = tar.get_ref().len() - 1_024;
    tar.get_mut().truncate(end);
    for (name, link) in [("1/layer.tar", "../0/layer.tar"), ("l", "l")] {
        let mut header = header(name, 0, tar::EntryType::Symlink);
        header.set_link_name_literal(link).unwrap();
        header.set_cksum();
        tar.append(&header, &[][..]).unwrap();
    }
    let archive = archive(&tar.into_inner().unwrap()).unwrap();
    assert!(!archive.has("l"));
    let image = pack(archive, &Wish::default()).unwrap();
    is_sound(&image);
    assert_eq!(image.image.blobs.len(), 3, "one layer, once");
}

#[test]
fn what_unpacks_to_far_too_much_is_given_up_early() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..100 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 200_000, "it is one");
    let text = archive(&bomb).unwrap_err().to_string();
    assert!(text.contains("no honest image"), "{text}");
    let mut files = saved(&[&[0; 10]]);
    files.0[0].1 = bomb;
    refused(
        pack(files.archive(), &Wish::default()),
        &["no honest image"],
    );
}

#[test]
fn what_is_no_image_or_has_no_name_is_said() {
    refused(
        pack(Files::default().put("x", "y").archive(), &Wish::default()),
        &["no image"],
    );
    let mut files = saved(&[&layer("one")]);
    let at = files.0.len() - 1;
    files.0[at].1 = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["0/layer.tar"]}])
        .to_string()
        .into_bytes();
    refused(pack(files.archive(), &Wish::default()), &["--as"]);
    let named = Wish {
        reference: Some("docker.io/library/web:2".into()),
        ..Wish::default()
    };
    assert_eq!(
        pack(files.archive(), &named).unwrap().image.reference,
        "docker.io/library/web:2"
    );
    files.0[at].1 = br#"[{"Config": "c.json", "Layers": ["0/layer.tar", "x"]}]"#.to_vec();
    refused(pack(files.archive(), &named), &["damaged"]);
    files.0[at].1 = br#"[{"Config": "gone.json", "Layers": []}]"#.to_vec();
    refused(
        pack(files.archive(), &named),
        &["gone.json", "not in the archive"],
    );
    let text = archive(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0])
        .unwrap_err()
        .to_string();
    assert!(text.contains("gzip"), "{text}");
}

#[test]
fn a_directory_is_read_as_an_archive_is_and_links_in_it_are_not_followed() {
    let files = two_platforms();
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in &files.0 {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let image = pack(super::open(dir.path()).unwrap(), &Wish::default()).unwrap();
    assert_eq!(image.image, packed(&files).image);
    let index = dir.path().join("index.json");
    std::fs::remove_file(&index).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &index).unwrap();
    refused(
        pack(super::open(dir.path()).unwrap(), &Wish::default()),
        &["no image"],
    );
}
