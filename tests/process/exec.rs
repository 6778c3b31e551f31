//! Programs that are run beside an instance.

use super::*;
use fleetctl::model::{ExecSpec, LogStream, TerminalSize};
use fleetctl::runtime::{ExecFeed, ExecOutput};

struct Beside {
    code: Result<i32, RuntimeError>,
    stdout: String,
    stderr: String,
}

/// A program with a marker in its environment beside which others run.
async fn up(node: &Node) -> String {
    let launch = launch_of(&["/bin/sleep", "600"], |workload| {
        workload.env.insert("MODE".to_owned(), "prod".to_owned());
    });
    node.launch(&launch).await.expect("a launch").handle
}

fn spec(script: &str) -> ExecSpec {
    ExecSpec {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecSpec::default()
    }
}

async fn exec(node: &Node, handle: &str, spec: ExecSpec, feed: Vec<ExecFeed>) -> Beside {
    let (sender, mut output) = mpsc::channel::<ExecOutput>(4);
    let (feeder, fed) = mpsc::channel(4);
    let story = async {
        for piece in feed {
            let _ = feeder.send(piece).await;
        }
        // Open until the end: nothing more comes, but nobody says so.
        let mut streams = [Vec::new(), Vec::new()];
        while let Some(piece) = output.recv().await {
            assert!(piece.data.len() <= 16 << 10);
            streams[usize::from(piece.stream == LogStream::Stderr)].extend_from_slice(&piece.data);
        }
        drop(feeder);
        streams.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let run = node.processes.exec(handle, &spec, sender, Some(fed));
    let both = async { tokio::join!(run, story) };
    let (code, [stdout, stderr]) = tokio::time::timeout(DEADLINE, both).await.expect("an end");
    Beside {
        code,
        stdout,
        stderr,
    }
}

#[tokio::test]
async fn it_has_the_environment_and_place_and_gives_its_code() {
    let node = Node::new();
    let handle = up(&node).await;
    let script = "echo $MODE $FLEETCTL_WORKLOAD; pwd; echo oops >&2; cat; exit 3";
    let beside = exec(&node, &handle, spec(script), Vec::new()).await;
    assert_eq!(beside.code, Ok(3));
    let work = node.dir(&handle).join("work");
    assert_eq!(beside.stdout, format!("prod web\n{}\n", work.display()));
    assert_eq!(beside.stderr, "oops\n");
    let killed = exec(&node, &handle, spec("kill -9 $$"), Vec::new()).await;
    assert_eq!(killed.code, Ok(137));
}

#[tokio::test]
async fn input_arrives_and_much_output_is_whole() {
    let node = Node::new();
    let handle = up(&node).await;
    let wanted = ExecSpec {
        stdin: true,
        ..spec("cat; echo end")
    };
    let feed = vec![
        ExecFeed::Data("one\n".into()),
        ExecFeed::Data("two\n".into()),
        ExecFeed::End,
    ];
    let beside = exec(&node, &handle, wanted, feed).await;
    assert_eq!(
        (beside.code, beside.stdout.as_str()),
        (Ok(0), "one\ntwo\nend\n")
    );
    let much = exec(
        &node,
        &handle,
        spec("head -c 3000000 /dev/zero"),
        Vec::new(),
    )
    .await;
    assert_eq!((much.code, much.stdout.len()), (Ok(0), 3_000_000));
}

#[tokio::test]
async fn it_may_have_a_terminal() {
    let node = Node::new();
    let handle = up(&node).await;
    let wanted = ExecSpec {
        stdin: true,
        terminal: Some(TerminalSize {
            columns: 91,
            rows: 17,
        }),
        ..spec("tty >/dev/null && stty size; read a; stty size; read b; echo got $a $b; exit 5")
    };
    let feed = vec![
        ExecFeed::Resize(TerminalSize {
            columns: 92,
            rows: 18,
        }),
        ExecFeed::Data("x\n".into()),
        ExecFeed::Data("y\n".into()),
    ];
    let beside = exec(&node, &handle, wanted, feed).await;
    assert_eq!(beside.code, Ok(5));
    assert!(beside.stdout.contains("18 92\r\n"), "{:?}", beside.stdout);
    assert!(
        beside.stdout.ends_with("got x y\r\n"),
        "{:?}",
        beside.stdout
    );
    // Without input it has an end.
    let silent = ExecSpec {
        terminal: Some(TerminalSize {
            columns: 80,
            rows: 24,
        }),
        ..spec("cat; echo end")
    };
    let beside = exec(&node, &handle, silent, Vec::new()).await;
    assert_eq!(beside.code, Ok(0));
    assert!(beside.stdout.ends_with("end\r\n"), "{:?}", beside.stdout);
}

#[tokio::test]
async fn dropped_it_is_killed_with_its_group() {
    let node = Node::new();
    let handle = up(&node).await;
    let (sender, mut output) = mpsc::channel(4);
    let wanted = spec("trap '' TERM; sleep 600 & echo $$ $!; wait; sleep 600");
    let run = node.processes.exec(&handle, &wanted, sender, None);
    let pids = async {
        let piece = output.recv().await.expect("two pids");
        String::from_utf8(piece.data.to_vec()).expect("text")
    };
    let text = tokio::select! {
        code = run => panic!("it ended with {code:?}"),
        text = pids => text,
    };
    let pids: Vec<u64> = text
        .split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect();
    assert_eq!(pids.len(), 2);
    until(|| async { pids.iter().all(|pid| !lives(*pid)) }).await;
    // No zombie stays.
    let gone = |pid: u64| !Path::new(&format!("/proc/{pid}")).exists();
    until(|| async { gone(pids[0]) }).await;
}

#[tokio::test]
async fn what_it_leaves_behind_does_not_hold_it_up() {
    let node = Node::new();
    let handle = up(&node).await;
    let beside = exec(&node, &handle, spec("sleep 600 & echo $!"), Vec::new()).await;
    assert_eq!(beside.code, Ok(0));
    let left: u64 = beside.stdout.trim().parse().expect("a pid");
    until(|| async { !lives(left) }).await;
}

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    let node = Node::new();
    let handle = up(&node).await;
    let nope = ExecSpec {
        command: vec!["/bin/nope".to_owned()],
        ..ExecSpec::default()
    };
    let error = exec(&node, &handle, nope, Vec::new()).await.code;
    let sentence = "`/bin/nope` does not exist on this node".to_owned();
    assert_eq!(error, Err(RuntimeError::Refused(sentence)));
    let slow = ExecSpec {
        timeout_ms: Some(50),
        ..spec("sleep 600")
    };
    let Err(RuntimeError::Failed(why)) = exec(&node, &handle, slow, Vec::new()).await.code else {
        panic!("it did not fail");
    };
    assert!(why.contains("within 0.05 s"), "{why}");
    node.processes.stop(&handle, 10_000).await.expect("a stop");
    let Err(RuntimeError::Failed(why)) = exec(&node, &handle, spec(":"), Vec::new()).await.code
    else {
        panic!("it ran");
    };
    assert!(why.contains("does not run"), "{why}");
}
