//! The worst texts of 1 MiB: whoever may only read can send them, and others wait meanwhile.

use crate::manifest::{MAX_SOURCE_BYTES, Problems, Reading, Source, parse_many_with};
use std::{collections::BTreeMap, time::Duration};

/// `line` for 0, 1, 2, … behind `head` until the text is full.
fn full(head: &str, line: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for n in 0.. {
        let line = line(n);
        if text.len() + line.len() + tail.len() > MAX_SOURCE_BYTES {
            break;
        }
        text.push_str(&line);
    }
    text + tail
}

fn same(line: &'static str) -> impl Fn(usize) -> String {
    move |_| line.to_owned()
}

/// Not more than so many lines.
fn some(most: usize, line: impl Fn(usize) -> String) -> String {
    (0..most).map(line).collect()
}

fn toml() -> Vec<(&'static str, String)> {
    let deep = format!("a = {}", "[".repeat(MAX_SOURCE_BYTES - 10));
    let dotted = format!("{}a = 1", "a.".repeat(MAX_SOURCE_BYTES / 2 - 10));
    let header = format!("[{}a]", "a.".repeat(MAX_SOURCE_BYTES / 2 - 10));
    let one = "[workload.a]\ncommand = ['x']\n";
    vec![
        ("unknown keys", full(one, |n| format!("k{n} = 1\n"), "")),
        (
            "nearly known keys",
            full(one, |n| format!("comman{n} = 1\n"), ""),
        ),
        ("workloads", full("", |n| format!("[workload.w{n}]\n"), "")),
        (
            "workloads that cannot be called so",
            full("", |n| format!("[workload.W{n}]\n"), ""),
        ),
        ("the same key", full(one, same("a = 1\n"), "")),
        ("no syntax", full("", same("=\n"), "")),
        ("no syntax in one line", full("", same("= "), "")),
        (
            "no syntax and unknown keys",
            full(one, |n| format!("k{n} = 1\n=\n"), ""),
        ),
        ("broken values in one line", full("a = [", same("!,"), "]")),
        ("deep lists", deep),
        ("deep keys", dotted),
        ("deep headers", header),
        (
            "headers",
            full("", |n| format!("[a.b.c.d.e.f.g.h.i.j{n}]\n"), ""),
        ),
        ("tables of a list", full("", same("[[a]]\n"), "")),
        (
            "environment",
            full(
                &format!("{one}[workload.a.env]\n"),
                |n| format!("K{n} = ''\n"),
                "",
            ),
        ),
        (
            "files",
            full(
                one,
                |n| format!("[workload.a.files.'/{n}']\nsource = 'f'\n"),
                "",
            ),
        ),
        (
            "variables",
            full("[vars]\n", |n| format!("v{n} = ''\n"), ""),
        ),
        (
            "unknown variables",
            full(
                &format!("[vars]\n{}", some(512, |n| format!("v{n} = ''\n"))),
                |n| format!("[workload.w{n}]\nversion = '{{{{var.u{n}}}}}'\n"),
                "",
            ),
        ),
        (
            "waiting for each other",
            some(1_000, |n| {
                let on: String = (1..64)
                    .map(|m| format!("'w{}',", (n + m) % 1_000))
                    .collect();
                format!("[workload.w{n}]\ncommand = ['x']\ndepends_on = [{on}]\n")
            }),
        ),
        (
            "ports",
            some(100, |n| {
                let ports: String = (1..512).map(|p| format!("'{p}:{p}',")).collect();
                format!("[workload.w{n}]\nimage = 'x'\nports = [{ports}]\n")
            }),
        ),
        (
            "a long text",
            format!("{one}version = '{}'", "x".repeat(1_000_000)),
        ),
        (
            "a long name",
            format!("[workload.{}]", "x".repeat(1_000_000)),
        ),
    ]
}

