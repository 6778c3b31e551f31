//! The chain of the audit trail: pure, and ([`file`]) in the journal.

mod file;

use super::{
    ExportEnd, ExportHead, ExportReader, Link, NO_HASH, Noted, TrailLine, Verdict, Verifier,
    json_line,
};
use crate::identity::SigningKey;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn start() -> Link {
    Link::unknown(0)
}

/// Lines 1 to `count`, chained.
fn chain(count: u64) -> Vec<TrailLine> {
    let mut prev = NO_HASH.to_owned();
    let line = |id: u64| {
        let line = TrailLine {
            id,
            at: 1_000 * id,
            by: json!({"token": "ann", "role": "admin", "from": "192.0.2.1"}),
            what: format!("labelled node pi-{id}"),
            changes: (!id.is_multiple_of(3)).then(|| format!("node pi-{id}\n+ labels.n = {id}\n")),
            prev: String::new(),
            hash: String::new(),
        };
        let line = line.chained_to(&prev);
        prev = line.hash.clone();
        line
    };
    (1..=count).map(line).collect()
}

fn maps(lines: &[TrailLine]) -> Vec<Map<String, Value>> {
    lines.iter().filter_map(TrailLine::as_map).collect()
}

fn verdict(lines: &[Map<String, Value>], head: &Link) -> Verdict {
    let mut verifier = Verifier::new(start(), None);
    lines.iter().for_each(|line| verifier.take(line));
    verifier.finish(head)
}

/// That something is wrong with this line, and at least that.
#[track_caller]
fn names(verdict: &Verdict, line: u64, word: &str) {
    let faults = &verdict.faults;
    let named = faults
        .iter()
        .any(|f| f.line == line && f.what.contains(word));
    assert!(named, "no `{word}` of line {line} in {faults:?}");
    assert!(!verdict.ok);
    assert!(verdict.first_bad.is_some_and(|first| first <= line));
}

#[test]
fn a_whole_trail_is_whole() {
    let lines = chain(20);
    let head = lines[19].link();
    let found = verdict(&maps(&lines), &head);
    assert!(found.ok, "{:?}", found.faults);
    assert_eq!((found.lines, found.first_bad), (20, None));
    assert_eq!(found.head, head);
    let nothing = verdict(&[], &start());
    assert!(nothing.ok, "{:?}", nothing.faults);
}

#[test]
fn the_hash_of_a_line_is_for_ever() {
    // Who changes how it is computed makes every trail that is kept look altered.
    let line = chain(1).remove(0);
    let hash = "0e7fe4123194d57dff2c273a98601ffb953cf03a936646b561fc1bc2170d7e4b";
    assert_eq!(line.hash, hash);
}

#[test]
fn a_line_that_was_replaced_with_a_right_hash_is_found_by_the_next_one() {
    let mut lines = chain(10);
    let prev = lines[4].prev.clone();
    lines[4].what = "nothing of importance".into();
    lines[4] = lines[4].clone().chained_to(&prev);
    let head = lines[9].link();
    names(&verdict(&maps(&lines), &head), 5, "replaced");
    // The last one is followed by the head.
    let mut lines = chain(10);
    let head = lines[9].link();
    let prev = lines[9].prev.clone();
    lines[9].what = "nothing of importance".into();
    lines[9] = lines[9].clone().chained_to(&prev);
    names(&verdict(&maps(&lines), &head), 10, "replaced");
}

