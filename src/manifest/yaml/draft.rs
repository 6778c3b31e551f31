//! A workload in the shape of the TOML, put together from what another language says.
//!
//! Every value keeps the place where it is written, so that whatever the readers of the TOML say
//! about it is shown there.

use super::super::{
    nearest::nearest,
    report::Report,
    shown,
    span::Flaw,
    table::{MAX_ITEMS, listed},
    tree::{Data, Entry, Value},
};
use std::{collections::BTreeMap, ops::Range};

/// The entries so far.
#[derive(Debug, Default)]
pub(in super::super) struct Draft {
    entries: Vec<Entry>,
}

impl Draft {
    /// Gives `key` a value; one that it has is replaced.
    pub(in super::super) fn put(&mut self, key: &str, from: &Entry, value: Value) {
        put(&mut self.entries, key, &from.name_span, value);
    }

    /// Gives `key` of the table `table` a value; one that it has is replaced.
    pub(in super::super) fn put_in(&mut self, table: &str, key: &str, from: &Entry, value: Value) {
        let at = match self.entries.iter().position(|entry| entry.name == table) {
            Some(at) => at,
            None => {
                self.entries.push(Entry {
                    name: table.to_owned(),
                    name_span: from.name_span.clone(),
                    value: Value {
                        span: from.name_span.clone(),
                        data: Data::Map(Vec::new()),
                    },
                });
                self.entries.len() - 1
            }
        };
        // Where the table is none, that is refused later.
        if let Data::Map(entries) = &mut self.entries[at].value.data {
            put(entries, key, &from.name_span, value);
        }
    }

    /// Takes `key` away; what it was.
    pub(in super::super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.name == key)?;
        Some(self.entries.remove(at))
    }

    /// It has `key`.
    pub(in super::super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == key)
    }

    /// The table `table` has `key`.
    pub(in super::super) fn has_in(&self, table: &str, key: &str) -> bool {
        let table = self.entries.iter().find(|entry| entry.name == table);
        table.is_some_and(|table| table.value.get(key).is_some())
    }

    /// Adds `item` to the list `key` of the table `table`, which is made where it is missing.
    pub(in super::super) fn add_to(&mut self, table: &str, key: &str, from: &Entry, item: Value) {
        if !self.has_in(table, key) {
            let list = Value {
                span: item.span.clone(),
                data: Data::List(Vec::new()),
            };
            self.put_in(table, key, from, list);
        }
        let entries = self.entries.iter_mut().find(|entry| entry.name == table);
        let Some(Data::Map(entries)) = entries.map(|entry| &mut entry.value.data) else {
            return;
        };
        if let Some(entry) = entries.iter_mut().find(|entry| entry.name == key)
            && let Data::List(items) = &mut entry.value.data
        {
            items.push(item);
        }
    }

    /// Lays `over` on top: tables are joined, requirements are added, everything else replaces.
    pub(in super::super) fn lay(&mut self, over: Vec<Entry>) {
        lay(&mut self.entries, over);
    }

    /// The entries.
    pub(in super::super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// As a table at `span`.
    pub(in super::super) fn finish(self, span: Range<usize>) -> Value {
        Value {
            span,
            data: Data::Map(self.entries),
        }
    }
}

fn put(entries: &mut Vec<Entry>, key: &str, name_span: &Range<usize>, value: Value) {
    let entry = Entry {
        name: key.to_owned(),
        name_span: name_span.clone(),
        value,
    };
    match entries.iter_mut().find(|entry| entry.name == key) {
        Some(old) => *old = entry,
        None => entries.push(entry),
    }
}

fn lay(entries: &mut Vec<Entry>, over: Vec<Entry>) {
    // Both may be large, and no name stands twice in `over`.
    let places = entries.iter().enumerate();
    let places: BTreeMap<String, usize> = places.map(|(at, e)| (e.name.clone(), at)).collect();
    // The tree bounds the depth, hence the recursion.
    for upper in over {
        let at = places.get(&upper.name);
        let Some(lower) = at.and_then(|at| entries.get_mut(*at)) else {
            entries.push(upper);
            continue;
        };
        let adds = upper.name == "requires";
        match (&mut lower.value.data, upper.value.data) {
            (Data::Map(lower), Data::Map(upper)) => lay(lower, upper),
            (Data::List(lower), Data::List(upper)) if adds => {
                lower.extend(upper);
            }
            (_, data) => {
                lower.name_span = upper.name_span;
                lower.value = Value {
                    span: upper.value.span,
                    data,
                };
            }
        }
    }
}

/// A text at `span`.
pub(in super::super) fn text(span: &Range<usize>, text: impl Into<String>) -> Value {
    Value {
        span: span.clone(),
        data: Data::Text(text.into()),
    }
}

