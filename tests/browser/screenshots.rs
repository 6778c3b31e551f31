//! Pictures of every page for the README: `make screenshots`.
//!
//! A fleet as somebody might have it: three boards that run twelve instances (Docker, Podman and
//! processes), one that is lost, a rollout that waits for a person, one that failed, alerts, schedules.

use super::{access::make_token, many::crowd, page::Page};
use crate::e2e::harness::{Agent, Fleet, manifests::image, wait_for};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// No picture may be larger, in bytes, nor all of them together.
const MAX_PICTURE: u64 = 60 << 10;
const MAX_ALL: u64 = 2_500_000;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/screenshots")
}

/// Writes what is in sight with a palette of as many colours as there is room for.
fn keep(page: &Page, name: &str) {
    // What is drawn over some frames: bars that grow, a notice that goes.
    page.chrome.run_async(
        "document.getElementById('toasts').replaceChildren(); document.activeElement?.blur?.(); \
         await document.fonts.ready; \
         for (let i = 0; i < 3; i += 1) await new Promise(requestAnimationFrame); return {}",
        &[],
    );
    let path = directory().join(format!("{name}.png"));
    let whole = path.with_extension("whole.png");
    fs::write(&whole, page.chrome.picture()).expect("a picture");
    let size = ["256", "64", "32", "16"].into_iter().map(|colours| {
        let made = Command::new("pngquant")
            .args([
                "--force",
                "--strip",
                "--speed=1",
                "--nofs",
                colours,
                "--output",
            ])
            .args([&path, &whole])
            .status()
            .expect("pngquant (Debian's package of this name)");
        assert!(made.success(), "pngquant has failed for {name}");
        fs::metadata(&path).expect("the picture").len()
    });
    let size = size.into_iter().find(|size| *size <= MAX_PICTURE);
    fs::remove_file(&whole).expect("the whole picture goes");
    let size = size.unwrap_or_else(|| panic!("{name} has more than {MAX_PICTURE} bytes"));
    println!("{name}.png: {size} bytes");
}

/// Goes to a page and waits for its words.
fn show(page: &Page, address: &str, words: &[&str]) {
    page.go(address);
    page.sees(words);
}

fn process(name: &str, version: &str, script: &str, rest: &str) -> String {
    format!(
        "[workload.{name}]\nversion = \"{version}\"\nstop_timeout = \"1s\"\n\
         command = [\"/bin/sh\", \"-c\", {script:?}]\n{rest}"
    )
}

fn container(name: &str, version: &str, engine: &str, rest: &str) -> String {
    let script = "trap 'exit 0' TERM; while :; do sleep 0.2; done";
    format!(
        "[workload.{name}]\nversion = \"{version}\"\nimage = \"{}\"\nengine = \"{engine}\"\n\
         command = [\"/bin/sh\", \"-c\", {script:?}]\nstop_timeout = \"1s\"\n{rest}",
        image(engine)
    )
}

const EVERY: &str = "on = \"every\"\nrequires = [\"zone!=garage\"]\n";

fn sensors(version: &str, script: &str) -> String {
    process(
        "sensors",
        version,
        script,
        &format!(
            "min_healthy_time = \"300ms\"\n[workload.sensors.placement]\n{EVERY}\
             [workload.sensors.update]\ncanary = 1\nmin_healthy_time = \"2s\"\nhealthy_deadline = \"20s\"\n"
        ),
    )
}

fn web(version: &str) -> String {
    container(
        "web",
        version,
        "docker",
        &format!(
            "min_healthy_time = \"300ms\"\n[workload.web.placement]\n{EVERY}\
             [workload.web.update]\ncanary = 1\nauto_promote = false\nmin_healthy_time = \"1s\"\nhealthy_deadline = \"20s\"\n"
        ),
    )
}

const READS: &str = "i=0; while :; do i=$((i+1)); echo \"reading $i: $((19 + i % 5)).$((i * 7 % 10)) °C, humidity $((40 + i * 3 % 20)) %\"; [ $((i % 9)) = 0 ] && echo 'bus slow, trying again' >&2; sleep 0.4; done";

