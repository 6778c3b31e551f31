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

/// One that nobody can keep: the program is not held up, and no more is kept than is allowed.
#[tokio::test]
async fn a_gigabyte_of_output_is_capped() {
    let node = Node::new();
    let begun = Instant::now();
    let launched = node.sh("head -c 1G /dev/zero; echo; echo last").await;
    let exit = loop {
        if let FoundStatus::Exited(exit) = node.status(&launched.handle).await {
            break exit;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "it takes too long"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(exit.code, Some(0));
    let entries = std::fs::read_dir(node.dir(&launched.handle)).expect("a listing");
    let sizes: Vec<u64> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("log"))
        .map(|entry| entry.metadata().expect("a log").len())
        .collect();
    let total: u64 = sizes.iter().sum();
    assert!(total > 3_000_000 && total <= 4 << 20, "{sizes:?}");
    let tail = LogQuery {
        tail: Some(1),
        ..LogQuery::default()
    };
    assert_eq!(node.logs(&launched.handle, tail).await[0].text, "last");
}

#[tokio::test]
async fn a_workload_has_its_own_limits_of_logs() {
    let node = Node::new();
    let script = "i=0; line=$(printf '%0500d' 0); \
                  while [ $i -lt 1000 ]; do echo $line; i=$((i+1)); done";
    let launch = launch_of(&["/bin/sh", "-c", script], |workload| {
        workload.logs.max_size = 64 << 10;
        workload.logs.max_files = 2;
    });
    let launched = node.launch(&launch).await.expect("a launch");
    node.exit(&launched.handle).await;
    let dir = node.dir(&launched.handle);
    for name in ["log", "log.1"] {
        let len = std::fs::metadata(dir.join(name)).expect("a log").len();
        assert!(len > 0 && len <= 64 << 10, "{name} has {len} bytes");
    }
    assert!(!dir.join("log.2").exists());
}

/// Whoever asks anew with the time of the last line has every line once, also over a restart of
/// the program.
#[tokio::test]
async fn a_cursor_loses_and_doubles_nothing() {
    let node = Node::new();
    let script = "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); done";
    let launched = node.sh(script).await;
    node.exit(&launched.handle).await;
    let (mut since_ns, mut seen) = (None, Vec::new());
    for run in 0..2 {
        loop {
            // As much as a connection brings before it breaks.
            let query = LogQuery {
                since_ns,
                follow_ms: Some(0),
                ..LogQuery::default()
            };
            let lines = node.logs(&launched.handle, query).await;
            let Some(last) = lines.get(..lines.len().min(37)).and_then(<[_]>::last) else {
                break;
            };
            since_ns = Some(last.time_ns);
            seen.extend(lines.iter().take(37).map(|line| line.text.clone()));
        }
        if run == 0 {
            node.processes
                .start(&launched.handle)
                .await
                .expect("a start");
            node.exit(&launched.handle).await;
        }
    }
    let once: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(seen, [once.clone(), once].concat());
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
