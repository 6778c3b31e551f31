//! An engine's container as the agent knows it.

use super::adopted::Adopted;
use crate::{
    model::{HealthStatus, Name, UnixMs},
    runtime::{
        Exit, Found, FoundStatus, ImageHealth, LABEL_SPEC_HASH, LABEL_VERSION, LABEL_WORKLOAD,
    },
};
use bollard::models::{Health, HealthStatusEnum};
use std::collections::HashMap;

/// From a container's labels, or from what was written down when it was taken over. `None` when
/// it is not ours (or its labels were tampered with).
pub(crate) fn found(
    handle: &str,
    labels: &HashMap<String, String>,
    adopted: &Adopted,
    status: FoundStatus,
    health: Option<ImageHealth>,
) -> Option<Found> {
    if let Some(record) = adopted.get(handle) {
        return Some(Found {
            handle: record.id,
            workload: record.workload,
            version: record.version,
            spec_hash: record.spec_hash,
            status,
            health,
        });
    }
    let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
    Some(Found {
        handle: handle.to_owned(),
        workload: labels.get(LABEL_WORKLOAD)?.parse::<Name>().ok()?,
        version: label(LABEL_VERSION),
        spec_hash: label(LABEL_SPEC_HASH),
        status,
        health,
    })
}

/// What an engine says that runs the image's HEALTHCHECK by itself. `None`: there is none.
pub(crate) fn told_health(health: Option<&Health>) -> Option<ImageHealth> {
    let status = match health?.status? {
        HealthStatusEnum::STARTING => HealthStatus::Starting,
        HealthStatusEnum::HEALTHY => HealthStatus::Healthy,
        HealthStatusEnum::UNHEALTHY => HealthStatus::Unhealthy,
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => return None,
    };
    Some(ImageHealth::Told(status))
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

/// What an engine says of an end.
#[derive(Debug, Default)]
pub(crate) struct Ended<'a> {
    pub(crate) code: Option<i64>,
    /// The engine says so. Podman 4.3 never does, Docker 20.10 not always.
    pub(crate) out_of_memory: bool,
    /// Why it could not be started; mostly empty.
    pub(crate) error: Option<&'a str>,
    /// In bytes; 0 where there is none.
    pub(crate) memory_limit: Option<i64>,
    /// It was asked for here.
    pub(crate) by_us: bool,
}

/// SIGKILL, by us, by somebody, or by the kernel.
const KILLED: i64 = 137;

/// Ended.
pub(crate) fn exited(ended: Ended<'_>) -> FoundStatus {
    let Ended {
        code,
        out_of_memory,
        error,
        ..
    } = ended;
    let limit = ended.memory_limit.filter(|limit| *limit > 0);
    let error = error.filter(|e| !e.is_empty());
    // What no engine tells can be guessed from an end by SIGKILL that nobody asked for.
    let guessed = !out_of_memory && error.is_none() && code == Some(KILLED) && !ended.by_us;
    let message = match (error, out_of_memory) {
        (Some(error), _) => Some(super::sentence::shortened(error)),
        (None, false) if guessed => Some(match limit {
            Some(limit) => format!(
                "it was killed (SIGKILL), and that it wanted more than {} of memory is suspected",
                mib(limit)
            ),
            None => "it was killed (SIGKILL) by somebody, or by the kernel for want of memory on \
                     this node"
                .to_owned(),
        }),
        (None, true) => Some(match limit {
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
        out_of_memory: out_of_memory || (guessed && limit.is_some()),
        message,
        detail: None,
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
    fn a_kill_that_nobody_asked_for_is_suspicious_under_a_limit() {
        let killed = |memory_limit, by_us| {
            let FoundStatus::Exited(exit) = exited(Ended {
                code: Some(KILLED),
                memory_limit,
                by_us,
                ..Ended::default()
            }) else {
                panic!("it has ended")
            };
            exit
        };
        let exit = killed(Some(16 << 20), false);
        assert!(exit.out_of_memory);
        assert!(exit.message.unwrap().contains("suspected"));
        assert!(!killed(Some(0), false).out_of_memory);
        let asked_for = killed(Some(16 << 20), true);
        assert!(!asked_for.out_of_memory && asked_for.message.is_none());
    }

    #[test]
    fn containers_of_others_are_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let adopted = Adopted::new(dir.path());
        let found = |labels: &HashMap<String, String>| {
            found("id", labels, &adopted, FoundStatus::Created, None)
        };
        let mut labels = HashMap::new();
        assert_eq!(found(&labels), None);
        labels.insert(LABEL_WORKLOAD.to_owned(), "Not A Name".to_owned());
        assert_eq!(found(&labels), None);
        labels.insert(LABEL_WORKLOAD.to_owned(), "web".to_owned());
        let ours = found(&labels).unwrap();
        assert_eq!(ours.workload.as_str(), "web");
        assert_eq!(ours.spec_hash, "");
    }

    #[tokio::test]
    async fn what_was_taken_over_is_ours_without_labels() {
        let dir = tempfile::tempdir().unwrap();
        let adopted = Adopted::new(dir.path());
        let record = super::super::adopted::Record {
            id: "id".to_owned(),
            node: "n".parse().unwrap(),
            workload: "web".parse().unwrap(),
            version: "7".to_owned(),
            spec_hash: "ab".to_owned(),
        };
        adopted.put(record).await.unwrap();
        let ours = found("id", &HashMap::new(), &adopted, FoundStatus::Created, None).unwrap();
        assert_eq!(
            (ours.version.as_str(), ours.spec_hash.as_str()),
            ("7", "ab")
        );
    }

    #[test]
    fn no_healthcheck_is_no_health() {
        let health = |status| Health {
            status: Some(status),
            ..Health::default()
        };
        assert_eq!(told_health(None), None);
        assert_eq!(told_health(Some(&health(HealthStatusEnum::NONE))), None);
        assert_eq!(
            told_health(Some(&health(HealthStatusEnum::UNHEALTHY))),
            Some(ImageHealth::Told(HealthStatus::Unhealthy))
        );
    }

    #[test]
    fn an_end_for_want_of_memory_says_so() {
        let FoundStatus::Exited(exit) = exited(Ended {
            code: Some(KILLED),
            out_of_memory: true,
            error: Some(""),
            memory_limit: Some(64 << 20),
            by_us: false,
        }) else {
            panic!("not exited");
        };
        assert_eq!(exit.code, Some(137));
        assert!(exit.out_of_memory);
        assert!(exit.message.unwrap().contains("64 MiB"));
    }
}
