//! Callables of Python.

use super::*;

const MODULE: &str = "
import asyncio, os, sys

def fine(name, times=1):
    print(' '.join([name] * times))
    return 7

async def later(name):
    await asyncio.sleep(0.01)
    print('later', name)

def boom(depth=0):
    if depth:
        boom(depth - 1)
    raise ValueError('b\\u00f6om')

def leave():
    sys.exit(4)

not_callable = 3
";

/// A node with the module `acme.jobs` in a directory.
fn node() -> (Node, String) {
    let node = Node::new();
    let path = node.root.path().join("lib");
    std::fs::create_dir_all(path.join("acme")).expect("a directory");
    std::fs::write(path.join("acme/jobs.py"), MODULE).expect("written");
    let needs = "import no_such_library_of_ours\n";
    std::fs::write(path.join("acme/needs.py"), needs).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (node, path)
}

fn call(callable: &str, path: &str, params: serde_json::Value) -> Launch {
    launch_of(&[], |workload| {
        workload.run = Run::Python {
            callable: callable.to_owned(),
            venv: None,
            path: vec![path.to_owned()],
            user: None,
            working_dir: None,
        };
        workload.params = params.as_object().expect("an object").clone();
    })
}

#[tokio::test]
async fn callables_are_called_with_their_params() {
    let (node, path) = node();
    let cases = [
        (
            "acme.jobs:fine",
            serde_json::json!({"name": "a", "times": 2}),
            0,
            "a a",
        ),
        (
            "acme.jobs:later",
            serde_json::json!({"name": "b"}),
            0,
            "later b",
        ),
    ];
    for (callable, params, code, text) in cases {
        let launched = node
            .launch(&call(callable, &path, params))
            .await
            .expect("a launch");
        let exit = node.exit(&launched.handle).await;
        assert_eq!(
            (exit.code, exit.message, exit.detail),
            (Some(code), None, None)
        );
        assert_eq!(node.texts(&launched.handle).await, [text]);
    }
    let leave = call("acme.jobs:leave", &path, serde_json::json!({}));
    let launched = node.launch(&leave).await.expect("a launch");
    assert_eq!(node.exit(&launched.handle).await.code, Some(4));
}

#[tokio::test]
async fn an_exception_is_told_with_its_traceback() {
    let (node, path) = node();
    let launch = call("acme.jobs:boom", &path, serde_json::json!({}));
    let launched = node.launch(&launch).await.expect("a launch");
    let exit = node.exit(&launched.handle).await;
    assert_eq!(exit.code, Some(1));
    assert_eq!(exit.message.as_deref(), Some("ValueError: böom"));
    let detail = exit.detail.expect("a traceback");
    assert!(
        detail.starts_with("Traceback") && detail.contains("in boom"),
        "{detail}"
    );
    assert!(!detail.contains("<string>"), "{detail}");
    // It is in the log, too.
    let texts = node.texts(&launched.handle).await;
    assert_eq!(texts.last().map(String::as_str), Some("ValueError: böom"));

    let deep = call("acme.jobs:boom", &path, serde_json::json!({"depth": 300}));
    let launched = node.launch(&deep).await.expect("a launch");
    let detail = node
        .exit(&launched.handle)
        .await
        .detail
        .expect("a traceback");
    assert!(
        detail.len() <= 4096 && detail.trim_end().ends_with("ValueError: böom"),
        "{detail}"
    );
}

#[tokio::test]
async fn what_cannot_be_called_says_why() {
    let (node, path) = node();
    let cases = [
        (
            "acme.nope:run",
            "ModuleNotFoundError: there is no module `acme.nope`",
        ),
        (
            "nope.at_all:run",
            "ModuleNotFoundError: there is no module `nope`",
        ),
        (
            "acme.needs:run",
            "ModuleNotFoundError: No module named 'no_such_library_of_ours'",
        ),
        (
            "acme.jobs:nope",
            "AttributeError: module `acme.jobs` has no `nope`",
        ),
        (
            "acme.jobs:not_callable",
            "TypeError: `acme.jobs:not_callable` is not callable",
        ),
        (
            "acme.jobs:fine",
            "TypeError: `acme.jobs:fine` does not take these params: ",
        ),
        ("acme.jobs", "ValueError: `acme.jobs` is no callable"),
    ];
    for (callable, begin) in cases {
        let launch = call(callable, &path, serde_json::json!({"other": 1}));
        let launched = node.launch(&launch).await.expect("a launch");
        let exit = node.exit(&launched.handle).await;
        assert_eq!(exit.code, Some(1), "{callable}");
        let message = exit.message.unwrap_or_default();
        assert!(message.starts_with(begin), "{callable}: {message}");
    }
}

#[tokio::test]
async fn an_error_of_an_earlier_run_is_forgotten() {
    let (node, path) = node();
    let launch = call("acme.jobs:boom", &path, serde_json::json!({}));
    let launched = node.launch(&launch).await.expect("a launch");
    assert!(node.exit(&launched.handle).await.detail.is_some());
    let quiet = std::path::Path::new(&path).join("acme/jobs.py");
    std::fs::write(quiet, "import os\ndef boom():\n    os._exit(9)\n").expect("written");
    node.processes
        .start(&launched.handle)
        .await
        .expect("a start");
    let exit = node.exit(&launched.handle).await;
    assert_eq!(
        (exit.code, exit.message, exit.detail),
        (Some(9), None, None)
    );
}

#[tokio::test]
async fn another_user_can_tell_its_error_and_a_missing_interpreter_is_told() {
    let (node, _) = node();
    let python = |venv: Option<&str>, user: Option<&str>| {
        launch_of(&[], |workload| {
            workload.run = Run::Python {
                callable: "os:stat".to_owned(),
                venv: venv.map(str::to_owned),
                path: Vec::new(),
                user: user.map(str::to_owned),
                working_dir: Some("/".to_owned()),
            };
            workload
                .params
                .insert("path".into(), "/no/such/file".into());
        })
    };
    // Others may pass through the directory of instances, as on a node.
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(node.root.path(), open).expect("a mode");
    let launched = node
        .launch(&python(None, Some("54323")))
        .await
        .expect("a launch");
    let exit = node.exit(&launched.handle).await;
    let message = exit.message.unwrap_or_default();
    assert!(message.starts_with("FileNotFoundError: "), "{message}");

    let error = node.launch(&python(Some("/no/venv"), None)).await;
    let Err(RuntimeError::Refused(why)) = error else {
        panic!("it is {error:?}");
    };
    assert!(why.contains("python3 -m venv /no/venv"), "{why}");
}
