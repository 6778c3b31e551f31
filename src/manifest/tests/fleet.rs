//! What the fleet decides by: placement, update, and volumes that may be left behind.

use super::{one, wrong, wrong_line};
use crate::model::{
    Budget, Mount, MountSource, Placement, PlacementMode, Share, Strategy, Update, Window, Workload,
};

fn process(line: &str) -> Workload {
    one(&format!(
        "[workload.web]\ncommand = ['/bin/true']\n{line}\n"
    ))
}

fn update(line: &str) -> Update {
    process(line).update.expect("it has an update")
}

/// Asserts that a process with each of these lines has the one problem that stands beside it.
fn each_is_wrong(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(wrong_line(line), [*expected], "{line}");
    }
}

#[test]
fn a_full_placement_is_read() {
    let read = process(
        "[workload.web.placement]\nreplicas = 3\nstrategy = 'resource_optimal'\n\
         requires = ['memory>=1GiB', 'zone!=lab']\n\
         prefers = ['gpu', { requires = 'zone=a', weight = 80 }, \
         { requires = '!battery', weight = -100 }, { requires = 'x' }]\n\
         spread = 'rack'\nwith = ['db']\napart = ['batch', 'report']\n",
    )
    .placement;
    assert_eq!(read.mode, PlacementMode::Any { replicas: 3 });
    assert_eq!(read.strategy, Strategy::ResourceOptimal);
    let requires: Vec<String> = read.requires.iter().map(ToString::to_string).collect();
    assert_eq!(requires, ["memory>=1GiB", "zone!=lab"]);
    let prefers: Vec<(String, i32)> = read
        .prefers
        .iter()
        .map(|p| (p.requirement.to_string(), p.weight))
        .collect();
    let expected = [("gpu", 50), ("zone=a", 80), ("!battery", -100), ("x", 50)];
    assert_eq!(prefers, expected.map(|(what, by)| (what.to_owned(), by)));
    assert_eq!(read.spread.as_deref(), Some("rack"));
    assert_eq!(read.with, ["db".parse().unwrap()]);
    assert_eq!(read.apart.len(), 2);

    for (word, strategy) in [
        ("least_loaded", Strategy::LeastLoaded),
        ("round_robin", Strategy::RoundRobin),
        ("capability_match", Strategy::CapabilityMatch),
        ("resource_optimal", Strategy::ResourceOptimal),
    ] {
        let read = process(&format!("placement = {{ strategy = '{word}' }}")).placement;
        let expected = Placement {
            strategy,
            ..Placement::default()
        };
        assert_eq!(read, expected, "{word}");
    }
}

