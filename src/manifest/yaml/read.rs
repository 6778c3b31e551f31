//! From the events of the YAML parser to trees with places.
//!
//! Everything is bounded: the depth ([`MAX_DEPTH`]), the number of values ([`MAX_VALUES`]), and how
//! many of them aliases add ([`MAX_COPIED`]), so that a small text cannot become a large tree.
//! Merge keys (`<<`) are worked in here. A key that is written twice is refused, and so are tags
//! beyond those of the core schema.

use super::{
    super::{
        report::Report,
        shown,
        span::Flaw,
        tree::{Data, Entry, MAX_DEPTH, Value, too_deep},
    },
    places::Places,
    scalar::resolve,
};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// The most values in one text.
const MAX_VALUES: usize = 200_000;
/// The most values that anchors, aliases and merge keys may copy.
const MAX_COPIED: usize = 10_000;
/// The most bytes of their texts.
const MAX_COPIED_BYTES: usize = 4 << 20;

/// What ends the reading, and where.
type Broken = (Range<usize>, Flaw);

/// The documents of `text`. `None` where it is no YAML, or too much; why is on record then.
pub(super) fn documents(text: &str, report: &Report) -> Option<Vec<Value>> {
    let reader = Reader {
        text,
        report,
        places: Places::new(text),
        open: Vec::new(),
        anchors: BTreeMap::new(),
        values: 0,
        copied: 0,
        copied_bytes: 0,
        documents: Vec::new(),
    };
    match reader.run() {
        Ok(documents) => Some(documents),
        Err((span, flaw)) => {
            report.add_broken(span, flaw);
            None
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    report: &'t Report,
    places: Places<'t>,
    /// What has begun and not ended, the innermost last.
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    values: usize,
    copied: usize,
    copied_bytes: usize,
    documents: Vec<Value>,
}

/// A list or a map that has begun.
struct Open {
    span: Range<usize>,
    /// It stands in brackets, so its place ends where they end.
    flow: bool,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Value>),
    Map {
        entries: Vec<Entry>,
        /// What `<<` names, in its order.
        merged: Vec<Value>,
        key: Option<Key>,
    },
}

/// A key that waits for its value.
struct Key {
    name: String,
    span: Range<usize>,
    /// It is `<<`.
    merge: bool,
}

/// What an alias stands for.
struct Anchored {
    value: Value,
    size: usize,
    /// Of its texts.
    bytes: usize,
    depth: usize,
}

impl Reader<'_> {
    fn run(mut self) -> Result<Vec<Value>, Broken> {
        for event in Parser::new_from_str(self.text) {
            let (event, span) = event.map_err(|error| self.broken(&error))?;
            let span = self.bytes(&span);
            match event {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(_) => self.anchors.clear(),
                Event::Alias(id) => self.alias(id, span)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, anchor, tag.as_deref(), span)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.check_tag(tag.as_deref(), "seq", &span);
                    self.begin(anchor, span, Inside::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.check_tag(tag.as_deref(), "map", &span);
                    let map = Inside::Map {
                        entries: Vec::new(),
                        merged: Vec::new(),
                        key: None,
                    };
                    self.begin(anchor, span, map)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end(&span)?,
            }
        }
        Ok(self.documents)
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        let start = self.places.byte(span.start.index());
        start..self.places.byte(span.end.index()).max(start)
    }

    fn broken(&self, error: &ScanError) -> Broken {
        let at = self.places.byte(error.marker().index());
        let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[line..].lines().next().unwrap_or_default();
        let indented = line.len() - line.trim_start().len();
        let flaw = Flaw::new(format!("this is not YAML: {}", error.info()));
        let flaw = if line[..indented].contains('\t') {
            flaw.hint("indent with spaces, not with tabs")
        } else {
            flaw
        };
        (at..at, flaw)
    }

    /// Counts one more value.
    fn count(&mut self, span: &Range<usize>) -> Result<(), Broken> {
        self.values += 1;
        if self.values > MAX_VALUES {
            let flaw = Flaw::new(format!("the text has more than {MAX_VALUES} values"));
            return Err((span.clone(), flaw.hint("split it into several files")));
        }
        Ok(())
    }

    /// Counts values that are copied.
    fn copy(&mut self, size: usize, bytes: usize, span: &Range<usize>) -> Result<(), Broken> {
        self.copied += size;
        self.copied_bytes += bytes;
        if self.copied_bytes > MAX_COPIED_BYTES {
            let flaw = Flaw::new("anchors and aliases add more than 4 MiB to the text");
            return Err((span.clone(), flaw.hint("write out what is needed")));
        }
        if self.copied > MAX_COPIED {
            let flaw = Flaw::new(format!(
                "anchors and aliases add more than {MAX_COPIED} values to the text"
            ));
            return Err((span.clone(), flaw.hint("write out what is needed")));
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Range<usize>) -> Result<(), Broken> {
        let Some(anchored) = self.anchors.get(&id) else {
            let flaw = Flaw::new("the alias stands for something that it is a part of itself")
                .hint("an anchor of another document is not known here either");
            return Err((span, flaw));
        };
        if self.open.len() + anchored.depth > MAX_DEPTH {
            return Err((span, too_deep()));
        }
        let (size, bytes) = (anchored.size, anchored.bytes);
        self.copy(size, bytes, &span)?;
        // Not before it is known to be small enough.
        let value = self.anchors.get(&id).map(|anchored| anchored.value.clone());
        value.map_or(Ok(()), |value| self.place(value, false))
    }

    fn remember(&mut self, anchor: usize, value: &Value) -> Result<(), Broken> {
        if anchor == 0 {
            return Ok(());
        }
        let (size, bytes) = (value.size(), value.bytes());
        self.copy(size, bytes, &value.span)?;
        let anchored = Anchored {
            value: value.clone(),
            size,
            bytes,
            depth: depth(value),
        };
        self.anchors.insert(anchor, anchored);
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        mut span: Range<usize>,
    ) -> Result<(), Broken> {
        self.count(&span)?;
        let plain = style == ScalarStyle::Plain;
        // The place begins with the anchor and the tag; what is written is behind them.
        let written = span.end.saturating_sub(text.len())..span.end;
        if plain && self.text.get(written.clone()) == Some(text) {
            span = written;
        }
        let data = match tag {
            None if plain => resolve(text),
            None => Data::Text(text.to_owned()),
            Some(tag) => self.tagged(text, tag, &span),
        };
        let value = Value { span, data };
        self.remember(anchor, &value)?;
        self.place(value, plain && text == "<<")
    }

    /// A scalar with a tag.
    fn tagged(&self, text: &str, tag: &Tag, span: &Range<usize>) -> Data {
        let as_text = Data::Text(text.to_owned());
        if tag.handle.is_empty() && tag.suffix == "!" {
            return as_text;
        }
        let suffix = if tag.is_yaml_core_schema() {
            tag.suffix.as_str()
        } else {
            ""
        };
        let data = resolve(text);
        let fits = match (suffix, &data) {
            ("str", _) => return as_text,
            ("int", Data::Integer(_)) | ("bool", Data::Bool(_)) | ("null", Data::Null) => true,
            ("float", Data::Float(_)) => true,
            ("float", Data::Integer(whole)) => return Data::Float(*whole as f64),
            ("int" | "float" | "bool" | "null", _) => false,
            _ => {
                self.refuse_tag(tag, span);
                return data;
            }
        };
        if !fits {
            let flaw = Flaw::new(format!("`{}` is not what `!!{suffix}` says", shown(text)));
            self.report.add(span.clone(), flaw.hint("remove the tag"));
        }
        data
    }

    fn check_tag(&self, tag: Option<&Tag>, wanted: &str, span: &Range<usize>) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == wanted)
        {
            self.refuse_tag(tag, span);
        }
    }

    fn refuse_tag(&self, tag: &Tag, span: &Range<usize>) {
        let name = if tag.is_yaml_core_schema() {
            format!("!!{}", tag.suffix)
        } else {
            format!("{}{}", tag.handle, tag.suffix)
        };
        let flaw = Flaw::new(format!("the tag `{}` is not supported", shown(&name)));
        let flaw = flaw.hint("remove it, and write the value itself");
        self.report.add(span.clone(), flaw);
    }

    fn begin(&mut self, anchor: usize, span: Range<usize>, inside: Inside) -> Result<(), Broken> {
        self.count(&span)?;
        if self.open.len() >= MAX_DEPTH {
            return Err((span, too_deep()));
        }
        let flow = self.text[..span.end].ends_with(['[', '{']);
        let key = match self.open.last().map(|open| &open.inside) {
            Some(Inside::Map { key, .. }) => key.as_ref(),
            _ => None,
        };
        let span = match key {
            // A block of lines is shown by the line of its key.
            Some(key) if !flow => key.span.clone(),
            _ => span,
        };
        self.open.push(Open {
            span,
            flow,
            anchor,
            inside,
        });
        Ok(())
    }

    /// The innermost list or map ends.
    fn end(&mut self, at: &Range<usize>) -> Result<(), Broken> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let mut span = open.span;
        if open.flow {
            span.end = at.end.max(span.end);
        }
        let data = match open.inside {
            Inside::List(items) => Data::List(items),
            Inside::Map {
                entries, merged, ..
            } => {
                let in_no_map = !matches!(
                    self.open.last().map(|open| &open.inside),
                    Some(Inside::Map { .. })
                );
                if let Some(first) = entries.first()
                    && !open.flow
                    && in_no_map
                {
                    span = first.name_span.clone();
                }
                Data::Map(self.merge(entries, merged)?)
            }
        };
        let value = Value { span, data };
        self.remember(open.anchor, &value)?;
        self.place(value, false)
    }

    /// The entries of a map and those that it takes from others: its own come first and win, then
    /// the earlier of the others.
    fn merge(&mut self, own: Vec<Entry>, merged: Vec<Value>) -> Result<Vec<Entry>, Broken> {
        let mut names = BTreeSet::new();
        let mut entries = Vec::with_capacity(own.len());
        for entry in own {
            if names.insert(entry.name.clone()) {
                entries.push(entry);
                continue;
            }
            let flaw = Flaw::new(format!("`{}` is written twice", shown(&entry.name)));
            self.report
                .add(entry.name_span, flaw.hint("remove one of the two"));
        }
        for value in merged {
            let maps = match value.data {
                Data::List(list) => list,
                _ => vec![value],
            };
            for map in maps {
                let Data::Map(others) = map.data else {
                    let flaw = Flaw::new(format!("`<<` takes a map, not {}", map.kind()));
                    return Err((
                        map.span,
                        flaw.hint("write `<<: *name` of an anchor at a map"),
                    ));
                };
                for entry in others {
                    if names.insert(entry.name.clone()) {
                        entries.push(entry);
                    }
                }
            }
        }
        Ok(entries)
    }

    /// Puts a value where it belongs. `merge`: it is a plain `<<`.
    fn place(&mut self, mut value: Value, merge: bool) -> Result<(), Broken> {
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.documents.push(value),
            Some(Inside::List(items)) => items.push(value),
            Some(Inside::Map {
                entries,
                merged,
                key,
            }) => match key.take() {
                None => *key = Some(as_key(value, merge, self.text)?),
                Some(key) if key.merge => {
                    if !merged.is_empty() {
                        let flaw = Flaw::new("`<<` is written twice")
                            .hint("write one, with a list: `<<: [*a, *b]`");
                        self.report.add(key.span, flaw);
                    }
                    merged.push(value);
                }
                Some(key) => {
                    if value.data == Data::Null {
                        // There may be nothing to point at.
                        value.span = key.span.clone();
                    }
                    entries.push(Entry {
                        name: key.name,
                        name_span: key.span,
                        value,
                    });
                }
            },
        }
        Ok(())
    }
}

/// A key is a text; a number or a truth is taken as it is written.
fn as_key(value: Value, merge: bool, text: &str) -> Result<Key, Broken> {
    let name = match value.data {
        Data::Text(name) => name,
        Data::Integer(_) | Data::Float(_) | Data::Bool(_) | Data::Other(_) => {
            text.get(value.span.clone()).unwrap_or_default().to_owned()
        }
        Data::Null => {
            let flaw = Flaw::new("there is a value without a key");
            return Err((value.span, flaw.hint("write `key: value`")));
        }
        Data::List(_) | Data::Map(_) => {
            let flaw = Flaw::new(format!("a key must be a text, not {}", value.kind()));
            return Err((value.span, flaw.hint("put it in quotes")));
        }
    };
    Ok(Key {
        name,
        span: value.span,
        merge,
    })
}

/// How many lists and maps stand in each other; 0 for a scalar.
fn depth(value: &Value) -> usize {
    // What is in the tree is at most MAX_DEPTH deep, hence the recursion.
    match &value.data {
        Data::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Data::Map(entries) => {
            1 + entries
                .iter()
                .map(|entry| depth(&entry.value))
                .max()
                .unwrap_or(0)
        }
        _ => 0,
    }
}
