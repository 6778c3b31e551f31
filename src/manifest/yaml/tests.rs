//! YAML from the outside: texts in, trees, workloads or problems out.

use super::super::{
    MAX_SOURCE_BYTES, Manifest, Problems, Source, parse,
    report::walk_tree,
    tree::{Data, Value},
};
use crate::model::{
    DependsOn, PlacementMode, RestartPolicy, Run, RunMode, Share, Strategy as Placing, Workload,
    WorkloadType,
};
use proptest::prelude::*;

/// The documents of `text` as they are read, without a look at what they say.
fn trees(text: &str) -> Result<Vec<Value>, Problems> {
    walk_tree(
        &Source::new("t.yaml", text),
        |text, report| {
            let documents = super::read::documents(text, report)?;
            Some(Value {
                span: 0..0,
                data: Data::List(documents),
            })
        },
        |root, _| match &root.data {
            Data::List(documents) => documents.clone(),
            _ => Vec::new(),
        },
    )
    .map(|walked| walked.value)
}

fn tree(text: &str) -> Value {
    let mut trees = trees(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(trees.len(), 1);
    trees.remove(0)
}

/// What is wrong with `text` as YAML.
fn broken(text: &str) -> Vec<String> {
    lines(&trees(text).expect_err("it must be refused"))
}

fn lines(problems: &Problems) -> Vec<String> {
    problems
        .0
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.message))
        .collect()
}

/// What is wrong with `text` as a manifest.
fn wrong(text: &str) -> Vec<String> {
    lines(&parse(&Source::new("app.yaml", text)).expect_err("it must be refused"))
}

fn all(text: &str) -> Vec<Workload> {
    parse(&Source::new("app.yaml", text))
        .unwrap_or_else(|problems| panic!("{problems}"))
        .into_iter()
        .map(|Manifest { workload, .. }| workload)
        .collect()
}

