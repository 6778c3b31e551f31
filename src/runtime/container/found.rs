//! An engine's container as the agent knows it.

use crate::{
    model::{Name, UnixMs},
    runtime::{Exit, Found, FoundStatus, LABEL_SPEC_HASH, LABEL_VERSION, LABEL_WORKLOAD},
};
use std::collections::HashMap;

/// From a container's labels. `None` when it does not carry ours (or they were tampered with).
pub(crate) fn found(
    handle: &str,
    labels: &HashMap<String, String>,
    status: FoundStatus,
) -> Option<Found> {
    let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
    Some(Found {
        handle: handle.to_owned(),
        workload: labels.get(LABEL_WORKLOAD)?.parse::<Name>().ok()?,
        version: label(LABEL_VERSION),
        spec_hash: label(LABEL_SPEC_HASH),
        status,
    })
}

/// Running, with the pid that engines give as 0 when there is none.
pub(crate) fn running(started_ms: Option<UnixMs>, pid: Option<i64>) -> FoundStatus {
    FoundStatus::Running {
        started_ms: started_ms.unwrap_or(0),
        pid: pid
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| *pid > 0),
    }
}

/// Ended.
pub(crate) fn exited(
    code: Option<i64>,
    out_of_memory: bool,
    error: Option<&str>,
    memory_limit: Option<i64>,
) -> FoundStatus {
    let message = match (error.filter(|e| !e.is_empty()), out_of_memory) {
        (Some(error), _) => Some(super::sentence::shortened(error)),
        (None, true) => Some(match memory_limit.filter(|limit| *limit > 0) {
            Some(limit) => {
                format!(
                    "the kernel ended it: it wanted more than {} of memory",
                    mib(limit)
                )
            }
            None => "the kernel ended it: this node has no memory left".to_owned(),
        }),
        (None, false) => None,
    };
    FoundStatus::Exited(Exit {
        code: code.and_then(|code| i32::try_from(code).ok()),
        out_of_memory,
        message,
    })
}

/// As users write it; 64 MiB are `64 MiB`.
pub(crate) fn mib(bytes: i64) -> String {
    if bytes >= 1 << 20 {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{bytes} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_others_are_not_ours() {
        let mut labels = HashMap::new();
        assert_eq!(found("id", &labels, FoundStatus::Created), None);
        labels.insert(LABEL_WORKLOAD.to_owned(), "Not A Name".to_owned());
        assert_eq!(found("id", &labels, FoundStatus::Created), None);
        labels.insert(LABEL_WORKLOAD.to_owned(), "web".to_owned());
        let ours = found("id", &labels, FoundStatus::Created).unwrap();
        assert_eq!(ours.workload.as_str(), "web");
        assert_eq!(ours.spec_hash, "");
    }

    #[test]
    fn an_end_for_want_of_memory_says_so() {
        let FoundStatus::Exited(exit) = exited(Some(137), true, Some(""), Some(64 << 20)) else {
            panic!("not exited");
        };
        assert_eq!(exit.code, Some(137));
        assert!(exit.out_of_memory);
        assert!(exit.message.unwrap().contains("64 MiB"));
    }
}
