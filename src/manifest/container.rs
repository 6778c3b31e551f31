//! What a container gets from its node, each in one word as Docker's users know it: ports,
//! volumes, devices.

use super::{
    shown,
    span::Flaw,
    vars::plain,
    word::{absolute_path, after_template, engine_name, node_path, parts_by_colon, port},
};
use crate::model::{Device, Mount, MountSource, Port, Protocol};
use std::net::IpAddr;

/// `[address:]host:container[/protocol]`, or one number for both ports.
pub(crate) fn parse_port(text: &str) -> Result<Port, Flaw> {
    let wrong = || {
        Flaw::new(format!("`{}` is not a published port", shown(text))).hint(
            "write \"host:container\", as in \"8080:80\", \"127.0.0.1:8080:80\" or \"53:53/udp\"",
        )
    };
    let number = |text: &str| {
        port(text).ok_or_else(|| {
            Flaw::new(format!(
                "`{}` is not a port: a number from 1 to 65535",
                shown(text)
            ))
            .hint("write \"host:container\", as in \"8080:80\"")
        })
    };
    let (rest, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((rest, "tcp")) => (rest, Protocol::Tcp),
        Some((rest, "udp")) => (rest, Protocol::Udp),
        Some(_) => return Err(wrong()),
    };
    let (address, ports) = match rest.strip_prefix('[') {
        Some(v6) => {
            let (address, ports) = v6.split_once("]:").ok_or_else(wrong)?;
            (Some(address), ports)
        }
        None => match rest.rsplitn(3, ':').collect::<Vec<_>>().as_slice() {
            [_, _, address] => (Some(*address), &rest[address.len() + 1..]),
            _ => (None, rest),
        },
    };
    let address = match address {
        None => None,
        Some(text) => Some(text.parse::<IpAddr>().map_err(|_| {
            Flaw::new(format!("`{}` is not an address of the node", shown(text)))
                .hint("write an IP address, as in \"127.0.0.1:8080:80\"")
        })?),
    };
    let (host, container) = match ports.split_once(':') {
        Some((host, container)) => (number(host)?, number(container)?),
        // An address says where on the node, so the port there must be said too.
        None if address.is_some() => return Err(wrong()),
        None => (number(ports)?, number(ports)?),
    };
    Ok(Port {
        address: address.map(|address| address.to_string()),
        host,
        container,
        protocol,
    })
}

/// The two want the same port of the node.
pub(crate) fn collide(left: &Port, right: &Port) -> bool {
    let everywhere = |address: &Option<String>| match address.as_deref() {
        None => true,
        Some(text) => text
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified()),
    };
    left.host == right.host
        && left.protocol == right.protocol
        && (left.address == right.address
            || everywhere(&left.address)
            || everywhere(&right.address))
}

/// `volume:/path` or `/path/on/the/node:/path`, with `:ro` or `:rw`.
pub(crate) fn parse_mount(text: &str) -> Result<Mount, Flaw> {
    let wrong = || {
        Flaw::new(format!("`{}` is not a volume", shown(text)))
            .hint("write \"name:/path\" or \"/path/on/the/node:/path\", with \":ro\" for read-only")
    };
    let mut parts = parts_by_colon(text).into_iter();
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let read_only = match (parts.next(), parts.next()) {
        (None, _) | (Some("rw"), None) => false,
        (Some("ro"), None) => true,
        _ => return Err(wrong()),
    };
    mount(source, target, read_only)
}

/// `source`, a volume or a path on the node, mounted on the path `target`; no colon in either.
pub(crate) fn mount(source: &str, target: &str, read_only: bool) -> Result<Mount, Flaw> {
    let from_template = after_template(source).is_some_and(|rest| rest.starts_with('/'));
    let source = if source.starts_with('/') || from_template {
        MountSource::Path(node_path(source)?)
    } else if source.starts_with(['.', '~']) {
        return Err(
            Flaw::new(format!("`{}` is not an absolute path", shown(source)))
                .hint("a path on the node begins with `/`"),
        );
    } else {
        engine_name(&plain(source), "a volume")?;
        MountSource::Volume(source.to_owned())
    };
    let target = absolute_path(target)?;
    if target == "/" {
        return Err(
            Flaw::new("nothing can be mounted on `/` of a container").hint("write a path below it")
        );
    }
    Ok(Mount {
        source,
        target,
        read_only,
        movable: false,
    })
}

