//! Which request something belongs to: W3C Trace Context, <https://www.w3.org/TR/trace-context/>.
//!
//! One id goes with a change from the command line to the container: CLI → `traceparent` header →
//! journal entry → assignment → label of the container. Pure: ids are made by whoever begins.

use serde::{Deserialize, Deserializer, Serialize};
use std::{fmt, str::FromStr};

/// A place in a trace: which trace, and which span is the parent of what follows. Written as the
/// header `traceparent`, version 00, always sampled: `00-<32 hex>-<16 hex>-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
}

/// A text is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, none of the ids zero")]
pub struct NotATraceparent;

impl TraceContext {
    /// From random bytes; `None` when one of the ids is zero, which stands for none.
    pub fn new(trace: [u8; 16], span: [u8; 8]) -> Option<TraceContext> {
        (trace != [0; 16] && span != [0; 8]).then_some(TraceContext { trace, span })
    }

    /// The same trace below another span.
    #[must_use]
    pub fn below(self, span: [u8; 8]) -> TraceContext {
        match span == [0; 8] {
            true => self,
            false => TraceContext { span, ..self },
        }
    }

    /// The trace, 32 hex digits.
    pub fn trace_id(&self) -> String {
        hex(&self.trace)
    }

    /// The span, 16 hex digits.
    pub fn span_id(&self) -> String {
        hex(&self.span)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if text.len() != 2 * N || !text.bytes().all(digits) {
        return None;
    }
    let mut out = [0; N];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace_id(), self.span_id())
    }
}

impl FromStr for TraceContext {
    type Err = NotATraceparent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (
            parts.next().ok_or(NotATraceparent)?,
            parts.next().ok_or(NotATraceparent)?,
            parts.next().ok_or(NotATraceparent)?,
            parts.next().ok_or(NotATraceparent)?,
        );
        // A later version may have more parts; the first four keep their meaning.
        let known = version == "00" && parts.next().is_none();
        let later = version != "ff" && version != "00" && unhex::<1>(version).is_some();
        if !(known || later) || unhex::<1>(flags).is_none() {
            return Err(NotATraceparent);
        }
        let ids = unhex(trace).zip(unhex(span));
        ids.and_then(|(trace, span)| TraceContext::new(trace, span))
            .ok_or(NotATraceparent)
    }
}

impl TryFrom<String> for TraceContext {
    type Error = NotATraceparent;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// For what travels: a form that is not known here is none, and refuses no message.
pub(crate) fn lenient<'de, D>(deserializer: D) -> Result<Option<TraceContext>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(text.and_then(|v| v.as_str()?.parse().ok()))
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> String {
        context.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_anything_else_is_refused() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.to_string(), text);
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        let child = context.below([1; 8]);
        assert_eq!(child.trace_id(), context.trace_id());
        assert_eq!(child.span_id(), "0101010101010101");
        for later in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes",
        ] {
            assert_eq!(later.parse(), Ok(context), "{later}");
        }
        for wrong in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert_eq!(
                wrong.parse::<TraceContext>(),
                Err(NotATraceparent),
                "{wrong}"
            );
        }
    }
}
