//! A fault as a sentence for people, and whether trying again can help.
//!
//! The tests hold the real texts of Docker 20.10 and 26 and of Podman 4.3 and 5.4 with runc and
//! crun. What is not known is shown in the engine's own words.

use super::fault::Fault;
use crate::{
    model::RuntimeKind,
    runtime::{RuntimeError, pull::Reference},
};

/// What the call was about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// Which engine.
    pub(crate) kind: RuntimeKind,
    /// Of the instance; empty where there is none yet.
    pub(crate) handle: &'a str,
    /// As the user wrote it.
    pub(crate) image: &'a str,
    /// First word of the command, where one was given.
    pub(crate) program: Option<&'a str>,
}

/// A fault of anything but fetching an image.
pub(crate) fn explain(fault: &Fault, about: &About<'_>) -> RuntimeError {
    let (status, text) = match fault {
        Fault::Unreachable(message) => return unreachable(about.kind, message),
        Fault::Said { status, text } => (*status, text.as_str()),
    };
    let words = text.to_lowercase();
    let has = |needle: &str| words.contains(needle);
    let image = about.image;
    let program = || {
        quoted_after(text, "exec: ")
            .or_else(|| quoted_after(text, "executable file "))
            .or(about.program)
            .unwrap_or("its command")
            .to_owned()
    };

    if fault.is_missing_container() {
        RuntimeError::NotFound(about.handle.to_owned())
    } else if fault.is_missing_image() {
        RuntimeError::Image(format!("image `{image}` is not on this node"))
    } else if has("address already in use") || has("port is already allocated") {
        RuntimeError::Failed(match port_in(text) {
            Some(port) => format!("port {port} is already taken on this node"),
            None => "a port that it publishes is already taken on this node".to_owned(),
        })
    } else if has("exec format error") {
        RuntimeError::Refused(format!(
            "`{}` in image `{image}` is built for another processor than this node's",
            program()
        ))
    } else if has("executable file not found")
        || has("command that was not found")
        || (has("exec: ") && has("no such file or directory"))
        || (has("executable file `") && has("not found"))
    {
        RuntimeError::Refused(format!("`{}` was not found in image `{image}`", program()))
    } else if (has("exec: ") && has("permission denied")) || has("oci permission denied") {
        RuntimeError::Refused(format!(
            "`{}` in image `{image}` is not a program that may be executed",
            program()
        ))
    } else if has("no command specified") || has("no command or entrypoint provided") {
        RuntimeError::Refused(format!(
            "image `{image}` has no command of its own; give the workload a `command`"
        ))
    } else if has("no space left on device") || has("disk quota exceeded") {
        RuntimeError::Failed("no space left on the node's disk".to_owned())
    } else if has("oom-killed") {
        RuntimeError::Refused(format!(
            "its memory limit is too low for image `{image}` to start at all"
        ))
    } else if has("cannot allocate memory") {
        RuntimeError::Failed("no memory left on this node".to_owned())
    } else if let Some(user) = word_after(text, "unable to find user ") {
        RuntimeError::Refused(format!("user `{user}` does not exist in image `{image}`"))
    } else if let Some(network) = missing_network(text) {
        RuntimeError::Refused(format!("network `{network}` does not exist on this node"))
    } else if let Some(device) = missing_device(text) {
        RuntimeError::Failed(format!("`{device}` does not exist on this node"))
    } else if has("invalid reference format") || has("repository name must be lowercase") {
        RuntimeError::Refused(format!("`{image}` is not the name of an image"))
    } else if (400..500).contains(&status) && status != 409 {
        RuntimeError::Refused(format!("{} refused it: {}", about.kind, shortened(text)))
    } else {
        RuntimeError::Failed(format!("{} failed: {}", about.kind, shortened(text)))
    }
}

