//! `[vars]`, and templates in what users write.
//!
//! An entry of `[vars]` is filled in wherever the same file says `{{ var.<name> }}`, before
//! anything else looks at the text; so it may also be a part of an image reference or a port.
//! All other templates differ from node to node. They stay, and it is only checked here that each
//! names something that somebody will know (see [`crate::model::template`]).

use super::{
    nearest::nearest,
    report::Report,
    shown,
    span::Flaw,
    table::MAX_ITEMS,
    tree::{Data, Entry, Value},
};
use crate::model::template::{Lookup, fill, is_name};
use std::{borrow::Cow, cell::Cell, collections::BTreeMap, ops::Range};

/// The most bytes that variables may add to one file: one variable in many places makes a small
/// file large.
const MAX_ADDED: usize = 4 << 20;
/// The most bytes of one variable.
const MAX_VALUE: usize = 32 * 1024;
/// Facts of a node, for hints.
const FACTS: [&str; 4] = ["node.name", "node.arch", "node.os", "node.hostname"];

/// Takes `vars` out of the root table of a file, fills it in everywhere below, and refuses
/// templates with a name that nobody can know. The contents of `verbatim` files stay as they are.
/// `given` wins over what the file says.
pub(crate) fn fill_vars(root: &mut Value, report: &Report, given: &BTreeMap<String, String>) {
    let Data::Map(entries) = &mut root.data else {
        return;
    };
    let mut vars = match entries.iter().position(|entry| entry.name == "vars") {
        Some(at) => read(&entries.remove(at).value, report),
        None => BTreeMap::new(),
    };
    vars.extend(given.iter().map(|(k, v)| (k.clone(), v.clone())));
    let filler = Filler {
        vars,
        report,
        left: Cell::new(MAX_ADDED),
    };
    filler.descend(root, false);
}

/// `text` with something harmless, `1`, in the place of every template: to check what stands
/// around them.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains("{{") {
        return Cow::Borrowed(text);
    }
    match fill(text, &|_| Lookup::Known("1".to_owned())) {
        Ok(filled) => Cow::Owned(filled),
        // It is refused elsewhere, as a template without an end.
        Err(_) => Cow::Borrowed(text),
    }
}

/// The variables of a file. One with a problem is there too, so that its uses are no problems.
fn read(table: &Value, report: &Report) -> BTreeMap<String, String> {
    let mut vars = BTreeMap::new();
    let Data::Map(entries) = &table.data else {
        let flaw = Flaw::new("`vars` must be a table of strings");
        report.add(
            table.span.clone(),
            flaw.hint("write `[vars]` and below it `name = \"value\"`"),
        );
        return vars;
    };
    if entries.len() > MAX_ITEMS {
        let flaw = Flaw::new(format!("`vars` has more than {MAX_ITEMS} entries"));
        report.add(table.span.clone(), flaw);
    }
    for Entry {
        name,
        name_span,
        value,
    } in entries.iter().take(MAX_ITEMS)
    {
        let name_shown = shown(name);
        if !is_name(&format!("var.{name}")) {
            let flaw = Flaw::new(format!("`{name_shown}` is not the name of a variable"))
                .hint("write letters, digits, `-` and `_`");
            report.add(name_span.clone(), flaw);
        }
        let text = match &value.data {
            Data::Text(text) => text.clone(),
            Data::Integer(number) => number.to_string(),
            Data::Bool(answer) => answer.to_string(),
            _ => {
                let flaw = Flaw::new(format!("`{name_shown}` must be a string"));
                report.add(value.span.clone(), flaw.hint("put it in quotes"));
                String::new()
            }
        };
        if text.len() > MAX_VALUE {
            let flaw = Flaw::new(format!("`{name_shown}` must be at most 32 KiB"));
            report.add(value.span.clone(), flaw);
        }
        check(&text, &value.span, report, &|name| {
            if name.starts_with("var.") {
                Some(Flaw::new("a variable cannot be made of another one"))
            } else {
                None
            }
        });
        vars.insert(name.clone(), text);
    }
    vars
}

