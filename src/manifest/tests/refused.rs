//! Each rule of the keys of a workload with its sentence.

use super::{wrong, wrong_line};

/// Asserts that a process with each of these lines has the one problem that stands beside it.
fn each_is_wrong(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let found = wrong_line(line);
        assert_eq!(found, [*expected], "{line}");
    }
}

/// The same of a container.
fn each_is_wrong_of_a_container(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let found = wrong(&format!("[workload.web]\nimage = 'a'\n{line}\n"));
        assert_eq!(found, [*expected], "{line}");
    }
}

#[test]
fn the_agents_own_name_is_no_workloads() {
    let found = wrong("[workload.fleetctl-agent]\ncommand = ['/bin/x']\n");
    assert_eq!(found, ["1:11 `fleetctl-agent` is the agent's own name"]);
}

#[test]
fn run_modes() {
    for (lines, expected) in [
        (
            "schedule = '0 3 * *'",
            "4:12 `0 3 * *` is not a cron expression",
        ),
        ("schedule = '0 0 30 2 *'", "4:12 `0 0 30 2 *` never comes"),
        (
            "schedule = 3",
            "4:12 `schedule` must be a string, not an integer",
        ),
        ("schedule = {}", "4:12 `schedule` does not say when"),
        (
            "schedule = { cron = 'x' }",
            "4:21 `x` is not a cron expression",
        ),
        (
            "schedule = { cron = '@daily', zone = 'UTC' }",
            "4:31 unknown key `zone`",
        ),
        (
            "schedule = '@daily'\ntime_zone = 'Mars/Olympus'",
            "5:13 `Mars/Olympus` is not a time zone",
        ),
        (
            "schedule = '@daily'\nmissed = 'later'",
            "5:10 `missed` must be \"skip\" or \"run_once\", not \"later\"",
        ),
        (
            "schedule = '@daily'\noverlap = 'kill'",
            "5:11 `overlap` must be \"skip\" or \"queue\" or \"replace\", not \"kill\"",
        ),
        (
            "schedule = { cron = '@daily' }\nmissed = 'skip'",
            "5:1 `missed` belongs into the table of `schedule`",
        ),
        (
            "overlap = 'skip'",
            "4:1 `overlap` has no meaning without `schedule`",
        ),
        ("max_runs = 0", "4:12 `max_runs` must be from 1 to 1000000"),
        (
            "schedule = '@daily'\nmax_runs = 1",
            "5:1 `max_runs` and `schedule` exclude each other",
        ),
        ("timeout = '10ms'", "4:11 `timeout` must be from 1s to 30d"),
        ("timeout = '31d'", "4:11 `timeout` must be from 1s to 30d"),
    ] {
        let found = wrong(&format!(
            "[workload.web]\ntype = 'script'\ncommand = ['a']\n{lines}\n"
        ));
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        assert!(found[0].starts_with(expected), "{lines}: {found:?}");
    }
    each_is_wrong(&[
        (
            "schedule = '@daily'",
            "3:1 `schedule` has no meaning for a service, which runs for ever",
        ),
        (
            "max_runs = 1",
            "3:1 `max_runs` has no meaning for a service, which runs for ever",
        ),
    ]);
}

#[test]
fn health() {
    each_is_wrong(&[
        ("health = {}", "3:10 `health` says nothing to check"),
        (
            "health = 'x'",
            "3:10 `health` must be a table, not a string",
        ),
        (
            "health = { http = 'http://a', tcp = 'a:1' }",
            "3:37 `http` and `tcp` exclude each other",
        ),
        (
            "health = { http = '/healthz' }",
            "3:19 `/healthz` is not an address of HTTP",
        ),
        (
            "health = { tcp = '5432' }",
            "3:18 `5432` is not an address of TCP",
        ),
        ("health = { exec = [] }", "3:19 `exec` names no program"),
        ("health = { exec = [''] }", "3:19 `exec` names no program"),
        (
            "health = { image = true }",
            "3:20 only a container has a check in its image",
        ),
        (
            "health = { tcp = 'a:1', interval = '1ms' }",
            "3:36 `interval` must be from 1s to 1h",
        ),
        (
            "health = { tcp = 'a:1', timeout = '11m' }",
            "3:35 `timeout` must be from 100ms to 10m",
        ),
        (
            "health = { tcp = 'a:1', start_period = '2h' }",
            "3:40 `start_period` must be from 0s to 1h",
        ),
        (
            "health = { tcp = 'a:1', retries = 0 }",
            "3:35 `retries` must be from 1 to 100",
        ),
        (
            "health = { tcp = 'a:1', on_unhealthy = 'kill' }",
            "3:40 `on_unhealthy` must be \"restart\" or \"report\", not \"kill\"",
        ),
        (
            "health = { tcp = 'a:1', intervall = '1s' }",
            "3:25 unknown key `intervall`",
        ),
        (
            "min_healthy_time = '2h'",
            "3:20 `min_healthy_time` must be from 0s to 1h",
        ),
    ]);
    each_is_wrong_of_a_container(&[(
        "health = { image = false }",
        "3:20 `image = false` checks nothing",
    )]);
}