#[test]
fn placements_that_cannot_be_are_refused() {
    let many: Vec<String> = (0..65).map(|n| format!("'l{n}'")).collect();
    let many = format!("placement = {{ prefers = [{}] }}", many.join(", "));
    each_is_wrong(&[
        (
            "placement = { strategy = 'least_load' }",
            "3:26 `strategy` must be \"least_loaded\" or \"round_robin\" or \"capability_match\" \
             or \"resource_optimal\", not \"least_load\"",
        ),
        (
            "placement = { requires = ['memory>much'] }",
            "3:27 `memory>much` is not a requirement",
        ),
        (
            "placement = { requires = ['zone=a', 'zone=b'] }",
            "3:37 `zone=b` contradicts `zone=a`",
        ),
        (
            "placement = { requires = ['gpu', '!gpu'] }",
            "3:34 `!gpu` contradicts `gpu`",
        ),
        (
            "placement = { requires = ['memory>2GiB', 'docker', 'memory<1GiB'] }",
            "3:52 `memory<1GiB` contradicts `memory>2GiB`",
        ),
        (
            "placement = { nodes = ['pi-1'], replicas = 2 }",
            "3:44 `replicas = 2` and `nodes` names one node, which runs one instance",
        ),
        (
            "placement = { requires = ['memory >= -1'] }",
            "3:27 `memory>=-1` is true of every node",
        ),
        (
            "placement = { requires = ['arch>7'] }",
            "3:27 `arch>7` is true of no node",
        ),
        (
            "placement = { prefers = ['cpus<0'] }",
            "3:26 `cpus<0` is true of no node",
        ),
        (
            "placement = { prefers = 'gpu' }",
            "3:25 `prefers` must be an array, not a string",
        ),
        (
            "placement = { prefers = [1] }",
            "3:26 each item of `prefers` must be a string or a table, not an integer",
        ),
        (
            "placement = { prefers = ['a b'] }",
            "3:26 `a b` is not a requirement",
        ),
        (
            "placement = { prefers = [{ weight = 1 }] }",
            "3:26 the preference does not say what a node should have",
        ),
        (
            "placement = { prefers = [{ requires = 'gpu', weight = 0 }] }",
            "3:55 a preference of the weight 0 says nothing",
        ),
        (
            "placement = { prefers = [{ requires = 'gpu', weight = 101 }] }",
            "3:55 `weight` must be from -100 to 100",
        ),
        (
            "placement = { prefers = [{ requires = 'gpu', wait = 1 }] }",
            "3:46 unknown key `wait`",
        ),
        (
            "placement = { prefers = ['gpu', { requires = 'gpu', weight = 1 }] }",
            "3:33 `gpu` is named twice",
        ),
        (&many, "3:25 `prefers` has more than 64 items"),
        (
            "placement = { spread = 'zone=a' }",
            "3:24 `zone=a` is not a label",
        ),
        (
            "placement = { spread = '!zone' }",
            "3:24 `!zone` is not a label",
        ),
        (
            "placement = { on = 'every', spread = 'zone' }",
            "3:29 `spread` has no meaning with `on = \"every\"`",
        ),
        (
            "placement = { on = 'every', prefers = ['gpu'] }",
            "3:29 `prefers` has no meaning with `on = \"every\"`",
        ),
        (
            "placement = { with = ['web'] }",
            "3:23 `web` cannot be named in its own `with`",
        ),
        (
            "placement = { apart = ['web'] }",
            "3:24 `web` cannot be named in its own `apart`",
        ),
        (
            "placement = { apart = ['a', 'a'] }",
            "3:29 workload `a` is named twice",
        ),
        (
            "placement = { with = ['a', 'b'], apart = ['b'] }",
            "3:43 `b` is in `with` and in `apart`",
        ),
        (
            "placement = { with = ['A'] }",
            "3:23 `A` is not a name: 1 to 63 of a-z, 0-9 and `-`, starting and ending with a \
             letter or digit",
        ),
    ]);
}

#[test]
fn a_full_update_is_read() {
    let read = update(
        "[workload.web.update]\nmax_parallel = '20%'\ncanary = 2\nauto_promote = false\n\
         min_healthy_time = '30s'\nhealthy_deadline = '2m'\nprogress_deadline = '1h'\n\
         auto_rollback = false\nsequence = 'floor'\n\
         budget = { label = 'rack', max_unavailable = '25%' }\n\
         windows = [{ opens = '0 2 * * *', duration = '2h', time_zone = 'Europe/Berlin' }]\n\
         [[workload.web.update.download_windows]]\nopens = '@hourly'\nduration = '10m'\n",
    );
    let window = |opens: &str, minutes: u64, time_zone: Option<&str>| Window {
        opens: opens.to_owned(),
        duration_ms: minutes * 60_000,
        time_zone: time_zone.map(str::to_owned),
    };
    let expected = Update {
        max_parallel: Share::Percent(20),
        canary: 2,
        auto_promote: false,
        min_healthy_time_ms: 30_000,
        healthy_deadline_ms: 120_000,
        progress_deadline_ms: 3_600_000,
        auto_rollback: false,
        sequence: Some("floor".to_owned()),
        budget: Some(Budget {
            label: "rack".to_owned(),
            max_unavailable: Share::Percent(25),
        }),
        windows: vec![window("0 2 * * *", 120, Some("Europe/Berlin"))],
        download_windows: vec![window("@hourly", 10, None)],
    };
    assert_eq!(read, expected);
}

