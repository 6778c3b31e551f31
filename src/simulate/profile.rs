//! What a simulation is to be like: how many nodes, what they are, and what goes wrong.

use crate::{
    config::parse_label,
    manifest::{
        Flaw,
        quantity::{duration_text, parse_duration_ms},
        shown,
    },
};
use std::{fmt, path::PathBuf};

/// The most nodes of one process: as many as a fleet has.
pub(crate) const MAX_NODES: u32 = 20_000;
/// Values that one label is spread over.
const MAX_VALUES: usize = 1_000;

/// Everything that a simulation is told.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// How many nodes.
    pub(crate) nodes: u32,
    /// What their names begin with.
    pub(crate) prefix: String,
    /// What they are, in turn.
    pub(crate) boards: Vec<Board>,
    /// Their labels.
    pub(crate) labels: Vec<Spread>,
    /// The first and the last node start so far from each other.
    pub(crate) ramp_ms: u64,
    /// How long an instance takes to start.
    pub(crate) start_time: Span,
    /// Launches that fail.
    pub(crate) fail: Share,
    /// Instances that end by themselves.
    pub(crate) crash: Rate,
    /// Nodes that lose their connection.
    pub(crate) churn: Rate,
    /// Nodes whose agent hangs.
    pub(crate) freeze: Rate,
    /// How long a node is cut off, or hangs.
    pub(crate) away: Span,
    /// Instances of this version end with exit code 1 as soon as they run.
    pub(crate) poison: Option<String>,
    /// Where chance begins.
    pub(crate) seed: u64,
    /// Where the nodes keep what they must remember; a directory of its own when `None`.
    pub(crate) state: Option<PathBuf>,
}

impl Profile {
    /// The name of a node, counted from 0.
    pub(crate) fn name(&self, index: u32) -> String {
        let digits = self.nodes.to_string().len().max(4);
        format!("{}-{:0digits$}", self.prefix, index + 1)
    }
}

/// A part of a whole, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Share(pub(crate) f64);

impl Share {
    /// `1%`, `0.5%`.
    pub(crate) fn parse(text: &str) -> Result<Share, Flaw> {
        let number = text.strip_suffix('%').map(str::trim);
        // `inf` and `1e3` are numbers to a computer and slips to a person.
        let plain = |n: &&str| n.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let percent = number.filter(plain).and_then(|n| n.parse::<f64>().ok());
        match percent {
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Share(percent / 100.0)),
            _ => Err(Flaw::new(format!("`{}` is not a share", shown(text)))
                .hint("write 0% to 100%, as in \"1%\" or \"0.5%\"")),
        }
    }
}

/// What part of all it meets in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rate {
    per_minute: f64,
}

impl Rate {
    /// `5%/min`, also `/s` and `/h`.
    pub(crate) fn parse(text: &str) -> Result<Rate, Flaw> {
        let read = || {
            let (share, unit) = text.split_once('/')?;
            let times = match unit.trim() {
                "s" | "sec" => 60.0,
                "min" | "m" => 1.0,
                "h" => 1.0 / 60.0,
                _ => return None,
            };
            let share = Share::parse(share.trim()).ok()?;
            Some(Rate {
                per_minute: share.0 * times,
            })
        };
        read().ok_or_else(|| {
            Flaw::new(format!("`{}` is not a rate", shown(text)))
                .hint("write a share per time, as in \"5%/min\" or \"0.1%/h\"")
        })
    }

    /// How many of `all` it meets within so many milliseconds, on average.
    pub(super) fn expected(self, all: usize, ms: f64) -> f64 {
        all as f64 * self.per_minute * ms / 60_000.0
    }
}

/// A length of time between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