/// A list of texts at `span`.
pub(in super::super) fn texts(
    span: &Range<usize>,
    words: impl IntoIterator<Item = String>,
) -> Value {
    Value {
        span: span.clone(),
        data: Data::List(words.into_iter().map(|word| text(span, word)).collect()),
    }
}

/// A scalar as a text: numbers and truths as they are written. `None` for anything else.
pub(in super::super) fn as_written(value: &Value, report: &Report) -> Option<String> {
    match &value.data {
        Data::Text(text) => Some(text.clone()),
        Data::Integer(_) | Data::Float(_) | Data::Bool(_) | Data::Other(_) => {
            Some(report.written(&value.span).to_owned())
        }
        Data::Null | Data::List(_) | Data::Map(_) => None,
    }
}

/// The same with every scalar of a list, or the scalar itself, as a text; what is none stays, to
/// be refused by whoever reads it.
pub(in super::super) fn with_texts(value: &Value, report: &Report) -> Value {
    let one = |value: &Value| scalar_as_text(value, report);
    match &value.data {
        Data::List(items) => Value {
            span: value.span.clone(),
            data: Data::List(items.iter().map(one).collect()),
        },
        Data::Map(entries) => Value {
            span: value.span.clone(),
            data: Data::Map(
                entries
                    .iter()
                    .map(|entry| Entry {
                        name: entry.name.clone(),
                        name_span: entry.name_span.clone(),
                        value: one(&entry.value),
                    })
                    .collect(),
            ),
        },
        _ => one(value),
    }
}

/// What is wrong with a list or a map that has more than any reader takes.
pub(in super::super) fn too_many(key: &str, value: &Value) -> Option<Flaw> {
    let (count, what) = match &value.data {
        Data::List(items) => (items.len(), "items"),
        Data::Map(entries) => (entries.len(), "entries"),
        _ => return None,
    };
    (count > MAX_ITEMS).then(|| Flaw::new(format!("`{key}` has more than {MAX_ITEMS} {what}")))
}

/// `["A=b"]` or `{ A: b }` as a map of texts. `without_value` makes the value of a
/// name without one, or says what is wrong with that. `None` where it is neither; that is on record then.
pub(in super::super) fn pairs(
    key: &str,
    value: &Value,
    report: &Report,
    without_value: &dyn Fn(&str) -> Result<String, Flaw>,
) -> Option<Value> {
    if let Some(flaw) = too_many(key, value) {
        report.add(value.span.clone(), flaw);
        return None;
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut add = |name: &str, name_span: &Range<usize>, found: Option<Value>| {
        let value = match found {
            Some(value) => value,
            None => match without_value(name) {
                Ok(found) => text(name_span, found),
                Err(flaw) => {
                    report.add(name_span.clone(), flaw);
                    return;
                }
            },
        };
        // The last one wins, as everywhere.
        put(&mut entries, name, name_span, value);
    };
    match &value.data {
        Data::Map(map) => {
            for entry in map {
                let written = match entry.value.data {
                    Data::Null => None,
                    _ => Some(scalar_as_text(&entry.value, report)),
                };
                add(&entry.name, &entry.name_span, written);
            }
        }
        Data::List(items) => {
            for item in items {
                let Some(written) = as_written(item, report) else {
                    let found = item.kind();
                    let flaw =
                        Flaw::new(format!("each item of `{key}` must be a text, not {found}"));
                    report.add(item.span.clone(), flaw.hint("write \"NAME=value\""));
                    continue;
                };
                match written.split_once('=') {
                    Some((name, found)) => add(name, &item.span, Some(text(&item.span, found))),
                    None => add(&written, &item.span, None),
                }
            }
        }
        _ => {
            let found = value.kind();
            let flaw = Flaw::new(format!("`{key}` must be a map or a list, not {found}"));
            report.add(
                value.span.clone(),
                flaw.hint("write `NAME: value` in lines below it"),
            );
            return None;
        }
    }
    Some(Value {
        span: value.span.clone(),
        data: Data::Map(entries),
    })
}

fn scalar_as_text(value: &Value, report: &Report) -> Value {
    match as_written(value, report) {
        Some(written) => text(&value.span, written),
        None => value.clone(),
    }
}

/// A key that does not exist.
pub(in super::super) fn unknown(name: &str, known: &[&str]) -> Flaw {
    let flaw = Flaw::new(format!("unknown key `{}`", shown(name)));
    match nearest(name, known) {
        Some(meant) => flaw.hint(format!("did you mean `{meant}`?")),
        None => flaw.hint(format!("the keys here are {}", listed(known))),
    }
}