#[test]
fn an_update_has_defaults_and_is_absent_where_it_is_not_written() {
    assert_eq!(process("").update, None);
    assert_eq!(update("update = {}"), Update::default());
    assert_eq!(update("[workload.web.update]"), Update::default());
    let expected = Update {
        max_parallel: Share::Count(3),
        canary: 1,
        ..Update::default()
    };
    for line in [
        "update = { max_parallel = 3, canary = 1 }",
        "update = { max_parallel = '3', canary = 1 }",
        "placement = { on = 'every' }\nupdate = { max_parallel = 3, canary = 1 }",
    ] {
        assert_eq!(update(line), expected, "{line}");
    }
}

#[test]
fn defaults_of_an_update_yield_to_what_is_written() {
    let times = |line: &str| {
        // Healthy as soon as it is up: there is nothing else to fit in.
        let update = update(&format!("min_healthy_time = '0s'\nupdate = {{ {line} }}"));
        (
            update.min_healthy_time_ms / 1_000,
            update.healthy_deadline_ms / 1_000,
            update.progress_deadline_ms / 1_000,
        )
    };
    for (line, expected) in [
        ("min_healthy_time = '5m'", (300, 600, 1_200)),
        ("min_healthy_time = '1h'", (3_600, 3_900, 4_500)),
        ("healthy_deadline = '8s'", (4, 8, 600)),
        ("healthy_deadline = '1d'", (10, 86_400, 87_000)),
        ("progress_deadline = '1m'", (10, 60, 60)),
        ("progress_deadline = '4s'", (2, 4, 4)),
        (
            "min_healthy_time = '1m', progress_deadline = '2m'",
            (60, 120, 120),
        ),
        (
            "min_healthy_time = '1m', healthy_deadline = '1m'",
            (60, 60, 600),
        ),
    ] {
        assert_eq!(times(line), expected, "{line}");
    }
}

#[test]
fn a_deadline_leaves_time_for_both_times_of_being_healthy() {
    each_is_wrong(&[
        (
            "update = { healthy_deadline = '10s' }",
            "3:31 `healthy_deadline` must be longer than the workload's own `min_healthy_time` \
             (10s) and `update.min_healthy_time` (0s) together",
        ),
        (
            "update = { min_healthy_time = '10s', healthy_deadline = '20s' }",
            "3:57 `healthy_deadline` must be longer than the workload's own `min_healthy_time` \
             (10s) and `update.min_healthy_time` (10s) together",
        ),
    ]);
    let times = |lines: &str| {
        let update = update(lines);
        let (min, deadline) = (update.min_healthy_time_ms, update.healthy_deadline_ms);
        (min / 1_000, deadline / 1_000)
    };
    for (lines, expected) in [
        ("update = { healthy_deadline = '30s' }", (10, 30)),
        // What is not written yields.
        ("update = { healthy_deadline = '14s' }", (2, 14)),
        ("min_healthy_time = '6m'\nupdate = {}", (10, 670)),
        // One that is asked need not have been up for any time.
        (
            "health = { tcp = '127.0.0.1:80' }\nupdate = { healthy_deadline = '8s' }",
            (4, 8),
        ),
    ] {
        assert_eq!(times(lines), expected, "{lines}");
    }
}

