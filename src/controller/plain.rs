//! Texts from nodes, made harmless before anybody keeps or shows them: no escape sequences of
//! terminals, no control characters (which drive terminals and break log lines), and no more than a
//! person would read.

use crate::{contract::State, model::NodeFacts, support::without_escapes};
use std::collections::BTreeMap;

/// Entries of a list or map of facts.
const MAX_ENTRIES: usize = 64;

/// A control character, or one that turns the direction of text: either deceives who reads it.
fn drives(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// At most `max` bytes of `text`, without escape sequences, control characters turned into spaces.
pub(super) fn text(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in without_escapes(text).chars() {
        let c = if drives(c) { ' ' } else { c };
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

/// As [`text`], with its line breaks: a traceback.
fn lines(many: &str, max: usize) -> String {
    let each: Vec<String> = many.lines().map(|line| text(line, 1_024)).collect();
    let mut out = each.join("\n");
    let end = out.floor_char_boundary(max);
    out.truncate(end);
    out
}

fn clean(field: &mut String, max: usize) {
    if field.len() > max || field.chars().any(drives) {
        *field = text(field, max);
    }
}

fn clean_map(map: &mut BTreeMap<String, String>) {
    let all = std::mem::take(map).into_iter().take(MAX_ENTRIES);
    *map = all.map(|(k, v)| (text(&k, 128), text(&v, 256))).collect();
}

/// What a node says that it is.
pub(super) fn facts(facts: &mut NodeFacts) {
    for field in [
        &mut facts.agent_version,
        &mut facts.arch,
        &mut facts.os,
        &mut facts.kernel,
        &mut facts.hostname,
    ] {
        clean(field, 256);
    }
    facts.addresses.truncate(MAX_ENTRIES);
    facts.addresses.iter_mut().for_each(|a| clean(a, 64));
    facts.engines.truncate(8);
    facts
        .engines
        .iter_mut()
        .for_each(|e| clean(&mut e.version, 128));
    clean_map(&mut facts.capabilities);
    clean_map(&mut facts.labels);
}

/// What a node observes.
pub(super) fn state(state: &mut State) {
    state.discovered.truncate(100);
    for found in &mut state.discovered {
        found.workload = None;
        found.lost.clear();
        clean(&mut found.name, 256);
        clean(&mut found.image, 512);
        if let Some(project) = &mut found.project {
            clean(project, 128);
        }
    }
    state.engines.truncate(8);
    state
        .engines
        .iter_mut()
        .for_each(|e| clean(&mut e.version, 128));
    for i in &mut state.instances {
        clean(&mut i.version, 128);
        clean(&mut i.spec_hash, 64);
        if let Some(reason) = &mut i.reason {
            clean(reason, 512);
        }
        if let Some(handle) = &mut i.handle {
            clean(handle, 128);
        }
        if let Some(error) = &mut i.last_error {
            *error = lines(error, 4_096);
        }
        i.last_output.truncate(10);
        i.last_output.iter_mut().for_each(|l| clean(l, 256));
        if let Some(trial) = &mut i.trial {
            clean(&mut trial.spec_hash, 64);
            clean(&mut trial.version, 128);
            if let Some(reason) = &mut trial.reason {
                clean(reason, 512);
            }
            trial.last_output.truncate(10);
            trial.last_output.iter_mut().for_each(|l| clean(l, 256));
        }
        if let Some(fetched) = &mut i.fetched {
            clean(fetched, 64);
        }
        i.warnings.truncate(8);
        i.warnings.iter_mut().for_each(|w| clean(w, 512));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_of_a_trial_is_bounded_too() {
        let said = serde_json::json!({"generation": 1, "engines": [], "instances": [{
            "workload": "web", "version": "1", "spec_hash": "a", "state": "running",
            "runtime": "docker", "restarts": 0, "since_ms": 1, "fetched": "f".repeat(999),
            "trial": {"spec_hash": "s".repeat(999), "version": "2\u{1b}[2J", "state": "failed",
                      "reason": "r".repeat(9_999), "last_output": vec!["l".repeat(999); 99]}}]});
        let mut told: State = serde_json::from_value(said).unwrap();
        state(&mut told);
        let trial = told.instances[0].trial.as_ref().unwrap();
        assert_eq!((trial.spec_hash.len(), trial.version.as_str()), (64, "2"));
        assert_eq!(trial.reason.as_ref().unwrap().len(), 512);
        assert_eq!(trial.last_output, vec!["l".repeat(256); 10]);
        assert_eq!(told.instances[0].fetched.as_ref().unwrap().len(), 64);
    }

    #[test]
    fn nothing_drives_a_terminal_and_nothing_is_endless() {
        assert_eq!(text("a\u{1b}]52;c\n", 100), "a52;c ");
        assert_eq!(text("\u{1b}[31mred\u{1b}[0m\ttick", 8), "red tick");
        assert_eq!(text("üüü", 5), "üü");
        let mut f = NodeFacts {
            os: "x".repeat(9_999),
            ..NodeFacts::default()
        };
        f.labels = (0..500)
            .map(|n| (format!("k{n}\r"), "v".repeat(999)))
            .collect();
        facts(&mut f);
        assert_eq!((f.os.len(), f.labels.len()), (256, MAX_ENTRIES));
        assert!(
            f.labels
                .iter()
                .all(|(k, v)| !k.contains('\r') && v.len() == 256)
        );
    }
}
