//! YAML, as the same tree that TOML becomes.
//!
//! | file | knows |
//! |---|---|
//! | `read` | YAML itself: from the events of the parser to a tree with places |
//! | `scalar` | what a plain word is: a number, a truth, a text |
//! | `places` | characters to bytes |
//! | `words` | a command in one string |
//! | `draft` | putting a tree of the TOML's shape together |
//! | `workload`, `keys` | workload YAML |

pub(super) mod draft;
mod keys;
mod places;
mod read;
mod scalar;
#[cfg(test)]
mod tests;
pub(super) mod words;
mod workload;

use super::{
    compose,
    report::Report,
    span::{Flaw, Source},
    tree::{Data, Value},
};
use std::collections::BTreeMap;

/// Reads a text in YAML that is one document. `None`: nothing can be read, and why is on record.
pub(super) fn document(text: &str, report: &Report) -> Option<Value> {
    let mut documents = read::documents(text, report)?;
    documents.retain(|document| document.data != Data::Null);
    if documents.len() > 1 {
        let flaw = Flaw::new("this file is one document, and this text has several");
        report.add(documents[1].span.clone(), flaw);
    }
    let empty = Value {
        span: 0..0,
        data: Data::Map(Vec::new()),
    };
    Some(documents.into_iter().next().unwrap_or(empty))
}

/// Reads a text in YAML as a tree in the shape of the TOML. `variables` are the
/// values of `${…}` in a Compose file. `None`: nothing can be read, and why is on record.
pub(super) fn read(
    source: &Source,
    variables: &BTreeMap<String, String>,
    report: &Report,
) -> Option<Value> {
    let mut documents = read::documents(&source.text, report)?;
    documents.retain(|document| document.data != Data::Null);
    if documents.is_empty() {
        let flaw = Flaw::new("there is no workload in this file");
        report.add(
            0..0,
            flaw.hint("write a workload with `name:`, or several below `workloads:`"),
        );
        return None;
    }
    match documents
        .iter()
        .position(|d| compose::is_compose(&source.name, d))
    {
        None => workload::documents(&documents, report),
        Some(at) if documents.len() == 1 => {
            compose::read(documents.remove(at), source, variables, report)
        }
        Some(at) => {
            let flaw = Flaw::new("a Compose file is one document, and this text has several");
            let span = documents[at].span.clone();
            report.add(span, flaw.hint("put each in a file of its own"));
            None
        }
    }
}
