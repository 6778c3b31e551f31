//! Writing the Prometheus text format, version 0.0.4: families of samples. Whatever a label holds,
//! a line stays one line and a label one label.

use crate::support::{DurationCounts, durations::BOUNDS};
use std::fmt::Write;

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Type {
    fn as_str(self) -> &'static str {
        match self {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        }
    }
}

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// A family that is being written.
#[derive(Debug)]
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Text {
    /// Empty, with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Text {
        Text(String::with_capacity(bytes))
    }

    /// What was written.
    pub(super) fn done(self) -> String {
        self.0
    }

    /// Begins a family.
    pub(super) fn family(&mut self, kind: Type, name: &'static str, help: &str) -> Family<'_> {
        let kind = kind.as_str();
        // Writing to a string cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family {
            text: &mut self.0,
            name,
        }
    }

    /// A family of one counter.
    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(Type::Counter, name, help)
            .sample(&[], value as f64);
    }

    /// A family of one gauge.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: f64) {
        self.family(Type::Gauge, name, help).sample(&[], value);
    }
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        self.labels(labels, None);
        self.number(value);
    }

    /// The samples of a histogram.
    pub(super) fn durations(&mut self, labels: &[(&str, &str)], counts: &DurationCounts) {
        for (bound, within) in BOUNDS.iter().zip(counts.within) {
            self.text.push_str(self.name);
            self.text.push_str("_bucket");
            self.labels(labels, Some(*bound));
            self.number(within as f64);
        }
        for (suffix, bound, value) in [
            ("_bucket", Some(f64::INFINITY), counts.count as f64),
            ("_sum", None, counts.sum),
            ("_count", None, counts.count as f64),
        ] {
            self.text.push_str(self.name);
            self.text.push_str(suffix);
            self.labels(labels, bound);
            self.number(value);
        }
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<f64>) {
        if labels.is_empty() && bound.is_none() {
            return;
        }
        let mut before = '{';
        for (key, value) in labels {
            self.text.push(before);
            before = ',';
            self.text.push_str(key);
            self.text.push_str("=\"");
            escape(value, self.text);
            self.text.push('"');
        }
        if let Some(bound) = bound {
            self.text.push(before);
            self.text.push_str("le=\"");
            write_number(self.text, bound);
            self.text.push('"');
        }
        self.text.push('}');
    }

    fn number(&mut self, value: f64) {
        self.text.push(' ');
        write_number(self.text, value);
        self.text.push('\n');
    }
}

fn write_number(text: &mut String, value: f64) {
    let _ = match value {
        v if v == f64::INFINITY => write!(text, "+Inf"),
        v if v == f64::NEG_INFINITY => write!(text, "-Inf"),
        v if v.is_nan() => write!(text, "NaN"),
        // In full it would have hundreds of digits.
        v if v != 0.0 && !(1e-6..1e18).contains(&v.abs()) => write!(text, "{v:e}"),
        v => write!(text, "{v}"),
    };
}

/// The value of a label as the format wants it.
fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(labels: &[(&str, &str)], value: f64) -> String {
        let mut text = Text::default();
        text.family(Type::Gauge, "m", "Help.").sample(labels, value);
        text.done()
    }

    /// The labels and the value of a sample, read as the format says.
    fn read(line: &str) -> Option<(Vec<(String, String)>, f64)> {
        let mut rest = line.strip_prefix("m{")?;
        let mut labels = Vec::new();
        loop {
            let (key, after) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        _ => return None,
                    }),
                    (_, c) => value.push(c),
                }
            };
            labels.push((key.to_owned(), value));
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        let value = rest.strip_prefix("} ")?.strip_suffix('\n')?;
        Some((labels, value.parse().ok()?))
    }

    #[test]
    fn families_and_samples_look_as_they_should() {
        let mut text = Text::default();
        text.counter("a_total", "As.", 3);
        text.gauge("b", "Bs.", 0.5);
        text.family(Type::Gauge, "c", "Cs.")
            .sample(&[("x", "1"), ("y", "\"\\\n")], f64::INFINITY);
        assert_eq!(
            text.done(),
            "# HELP a_total As.\n# TYPE a_total counter\na_total 3\n\
             # HELP b Bs.\n# TYPE b gauge\nb 0.5\n\
             # HELP c Cs.\n# TYPE c gauge\nc{x=\"1\",y=\"\\\"\\\\\\n\"} +Inf\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_its_total() {
        let mut counts = DurationCounts {
            count: 7,
            sum: 1.25,
            ..DurationCounts::default()
        };
        counts.within = [5; BOUNDS.len()];
        let mut text = Text::default();
        text.family(Type::Histogram, "d_seconds", "Ds.")
            .durations(&[("r", "/")], &counts);
        let text = text.done();
        for line in [
            "d_seconds_bucket{r=\"/\",le=\"0.0005\"} 5\n",
            "d_seconds_bucket{r=\"/\",le=\"5\"} 5\n",
            "d_seconds_bucket{r=\"/\",le=\"+Inf\"} 7\n",
            "d_seconds_sum{r=\"/\"} 1.25\n",
            "d_seconds_count{r=\"/\"} 7\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_node_says_is_one_sample_with_the_same_labels(
            name in any::<String>(), other in "[\"\\\\\n}{=, ]{0,9}", value in any::<f64>(),
        ) {
            let labels = [("node", name.as_str()), ("name", other.as_str())];
            let text = one(&labels, value);
            let line = text.strip_prefix("# HELP m Help.\n# TYPE m gauge\n").unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            let (read, number) = read(line).unwrap();
            let expected: Vec<(String, String)> =
                labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            prop_assert_eq!(read, expected);
            prop_assert!(number == value || value.is_nan(), "{} {}", number, value);
        }
    }
}
