//! Fetching, from a controller that misbehaves.

use super::*;
use crate::{
    contract::Topics,
    identity::{SigningKey, credential},
    model::Name,
};
use std::{sync::Mutex as StdMutex, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// What a server does with one request.
#[derive(Debug, Clone)]
enum Act {
    /// All that is asked for.
    Give,
    /// So many bytes of it, then it closes.
    Cut(usize),
    /// The first byte is another one.
    Tamper,
    /// These bytes as they are.
    Say(&'static str),
}

/// The `Range` of every request that came.
type Asked = Arc<StdMutex<Vec<Option<String>>>>;

/// Serves `blob`, each request as the next of `acts` says; the last one holds for all after it.
async fn server(blob: Vec<u8>, acts: Vec<Act>) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let seen = asked.clone();
    tokio::spawn(async move {
        let mut acts = acts.into_iter();
        let mut act = Act::Give;
        while let Ok((mut stream, _)) = listener.accept().await {
            act = acts.next().unwrap_or(act);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).await.is_err() {
                    break;
                }
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let range = head.lines().find_map(|l| l.strip_prefix("range: bytes="));
            seen.lock().unwrap().push(range.map(str::to_owned));
            let (from, end) = match range.and_then(|r| r.split_once('-')) {
                Some((from, "")) => (from.parse().unwrap(), blob.len()),
                Some((from, last)) => (from.parse().unwrap(), last.parse::<usize>().unwrap() + 1),
                None => (0, blob.len()),
            };
            let mut part = blob[from..end].to_vec();
            let total = blob.len();
            let head = match range {
                Some(_) => format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n\
                     Content-Range: bytes {from}-{}/{total}\r\n\r\n",
                    part.len(),
                    end - 1
                ),
                None => format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"),
            };
            match act {
                Act::Give => {}
                Act::Cut(count) => part.truncate(count),
                Act::Tamper => part[0] ^= 1,
                Act::Say(text) => {
                    let _ = stream.write_all(text.as_bytes()).await;
                    continue;
                }
            }
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&part).await;
            let _ = stream.shutdown().await;
        }
    });
    (url, asked)
}

fn node(brokers: &[String]) -> NodeBlobs {
    let (fleet, key) = (
        SigningKey::from_seed(&[1; 32]),
        SigningKey::from_seed(&[2; 32]),
    );
    let name: Name = "pi".parse().unwrap();
    let member = Membership {
        node: name.clone(),
        brokers: brokers.to_vec(),
        ca_sha256: None,
        external_ca: None,
        fleet_key: fleet.public().to_string(),
        prefix: "fleet".into(),
        credential: credential::issue(&fleet, &name, &key.public()),
    };
    let sender = Sender::new(name, Topics::new("fleet"), key, (1, 1));
    let servers = enroll::known_servers(&member).unwrap();
    NodeBlobs::new(&member, servers, Arc::new(sender))
}

fn blob(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

/// Time goes by while everybody waits.
fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), future)
            .await
            .unwrap()
    })
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_ended() {
    run(async {
        let bytes = blob(100_000);
        let acts = vec![Act::Cut(30_000), Act::Cut(0), Act::Cut(50_000), Act::Give];
        let (url, asked) = server(bytes.clone(), acts).await;
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("fleetctl");
        let mut heard = Vec::new();
        let digest = Digest::of(&bytes);
        node(&[url])
            .fetch(digest, 100_000, &to, &mut |n| heard.push(n))
            .await
            .unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), bytes);
        assert!(heard.is_sorted() && heard.last() == Some(&100_000));
        let asked = asked.lock().unwrap().clone();
        let from: Vec<&str> = asked
            .iter()
            .map(|r| r.as_deref().unwrap().split('-').next().unwrap())
            .collect();
        assert_eq!(from, ["0", "30000", "30000", "80000"]);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no .part"
        );
    });
}

#[test]
fn what_an_earlier_start_fetched_is_not_fetched_again() {
    run(async {
        let bytes = blob(10_000);
        let (url, asked) = server(bytes.clone(), vec![Act::Give]).await;
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("fleetctl");
        std::fs::write(dir.path().join("fleetctl.part"), &bytes[..4_000]).unwrap();
        let node = node(&[url]);
        let digest = Digest::of(&bytes);
        node.fetch(digest, 10_000, &to, &mut |_| {}).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [Some("4000-9999".to_owned())]);
        node.fetch(digest, 10_000, &to, &mut |_| {}).await.unwrap();
        assert_eq!(asked.lock().unwrap().len(), 1, "it is there");
    });
}

