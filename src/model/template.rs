//! `{{ … }}` in a workload: values that differ from node to node.
//!
//! | written | becomes | known to |
//! |---|---|---|
//! | `{{ node.name }}`, `{{ node.arch }}`, `{{ node.os }}`, `{{ node.hostname }}` | facts of the node | controller |
//! | `{{ label.zone }}` | a label of the node | controller |
//! | `{{ var.channel }}` | an entry of `[vars]` in the same file | whoever reads the manifest |
//! | `{{ env.TOKEN }}` | a variable in the environment of the node's agent | agent |
//! | `{{ "text" }}` | that text, as in `{{ "{{" }}` | everybody |
//!
//! Each of the three replaces what it knows and leaves the rest to the next. A name that nobody
//! can know is refused where the manifest is read; a label that a node does not have keeps the
//! workload off that node; a variable that the agent does not have is why it cannot start.

use super::{FileSpec, Workload};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// This text.
    Known(String),
    /// Somebody else will know: it is left as it is.
    Later,
    /// It can be nothing.
    Unknown,
}

/// A name in a template, as in `label.zone`.
pub type Names<'a> = dyn Fn(&str) -> Lookup + 'a;

/// Replaces what is known in one text.
///
/// # Errors
/// Names that are unknown, or what is no name at all, each once.
pub fn fill(text: &str, names: &Names<'_>) -> Result<String, BTreeSet<String>> {
    let mut filled = String::with_capacity(text.len());
    let mut unknown = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        // A quoted text may hold the end of a template.
        let (inner, length) = match quoted(after) {
            Some((text, length)) => (Ok(text), length),
            None => match after.find("}}") {
                Some(end) => (Err(after[..end].trim()), end + 2),
                None => {
                    unknown.insert("{{ without }}".to_owned());
                    rest = "";
                    break;
                }
            },
        };
        let whole = &rest[at..at + 2 + length];
        match inner {
            // Left as it is until the last reader, or the one after would take it for a template.
            Ok(_) if names("\"") == Lookup::Later => filled.push_str(whole),
            Ok(text) => filled.push_str(text),
            Err(name) => match names(name) {
                Lookup::Known(value) => filled.push_str(&value),
                Lookup::Later => filled.push_str(whole),
                Lookup::Unknown => {
                    unknown.insert(name.chars().take(80).collect());
                }
            },
        }
        rest = &rest[at + 2 + length..];
    }
    filled.push_str(rest);
    if unknown.is_empty() {
        Ok(filled)
    } else {
        Err(unknown)
    }
}

/// `"text" }}` at the beginning (after blanks): the text, and the bytes up to behind the braces.
fn quoted(after: &str) -> Option<(&str, usize)> {
    let blanks = after.len() - after.trim_start().len();
    let text = after[blanks..].strip_prefix('"')?;
    let end = text.find('"')?;
    let tail = &text[end + 1..];
    let close = tail
        .trim_start()
        .starts_with("}}")
        .then(|| tail.find("}}"))??;
    Some((&text[..end], blanks + 1 + end + 1 + close + 2))
}

impl Workload {
    /// It has `{{` somewhere.
    pub fn has_templates(&self) -> bool {
        let mut found = false;
        let mut value = serde_json::to_value(self).unwrap_or_default();
        each_text(&mut value, &mut |text| found |= text.contains("{{"));
        found
    }

    /// The same, in which every `{{` is meant as it stands: written as a template that gives it.
    pub fn literal(&self) -> Workload {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        each_text(&mut value, &mut |text| {
            if text.contains("{{") {
                *text = text.replace("{{", "{{ \"{{\" }}");
            }
        });
        serde_json::from_value(value).unwrap_or_else(|_| self.clone())
    }

    /// Every name that it has in a template, and `"` for a quoted text.
    pub fn template_names(&self) -> BTreeSet<String> {
        let names = std::cell::RefCell::new(BTreeSet::new());
        let note = |name: &str| {
            names.borrow_mut().insert(name.to_owned());
            Lookup::Later
        };
        // Everything is known to somebody here; what is no template at all was refused before.
        if self.has_templates() {
            let _ = self.fill(&note);
        }
        names.into_inner()
    }