impl Span {
    /// `50ms..500ms`, or one length: `2s`.
    pub(crate) fn parse(text: &str) -> Result<Span, Flaw> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let (from_ms, to_ms) = (
            parse_duration_ms(from.trim())?,
            parse_duration_ms(to.trim())?,
        );
        if from_ms > to_ms {
            let text = shown(text);
            return Err(Flaw::new(format!("`{text}` ends before it begins"))
                .hint("write the shorter time first, as in \"50ms..500ms\""));
        }
        if to_ms > 86_400_000 {
            return Err(Flaw::new(format!("`{}` is longer than a day", shown(text))));
        }
        Ok(Span { from_ms, to_ms })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (duration_text(self.from_ms), duration_text(self.to_ms));
        write!(f, "{from}..{to}")
    }
}

/// A label whose values are given to the nodes in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spread {
    key: String,
    values: Vec<String>,
}

impl Spread {
    /// `zone=a,b,c`.
    pub(crate) fn parse(text: &str) -> Result<Spread, Flaw> {
        let (key, values) = text.split_once('=').unwrap_or((text, ""));
        let values: Vec<String> = values.split(',').map(str::to_owned).collect();
        if values.len() > MAX_VALUES {
            let why = format!("`{}` has more than {MAX_VALUES} values", shown(key));
            return Err(Flaw::new(why));
        }
        for value in &values {
            parse_label(&format!("{key}={value}"))?;
        }
        Ok(Spread {
            key: key.to_owned(),
            values,
        })
    }

    /// Key and value of a node. `block`: so many nodes in a row have the same value, which spreads
    /// each label over all values of those before it.
    pub(super) fn of(&self, index: usize, block: usize) -> (String, String) {
        let at = index / block.max(1) % self.values.len().max(1);
        (self.key.clone(), self.values[at].clone())
    }

    /// How many values there are.
    pub(super) fn width(&self) -> usize {
        self.values.len()
    }
}

/// What a made-up node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Board {
    /// 4 cores, 512 MiB, aarch64
    Zero,
    /// 4 cores, 4 GiB, aarch64
    Pi4,
    /// 4 cores, 8 GiB, aarch64
    Pi5,
    /// 8 cores, 16 GiB, x86_64
    Pc,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates() {
        assert_eq!(Share::parse("1%").unwrap(), Share(0.01));
        assert_eq!(Share::parse("0%").unwrap(), Share(0.0));
        for text in ["", "1", "%", "-1%", "101%", "1e1%", "inf%", "NaN%", "1 %%"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
        let per_minute = |text| Rate::parse(text).unwrap().expected(1_000, 60_000.0);
        assert!((per_minute("5%/min") - 50.0).abs() < 1e-9);
        assert!((per_minute("0.1%/s") - 60.0).abs() < 1e-9);
        assert!((per_minute("60%/h") - 10.0).abs() < 1e-9);
        for text in ["5%", "5/min", "5%/day", "5%/", "/min"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_ordered_and_shown_as_they_are_written() {
        let span = Span::parse("50ms..2s").unwrap();
        assert_eq!((span.from_ms, span.to_ms), (50, 2_000));
        assert_eq!(Span::parse(&span.to_string()).unwrap(), span);
        assert_eq!(Span::parse("2s").unwrap().from_ms, 2_000);
        for text in ["", "2s..1s", "1s..", "..1s", "1s..x", "1s..2d"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels_are_spread_in_turn_and_over_each_other() {
        let zone = Spread::parse("zone=a,b").unwrap();
        let rack = Spread::parse("rack=1,2,3").unwrap();
        let pair = |i: usize| {
            let (key, rack) = rack.of(i, zone.width());
            let (_, zone) = zone.of(i, 1);
            assert_eq!(key, "rack");
            format!("{zone}{rack}")
        };
        let all: Vec<String> = (0..7).map(pair).collect();
        assert_eq!(all, ["a1", "b1", "a2", "b2", "a3", "b3", "a1"]);
        for text in ["", "zone", "zone=", "zone=a,,b", "=a", "zone=a b"] {
            assert!(Spread::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_sort_as_they_count() {
        let mut profile = crate::simulate::tests::profile(50);
        assert_eq!(profile.name(0), "sim-0001");
        profile.nodes = 12_000;
        assert_eq!(profile.name(11_999), "sim-12000");
        assert_eq!(profile.name(0), "sim-00001");
    }
}
