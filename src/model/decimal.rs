//! Whole numbers that may exceed 2^53, as decimal strings: JSON readers in other languages hold
//! numbers as doubles, and RFC 8785 (the canonical form that is signed) requires that they do.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// As a decimal string.
pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// From a decimal string.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    text.parse()
        .map_err(|_| D::Error::custom("expected a whole number as a decimal string"))
}

/// The same for a value that may be missing.
pub(super) mod option {
    use super::*;

    /// As a decimal string or null.
    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(v) => to.collect_str(v),
            None => to.serialize_none(),
        }
    }

    /// From a decimal string or null.
    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let parse = |t: String| {
            t.parse()
                .map_err(|_| D::Error::custom("expected a whole number as a decimal string"))
        };
        text.map(parse).transpose()
    }
}
