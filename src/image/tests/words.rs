//! Words of archives that would stand in headers, URLs and command lines.

use super::*;

/// Without `--as`.
fn taken(files: &Files) -> Result<Packed, String> {
    pack(files.archive(), &Wish::default())
}

/// An OCI layout whose list of manifests, manifest and configuration were changed before their
/// digests were made.
fn layout(
    of_entry: impl Fn(&mut Value),
    of_manifest: impl Fn(&mut Value),
    of_config: impl Fn(&mut Value),
) -> Files {
    let mut files = Files::default();
    let plain = layer("one");
    let mut config: Value = serde_json::from_slice(&config("amd64", &[&plain])).unwrap();
    of_config(&mut config);
    let (config, config_size) = files.blob(config.to_string());
    let (digest, size) = files.blob(plain);
    let mut manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": config, "size": config_size},
        "layers": [{"mediaType": LAYER, "digest": digest, "size": size}],
    });
    of_manifest(&mut manifest);
    let (digest, size) = files.blob(manifest.to_string());
    let mut entry = json!({"mediaType": MANIFEST, "digest": digest, "size": size,
        "annotations": {"io.containerd.image.name": "docker.io/library/app:1"}});
    of_entry(&mut entry);
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    files.put("index.json", index.to_string());
    files
}

fn as_it_is(_: &mut Value) {}

#[test]
fn a_name_that_is_none_is_refused_wherever_the_archive_has_it_and_as_names_it_anew() {
    let named = Wish {
        reference: Some("docker.io/library/web:2".into()),
        ..Wish::default()
    };
    for tags in [json!(["-rf"]), json!(["app:1", "--all"]), json!(["a\nb"])] {
        let mut files = saved(&[&layer("one")]);
        let at = files.0.len() - 1;
        let manifest = json!([{"Config": "c.json", "RepoTags": tags, "Layers": ["0/layer.tar"]}]);
        files.0[at].1 = manifest.to_string().into_bytes();
        refused(taken(&files), &["no name of an image", "--as"]);
        let image = pack(files.archive(), &named).unwrap().image;
        assert_eq!(image.reference, "docker.io/library/web:2");
    }
    let annotated = |entry: &mut Value| {
        entry["annotations"]["io.containerd.image.name"] = json!("--rm/x");
    };
    let files = layout(annotated, as_it_is, as_it_is);
    refused(taken(&files), &["no name of an image"]);
}

#[test]
fn a_media_type_with_more_in_it_than_a_media_type_is_refused() {
    assert!(taken(&layout(as_it_is, as_it_is, as_it_is)).is_ok());
    for wrong in ["a/b\r\nX-Evil: 1", "a/b\0", "a", "a/b c"] {
        let entry = |v: &mut Value| v["mediaType"] = json!(wrong);
        refused(taken(&layout(entry, as_it_is, as_it_is)), &["media type"]);
        let config = |v: &mut Value| v["config"]["mediaType"] = json!(wrong);
        refused(taken(&layout(as_it_is, config, as_it_is)), &["media type"]);
        let layer = |v: &mut Value| v["layers"][0]["mediaType"] = json!(wrong);
        refused(taken(&layout(as_it_is, layer, as_it_is)), &["media type"]);
    }
    let layer = |v: &mut Value| v["layers"][0]["mediaType"] = json!("");
    refused(taken(&layout(as_it_is, layer, as_it_is)), &["media type"]);
}

#[test]
fn a_manifest_without_a_media_type_gets_that_of_its_form() {
    let none = |v: &mut Value| v["mediaType"] = json!("");
    // Its layer stays as it is, so the manifest does.
    let noise = gzip(b"noise");
    let mut files = Files::default();
    let entry = oci(&mut files, "amd64", LAYER_GZIP, &noise, None);
    let at = files.0.len() - 1;
    let mut list = json!({"schemaVersion": 2, "manifests": [entry.clone()]});
    none(&mut list["manifests"][0]);
    list["manifests"][0]["annotations"] = json!({"io.containerd.image.name": "app:1"});
    files.0[at].1 = list.to_string().into_bytes();
    assert_eq!(packed(&files).image.media_type, MANIFEST);
    // A list of lists is one by its form, too.
    let inner = json!({"schemaVersion": 2, "manifests": [entry]});
    files.0.truncate(at);
    let (digest, size) = files.blob(inner.to_string());
    let outer = json!({"schemaVersion": 2, "manifests": [{"digest": digest, "size": size,
        "annotations": {"io.containerd.image.name": "app:1"}}]});
    files.put("index.json", outer.to_string());
    let image = packed(&files);
    is_sound(&image);
    assert_eq!(image.image.media_type, MANIFEST, "the one in it");
}

#[test]
fn a_platform_that_is_none_is_refused() {
    for wrong in ["amd64\r\nx", "\u{1b}[2J", "AMD64", "a/b", "a b"] {
        let arch = |v: &mut Value| v["architecture"] = json!(wrong);
        refused(taken(&layout(as_it_is, as_it_is, arch)), &["no platform"]);
        let os = |v: &mut Value| v["os"] = json!(wrong);
        refused(taken(&layout(as_it_is, as_it_is, os)), &["no platform"]);
        let entry = |v: &mut Value| v["platform"] = json!({"os": "linux", "architecture": wrong});
        refused(taken(&layout(entry, as_it_is, as_it_is)), &["no platform"]);
        let mut files = saved(&[&layer("one")]);
        let at = files.0.len() - 2;
        let mut config: Value = serde_json::from_slice(&files.0[at].1).unwrap();
        arch(&mut config);
        files.0[at].1 = config.to_string().into_bytes();
        refused(taken(&files), &["c.json", "no platform"]);
    }
}

#[test]
fn a_layout_whose_configuration_lies_about_a_plain_layer_is_refused() {
    let other = |v: &mut Value| v["rootfs"]["diff_ids"] = json!([Digest::of(b"?")]);
    refused(
        taken(&layout(as_it_is, as_it_is, other)),
        &["does not", "damaged"],
    );
    let none = |v: &mut Value| v["rootfs"]["diff_ids"] = json!([]);
    refused(
        taken(&layout(as_it_is, as_it_is, none)),
        &["1 layers", "has 0"],
    );
}
