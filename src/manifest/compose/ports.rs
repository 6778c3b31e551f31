//! `ports`: `"[address:]host:container[/protocol]"` with ranges, or a map.

use super::{
    super::{
        shown,
        span::Flaw,
        tree::{Data, Entry, entry},
        word::port,
        yaml::draft::{as_written, text},
    },
    service::Service,
    support,
    value::with,
};

/// The most ports of one range.
const MAX_RANGE: u16 = 256;

/// Reads the key.
pub(super) fn read(service: &mut Service<'_>, key: &Entry) {
    let Some(items) = key.value.as_list() else {
        let found = key.value.kind();
        let flaw = Flaw::new(format!("`ports` must be a list, not {found}"));
        service.refuse(&key.value, flaw.hint("write `- \"8080:80\"` below it"));
        return;
    };
    let mut ports = Vec::new();
    for item in items {
        let words = match &item.data {
            Data::Map(keys) => long(service, keys),
            _ => match as_written(item, service.file.report) {
                Some(written) => short(&written),
                None => Err(Flaw::new(format!(
                    "a port must be a text, not {}",
                    item.kind()
                ))),
            },
        };
        match words {
            Ok(words) => ports.extend(words.into_iter().map(|word| text(&item.span, word))),
            Err(flaw) => service.refuse(item, flaw),
        }
    }
    let ports = with(&key.value, Data::List(ports));
    service.draft.put("ports", key, ports);
}

/// One text: one port for each of a range, as the TOML writes them.
fn short(written: &str) -> Result<Vec<String>, Flaw> {
    let (rest, protocol) = match written.split_once('/') {
        Some((rest, protocol)) => (rest, protocol),
        None => (written, "tcp"),
    };
    // The last colon is before the container's port; an address may have colons in brackets.
    let Some((node, container)) = rest.rsplit_once(':') else {
        let number = shown(rest);
        return Err(Flaw::new(format!(
            "`{}` does not say the port of the node",
            shown(written)
        ))
        .hint(format!("write \"{number}:{number}\"")));
    };
    let (address, host) = match node.rsplit_once(':') {
        Some((address, host)) => (Some(address), host),
        None => (None, node),
    };
    expand(address, host, container, protocol)
}

/// A map with `target` and `published`.
fn long(service: &Service<'_>, keys: &[Entry]) -> Result<Vec<String>, Flaw> {
    support::check("services.*.ports.*", keys, service.file.report);
    let word = |key: &str| {
        entry(keys, key)
            .filter(|entry| entry.value.data != Data::Null)
            .and_then(|entry| service.reader().text(entry))
    };
    let Some(target) = word("target") else {
        return Err(Flaw::new("the port has no `target`").hint("write the port of the container"));
    };
    let Some(published) = word("published").filter(|published| !published.is_empty()) else {
        let number = shown(&target);
        return Err(
            Flaw::new(format!("`{number}` does not say the port of the node"))
                .hint(format!("add `published: {number}`")),
        );
    };
    let protocol = word("protocol").unwrap_or_else(|| "tcp".to_owned());
    let address = word("host_ip").filter(|address| !address.is_empty());
    let address = address.map(|address| match address.contains(':') {
        true => format!("[{}]", address.trim_matches(['[', ']'])),
        false => address,
    });
    expand(address.as_deref(), &published, &target, &protocol)
}

/// The ports of two ranges of the same length, each as one word of the TOML.
fn expand(
    address: Option<&str>,
    host: &str,
    container: &str,
    protocol: &str,
) -> Result<Vec<String>, Flaw> {
    let (host, container) = (range(host)?, range(container)?);
    if host.len() != container.len() {
        return Err(Flaw::new("the two ranges of ports have different lengths")
            .hint("write as many ports of the node as of the container"));
    }
    let word = |(host, container)| match address {
        Some(address) => format!("{address}:{host}:{container}/{protocol}"),
        None => format!("{host}:{container}/{protocol}"),
    };
    Ok(host.zip(container).map(word).collect())
}

/// `80` or `80-90`.
fn range(written: &str) -> Result<std::ops::RangeInclusive<u16>, Flaw> {
    let number = |written: &str| {
        port(written).ok_or_else(|| {
            Flaw::new(format!(
                "`{}` is not a port: a number from 1 to 65535",
                shown(written)
            ))
            .hint("write \"host:container\", as in \"8080:80\"")
        })
    };
    let Some((first, last)) = written.split_once('-') else {
        let only = number(written)?;
        return Ok(only..=only);
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last || last - first >= MAX_RANGE {
        return Err(Flaw::new(format!(
            "`{}` is not a range of 1 to {MAX_RANGE} ports",
            shown(written)
        ))
        .hint("write the smaller port first"));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_ports() {
        for (written, expected) in [
            ("8080:80", &["8080:80/tcp"][..]),
            ("53:53/udp", &["53:53/udp"]),
            ("127.0.0.1:8080:80", &["127.0.0.1:8080:80/tcp"]),
            ("[::1]:8080:80", &["[::1]:8080:80/tcp"]),
            (
                "3000-3002:4000-4002",
                &["3000:4000/tcp", "3001:4001/tcp", "3002:4002/tcp"],
            ),
        ] {
            assert_eq!(short(written).unwrap(), expected, "{written}");
        }
        for (written, message) in [
            ("80", "`80` does not say the port of the node"),
            ("80/udp", "`80/udp` does not say the port of the node"),
            (
                "127.0.0.1::80",
                "`` is not a port: a number from 1 to 65535",
            ),
            ("a:80", "`a` is not a port: a number from 1 to 65535"),
            (
                "8000-9000:80",
                "`8000-9000` is not a range of 1 to 256 ports",
            ),
            ("90-80:90-80", "`90-80` is not a range of 1 to 256 ports"),
            ("80-81:80", "the two ranges of ports have different lengths"),
        ] {
            assert_eq!(short(written).unwrap_err().message, message, "{written}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(written in "[0-9:/a.ß\\[\\]-]{0,16}") {
            let _ = short(&written);
        }
    }
}
