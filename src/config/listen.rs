//! Addresses: where to listen, where a broker is, what a join line names.

use crate::{
    manifest::{
        Flaw, shown,
        word::{is_host, port},
    },
    mqtt::{Endpoint, EndpointError},
};
use std::net::{Ipv4Addr, SocketAddr};

/// An address to listen on, and whether TLS is spoken there. Plain text is for loopback only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Port 0 lets the system choose.
    pub address: SocketAddr,
    /// TLS is spoken.
    pub tls: bool,
}

impl Listen {
    /// `tls://address:port`, `tcp://address:port` or `address:port`, for MQTT. Without a scheme
    /// a loopback address is plain text and any other is TLS.
    ///
    /// # Errors
    /// No such address, or plain text for all the network to read.
    pub fn mqtt(text: &str) -> Result<Listen, Flaw> {
        Listen::parse(text, "tcp", "tls")
    }

    /// As [`Listen::mqtt`], with the schemes `http` and `https`.
    ///
    /// # Errors
    /// No such address, or plain text for all the network to read.
    pub fn http(text: &str) -> Result<Listen, Flaw> {
        Listen::parse(text, "http", "https")
    }

    fn parse(text: &str, plain: &str, secure: &str) -> Result<Listen, Flaw> {
        let (scheme, address) = match text.split_once("://") {
            Some((scheme, address)) => (Some(scheme), address),
            None => (None, text),
        };
        let address = socket_address(address).ok_or_else(|| {
            Flaw::new(format!("`{}` is not an address to listen on", shown(text)))
                .hint("write an IP address and a port, as in \"127.0.0.1:7070\" or \"[::]:7070\"")
        })?;
        let loopback = address.ip().is_loopback();
        let tls =
            match scheme {
                None => !loopback,
                Some(scheme) if scheme == secure => true,
                Some(scheme) if scheme == plain && loopback => false,
                Some(scheme) if scheme == plain => {
                    return Err(Flaw::new(format!(
                    "`{plain}://` on {address} would send everything in plain text over the network"
                ))
                .hint(format!("write `{secure}://{address}`, or listen on a loopback address")));
                }
                Some(scheme) => {
                    return Err(
                        Flaw::new(format!("`{}://` is no scheme here", shown(scheme)))
                            .hint(format!("write `{secure}://` or `{plain}://`")),
                    );
                }
            };
        Ok(Listen { address, tls })
    }

    /// As [`Listen::mqtt`] reads it.
    pub fn mqtt_text(&self) -> String {
        format!(
            "{}://{}",
            if self.tls { "tls" } else { "tcp" },
            self.address
        )
    }

    /// As [`Listen::http`] reads it.
    pub fn http_text(&self) -> String {
        format!(
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.address
        )
    }
}

/// A loopback address to give metrics away on, without a token.
///
/// # Errors
/// No such address, or one that others can reach.
pub fn parse_metrics_listen(text: &str) -> Result<SocketAddr, Flaw> {
    let bare = text.strip_prefix("http://").unwrap_or(text);
    let address = socket_address(bare).ok_or_else(|| {
        Flaw::new(format!("`{}` is not an address to listen on", shown(text)))
            .hint("write a loopback address and a port, as in \"127.0.0.1:9464\"")
    })?;
    if !address.ip().is_loopback() {
        let flaw = Flaw::new(format!(
            "metrics on {address} could be read by anybody in the network: nothing asks for a token there"
        ));
        return Err(flaw.hint(
            "listen on a loopback address; a proxy may pass it on, with TLS and a password",
        ));
    }
    Ok(address)
}

/// An IP address with a port, or `localhost` with one.
fn socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

/// The URL of a broker: `mqtt://host[:port]`, `mqtts://user:password@host[:port]`.
///
/// # Errors
/// Anything else; a password is never shown.
pub fn parse_broker(text: &str) -> Result<Endpoint, Flaw> {
    text.parse()
        .map_err(|e: EndpointError| Flaw::new(e.to_string()))
}