/// Everything that the pictures show; the agents live as long as it.
fn furnish(fleet: &Fleet) -> Vec<Agent> {
    let board = |name: &str, zone: &str| {
        fleet
            .agent(name)
            .called(name)
            // What the agent finds is what a board of the same system would show.
            .variable(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .flag(&format!("--label=zone={zone}"))
            .flag(&format!("--label=rack=r{}", name.len() % 3 + 1))
    };
    let mut agents: Vec<Agent> = [
        ("pi-hall", "hall"),
        ("pi-roof", "roof"),
        ("pi-shop", "shop"),
    ]
    .map(|(name, zone)| board(name, zone).docker().podman().start())
    .into();
    let mut lost = board("pi-garage", "garage").start();

    let apply = |text: &str| fleet.apply_wait(text).done();
    apply(&web("1.4.0"));
    apply(&container(
        "cache",
        "7.2",
        "podman",
        &format!("[workload.cache.placement]\n{EVERY}"),
    ));
    apply(&sensors("2.0.1", READS));
    apply(&container(
        "kiosk",
        "3.1",
        "docker",
        "[workload.kiosk.placement]\non = \"any\"\nreplicas = 2\nrequires = [\"zone!=garage\"]\n",
    ));
    apply(&process(
        "display",
        "1.0",
        "exec sleep 86400",
        "[workload.display.placement]\nnodes = [\"pi-hall\"]\n",
    ));
    for (name, when) in [("report", "0 3 * * *"), ("backup", "*/15 * * * *")] {
        let text = process(
            name,
            "1.2",
            "echo done",
            &format!("[workload.{name}.placement]\nnodes = [\"pi-shop\"]\n"),
        );
        let text = text.replace(
            "\nversion",
            &format!("\ntype = \"script\"\nschedule = \"{when}\"\nversion"),
        );
        fleet.apply(&text).done();
    }
    // A rollout that fails by itself, and one that waits for a person.
    let worse = sensors(
        "2.1.0",
        "echo opening /dev/i2c-7; sleep 1; echo 'no such bus: i2c-7'; exit 3",
    );
    assert_ne!(fleet.apply_wait(&worse).code, 0, "it is rolled back");
    fleet.apply(&web("1.5.0")).done();
    let rollout = || {
        fleet
            .try_get("/api/v1/workloads/web/rollout")
            .map(|a| a.json())
    };
    wait_for("the rollout waits for a person", || {
        rollout().filter(|r| r["rollout"]["phase"] == "awaiting_promotion")
    });
    for (role, name) in [("viewer", "wall display"), ("operator", "night shift")] {
        make_token(fleet, role, name);
    }
    lost.daemon.kill9();
    let running = || {
        let all = fleet.instances();
        all.iter().filter(|i| i["state"] == "running").count()
    };
    wait_for("twelve run", || (running() == 12).then_some(()));
    fleet.wait_node("pi-garage", "offline");
    agents.push(lost);
    agents
}

#[test]
#[ignore = "it writes into packaging/screenshots; `make screenshots` runs it"]
fn pictures_of_every_page() {
    fs::create_dir_all(directory()).expect("a directory");
    let setup = Fleet::setup().impatient();
    let config = setup.data_dir().with_file_name("controller.toml");
    fs::write(&config, "[controller.alerts]\ninterval = \"1s\"\n").expect("the configuration");
    let fleet = setup
        .flag(&format!("--config={}", config.display()))
        .start();
    let _agents = furnish(&fleet);
    let page = Page::open(&fleet);
    keep(&page, "sign-in");
    page.sign_in(&fleet.token);
    for scheme in ["light", "dark"] {
        page.colours(scheme);
        let keep = |name: &str| keep(&page, &format!("{name}-{scheme}"));
        show(
            &page,
            "#/nodes?map=zone",
            &["critical", "pi-roof", "offline", "hall"],
        );
        keep("fleet");
        show(
            &page,
            "#/nodes/pi-hall",
            &["Last heartbeat", "sensors", "running"],
        );
        keep("node");
        show(&page, "#/workloads", &["sensors", "kiosk"]);
        keep("workloads");
        show(&page, "#/workloads/web", &["Placement", "1.5.0", "pi-shop"]);
        keep("workload");
        show(
            &page,
            "#/workloads/sensors?part=logs",
            &["reading 9", "bus slow"],
        );
        keep("logs");
        show(
            &page,
            "#/workloads/sensors?part=history",
            &["Revision 1", "bad"],
        );
        keep("versions");
        show(&page, "#/rollouts", &["sensors", "web"]);
        keep("rollouts");
        show(&page, "#/rollouts/web", &["awaiting promotion", "Promote"]);
        keep("rollout");
        show(&page, "#/rollouts/sensors", &["Why it failed", "i2c-7"]);
        keep("rollout-failed");
        show(&page, "#/schedules", &["report", "backup"]);
        keep("schedules");
        page.go("#/commands");
        page.fill("Which", "zone!=garage");
        page.click("Send");
        page.sees(&["pi-hall", "pi-roof", "pi-shop"]);
        keep("commands");
        show(&page, "#/events", &["pi-garage"]);
        keep("events");
        show(&page, "#/alerts", &["node_lost", "pi-garage"]);
        keep("alerts");
        show(&page, "#/audit", &["admin"]);
        keep("audit");
        show(&page, "#/tokens", &["wall display", "night shift"]);
        keep("tokens");
        page.click("Join a machine…");
        page.sees(&["A line that joins machines"]);
        page.click("Make it");
        // The secret in it ends with this fleet.
        page.sees(&["fleetctl agent --join"]);
        keep("join");
        page.press("Escape");
        page.go("#/apply");
        page.fill("Manifest", &container("kiosk", "3.2", "docker",
            "[workload.kiosk.placement]\non = \"any\"\nreplicas = 3\nrequires = [\"zone!=garage\"]\n"));
        page.click("Plan");
        page.sees(&["1 changed", "Apply this plan"]);
        page.run("scrollTo(0, 0)", &[]);
        keep("apply");
    }
    page.colours("light");
    page.size(390, 844);
    show(&page, "#/nodes", &["Needs attention", "pi-roof"]);
    keep(&page, "fleet-phone");
    page.done();
    enough();
}

#[test]
#[ignore = "it writes into packaging/screenshots; `make screenshots` runs it"]
fn pictures_of_ten_thousand_nodes() {
    fs::create_dir_all(directory()).expect("a directory");
    let (fleet, _agent, feed) = crowd(0);
    let page = Page::open_at(&feed.origin(), 1280, 800);
    page.sign_in(&fleet.token);
    for scheme in ["light", "dark"] {
        page.colours(scheme);
        page.sees(&["10,000 nodes", "board-00001"]);
        keep(&page, &format!("fleet-10000-{scheme}"));
    }
    let all = page.run(
        "return document.querySelectorAll('fleet-table .row').length",
        &[],
    );
    assert_ne!(all, json!(0));
    page.done();
    enough();
}

/// All of them together are not too much for a repository.
fn enough() {
    let files = fs::read_dir(directory()).expect("the pictures");
    let sizes: Vec<u64> = files
        .filter_map(|f| Some(f.ok()?.metadata().ok()?.len()))
        .collect();
    let sum: u64 = sizes.iter().sum();
    println!("{} pictures, {sum} bytes", sizes.len());
    assert!(sum <= MAX_ALL, "{sum} bytes of pictures");
}
