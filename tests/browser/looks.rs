//! How it looks and who can use it: dark and light, small screens, keyboards, screen readers.

use super::page::Page;
use crate::e2e::harness::{Agent, Fleet, manifests::counting, wait_for};
use serde_json::{Value, json};

/// A fleet that has something on every page.
fn furnished() -> (Fleet, Agent) {
    let fleet = Fleet::setup().flag("--start-grace=1s").start();
    let agent = fleet.agent("board").flag("--label=zone=hall").start();
    let web = |version| {
        let update = "[workload.web.update]\ncanary = 1\nmin_healthy_time = \"300ms\"\n\
                      healthy_deadline = \"20s\"\n";
        let text = counting("web", version)
            .replace("stop_timeout", "min_healthy_time = \"200ms\"\nstop_timeout");
        format!("{text}[workload.web.placement]\non = \"every\"\n{update}")
    };
    fleet.apply_wait(&web("1.0")).done();
    fleet.apply_wait(&web("2.0")).done();
    (fleet, agent)
}

/// Every page: those of the navigation, and those about one thing.
fn pages(page: &Page, agent: &Agent) -> Vec<String> {
    let nav = page.wait(
        "the navigation",
        "return [...document.querySelectorAll('#nav a')].map(a => a.getAttribute('href'))",
        &[],
    );
    let nav = nav
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut all: Vec<String> = nav.map(str::to_owned).collect();
    assert!(all.len() >= 8, "{all:?}");
    all.push(format!("#/nodes/{}", agent.name));
    all.push("#/rollouts/web".to_owned());
    all.push("#/workloads/web".to_owned());
    for part in ["why", "history", "manifest", "logs", "events"] {
        all.push(format!("#/workloads/web?part={part}"));
    }
    all
}

/// Goes to a page, and waits until its data is there and has been drawn.
fn visit(page: &Page, address: &str) {
    page.go(address);
    page.wait(
        &format!("the page {address}"),
        "return !!document.querySelector('main h1')",
        &[],
    );
    let words: &[&str] = match address {
        a if a.starts_with("#/workloads/") => &["Placement"],
        a if a.starts_with("#/nodes/") => &["Last heartbeat"],
        a if a.starts_with("#/rollouts/") => &["Began"],
        "#/nodes" => &["Nothing needs attention."],
        _ => &[],
    };
    page.sees(words);
    page.chrome.run_async(
        "await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r))); return {}",
        &[],
    );
}

/// Texts whose contrast with what is behind them is lower than WCAG's AA wants.
const PALE: &str = r##"
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = "#000"; canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
	const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
	return .2126 * x + .7152 * y + .0722 * z; };
const behind = e => { const up = []; for (let at = e; at; at = at.parentElement) up.push(rgba(getComputedStyle(at).backgroundColor));
	return up.reverse().reduce((below, top) => over(top, below), rgba(getComputedStyle(document.body).backgroundColor)); };
const opacity = e => { let all = 1; for (let at = e; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity); return all; };
const pale = [], own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
for (const e of document.querySelectorAll("body *")) {
	if (!own(e) || !e.checkVisibility({opacityProperty: true, visibilityProperty: true}) || e.closest(".hidden, .skip, :disabled, option, script, noscript")) continue;
	const style = getComputedStyle(e), below = behind(e);
	const colour = rgba(style.color);
	colour[3] *= opacity(e);
	const [a, b] = [light(over(colour, below)), light(below)];
	const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
	const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
	if (contrast < (large ? 3 : 4.5)) pale.push(`${contrast.toFixed(2)} ${e.className} ${e.textContent.trim().slice(0, 40)}`);
}
return {pale, ground: light(rgba(getComputedStyle(document.body).backgroundColor))};
"##;

#[test]
fn dark_and_light_follow_the_system_and_every_text_can_be_read() {
    let (fleet, agent) = furnished();
    let page = Page::signed_in(&fleet);
    for (scheme, least, most) in [("dark", 0.0, 0.05), ("light", 0.7, 1.0)] {
        page.colours(scheme);
        for address in pages(&page, &agent) {
            visit(&page, &address);
            let seen = page.run(PALE, &[]);
            assert_eq!(seen["pale"], json!([]), "{address} in {scheme}");
            let ground = seen["ground"].as_f64().expect("a number");
            assert!((least..=most).contains(&ground), "{scheme}: {ground}");
        }
    }
    // A person's own choice is stronger, and stays.
    page.colours("light");
    page.choose("Colours", "dark");
    page.run("location.reload()", &[]);
    page.wait(
        "the chosen colours",
        "return document.documentElement?.dataset.theme === 'dark' && !!document.querySelector('main h1')",
        &[],
    );
    let seen = page.run(PALE, &[]);
    assert!(seen["ground"].as_f64().is_some_and(|g| g < 0.05), "{seen}");
    page.done();
}

