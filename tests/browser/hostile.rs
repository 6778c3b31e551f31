//! Names and lines that were made to do harm are text, and the page goes on.

use super::{feed::Feed, page::Page};
use crate::e2e::harness::{Fleet, wait_for};
use serde_json::{Value, json};

const MARKUP: &str = "<img src=x onerror=window.__xss=1><script>window.__xss=2</script>";

/// Nothing of it was taken for markup.
fn is_harmless(page: &Page) {
    let harm = page.run(
        "return window.__xss !== undefined || !!document.querySelector('main img, main script')",
        &[],
    );
    assert_eq!(harm, false, "a text has become part of the page");
}

#[test]
fn hostile_lines_are_shown_as_text() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    let bin = fleet.dir().join("hostile.sh");
    let script = format!(
        "#!/bin/sh\necho '{MARKUP}'\nprintf '\\033[31mred\\033[0m \\033]0;title\\007 \\033[2Jend\\n'\n\
         printf 'bidi \\342\\200\\256txt.exe\\342\\200\\254 mark\\n'\n\
         head -c 1000000 /dev/zero | tr '\\0' x; echo\necho after the long one\nexec sleep 86400\n"
    );
    std::fs::write(&bin, script).expect("a program");
    let manifest = format!(
        "[workload.web]\ncommand = [\"/bin/sh\", {bin:?}, {MARKUP:?}]\nstop_timeout = \"1s\"\n"
    );
    fleet.apply_wait(&manifest).done();
    let page = Page::signed_in(&fleet);
    page.go("#/workloads/web");
    // The command itself is a text of the page.
    page.sees(&[MARKUP]);
    page.click("Logs");
    page.sees(&[
        MARKUP,
        "red",
        "end",
        "U+202E",
        "txt.exe",
        "after the long one",
    ]);
    is_harmless(&page);
    let shown = page.run("return document.querySelector('log-view').textContent", &[]);
    let shown = shown.as_str().unwrap_or_default();
    for mark in ['\u{1b}', '\u{202e}', '\u{7}'] {
        assert!(!shown.contains(mark), "{mark:?} is in the page");
    }
    assert!(!shown.contains("title"), "an escape's text is shown");
    assert!(
        shown.len() < 200_000,
        "{} characters are drawn",
        shown.len()
    );

    let took = page.chrome.run_async(
        "const begun = performance.now(); document.querySelector('#nav a').click(); \
         await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r))); \
         return {ms: performance.now() - begun}",
        &[],
    );
    assert!(took["ms"].as_f64().is_some_and(|ms| ms < 500.0), "{took}");
    page.sees(&["Nothing needs attention."]);
    page.done();
}

#[test]
fn hostile_labels_and_facts_are_shown_as_text() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let mut node = wait_for("all that a node tells", || {
        let complete = |n: &Value| n["facts"].is_object() && n["heartbeat"].is_object();
        fleet.node(&agent.name).filter(complete)
    });
    // A node that says so itself: nothing of it is believed, all of it is shown.
    node["labels"] = json!({"note": MARKUP, "\u{202e}evil": "\u{1b}[31m\u{0}"});
    node["facts"]["os"] = json!(MARKUP);
    node["facts"]["arch"] = json!("<b>x</b>");
    node["reason"] = json!(MARKUP);
    let feed = Feed::start(&fleet, vec![node], 0);
    let page = Page::open_at(&feed.origin(), 1280, 800);
    page.sign_in(&fleet.token);
    page.row_sees(&agent.name, &["note=<img"]);
    is_harmless(&page);
    page.click(&agent.name);
    page.sees(&[
        "Last heartbeat",
        &format!("note={MARKUP}"),
        "<b>x</b>",
        "U+202E",
    ]);
    is_harmless(&page);
    page.done();
}
