//! Workload YAML, given the shape of the TOML.
//!
//! A document is one workload with `name:`, or has `workloads:`, a list of them or a map by their
//! names. Beside them may stand `vars:` and keys that begin with `x-`, which hold anchors. What
//! becomes of the keys of a workload is in `keys`.

use super::{
    super::{
        MAX_WORKLOADS,
        report::Report,
        shown,
        span::Flaw,
        table::MAX_ITEMS,
        too_many_workloads,
        tree::{Data, Entry, Value, entry},
    },
    draft::{as_written, unknown, with_texts},
    keys::{is_key, translate},
};
use std::{collections::BTreeSet, ops::Range};

/// The documents of a text as one tree in the shape of the TOML. `None` where no workload is in
/// them; why is on record.
pub(super) fn documents(documents: &[Value], report: &Report) -> Option<Value> {
    let mut file = File {
        report,
        workloads: Vec::new(),
        vars: Vec::new(),
        taken: BTreeSet::new(),
    };
    for document in documents {
        if file.workloads.len() > MAX_WORKLOADS || report.is_full() {
            break;
        }
        file.document(document);
    }
    if file.workloads.is_empty() {
        return None;
    }
    let mut root = vec![Entry {
        name: "workload".to_owned(),
        name_span: 0..0,
        value: Value {
            span: 0..0,
            data: Data::Map(file.workloads),
        },
    }];
    if !file.vars.is_empty() {
        root.push(Entry {
            name: "vars".to_owned(),
            name_span: 0..0,
            value: Value {
                span: 0..0,
                data: Data::Map(file.vars),
            },
        });
    }
    Some(Value {
        span: 0..0,
        data: Data::Map(root),
    })
}

/// What was read of a text so far.
struct File<'a> {
    report: &'a Report,
    workloads: Vec<Entry>,
    vars: Vec<Entry>,
    /// The names that workloads have.
    taken: BTreeSet<String>,
}

