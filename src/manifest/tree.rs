//! One form for whatever a text holds: a tree of values, each with its place in the text.
//!
//! TOML, YAML and Compose files all become this tree, so that one reader ([`super::table`]) can
//! walk them all and every problem can point at its bytes.

use super::{
    report::{MAX_FOUND, Report},
    span::Flaw,
};
use std::{collections::BTreeMap, ops::Range};
use toml::de::{DeTable, DeValue};

/// The deepest nesting that is read. Everything that recurses over a tree relies on it.
pub(crate) const MAX_DEPTH: usize = 64;

/// What [`Data::Other`] calls a whole number beyond 64 bits.
pub(crate) const TOO_LARGE: &str = "a number that does not fit 64 bits";

/// What [`Data::Other`] calls what is nested deeper than [`MAX_DEPTH`]; that is on record.
const TOO_DEEP: &str = "a value that is nested too deeply";

/// A value and its bytes in the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    /// Where it stands. For a table of several lines: its header or the key that it belongs to.
    pub span: Range<usize>,
    /// What it is.
    pub data: Data,
}

/// What a [`Value`] is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Nothing (YAML only).
    Null,
    /// Something that no key takes, by its name with its article, as in `a datetime`.
    Other(&'static str),
    /// Several values.
    List(Vec<Value>),
    /// Several values, each with a name; no name twice.
    Map(Vec<Entry>),
}

/// A value with its name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The key.
    pub name: String,
    /// Where the key stands.
    pub name_span: Range<usize>,
    /// What it is given.
    pub value: Value,
}

impl Value {
    /// The text, where it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values, where it is a list.
    pub(crate) fn as_list(&self) -> Option<&[Value]> {
        match &self.data {
            Data::List(list) => Some(list),
            _ => None,
        }
    }

    /// The entries, where it is a map.
    pub(crate) fn as_map(&self) -> Option<&[Entry]> {
        match &self.data {
            Data::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of `key`, where it is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        entry(self.as_map()?, key).map(|entry| &entry.value)
    }

    /// What it is, with its article, as in `a string`.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Text(_) => "a string",
            Data::Integer(_) => "an integer",
            Data::Float(_) => "a float",
            Data::Bool(_) => "a boolean",
            Data::Null => "nothing",
            Data::Other(what) => what,
            Data::List(_) => "an array",
            Data::Map(_) => "a table",
        }
    }

    /// Bytes of its texts and names.
    pub(crate) fn bytes(&self) -> usize {
        // The depth is bounded, hence the recursion.
        match &self.data {
            Data::Text(text) => text.len(),
            Data::List(list) => list.iter().map(Value::bytes).sum(),
            Data::Map(entries) => {
                let bytes = |entry: &Entry| entry.name.len() + entry.value.bytes();
                entries.iter().map(bytes).sum()
            }
            _ => 0,
        }
    }

    /// How many values it is made of, itself included.
    pub(crate) fn size(&self) -> usize {
        // The depth is bounded, hence the recursion.
        1 + match &self.data {
            Data::List(list) => list.iter().map(Value::size).sum(),
            Data::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
            _ => 0,
        }
    }
}

/// The entries by their names: for who looks for many.
pub(crate) fn by_name(entries: &[Entry]) -> BTreeMap<&str, &Entry> {
    let named = entries.iter().map(|entry| (entry.name.as_str(), entry));
    named.collect()
}

/// The entry called `key`.
pub(crate) fn entry<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.name == key)
}

/// Parses `text` as TOML. Broken syntax is put on record, and what can be read is returned.
pub(crate) fn read_toml(text: &str, report: &Report) -> Value {
    let (document, broken) = DeTable::parse_recoverable(text);
    let end = text.len();
    for error in broken.iter().take(MAX_FOUND) {
        let span = error.span().unwrap_or(end..end);
        report.add_broken(span, Flaw::new(error.message()));
    }
    Value {
        span: 0..0,
        data: table(document.get_ref(), 0, report),
    }
}

/// The entries in the order of the text.
fn table(entries: &DeTable<'_>, depth: usize, report: &Report) -> Data {
    let mut map: Vec<Entry> = entries
        .iter()
        .map(|(name, value)| Entry {
            name: name.get_ref().to_string(),
            name_span: name.span(),
            value: Value {
                span: value.span(),
                data: data(value.get_ref(), value.span(), depth + 1, report),
            },
        })
        .collect();
    map.sort_by_key(|entry| entry.name_span.start);
    Data::Map(map)
}

fn data(value: &DeValue<'_>, span: Range<usize>, depth: usize, report: &Report) -> Data {
    if depth > MAX_DEPTH {
        report.add(span, too_deep());
        return Data::Other(TOO_DEEP);
    }
    match value {
        DeValue::String(text) => Data::Text(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Data::Other(TOO_LARGE), Data::Integer),
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .map_or(Data::Other("a number of another kind"), Data::Float),
        DeValue::Boolean(answer) => Data::Bool(*answer),
        DeValue::Datetime(_) => Data::Other("a datetime"),
        DeValue::Array(list) => Data::List(
            list.iter()
                .map(|item| Value {
                    span: item.span(),
                    data: data(item.get_ref(), item.span(), depth + 1, report),
                })
                .collect(),
        ),
        DeValue::Table(entries) => table(entries, depth, report),
    }
}

/// What is said of nesting beyond [`MAX_DEPTH`].
pub(crate) fn too_deep() -> Flaw {
    Flaw::new(format!(
        "the text is nested more than {MAX_DEPTH} levels deep"
    ))
    .hint("no manifest needs that")
}

#[cfg(test)]
mod tests {
    use super::super::{report::walk_tree, span::Source};
    use super::*;

    /// The tree of `text`, or what is wrong with it.
    fn tree(text: &str) -> Result<Value, String> {
        walk_tree(
            &Source::new("t.toml", text),
            |text, report| Some(read_toml(text, report)),
            |root, _| root.clone(),
        )
        .map(|walked| walked.value)
        .map_err(|problems| problems.to_string())
    }

    #[test]
    fn every_kind_is_read_with_its_place() {
        let text = "b = 1\na = { x = 'ü', y = [1.5, true] }\nd = 2020-01-01\n";
        let root = tree(text).unwrap();
        let names: Vec<&str> = root
            .as_map()
            .unwrap()
            .iter()
            .map(|e| e.name.as_str())
            .collect();
        assert_eq!(names, ["b", "a", "d"], "the order of the text");
        assert_eq!(root.get("b").unwrap().data, Data::Integer(1));
        let x = root.get("a").unwrap().get("x").unwrap();
        assert_eq!(x.as_text(), Some("ü"));
        assert_eq!(&text[x.span.clone()], "'ü'");
        let y = root.get("a").unwrap().get("y").unwrap();
        assert_eq!(y.as_list().unwrap()[1].data, Data::Bool(true));
        assert_eq!(root.get("d").unwrap().kind(), "a datetime");
        assert_eq!(root.size(), 8);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(tree(&nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 100_000] {
            let wrong = tree(&nested(depth)).unwrap_err();
            assert!(wrong.starts_with("error: "), "{wrong}");
            assert!(wrong.contains("t.toml:1:"), "{wrong}");
        }
        let dotted = format!("[{}a]\n{}a = 1", "a.".repeat(60), "b.".repeat(60));
        assert!(tree(&dotted).unwrap_err().contains("64 levels"));
    }
}
