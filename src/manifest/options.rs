//! What a container is rarely given: the keys of [`ContainerOptions`].

use super::{
    files::parse_signal,
    limits::size_within,
    networks, shown,
    span::Flaw,
    table::Table,
    vars::plain,
    word::{is_host, user},
};
use crate::model::ContainerOptions;
use std::net::IpAddr;

/// The keys read here.
pub(crate) const KEYS: [&str; 16] = [
    "entrypoint",
    "hostname",
    "cap_add",
    "cap_drop",
    "privileged",
    "extra_hosts",
    "dns",
    "group_add",
    "labels",
    "sysctls",
    "init",
    "shm_size",
    "stop_signal",
    "tty",
    "networks",
    "security_opt",
];
/// Labels that begin so are fleetctl's own.
const OWN_LABELS: &str = "io.fleetctl.";
/// The most bytes of the value of a label or a kernel setting.
const MAX_VALUE: usize = 4_096;

/// Reads the options of a container from the table of its workload.
pub(crate) fn read(table: &mut Table<'_>) -> ContainerOptions {
    ContainerOptions {
        entrypoint: table.command("entrypoint").unwrap_or_default(),
        hostname: table.parsed("hostname", hostname),
        cap_add: list(table, "cap_add", capability),
        cap_drop: list(table, "cap_drop", capability),
        privileged: table.bool("privileged").unwrap_or(false),
        extra_hosts: list(table, "extra_hosts", extra_host),
        dns: list(table, "dns", name_server),
        group_add: list(table, "group_add", group),
        labels: table.string_map("labels", label),
        sysctls: table.string_map("sysctls", sysctl),
        init: table.bool("init").unwrap_or(false),
        shm_size: size_within(table, "shm_size", 64 << 10..=1 << 40, "64MiB"),
        stop_signal: table.parsed("stop_signal", parse_signal),
        tty: table.bool("tty").unwrap_or(false),
        networks: networks::read(table),
        security_opt: list(table, "security_opt", security_option),
    }
}

/// A list in which nothing stands twice.
fn list(
    table: &mut Table<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<String, Flaw>,
) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    table.parsed_list(key, |text| {
        let item = parse(text)?;
        if items.contains(&item) {
            return Err(Flaw::new(format!("`{}` is named twice", shown(text))));
        }
        items.push(item);
        Ok(())
    });
    items
}

fn hostname(text: &str) -> Result<String, Flaw> {
    // Templates become names that are names, or the engine says what is wrong.
    let fine = text.len() <= 253 && is_host(&plain(text).replace('_', "a"));
    if fine {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(format!("`{}` is not a host name", shown(text)))
        .hint("write letters, digits and `-`, as in \"web-1\""))
}