fn yaml() -> Vec<(&'static str, String)> {
    let one = "name: a\ncommand: x\n";
    vec![
        ("unknown keys", full(one, |n| format!("k{n}: 1\n"), "")),
        (
            "nearly known keys",
            full(one, |n| format!("comman{n}: 1\n"), ""),
        ),
        (
            "workloads",
            full("workloads:\n", |n| format!("- name: w{n}\n"), ""),
        ),
        (
            "workloads by name",
            full("workloads:\n", |n| format!(" w{n}: {{}}\n"), ""),
        ),
        ("documents", full("", |n| format!("---\nname: w{n}\n"), "")),
        ("empty documents", full("", same("---\n"), "")),
        ("deep lists", full("", same("["), "")),
        ("deep maps", full("", same("{a: "), "")),
        ("deep block lists", full("", same("- "), "")),
        ("deep keys", full("", same("? "), "")),
        ("short lists", full("a: [", same("[],"), "]")),
        ("commas", full("a: [", same("a,"), "]")),
        ("a key of brackets", full("", same("[a]: "), "")),
        ("an open text", full("a: \"", same("x\n\n"), "")),
        ("many lines of one text", full("a:\n", same("  x\n"), "")),
        (
            "many empty lines of one text",
            full("a: x\n", same("\n"), "  y"),
        ),
        ("escapes", full("a: \"", same("\\x41"), "\"")),
        ("a block", full("a: |\n", same("  x\n"), "")),
        ("tags", full("", same("- !a a\n"), "")),
        ("directives", full("", |n| format!("%TAG !{n}! !\n"), "")),
        ("comments", full("", same("#\n"), "a: 1")),
        ("anchors", full("", |n| format!("- &a{n} a\n"), "")),
        ("aliases", full("- &a a\n", same("- *a\n"), "")),
        (
            "aliases of much",
            full(
                &format!("- &a {}\n", "x".repeat(500_000)),
                same("- *a\n"),
                "",
            ),
        ),
        (
            "merges",
            full("x-a: &a {a: 1}\nb:\n", same(" <<: *a\n"), ""),
        ),
        ("variables", full("vars:\n", |n| format!(" v{n}: 1\n"), "")),
        (
            "environment",
            full(&format!("{one}env:\n"), |n| format!(" K{n}: 1\n"), ""),
        ),
        (
            "a list of environment",
            full(&format!("{one}env:\n"), |n| format!(" - K{n}=1\n"), ""),
        ),
        ("colons", full("", same(":"), "")),
        ("no text", full("a: ", same("\u{1}"), "")),
        (
            "words of other alphabets",
            full(one, |n| format!("ü{n}: ü\n"), ""),
        ),
    ]
}

