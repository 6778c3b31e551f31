//! What the registry gives, and what it does not.

use super::*;
use http_body_util::Empty;
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Blobs in memory, in pieces of four bytes.
struct Memory(BTreeMap<Digest, Vec<u8>>);

impl Source for Memory {
    fn open(
        &self,
        digest: Digest,
        range: Option<(u64, u64)>,
    ) -> BoxFuture<'static, Result<(u64, Flow), String>> {
        let Some(bytes) = self.0.get(&digest).cloned() else {
            return Box::pin(async { Err("the controller does not have it".to_owned()) });
        };
        let size = bytes.len() as u64;
        let (from, end) = range.unwrap_or((0, size));
        let part = bytes[from as usize..end as usize].to_vec();
        let honest = range.is_some() || Digest::of(&bytes) == digest;
        let mut pieces: Vec<Result<Bytes, String>> = part
            .chunks(4)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        if !honest {
            pieces.push(Err("its bytes were changed".to_owned()));
        }
        Box::pin(async move { Ok((size, stream::iter(pieces).boxed())) })
    }
}

struct World {
    registry: Registry,
    layer: Digest,
    foreign: Digest,
}

fn world() -> World {
    let mut blobs = BTreeMap::new();
    let mut put = |bytes: &[u8]| {
        blobs.insert(Digest::of(bytes), bytes.to_vec());
        Digest::of(bytes)
    };
    let (config, layer) = (put(b"{}"), put(b"a layer of the image"));
    let foreign = put(b"not of this image");
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"digest": config, "size": 2},
        "layers": [{"digest": layer, "size": 20}],
    });
    let manifest = put(manifest.to_string().as_bytes());
    let index = json!({"manifests": [{"mediaType": MANIFEST, "digest": manifest, "size": 1}]});
    let top = put(index.to_string().as_bytes());
    let kind = "application/vnd.oci.image.index.v1+json".to_owned();
    let registry = Registry {
        name: "fleetctl-lent-x".to_owned(),
        source: Arc::new(Memory(blobs)),
        top,
        sent: Arc::default(),
        known: Arc::new(Mutex::new(Known {
            manifests: BTreeMap::from([(top, kind)]),
            ..Known::default()
        })),
    };
    World {
        registry,
        layer,
        foreign,
    }
}

impl World {
    async fn ask(&self, method: &str, path: &str, range: Option<&str>) -> (u16, Option<Vec<u8>>) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = self.registry.answer(&request).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok();
        (status, body.map(|b| b.to_bytes().to_vec()))
    }

    /// As an engine does: the tag, then what it lists.
    async fn read_manifests(&self) {
        let path = "/v2/fleetctl-lent-x/manifests/1";
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, 200);
        let index: Index = serde_json::from_slice(&body.unwrap()).unwrap();
        let path = format!(
            "/v2/fleetctl-lent-x/manifests/{}",
            index.manifests[0].digest
        );
        assert_eq!(self.ask("HEAD", &path, None).await, (200, Some(Vec::new())));
        assert_eq!(self.ask("GET", &path, None).await.0, 200);
    }

    fn blob(&self, digest: Digest) -> String {
        format!("/v2/fleetctl-lent-x/blobs/{digest}")
    }
}

#[tokio::test]
async fn it_gives_the_image_whole_and_in_parts_and_nothing_else() {
    let world = world();
    let layer = world.blob(world.layer);
    assert_eq!(world.ask("GET", &layer, None).await.0, 404, "not named yet");
    assert_eq!(world.ask("GET", "/v2/", None).await.0, 200);
    world.read_manifests().await;
    let whole = b"a layer of the image".to_vec();
    assert_eq!(
        world.ask("GET", &layer, None).await,
        (200, Some(whole.clone()))
    );
    assert!(world.registry.sent.load(Ordering::Relaxed) > 20);
    let part = world.ask("GET", &layer, Some("bytes=5-")).await;
    assert_eq!(part, (206, Some(whole[5..].to_vec())));
    let part = world.ask("GET", &layer, Some("bytes=2-6")).await;
    assert_eq!(part, (206, Some(whole[2..7].to_vec())));
    for (method, path, status) in [
        ("GET", world.blob(world.foreign), 404),
        ("GET", world.blob(world.registry.top), 404),
        ("GET", "/v2/other/manifests/1".to_owned(), 404),
        ("GET", "/v2/fleetctl-lent-x/manifests/2".to_owned(), 404),
        ("GET", "/v2/fleetctl-lent-x/blobs/../x".to_owned(), 404),
        ("GET", "/v2/_catalog".to_owned(), 404),
        ("DELETE", layer.clone(), 405),
        ("PUT", layer, 405),
    ] {
        assert_eq!(
            world.ask(method, &path, None).await.0,
            status,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_blob_whose_bytes_were_changed_never_ends() {
    let mut world = world();
    let (top, layer) = (world.registry.top, world.layer);
    let mut blobs = BTreeMap::new();
    for digest in [top, layer] {
        let (_, mut flow) = world.registry.source.open(digest, None).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(more) = flow.next().await {
            bytes.extend_from_slice(&more.unwrap());
        }
        blobs.insert(digest, bytes);
    }
    world.read_manifests().await;
    blobs.get_mut(&layer).unwrap()[3] ^= 1;
    world.registry.source = Arc::new(Memory(blobs));
    let (status, body) = world.ask("GET", &world.blob(layer), None).await;
    assert_eq!((status, body), (200, None), "the connection breaks");
    let (status, body) = world.ask("GET", &world.blob(layer), None).await;
    let text = String::from_utf8(body.unwrap()).unwrap();
    assert!(
        status == 400 && text.contains("changed"),
        "nobody asks a third time: {text}"
    );
    // A manifest is looked at before anything of it goes out.
    world.registry.known().read.clear();
    let tampered = Memory(BTreeMap::from([(top, b"{\"manifests\":[]}".to_vec())]));
    world.registry.source = Arc::new(tampered);
    let (status, body) = world
        .ask("GET", "/v2/fleetctl-lent-x/manifests/1", None)
        .await;
    let text = String::from_utf8(body.unwrap()).unwrap();
    assert_eq!(status, 500);
    assert!(text.contains("changed"), "{text}");
}

#[test]
fn odd_ranges_mean_all_of_it() {
    for odd in [
        "bytes=-5",
        "bytes=9-3",
        "bytes=0-",
        "bytes=100-",
        "lines=1-2",
        "bytes=1-2,4-5",
    ] {
        assert_eq!(part(odd, 20), None, "{odd}");
    }
    assert_eq!(part("bytes=1-99", 20), Some((1, 20)));
    assert_eq!(part(&format!("bytes=1-{}", u64::MAX), 20), None);
}