#[test]
fn wrong_bytes_are_fetched_anew_once_and_then_refused() {
    run(async {
        let bytes = blob(10_000);
        let digest = Digest::of(&bytes);
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("fleetctl");

        let (url, asked) = server(bytes.clone(), vec![Act::Tamper, Act::Give]).await;
        let done = node(&[url]).fetch(digest, 10_000, &to, &mut |_| {}).await;
        assert_eq!(done, Ok(()));
        assert_eq!(asked.lock().unwrap().len(), 2);
        std::fs::remove_file(&to).unwrap();

        let (url, asked) = server(bytes.clone(), vec![Act::Tamper]).await;
        let done = node(&[url]).fetch(digest, 10_000, &to, &mut |_| {}).await;
        let said = done.unwrap_err().to_string();
        assert!(
            said.contains("twice") && said.contains("push it again"),
            "{said}"
        );
        assert_eq!(asked.lock().unwrap().len(), 2);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_blob_of_another_size_is_refused_and_never_more_is_written() {
    run(async {
        let bytes = blob(10_000);
        let (url, _) = server(bytes.clone(), vec![Act::Give]).await;
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("fleetctl");
        let done = node(&[url])
            .fetch(Digest::of(&bytes), 9_000, &to, &mut |_| {})
            .await;
        let said = done.unwrap_err().to_string();
        assert!(said.contains("9000") && said.contains("10000"), "{said}");
        assert!(!to.exists());
    });
}

#[test]
fn a_disk_without_room_is_said_before_anything_is_fetched() {
    run(async {
        let (url, asked) = server(blob(10), vec![Act::Give]).await;
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("fleetctl");
        let done = node(&[url])
            .fetch(Digest::of(b"x"), 1 << 60, &to, &mut |_| {})
            .await;
        assert!(done.unwrap_err().to_string().contains("make room"));
        assert!(asked.lock().unwrap().is_empty());
    });
}

#[test]
fn another_broker_is_asked_where_one_is_away_or_understands_nothing() {
    run(async {
        let bytes = blob(10_000);
        let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = format!("mqtt://{}", away.local_addr().unwrap());
        drop(away);
        let (deaf, _) = server(bytes.clone(), vec![Act::Say("\x20\x02\x00\x05")]).await;
        let (busy, _) = server(
            bytes.clone(),
            vec![Act::Say("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")],
        )
        .await;
        let (good, asked) = server(bytes.clone(), vec![Act::Give]).await;
        let blobs = node(&[gone, deaf, busy, good]);
        let digest = Digest::of(&bytes);
        let mut body = blobs.open(digest, None).await.unwrap();
        assert_eq!((body.size(), body.left()), (10_000, 10_000));
        let mut found = Vec::new();
        while let Some(bytes) = body.next().await.unwrap() {
            found.extend(bytes);
        }
        assert_eq!(found, bytes);
        // And is asked first from then on.
        assert_eq!(blobs.places()[0].0, 3);
        let mut body = blobs.open(digest, Some((100, 200))).await.unwrap();
        assert_eq!(body.next().await.unwrap().unwrap()[..], bytes[100..200]);
        assert_eq!(body.next().await.unwrap(), None);
        assert_eq!(*asked.lock().unwrap(), [None, Some("100-199".to_owned())]);
    });
}

#[test]
fn what_the_controller_does_not_have_is_said_at_once() {
    run(async {
        let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let (url, asked) = server(blob(10), vec![Act::Say(missing)]).await;
        let error = node(&[url]).open(Digest::of(b"x"), None).await.unwrap_err();
        assert!(error.to_string().contains("does not have"), "{error}");
        assert_eq!(asked.lock().unwrap().len(), 1);
    });
}

#[test]
fn a_stream_of_a_whole_blob_ends_with_its_hash() {
    run(async {
        let bytes = blob(10_000);
        let (url, _) = server(bytes.clone(), vec![Act::Tamper]).await;
        let mut body = node(&[url]).open(Digest::of(&bytes), None).await.unwrap();
        let end = loop {
            match body.next().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert!(end.unwrap_err().to_string().contains("bytes were changed"));
    });
}

#[test]
fn it_gives_up_after_so_many_tries_and_names_what_was_tried() {
    run(async {
        let digest = Digest::of(b"x");
        let mut patience = body::Patience::default();
        let mut waited = Duration::ZERO;
        let mut tries = 1;
        let said = loop {
            let refused = ask::Refused::Broken("10.0.0.1:8883: connection refused".into());
            match patience.after(digest, refused, 0) {
                Ok(wait) => waited += wait,
                Err(error) => break error.to_string(),
            }
            tries += 1;
        };
        assert_eq!(tries, 10);
        assert!((60..180).contains(&waited.as_secs()), "{waited:?}");
        assert!(
            said.contains("10.0.0.1:8883") && said.contains("10 times"),
            "{said}"
        );
    });
}

#[test]
fn an_address_of_the_api_takes_the_place_of_the_brokers() {
    run(async {
        let bytes = blob(100);
        let (url, asked) = server(bytes.clone(), vec![Act::Give]).await;
        let blobs = node(&["mqtt://127.0.0.1:1".to_owned()]);
        let source = BlobSource {
            url: url.replace("mqtt:", "http:") + "/behind/a/proxy/",
            ca_sha256: None,
        };
        blobs.configure(Some(&source));
        assert_eq!(blobs.places()[0].1.path, "/behind/a/proxy");
        let mut body = blobs.open(Digest::of(&bytes), None).await.unwrap();
        assert!(body.next().await.unwrap().is_some());
        assert_eq!(asked.lock().unwrap().len(), 1);
        blobs.configure(None);
        assert_eq!(blobs.places()[0].1.address.port, 1);
    });
}
