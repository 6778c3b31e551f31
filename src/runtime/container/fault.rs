//! What an engine answered, before it becomes a sentence.
//!
//! Engines tell the same thing with different statuses: a name that is taken is 409 on Docker
//! and 500 on Podman, a missing image 404 or 500. So the words decide, not the status.

use std::error::Error;

/// Why a call to an engine failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No answer: no socket, nobody listens, or it hangs.
    Unreachable(String),
    /// The engine's own words.
    Said {
        /// HTTP status; 0 where the words came inside of a stream.
        status: u16,
        /// As the engine wrote it.
        text: String,
    },
}

impl Fault {
    /// Words that came inside of a stream.
    pub(crate) fn said(text: impl Into<String>) -> Fault {
        Fault::Said {
            status: 0,
            text: text.into(),
        }
    }

    /// In lower case, for looking for words. Empty when the engine said nothing.
    pub(crate) fn words(&self) -> String {
        match self {
            Fault::Unreachable(_) => String::new(),
            Fault::Said { text, .. } => text.to_lowercase(),
        }
    }

    fn has_any(&self, needles: &[&str]) -> bool {
        let words = self.words();
        needles.iter().any(|needle| words.contains(needle))
    }

    fn status(&self) -> u16 {
        match self {
            Fault::Unreachable(_) => 0,
            Fault::Said { status, .. } => *status,
        }
    }

    /// The image is not on the node.
    pub(crate) fn is_missing_image(&self) -> bool {
        self.has_any(&["no such image", "image not known", "unable to find image"])
    }

    /// There is no such container (any more).
    pub(crate) fn is_missing_container(&self) -> bool {
        self.has_any(&["no such container", "no container with name or id"])
    }

    /// There is no such network (any more).
    pub(crate) fn is_missing_network(&self) -> bool {
        let words = self.words();
        words.contains("unable to find network")
            || words.contains("no such network")
            || (words.contains("network ") && words.trim_end().ends_with("not found"))
    }

    /// A network of that name is there.
    pub(crate) fn is_network_conflict(&self) -> bool {
        self.has_any(&["network"])
            && self.has_any(&["already exists", "already used", "name is already"])
    }

    /// It is in that network already.
    pub(crate) fn is_connected_already(&self) -> bool {
        self.has_any(&["already exists in network", "already connected to network"])
    }

    /// Another container has that name.
    pub(crate) fn is_name_conflict(&self) -> bool {
        let words = self.words();
        words.contains("already in use")
            && words.contains("name")
            && !words.contains("address already in use")
    }

    /// Somebody else is removing it at this moment.
    pub(crate) fn is_being_removed(&self) -> bool {
        self.has_any(&[
            "removal of container",
            "is already in progress",
            "being removed",
        ])
    }

    /// It is so already: started, stopped.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.status() == 304
    }

    /// It was stopped and does not run (Podman's words).
    pub(crate) fn is_not_running(&self) -> bool {
        self.has_any(&[
            "can only stop created or running containers",
            "is not running",
        ])
    }

    /// The kernel or the engine cannot enforce some limit, whichever.
    pub(crate) fn refuses_some_limit(&self) -> bool {
        self.has_any(&["cgroup controller", "setting cgroup config"])
    }

    /// The container is there and does not run, or is paused: nothing can be run in it.
    pub(crate) fn cannot_run_more(&self) -> bool {
        self.has_any(&[
            "is not running",
            "is paused",
            "container state improper",
            "on running containers",
        ])
    }
}

/// The innermost cause, which says more than `client error (Connect)`.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    // Bounded: chains are a few long, and a cycle must not hang an agent.
    for _ in 0..16 {
        match last.source() {
            Some(source) => last = source,
            None => break,
        }
    }
    last.to_string()
}

impl From<bollard::errors::Error> for Fault {
    fn from(error: bollard::errors::Error) -> Fault {
        use bollard::errors::Error as Bollard;
        match error {
            Bollard::DockerResponseServerError {
                status_code,
                message,
            } => Fault::Said {
                status: status_code,
                text: message,
            },
            Bollard::DockerStreamError { error } => Fault::said(error),
            Bollard::SocketNotFoundError(path) => {
                Fault::Unreachable(format!("there is no socket {path}"))
            }
            Bollard::RequestTimeoutError => Fault::Unreachable("it does not answer".to_owned()),
            Bollard::HyperLegacyError { err } => Fault::Unreachable(innermost(&err)),
            Bollard::HyperResponseError { err } => Fault::Unreachable(innermost(&err)),
            Bollard::IOError { err } => Fault::Unreachable(innermost(&err)),
            other => Fault::said(format!("its answer cannot be understood: {other}")),
        }
    }
}