struct Filler<'a> {
    vars: BTreeMap<String, String>,
    report: &'a Report,
    /// Bytes that variables may still add.
    left: Cell<usize>,
}

impl Filler<'_> {
    /// Fills in every text below `value`; the tree bounds the depth. `files`: it is the value of
    /// a key of that name, the entries of which may be verbatim.
    fn descend(&self, value: &mut Value, files: bool) {
        match &mut value.data {
            Data::Text(text) if text.contains("{{") => self.text(text, &value.span),
            Data::List(items) => {
                for item in items {
                    self.descend(item, false);
                }
            }
            Data::Map(entries) => {
                for entry in entries {
                    if !(files && is_verbatim(&entry.value)) {
                        self.descend(&mut entry.value, entry.name == "files");
                    }
                }
            }
            _ => {}
        }
    }

    fn text(&self, text: &mut String, span: &Range<usize>) {
        if self.report.is_full() {
            return;
        }
        let fine = check(text, span, self.report, &|name| {
            let var = name.strip_prefix("var.")?;
            (!self.vars.contains_key(var)).then(|| self.unknown(name))
        });
        if !fine || !text.contains("var.") {
            return;
        }
        let was_left = self.left.get();
        let filled = fill(text, &|name| {
            let value = name.strip_prefix("var.").and_then(|var| self.vars.get(var));
            let Some(value) = value else {
                return Lookup::Later;
            };
            match self.left.get().checked_sub(value.len()) {
                Some(left) => {
                    self.left.set(left);
                    Lookup::Known(value.clone())
                }
                None => {
                    self.left.set(0);
                    Lookup::Later
                }
            }
        });
        if was_left > 0 && self.left.get() == 0 {
            let flaw = Flaw::new("the variables add more than 4 MiB to this file");
            self.report.add(span.clone(), flaw.hint("use shorter ones"));
        }
        if let Ok(filled) = filled {
            *text = filled;
        }
    }

    fn unknown(&self, name: &str) -> Flaw {
        // To compare with all of them takes time.
        let many = if self.report.shows_more() {
            MAX_ITEMS
        } else {
            0
        };
        let known = self.vars.keys().take(many);
        let known: Vec<String> = known.map(|var| format!("var.{var}")).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let flaw = Flaw::new(format!("`{{{{ {} }}}}` is not known", shown(name)));
        match nearest(name, &known) {
            Some(meant) => flaw.hint(format!("did you mean `{{{{ {meant} }}}}`?")),
            None => flaw.hint("give it a value in the table `[vars]` of this file"),
        }
    }
}

/// The table of a file whose content is to stay as it is.
fn is_verbatim(file: &Value) -> bool {
    let Data::Map(entries) = &file.data else {
        return false;
    };
    entries
        .iter()
        .any(|entry| entry.name == "verbatim" && matches!(entry.value.data, Data::Bool(true)))
}

/// Reports the first template in `text` that can be nothing, or that `other` has a flaw for.
/// `true` where there is none.
fn check(
    text: &str,
    span: &Range<usize>,
    report: &Report,
    other: &dyn Fn(&str) -> Option<Flaw>,
) -> bool {
    let unknown = fill(text, &|name| {
        if name == "\"" || (is_name(name) && other(name).is_none()) {
            Lookup::Later
        } else {
            Lookup::Unknown
        }
    });
    // One text is one place, and only one problem of a place is shown.
    let Some(name) = unknown.err().and_then(|names| names.into_iter().next()) else {
        return true;
    };
    let flaw = if name == "{{ without }}" {
        Flaw::new("`{{` has no `}}` after it").hint(
            "write `{{ \"{{\" }}` for two braces; a file can be taken as it is with \
             `verbatim = true`",
        )
    } else if let Some(flaw) = is_name(&name).then(|| other(&name)).flatten() {
        flaw
    } else {
        let flaw = Flaw::new(format!("`{{{{ {} }}}}` is not known", shown(&name)));
        match nearest(&name, &FACTS) {
            Some(meant) => flaw.hint(format!("did you mean `{{{{ {meant} }}}}`?")),
            None => flaw.hint(
                "there are `node.name`, `node.arch`, `node.os`, `node.hostname`, \
                 `label.<key>`, `env.<name>` and `var.<name>`",
            ),
        }
    };
    report.add(span.clone(), flaw);
    false
}