/// A fault of fetching an image.
pub(crate) fn explain_pull(
    fault: &Fault,
    kind: RuntimeKind,
    reference: &Reference,
    with_credentials: bool,
) -> RuntimeError {
    let text = match fault {
        Fault::Unreachable(message) => return unreachable(kind, message),
        Fault::Said { text, .. } => text.as_str(),
    };
    let words = text.to_lowercase();
    let has = |needle: &str| words.contains(needle);
    let (image, registry) = (reference.written(), reference.registry());

    // Before the refusals: Docker Hub says "pull access denied, repository does not exist or may
    // require 'docker login'" for what is simply not there.
    let hub_guess = has("pull access denied") && has("does not exist");
    let sentence = if has("no space left on device") || has("disk quota exceeded") {
        return RuntimeError::Failed("no space left on the node's disk".to_owned());
    } else if has("no matching manifest for") || has("no image found in") {
        format!("image `{image}` does not exist for this node's processor in its registry")
    } else if hub_guess && with_credentials {
        format!("image `{image}` does not exist in its registry, or its user may not see it")
    } else if hub_guess {
        format!("image `{image}` does not exist in its registry, or needs credentials to be seen")
    } else if has("manifest unknown")
        || has("manifest for ")
        || has("name unknown")
        || has("repository name not known")
        || has("no such image")
    {
        format!("image `{image}` does not exist in its registry")
    } else if has("toomanyrequests") || has("too many requests") {
        format!("registry `{registry}` gives out no more images for now (rate limit)")
    } else if has("unauthorized")
        || has("no basic auth credentials")
        || has("authentication required")
        || has("invalid username/password")
        || has("denied")
    {
        if with_credentials {
            format!("registry `{registry}` refused the credentials for `{image}`")
        } else {
            format!(
                "registry `{registry}` wants credentials for `{image}`, and this node has none \
                 for it"
            )
        }
    } else if has("server gave http response to https client") {
        format!(
            "registry `{registry}` speaks plain HTTP, which {kind} on this node does not allow; \
             configure it there as an insecure registry"
        )
    } else if has("x509:") || has("certificate") {
        format!(
            "registry `{registry}` cannot be trusted: {}",
            shortened(tail_of(text))
        )
    } else if has("dial tcp")
        || has("no such host")
        || has("connection re")
        || has("timeout")
        || has("deadline exceeded")
        || has("unreachable")
        || has("eof")
    {
        format!(
            "registry `{registry}` cannot be reached: {}",
            shortened(tail_of(text))
        )
    } else {
        format!("image `{image}` could not be fetched: {}", shortened(text))
    };
    RuntimeError::Image(sentence)
}

fn unreachable(runtime: RuntimeKind, message: &str) -> RuntimeError {
    RuntimeError::Unreachable {
        runtime,
        message: message.to_owned(),
    }
}

/// What stands in `"…"` or `` `…` `` right behind `marker`.
fn quoted_after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    let rest = &text[text.find(marker)? + marker.len()..];
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '`'))?;
    let inner = &rest[1..];
    inner
        .find(quote)
        .map(|end| &inner[..end])
        .filter(|word| !word.is_empty())
}

/// The word right behind `marker`, without punctuation.
fn word_after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    let rest = &text[text.find(marker)? + marker.len()..];
    let word = rest
        .split_whitespace()
        .next()?
        .trim_matches([':', ',', '"', '`']);
    Some(word).filter(|w| !w.is_empty())
}

/// The number right in front of the complaint, as in `0.0.0.0:8080: bind: address already …`.
fn port_in(text: &str) -> Option<u16> {
    let end = text
        .find(": bind: address")
        .or_else(|| text.find(" failed: port is"))?;
    text[..end].rsplit(':').next()?.trim().parse().ok()
}

fn missing_network(text: &str) -> Option<&str> {
    if let Some(name) = word_after(text, "unable to find network with name or ID ") {
        return Some(name);
    }
    text.ends_with(" not found")
        .then(|| word_after(text, "network "))
        .flatten()
}

/// A device, or the source of a bind mount.
fn missing_device(text: &str) -> Option<&str> {
    if let Some(path) = word_after(text, "bind source path does not exist: ") {
        return Some(path);
    }
    if !text.contains("no such file or directory") {
        return None;
    }
    quoted_after(text, "adding custom device ")
        .or_else(|| word_after(text, "statfs "))
        .or_else(|| word_after(text, "container create: stat "))
}

/// Behind the last address or URL, where Go's errors say what happened.
fn tail_of(text: &str) -> &str {
    match text
        .rfind("dial tcp")
        .or_else(|| text.rfind("\": ").map(|at| at + 3))
    {
        Some(at) => &text[at..],
        None => text,
    }
}

/// One line, at most 300 characters.
pub(crate) fn shortened(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(301)
        .collect();
    let line = line.trim();
    if line.is_empty() {
        "it gave no reason".to_owned()
    } else if line.chars().count() > 300 {
        line.chars().take(299).chain(['…']).collect()
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
#[path = "sentence_tests.rs"]
mod tests;