impl From<podman_api::Error> for Fault {
    fn from(error: podman_api::Error) -> Fault {
        Fault::from(&error)
    }
}

/// By reference: that error must never be cloned, its `clone` calls itself for ever.
impl From<&podman_api::Error> for Fault {
    fn from(error: &podman_api::Error) -> Fault {
        use podman_api::Error as Podman;
        match error {
            Podman::Fault { code, message } => Fault::Said {
                status: code.as_u16(),
                text: without_repetition(message),
            },
            // Streams carry the crate's own error inside of an I/O error.
            Podman::IO(io) => match io.get_ref().and_then(|e| e.downcast_ref::<Podman>()) {
                Some(inner) => Fault::from(inner),
                None => Fault::Unreachable(innermost(io)),
            },
            Podman::Error(podman_api::conn::Error::Hyper(err)) => {
                Fault::Unreachable(innermost(err))
            }
            Podman::Error(podman_api::conn::Error::Any(inner)) => {
                match inner.downcast_ref::<Podman>() {
                    Some(inner) => Fault::from(inner),
                    None => Fault::Unreachable(inner.to_string()),
                }
            }
            Podman::Error(podman_api::conn::Error::IO(io)) => {
                match io
                    .get_ref()
                    .and_then(|e| e.downcast_ref::<podman_api::conn::Error>())
                {
                    Some(podman_api::conn::Error::Any(inner)) => {
                        match inner.downcast_ref::<Podman>() {
                            Some(inner) => Fault::from(inner),
                            None => Fault::Unreachable(inner.to_string()),
                        }
                    }
                    _ => Fault::Unreachable(innermost(io)),
                }
            }
            other => Fault::said(format!("its answer cannot be understood: {other}")),
        }
    }
}

/// podman-api joins Podman's `message` and its `cause`; the message ends with the cause already.
fn without_repetition(text: &str) -> String {
    for (at, _) in text.match_indices(": ") {
        let (head, tail) = (&text[..at], &text[at + 2..]);
        if !tail.is_empty() && head.ends_with(tail) {
            return head.to_owned();
        }
    }
    text.trim_end_matches([':', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_cause_is_said_once() {
        let text = "unable to find user x: no matching entries in passwd file: \
                    no matching entries in passwd file";
        assert_eq!(
            without_repetition(text),
            "unable to find user x: no matching entries in passwd file"
        );
        assert_eq!(without_repetition("a: b"), "a: b");
        assert_eq!(without_repetition("a: "), "a");
    }

    #[test]
    fn both_engines_words_mean_the_same() {
        let taken = [
            "Conflict. The container name \"/t2\" is already in use by container \"02a6\". You \
             have to remove (or rename) that container to be able to reuse that name.",
            "container create: creating container storage: the container name \"t2\" is already \
             in use by 3075. You have to remove that container to be able to reuse that name: \
             that name is already in use",
        ];
        for text in taken {
            assert!(Fault::said(text).is_name_conflict(), "{text}");
            assert!(!Fault::said(text).is_missing_image(), "{text}");
        }
        let port = "cannot listen on the TCP port: listen tcp4 :80: bind: address already in use";
        assert!(!Fault::said(port).is_name_conflict());
        for text in [
            "No such image: a:1",
            "no such image: docker.io/library/a:1: image not known",
        ] {
            assert!(Fault::said(text).is_missing_image(), "{text}");
        }
        for text in [
            "network fx_default not found",
            "failed to set up container networking: network 4c1 not found",
            "unable to find network with name or ID fx_default: network not found",
        ] {
            assert!(Fault::said(text).is_missing_network(), "{text}");
        }
        for text in [
            "network with name fx_default already exists",
            "network name fx_default already used: network already exists",
        ] {
            assert!(Fault::said(text).is_network_conflict(), "{text}");
            assert!(!Fault::said(text).is_missing_network(), "{text}");
        }
        for text in [
            "endpoint with name web already exists in network fx_back",
            "container 4c1 is already connected to network \"fx_back\"",
        ] {
            assert!(Fault::said(text).is_connected_already(), "{text}");
        }
        for text in [
            "No such container: t0",
            "no container with name or ID \"t0\" found: no such container",
        ] {
            assert!(Fault::said(text).is_missing_container(), "{text}");
        }
    }
}
