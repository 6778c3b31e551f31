//! One more program in a container.

use super::{
    fixture::{Fixture, PATIENCE, collected},
    on_both_engines,
};
use bytes::Bytes;
use fleetctl::{
    model::{ExecSpec, TerminalSize},
    runtime::{ExecFeed, ExecOutput, RuntimeError},
};
use tokio::{sync::mpsc, time::timeout};

on_both_engines!(
    output_and_exit_code_are_told,
    what_it_is_sent_is_read,
    a_terminal_has_its_size,
    much_output_is_passed_on_at_the_readers_pace,
    it_is_killed_when_nobody_waits_for_it,
    it_is_killed_when_its_time_is_over,
    what_cannot_be_run_is_refused,
);

fn spec(command: &[&str]) -> ExecSpec {
    ExecSpec {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        ..ExecSpec::default()
    }
}

async fn output_and_exit_code_are_told(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    let command = ["sh", "-c", "echo out; echo err >&2; exit 3"];
    let (code, out, err) = fixture.exec(&launched.handle, &command).await;
    assert_eq!((code, out.as_str(), err.as_str()), (3, "out\n", "err\n"));
    // Its standard input is empty.
    let (code, out, _) = fixture.exec(&launched.handle, &["cat"]).await;
    assert_eq!((code, out.as_str()), (0, ""));
    fixture.clean().await;
}

async fn what_it_is_sent_is_read(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    let mut cat = spec(&["cat"]);
    cat.stdin = true;
    let (feed, fed) = mpsc::channel(4);
    let (sender, receiver) = mpsc::channel(4);
    let feeding = async {
        for word in ["one ", "two"] {
            feed.send(ExecFeed::Data(Bytes::from(word))).await.unwrap();
        }
        feed.send(ExecFeed::End).await.unwrap();
        feed
    };
    let all = async {
        tokio::join!(
            fixture
                .runtime
                .exec(&launched.handle, &cat, sender, Some(fed)),
            collected(receiver),
            feeding,
        )
    };
    let (code, (out, _), _feed) = timeout(PATIENCE, all).await.unwrap();
    assert_eq!((code, out.as_str()), (Ok(0), "one two"));
    fixture.clean().await;
}

async fn a_terminal_has_its_size(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    // It complains while the terminal has no size yet.
    let wait = |size: &str| {
        format!("while [ \"$(stty size 2>/dev/null)\" != '{size}' ]; do sleep 0.05; done; ")
    };
    let script = format!(
        "test -t 1 && {}echo first; {}echo second; exit 4",
        wait("24 80"),
        wait("40 100")
    );
    let mut shell = spec(&["sh", "-c", &script]);
    shell.stdin = true;
    shell.terminal = Some(TerminalSize {
        columns: 80,
        rows: 24,
    });
    let (feed, fed) = mpsc::channel(4);
    let (sender, mut receiver) = mpsc::channel::<ExecOutput>(4);
    let watching = async {
        let mut seen = String::new();
        while let Some(piece) = receiver.recv().await {
            seen.push_str(&String::from_utf8_lossy(&piece.data));
            if seen == "first\r\n" {
                let size = TerminalSize {
                    columns: 100,
                    rows: 40,
                };
                feed.send(ExecFeed::Resize(size)).await.unwrap();
            }
        }
        seen
    };
    let all = async {
        tokio::join!(
            fixture
                .runtime
                .exec(&launched.handle, &shell, sender, Some(fed)),
            watching
        )
    };
    let (code, seen) = timeout(PATIENCE, all).await.unwrap();
    assert_eq!((code, seen.as_str()), (Ok(4), "first\r\nsecond\r\n"));
    fixture.clean().await;
}

async fn much_output_is_passed_on_at_the_readers_pace(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    let head = spec(&["head", "-c", "1000000", "/dev/zero"]);
    let (sender, receiver) = mpsc::channel(1);
    let all = async {
        tokio::join!(
            fixture.runtime.exec(&launched.handle, &head, sender, None),
            collected(receiver)
        )
    };
    let (code, (out, _)) = timeout(PATIENCE, all).await.unwrap();
    assert_eq!((code, out.len()), (Ok(0), 1_000_000));
    fixture.clean().await;
}

/// Writes down its process id in the container and goes on.
const STAYS: [&str; 3] = ["sh", "-c", "echo $$ > /tmp/pid; exec sleep 600"];
/// Ends with 0 while the program lives.
const LIVES: [&str; 3] = ["sh", "-c", "kill -0 $(cat /tmp/pid) 2>/dev/null || exit 9"];

async fn it_is_killed_when_nobody_waits_for_it(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    let stays = spec(&STAYS);
    let (sender, _receiver) = mpsc::channel(1);
    tokio::select! {
        code = fixture.runtime.exec(&launched.handle, &stays, sender, None) => {
            panic!("it ended with {code:?}")
        }
        () = fixture.until_exec(&launched.handle, &LIVES, 0) => {}
    }
    fixture.until_exec(&launched.handle, &LIVES, 9).await;
    fixture.clean().await;
}

async fn it_is_killed_when_its_time_is_over(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    let mut stays = spec(&STAYS);
    stays.timeout_ms = Some(2_000);
    let (sender, _receiver) = mpsc::channel(1);
    let outcome = fixture
        .runtime
        .exec(&launched.handle, &stays, sender, None)
        .await;
    assert!(
        matches!(&outcome, Err(RuntimeError::Failed(text)) if text.contains("2000 ms")),
        "{outcome:?}"
    );
    fixture.until_exec(&launched.handle, &LIVES, 9).await;
    fixture.clean().await;
}

async fn what_cannot_be_run_is_refused(fixture: &Fixture) {
    let launched = fixture.launch(&fixture.shell("sleep 600")).await;
    let run = async |command: &[&str]| {
        let (sender, receiver) = mpsc::channel(4);
        let spec = spec(command);
        let (outcome, (out, err)) = tokio::join!(
            fixture.runtime.exec(&launched.handle, &spec, sender, None),
            collected(receiver)
        );
        assert_eq!((out.as_str(), err.as_str()), ("", ""));
        match outcome {
            Err(RuntimeError::Refused(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    let text = run(&["nope"]).await;
    assert!(
        text.starts_with("`nope` was not found in container "),
        "{text}"
    );
    run(&[]).await;
    fixture.runtime.stop(&launched.handle, 0).await.unwrap();
    fixture.exit(&launched.handle).await;
    let text = run(&["true"]).await;
    assert!(text.ends_with("is not running"), "{text}");
    fixture.clean().await;
}