#[test]
fn updates_that_cannot_be_are_refused() {
    let window = "{ opens = '@daily', duration = '1h' }";
    let many = format!("update = {{ windows = [{}] }}", [window; 17].join(", "));
    each_is_wrong(&[
        (
            "update = true",
            "3:10 `update` must be a table, not a boolean",
        ),
        (
            "update = { max_paralel = 1 }",
            "3:12 unknown key `max_paralel`",
        ),
        (
            "update = { max_parallel = 0 }",
            "3:27 `max_parallel` must be from 1 to 100000",
        ),
        (
            "update = { max_parallel = '0%' }",
            "3:27 `0%` is no part of the nodes",
        ),
        (
            "update = { max_parallel = '101%' }",
            "3:27 `101%` is no part of the nodes",
        ),
        (
            "update = { max_parallel = '4000000000' }",
            "3:27 `4000000000` is no part of the nodes",
        ),
        (
            "update = { max_parallel = 0.5 }",
            "3:27 `max_parallel` must be a whole number, not a float",
        ),
        (
            "update = { canary = -1 }",
            "3:21 `canary` must be from 0 to 100000",
        ),
        (
            "update = { auto_promote = false }",
            "3:27 `auto_promote = false` has no meaning without `canary`",
        ),
        (
            "update = { min_healthy_time = 10 }",
            "3:31 `min_healthy_time` needs a unit",
        ),
        (
            "update = { min_healthy_time = '2h' }",
            "3:31 `min_healthy_time` must be from 0s to 1h",
        ),
        (
            "update = { healthy_deadline = '2d' }",
            "3:31 `healthy_deadline` must be from 1s to 1d",
        ),
        (
            "update = { progress_deadline = '8d' }",
            "3:32 `progress_deadline` must be from 1s to 7d",
        ),
        (
            "update = { min_healthy_time = '1m', healthy_deadline = '30s' }",
            "3:56 `healthy_deadline` is shorter than `min_healthy_time`",
        ),
        (
            "update = { healthy_deadline = '5m', progress_deadline = '1m' }",
            "3:57 `progress_deadline` is shorter than `healthy_deadline`",
        ),
        (
            "update = { min_healthy_time = '5m', progress_deadline = '1m' }",
            "3:57 `progress_deadline` is shorter than `min_healthy_time`",
        ),
        (
            "update = { sequence = 'rack=1' }",
            "3:23 `rack=1` is not a label",
        ),
        (
            "update = { budget = 1 }",
            "3:21 `budget` must be a table, not an integer",
        ),
        (
            "update = { budget = { max_unavailable = 1 } }",
            "3:21 `budget` has no `label`",
        ),
        (
            "update = { budget = { label = 'rack' } }",
            "3:21 `budget` has no `max_unavailable`",
        ),
        (
            "update = { budget = { label = 'rack', max_unavailable = 0 } }",
            "3:57 `max_unavailable` must be from 1 to 100000",
        ),
        (
            "update = { windows = '@daily' }",
            "3:22 `windows` must be an array, not a string",
        ),
        (
            "update = { windows = ['@daily'] }",
            "3:23 each item of `windows` must be a table, not a string",
        ),
        (
            "update = { windows = [{ duration = '1h' }] }",
            "3:23 the window has no `opens`",
        ),
        (
            "update = { windows = [{ opens = '@daily' }] }",
            "3:23 the window has no `duration`",
        ),
        (
            "update = { windows = [{ opens = '0 0 30 2 *', duration = '1h' }] }",
            "3:33 `0 0 30 2 *` never comes",
        ),
        (
            "update = { windows = [{ opens = '@daily', duration = '59s' }] }",
            "3:54 `duration` must be from 1m to 7d",
        ),
        (
            "update = { windows = [{ opens = '@daily', duration = '8d' }] }",
            "3:54 `duration` must be from 1m to 7d",
        ),
        (
            "update = { download_windows = [{ opens = '@daily', duration = '1h', time_zone = \
             'Mars/Olympus' }] }",
            "3:81 `Mars/Olympus` is not a time zone",
        ),
        (&many, "3:22 `windows` has more than 16 items"),
        (
            "update = { windows = [] }",
            "3:22 `windows` has no window, and so would never open",
        ),
        (
            "update = { download_windows = [] }",
            "3:31 `download_windows` has no window, and so would never open",
        ),
    ]);
    let found = wrong_line("update = { windows = [{ opens = 'at two', duration = '1h' }] }");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("3:33 `at two` is not a cron expression"),
        "{found:?}"
    );
    // Everything that is wrong is said in one pass.
    let found = wrong_line(
        "update = { windows = [{ opens = '0 25 * * *', duration = '1s', time_zone = 'Mars' }] }",
    );
    assert_eq!(
        found,
        [
            "3:33 `0 25 * * *` is not a cron expression: its hour is `25` and takes 0 to 23",
            "3:58 `duration` must be from 1m to 7d",
            "3:76 `Mars` is not a time zone",
        ]
    );
}

