//! `[controller.alerts]`: from text to rules and back.

use super::*;
use crate::{
    config::{ControllerConfig, tests::controller},
    manifest::Problems,
};

const HOOK: &str = "[controller.alerts.receiver.ops]\ntype = 'webhook'\nurl = \
                    'https://example.org/x'\n[controller.alerts.receiver.boss]\ntype = \
                    'webhook'\nurl = 'https://example.org/y'\n";

fn read(text: &str) -> Result<ControllerConfig, Problems> {
    controller(&format!("[controller]\n{text}{HOOK}"))
}

fn rule<'a>(config: &'a ControllerConfig, name: &str) -> &'a Rule {
    config.alerts.rules.iter().find(|r| r.name == name).unwrap()
}

#[test]
fn without_a_word_the_built_in_rules_hold_and_nobody_is_told() {
    let config = controller("[controller]\n").unwrap();
    assert_eq!(config.alerts, AlertsConfig::default());
    assert!(!config.render().contains("alerts"));
}

#[test]
fn what_is_written_is_read_and_rendered_again() {
    let text = "[controller.alerts]\ninterval = '2s'\nrepeat = '0s'\nnotify = ['ops']\n\
         [controller.alerts.rule.disk]\nabove = 80\nsamples = 5\nnodes = ['zone=lab']\n\
         [controller.alerts.rule.cpu]\n[controller.alerts.rule.failed]\nenabled = false\n\
         [controller.alerts.rule.node_lost]\nafter = '5m'\nnotify = []\n\
         escalate_after = '1h'\nescalate_to = ['boss']\nrepeat = '1h'\n\
         [controller.alerts.rule.web-down]\nwhen = 'unhealthy'\nworkloads = ['web']\n\
         severity = 'critical'\n\
         [controller.alerts.rule.hot]\nwhen = 'telemetry'\nmetric = 'load'\nvalue = '1m'\n\
         above = 4.5\n";
    let config = read(text).unwrap_or_else(|p| panic!("{p}"));
    let alerts = &config.alerts;
    assert_eq!((alerts.interval_ms, alerts.repeat_ms), (2_000, 0));
    assert_eq!(alerts.notify.len(), 1);
    let disk = rule(&config, "disk");
    assert_eq!(disk.when, Condition::Disk(Limit::Above(80.0)));
    assert_eq!((disk.samples, disk.nodes.len()), (5, 1));
    assert!(rule(&config, "cpu").enabled && !rule(&config, "failed").enabled);
    let lost = rule(&config, "node_lost");
    assert_eq!(lost.severity, Severity::Critical);
    assert_eq!(lost.notify, Some(Vec::new()));
    assert_eq!(lost.escalate_after_ms, Some(3_600_000));
    assert_eq!(rule(&config, "web-down").severity, Severity::Critical);
    let hot = Condition::Telemetry {
        metric: Metric::Load,
        value: "1m".into(),
        limit: Limit::Above(4.5),
    };
    assert_eq!(rule(&config, "hot").when, hot);
    let text = config.render();
    let mut again = controller(&text).unwrap_or_else(|p| panic!("{p}\n{text}"));
    // What is secret of them is not shown.
    again.alerts.receivers.clone_from(&config.alerts.receivers);
    assert_eq!(again, config);
}

#[test]
fn every_receiver_is_told_unless_it_is_written_who_is() {
    let config = read("").unwrap_or_else(|p| panic!("{p}"));
    let names: Vec<&str> = config.alerts.notify.iter().map(Name::as_str).collect();
    assert_eq!(names, ["boss", "ops"]);
}

#[test]
fn every_word_is_one_that_can_be_written() {
    for word in WORDS {
        let more = match word {
            "telemetry" => "metric = 'cpu'\nvalue = 'total'\nbelow = 1\n",
            _ => "",
        };
        let text = format!("[controller.alerts.rule.own]\nwhen = '{word}'\n{more}");
        let config = read(&text).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(rule(&config, "own").when.word(), word);
    }
}

#[test]
fn mistakes_have_their_place() {
    for (text, expected) in [
        (
            "[controller.alerts]\ninterval = '1ms'\n",
            "`interval` must be from 1s to 10m",
        ),
        (
            "[controller.alerts]\nintervall = '1s'\n",
            "unknown key `intervall`",
        ),
        (
            "[controller.alerts]\nrepeat = '1s'\n",
            "`repeat` must be 1m or more",
        ),
        (
            "[controller.alerts]\nnotify = ['opps']\n",
            "there is no receiver `opps`",
        ),
        (
            "[controller.alerts]\nnotify = ['ops', 'ops']\n",
            "named twice",
        ),
        (
            "[controller.alerts.rule.disk]\nabove = 101\n",
            "`above` must be from 0 to 100",
        ),
        (
            "[controller.alerts.rule.disk]\nwhen = 'cpu'\n",
            "is built in, for \"disk\"",
        ),
        (
            "[controller.alerts.rule.disk]\nsamples = 0\n",
            "`samples` must be from 1 to 100",
        ),
        (
            "[controller.alerts.rule.disk]\nworkloads = ['web']\n",
            "unknown key `workloads`",
        ),
        (
            "[controller.alerts.rule.failed]\nabove = 5\n",
            "unknown key `above`",
        ),
        (
            "[controller.alerts.rule.own]\nseverity = 'info'\n",
            "does not say `when`",
        ),
        (
            "[controller.alerts.rule.own]\nwhen = 'dis'\n",
            "did you mean \"disk\"?",
        ),
        (
            "[controller.alerts.rule.Own]\nwhen = 'disk'\n",
            "is no name for a rule",
        ),
        (
            "[controller.alerts.rule.own]\nwhen = 'telemetry'\nmetric = 'cpu'\nvalue = 'x'\n",
            "neither `above` nor `below`",
        ),
        (
            "[controller.alerts.rule.disk]\nescalate_after = '1h'\n",
            "no effect without `escalate_to`",
        ),
        (
            "[controller.alerts.rule.disk]\nescalate_after = '1h'\nescalate_to = []\n",
            "`escalate_to` names nobody",
        ),
        (
            "[controller.alerts.rule.own]\nwhen = 'telemetry'\nmetric = 'cpu'\n\
             value = \"a\\u001bb\"\nabove = 1\n",
            "no control characters",
        ),
        (
            "[controller.alerts.rule.disk]\nnodes = ['a b']\n",
            "is not a requirement",
        ),
        ("alerts = true\n", "`alerts` must be a table"),
    ] {
        let found = match text.starts_with("alerts") {
            true => controller(&format!("[controller]\n{text}")),
            false => read(text),
        };
        let problems = found.unwrap_err().to_string();
        assert!(problems.contains(expected), "{text}: {problems}");
    }
}
