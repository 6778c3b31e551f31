//! Silences: that people do not want to be told of some alerts for a while. They change nothing of
//! what the fleet does; they are here so that they are journaled, and known after a restart.

use super::{Actor, Effect, Fleet, Refusal};
use crate::{
    alert::{MAX_COMMENT, Matcher, Silence},
    model::UnixMs,
};
use std::collections::BTreeMap;

/// Silences that may be in effect at once.
const MAX_SILENCES: usize = 1_000;

impl Fleet {
    /// All silences, by what they are about; also some that are over.
    pub fn silences(&self) -> &BTreeMap<String, Silence> {
        &self.silences
    }

    pub(super) fn silence(
        &mut self,
        alert: &str,
        until_ms: UnixMs,
        comment: &str,
        by: Option<&Actor>,
        at: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        let alert = canonical(alert)?;
        if until_ms <= at {
            let message = format!("the silence of `{alert}` would be over before it begins");
            return Err(Refusal::Invalid(message));
        }
        if comment.len() > MAX_COMMENT {
            let message = format!("the comment of a silence has at most {MAX_COMMENT} bytes");
            return Err(Refusal::Invalid(message));
        }
        let known = self.silences.contains_key(&alert);
        let valid = self.silences.values().filter(|s| s.until_ms > at).count();
        if !known && valid >= MAX_SILENCES {
            return Err(Refusal::Conflict(format!(
                "there are {MAX_SILENCES} silences already: take one back, or silence a whole \
                 node, workload or rule"
            )));
        }
        self.silences.retain(|_, s| s.until_ms > at);
        let silence = Silence {
            until_ms,
            comment: comment.to_owned(),
            by: by.map(|actor| actor.token.clone()).unwrap_or_default(),
            since_ms: at,
        };
        self.silences.insert(alert, silence);
        Ok(Vec::new())
    }

    pub(super) fn unsilence(&mut self, alert: &str, at: UnixMs) -> Result<Vec<Effect>, Refusal> {
        let alert = canonical(alert)?;
        match self.silences.remove(&alert) {
            Some(silence) if silence.until_ms > at => Ok(Vec::new()),
            // One that is over is none; it may as well stay until it is dropped.
            Some(over) => {
                self.silences.insert(alert.clone(), over);
                Err(no_silence(alert))
            }
            None => Err(no_silence(alert)),
        }
    }
}

fn no_silence(name: String) -> Refusal {
    Refusal::NotFound {
        what: "silence",
        name,
    }
}

/// The one way to write it.
fn canonical(alert: &str) -> Result<String, Refusal> {
    let matcher = Matcher::parse(alert).map_err(Refusal::Invalid)?;
    Ok(matcher.to_string())
}