fn mounts(volumes: &str) -> Vec<Mount> {
    one(&format!(
        "[workload.web]\nimage = 'a'\nvolumes = {volumes}\n"
    ))
    .volumes
}

#[test]
fn a_volume_may_be_a_table() {
    let mount = |source, read_only, movable| Mount {
        source,
        target: "/data".to_owned(),
        read_only,
        movable,
    };
    let data = || MountSource::Volume("data".to_owned());
    let path = |path: &str| MountSource::Path(path.to_owned());
    for (written, expected) in [
        ("'data:/data'", mount(data(), false, false)),
        (
            "{ source = 'data', target = '/data' }",
            mount(data(), false, false),
        ),
        (
            "{ source = 'data', target = '/data', movable = true }",
            mount(data(), false, true),
        ),
        (
            "{ source = '/srv', target = '/data/', read_only = true, movable = true }",
            mount(path("/srv"), true, true),
        ),
        (
            "{ source = '/srv/{{ label.a:b }}', target = '/data' }",
            mount(path("/srv/{{ label.a:b }}"), false, false),
        ),
    ] {
        assert_eq!(mounts(&format!("[{written}]")), [expected], "{written}");
    }
    assert_eq!(
        mounts("['data:/a', { source = 'data', target = '/b' }]").len(),
        2
    );
}

#[test]
fn volumes_that_cannot_be_are_refused() {
    for (volumes, expected) in [
        (
            "'data:/data'",
            "3:11 `volumes` must be an array, not a string",
        ),
        (
            "[1]",
            "3:12 a volume must be a string or a table, not an integer",
        ),
        ("['data']", "3:12 `data` is not a volume"),
        ("[{ target = '/data' }]", "3:12 the volume has no `source`"),
        ("[{ source = 'data' }]", "3:12 the volume has no `target`"),
        (
            "[{ source = 'data', target = 'data' }]",
            "3:12 `data` is not an absolute path",
        ),
        (
            "[{ source = 'data:/x', target = '/data' }]",
            "3:23 `data:/x` must not contain `:`",
        ),
        (
            "[{ source = 'data', target = '/data:ro' }]",
            "3:40 `/data:ro` must not contain `:`",
        ),
        (
            "[{ source = 'data', target = '/data', moveable = true }]",
            "3:49 unknown key `moveable`",
        ),
        (
            "[{ source = 'data', target = '/data', movable = 'yes' }]",
            "3:59 `movable` must be true or false, not a string",
        ),
        (
            "['a:/data', { source = 'b', target = '/data' }]",
            "3:23 two volumes are mounted on `/data`",
        ),
        (
            "[{ source = './x', target = '/data' }]",
            "3:12 `./x` is not an absolute path",
        ),
    ] {
        let found = wrong(&format!(
            "[workload.web]\nimage = 'a'\nvolumes = {volumes}\n"
        ));
        assert_eq!(found, [expected], "{volumes}");
    }
}

#[test]
fn what_the_fleet_decides_by_is_no_reason_to_replace_an_instance() {
    let text = "[workload.web]\nimage = 'a'\n";
    let plain = one(&format!("{text}volumes = ['data:/data']\n"));
    let guarded = one(&format!(
        "{text}volumes = [{{ source = 'data', target = '/data', movable = true }}]\n\
         placement = {{ strategy = 'round_robin', prefers = ['gpu'], spread = 'zone' }}\n\
         update = {{ canary = 1 }}\n"
    ));
    assert_ne!(plain, guarded);
    assert_eq!(plain.spec_hash(), guarded.spec_hash());
}