#[test]
fn a_whole_new_trail_is_found_by_a_head_that_was_noted_elsewhere() {
    let old = chain(10);
    let noted = |at: usize, id: bool| Noted {
        id: id.then_some(old[at].id),
        hash: old[at].hash.clone(),
    };
    let look = |lines: &[TrailLine], noted: Noted| {
        let mut verifier = Verifier::new(start(), Some(noted));
        maps(lines).iter().for_each(|line| verifier.take(line));
        verifier.finish(&lines.last().map_or_else(start, TrailLine::link))
    };
    for id in [true, false] {
        assert!(look(&old, noted(9, id)).ok);
        assert!(look(&chain(30), noted(9, id)).ok, "it has grown since");
    }
    let mut forged = chain(12);
    let mut prev = NO_HASH.to_owned();
    for line in &mut forged {
        line.at += 1;
        *line = line.clone().chained_to(&prev);
        prev = line.hash.clone();
    }
    assert!(
        verdict(&maps(&forged), &forged[11].link()).ok,
        "by itself it is a chain"
    );
    names(&look(&forged, noted(9, true)), 10, "another one now");
    names(&look(&forged, noted(9, false)), 1, "another trail");
    names(&look(&old[..5], noted(9, true)), 6, "missing");
}

/// What can be done to a trail, and the line that must be named for it.
#[derive(Debug, Clone)]
enum Harm {
    Delete(usize),
    Swap(usize, usize),
    Repeat(usize),
    Alter(usize, &'static str),
    Truncate(usize),
}

fn harm(count: usize) -> impl Strategy<Value = Harm> {
    let fields = vec!["id", "at", "by", "what", "changes", "prev", "hash", "new"];
    prop_oneof![
        (0..count).prop_map(Harm::Delete),
        (0..count, 0..count)
            .prop_filter("two", |(a, b)| a != b)
            .prop_map(|(a, b)| Harm::Swap(a, b)),
        (0..count).prop_map(Harm::Repeat),
        (0..count, prop::sample::select(fields)).prop_map(|(n, field)| Harm::Alter(n, field)),
        (1..count).prop_map(Harm::Truncate),
    ]
}

proptest! {
    #[test]
    fn whatever_is_done_to_a_line_that_line_is_named(harm in harm(12), small in 1u64..50) {
        let whole = chain(12);
        let head = whole[11].link();
        let mut lines = maps(&whole);
        let (named, word) = match harm {
            Harm::Delete(n) => {
                lines.remove(n);
                (vec![n + 1], "missing")
            }
            Harm::Truncate(n) => {
                lines.truncate(n);
                (vec![n + 1], "missing")
            }
            Harm::Swap(a, b) => {
                lines.swap(a, b);
                (vec![a.min(b) + 1], "out of order")
            }
            Harm::Repeat(n) => {
                lines.push(lines[n].clone());
                (vec![n + 1], "again")
            }
            Harm::Alter(n, field) => {
                let value = match field {
                    "id" | "at" => {
                        let old = lines[n][field].as_u64().unwrap();
                        json!(old + small)
                    }
                    "by" => json!({"token": "bob", "role": "admin", "from": "192.0.2.1"}),
                    "prev" | "hash" => json!("ff".repeat(32)),
                    _ => json!("something else"),
                };
                lines[n].insert(field.to_owned(), value);
                (vec![n + 1], "altered")
            }
        };
        let found = verdict(&lines, &head);
        prop_assert!(!found.ok);
        for line in named {
            let told = found.faults.iter().find(|f| f.line == line as u64 && f.what.contains(word));
            prop_assert!(told.is_some(), "{} {} {:?}", line, word, found.faults);
            prop_assert_eq!(found.first_bad, Some(line as u64), "{:?}", found.faults);
        }
    }

    #[test]
    fn no_line_of_a_file_makes_it_fail(text in prop::collection::vec(".{0,80}", 0..6), seed in 0u8..4) {
        let key = SigningKey::from_seed(&[seed; 32]);
        let mut reader = ExportReader::new(None, None);
        let begin = ExportHead::new(&key.public(), 1, start());
        prop_assert!(reader.take(&json_line(&begin)).is_ok());
        for line in &text {
            prop_assert!(reader.take(line).is_ok());
        }
        prop_assert!(!reader.finish().unwrap().ok, "it has no end");
    }
}

fn exported(lines: &[TrailLine]) -> Vec<String> {
    let key = SigningKey::from_seed(&[7; 32]);
    let begin = ExportHead::new(&key.public(), 5_000, start());
    let head = lines.last().map_or_else(start, TrailLine::link);
    let end = ExportEnd::new(&key, &begin, &verdict(&maps(lines), &head));
    let mut text = vec![json_line(&begin)];
    text.extend(lines.iter().map(json_line));
    text.push(json_line(&end));
    text
}

fn read(lines: &[String]) -> Verdict {
    let mut reader = ExportReader::new(None, None);
    lines.iter().for_each(|line| reader.take(line).unwrap());
    reader.finish().unwrap()
}

#[test]
fn an_export_is_read_and_what_was_done_to_it_is_said() {
    let whole = exported(&chain(5));
    assert!(read(&whole).ok, "{:?}", read(&whole).faults);
    assert!(read(&exported(&[])).ok);
    let said = |lines: &[String]| {
        let verdict = read(lines);
        assert!(!verdict.ok);
        verdict
            .faults
            .iter()
            .map(|f| format!("{f}\n"))
            .collect::<String>()
    };
    let mut cut = whole.clone();
    cut.pop();
    assert!(
        said(&cut).contains("cut off after line 5"),
        "{}",
        said(&cut)
    );
    // Lines gone at the new end, and the end made to fit: the signature does not.
    let mut shorter = exported(&chain(4));
    let end = shorter.len() - 1;
    let signature: ExportEnd = serde_json::from_str(&whole[6]).unwrap();
    let own: ExportEnd = serde_json::from_str(&shorter[end]).unwrap();
    let forged = ExportEnd {
        signature: signature.signature,
        ..own
    };
    shorter[end] = json_line(&forged);
    assert!(said(&shorter).contains("signature"), "{}", said(&shorter));
    let mut altered = whole.clone();
    altered[3] = altered[3].replace("pi-3", "pi-4");
    assert!(
        said(&altered).contains("line 3 was altered"),
        "{}",
        said(&altered)
    );
    let mut longer = whole.clone();
    longer.push("{}".into());
    assert!(said(&longer).contains("after the end"), "{}", said(&longer));
    let mut reader = ExportReader::new(None, None);
    let error = reader.take("{\"a\":1}").unwrap_err().to_string();
    assert!(error.contains("no audit trail"), "{error}");
    let mut reader = ExportReader::new(None, Some("another".into()));
    whole.iter().for_each(|line| reader.take(line).unwrap());
    let found = reader.finish().unwrap();
    assert!(found.faults[0].what.contains("another fleet"), "{found:?}");
}

#[test]
fn the_signed_end_of_a_broken_trail_says_so_and_cannot_be_made_to_say_else() {
    let mut lines = chain(5);
    lines[2].what = "nothing".into();
    let text = exported(&lines);
    let end: ExportEnd = serde_json::from_str(&text[6]).unwrap();
    let known = end.fault.clone().unwrap();
    assert!(known.contains("line 3 was altered"), "{known}");
    let found = read(&text);
    assert!(!found.ok && found.first_bad == Some(3), "{found:?}");
    assert_eq!(found.faults.len(), 1, "told once: {found:?}");
    let silent = ExportEnd { fault: None, ..end };
    let mut other = text.clone();
    other[6] = json_line(&silent);
    let said = format!("{:?}", read(&other).faults);
    assert!(said.contains("signature"), "{said}");
    // Lines that are whole by now, under an end that says that they were not.
    let mut mended = exported(&chain(5));
    mended[6] = text[6].clone();
    let said = format!("{:?}", read(&mended).faults);
    assert!(said.contains("when it was exported: line 3"), "{said}");
    let end: ExportEnd = serde_json::from_str(&exported(&chain(5))[6]).unwrap();
    assert_eq!(end.fault, None);
}
