//! An exported audit trail: JSON lines, oldest first.
//!
//! ```text
//! {"format":"fleetctl-audit","v":1,"fleet_key":"…","exported_ms":…,"anchor":{"id":…,"hash":"…"}}
//! {"at":…,"by":{…},"changes":"…","hash":"…","id":1,"prev":"…","what":"…"}
//! …
//! {"format":"fleetctl-audit-end","count":…,"head":{"id":…,"hash":"…"},"signature":"…"}
//! ```
//!
//! Each line is checked without fleetctl, too: its `hash` is the SHA-256 of the line without
//! `hash`, in canonical form (RFC 8785). The signature (Ed25519, base64url) is the fleet's, over
//! the head and what the export is of; see [`ExportEnd::signed`]. A trail that was not whole when it
//! was exported says so in its last line (`fault`), and that is signed with it: nobody can take the
//! signature for a word that all is well.

use super::chain::{Fault, Link, Noted, Verdict, Verifier};
use crate::{
    identity::{PublicKey, SigningKey},
    model::UnixMs,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

const FORMAT: &str = "fleetctl-audit";
const END: &str = "fleetctl-audit-end";
const V: u64 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHead {
    /// `fleetctl-audit`.
    pub format: String,
    /// 1.
    pub v: u64,
    /// The fleet's public key.
    pub fleet_key: String,
    /// When it was written, controller's clock.
    pub exported_ms: UnixMs,
    /// The line before the first one that follows.
    pub anchor: Link,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportEnd {
    /// `fleetctl-audit-end`.
    pub format: String,
    /// Lines between the first and this one.
    pub count: u64,
    /// The newest line.
    pub head: Link,
    /// What was wrong with the trail already when it was exported: the first of it, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Of the fleet, over [`ExportEnd::signed`]; Ed25519, base64url.
    pub signature: String,
}

impl ExportHead {
    /// Of an export that begins after `anchor`.
    pub fn new(key: &PublicKey, exported_ms: UnixMs, anchor: Link) -> ExportHead {
        ExportHead {
            format: FORMAT.to_owned(),
            v: V,
            fleet_key: key.to_string(),
            exported_ms,
            anchor,
        }
    }
}

impl ExportEnd {
    /// Of an export that began with `begin`; `found`: what was found out about its lines.
    pub fn new(key: &SigningKey, begin: &ExportHead, found: &Verdict) -> ExportEnd {
        let mut end = ExportEnd {
            format: END.to_owned(),
            count: found.lines,
            head: found.head.clone(),
            fault: found.faults.first().map(|fault| fault.what.clone()),
            signature: String::new(),
        };
        end.signature = URL_SAFE_NO_PAD.encode(key.sign(&end.signed(begin)));
        end
    }

    /// What is signed: `fleetctl-audit-end`, a line feed, and the canonical JSON of `anchor`,
    /// `count`, `exported_ms`, `head`, and of `fault` where there is one.
    pub fn signed(&self, begin: &ExportHead) -> Vec<u8> {
        let mut what = json!({
            "anchor": begin.anchor,
            "count": self.count,
            "exported_ms": begin.exported_ms,
            "head": self.head,
        });
        if let Some(fault) = &self.fault {
            what["fault"] = json!(fault);
        }
        let mut bytes = format!("{END}\n").into_bytes();
        bytes.extend(serde_json_canonicalizer::to_vec(&what).unwrap_or_default());
        bytes
    }
}

/// A line of an export, with its end.
pub fn json_line(value: &impl Serialize) -> String {
    let bytes = serde_json_canonicalizer::to_vec(value).unwrap_or_default();
    let mut line = String::from_utf8(bytes).unwrap_or_default();
    line.push('\n');
    line
}

/// Reads an export line by line, and finds out whether it is whole.
#[derive(Debug)]
pub struct ExportReader {
    noted: Option<Noted>,
    /// The key that it must be of.
    key: Option<String>,
    /// Lines of the file so far.
    at: u64,
    open: Option<(ExportHead, Verifier)>,
    end: Option<ExportEnd>,
    faults: Vec<Fault>,
}

/// What is given is no export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnExport {
    /// Its first line is something else.
    #[error(
        "this is no audit trail as `fleetctl audit export` writes it: its first line must be an \
         object with \"format\":\"fleetctl-audit\""
    )]
    NoHead,
    /// A later form.
    #[error("this audit trail was written by a newer fleetctl (form {0}, this one reads form 1)")]
    Newer(u64),
}

