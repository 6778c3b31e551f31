//! Names of images.

use crate::runtime::RuntimeError;

const HUB: &str = "docker.io";

/// The name of an image, checked, and fully qualified for the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    written: String,
    registry: String,
    full: String,
}

impl Reference {
    /// Fills in what people leave out, as Docker does: `web` is `docker.io/library/web:latest`.
    ///
    /// # Errors
    /// `Refused` for characters that no image name has, which would otherwise reach URLs.
    pub(crate) fn parse(written: &str) -> Result<Reference, RuntimeError> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@[]".contains(&b);
        let shaped = !written.is_empty()
            && written.len() <= 512
            && written.bytes().all(fine)
            && written
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..");
        if !shaped {
            return Err(RuntimeError::Refused(format!(
                "`{}` is not the name of an image",
                written
                    .chars()
                    .take(80)
                    .flat_map(char::escape_debug)
                    .collect::<String>()
            )));
        }
        let (registry, path) = match written.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => (HUB, written),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => HUB,
            other => other,
        };
        let library = if registry == HUB && !path.contains('/') {
            "library/"
        } else {
            ""
        };
        let last = path.rsplit('/').next().unwrap_or(path);
        let tag = if path.contains('@') || last.contains(':') {
            ""
        } else {
            ":latest"
        };
        Ok(Reference {
            written: written.to_owned(),
            registry: registry.to_owned(),
            full: format!("{registry}/{library}{path}{tag}"),
        })
    }

    /// As the user wrote it.
    pub(crate) fn written(&self) -> &str {
        &self.written
    }

    /// `host[:port]`.
    pub(crate) fn registry(&self) -> &str {
        &self.registry
    }

    /// Fully qualified.
    pub(crate) fn full(&self) -> &str {
        &self.full
    }

    /// On this machine: Docker then takes plain HTTP without being told so.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.registry.split(':').next().unwrap_or(&self.registry),
        };
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }

    /// Podman's name for "made on this machine, not from any registry".
    pub(crate) fn is_local_only(&self) -> bool {
        self.registry == "localhost"
    }
}

/// The first part of a name is a registry when it could not be a user of Docker Hub.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_as_docker_does() {
        for (written, registry, full) in [
            ("web", "docker.io", "docker.io/library/web:latest"),
            ("web:1", "docker.io", "docker.io/library/web:1"),
            ("acme/web", "docker.io", "docker.io/acme/web:latest"),
            ("docker.io/web", "docker.io", "docker.io/library/web:latest"),
            (
                "index.docker.io/acme/web:2",
                "docker.io",
                "docker.io/acme/web:2",
            ),
            (
                "r.example:5000/a/b",
                "r.example:5000",
                "r.example:5000/a/b:latest",
            ),
            ("localhost/hello:1", "localhost", "localhost/hello:1"),
            (
                "r.example/a@sha256:00ff",
                "r.example",
                "r.example/a@sha256:00ff",
            ),
        ] {
            let reference = Reference::parse(written).unwrap();
            assert_eq!(
                (reference.registry(), reference.full()),
                (registry, full),
                "{written}"
            );
            assert_eq!(reference.written(), written);
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for bad in [
            "", "a b", "a?b", "a#b", "ü", "a//b", "/a", "a/", "../x", "a\nb",
        ] {
            assert!(
                matches!(Reference::parse(bad), Err(RuntimeError::Refused(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for near in [
            "127.0.0.1:5000/a",
            "127.9.9.9/a",
            "localhost:5000/a",
            "[::1]:5000/a",
        ] {
            assert!(Reference::parse(near).unwrap().is_loopback(), "{near}");
        }
        for far in ["a", "10.0.0.1:5000/a", "localhost.example/a"] {
            assert!(!Reference::parse(far).unwrap().is_loopback(), "{far}");
        }
    }
}
