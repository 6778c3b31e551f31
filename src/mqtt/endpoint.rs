//! Broker addresses.

use std::{fmt, str::FromStr};

/// A broker, as in `mqtts://user:password@host:8883`.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// TLS or not.
    pub tls: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password, of an external broker.
    pub credentials: Option<(String, String)>,
}

/// A text is not a broker's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a broker's address: mqtt://host:1883 or mqtts://user:password@host:8883")]
pub struct EndpointError(pub String);

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let parse = || {
            let (scheme, rest) = text.split_once("://")?;
            let tls = match scheme {
                "mqtt" | "tcp" => false,
                "mqtts" | "tls" | "ssl" => true,
                _ => return None,
            };
            let rest = rest.trim_end_matches('/');
            let (credentials, address) = match rest.rsplit_once('@') {
                Some((user, address)) => {
                    let (name, password) = user.split_once(':').unwrap_or((user, ""));
                    (Some((decode(name)?, decode(password)?)), address)
                }
                None => (None, rest),
            };
            let default = if tls { 8883 } else { 1883 };
            let bracketed = address.strip_prefix('[').and_then(|a| a.split_once(']'));
            let (host, port) = match bracketed {
                Some((host, "")) => (host, None),
                Some((host, tail)) => (host, Some(tail.strip_prefix(':')?.parse().ok()?)),
                None => match address.split_once(':') {
                    Some((host, port)) => (host, Some(port.parse().ok()?)),
                    None => (address, None),
                },
            };
            let port: Option<u16> = port;
            let odd = |c: char| c.is_whitespace() || "/[]".contains(c);
            let fine = !host.is_empty() && !host.contains(odd) && port != Some(0);
            fine.then(|| Endpoint {
                tls,
                host: host.to_owned(),
                port: port.unwrap_or(default),
                credentials,
            })
        };
        parse().ok_or_else(|| EndpointError(hide_password(text)))
    }
}

/// `%40` and the like.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

fn hide_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => text.to_owned(),
    }
}

impl Endpoint {
    /// As a URL, with the password.
    pub fn url(&self) -> String {
        let user = self
            .credentials
            .as_ref()
            .map(|(u, p)| format!("{}:{}@", encode(u), encode(p)));
        self.with_user(&user.unwrap_or_default())
    }

    fn with_user(&self, user: &str) -> String {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        let host = &self.host;
        if host.contains(':') {
            format!("{scheme}://{user}[{host}]:{}", self.port)
        } else {
            format!("{scheme}://{user}{host}:{}", self.port)
        }
    }
}

/// Without the password.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_user(""))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in [
            "mqtt://127.0.0.1:1883",
            "mqtts://host.example:8883",
            "mqtts://[fe80::1]:8883",
            "mqtt://user:p%40ss%3A@h:1",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().url(), text);
        }
        let e: Endpoint = "mqtts://u:secret@h".parse().unwrap();
        assert_eq!((e.port, e.to_string().as_str()), (8883, "mqtts://h:8883"));
        for bad in [
            "",
            "h:1",
            "http://h",
            "mqtt://",
            "mqtt://h:x",
            "mqtt://u:%zz@h",
            "mqtt://a b",
        ] {
            let error = bad.parse::<Endpoint>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(
            !"mqtt://u:secret@h:x"
                .parse::<Endpoint>()
                .unwrap_err()
                .to_string()
                .contains("secret")
        );
    }
}