fn one(text: &str) -> Workload {
    let mut all = all(text);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// A tree in one line: maps in braces, lists in brackets, texts in quotes.
fn shape(value: &Value) -> String {
    match &value.data {
        Data::Text(text) => format!("{text:?}"),
        Data::Integer(number) => number.to_string(),
        Data::Float(number) => format!("{number:?}"),
        Data::Bool(answer) => answer.to_string(),
        Data::Null => "null".to_owned(),
        Data::Other(what) => (*what).to_owned(),
        Data::List(items) => {
            let items: Vec<String> = items.iter().map(shape).collect();
            format!("[{}]", items.join(", "))
        }
        Data::Map(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| format!("{}: {}", entry.name, shape(&entry.value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[test]
fn trees_are_read() {
    for (text, expected) in [
        (
            "a: 1\nb: [x, 'y', \"z\\n\"]\n",
            r#"{a: 1, b: ["x", "y", "z\n"]}"#,
        ),
        (
            "- a\n- b: c\n  d: e\n-\n",
            r#"["a", {b: "c", d: "e"}, null]"#,
        ),
        (
            "a: |\n  x\n   y\nb: >-\n  x\n  y\n",
            r#"{a: "x\n y\n", b: "x y"}"#,
        ),
        (
            "yes: no\n80: on\n1.5: x\n",
            r#"{yes: "no", 80: "on", 1.5: "x"}"#,
        ),
        ("a: &x {p: 1}\nb: *x\n", "{a: {p: 1}, b: {p: 1}}"),
        (
            "a: &a {p: 1, q: 2}\nb: &b {q: 3, r: 4}\nc:\n  <<: [*a, *b]\n  p: 0\n",
            "{a: {p: 1, q: 2}, b: {q: 3, r: 4}, c: {p: 0, q: 2, r: 4}}",
        ),
        ("a: {<<: {p: 1}, '<<': 2}\n", "{a: {<<: 2, p: 1}}"),
        (
            "a: !!str 1\nb: !!int 2\nc: !!float 3\nd: ! 4\n",
            r#"{a: "1", b: 2, c: 3.0, d: "4"}"#,
        ),
        ("a: !!map {}\nb: !!seq []\n", "{a: {}, b: []}"),
        ("a:\nb: ~\n", "{a: null, b: null}"),
        ("\u{feff}a: ü\r\nb: 1\r\n", r#"{a: "ü", b: 1}"#),
        (
            "a: 99999999999999999999\n",
            "{a: a number that does not fit 64 bits}",
        ),
    ] {
        assert_eq!(shape(&tree(text)), expected, "{text}");
    }
    assert_eq!(trees("a: 1\n---\nb: 2\n").unwrap().len(), 2);
    assert_eq!(trees("").unwrap().len(), 0);
}

#[test]
fn every_value_has_its_place() {
    let text = "ü: &n 007\nlist: [ä, \"b\"]\nmap:\n  key: true\nitems:\n  - name: x\n    more: y\n";
    let root = tree(text);
    let at = |value: &Value| &text[value.span.clone()];
    assert_eq!(at(root.get("ü").unwrap()), "007", "without the anchor");
    let list = root.get("list").unwrap();
    assert_eq!(at(list), "[ä, \"b\"]");
    assert_eq!(at(&list.as_list().unwrap()[0]), "ä");
    assert_eq!(at(&list.as_list().unwrap()[1]), "\"b\"");
    let map = root.get("map").unwrap();
    assert_eq!(at(map), "map", "a block is shown by its key");
    assert_eq!(at(map.get("key").unwrap()), "true");
    let item = &root.get("items").unwrap().as_list().unwrap()[0];
    assert_eq!(at(item), "name", "an item by its first key");
}

#[test]
fn what_is_no_yaml_is_said() {
    for (text, line, message) in [
        ("a: 1\na: 2\n", "2:1 ", "`a` is written twice"),
        ("a: !secret x\n", "1:", "the tag `!secret` is not supported"),
        (
            "a: !!binary eA==\n",
            "1:",
            "the tag `!!binary` is not supported",
        ),
        ("a: !!int x\n", "1:10 ", "`x` is not what `!!int` says"),
        ("a: *x\n", "1:4 ", "unknown anchor"),
        ("a: &x [*x]\n", "1:", "a part of itself"),
        ("a: {<<: 1}\n", "1:", "`<<` takes a map, not an integer"),
        (
            "? [a, b]\n: c\n",
            "1:",
            "a key must be a text, not an array",
        ),
        (": c\n", "1:", "a value without a key"),
        ("a:\n\tb: 1\n", "2:", "this is not YAML"),
        ("a: [1, 2\n", "", "this is not YAML"),
        ("a: \"x\n", "", "this is not YAML"),
        ("a: b\0c\n", "1:", ""),
        ("{\n", "", "this is not YAML"),
        ("a: b: c\n", "1:", "this is not YAML"),
    ] {
        let found = broken(text);
        assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        assert!(found[0].starts_with(line), "{text:?}: {found:?}");
        assert!(found[0].contains(message), "{text:?}: {found:?}");
    }
}

#[test]
fn a_tab_is_named() {
    let problems = trees("a:\n\tb: 1\n").unwrap_err();
    let hint = problems.0[0].hint.as_deref();
    assert_eq!(hint, Some("indent with spaces, not with tabs"));
}

#[test]
fn depth_and_size_are_bounded() {
    for count in [65, 100, 100_000] {
        let found = broken(&"- ".repeat(count));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("64 levels deep"), "{count}: {found:?}");
        for text in [
            "[".repeat(count),
            "{a: ".repeat(count),
            format!("a: {}{}", "[".repeat(count), "]".repeat(count)),
        ] {
            let found = broken(&text);
            assert_eq!(found.len(), 1);
            // The parser has its own bound, and looks ahead in brackets.
            let bounded = ["64 levels deep", "this is not YAML"];
            assert!(
                bounded.iter().any(|why| found[0].contains(why)),
                "{count}: {found:?}"
            );
        }
    }
    let found = broken(&"- a\n".repeat(210_000));
    assert!(found[0].contains("more than 200000 values"), "{found:?}");
    // Larger than a file may be.
    let large = "a: b\n".repeat(MAX_SOURCE_BYTES / 5 + 1);
    assert!(
        trees(&large)
            .unwrap_err()
            .to_string()
            .contains("larger than 1 MiB")
    );
}

#[test]
fn aliases_do_not_make_a_small_text_large() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = level - 1;
        let items = format!("*a{below}, ").repeat(9);
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let found = broken(&text);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("add more than 10000 values"), "{found:?}");

    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    let found = broken(&text);
    assert!(found[0].contains("64 levels deep"), "{found:?}");
}

#[test]
fn a_workload_is_read() {
    let workload = one("
name: report
type: script
version: 1.10
run_mode: schedule
module: reports.daily
entry_point: run
schedule: 0 3 * * *
time_zone: Europe/Berlin
missed: run_once
params: {rate: 3, names: [a, b]}
timeout: 90
restart_policy: on_failure
restart_delay: 1.5
memory_limit_mb: 64
cpu_limit: 0.5
cpu_nice: 10
tags: [daily, 7]
venv: /opt/reports
env:
  MODE: prod
  CODE: 007
depends_on: {db: healthy}
placement: {on: every, requires: [arch=aarch64]}
");
    assert_eq!(workload.name.as_str(), "report");
    assert_eq!(workload.kind, WorkloadType::Script);
    assert_eq!(workload.version, "1.10");
    let Run::Python { callable, venv, .. } = &workload.run else {
        panic!("{:?}", workload.run);
    };
    assert_eq!(callable, "reports.daily:run");
    assert_eq!(venv.as_deref(), Some("/opt/reports"));
    let RunMode::Schedule(schedule) = &workload.mode else {
        panic!("{:?}", workload.mode);
    };
    assert_eq!(schedule.cron, "0 3 * * *");
    assert_eq!(workload.params["rate"], 3);
    assert_eq!(workload.timeout_ms, Some(90_000));
    assert_eq!(workload.restart.policy, RestartPolicy::OnFailure);
    assert_eq!(workload.restart.delay_ms, 1_500);
    assert_eq!(workload.resources.memory, Some(64 << 20));
    assert_eq!(workload.resources.cpus, Some(0.5));
    assert_eq!(workload.resources.nice, Some(10));
    assert_eq!(workload.tags, ["daily", "7"]);
    assert_eq!(workload.env["CODE"], "007");
    let on = workload.depends_on.values().next();
    assert_eq!(on, Some(&DependsOn::Healthy));
    assert_eq!(workload.placement.mode, PlacementMode::Every);
}

#[test]
fn what_the_fleet_decides_by_is_read() {
    let workload = one("
name: web
image: example/web:1
volumes:
- cache:/cache
- {source: data, target: /data, movable: true}
placement:
  strategy: capability_match
  requires: [memory>=1GiB]
  prefers:
  - gpu
  - requires: zone=a
    weight: -20
  spread: rack
  apart: [batch]
update:
  max_parallel: 20%
  canary: 1
  min_healthy_time: 30s
  budget: {label: rack, max_unavailable: 1}
  windows:
  - {opens: 0 2 * * *, duration: 2h, time_zone: Europe/Berlin}
");
    assert!(!workload.volumes[0].movable && workload.volumes[1].movable);
    assert_eq!(workload.placement.strategy, Placing::CapabilityMatch);
    let weights: Vec<i32> = workload
        .placement
        .prefers
        .iter()
        .map(|p| p.weight)
        .collect();
    assert_eq!(weights, [50, -20]);
    assert_eq!(workload.placement.spread.as_deref(), Some("rack"));
    let update = workload.update.unwrap();
    assert_eq!(
        (update.max_parallel, update.canary),
        (Share::Percent(20), 1)
    );
    assert_eq!(update.min_healthy_time_ms, 30_000);
    assert_eq!(update.windows[0].duration_ms, 7_200_000);

    assert_eq!(
        wrong("name: a\ncommand: x\nupdate:\n  canary: 1\n  max_parallel: 0\n"),
        ["5:17 `max_parallel` must be from 1 to 100000"]
    );
}

#[test]
fn several_workloads_are_read() {
    let names =
        |text: &str| -> Vec<String> { all(text).iter().map(|w| w.name.to_string()).collect() };
    for text in [
        "workloads:\n- name: a\n  command: x\n- name: b\n  command: y\n",
        "workloads:\n  a: {command: x}\n  b:\n    command: y\n",
        "name: a\ncommand: x\n---\nname: b\ncommand: y\n",
        "---\nname: a\ncommand: x\n---\n---\nworkloads: [{name: b, command: y}]\n",
        "x-base: &base {command: x}\nworkloads:\n- {name: a, <<: *base}\n- {name: b, <<: *base}\n",
    ] {
        assert_eq!(names(text), ["a", "b"], "{text}");
    }
}

#[test]
fn commands_scripts_and_variables() {
    let command = |text: &str| match one(text).run {
        Run::Process { command, .. } => command,
        run => panic!("{run:?}"),
    };
    for (text, expected) in [
        (
            "name: a\ncommand: /bin/x -n 'a b'\n",
            &["/bin/x", "-n", "a b"][..],
        ),
        (
            "name: a\ncommand: [/bin/x, 1, true]\n",
            &["/bin/x", "1", "true"],
        ),
        ("name: a\nscript: /opt/x.sh\n", &["/opt/x.sh"]),
        ("name: a\nscript: /opt/x.py\n", &["python3", "/opt/x.py"]),
        (
            "vars: {v: 1.10}\nname: a\ncommand: x {{ var.v }} {{ node.name }}\n",
            &["x", "1.10", "{{ node.name }}"],
        ),
    ] {
        assert_eq!(command(text), expected, "{text}");
    }
    let Run::Python { callable, .. } = one("name: a\nmodule: m\n").run else {
        panic!("python");
    };
    assert_eq!(callable, "m:main");
}

#[test]
fn everything_that_is_wrong_is_said_at_its_place() {
    for (text, expected) in [
        ("command: x\n", &["1:1 the workload has no `name`"][..]),
        (
            "name: [a]\ncommand: x\n",
            &["1:7 `name` must be a text, not an array"],
        ),
        (
            "name: a_b\ncommand: x\n",
            &["1:7 `a_b` is not a name: 1 to 63 of a-z, 0-9 and `-`, \
                                     starting and ending with a letter or digit"],
        ),
        (
            "name: a\ncomand: x\ncommand: y\n",
            &["2:1 unknown key `comand`"],
        ),
        (
            "name: a\ncommand: x | y\n",
            &["2:10 `|` means something to a shell only, and no shell \
                                        reads `command`"],
        ),
        (
            "name: a\ncommand: 'x\n  \"'\n",
            &["2:10 the command has a \" without another one"],
        ),
        (
            "name: a\ncommand: x\nimage:\n",
            &["3:1 `image` has no value"],
        ),
        (
            "name: a\ncommand: x\nmax_restarts: 3\n",
            &["3:1 `max_restarts` is not supported: restarts are never given up"],
        ),
        (
            "name: a\ncommand: x\nrun_mode: schedule\n",
            &["3:11 `run_mode: schedule` needs `schedule`"],
        ),
        (
            "name: a\ncommand: x\nrun_mode: n_times\n",
            &["3:11 `run_mode: n_times` needs `max_runs`"],
        ),
        (
            "name: a\ncommand: x\nrun_mode: sometimes\n",
            &["3:11 `run_mode` must be `forever`, `schedule` or `n_times`"],
        ),
        (
            "name: a\ntype: script\ncommand: x\nrun_mode: forever\nmax_runs: 2\n",
            &["4:11 `run_mode: forever` contradicts `max_runs`"],
        ),
        (
            "name: a\ncommand: x\ntimeout: -1\n",
            &["3:10 `timeout` is no number of seconds"],
        ),
        (
            "name: a\ncommand: x\nmemory_limit_mb: 64m\n",
            &["3:18 `memory_limit_mb` must be a number of MiB"],
        ),
        (
            "name: a\ncommand: x\nnice: 1\ncpu_nice: 2\n",
            &["4:1 `cpu_nice` is said twice"],
        ),
        (
            "name: a\ncommand: x\nenv: [A=1, B]\n",
            &["3:12 `B` has no value"],
        ),
        (
            "name: a\nentry_point: x\ncommand: x\n",
            &["2:1 `entry_point` needs a `module`"],
        ),
        (
            "workloads: 1\n",
            &["1:12 `workloads` must be a list or a map, not an integer"],
        ),
        (
            "workloads: []\n",
            &["1:1 there is no workload in `workloads`"],
        ),
        (
            "workloads: [1]\n",
            &["1:13 each item of `workloads` must be a map, not an integer"],
        ),
        (
            "workloads: {a: {name: b, command: x}}\n",
            &["1:23 the workload is called `a` above"],
        ),
        (
            "workloads: [{name: a, command: x}, {name: a, command: x}]\n",
            &["1:43 workload `a` is already defined"],
        ),
        (
            "- 1\n",
            &["1:1 a document must be a map of keys and values, not an array"],
        ),
        (
            "command: x\nworkloads: [{name: a, command: x}]\n",
            &["1:1 unknown key `command`"],
        ),
        (
            "workloads:\n- {name: a, command: x, depends_on: [b]}\n\
          - {name: b, command: x, depends_on: [a]}\n",
            &["2:10 the workloads wait for each other: a → b → a"],
        ),
    ] {
        let found = wrong(text);
        assert_eq!(found, expected, "{text}");
    }
    for text in ["", "# nothing\n", "---\n", "~\n"] {
        let found = wrong(text);
        assert_eq!(found, ["1:1 there is no workload in this file"], "{text:?}");
    }
}

#[test]
fn a_workload_without_a_name_has_its_other_problems_said() {
    let found = wrong("workloads:\n- command: x\n  nice: many\n- image: X\n  name: b\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("has no `name`"), "{found:?}");
    assert!(found[1].starts_with("3:9 `nice` must be"), "{found:?}");
    assert!(
        found[2].starts_with("4:10 `X` is not an image"),
        "{found:?}"
    );
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let text = String::from_utf8_lossy(&bytes);
        for name in ["a.yaml", "compose.yaml", "a.toml", "-"] {
            let _ = parse(&Source::new(name, text.clone()));
        }
    }

    #[test]
    fn texts_like_yaml_never_panic(
        text in "([ \\t]{0,3}(- |\\? |: |[a-c]: ?|&a |\\*a|<<: ?|!!?[a-z]{0,4} |[|>][+-]?|[\\[\\]{},'\"#%@`~é]|---|\\.\\.\\.|services:|workloads:|name: a|\r|\n)){0,40}"
    ) {
        for name in ["a.yaml", "compose.yaml"] {
            if let Err(problems) = parse(&Source::new(name, text.clone())) {
                for problem in problems.0 {
                    prop_assert!(problem.line >= 1 && problem.column >= 1);
                }
            }
        }
    }
}