fn compose() -> Vec<(&'static str, String)> {
    let services = |lines: &'static str| {
        full(
            "services:\n",
            move |n| format!(" s{n}:\n  image: x\n{lines}"),
            "",
        )
    };
    let thousand = |keys: &str| {
        let keys = keys.to_owned();
        let service = |n| format!(" s{n}:\n  image: x\n{keys}");
        "services:\n".to_owned() + &some(1_000, service)
    };
    let one = "services:\n a:\n  image: x\n";
    let below = |key: &str, line: &'static str| {
        let line = move |n: usize| line.replace('#', &n.to_string());
        full(&format!("{one}  {key}:\n"), line, "")
    };
    vec![
        ("services", services("")),
        ("services that wait", services("  depends_on: [s1]\n")),
        (
            "a thousand that wait for their ends",
            "services:\n".to_owned()
                + &some(1_000, |n| {
                    let on: String = (0..12)
                        .map(|m| {
                            let other = (n * 7 + m) % 1_000;
                            format!("   s{other}: {{condition: service_completed_successfully}}\n")
                        })
                        .collect();
                    format!(" s{n}:\n  image: x\n  depends_on:\n{on}")
                }),
        ),
        ("services in profiles", services("  profiles: [p]\n")),
        ("unknown keys", full(one, |n| format!("  k{n}: 1\n"), "")),
        (
            "nearly known keys",
            full(one, |n| format!("  imag{n}: 1\n"), ""),
        ),
        (
            "ranges of ports",
            thousand("  ports: ['1-256:1-256', '257-500:257-500']\n"),
        ),
        ("environment", below("environment", "   K#: 1\n")),
        ("a list of environment", below("environment", "   - K#=1\n")),
        ("links", below("links", "   - s#\n")),
        ("what is waited for", below("depends_on", "   - s#\n")),
        ("volumes", below("volumes", "   - ./a:/#\n")),
        ("a file again and again", below("env_file", "   - a\n")),
        (
            "configs",
            below("configs", "   - {source: a, target: /#}\n"),
        ),
        ("ports", below("ports", "   - {target: #, published: #}\n")),
        ("hosts", below("extra_hosts", "   - a:#\n")),
        (
            "networks",
            "networks:\n".to_owned()
                + &some(30_000, |n| format!(" n{n}:\n"))
                + "services:\n"
                + &some(150, |s| {
                    let names: String = (0..500).map(|n| format!("n{},", 29_999 - n)).collect();
                    format!(" s{s}:\n  image: x\n  networks: [{names}]\n")
                }),
        ),
        (
            "defaults for a thousand",
            thousand("") + "x-fleet:\n env:\n" + &some(60_000, |n| format!("  K{n}: 1\n")),
        ),
        (
            "defaults under much",
            "x-fleet:\n env:\n".to_owned()
                + &some(30_000, |n| format!("  K{n}: 1\n"))
                + one
                + "  x-fleet:\n   env:\n"
                + &some(30_000, |n| format!("    K{n}: 1\n")),
        ),
        (
            "long variables",
            full(&format!("{one}  command: ["), same("$A,"), "]"),
        ),
        (
            "open variables",
            full(&format!("{one}  command: "), same("${A:-"), ""),
        ),
        (
            "content again and again",
            thousand("  configs: [a]\n")
                + &format!("configs:\n a:\n  content: {}\n", "x".repeat(60_000)),
        ),
    ]
}

/// In a build for debugging; a release takes a tenth of it.
const LONGEST: Duration = Duration::from_secs(1);

/// Of a text with variables and a file beside it.
fn read(name: &str, text: String) -> Result<Reading, Problems> {
    let mut source = Source::new(name, text);
    let lines: String = (0..20_000).map(|_| "A=\n").collect();
    source.files.insert("a".into(), lines);
    let variables = BTreeMap::from([("A".to_owned(), "x".repeat(200_000))]);
    parse_many_with(&[source], &variables)
}

/// For how long this thread has had a processor.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("statistics");
    let nanoseconds = stat.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

#[test]
fn the_worst_texts_are_read_within_a_second() {
    let mut late = Vec::new();
    for (name, texts) in [
        ("a.toml", toml()),
        ("a.yaml", yaml()),
        ("compose.yaml", compose()),
    ] {
        for (what, text) in texts {
            assert!(text.len() <= MAX_SOURCE_BYTES, "{name} {what}");
            let bytes = text.len();
            // Time on the processor: others may have it, too. Who is slow is slow each time.
            let mut took = Duration::MAX;
            let mut found = None;
            for _ in 0..3 {
                if took > LONGEST {
                    let start = on_processor();
                    found = Some(read(name, text.clone()));
                    took = took.min(on_processor() - start);
                }
            }
            let Some(found) = found else { continue };
            let said = match &found {
                Ok(read) => format!("{} workloads", read.manifests.len()),
                Err(all) => format!("{} problems, {}", all.0.len(), all.0[0].message),
            };
            let said: String = said.chars().take(100).collect();
            println!("{took:>8.0?} {name}: {what} ({bytes} bytes): {said}");
            if took > LONGEST {
                late.push(format!("{name}: {what}: {took:?}"));
            }
        }
    }
    assert!(late.is_empty(), "{late:#?}");
}