/// `NET_ADMIN` or `CAP_NET_ADMIN`; kept without the prefix.
fn capability(text: &str) -> Result<String, Flaw> {
    let name = text.strip_prefix("CAP_").unwrap_or(text);
    let fine = |text: &str| {
        (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    if fine(name) {
        return Ok(name.to_owned());
    }
    let flaw = Flaw::new(format!("`{}` is not a capability", shown(text)));
    let upper = text.to_ascii_uppercase();
    Err(if fine(&upper) {
        flaw.hint(format!("write \"{upper}\""))
    } else {
        flaw.hint("write its name, as in \"NET_ADMIN\", or \"ALL\"")
    })
}

/// `name:address`, as a line of /etc/hosts.
fn extra_host(text: &str) -> Result<String, Flaw> {
    // Docker takes `=` as well.
    let plain = plain(text);
    if let Some((name, address)) = plain.split_once([':', '=']) {
        let bare = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'))
            .unwrap_or(address);
        let is_template = text.contains("{{") && address == "1";
        if is_host(&name.replace('_', "a"))
            && (is_template || bare == "host-gateway" || bare.parse::<IpAddr>().is_ok())
        {
            return Ok(if text.contains("{{") {
                text.to_owned()
            } else {
                format!("{name}:{bare}")
            });
        }
    }
    Err(
        Flaw::new(format!("`{}` is not a host with its address", shown(text)))
            .hint("write \"name:address\", as in \"db:10.0.0.7\" or \"node:host-gateway\""),
    )
}

fn name_server(text: &str) -> Result<String, Flaw> {
    let is_template = text.starts_with("{{") && plain(text) == "1";
    if is_template || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(format!(
        "`{}` is not the address of a name server",
        shown(text)
    ))
    .hint("write an IP address, as in \"10.0.0.1\""))
}

fn group(text: &str) -> Result<String, Flaw> {
    if !text.contains(':') && user(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(format!("`{}` is not a group", shown(text)))
        .hint("write its name or its number, as in \"dialout\" or \"20\""))
}

/// `seccomp=unconfined`; Docker takes a colon as well.
fn security_option(text: &str) -> Result<String, Flaw> {
    let wrong = || Flaw::new(format!("`{}` is not a security option", shown(text)));
    let (name, value) = match text.split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let plain = |word: &str| {
        (1..=256).contains(&word.len())
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-:,/".contains(&b))
    };
    match (name, value) {
        ("no-new-privileges", _) => Err(wrong()
            .hint("every container has it, but those with `privileged = true`; leave it out")),
        // A profile is a file of whoever calls the engine.
        ("seccomp", Some(value)) if value != "unconfined" => {
            Err(wrong().hint("only \"seccomp=unconfined\"; a profile of its own cannot be given"))
        }
        ("seccomp" | "apparmor" | "label", Some(value)) if plain(value) => {
            Ok(format!("{name}={value}"))
        }
        ("systempaths", Some("unconfined")) => Ok(text.replace(':', "=")),
        _ => Err(wrong().hint(
            "write \"seccomp=unconfined\", \"apparmor=…\", \"label=…\" or \
             \"systempaths=unconfined\"",
        )),
    }
}

fn label(key: &str, value: &str) -> Result<(), Flaw> {
    if key.starts_with(OWN_LABELS) {
        return Err(
            Flaw::new(format!("labels `{OWN_LABELS}…` are fleetctl's own"))
                .hint("give it another name"),
        );
    }
    let fine = (1..=256).contains(&key.len())
        && !key.contains(|c: char| c.is_control() || c.is_whitespace() || c == '=');
    if !fine {
        return Err(
            Flaw::new(format!("`{}` is not the name of a label", shown(key)))
                .hint("write it without blanks, as in \"traefik.enable\""),
        );
    }
    bounded(key, value)
}

fn sysctl(key: &str, value: &str) -> Result<(), Flaw> {
    let fine = (1..=256).contains(&key.len())
        && key.contains('.')
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    if !fine {
        return Err(
            Flaw::new(format!("`{}` is not a kernel setting", shown(key)))
                .hint("write its name with dots, as in \"net.core.somaxconn\""),
        );
    }
    bounded(key, value)
}

fn bounded(key: &str, value: &str) -> Result<(), Flaw> {
    if value.len() > MAX_VALUE || value.contains('\0') {
        return Err(Flaw::new(format!(
            "the value of `{}` must be at most 4 KiB and have no NUL character",
            shown(key)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_containers() {
        type Parse = fn(&str) -> Result<String, Flaw>;
        type Case = (
            Parse,
            &'static [(&'static str, &'static str)],
            &'static [&'static str],
        );
        let cases: [Case; 6] = [
            (
                capability,
                &[
                    ("NET_ADMIN", "NET_ADMIN"),
                    ("CAP_SYS_TIME", "SYS_TIME"),
                    ("ALL", "ALL"),
                ],
                &["", "net_admin", "NET ADMIN", "CAP_", "{{ env.X }}"],
            ),
            (
                extra_host,
                &[
                    ("db:10.0.0.7", "db:10.0.0.7"),
                    ("a_b=::1", "a_b:::1"),
                    ("a:[::1]", "a:::1"),
                    ("a:host-gateway", "a:host-gateway"),
                    ("a:{{ env.IP }}", "a:{{ env.IP }}"),
                ],
                &["", "db", ":10.0.0.7", "db:", "db:x", "d b:1.1.1.1"],
            ),
            (
                name_server,
                &[
                    ("10.0.0.1", "10.0.0.1"),
                    ("::1", "::1"),
                    ("{{ label.dns }}", "{{ label.dns }}"),
                ],
                &["", "dns.example", "1"],
            ),
            (
                security_option,
                &[
                    ("seccomp:unconfined", "seccomp=unconfined"),
                    ("seccomp=unconfined", "seccomp=unconfined"),
                    ("apparmor:unconfined", "apparmor=unconfined"),
                    ("label:type:spc_t", "label=type:spc_t"),
                    ("label=disable", "label=disable"),
                    ("systempaths:unconfined", "systempaths=unconfined"),
                ],
                &[
                    "",
                    "seccomp",
                    "seccomp:/etc/x.json",
                    "no-new-privileges:true",
                    "label=",
                    "apparmor=a b",
                    "x=y",
                ],
            ),
            (
                group,
                &[("dialout", "dialout"), ("20", "20")],
                &["", "a:b", "a b"],
            ),
            (
                hostname,
                &[
                    ("web-1", "web-1"),
                    ("{{ node.name }}-web", "{{ node.name }}-web"),
                ],
                &["", "a b", "-a", "{{ node.name }} x"],
            ),
        ];
        for (parse, fine, wrong) in cases {
            for (text, read) in fine {
                assert_eq!(parse(text).as_deref(), Ok(*read), "{text}");
            }
            for text in wrong {
                assert!(parse(text).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn labels_and_kernel_settings() {
        assert!(label("traefik.http.routers.a.rule", "Host(`x`)").is_ok());
        assert!(sysctl("net.core.somaxconn", "1024").is_ok());
        for key in ["", "io.fleetctl.workload", "a b", "a=b"] {
            assert!(label(key, "x").is_err(), "{key}");
        }
        for key in ["", "somaxconn", "net.core;x"] {
            assert!(sysctl(key, "x").is_err(), "{key}");
        }
        assert!(label("a", &"x".repeat(5_000)).is_err());
        assert!(sysctl("a.b", "\0").is_err());
    }
}