#[test]
fn order_and_hooks() {
    each_is_wrong(&[
        ("depends_on = ['web']", "3:15 `web` cannot depend on itself"),
        (
            "depends_on = { web = 'healthy' }",
            "3:16 `web` cannot depend on itself",
        ),
        ("depends_on = ['db', 'db']", "3:21 `db` is named twice"),
        (
            "depends_on = { db = 'helthy' }",
            "3:21 a condition must be \"started\" or \"healthy\" or \"completed\", not \"helthy\"",
        ),
        (
            "depends_on = { db = 1 }",
            "3:21 a condition of `depends_on` must be a string",
        ),
        (
            "depends_on = 'db'",
            "3:14 `depends_on` must be an array of strings, not a string",
        ),
        ("before_stop = []", "3:15 `before_stop` names no program"),
        ("before_stop = {}", "3:15 `before_stop` names no command"),
        (
            "before_stop = { command = ['a'], timeout = '2h' }",
            "3:44 `timeout` must be from 100ms to 1h",
        ),
    ]);
    let workload = |name: &str, needs: &str| {
        format!("[workload.{name}]\ncommand = ['a']\ndepends_on = {needs}\n")
    };
    let text =
        workload("a", "['b']") + &workload("b", "{ a = 'healthy' }") + &workload("c", "['a']");
    assert_eq!(
        wrong(&text),
        ["1:11 the workloads wait for each other: a → b → a"]
    );
    let text = text + &workload("x", "['y']") + &workload("y", "['x', 'elsewhere']");
    assert_eq!(
        wrong(&text),
        [
            "1:11 the workloads wait for each other: a → b → a",
            "10:11 the workloads wait for each other: x → y → x"
        ]
    );
}

#[test]
fn limits_and_logs() {
    each_is_wrong(&[
        (
            "resources = { pids = 0 }",
            "3:22 `pids` must be from 1 to 4194304",
        ),
        (
            "resources = { open_files = 3 }",
            "3:28 `open_files` must be from 16 to 1048576",
        ),
        (
            "resources = { oom_score = 1001 }",
            "3:27 `oom_score` must be from -1000 to 1000",
        ),
        (
            "resources = { read_only = true }",
            "3:15 `read_only` is for containers, and this workload is a process",
        ),
        (
            "resources = { tmpfs = ['/tmp'] }",
            "3:15 `tmpfs` is for containers, and this workload is a process",
        ),
        (
            "logs = { max_size = '1KiB' }",
            "3:21 `max_size` must be from 64KiB to 1GiB",
        ),
        (
            "logs = { max_files = 21 }",
            "3:22 `max_files` must be from 1 to 20",
        ),
    ]);
    each_is_wrong_of_a_container(&[
        (
            "resources = { tmpfs = ['/tmp:x'] }",
            "3:24 `x` is not a size",
        ),
        (
            "resources = { tmpfs = ['/tmp:1'] }",
            "3:24 the size in `/tmp:1` must be at least 4KiB",
        ),
        (
            "resources = { tmpfs = ['/'] }",
            "3:24 the root of a container cannot be in memory",
        ),
        (
            "resources = { tmpfs = ['/a', '/a:1MiB'] }",
            "3:30 `/a` is named twice",
        ),
    ]);
}

#[test]
fn python_and_params() {
    for (lines, expected) in [
        ("python = 'app'", "2:10 `app` names no function"),
        ("python = 'app:'", "2:10 `app:` is not a Python callable"),
        (
            "python = 'a:b'\nvenv = 'venv'",
            "3:8 `venv` is not an absolute path",
        ),
        (
            "python = 'a:b'\nimage = 'a'",
            "2:1 `python` and `image` exclude each other",
        ),
        (
            "python = 'a:b'\ncommand = ['a']",
            "2:1 `python` and `command` exclude each other",
        ),
        (
            "python = 'a:b'\nports = ['80']",
            "3:1 `ports` is for containers, and this workload is a process",
        ),
        (
            "command = ['a']\nvenv = '/v'",
            "3:1 `venv` has no meaning without `python`",
        ),
    ] {
        assert_eq!(
            wrong(&format!("[workload.web]\n{lines}\n")),
            [expected],
            "{lines}"
        );
    }
    let deep = format!("params = {{ a = {}1{} }}", "[".repeat(20), "]".repeat(20));
    let large = format!("params = {{ a = '{}' }}", "x".repeat(66_000));
    each_is_wrong(&[
        ("params = []", "3:10 `params` must be a table, not an array"),
        (
            "params = { a = 2026-01-01 }",
            "3:16 `a` must not be a datetime",
        ),
        (
            "params = { a = [1, inf] }",
            "3:20 `a` is not a finite number",
        ),
        (&deep, "3:31 `a` is nested more than 16 levels deep"),
        (&large, "3:10 `params` must be at most 64 KiB as JSON"),
        (
            "params = { a = '{{ label }}' }",
            "3:16 `{{ label }}` is not known",
        ),
    ]);
}

