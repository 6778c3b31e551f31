//! The image's own HEALTHCHECK.
//!
//! Without systemd Podman runs none by itself, so it is asked to each time. Whether a container
//! has one does not change as long as it lives, and is asked once.

use super::KIND;
use crate::runtime::{
    ImageHealth,
    container::{CALL_LIMIT, fault::Fault, limited, plain, sentence::shortened},
};
use podman_api::Podman as Libpod;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// More than a node runs.
const KNOWN_LIMIT: usize = 1024;
/// Where an image says nothing.
const USUAL_INTERVAL_MS: u64 = 30_000;

/// How often each container wants to be asked; `None`: it has no check.
#[derive(Debug, Default)]
pub(super) struct Healthchecks(Mutex<HashMap<String, Option<u64>>>);

impl Healthchecks {
    /// Of the container with this id.
    pub(super) async fn of(&self, libpod: &Libpod, id: &str) -> Result<Option<ImageHealth>, Fault> {
        let ask = |interval_ms| ImageHealth::Ask { interval_ms };
        if let Some(known) = self.lock().get(id) {
            return Ok(known.map(ask));
        }
        let container = libpod.containers().get(id);
        let inspected = limited(CALL_LIMIT, container.inspect()).await?;
        let check = inspected.config.and_then(|config| config.healthcheck);
        let interval_ms =
            check.and_then(|check| interval_ms(&check.test.unwrap_or_default(), check.interval));
        let mut known = self.lock();
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(id.to_owned(), interval_ms);
        Ok(interval_ms.map(ask))
    }

    /// The container is gone.
    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Out of a check's words and its interval in nanoseconds. `None`: there is no check.
fn interval_ms(test: &[String], interval_ns: Option<i64>) -> Option<u64> {
    let first = test.first().map(String::as_str).unwrap_or_default();
    if matches!(first, "" | "NONE") {
        return None;
    }
    let ms = interval_ns.and_then(|ns| u64::try_from(ns / 1_000_000).ok());
    Some(ms.filter(|ms| *ms > 0).unwrap_or(USUAL_INTERVAL_MS))
}

/// Runs it once; `Err` says what it said.
pub(super) async fn probe(libpod: &Libpod, handle: &str, timeout_ms: u64) -> Result<(), String> {
    let container = libpod.containers().get(handle);
    let call = container.healthcheck();
    let result = match tokio::time::timeout(Duration::from_millis(timeout_ms), call).await {
        Ok(result) => result,
        Err(_) => return Err(format!("it did not answer within {timeout_ms} ms")),
    };
    let status = match result {
        Ok(result) => result.status.unwrap_or_default(),
        Err(error) => return Err(plain(KIND, handle, error.into()).to_string()),
    };
    if status == "healthy" {
        return Ok(());
    }
    let said = match limited(CALL_LIMIT, container.inspect()).await {
        Ok(inspected) => inspected
            .state
            .and_then(|state| state.health)
            .and_then(|health| health.log?.pop())
            .and_then(|last| last.output),
        Err(_) => None,
    };
    Err(shortened(&said.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_check_is_told_from_one() {
        let test = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        for (words, interval_ns, expected) in [
            (test(&[]), Some(1), None),
            (test(&["NONE"]), Some(30_000_000_000), None),
            (test(&["CMD", "true"]), Some(2_000_000_000), Some(2_000)),
            (
                test(&["CMD-SHELL", "true"]),
                Some(0),
                Some(USUAL_INTERVAL_MS),
            ),
            (
                test(&["CMD-SHELL", "true"]),
                Some(-5),
                Some(USUAL_INTERVAL_MS),
            ),
            (test(&["CMD-SHELL", "true"]), None, Some(USUAL_INTERVAL_MS)),
        ] {
            assert_eq!(interval_ms(&words, interval_ns), expected, "{words:?}");
        }
    }
}