#[test]
fn a_screen_reader_has_a_name_for_every_control() {
    const CONTROLS: [&str; 14] = [
        "button",
        "link",
        "textbox",
        "searchbox",
        "combobox",
        "listbox",
        "checkbox",
        "radio",
        "tab",
        "switch",
        "slider",
        "spinbutton",
        "menuitem",
        "grid",
    ];
    let (fleet, agent) = furnished();
    let mut page = Page::open(&fleet);
    page.expect_refusals();
    let mut seen = 0;
    let mut check = |page: &Page, place: &str| {
        let tree = page.chrome.cdp("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a tree");
        let controls = nodes.iter().filter(|n| {
            let role = n["role"]["value"].as_str().unwrap_or_default();
            n["ignored"] == false && CONTROLS.contains(&role)
        });
        for control in controls {
            let name = control["name"]["value"].as_str().unwrap_or_default();
            assert!(!name.trim().is_empty(), "no name on {place}: {control}");
            seen += 1;
        }
    };
    page.sees(&["Sign in"]);
    check(&page, "the sign-in");
    page.sign_in(&fleet.token);
    let mut titles = Vec::new();
    for address in pages(&page, &agent) {
        visit(&page, &address);
        check(&page, &address);
        titles.push(page.run("return document.title", &[]));
        let marks = page.run(
            "return [document.documentElement.lang, document.querySelectorAll('main').length, document.querySelectorAll('main h1').length]",
            &[],
        );
        assert_eq!(marks, json!(["en", 1, 1]), "{address}");
    }
    titles.dedup();
    assert!(
        titles.len() > 8,
        "each page has a title of its own: {titles:?}"
    );
    assert!(seen > 100, "only {seen} controls were found");
    page.done();
}

#[test]
fn nothing_is_wider_than_a_small_phone() {
    let (fleet, agent) = furnished();
    let page = Page::signed_in(&fleet);
    let all = pages(&page, &agent);
    page.size(360, 740);
    for address in all {
        visit(&page, &address);
        let wide = page.run(
            "const over = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, pre, .code, .lines, .tabs, .nav, .hidden')).map(e => e.outerHTML.slice(0, 120));\
             return [document.documentElement.scrollWidth > innerWidth, over.slice(0, 5)]",
            &[],
        );
        assert_eq!(wide[0], false, "{address}: {}", wide[1]);
    }
    page.done();
}

/// Presses Tab until the focus is on what the script says of it, `e`; each stop must be seen.
#[track_caller]
fn tab_to(page: &Page, wanted: &str) {
    let look = format!(
        "const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect();\
         const marked = e.matches(':focus-visible') && s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0;\
         const inside = b.bottom > 0 && b.top < innerHeight && b.width > 0;\
         return {{is: !!({wanted}), seen: (marked && inside) || e === document.body || e.tagName === 'MAIN', what: e.outerHTML.slice(0, 160)}}"
    );
    let mut passed = Vec::new();
    for _ in 0..80 {
        page.press("Tab");
        let at = page.run(&look, &[]);
        assert_eq!(at["seen"], true, "the focus is not seen: {at}");
        if at["is"] == true {
            return;
        }
        passed.push(at["what"].to_string());
    }
    panic!("Tab does not come to {wanted}: {passed:#?}");
}

#[test]
fn a_keyboard_is_enough_to_sign_in_and_restart_a_workload() {
    let (fleet, agent) = furnished();
    let before = agent.process("web");
    let page = Page::open(&fleet);
    page.wait(
        "the focus is in the only field",
        "return document.activeElement?.name === 'token'",
        &[],
    );
    page.chrome
        .cdp("Input.insertText", json!({"text": fleet.token}));
    page.press("Enter");
    page.row_sees(&agent.name, &["online"]);
    tab_to(&page, "e.textContent === 'Workloads'");
    page.press("Enter");
    page.row_sees("web", &["running"]);
    tab_to(&page, "e.matches('.rows .row')");
    page.press("Enter");
    page.sees(&["Placement"]);
    tab_to(&page, "e.textContent === 'Restart' && !e.ariaLabel");
    page.press("Enter");
    page.sees(&["web is restarted"]);
    wait_for("another process", || {
        (!before.child.lives() && agent.process("web") != before).then_some(())
    });

    // A dialog takes the focus, and gives it back.
    tab_to(&page, "e.textContent === 'Stop' && !e.ariaLabel");
    page.press("Enter");
    page.sees(&["Stop web?"]);
    let inside = page.run("return !!document.activeElement.closest('dialog')", &[]);
    assert_eq!(inside, true, "the focus is in the dialog");
    page.press("Escape");
    page.wait(
        "the focus is back",
        "return !document.querySelector('dialog') && document.activeElement.textContent === 'Stop'",
        &[],
    );
    page.done();
}