/// Where nodes reach the API: `https://host:7070`, perhaps with a path; the result is the text.
///
/// # Errors
/// Anything else.
pub fn parse_blob_url(text: &str) -> Result<String, Flaw> {
    let url: Option<hyper::Uri> = text.parse().ok();
    let fine = url.is_some_and(|url| {
        let scheme = matches!(url.scheme_str(), Some("http" | "https"));
        let authority = url.authority().is_some_and(|a| !a.as_str().contains('@'));
        scheme && authority && url.query().is_none()
    });
    match fine {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err(Flaw::new("this is no address of the API")
            .hint("as in `https://fleet.example:7070`; the host is what nodes call it")),
    }
}

/// An address that a join line names: `host` or `host:port`; the result is the text.
///
/// # Errors
/// Anything else.
pub fn parse_advertised(text: &str) -> Result<String, Flaw> {
    if host_and_port(text).is_some() {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(format!(
        "`{}` is not an address that a board can reach",
        shown(text)
    ))
    .hint("write a host name or an IP address, with `:port` where needed"))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; the host without brackets.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port_text) = match text.strip_prefix('[') {
        Some(rest) => {
            let (v6, rest) = rest.split_once(']')?;
            v6.parse::<std::net::Ipv6Addr>().ok()?;
            let port = if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':')?)
            };
            (v6, port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            (is_host(host).then_some(host)?, port)
        }
    };
    match port_text {
        None => Some((host, None)),
        Some(text) => Some((host, Some(port(text)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_for_loopback_only() {
        for (text, expected) in [
            ("127.0.0.1:1883", Some("tcp://127.0.0.1:1883")),
            ("localhost:1883", Some("tcp://127.0.0.1:1883")),
            ("[::1]:1883", Some("tcp://[::1]:1883")),
            ("0.0.0.0:8883", Some("tls://0.0.0.0:8883")),
            ("tls://127.0.0.1:0", Some("tls://127.0.0.1:0")),
            ("tcp://127.0.0.1:1883", Some("tcp://127.0.0.1:1883")),
            ("tcp://0.0.0.0:1883", None),
            ("tcp://10.0.0.1:1883", None),
            ("ssl://127.0.0.1:1883", None),
            ("127.0.0.1", None),
            (":1883", None),
            ("example:1883", None),
            ("", None),
        ] {
            let read = Listen::mqtt(text).ok().map(|listen| listen.mqtt_text());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        let flaw = Listen::http("http://0.0.0.0:80").unwrap_err();
        assert!(flaw.message.contains("plain text"), "{flaw}");
        assert_eq!(
            Listen::http("0.0.0.0:80").unwrap().http_text(),
            "https://0.0.0.0:80"
        );
    }

    #[test]
    fn brokers() {
        for (text, expected) in [
            (
                "mqtt://control.example",
                Some("mqtt://control.example:1883"),
            ),
            ("mqtts://10.0.0.1", Some("mqtts://10.0.0.1:8883")),
            ("mqtts://[::1]:1", Some("mqtts://[::1]:1")),
            ("control.example", None),
            ("http://control.example", None),
            ("mqtt://", None),
            ("mqtt://a/b", None),
            ("mqtt://a:0", None),
            ("mqtt://a:1:2", None),
            ("mqtt://[::1", None),
        ] {
            let read = parse_broker(text).ok().map(|url| url.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        let flaw = parse_broker("mqtt://me:secret@a:x").unwrap_err();
        assert!(!flaw.to_string().contains("secret"), "{flaw}");
    }

    #[test]
    fn advertised_addresses() {
        for text in [
            "10.0.0.1",
            "control.example:8883",
            "[fe80::1]:8883",
            "[::1]",
        ] {
            assert!(parse_advertised(text).is_ok(), "{text}");
        }
        for text in ["", "a b", "a:", "a:x", "mqtts://a", "::1", "[::1]8883"] {
            assert!(parse_advertised(text).is_err(), "{text}");
        }
    }
}
