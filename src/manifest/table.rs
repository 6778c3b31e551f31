//! Walks one table by hand: typed getters that say what is wrong, where, and go on.
//!
//! Each getter asks for one key and returns `None` when it is not there or not usable; in the
//! latter case the problem is on record. [`Table::finish`] then refuses every key that nobody
//! asked for, so the getters are also the list of keys that exist.

use super::{
    nearest::nearest,
    quantity::{parse_bytes, parse_duration_ms},
    report::Report,
    shown,
    span::Flaw,
    tree::{Data, Entry, TOO_LARGE, Value, entry},
};
use std::{collections::BTreeMap, ops::Range};

/// The most items of one array or inline table.
pub(crate) const MAX_ITEMS: usize = 512;

/// One table of a text, or the absence of one: then every getter returns `None`.
pub(crate) struct Table<'a> {
    pub(super) report: &'a Report,
    entries: Option<&'a [Entry]>,
    /// Its header, its braces, or for an absent one that of its parent.
    span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The whole document; an absent one where `root` is no map.
    pub(crate) fn root(report: &'a Report, root: &'a Value) -> Table<'a> {
        Table {
            report,
            entries: root.as_map(),
            span: 0..0,
            known: Vec::new(),
        }
    }

    /// `value` as a table below this one, for getters of values that are not always one; an
    /// absent one where it is no map.
    pub(super) fn below(&self, value: &'a Value) -> Table<'a> {
        Table {
            report: self.report,
            entries: value.as_map(),
            span: value.span.clone(),
            known: Vec::new(),
        }
    }

    /// The table is written.
    pub(crate) fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    /// Where the table begins: its header or its braces.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// `key` is written, whatever its value. Does not count as asking for it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// The entries, in the order of the text; none of an absent table.
    pub(crate) fn all(&self) -> &'a [Entry] {
        self.entries.unwrap_or_default()
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        entry(self.all(), key)
    }

    /// The value of `key`, which is one that exists.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.entry(key).map(|entry| &entry.value)
    }

    /// Says that the value of `key` is of another type.
    pub(super) fn mistyped(&self, key: &str, value: &Value, wanted: &str) {
        self.report
            .add(value.span.clone(), mistype(key, value, wanted));
    }

    /// A text.
    pub(crate) fn string(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_text();
        if text.is_none() {
            self.mistyped(key, value, "a string");
        }
        text
    }

    /// A text that `parse` understands; its flaw is reported at the value.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let text = self.string(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(flaw) => {
                self.refuse(key, flaw);
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        self.parsed(key, |text| {
            if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
                return Ok(*value);
            }
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let meant = nearest(text, &words);
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let flaw = Flaw::new(format!(
                "`{key}` must be {}, not \"{}\"",
                words.join(" or "),
                shown(text)
            ));
            Err(match meant {
                Some(word) => flaw.hint(format!("did you mean \"{word}\"?")),
                None => flaw,
            })
        })
    }

    /// A whole number.
    pub(crate) fn integer(&mut self, key: &'static str) -> Option<i64> {
        let value = self.value(key)?;
        match &value.data {
            Data::Integer(number) => return Some(*number),
            Data::Other(TOO_LARGE) => {
                self.refuse(key, Flaw::new(format!("`{key}` does not fit 64 bits")));
            }
            _ => self.mistyped(key, value, "a whole number"),
        }
        None
    }

    /// A number, whole or not.
    pub(crate) fn number(&mut self, key: &'static str) -> Option<f64> {
        let value = self.value(key)?;
        match &value.data {
            Data::Integer(whole) => Some(*whole as f64),
            Data::Float(number) => Some(*number),
            _ => {
                self.mistyped(key, value, "a number");
                None
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn bool(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        if let Data::Bool(answer) = &value.data {
            return Some(*answer);
        }
        self.mistyped(key, value, "true or false");
        None
    }

    /// A duration such as `"10s"`, in milliseconds.
    pub(crate) fn duration_ms(&mut self, key: &'static str) -> Option<u64> {
        if let Some(Entry { value, .. }) = self.entry(key)
            && let Data::Integer(number) = &value.data
        {
            self.known.push(key);
            let flaw = Flaw::new(format!("`{key}` needs a unit"))
                .hint(format!("write \"{number}s\" for seconds"));
            self.refuse(key, flaw);
            return None;
        }
        self.parsed(key, parse_duration_ms)
    }

    /// A size such as `"64MiB"`, or a plain number of bytes.
    pub(crate) fn bytes(&mut self, key: &'static str) -> Option<u64> {
        let is_number =
            |entry: &Entry| matches!(entry.value.data, Data::Integer(_) | Data::Other(TOO_LARGE));
        if self.entry(key).is_some_and(is_number) {
            let number = self.integer(key)?;
            let bytes = u64::try_from(number).ok();
            if bytes.is_none() {
                self.refuse(key, Flaw::new(format!("`{key}` must not be negative")));
            }
            return bytes;
        }
        self.parsed(key, parse_bytes)
    }

    /// An array of texts, each understood by `parse`; the usable ones. Flaws are reported at
    /// their item. At most [`MAX_ITEMS`].
    pub(crate) fn parsed_list<T>(
        &mut self,
        key: &'static str,
        mut parse: impl FnMut(&str) -> Result<T, Flaw>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let Some(array) = value.as_list() else {
            let flaw = mistype(key, value, "an array of strings");
            let flaw = match value.as_text() {
                Some(text) => flaw.hint(format!("write {}", shown_array(text))),
                None => flaw,
            };
            self.report.add(value.span.clone(), flaw);
            return None;
        };
        if array.len() > MAX_ITEMS {
            let flaw = Flaw::new(format!("`{key}` has more than {MAX_ITEMS} items"));
            self.report.add(value.span.clone(), flaw);
            return None;
        }
        let mut list = Vec::new();
        for item in array {
            let Some(text) = item.as_text() else {
                let found = item.kind();
                let flaw = Flaw::new(format!(
                    "each item of `{key}` must be a string, not {found}"
                ))
                .hint("put it in quotes");
                self.report.add(item.span.clone(), flaw);
                continue;
            };
            match parse(text) {
                Ok(item) => list.push(item),
                Err(flaw) => self.report.add(item.span.clone(), flaw),
            }
        }
        Some(list)
    }

    /// A table whose values are texts; whole numbers and booleans are turned into text. `check`
    /// says what is wrong with a key and its value. At most [`MAX_ITEMS`].
    pub(crate) fn string_map(
        &mut self,
        key: &'static str,
        check: impl Fn(&str, &str) -> Result<(), Flaw>,
    ) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let Some(value) = self.value(key) else {
            return map;
        };
        let Some(entries) = value.as_map() else {
            self.mistyped(key, value, "a table of strings");
            return map;
        };
        if entries.len() > MAX_ITEMS {
            let flaw = Flaw::new(format!("`{key}` has more than {MAX_ITEMS} entries"));
            self.report.add(value.span.clone(), flaw);
            return map;
        }
        for Entry {
            name,
            name_span,
            value,
        } in entries
        {
            let text = match &value.data {
                Data::Text(text) => text.clone(),
                Data::Integer(number) if !self.has_prefix(value) => number.to_string(),
                Data::Bool(answer) => answer.to_string(),
                _ => {
                    let found = value.kind();
                    let flaw =
                        Flaw::new(format!("`{}` must be a string, not {found}", shown(name)))
                            .hint("put it in quotes");
                    self.report.add(value.span.clone(), flaw);
                    continue;
                }
            };
            match check(name, &text) {
                Ok(()) => {
                    map.insert(name.clone(), text);
                }
                Err(flaw) => self.report.add(name_span.clone(), flaw),
            }
        }
        map
    }

    /// A number is written as `0x10`, so that nobody knows which text is meant.
    fn has_prefix(&self, value: &Value) -> bool {
        let written = self.report.written(&value.span);
        ["0x", "0o", "0b"].iter().any(|p| written.starts_with(p))
    }

    /// A table below this one; an absent one when it is not written or not a table.
    pub(crate) fn table(&mut self, key: &'static str) -> Table<'a> {
        let value = self.value(key);
        let entries = value.and_then(Value::as_map);
        if let (Some(value), None) = (value, entries) {
            self.mistyped(key, value, "a table");
        }
        let span = match (value, entries) {
            (Some(value), Some(_)) => value.span.clone(),
            _ => self.span.clone(),
        };
        Table {
            report: self.report,
            entries,
            span,
            known: Vec::new(),
        }
    }

    /// The tables in this one, whatever their keys, in the order of the text, each with its key
    /// and the place of that. Other values are refused. Nothing else needs to be asked for then.
    pub(crate) fn tables(&self) -> Vec<(&'a str, Range<usize>, Table<'a>)> {
        let mut tables = Vec::new();
        for entry in self.all() {
            match &entry.value.data {
                Data::Map(_) => tables.push((
                    entry.name.as_str(),
                    entry.name_span.clone(),
                    self.below(&entry.value),
                )),
                _ => self.mistyped(&shown(&entry.name), &entry.value, "a table"),
            }
        }
        tables.sort_by_key(|(_, span, _)| span.start);
        tables
    }

    /// Refuses the value of `key`; where the key is not written, the table.
    pub(crate) fn refuse(&self, key: &str, flaw: Flaw) {
        let span = self
            .entry(key)
            .map_or(self.span(), |entry| entry.value.span.clone());
        self.report.add(span, flaw);
    }

    /// Refuses `key` itself, where it is written, and counts it as one that exists.
    pub(crate) fn refuse_key(&mut self, key: &'static str, flaw: Flaw) {
        self.known.push(key);
        if let Some(entry) = self.entry(key) {
            self.report.add(entry.name_span.clone(), flaw);
        }
    }

    /// Refuses these bytes of the text.
    pub(crate) fn refuse_at(&self, span: Range<usize>, flaw: Flaw) {
        self.report.add(span, flaw);
    }

    /// Says that something is missing from this table.
    pub(crate) fn missing(&self, flaw: Flaw) {
        self.report.add_missing(self.span(), flaw);
    }

    /// Refuses something that does not stand in the text but in what `origin` names.
    pub(crate) fn refuse_outside(&self, origin: &'static str, flaw: Flaw) {
        self.report.add_outside(origin, flaw);
    }

    /// Refuses every key that no getter asked for.
    pub(crate) fn finish(self) {
        for entry in self.all() {
            if self.report.is_full() {
                return;
            }
            let text = entry.name.as_str();
            if self.known.contains(&text) {
                continue;
            }
            let flaw = Flaw::new(format!("unknown key `{}`", shown(text)));
            self.report.add(
                entry.name_span.clone(),
                match nearest(text, &self.known) {
                    Some(meant) => flaw.hint(format!("did you mean `{meant}`?")),
                    None => flaw.hint(format!("the keys here are {}", listed(&self.known))),
                },
            );
        }
    }
}

/// The value of `key` is of another type than `wanted`.
fn mistype(key: &str, value: &Value, wanted: &str) -> Flaw {
    let found = value.kind();
    Flaw::new(format!("`{key}` must be {wanted}, not {found}"))
}

/// The words of `text` as an array of strings.
pub(super) fn shown_array(text: &str) -> String {
    let text: String = text.chars().take(80).collect();
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| format!("\"{}\"", shown(word)))
        .collect();
    format!("[{}]", words.join(", "))
}

/// Keys as in "`a`, `b`, `c`", ordered, each once.
pub(crate) fn listed(keys: &[&str]) -> String {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::{report::walk, span::Source};

    /// The messages of walking `text` with every getter.
    fn messages(text: &str) -> Vec<String> {
        let source = Source::new("t", text);
        let walked = walk(&source, |mut root| {
            root.string("name");
            root.integer("count");
            root.number("share");
            root.bool("on");
            root.duration_ms("delay");
            root.bytes("size");
            root.parsed_list("list", |text| Ok(text.to_owned()));
            root.string_map("map", |_, _| Ok(()));
            root.table("below").finish();
            root.finish();
        });
        let problems = walked.err().map(|problems| problems.0).unwrap_or_default();
        problems
            .iter()
            .map(|p| format!("{}:{} {} {:?}", p.line, p.column, p.message, p.hint))
            .collect()
    }

    #[test]
    fn what_is_right_is_taken() {
        let text = "name = 'x'\ncount = 0x10\nshare = 1\non = true\ndelay = '1m'\nsize = 4096\n\
                    list = ['a']\nmap = { a = 1, b = true, c = 'x' }\n[below]\n";
        assert_eq!(messages(text), Vec::<String>::new());
        assert_eq!(messages(""), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_reported_in_the_order_of_the_text() {
        let text = "below = 1\nnam = 'x'\ncount = 'x'\nshare = 'x'\non = 1\ndelay = 10\nsize = -1\n\
                    list = ['a', 1]\nmap = { a = 1.5 }\n";
        let found = messages(text);
        assert_eq!(found.len(), 9, "{found:#?}");
        assert_eq!(found[0], "1:9 `below` must be a table, not an integer None");
        assert_eq!(
            found[1],
            "2:1 unknown key `nam` Some(\"did you mean `name`?\")"
        );
        assert_eq!(
            found[5],
            "6:9 `delay` needs a unit Some(\"write \\\"10s\\\" for seconds\")"
        );
        assert!(
            found[7].starts_with("8:14 each item of `list` must be a string"),
            "{found:#?}"
        );
        assert!(
            found[8].starts_with("9:13 `a` must be a string, not a float"),
            "{found:#?}"
        );
    }

    #[test]
    fn broken_syntax_hides_nothing_that_stands_beside_it() {
        let found = messages("name = \ncount = 'x'\ncount = 2\n");
        assert!(found[0].starts_with("1:"), "{found:#?}");
        assert!(
            found.iter().any(|m| m.starts_with("2:9 `count` must be")),
            "{found:#?}"
        );
        assert!(
            found.iter().any(|m| m.starts_with("3:1 duplicate key")),
            "{found:#?}"
        );
    }

    #[test]
    fn at_most_a_hundred_are_reported() {
        let text: String = (0..5_000).map(|n| format!("k{n} = 1\n")).collect();
        assert_eq!(messages(&text).len(), 100);
    }
}
