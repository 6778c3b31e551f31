//! What is shown is what is so: nodes appear by themselves, and nothing is green that may not be.

use super::page::Page;
use crate::e2e::harness::{Fleet, manifests::counting};
use serde_json::json;

#[test]
fn a_node_that_joins_appears_on_the_page_that_is_open() {
    let fleet = Fleet::start();
    let page = Page::signed_in(&fleet);
    page.sees(&["No node has joined yet"]);
    page.run("window.__same = true", &[]);
    let agent = fleet.agent("board").launch();
    page.row_sees(&agent.name, &["online"]);
    page.sees(&["1 node", "Nothing needs attention."]);
    let same = page.run("return window.__same === true", &[]);
    assert_eq!(same, true, "the page was loaded again");
    page.done();
}

/// Elements that show a state in the colour of a good one.
const GREEN: &str = r#"
const probe = document.createElement("span");
probe.style.color = "var(--good)";
document.body.append(probe);
const good = getComputedStyle(probe).color;
probe.remove();
const is = e => { const s = getComputedStyle(e);
	return e.checkVisibility() && [s.color, s.backgroundColor].includes(good) && (s.color === good || s.backgroundColor === good); };
return [...document.querySelectorAll("main *, #connection")].filter(is).map(e => e.outerHTML.slice(0, 200));
"#;

#[test]
fn without_the_controller_nothing_stays_green() {
    let mut fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("web", "1.0")).done();
    let mut page = Page::signed_in(&fleet);
    page.expect_refusals();
    page.row_sees(&agent.name, &["online"]);
    let green = page.wait("something green", GREEN, &[]);
    assert_ne!(green, json!([]), "a node that is online is green");

    fleet.controller.kill9();
    page.sees(&["Not connected since", "may have changed"]);
    page.wait(
        "the mark of age",
        "return document.body.classList.contains('stale')",
        &[],
    );
    for address in ["#/nodes", "#/workloads/web"] {
        page.go(address);
        assert_eq!(page.run(GREEN, &[]), json!([]), "green on {address}");
    }

    page.go("#/nodes");
    fleet.restart();
    // Sessions end with the controller, and the page notices by itself.
    page.sees(&["Sign in", "this page comes back"]);
    page.sign_in(&fleet.token);
    page.wait(
        "the banner goes",
        "return document.getElementById('banner').hidden && !document.body.classList.contains('stale')",
        &[],
    );
    page.row_sees(&agent.name, &["online"]);
    page.done();
}

#[test]
fn a_controller_that_hangs_is_noticed_and_the_page_comes_back_by_itself() {
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    let mut page = Page::signed_in(&fleet);
    page.expect_refusals();
    page.row_sees(&agent.name, &["online"]);
    fleet.controller.freeze();
    page.sees(&["Not connected since"]);
    assert_eq!(page.run(GREEN, &[]), json!([]));
    fleet.controller.thaw();
    page.wait(
        "the banner goes",
        "return document.getElementById('banner').hidden",
        &[],
    );
    page.row_sees(&agent.name, &["online"]);
    page.done();
}