#[test]
fn files_and_reload() {
    let large = format!("files = {{ a = '{}' }}", "x".repeat(66_000));
    let many: Vec<String> = (0..65).map(|n| format!("f{n} = ''")).collect();
    let many = format!("files = {{ {} }}", many.join(", "));
    each_is_wrong(&[
        (
            "files = ['a']",
            "3:9 `files` must be a table of files, not an array",
        ),
        (
            "files = { '../a' = '' }",
            "3:11 `../a` must not contain `..`",
        ),
        (
            "files = { a = 1 }",
            "3:15 the file `a` must be a string or a table, not an integer",
        ),
        ("files = { a = {} }", "3:15 the file `a` has no `content`"),
        (
            "files = { a = { content = 1 } }",
            "3:27 `content` must be a string, not an integer",
        ),
        (
            "files = { a = { content = '', mode = '4755' } }",
            "3:38 `4755` are no permissions of a file",
        ),
        (
            "files = { a = { source = 'b' } }",
            "3:26 there is no text file `b` of at most 64 KiB beside this one",
        ),
        (
            "files = { a = { contents = '' , content = '' } }",
            "3:17 unknown key `contents`",
        ),
        (
            "files = { a = '', 'a/b' = '' }",
            "3:19 `a/b` and `a` cannot both be files",
        ),
        (
            "files = { a = '{{ nod.name }}' }",
            "3:15 `{{ nod.name }}` is not known",
        ),
        (&large, "3:15 a file must be at most 64 KiB"),
        (&many, "3:9 `files` has more than 64 entries"),
        (
            "reload = 'SIGHUP'",
            "3:1 `reload` has no meaning without `files`",
        ),
        (
            "files = { a = '' }\nreload = 'SIGHAP'",
            "4:10 `SIGHAP` is not a signal that can be sent",
        ),
        (
            "files = { a = '' }\nreload = 'KILL'",
            "4:10 SIGKILL ends a workload at once; it cannot reload",
        ),
    ]);
    each_is_wrong_of_a_container(&[
        ("files = { a = '' }", "3:11 `a` is not an absolute path"),
        (
            "files = { '/a' = '' }\nvolumes = ['b:/a']",
            "3:9 a volume is mounted on the file `/a`",
        ),
    ]);
}

#[test]
fn containers_and_words() {
    each_is_wrong(&[
        (
            "privileged = true",
            "3:1 `privileged` is for containers, and this workload is a process",
        ),
        (
            "adopt = 'web'",
            "3:1 `adopt` is for containers, and this workload is a process",
        ),
        ("tags = ['a', 'a']", "3:14 `a` is named twice"),
        ("tags = ['']", "3:9 `` is not a tag"),
        (
            "version = '{{ node.name }}'",
            "3:11 `version` must not contain a template: it is the same on every node",
        ),
    ]);
    each_is_wrong_of_a_container(&[
        (
            "cap_add = ['net_admin']",
            "3:12 `net_admin` is not a capability",
        ),
        (
            "cap_drop = ['ALL', 'CAP_ALL']",
            "3:20 `CAP_ALL` is named twice",
        ),
        (
            "extra_hosts = ['db']",
            "3:16 `db` is not a host with its address",
        ),
        (
            "dns = ['dns.example']",
            "3:8 `dns.example` is not the address of a name server",
        ),
        ("group_add = ['a b']", "3:14 `a b` is not a group"),
        (
            "labels = { 'io.fleetctl.node' = 'x' }",
            "3:12 labels `io.fleetctl.…` are fleetctl's own",
        ),
        (
            "sysctls = { somaxconn = 1 }",
            "3:13 `somaxconn` is not a kernel setting",
        ),
        (
            "shm_size = '1KiB'",
            "3:12 `shm_size` must be from 64KiB to 1TiB",
        ),
        (
            "stop_signal = 'SIGRTMIN+3'",
            "3:15 `SIGRTMIN+3` is not a signal that can be sent",
        ),
        ("hostname = 'a b'", "3:12 `a b` is not a host name"),
        ("entrypoint = []", "3:14 `entrypoint` names no program"),
        ("adopt = 'a/b'", "3:9 `a/b` is not the name of a container"),
        (
            "ports = ['{{ label.port }}:80']",
            "3:10 `{{ label.port }}` is not a port: a number from 1 to 65535",
        ),
    ]);
    let found = wrong("[workload.web]\nimage = 'a:{{ label.tag }}'\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("is not an image reference"), "{found:?}");
}
