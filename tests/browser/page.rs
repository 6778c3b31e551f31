//! A person before the dashboard: what they click and type, and what they see.

use super::chrome::Chrome;
use crate::e2e::harness::{Fleet, wait_for};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Finds what can be clicked or filled in by the name that a person reads, in the dialog that is
/// open, else on the page: `find(kinds, name)`.
const FIND: &str = r#"
const scope = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document;
const plain = text => text.replace(/\s+/g, " ").trim();
const text = e => plain(e?.textContent ?? "");
const named = e => (e.ariaLabel && plain(e.ariaLabel))
	|| (e.labels?.length ? text(e.labels[0].querySelector(".field-name") ?? e.labels[0]) : "")
	|| (text(e) || e.placeholder || e.title || "");
const find = (kinds, name) => {
	const all = [...scope.querySelectorAll(kinds)].filter(e => e.checkVisibility());
	// A count or the like may stand behind it.
	return all.find(e => named(e) === name) ?? all.find(e => named(e).startsWith(`${name} (`));
};
"#;

const BUTTONS: &str = "button, a, summary, [role=tab], label:has(> input[type=checkbox])";
const FIELDS: &str = "input, textarea, select";

/// Numbers of clicks.
static CLICKS: AtomicU64 = AtomicU64::new(1);

/// A page of the dashboard in a browser of its own.
#[derive(Debug)]
pub struct Page {
    pub chrome: Chrome,
    origin: String,
    /// Answers that are errors, and connections that fail, are part of the test.
    refusals: bool,
}

impl Page {
    /// The dashboard of a controller, before anybody has signed in.
    #[track_caller]
    pub fn open(fleet: &Fleet) -> Page {
        Page::open_at(&fleet.origin(), 1280, 800)
    }

    /// The dashboard at `http://…`, in a window of this size.
    #[track_caller]
    pub fn open_at(origin: &str, width: u32, height: u32) -> Page {
        let page = Page {
            chrome: Chrome::start(width, height),
            origin: origin.to_owned(),
            refusals: false,
        };
        page.size(width, height);
        // Before any script of the page.
        let watch = "window.__refused = []; addEventListener('securitypolicyviolation', \
                     e => window.__refused.push(`${e.violatedDirective} ${e.blockedURI}`));";
        page.chrome.cdp(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": watch}),
        );
        page.chrome.load(&format!("{origin}/"));
        page
    }

    /// Signed in with the first token.
    #[track_caller]
    pub fn signed_in(fleet: &Fleet) -> Page {
        let page = Page::open(fleet);
        page.sign_in(&fleet.token);
        page
    }

    /// Fills in the form, and waits for the fleet page.
    #[track_caller]
    pub fn sign_in(&self, token: &str) {
        self.fill("API token", token);
        self.click("Sign in");
        self.wait("the page behind the sign-in", "return !document.body.classList.contains('signed-out') && !!document.querySelector('main h1')", &[]);
    }

    /// From here on answers that refuse are no fault of the page.
    pub fn expect_refusals(&mut self) {
        self.refusals = true;
    }

    /// Goes to a page of the dashboard, as in `#/nodes`.
    #[track_caller]
    pub fn go(&self, address: &str) {
        self.run("location.hash = arguments[0]", &[json!(address)]);
    }

    /// The address with everything in it.
    #[track_caller]
    pub fn address(&self) -> String {
        let href = self.run("return location.href", &[]);
        href.as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.chrome.run(script, arguments)
    }

    /// Until the script finds something that is neither false nor null nor empty.
    #[track_caller]
    pub fn wait(&self, what: &str, script: &str, arguments: &[Value]) -> Value {
        wait_for(&format!("{what} on {}", self.origin), || {
            let found = self.run(script, arguments);
            let nothing = found.is_null() || found == false || found == "" || found == 0;
            (!nothing).then_some(found)
        })
    }

