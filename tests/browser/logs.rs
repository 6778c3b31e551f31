//! Lines of programs, as they write them.

use super::page::Page;
use crate::e2e::harness::{Fleet, manifests::counting};
use serde_json::{Value, json};

/// Lines that are drawn.
fn drawn(page: &Page) -> i64 {
    let count = page.run(
        "return document.querySelectorAll('log-view .line').length",
        &[],
    );
    count.as_i64().unwrap_or_default()
}

fn more_than(page: &Page, count: i64) {
    page.wait(
        &format!("more than {count} lines"),
        "return document.querySelectorAll('log-view .line').length > arguments[0]",
        &[json!(count)],
    );
}

#[test]
fn logs_are_followed_held_and_searched() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("web", "1.0")).done();
    let page = Page::signed_in(&fleet);
    page.go("#/workloads/web");
    page.click("Logs");
    more_than(&page, 5);
    more_than(&page, drawn(&page) + 5);
    page.sees(&["1.0 line ", &agent.name]);

    page.click("Pause");
    let held = drawn(&page);
    page.wait(
        "lines wait",
        "const b = [...document.querySelectorAll('log-view button')].find(b => b.textContent.startsWith('Resume'));\
         return b && Number(/\\d+/.exec(b.textContent)?.[0]) > 5",
        &[],
    );
    assert_eq!(drawn(&page), held, "nothing moves while it is held");
    page.click("Resume");
    more_than(&page, held + 5);

    page.fill("Search these lines", "line 7");
    let found = page.wait(
        "only what was sought",
        "const all = [...document.querySelectorAll('log-view .line')].map(l => l.textContent);\
         return all.length && all.every(l => l.includes('line 7')) && all",
        &[],
    );
    let lines: Vec<&str> = found
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert!(lines[0].contains("1.0 line 7"), "{lines:?}");
    page.fill("Search these lines", "no such line");
    page.wait(
        "nothing is found",
        "return !document.querySelector('log-view .line')",
        &[],
    );
    page.fill("Search these lines", "");
    more_than(&page, held);
    page.done();
}
