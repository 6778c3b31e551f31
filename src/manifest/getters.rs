//! Getters of [`Table`] for shapes that only workloads have: a number or a time within bounds,
//! a key that may be written in several ways, and values of any shape.

use super::{
    quantity::duration_text,
    shown,
    span::Flaw,
    table::{MAX_ITEMS, Table},
    tree::{Data, Entry, Value},
    word::argument,
};
use serde_json::{Map, Number, Value as Json};
use std::ops::{Range, RangeInclusive};

/// The deepest that tables and arrays may stand in each other where any value may be written.
const MAX_DEPTH: usize = 16;

/// How the value of a key is written, for keys that take more than one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The key is not there.
    Absent,
    /// `"…"`.
    Text,
    /// `[…]`.
    List,
    /// `{…}` or a table with a header.
    Map,
    /// A number, a truth, a date.
    Other,
}

impl<'a> Table<'a> {
    /// How `key` is written. Counts as asking for it.
    pub(crate) fn shape(&mut self, key: &'static str) -> Shape {
        match self.value(key).map(|value| &value.data) {
            None => Shape::Absent,
            Some(Data::Text(_)) => Shape::Text,
            Some(Data::List(_)) => Shape::List,
            Some(Data::Map(_)) => Shape::Map,
            Some(_) => Shape::Other,
        }
    }

    /// A duration in milliseconds within `bounds`; another one is refused.
    pub(crate) fn ms_within(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let ms = self.duration_ms(key)?;
        if bounds.contains(&ms) {
            return Some(ms);
        }
        let (least, most) = (duration_text(*bounds.start()), duration_text(*bounds.end()));
        let flaw = Flaw::new(format!("`{key}` must be from {least} to {most}"));
        self.refuse(key, flaw);
        None
    }

    /// A whole number within `bounds`; another one is refused.
    pub(crate) fn integer_within(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<i64>,
    ) -> Option<i64> {
        let number = self.integer(key)?;
        if bounds.contains(&number) {
            return Some(number);
        }
        let (least, most) = (bounds.start(), bounds.end());
        let flaw = Flaw::new(format!("`{key}` must be from {least} to {most}"));
        self.refuse(key, flaw);
        None
    }

    /// The same as an unsigned number; `bounds` fit it.
    pub(crate) fn count_within(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u32>,
    ) -> Option<u32> {
        let bounds = i64::from(*bounds.start())..=i64::from(*bounds.end());
        let number = self.integer_within(key, bounds)?;
        u32::try_from(number).ok()
    }

    /// A program and its arguments.
    pub(crate) fn command(&mut self, key: &'static str) -> Option<Vec<String>> {
        let words = self.parsed_list(key, argument)?;
        if words.first().is_some_and(|program| !program.is_empty()) {
            return Some(words);
        }
        let flaw = Flaw::new(format!("`{key}` names no program"))
            .hint("write the program and its arguments, as in [\"/usr/bin/x\", \"--flag\"]");
        self.refuse(key, flaw);
        None
    }

    /// The entries of a table whose values may have any shape, in the order of the text; at most
    /// `most`. Another type is refused as not being `wanted`.
    pub(crate) fn entries(&mut self, key: &'static str, most: usize, wanted: &str) -> &'a [Entry] {
        let Some(value) = self.value(key) else {
            return &[];
        };
        let Data::Map(entries) = &value.data else {
            self.mistyped(key, value, wanted);
            return &[];
        };
        if entries.len() > most {
            let flaw = Flaw::new(format!("`{key}` has more than {most} entries"));
            self.report.add(value.span.clone(), flaw);
            return &[];
        }
        entries
    }

    /// The items of an array whose items may have any shape; at most `most`. Another type is
    /// refused.
    pub(crate) fn items(&mut self, key: &'static str, most: usize) -> &'a [Value] {
        let Some(value) = self.value(key) else {
            return &[];
        };
        let Some(items) = value.as_list() else {
            self.mistyped(key, value, "an array");
            return &[];
        };
        if items.len() > most {
            let flaw = Flaw::new(format!("`{key}` has more than {most} items"));
            self.report.add(value.span.clone(), flaw);
            return &[];
        }
        items
    }

    /// The items of an array of tables; at most `most`. Items of another type are refused.
    pub(crate) fn rows(&mut self, key: &'static str, most: usize) -> Vec<Table<'a>> {
        let mut rows = Vec::new();
        for item in self.items(key, most) {
            match item.as_map() {
                Some(_) => rows.push(self.below(item)),
                None => {
                    let flaw = format!("each item of `{key}` must be a table, not {}", item.kind());
                    self.report.add(item.span.clone(), Flaw::new(flaw));
                }
            }
        }
        rows
    }

    /// A table of any values, as JSON. Dates, numbers that JSON does not have, and what is nested
    /// too deeply are refused at their places. Where anything is refused the result is not whole.
    pub(crate) fn json(&mut self, key: &'static str) -> Map<String, Json> {
        let entries = self.entries(key, MAX_ITEMS, "a table");
        let mut flaws = Vec::new();
        let map = as_map(entries, 1, &mut flaws);
        for (span, flaw) in flaws {
            self.report.add(span, flaw);
        }
        map
    }
}

/// Where something is wrong, and what.
type Flaws = Vec<(Range<usize>, Flaw)>;

fn as_map(entries: &[Entry], depth: usize, flaws: &mut Flaws) -> Map<String, Json> {
    let mut map = Map::new();
    for entry in entries {
        if let Some(value) = as_json(&entry.name, &entry.value, depth, flaws) {
            map.insert(entry.name.clone(), value);
        }
    }
    map
}

/// The recursion ends at [`MAX_DEPTH`].
fn as_json(name: &str, value: &Value, depth: usize, flaws: &mut Flaws) -> Option<Json> {
    let mut refuse = |flaw: Flaw| {
        flaws.push((value.span.clone(), flaw));
        None
    };
    let name_shown = shown(name);
    match &value.data {
        Data::List(_) | Data::Map(_) if depth >= MAX_DEPTH => refuse(Flaw::new(format!(
            "`{name_shown}` is nested more than {MAX_DEPTH} levels deep"
        ))),
        Data::Text(text) => Some(Json::String(text.clone())),
        Data::Integer(number) => Some(Json::Number((*number).into())),
        Data::Bool(answer) => Some(Json::Bool(*answer)),
        Data::Float(number) => match Number::from_f64(*number) {
            Some(number) => Some(Json::Number(number)),
            None => refuse(
                Flaw::new(format!("`{name_shown}` is not a finite number"))
                    .hint("write it as a string"),
            ),
        },
        Data::List(items) => {
            let items = items
                .iter()
                .filter_map(|item| as_json(name, item, depth + 1, flaws));
            Some(Json::Array(items.collect()))
        }
        Data::Map(entries) => Some(Json::Object(as_map(entries, depth + 1, flaws))),
        Data::Null => {
            refuse(Flaw::new(format!("`{name_shown}` has no value")).hint("leave it out"))
        }
        Data::Other(what) => refuse(
            Flaw::new(format!("`{name_shown}` must not be {what}")).hint("write it as a string"),
        ),
    }
}