impl ExportReader {
    /// `noted`: a head that was written down earlier. `key`: the fleet's public key, where it is
    /// known otherwise than by the export itself.
    pub fn new(noted: Option<Noted>, key: Option<String>) -> ExportReader {
        ExportReader {
            noted,
            key,
            at: 0,
            open: None,
            end: None,
            faults: Vec::new(),
        }
    }

    /// The fleet's key, as the export says; once it has begun.
    pub fn fleet_key(&self) -> Option<&str> {
        self.open.as_ref().map(|(head, _)| head.fleet_key.as_str())
    }

    /// The next line of the file.
    ///
    /// # Errors
    /// [`NotAnExport`], by the first line.
    pub fn take(&mut self, line: &str) -> Result<(), NotAnExport> {
        self.at += 1;
        let Some((_, verifier)) = &mut self.open else {
            return self.begin(line);
        };
        if self.end.is_some() {
            let what = format!(
                "line {} of the file stands after the end of the trail",
                self.at
            );
            self.fault(what);
            return Ok(());
        }
        match serde_json::from_str::<Map<String, Value>>(line) {
            Ok(map) if map.get("format").is_some_and(|f| f == END) => {
                match serde_json::from_value(Value::Object(map)) {
                    Ok(end) => self.end = Some(end),
                    Err(e) => {
                        self.fault(format!("the last line of the file is not understood: {e}"))
                    }
                }
            }
            Ok(map) => verifier.take(&map),
            Err(e) => {
                let what = format!("line {} of the file is no line of a trail: {e}", self.at);
                self.fault(what);
            }
        }
        Ok(())
    }

    fn begin(&mut self, line: &str) -> Result<(), NotAnExport> {
        let any: Map<String, Value> =
            serde_json::from_str(line).map_err(|_| NotAnExport::NoHead)?;
        if any.get("format").is_none_or(|f| f != FORMAT) {
            return Err(NotAnExport::NoHead);
        }
        match any.get("v").and_then(Value::as_u64) {
            Some(v) if v > V => return Err(NotAnExport::Newer(v)),
            _ => {}
        }
        let head: ExportHead =
            serde_json::from_value(Value::Object(any)).map_err(|_| NotAnExport::NoHead)?;
        let verifier = Verifier::new(head.anchor.clone(), self.noted.take());
        self.open = Some((head, verifier));
        Ok(())
    }

    /// About the file as a whole.
    fn fault(&mut self, what: String) {
        // After those of single lines.
        if self.faults.len() < 100 {
            self.faults.push(Fault {
                line: u64::MAX,
                what,
            });
        }
    }

    /// What was found.
    ///
    /// # Errors
    /// [`NotAnExport`]: there was nothing.
    pub fn finish(mut self) -> Result<Verdict, NotAnExport> {
        let Some((begin, verifier)) = self.open.take() else {
            return Err(NotAnExport::NoHead);
        };
        if let Some(key) = self.key.take().filter(|key| *key != begin.fleet_key) {
            let what = format!(
                "it is of another fleet: it says that its key is {}, not {key}",
                begin.fleet_key
            );
            self.fault(what);
        }
        let (head, lines) = (verifier.last(), verifier.lines());
        let mut known = None;
        let head = match self.end.take() {
            None => {
                let what = format!(
                    "it is cut off after line {}: its last line is missing",
                    head.id
                );
                self.fault(what);
                head
            }
            Some(end) => {
                if end.count != lines {
                    let what = format!(
                        "it has {lines} lines, and had {} when it was written",
                        end.count
                    );
                    self.fault(what);
                }
                if !is_signed(&begin, &end) {
                    let what = "the signature of its last line is not by the fleet's key: its \
                                first or last line was altered, or another key made it";
                    self.fault(what.to_owned());
                }
                known = end.fault;
                end.head
            }
        };
        let mut verdict = verifier.finish(&head);
        // What is wrong is found here again, in the lines; unless they are others by now.
        if let Some(known) = known.filter(|_| verdict.ok) {
            let what = format!("the trail was not whole when it was exported: {known}");
            self.fault(what);
        }
        verdict.ok &= self.faults.is_empty();
        verdict.faults.extend(
            self.faults
                .into_iter()
                .map(|f| Fault { line: head.id, ..f }),
        );
        verdict.first_bad = verdict.faults.first().map(|f| f.line);
        Ok(verdict)
    }
}

fn is_signed(begin: &ExportHead, end: &ExportEnd) -> bool {
    let key: Option<PublicKey> = begin.fleet_key.parse().ok();
    let signature = URL_SAFE_NO_PAD.decode(&end.signature).ok();
    let signed = end.signed(begin);
    key.zip(signature)
        .is_some_and(|(key, signature)| key.verify(&signed, &signature))
}
