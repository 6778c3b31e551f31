//! Reads one setting from where it may stand: flag or environment variable, file, default.
//!
//! `clap` has already put the flag before the environment variable, so what it `given` here wins
//! over the file. What the file says is checked even where it is not used.

use crate::manifest::{Flaw, quantity::duration_text, table::Table};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

/// Where a setting came from that does not stand in the file.
pub(crate) const COMMAND_LINE: &str = "command line or environment";

/// The table of a role, with what was given on the command line in front of it.
pub(crate) struct Settings<'a> {
    table: Table<'a>,
    given: BTreeSet<&'static str>,
}

impl<'a> Settings<'a> {
    /// Of `[controller]`, `[agent]` or `[broker]`.
    pub(crate) fn new(table: Table<'a>) -> Settings<'a> {
        Settings {
            table,
            given: BTreeSet::new(),
        }
    }

    fn pick<T>(&mut self, key: &'static str, given: Option<T>, written: Option<T>) -> Option<T> {
        if given.is_some() {
            self.given.insert(key);
        }
        given.or(written)
    }

    /// `true` or `false`.
    pub(crate) fn bool(&mut self, key: &'static str, given: Option<bool>, default: bool) -> bool {
        let written = self.table.bool(key);
        self.pick(key, given, written).unwrap_or(default)
    }

    /// Milliseconds.
    pub(crate) fn duration_ms(
        &mut self,
        key: &'static str,
        given: Option<u64>,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> u64 {
        let written = self.table.duration_ms(key);
        let value = self.pick(key, given, written).unwrap_or(default);
        if !bounds.contains(&value) {
            let (low, high) = (duration_text(*bounds.start()), duration_text(*bounds.end()));
            self.refuse(
                key,
                Flaw::new(format!("`{key}` must be from {low} to {high}")),
            );
        }
        value
    }

    /// A whole number.
    pub(crate) fn count(
        &mut self,
        key: &'static str,
        given: Option<u32>,
        default: u32,
        bounds: RangeInclusive<u32>,
    ) -> u32 {
        let written = self.table.integer(key);
        let fits = written.and_then(|number| u32::try_from(number).ok());
        if written.is_some() && fits.is_none() {
            self.table.refuse(key, out_of_bounds(key, &bounds));
        }
        let value = self.pick(key, given, fits).unwrap_or(default);
        if !bounds.contains(&value) {
            self.refuse(key, out_of_bounds(key, &bounds));
        }
        value
    }

    /// Bytes.
    pub(crate) fn bytes(&mut self, key: &'static str, given: Option<u64>) -> Option<u64> {
        let written = self.table.bytes(key);
        self.pick(key, given, written)
    }

    /// A text that `parse` understands; an empty one in the file counts as not written.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        given: Option<T>,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let read = |text: &str| {
            if text.is_empty() {
                Ok(None)
            } else {
                parse(text).map(Some)
            }
        };
        let written = self.table.parsed(key, read).flatten();
        self.pick(key, given, written)
    }

    /// As [`Settings::parsed`], where the empty text means something too.
    pub(crate) fn parsed_or_empty<T>(
        &mut self,
        key: &'static str,
        given: Option<T>,
        parse: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let written = self.table.parsed(key, parse);
        self.pick(key, given, written)
    }

    /// Texts that `parse` understands.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        given: Option<Vec<T>>,
        parse: impl FnMut(&str) -> Result<T, Flaw>,
    ) -> Option<Vec<T>> {
        let written = self.table.parsed_list(key, parse);
        self.pick(key, given, written)
    }

    /// Texts by key. What was given is added to the file, and wins where both have a key.
    pub(crate) fn map(
        &mut self,
        key: &'static str,
        given: &[(String, String)],
        check: impl Fn(&str, &str) -> Result<(), Flaw>,
    ) -> BTreeMap<String, String> {
        let mut map = self.table.string_map(key, check);
        map.extend(given.iter().cloned());
        map
    }

    /// A table below this one; only the file has such. An absent one when it is not written.
    pub(crate) fn table(&mut self, key: &'static str) -> Table<'a> {
        self.table.table(key)
    }

    /// The setting was given or is written, so that it is no default.
    pub(crate) fn is_set(&self, key: &'static str) -> bool {
        self.given.contains(key) || self.table.has(key)
    }

    /// Refuses the setting where it stands.
    pub(crate) fn refuse(&self, key: &'static str, flaw: Flaw) {
        if self.given.contains(key) || !self.table.is_present() {
            self.table.refuse_outside(COMMAND_LINE, flaw);
        } else {
            self.table.refuse(key, flaw);
        }
    }

    /// Refuses every key of the file that nobody asked for.
    pub(crate) fn finish(self) {
        self.table.finish();
    }
}

fn out_of_bounds(key: &str, bounds: &RangeInclusive<u32>) -> Flaw {
    Flaw::new(format!(
        "`{key}` must be from {} to {}",
        bounds.start(),
        bounds.end()
    ))
}
