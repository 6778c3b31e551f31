//! One headless browser: chromedriver, the Chromium that it starts, and the end of both.

use crate::e2e::harness::{Port, wait_for};
use fantoccini::{Client, ClientBuilder, wd::WebDriverCompatibleCommand};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpStream,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use url::{ParseError, Url};

/// One order to the browser may take so long; it waits for nothing but the browser itself.
const ORDER: Duration = Duration::from_secs(30);
/// The end of a session.
const FAREWELL: Duration = Duration::from_secs(5);

/// What Debian's Chromium needs to run as root without a screen, and to ask nobody for anything.
const FLAGS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--lang=en-US",
];

/// A command of chromedriver that WebDriver does not have.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(self.body.to_string()))
    }
}

/// A browser. Dropped, it ends with all of its processes.
#[derive(Debug)]
pub struct Chrome {
    client: Option<Client>,
    runtime: Runtime,
    driver: Child,
    browser: Option<Pid>,
    _port: Port,
    _profile: TempDir,
}

impl Chrome {
    /// Starts one with a window of this size in CSS pixels.
    pub fn start(width: u32, height: u32) -> Chrome {
        let port = Port::take();
        let profile = tempfile::tempdir().expect("a directory for the profile");
        let log = profile.path().join("chromedriver.log");
        let file = fs::File::create(&log).expect("a log of chromedriver");
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", port.number()))
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle of the log"))
            .stderr(file)
            // Chromium is below it: one group, so that one signal ends all.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| {
                panic!(
                    "chromedriver cannot be started ({e}): these tests need Debian's packages \
                     chromium and chromium-driver; `make test` installs them"
                )
            });
        let runtime = Builder::new_current_thread().enable_all().build();
        let mut chrome = Chrome {
            client: None,
            runtime: runtime.expect("a runtime"),
            driver,
            browser: None,
            _port: port,
            _profile: profile,
        };
        let address = chrome._port.local();
        wait_for("chromedriver listens", || {
            let ended = chrome.driver.try_wait().ok().flatten();
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "chromedriver has ended: {}", said());
            TcpStream::connect(&address).ok()
        });
        let flags: Vec<String> = FLAGS
            .iter()
            .map(ToString::to_string)
            .chain([
                format!("--window-size={width},{height}"),
                format!("--user-data-dir={}", chrome._profile.path().display()),
            ])
            .collect();
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        let Value::Object(wanted) = wanted else {
            unreachable!("it is an object")
        };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(wanted);
        let url = format!("http://{address}");
        let connected = chrome
            .runtime
            .block_on(async { tokio::time::timeout(ORDER, builder.connect(&url)).await });
        let said = fs::read_to_string(&log).unwrap_or_default();
        let client = connected
            .unwrap_or_else(|_| panic!("chromium did not start within {ORDER:?}: {said}"))
            .unwrap_or_else(|e| {
                panic!("chromium cannot be started ({e}); is the package chromium there? {said}")
            });
        let own = client.capabilities().and_then(|c| c.get("goog:processID"));
        chrome.browser = own
            .and_then(Value::as_i64)
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        chrome.client = Some(client);
        chrome
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("a session until the end")
    }

    #[track_caller]
    fn ask<T, E: std::fmt::Display>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> T {
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(ORDER, work).await });
        answer
            .unwrap_or_else(|_| panic!("the browser did not answer within {ORDER:?}: {what}"))
            .unwrap_or_else(|e| panic!("{what}: {e}"))
    }

    /// Loads an address anew.
    #[track_caller]
    pub fn load(&self, url: &str) {
        self.ask(url, self.client().goto(url));
    }

    /// Runs a function's body in the page; `arguments` are its arguments.
    #[track_caller]
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.ask(script, self.client().execute(script, arguments.to_vec()))
    }

    /// As [`Chrome::run`] for the end of a test that has failed: nothing when it does not work.
    pub fn try_run(&self, script: &str) -> Value {
        let work = self.client().execute(script, Vec::new());
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(FAREWELL, work).await });
        answer.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Runs the body of an asynchronous function, and waits for what it returns.
    #[track_caller]
    pub fn run_async(&self, script: &str, arguments: &[Value]) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];\n\
             (async (...args) => {{{script}}})(...arguments).then(done, e => done({{error: String(e)}}));"
        );
        let answer = self.ask(
            &script,
            self.client().execute_async(&script, arguments.to_vec()),
        );
        assert!(answer["error"].is_null(), "{}: {script}", answer["error"]);
        answer
    }

    /// A command of the Chrome DevTools Protocol.
    #[track_caller]
    pub fn cdp(&self, command: &str, parameters: Value) -> Value {
        let order = Vendor {
            path: "goog/cdp/execute",
            body: json!({"cmd": command, "params": parameters}),
        };
        self.ask(command, self.client().issue_cmd(order))
    }

    /// What a log (`browser`, `performance`) has new.
    #[track_caller]
    pub fn log(&self, kind: &str) -> Vec<Value> {
        let order = Vendor {
            path: "se/log",
            body: json!({"type": kind}),
        };
        let all = self.ask(kind, self.client().issue_cmd(order));
        all.as_array().cloned().unwrap_or_default()
    }

    /// What is in sight, as a PNG.
    #[track_caller]
    pub fn picture(&self) -> Vec<u8> {
        self.ask("a picture", self.client().screenshot())
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self
                .runtime
                .block_on(async { tokio::time::timeout(FAREWELL, client.close()).await });
        }
        // What did not go by itself, as after a hang.
        if let Some(browser) = self.browser.filter(|pid| is_chromium(*pid)) {
            let _ = kill_process(browser, Signal::KILL);
        }
        let _ = kill_process_group(Pid::from_child(&self.driver), Signal::KILL);
        let _ = self.driver.wait();
    }
}

/// Process ids are given away again.
fn is_chromium(pid: Pid) -> bool {
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    name.is_ok_and(|name| name.starts_with("chrom"))
}