    /// What a person reads in the page's main part.
    #[track_caller]
    pub fn text(&self) -> String {
        let text = self.run("return document.querySelector('main').innerText", &[]);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Until the body shows all of these words.
    #[track_caller]
    pub fn sees(&self, words: &[&str]) {
        let script = "const said = document.body.innerText; return arguments[0].every(w => said.includes(w))";
        self.wait(&format!("{words:?}"), script, &[json!(words)]);
    }

    /// Until the row of a table that has a cell with this name shows all of the words.
    #[track_caller]
    pub fn row_sees(&self, name: &str, words: &[&str]) {
        self.wait(
            &format!("the row {name} with {words:?}"),
            "const row = [...document.querySelectorAll('fleet-table .rows .row')].find(r => [...r.children].some(c => c.textContent === arguments[0]));\
             return row && arguments[1].every(w => row.innerText.includes(w))",
            &[json!(name), json!(words)],
        );
    }

    /// Clicks the button, link or tab with this name, as soon as it is there and nothing covers it.
    #[track_caller]
    pub fn click(&self, name: &str) {
        let script = format!(
            "window.__hits ??= {{}}; if (window.__hits[arguments[2]]) return true;\
             {FIND} const e = find(arguments[0], arguments[1]);\
             if (!e || e.disabled) return null;\
             e.scrollIntoView({{block: 'center', behavior: 'instant'}});\
             const b = e.getBoundingClientRect(), x = b.x + b.width / 2, y = b.y + b.height / 2;\
             const hit = document.elementFromPoint(x, y);\
             if (!hit || !(e.contains(hit) || hit.contains(e))) return null;\
             const took = event => {{ window.__hits[arguments[2]] ||= event.composedPath().includes(e); }};\
             addEventListener('click', took, {{capture: true, once: true}});\
             return [x, y]"
        );
        // Of this click alone: the page may be slow to say that it has taken it, and what it opens then
        // may cover what was clicked.
        let id = json!(CLICKS.fetch_add(1, Ordering::Relaxed));
        let given = [json!(BUTTONS), json!(name), id.clone()];
        // What is live moves: a click that has met something else is tried again.
        wait_for(&format!("a click on {name:?}"), || {
            let at = self.run(&script, &given);
            if at == true {
                return Some(());
            }
            if at.is_null() {
                return None;
            }
            for kind in ["mousePressed", "mouseReleased"] {
                let event = json!({"type": kind, "x": at[0], "y": at[1], "button": "left",
                    "clickCount": 1});
                self.chrome.cdp("Input.dispatchMouseEvent", event);
            }
            // A click that has loaded the page anew has left nothing.
            let hit = "return window.__hits ? !!window.__hits[arguments[0]] : true";
            (self.run(hit, std::slice::from_ref(&id)) == true).then_some(())
        });
    }

    /// Whether there is something to click with this name.
    #[track_caller]
    pub fn offers(&self, name: &str) -> bool {
        let script = format!("{FIND} return !!find(arguments[0], arguments[1])");
        self.run(&script, &[json!(BUTTONS), json!(name)]) == true
    }

    /// Types over what a field has; large texts are pasted.
    #[track_caller]
    pub fn fill(&self, name: &str, text: &str) {
        let script = format!(
            "{FIND} const e = find(arguments[0], arguments[1]); if (!e) return false;\
             e.focus(); e.select?.(); return document.activeElement === e"
        );
        self.wait(
            &format!("a field named {name:?}"),
            &script,
            &[json!(FIELDS), json!(name)],
        );
        if text.is_empty() {
            self.press("Backspace");
        } else {
            self.chrome.cdp("Input.insertText", json!({"text": text}));
        }
    }

    /// Chooses in a list of choices by its value.
    #[track_caller]
    pub fn choose(&self, name: &str, value: &str) {
        let script = format!(
            "{FIND} const e = find('select', arguments[0]); if (!e || ![...e.options].some(o => o.value === arguments[1])) return false;\
             e.value = arguments[1];\
             for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, {{bubbles: true}})); return true"
        );
        self.wait(
            &format!("a choice {name:?}"),
            &script,
            &[json!(name), json!(value)],
        );
    }

    /// One key, as a keyboard sends it.
    #[track_caller]
    pub fn press(&self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "Backspace" => 8,
            "ArrowDown" => 40,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            _ => panic!("the key {key} is not known here"),
        };
        let mut event = json!({"type": "keyDown", "key": key, "code": key,
            "windowsVirtualKeyCode": code});
        if key == "Enter" {
            event["text"] = json!("\r");
        }
        self.chrome.cdp("Input.dispatchKeyEvent", event.clone());
        event["type"] = json!("keyUp");
        self.chrome.cdp("Input.dispatchKeyEvent", event);
    }

    /// A viewport of this size in CSS pixels.
    pub fn size(&self, width: u32, height: u32) {
        self.chrome.cdp(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
    }

    /// What the system wishes: `light` or `dark`.
    pub fn colours(&self, scheme: &str) {
        let wish = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.chrome.cdp("Emulation.setEmulatedMedia", wish);
    }

    /// What holds at the end of every test; then the browser ends.
    #[track_caller]
    pub fn done(self) {
        let refused = self.run("return window.__refused", &[]);
        assert_eq!(refused, json!([]), "against the content security policy");
        let errors: Vec<String> = self
            .chrome
            .log("browser")
            .iter()
            .filter(|line| self.is_fault(line))
            .map(|line| format!("{}: {}", line["level"], line["message"]))
            .collect();
        assert!(errors.is_empty(), "on the console: {errors:#?}");
        let strangers: Vec<String> = self
            .chrome
            .log("performance")
            .iter()
            .filter_map(asked)
            .filter(|url| !self.is_own(url))
            .collect();
        assert!(strangers.is_empty(), "asked of others: {strangers:?}");
    }

    fn is_fault(&self, line: &Value) -> bool {
        let said = line["message"].as_str().unwrap_or_default();
        if said.contains("Content Security Policy") || said.contains("Refused to") {
            return true;
        }
        // An interface of a container came or went; what the browser was loading it loads again.
        if said.contains("net::ERR_NETWORK_CHANGED") {
            return false;
        }
        let network = line["source"] == "network" || said.contains("net::ERR_");
        line["level"] == "SEVERE" && !(self.refusals && network)
    }

    fn is_own(&self, url: &str) -> bool {
        // The first of them is the empty tab that a browser begins with.
        let local = ["chrome:", "data:", "blob:", "about:"]
            .iter()
            .any(|s| url.starts_with(s));
        local
            || url
                .strip_prefix(&self.origin)
                .is_some_and(|r| r.starts_with('/'))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seen = self
                .chrome
                .try_run("return `${location.href}\n${document.body.innerText.slice(0, 3000)}`");
            eprintln!("--- the page ---\n{}", seen.as_str().unwrap_or_default());
        }
    }
}

/// The address of a request, when this line of the performance log tells of one.
fn asked(line: &Value) -> Option<String> {
    let text = line["message"].as_str()?;
    let message = &serde_json::from_str::<Value>(text).ok()?["message"];
    let sent = ["Network.requestWillBeSent", "Network.webSocketCreated"];
    let method = message["method"].as_str()?;
    let parameters = &message["params"];
    let url = parameters["request"]["url"]
        .as_str()
        .or(parameters["url"].as_str());
    sent.contains(&method).then(|| url.map(str::to_owned))?
}