#[cfg(test)]
mod tests {
    use super::super::{Source, parse};

    /// The command of the only workload of a file with this `[vars]` and this last word.
    fn word(vars: &str, word: &str) -> Result<String, Vec<String>> {
        let text = format!("[vars]\n{vars}\n[workload.a]\ncommand = ['x', '{word}']\n");
        match parse(&Source::new("t", text)) {
            Err(problems) => Err(problems.0.iter().map(ToString::to_string).collect()),
            Ok(read) => match &read[0].workload.run {
                crate::model::Run::Process { command, .. } => Ok(command[1].clone()),
                run => panic!("{run:?}"),
            },
        }
    }

    #[test]
    fn variables_are_filled_in_and_the_rest_stays() {
        for (vars, text, expected) in [
            (
                "a = 'x'\nb = 2\nc = true",
                "{{var.a}}-{{ var.b }}-{{ var.c }}",
                "x-2-true",
            ),
            ("a = '{{ label.a }}'", "{{ var.a }}", "{{ label.a }}"),
            (
                "a = 'x'",
                "{{ node.name }}{{ env.X }}{{ var.a }}",
                "{{ node.name }}{{ env.X }}x",
            ),
            ("a = 'x'", "{{ \"{{\" }}{{ var.a }}", "{{ \"{{\" }}x"),
            ("", "} }} {", "} }} {"),
        ] {
            assert_eq!(word(vars, text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn names_that_nobody_knows_are_refused_at_their_place() {
        for (vars, text, message, hint) in [
            (
                "",
                "{{ node.nam }}",
                "`{{ node.nam }}` is not known",
                "`{{ node.name }}`?",
            ),
            (
                "",
                "{{ x }}",
                "`{{ x }}` is not known",
                "there are `node.name`",
            ),
            (
                "",
                "{{ var.x }}",
                "`{{ var.x }}` is not known",
                "`[vars]` of this file",
            ),
            (
                "channel = ''",
                "{{ var.chanel }}",
                "is not known",
                "`{{ var.channel }}`?",
            ),
            ("", "{{ node.name", "`{{` has no `}}`", "verbatim"),
        ] {
            let found = word(vars, text).unwrap_err();
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(message), "{text}: {found:?}");
            assert!(found[0].contains(hint), "{text}: {found:?}");
            assert!(found[0].contains("t:4:17"), "{text}: {found:?}");
        }
        for (vars, message) in [
            (
                "a = 'x'\nb = '{{ var.a }}'",
                "a variable cannot be made of another one",
            ),
            ("a = [1]", "`a` must be a string"),
            ("'a b' = ''", "`a b` is not the name of a variable"),
        ] {
            let found = word(vars, "x").unwrap_err();
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(message), "{vars}: {found:?}");
        }
        let found = parse(&Source::new(
            "t",
            "vars = 1\n[workload.a]\ncommand = ['x']\n",
        ));
        let found = found.unwrap_err().to_string();
        assert!(
            found.contains("`vars` must be a table of strings"),
            "{found}"
        );
    }

    #[test]
    fn a_small_file_does_not_become_a_large_one() {
        let vars = format!("a = '{}'", "x".repeat(30_000));
        let found = word(&vars, &"{{var.a}}".repeat(1_000)).unwrap_err();
        assert!(found[0].contains("more than 4 MiB"), "{}", found[0]);
        assert!(found[0].len() < 1_000);
    }
}
