//! Who gets in, what they are offered, and what happens when their session ends.

use super::page::Page;
use crate::e2e::harness::{Fleet, manifests::counting, wait_for};
use serde_json::{Value, json};

/// A token of the API with this role and name.
pub fn make_token(fleet: &Fleet, role: &str, name: &str) -> String {
    let create = [
        "token", "create", "--kind", "api", "--role", role, "--name", name,
    ];
    fleet.cli(create).done().out.trim().to_owned()
}

fn revoke_token(fleet: &Fleet, name: &str) {
    let all = fleet.ask("GET", "/api/v1/tokens", None).json();
    let mut all = all.as_array().cloned().expect("tokens").into_iter();
    let token = all.find(|t| t["name"] == name).expect("the token");
    let id = token["id"].as_str().expect("an id");
    fleet.cli(["token", "revoke", id]).done();
}

#[test]
fn a_token_opens_a_session_and_is_kept_nowhere() {
    let fleet = Fleet::start();
    let mut page = Page::open(&fleet);
    page.expect_refusals();
    page.sees(&["Sign in"]);
    page.fill("API token", "fleetapi_wrong");
    page.click("Sign in");
    page.sees(&["This token is not known, has expired, or was revoked."]);

    page.sign_in(&fleet.token);
    page.sees(&["Fleet", "No node has joined yet"]);
    let kept = page.run(
        "return [location.href, document.cookie, JSON.stringify(localStorage), \
         JSON.stringify(sessionStorage), document.documentElement.outerHTML, \
         document.querySelector('input[type=password]')?.value].join(' ')",
        &[],
    );
    let secret = fleet.token.split_once('_').expect("its end").1;
    assert!(
        !kept.as_str().unwrap_or_default().contains(secret),
        "{kept}"
    );

    let cookies = page.chrome.cdp("Network.getCookies", json!({}));
    let all = cookies["cookies"].as_array().expect("cookies");
    let [cookie] = all.as_slice() else {
        panic!("one cookie: {cookies}")
    };
    assert_eq!(cookie["httpOnly"], true, "{cookie}");
    assert_eq!(cookie["sameSite"], "Strict", "{cookie}");
    let value = cookie["value"].as_str().unwrap_or_default();
    assert!(!value.contains(secret), "the cookie is the token");

    page.click("Sign out");
    page.sees(&["Sign in"]);
    let answer = page.chrome.run_async(
        "return {status: (await fetch('/api/v1/nodes')).status}",
        &[],
    );
    assert_eq!(answer["status"], 401, "the session has ended");
    page.done();
}

/// Names of everything that a page offers to click.
fn offered(page: &Page) -> Vec<String> {
    let names = page.run(
        "return [...document.querySelectorAll('main button, main [type=submit]')]\
         .filter(e => e.checkVisibility()).map(e => e.getAttribute('aria-label') ?? e.textContent)",
        &[],
    );
    let all = names.as_array().cloned().unwrap_or_default();
    all.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_viewer_is_offered_nothing_that_changes_the_fleet() {
    const CHANGES: [&str; 14] = [
        "Stop",
        "Start",
        "Restart",
        "Scale",
        "Roll back",
        "Remove",
        "Cordon",
        "Drain",
        "Revoke",
        "Approve",
        "Save",
        "Change",
        "Apply this plan",
        "Silence",
    ];
    let fleet = Fleet::start();
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("web", "1.0")).done();
    let node = format!("#/nodes/{}", agent.name);
    let pages = [
        "#/nodes",
        &node,
        "#/workloads/web",
        "#/commands",
        "#/schedules",
    ];
    let changing = |page: &Page| {
        let mut found = Vec::new();
        for address in pages {
            page.go(address);
            page.wait(
                "the page",
                "return !!document.querySelector('main h1')",
                &[],
            );
            // A page of one is drawn after its data.
            match address.strip_prefix("#/").and_then(|a| a.split_once('/')) {
                Some(("nodes", _)) => page.sees(&["Last heartbeat", "running"]),
                Some(_) => page.sees(&["Placement", "running"]),
                None => {}
            }
            let changes = |name: &String| {
                let rest = CHANGES.iter().find_map(|c| name.strip_prefix(c));
                rest.is_some_and(|r| !r.starts_with(char::is_alphabetic))
            };
            found.extend(offered(page).into_iter().filter(changes));
        }
        found
    };

    let page = Page::signed_in(&fleet);
    let all = changing(&page);
    for wanted in ["Stop", "Restart", "Cordon", "Revoke"] {
        assert!(
            all.iter().any(|n| n.starts_with(wanted)),
            "{wanted}: {all:?}"
        );
    }
    page.done();

    let page = Page::open(&fleet);
    page.sign_in(&make_token(&fleet, "viewer", "guest"));
    assert_eq!(changing(&page), Vec::<String>::new());
    let nav = page.run("return document.getElementById('nav').innerText", &[]);
    for hidden in ["Audit", "Tokens"] {
        assert!(!nav.to_string().contains(hidden), "{nav}");
    }
    page.go("#/apply");
    page.fill("Manifest", &counting("other", "1.0"));
    page.click("Plan");
    page.sees(&["1 added", "the role operator is needed"]);
    assert!(!page.offers("Apply this plan"));
    page.done();
}

#[test]
fn a_session_that_ends_comes_back_to_the_same_page_after_signing_in() {
    let fleet = Fleet::start();
    let _agent = fleet.agent("board").start();
    fleet.apply_wait(&counting("web", "1.0")).done();
    let mut page = Page::open(&fleet);
    page.expect_refusals();
    page.sign_in(&make_token(&fleet, "operator", "shift"));
    page.go("#/workloads/web?part=history");
    page.sees(&["Revision 1"]);
    let before = page.address();

    revoke_token(&fleet, "shift");
    page.sees(&["Sign in", "The session has ended."]);
    assert!(!page.text().contains("Revision 1"), "{}", page.text());
    page.sign_in(&fleet.token);
    page.sees(&["Revision 1"]);
    assert_eq!(page.address(), before);
    wait_for("the stream is live again", || {
        let said = page.run(
            "return document.getElementById('connection').innerText",
            &[],
        );
        (said == "live").then_some(())
    });
    page.done();
}