    /// The same with what `names` knows filled in. Names of workloads and verbatim files stay.
    ///
    /// # Errors
    /// Unknown names.
    pub fn fill(&self, names: &Names<'_>) -> Result<Workload, BTreeSet<String>> {
        let verbatim: BTreeMap<String, FileSpec> = self
            .files
            .iter()
            .filter(|f| f.verbatim)
            .map(|f| (f.path.clone(), f.clone()))
            .collect();
        let mut bare = self.clone();
        bare.files.retain(|f| !f.verbatim);
        let mut value = serde_json::to_value(&bare).unwrap_or_default();
        let mut unknown = BTreeSet::new();
        each_text(&mut value, &mut |text| {
            if text.contains("{{") {
                match fill(text, names) {
                    Ok(filled) => *text = filled,
                    Err(names) => unknown.extend(names),
                }
            }
        });
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let mut filled: Workload = serde_json::from_value(value)
            .map_err(|error| BTreeSet::from([format!("what comes of it is wrong: {error}")]))?;
        filled.files.extend(verbatim.into_values());
        filled
            .files
            .sort_by_key(|f| self.files.iter().position(|o| o.path == f.path));
        Ok(filled)
    }
}

/// Every text that is a value; keys are no templates.
fn each_text(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, visit)),
        Value::Object(map) => map.values_mut().for_each(|item| each_text(item, visit)),
        _ => {}
    }
}

/// Whether a name could be known to anybody: what a manifest may say.
pub fn is_name(name: &str) -> bool {
    let word = |s: &str| {
        !s.is_empty()
            && s.len() <= 128
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./:".contains(&b))
    };
    match name.split_once('.') {
        Some(("node", fact)) => ["name", "arch", "os", "hostname"].contains(&fact),
        Some(("label" | "var" | "env", key)) => word(key),
        _ => false,
    }
}

/// What the agent knows: its environment. Everything else must have been filled in before.
pub fn of_environment(environment: &dyn Fn(&str) -> Option<String>) -> impl Fn(&str) -> Lookup {
    move |name| match name.strip_prefix("env.") {
        Some(key) => environment(key).map_or(Lookup::Unknown, Lookup::Known),
        None => Lookup::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(name: &str) -> Lookup {
        match name {
            "node.name" => Lookup::Known("pi".into()),
            "label.odd" => Lookup::Known("{{ x }}".into()),
            n if n.starts_with("env.") => Lookup::Later,
            _ => Lookup::Unknown,
        }
    }

    #[test]
    fn known_names_are_filled_in_once() {
        let fine = |text| fill(text, &names).unwrap();
        assert_eq!(fine("a {{node.name}}-{{  node.name }} b"), "a pi-pi b");
        assert_eq!(fine("{{ label.odd }}"), "{{ x }}");
        assert_eq!(fine("{{ env.X }}"), "{{ env.X }}");
        assert_eq!(fine("{{ \"{{ }}\" }}!"), "{{ }}!");
        assert_eq!(fine("no { braces } }}"), "no { braces } }}");
    }

    #[test]
    fn what_is_meant_as_it_stands_comes_out_as_it_was() {
        let run = crate::model::Run::Process {
            command: vec!["{{ x }}{{{{".into()],
            user: None,
            working_dir: None,
        };
        let odd = Workload::new("odd".parse().unwrap(), run);
        let literal = odd.literal();
        assert_ne!(literal, odd);
        let environment = |_: &str| None;
        assert_eq!(literal.fill(&of_environment(&environment)), Ok(odd));
    }

    #[test]
    fn unknown_names_are_told_each_once() {
        let wrong = fill("{{ a.b }}{{ a.b }}{{ label.zone }}", &names).unwrap_err();
        assert_eq!(wrong.into_iter().collect::<Vec<_>>(), ["a.b", "label.zone"]);
        assert!(fill("{{ node.name", &names).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[{}\" a.ß]{0,24}") {
            let _ = fill(&text, &names);
        }
    }
}
