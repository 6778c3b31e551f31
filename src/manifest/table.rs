//! Walks one TOML table by hand: typed getters that say what is wrong, where, and go on.
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
};
use std::{collections::BTreeMap, ops::Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The most items of one array or inline table.
pub(crate) const MAX_ITEMS: usize = 512;

/// A value with its place.
type Value<'a> = Spanned<DeValue<'a>>;

/// One table of a text, or the absence of one: then every getter returns `None`.
pub(crate) struct Table<'a> {
    report: &'a Report,
    entries: Option<&'a DeTable<'a>>,
    /// Its header, its braces, or for an absent one that of its parent.
    span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(crate) fn root(report: &'a Report, entries: &'a DeTable<'a>) -> Table<'a> {
        Table {
            report,
            entries: Some(entries),
            span: 0..0,
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

    fn entry(&self, key: &str) -> Option<(Range<usize>, &'a Value<'a>)> {
        let entries = self.entries?;
        let (name, value) = entries.iter().find(|(name, _)| &**name.get_ref() == key)?;
        Some((name.span(), value))
    }

    /// The value of `key`, which is one that exists.
    fn value(&mut self, key: &'static str) -> Option<&'a Value<'a>> {
        self.known.push(key);
        self.entry(key).map(|(_, value)| value)
    }

    /// Says that the value of `key` is of another type.
    fn mistyped(&self, key: &str, value: &Value<'_>, wanted: &str) {
        self.report.add(value.span(), mistype(key, value, wanted));
    }

    /// A text.
    pub(crate) fn string(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
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
        let DeValue::Integer(integer) = value.get_ref() else {
            self.mistyped(key, value, "a whole number");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            self.refuse(key, Flaw::new(format!("`{key}` does not fit 64 bits")));
        }
        number
    }

    /// A number, whole or not.
    pub(crate) fn number(&mut self, key: &'static str) -> Option<f64> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .map(|whole| whole as f64),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.mistyped(key, value, "a number");
        }
        number
    }

    /// `true` or `false`.
    pub(crate) fn bool(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let answer = value.get_ref().as_bool();
        if answer.is_none() {
            self.mistyped(key, value, "true or false");
        }
        answer
    }

    /// A duration such as `"10s"`, in milliseconds.
    pub(crate) fn duration_ms(&mut self, key: &'static str) -> Option<u64> {
        if let Some((_, value)) = self.entry(key)
            && let DeValue::Integer(integer) = value.get_ref()
        {
            self.known.push(key);
            let flaw = Flaw::new(format!("`{key}` needs a unit"))
                .hint(format!("write \"{}s\" for seconds", integer.as_str()));
            self.refuse(key, flaw);
            return None;
        }
        self.parsed(key, parse_duration_ms)
    }

    /// A size such as `"64MiB"`, or a plain number of bytes.
    pub(crate) fn bytes(&mut self, key: &'static str) -> Option<u64> {
        if self
            .entry(key)
            .is_some_and(|(_, value)| value.get_ref().is_integer())
        {
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
        let Some(array) = value.get_ref().as_array() else {
            let flaw = mistype(key, value, "an array of strings");
            let flaw = match value.get_ref().as_str() {
                Some(text) => flaw.hint(format!("write {}", shown_array(text))),
                None => flaw,
            };
            self.report.add(value.span(), flaw);
            return None;
        };
        if array.len() > MAX_ITEMS {
            let flaw = Flaw::new(format!("`{key}` has more than {MAX_ITEMS} items"));
            self.report.add(value.span(), flaw);
            return None;
        }
        let mut list = Vec::new();
        for item in array {
            let Some(text) = item.get_ref().as_str() else {
                let found = with_article(item.get_ref().type_str());
                let flaw = Flaw::new(format!(
                    "each item of `{key}` must be a string, not {found}"
                ))
                .hint("put it in quotes");
                self.report.add(item.span(), flaw);
                continue;
            };
            match parse(text) {
                Ok(item) => list.push(item),
                Err(flaw) => self.report.add(item.span(), flaw),
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
        let Some(entries) = value.get_ref().as_table() else {
            self.mistyped(key, value, "a table of strings");
            return map;
        };
        if entries.len() > MAX_ITEMS {
            let flaw = Flaw::new(format!("`{key}` has more than {MAX_ITEMS} entries"));
            self.report.add(value.span(), flaw);
            return map;
        }
        for (name, value) in entries {
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().to_owned(),
                DeValue::Boolean(answer) => answer.to_string(),
                other => {
                    let found = with_article(other.type_str());
                    let shown = shown(name.get_ref());
                    let flaw = Flaw::new(format!("`{shown}` must be a string, not {found}"))
                        .hint("put it in quotes");
                    self.report.add(value.span(), flaw);
                    continue;
                }
            };
            match check(name.get_ref(), &text) {
                Ok(()) => {
                    map.insert(name.get_ref().to_string(), text);
                }
                Err(flaw) => self.report.add(name.span(), flaw),
            }
        }
        map
    }

    /// A table below this one; an absent one when it is not written or not a table.
    pub(crate) fn table(&mut self, key: &'static str) -> Table<'a> {
        let value = self.value(key);
        let entries = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, entries) {
            self.mistyped(key, value, "a table");
        }
        let span = match (value, entries) {
            (Some(value), Some(_)) => value.span(),
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
        for (name, value) in self.entries.into_iter().flatten() {
            match value.get_ref().as_table() {
                Some(entries) => tables.push((
                    &**name.get_ref(),
                    name.span(),
                    Table {
                        report: self.report,
                        entries: Some(entries),
                        span: value.span(),
                        known: Vec::new(),
                    },
                )),
                None => self.mistyped(&shown(name.get_ref()), value, "a table"),
            }
        }
        tables.sort_by_key(|(_, span, _)| span.start);
        tables
    }

    /// Calls `visit` with every text below this table and its place.
    pub(crate) fn each_string(&self, visit: &mut dyn FnMut(&str, Range<usize>)) {
        // The parser bounds the depth, hence the recursion.
        fn descend(value: &Value<'_>, visit: &mut dyn FnMut(&str, Range<usize>)) {
            match value.get_ref() {
                DeValue::String(text) => visit(text, value.span()),
                DeValue::Array(array) => array.iter().for_each(|item| descend(item, visit)),
                DeValue::Table(table) => table.iter().for_each(|(_, item)| descend(item, visit)),
                _ => {}
            }
        }
        for (_, value) in self.entries.into_iter().flatten() {
            descend(value, visit);
        }
    }

    /// Refuses the value of `key`; where the key is not written, the table.
    pub(crate) fn refuse(&self, key: &str, flaw: Flaw) {
        let span = self
            .entry(key)
            .map_or(self.span(), |(_, value)| value.span());
        self.report.add(span, flaw);
    }

    /// Refuses `key` itself, where it is written, and counts it as one that exists.
    pub(crate) fn refuse_key(&mut self, key: &'static str, flaw: Flaw) {
        self.known.push(key);
        if let Some((span, _)) = self.entry(key) {
            self.report.add(span, flaw);
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
        for (name, _) in self.entries.into_iter().flatten() {
            if self.report.is_full() {
                return;
            }
            let text: &str = name.get_ref();
            if self.known.contains(&text) {
                continue;
            }
            let flaw = Flaw::new(format!("unknown key `{}`", shown(text)));
            self.report.add(
                name.span(),
                match nearest(text, &self.known) {
                    Some(meant) => flaw.hint(format!("did you mean `{meant}`?")),
                    None => flaw.hint(format!("the keys here are {}", listed(&self.known))),
                },
            );
        }
    }
}

/// The value of `key` is of another type than `wanted`.
fn mistype(key: &str, value: &Value<'_>, wanted: &str) -> Flaw {
    let found = with_article(value.get_ref().type_str());
    Flaw::new(format!("`{key}` must be {wanted}, not {found}"))
}

/// The words of `text` as an array of strings.
fn shown_array(text: &str) -> String {
    let text: String = text.chars().take(80).collect();
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| format!("\"{}\"", shown(word)))
        .collect();
    format!("[{}]", words.join(", "))
}

/// `a string`, `an integer`, ….
fn with_article(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {type_name}")
}

/// Keys as in "`a`, `b`, `c`", ordered, each once.
fn listed(keys: &[&str]) -> String {
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