/// `/dev/x`, `/dev/x:rw`, `/dev/x:/dev/y` or `/dev/x:/dev/y:rw`; permissions are some of `rwm`.
pub(crate) fn parse_device(text: &str) -> Result<Device, Flaw> {
    let wrong = || {
        Flaw::new(format!("`{}` is not a device", shown(text)))
            .hint("write \"/dev/gpiomem\" or \"/dev/ttyUSB0:/dev/modem:rw\"")
    };
    let parts = parts_by_colon(text);
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, second] if second.starts_with('/') => (*host, *second, "rwm"),
        [host, permissions] => (*host, *host, *permissions),
        [host, container, permissions] => (*host, *container, *permissions),
        _ => return Err(wrong()),
    };
    let below_dev = |text: &str| -> Result<String, Flaw> {
        let path = absolute_path(text)?;
        if path
            .strip_prefix("/dev/")
            .is_some_and(|rest| !rest.is_empty())
        {
            return Ok(path);
        }
        Err(Flaw::new(format!("`{}` is not below /dev", shown(text)))
            .hint("mount other paths with `volumes`"))
    };
    let (host, container) = (below_dev(host)?, below_dev(container)?);
    let each_once = |c: char| permissions.matches(c).count() <= 1;
    if permissions.is_empty()
        || !permissions.chars().all(|c| "rwm".contains(c))
        || !"rwm".chars().all(each_once)
    {
        return Err(
            Flaw::new(format!("`{}` are no permissions", shown(permissions)))
                .hint("write some of `r` (read), `w` (write) and `m` (make the node)"),
        );
    }
    Ok(Device {
        host,
        container,
        permissions: permissions.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_port(address: Option<&str>, host: u16, container: u16, protocol: Protocol) -> Port {
        Port {
            address: address.map(str::to_owned),
            host,
            container,
            protocol,
        }
    }

    #[test]
    fn ports() {
        for (text, port) in [
            ("80", as_port(None, 80, 80, Protocol::Tcp)),
            ("8080:80", as_port(None, 8080, 80, Protocol::Tcp)),
            ("53:53/udp", as_port(None, 53, 53, Protocol::Udp)),
            (
                "127.0.0.1:8080:80/udp",
                as_port(Some("127.0.0.1"), 8080, 80, Protocol::Udp),
            ),
            (
                "[::1]:8080:80",
                as_port(Some("::1"), 8080, 80, Protocol::Tcp),
            ),
        ] {
            assert_eq!(parse_port(text), Ok(port), "{text}");
        }
        for text in [
            "",
            "0",
            "65536",
            "80:0",
            ":80",
            "80:",
            "a:80",
            "1:2:3",
            "host:1:2",
            "1.2.3.4:80",
            "80/sctp",
            "80/",
            "[::1]",
            "[::1]:80",
            "[::1:80:80",
            "+80",
            "80-90:80-90",
        ] {
            assert!(parse_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_collide_on_the_same_address() {
        let port = |text: &str| parse_port(text).unwrap();
        for (left, right, expected) in [
            ("80", "80:81", true),
            ("80", "81:80", false),
            ("80", "80/udp", false),
            ("127.0.0.1:80:80", "80", true),
            ("127.0.0.1:80:80", "0.0.0.0:80:81", true),
            ("127.0.0.1:80:80", "10.0.0.1:80:80", false),
        ] {
            assert_eq!(
                collide(&port(left), &port(right)),
                expected,
                "{left} {right}"
            );
            assert_eq!(
                collide(&port(right), &port(left)),
                expected,
                "{right} {left}"
            );
        }
    }

    #[test]
    fn mounts() {
        let mount = parse_mount("data:/var/lib/web/").unwrap();
        assert_eq!(mount.source, MountSource::Volume("data".to_owned()));
        assert_eq!(
            (mount.target.as_str(), mount.read_only),
            ("/var/lib/web", false)
        );
        let mount = parse_mount("/etc/ssl:/ssl:ro").unwrap();
        assert_eq!(mount.source, MountSource::Path("/etc/ssl".to_owned()));
        assert!(mount.read_only);
        for (text, source) in [
            (
                "/srv/{{ label.a:b }}:/x",
                MountSource::Path("/srv/{{ label.a:b }}".to_owned()),
            ),
            (
                "{{ env.DATA }}/x:/x",
                MountSource::Path("{{ env.DATA }}/x".to_owned()),
            ),
            (
                "d-{{ node.name }}:/x",
                MountSource::Volume("d-{{ node.name }}".to_owned()),
            ),
        ] {
            assert_eq!(parse_mount(text).unwrap().source, source, "{text}");
        }
        for text in [
            "",
            "/a",
            "a",
            "a:b",
            "./a:/b",
            "~/a:/b",
            "a:/b:rx",
            "a:/b:ro:rw",
            ":/a",
            "a:/",
            "a:",
        ] {
            assert!(parse_mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn devices() {
        for (text, host, container, permissions) in [
            ("/dev/gpiomem", "/dev/gpiomem", "/dev/gpiomem", "rwm"),
            ("/dev/a:r", "/dev/a", "/dev/a", "r"),
            ("/dev/a:/dev/b", "/dev/a", "/dev/b", "rwm"),
            ("/dev/snd/x:/dev/b:rw", "/dev/snd/x", "/dev/b", "rw"),
        ] {
            let device = parse_device(text).unwrap();
            assert_eq!(
                (
                    device.host.as_str(),
                    device.container.as_str(),
                    device.permissions.as_str()
                ),
                (host, container, permissions),
                "{text}"
            );
        }
        for text in [
            "",
            "gpiomem",
            "/dev",
            "/dev/",
            "/etc/passwd",
            "/dev/../etc/passwd",
            "/dev/a:/etc/b",
            "/dev/a:x",
            "/dev/a:rr",
            "/dev/a:",
            "/dev/a:/dev/b:rw:x",
        ] {
            assert!(parse_device(text).is_err(), "{text}");
        }
    }
}
