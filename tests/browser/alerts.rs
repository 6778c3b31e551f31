//! What fires is seen on every page, silenced from its own, and heard again.

use super::page::Page;
use crate::e2e::harness::Fleet;
use std::fs;

#[test]
fn an_alert_is_counted_shown_and_silenced() {
    let setup = Fleet::setup().impatient();
    let config = setup.data_dir().with_file_name("controller.toml");
    let text = "[controller.alerts]\ninterval = \"1s\"\n[controller.alerts.rule.disk]\nabove = 0\n";
    fs::write(&config, text).expect("the configuration");
    let fleet = setup
        .flag(&format!("--config={}", config.display()))
        .start();
    let agent = fleet.agent("board").start();
    let page = Page::signed_in(&fleet);
    let sentence = format!("disk of {} is", agent.name);
    page.sees(&["Needs attention", &sentence]);
    page.wait(
        "how many fire, beside the page's name",
        "const link = [...document.querySelectorAll('#nav a')].find(a => a.textContent.startsWith('Alerts')); return link && /1/.test(link.textContent) && (link.click(), true)",
        &[],
    );
    page.row_sees("disk", &["firing", &agent.name]);
    page.click(&format!("Silence disk of {}", agent.name));
    page.sees(&[&format!("Silence disk of {}?", agent.name), &sentence]);
    page.fill("Comment", "a new card is on its way");
    page.click("Silence");
    page.row_sees("disk", &["silenced"]);
    let told = fleet.cli(["alerts", "-o", "json"]).done().out;
    assert!(told.contains("a new card is on its way"), "{told}");
    page.click(&format!("End the silence of disk of {}", agent.name));
    page.row_sees("disk", &["firing"]);
    page.done();
}
