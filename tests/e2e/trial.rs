//! A version that does not work goes back by the agent's own decision: also when the controller is
//! gone, and when the agent itself is killed in the middle.

use super::harness::{Fleet, Place, wait_until};

/// What keeps a version on trial for as long as a test wants, unless it crashes.
const LONG: &str = "min_healthy_time = \"50s\"\nhealthy_deadline = \"60s\"\n";
const SHORT: &str = "min_healthy_time = \"500ms\"\nhealthy_deadline = \"30s\"\n";

/// Runs for ever, and says in the file `runs` that it was started.
fn good(place: &Place, times: &str) -> String {
    place.workload(
        "web",
        "echo one >> runs; exec sleep 86400",
        &keys("1", times),
    )
}

/// Says in the file `tried` that it was started, and ends once there is a file `poison`.
fn bad(place: &Place, times: &str) -> String {
    let script = "echo two >> tried; while test ! -e poison; do sleep 0.05; done; \
                  echo no luck; exit 1";
    place.workload("web", script, &keys("2", times))
}

fn keys(version: &str, times: &str) -> String {
    format!(
        "version = \"{version}\"\nmin_healthy_time = \"500ms\"\n\
         [workload.web.restart]\ndelay = \"100ms\"\nmax_delay = \"1s\"\n\
         [workload.web.update]\n{times}"
    )
}

/// Both sides have gone back, and the process that was there before is.
fn is_back(fleet: &Fleet) {
    let words = ["from version 2 to 1", "times in a row", "exit code 1"];
    fleet.wait_event("rolled_back", "web", &words);
    controller_is_back(fleet);
}

fn controller_is_back(fleet: &Fleet) {
    wait_until("the rollout is rolled back", || {
        !fleet.events("rollout_rolled_back").is_empty()
    });
    let shown = fleet.wait_running("web");
    assert_eq!(shown["version"], "1", "{shown}");
}

#[test]
fn a_version_that_crashes_comes_back_by_itself() {
    let fleet = Fleet::start();
    let place = Place::new("process");
    let agent = fleet.agent("board").start();
    fleet.apply_wait(&good(&place, SHORT)).done();
    place.wait_lines("runs", 1);
    place.touch("poison");
    fleet.apply(&bad(&place, SHORT)).done();
    is_back(&fleet);
    place.wait_lines("runs", 2);
    assert_eq!(place.lines("tried").len(), 3, "a row of three, and no more");
    assert_eq!(
        place.lines("runs").len(),
        2,
        "once at first, and once again"
    );
    assert!(agent.process("web").child.lives());
    // The same once more, and now it is cured.
    place.remove("poison");
    fleet.apply(&bad(&place, SHORT)).done();
    let shown = fleet.wait_instance("web", "runs version 2", |i| {
        i["state"] == "running" && i["version"] == "2" && i["up_to_date"] == true
    });
    assert_eq!(shown["reason"], "", "{shown}");
    assert_eq!(place.lines("tried").len(), 4);
}

#[test]
fn an_agent_that_is_cut_off_in_the_middle_goes_back_and_says_so_later() {
    let mut fleet = Fleet::start();
    let place = Place::new("process");
    let mut agent = fleet.agent("board").start();
    fleet.apply_wait(&good(&place, LONG)).done();
    place.wait_lines("runs", 1);
    fleet.apply(&bad(&place, LONG)).done();
    place.wait_lines("tried", 1);
    fleet.controller.kill9();
    place.touch("poison");
    place.wait_lines("runs", 2);
    let before = agent.process("web");

    // Nobody can be asked when it starts again: what failed is not tried once more.
    let written = agent.log_len();
    agent.daemon.kill9();
    agent.launch_again();
    agent.wait_log_since(written, &["starting from the assignment on disk"]);

    fleet.launch_again();
    fleet.wait_ready();
    // The agent that had the event to tell was killed; its state says it all the same.
    controller_is_back(&fleet);
    assert_eq!(agent.process("web"), before, "what runs was not touched");
    assert_eq!(place.lines("tried").len(), 3);
    assert_eq!(place.lines("runs").len(), 2);
}

#[test]
fn an_agent_that_is_killed_in_the_middle_goes_back_all_the_same() {
    let fleet = Fleet::start();
    let place = Place::new("process");
    let mut agent = fleet.agent("board").start();
    fleet.apply_wait(&good(&place, LONG)).done();
    place.wait_lines("runs", 1);
    fleet.apply(&bad(&place, LONG)).done();
    place.wait_lines("tried", 1);
    agent.daemon.kill9();
    place.touch("poison");
    agent.answer_again(&fleet);
    is_back(&fleet);
    place.wait_lines("runs", 2);
    assert_eq!(place.lines("runs").len(), 2);
    assert!(agent.process("web").child.lives());
}