impl File<'_> {
    fn document(&mut self, document: &Value) {
        let Some(entries) = document.as_map() else {
            let flaw = Flaw::new(format!(
                "a document must be a map of keys and values, not {}",
                document.kind()
            ))
            .hint("write a workload with `name:`, or several below `workloads:`");
            self.report.add(document.span.clone(), flaw);
            return;
        };
        if let Some(vars) = entry(entries, "vars") {
            self.vars(vars);
        }
        let Some(workloads) = entry(entries, "workloads") else {
            let own: Vec<&Entry> = entries.iter().filter(|e| !is_beside(&e.name)).collect();
            self.workload(None, &own, &document.span);
            return;
        };
        for entry in entries {
            if entry.name != "workloads" && !is_beside(&entry.name) {
                let mut flaw = unknown(&entry.name, &["workloads", "vars"]);
                if is_key(&entry.name) {
                    flaw = flaw.hint("the keys of a workload stand in the items of `workloads`");
                }
                self.report.add(entry.name_span.clone(), flaw);
            }
        }
        self.several(workloads);
    }

    fn vars(&mut self, vars: &Entry) {
        let Data::Map(entries) = &vars.value.data else {
            let flaw = Flaw::new(format!("`vars` must be a map, not {}", vars.value.kind()));
            let flaw = flaw.hint("write `name: value` in lines below it");
            self.report.add(vars.value.span.clone(), flaw);
            return;
        };
        for var in entries {
            // The reader says that they are too many.
            if self.vars.len() > MAX_ITEMS {
                return;
            }
            if entry(&self.vars, &var.name).is_some() {
                let flaw = Flaw::new(format!("`{}` is written twice", shown(&var.name)));
                let flaw = flaw.hint("a variable has one value in the whole file");
                self.report.add(var.name_span.clone(), flaw);
                continue;
            }
            self.vars.push(Entry {
                name: var.name.clone(),
                name_span: var.name_span.clone(),
                value: with_texts(&var.value, self.report),
            });
        }
    }

    fn several(&mut self, workloads: &Entry) {
        let more = match &workloads.value.data {
            Data::List(items) => items.get(MAX_WORKLOADS).map(|item| &item.span),
            Data::Map(entries) => entries.get(MAX_WORKLOADS).map(|entry| &entry.name_span),
            _ => None,
        };
        if let Some(span) = more {
            self.report.add(span.clone(), too_many_workloads());
            return;
        }
        match &workloads.value.data {
            Data::List(items) if !items.is_empty() => {
                for item in items {
                    match item.as_map() {
                        Some(own) => {
                            self.workload(None, &own.iter().collect::<Vec<_>>(), &item.span)
                        }
                        None => self.no_map("each item of `workloads`", item),
                    }
                }
            }
            Data::Map(entries) if !entries.is_empty() => {
                for entry in entries {
                    match entry.value.as_map() {
                        Some(own) => {
                            let own: Vec<&Entry> = own.iter().collect();
                            self.workload(Some(entry), &own, &entry.value.span);
                        }
                        None => self.no_map(&format!("`{}`", shown(&entry.name)), &entry.value),
                    }
                }
            }
            Data::List(_) | Data::Map(_) | Data::Null => {
                let flaw = Flaw::new("there is no workload in `workloads`");
                self.report.add(workloads.name_span.clone(), flaw);
            }
            _ => {
                let found = workloads.value.kind();
                let flaw = Flaw::new(format!("`workloads` must be a list or a map, not {found}"));
                self.report.add(workloads.value.span.clone(), flaw);
            }
        }
    }

    fn no_map(&self, what: &str, value: &Value) {
        let flaw = Flaw::new(format!("{what} must be a map, not {}", value.kind()));
        let flaw = flaw.hint("write `name:`, `command:` and so on below it");
        self.report.add(value.span.clone(), flaw);
    }

    /// One workload; `key` is its name where it stands in a map.
    fn workload(&mut self, key: Option<&Entry>, own: &[&Entry], span: &Range<usize>) {
        let written = own.iter().find(|entry| entry.name == "name");
        let inner = written.and_then(|entry| as_written(&entry.value, self.report));
        if let (Some(key), Some(entry)) = (key, written)
            && inner.as_deref() != Some(key.name.as_str())
        {
            let flaw = Flaw::new(format!(
                "the workload is called `{}` above",
                shown(&key.name)
            ));
            self.report
                .add(entry.value.span.clone(), flaw.hint("remove `name`"));
        }
        let (name, name_span) = match (key, written, inner) {
            (Some(key), _, _) => (key.name.clone(), key.name_span.clone()),
            (None, Some(entry), Some(name)) => (name, entry.value.span.clone()),
            (None, Some(entry), None) => {
                let found = entry.value.kind();
                let flaw = Flaw::new(format!("`name` must be a text, not {found}"));
                self.report.add(entry.value.span.clone(), flaw);
                (self.stand_in(), span.clone())
            }
            (None, None, _) => {
                let flaw = Flaw::new("the workload has no `name`");
                self.report
                    .add_missing(span.clone(), flaw.hint("add `name: …`"));
                (self.stand_in(), span.clone())
            }
        };
        if !self.taken.insert(name.clone()) {
            let flaw = Flaw::new(format!("workload `{}` is already defined", shown(&name)));
            self.report
                .add(name_span, flaw.hint("give one of the two another name"));
            return;
        }
        let value = translate(own, self.report).finish(span.clone());
        self.workloads.push(Entry {
            name,
            name_span,
            value,
        });
    }

    /// A name for a workload that has none, so that its other problems are said too. That it has
    /// none is on record.
    fn stand_in(&self) -> String {
        format!("unnamed-{}", self.workloads.len())
    }
}

/// The key stands beside workloads.
fn is_beside(name: &str) -> bool {
    name == "vars" || name.starts_with("x-")
}
