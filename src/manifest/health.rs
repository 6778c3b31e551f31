//! `[workload.<name>.health]`: how it is found out whether a workload works.

use super::{
    shown,
    span::Flaw,
    table::Table,
    vars::plain,
    word::{is_host, port},
};
use crate::model::{Health, HealthCheck, OnUnhealthy};

/// A second and an hour.
const SECOND: u64 = 1_000;
const HOUR: u64 = 60 * 60 * SECOND;
/// The most bytes of an address.
const MAX_ADDRESS: usize = 2_048;
/// The keys that each are a check.
const CHECKS: [&str; 5] = ["http", "tcp", "exec", "image", "none"];
/// The keys that say how it is asked.
const HOW: [&str; 5] = [
    "start_period",
    "interval",
    "timeout",
    "retries",
    "on_unhealthy",
];

/// Reads the table, where it is written. `is_container`: what is checked is one.
pub(crate) fn read(mut table: Table<'_>, is_container: bool) -> Option<Health> {
    if !table.is_present() {
        return None;
    }
    let written: Vec<&str> = CHECKS.into_iter().filter(|key| table.has(key)).collect();
    match written.as_slice() {
        [] => table.missing(Flaw::new("`health` says nothing to check").hint(
            "write one of `http = \"http://…\"`, `tcp = \"host:port\"`, `exec = [\"…\"]` and, \
             for a container, `image = true` or `none = true`",
        )),
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                let flaw = Flaw::new(format!("`{first}` and `{other}` exclude each other"));
                table.refuse(other, flaw.hint("keep one of the two"));
            }
        }
    }
    let http = table.parsed("http", http_address).map(HealthCheck::Http);
    let tcp = table.parsed("tcp", tcp_address).map(HealthCheck::Tcp);
    let exec = table.command("exec").map(HealthCheck::Exec);
    let image = table.bool("image");
    if table.has("image") && !is_container {
        let flaw = Flaw::new("only a container has a check in its image");
        table.refuse("image", flaw.hint("write `exec = [\"…\"]`"));
    } else if image == Some(false) {
        let flaw = Flaw::new("`image = false` checks nothing");
        table.refuse("image", flaw.hint("remove it"));
    }
    let image = image.map(|_| HealthCheck::Image);
    let none = read_none(&mut table, is_container);
    let start_period_ms = table.ms_within("start_period", 0..=HOUR);
    let interval_ms = table.ms_within("interval", SECOND..=HOUR);
    let timeout_ms = table.ms_within("timeout", 100..=10 * 60 * SECOND);
    let retries = table.count_within("retries", 1..=100);
    let on_unhealthy = table.choice(
        "on_unhealthy",
        &[
            ("restart", OnUnhealthy::Restart),
            ("report", OnUnhealthy::Report),
        ],
    );
    table.finish();

    let usual = Health::new(http.or(tcp).or(exec).or(image).or(none)?);
    Some(Health {
        start_period_ms: start_period_ms.unwrap_or(usual.start_period_ms),
        interval_ms: interval_ms.unwrap_or(usual.interval_ms),
        timeout_ms: timeout_ms.unwrap_or(usual.timeout_ms),
        retries: retries.unwrap_or(usual.retries),
        on_unhealthy: on_unhealthy.unwrap_or(usual.on_unhealthy),
        check: usual.check,
    })
}

/// `none = true`: the check that the image has is not run either.
fn read_none(table: &mut Table<'_>, is_container: bool) -> Option<HealthCheck> {
    let none = table.bool("none");
    if !table.has("none") {
        return None;
    }
    if !is_container {
        let flaw = Flaw::new("only a container has a check in its image, which could be left out");
        table.refuse("none", flaw.hint("remove `health`"));
    } else if none == Some(false) {
        table.refuse(
            "none",
            Flaw::new("`none = false` says nothing").hint("remove it"),
        );
    }
    for key in HOW {
        let flaw = Flaw::new(format!("`{key}` has no meaning where nothing is checked"));
        table.refuse_key(key, flaw.hint("remove it"));
    }
    none.map(|_| HealthCheck::None)
}

/// `http://host[:port][/path]`, the same with `https`.
fn http_address(text: &str) -> Result<String, Flaw> {
    let wrong = || {
        Flaw::new(format!("`{}` is not an address of HTTP", shown(text)))
            .hint("write it whole, as in \"http://127.0.0.1:8080/healthz\"")
    };
    let plain = plain(text);
    let rest = plain
        .strip_prefix("http://")
        .or_else(|| plain.strip_prefix("https://"))
        // Nobody knows yet what a template at the beginning becomes.
        .or_else(|| text.starts_with("{{").then_some("host"))
        .ok_or_else(wrong)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let unprintable = |c: char| c.is_control() || c.is_whitespace() || c == '#';
    if text.len() > MAX_ADDRESS || plain.contains(unprintable) || !is_authority(&rest[..end], false)
    {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// `host:port`.
fn tcp_address(text: &str) -> Result<String, Flaw> {
    let plain = plain(text);
    let whole = text.starts_with("{{") && !plain.contains(':');
    if text.len() <= MAX_ADDRESS && (whole || is_authority(&plain, true)) {
        return Ok(text.to_owned());
    }
    Err(
        Flaw::new(format!("`{}` is not an address of TCP", shown(text)))
            .hint("write host and port, as in \"127.0.0.1:5432\""),
    )
}

/// A name or an address, with a port, which may be left out unless it is `needed`.
fn is_authority(text: &str, needed: bool) -> bool {
    let (host, rest) = match text.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, rest)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, rest),
            _ => return false,
        },
        None => {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            // Names of containers and of Windows machines have underscores.
            if !is_host(&host.replace('_', "a")) {
                return false;
            }
            (host, rest)
        }
    };
    !host.is_empty()
        && match rest.strip_prefix(':') {
            Some(number) => port(number).is_some(),
            None => rest.is_empty() && !needed,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_http() {
        for text in [
            "http://127.0.0.1:8080/healthz",
            "https://box.example",
            "http://[::1]:80/?deep=1",
            "http://my_app:3000",
            "http://{{ node.hostname }}:{{ label.port }}/{{ env.PATH }}",
            "{{ env.URL }}",
            "{{ env.BASE }}/healthz",
        ] {
            assert_eq!(http_address(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "/healthz",
            "127.0.0.1:8080",
            "ftp://a",
            "http://",
            "http:///x",
            "http://a:0",
            "http://a:b",
            "http://a b",
            "http://a/b c",
            "http://a/#b",
            "http://user@a",
            "http://[::g]",
            "HTTP://a",
        ] {
            assert!(http_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_tcp() {
        for text in [
            "127.0.0.1:5432",
            "db:1",
            "[::1]:80",
            "{{ node.name }}:80",
            "{{ env.DB }}",
        ] {
            assert_eq!(tcp_address(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "db",
            ":80",
            "80",
            "db:",
            "db:0",
            "a:1:2",
            "::1:80",
            "{{ env.DB }}:x",
        ] {
            assert!(tcp_address(text).is_err(), "{text}");
        }
    }
}
