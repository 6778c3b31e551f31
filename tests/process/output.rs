//! What a program writes, kept and read.

use super::*;
use fleetctl::model::LogStream;

#[tokio::test]
async fn lines_carry_their_stream_and_a_growing_time() {
    let node = Node::new();
    let launched = node
        .sh("echo one; echo two; echo three >&2; printf rest")
        .await;
    node.exit(&launched.handle).await;
    let lines = node.logs(&launched.handle, LogQuery::default()).await;
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines.is_sorted_by(|a, b| a.time_ns < b.time_ns),
        "{lines:?}"
    );
    let of = |stream| {
        lines
            .iter()
            .filter(move |l| l.stream == stream)
            .map(|l| l.text.as_str())
    };
    assert_eq!(
        of(LogStream::Stdout).collect::<Vec<_>>(),
        ["one", "two", "rest"]
    );
    assert_eq!(of(LogStream::Stderr).collect::<Vec<_>>(), ["three"]);

    let tail = LogQuery {
        tail: Some(1),
        ..LogQuery::default()
    };
    assert_eq!(node.logs(&launched.handle, tail).await, lines[3..]);
    let since = LogQuery {
        since_ns: Some(lines[1].time_ns),
        ..LogQuery::default()
    };
    assert_eq!(node.logs(&launched.handle, since).await, lines[2..]);
}

#[tokio::test]
async fn five_megabytes_are_rotated_and_the_newest_kept() {
    let node = Node::new();
    let script = "i=0; line=$(printf '%0500d' 0); \
                  while [ $i -lt 10000 ]; do echo $i $line; i=$((i+1)); done; echo last";
    let launched = node.sh(script).await;
    assert_eq!(node.exit(&launched.handle).await.code, Some(0));
    let dir = node.dir(&launched.handle);
    for name in ["log", "log.1", "log.2", "log.3"] {
        let len = std::fs::metadata(dir.join(name)).expect("a log").len();
        assert!(len > 0 && len <= 1 << 20, "{name} has {len} bytes");
    }
    assert!(!dir.join("log.4").exists());

    let texts = node.texts(&launched.handle).await;
    assert_eq!(texts.last().map(String::as_str), Some("last"));
    let number = |text: &String| text.split(' ').next().and_then(|n| n.parse::<u32>().ok());
    let numbers: Vec<u32> = texts.iter().filter_map(number).collect();
    assert!(numbers.len() > 5_000, "{}", numbers.len());
    assert!(
        numbers.is_sorted_by(|a, b| a + 1 == *b),
        "a line is missing or out of order"
    );
    assert_eq!(numbers.last(), Some(&9_999));
}

#[tokio::test]
async fn output_without_line_ends_is_cut() {
    let node = Node::new();
    let launched = node.sh("head -c 100000 /dev/zero | tr '\\0' x").await;
    node.exit(&launched.handle).await;
    let texts = node.texts(&launched.handle).await;
    assert_eq!(texts.iter().map(String::len).sum::<usize>(), 100_000);
    assert_eq!(texts.len(), 100_000_usize.div_ceil(16 << 10));
    assert!(texts.iter().all(|text| text.bytes().all(|b| b == b'x')));
}

#[tokio::test]
async fn binary_output_is_kept_readable() {
    let node = Node::new();
    let launched = node.sh(r"printf 'a\377\000b\nc\rd\n'").await;
    node.exit(&launched.handle).await;
    assert_eq!(node.texts(&launched.handle).await, ["a\u{fffd}\0b", "c\rd"]);
}

#[tokio::test]
async fn logs_are_followed_over_a_rotation_until_the_instance_is_gone() {
    let node = Node::new();
    let script = "while [ ! -e go ]; do sleep 0.01; done; i=0; line=$(printf '%0500d' 0); \
                  while [ $i -lt 4000 ]; do echo $i $line; i=$((i+1)); done; exec sleep 600";
    let launched = node.sh(script).await;
    let handle = launched.handle.clone();
    let query = LogQuery {
        follow_ms: Some(60_000),
        ..LogQuery::default()
    };
    let (sender, mut lines) = mpsc::channel(16);
    let follow = node.processes.logs(&handle, &query, sender);
    let story = async {
        std::fs::write(node.dir(&handle).join("work/go"), "").expect("written");
        for number in 0..4_000 {
            let line = lines.recv().await.expect("a line");
            assert_eq!(
                line.text.split(' ').next(),
                Some(number.to_string().as_str())
            );
        }
        node.processes.remove(&handle).await.expect("a removal");
        assert_eq!(lines.recv().await, None);
    };
    let both = async { tokio::join!(follow, story) };
    let (followed, ()) = tokio::time::timeout(DEADLINE, both)
        .await
        .expect("it ends in time");
    followed.expect("logs");
}
