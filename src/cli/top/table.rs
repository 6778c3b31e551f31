//! A table of any kind: rows of cells, in an order, filtered, with one row selected.
//!
//! Rows are made once when a list has come (see [`super::rows`]); sorting and filtering only make a
//! list of numbers of rows, and only what is visible is ever turned into text. The selection is the
//! key of a row and not its place: it stays on its row when the order changes under it.

use crate::model::Name;
use std::cmp::Ordering;

/// How something is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    /// Not known, or of little interest.
    Dim,
}

/// What stands in a row under a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Text(String),
    State(String, Tone),
    /// The word of a severity.
    Severity(String, Tone),
    Number(u64),
    /// Of the second so many run, the first (`None`: nobody knows), and so many need not, the third.
    Ratio(Option<u64>, u64, u64),
    /// Unix milliseconds, shown as an age; 0 when unknown.
    Since(u64),
    /// Unix milliseconds, shown as a time of day.
    Clock(u64),
    Percent(Option<f32>),
    Degrees(Option<f32>),
}

impl Cell {
    /// Numbers by size, ages by age, unknown ones last.
    fn order(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Text(a) | Cell::State(a, _), Cell::Text(b) | Cell::State(b, _)) => natural(a, b),
            (Cell::Number(a), Cell::Number(b)) => b.cmp(a),
            (Cell::Ratio(a, m, x), Cell::Ratio(b, n, y)) => {
                let open = |have: &Option<u64>, want: &u64, rest: &u64| {
                    want.saturating_sub(have.unwrap_or(0)).saturating_sub(*rest)
                };
                open(b, n, y).cmp(&open(a, m, x)).then(n.cmp(m))
            }
            (Cell::Severity(a, _), Cell::Severity(b, _)) => weight(a).cmp(&weight(b)),
            (Cell::Since(a), Cell::Since(b)) | (Cell::Clock(a), Cell::Clock(b)) => b.cmp(a),
            (Cell::Percent(a) | Cell::Degrees(a), Cell::Percent(b) | Cell::Degrees(b)) => {
                let value = |v: &Option<f32>| v.unwrap_or(f32::NEG_INFINITY);
                value(b).total_cmp(&value(a))
            }
            _ => Ordering::Equal,
        }
    }
}

/// The worst first.
fn weight(severity: &str) -> u8 {
    let known = ["critical", "warning", "info"];
    let at = known.iter().position(|s| *s == severity);
    at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

/// As people count: `pi-2` before `pi-10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(x), Some(y)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let digits = |t: &[u8]| t.iter().take_while(|c| c.is_ascii_digit()).count();
            let (m, n) = (digits(a), digits(b));
            let (p, q) = (stripped(&a[..m]), stripped(&b[..n]));
            let order = p.len().cmp(&q.len()).then_with(|| p.cmp(q));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[m..], &b[n..]);
            continue;
        }
        let order = x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase());
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (&a[1..], &b[1..]);
    }
}

/// Without zeros before it.
fn stripped(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|c| **c == b'0').count();
    &digits[zeros..]
}

/// One thing of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// What it is, over all lists that come.
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
    /// What a filter looks in, in small letters.
    pub(super) hay: String,
    /// About which node and workload.
    pub(super) node: Option<Name>,
    pub(super) workload: Option<Name>,
    /// It takes nothing new (of nodes).
    pub(super) cordoned: bool,
}

impl Row {
    /// With a text to look in made of its cells and `more`.
    pub(super) fn new(key: String, cells: Vec<Cell>, more: &str) -> Row {
        let mut hay = String::new();
        for cell in &cells {
            if let Cell::Text(text) | Cell::State(text, _) | Cell::Severity(text, _) = cell {
                hay.push_str(text);
                hay.push('\n');
            }
        }
        hay.push_str(more);
        Row {
            key,
            cells,
            hay: hay.to_lowercase(),
            node: None,
            workload: None,
            cordoned: false,
        }
    }
}

/// A column: its head, how wide it may be at most, and which go first where there is no room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) max: u16,
    /// 0: always there; the highest number goes first.
    pub(super) rank: u8,
}

/// Which rows a table shows, beside the filter that was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) node: Option<Name>,
    pub(super) workload: Option<Name>,
}

impl Scope {
    fn has(&self, row: &Row) -> bool {
        let meets = |wanted: &Option<Name>, has: &Option<Name>| wanted.is_none() || wanted == has;
        meets(&self.node, &row.node) && meets(&self.workload, &row.workload)
    }
}

/// How a table is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) scope: Scope,
    pub(super) filter: String,
    /// Column that it is sorted by.
    pub(super) sort: usize,
    pub(super) reverse: bool,
    /// As it came, whatever column is marked: until somebody sorts.
    pub(super) unsorted: bool,
    /// Key of the selected row.
    pub(super) selected: Option<String>,
    /// Numbers of rows, as shown.
    pub(super) order: Vec<u32>,
    /// Place of the selected row in the order.
    pub(super) place: usize,
    /// The first place that is visible; put right when drawn.
    pub(super) top: usize,
}

impl Look {
    /// Puts the rows in order anew, and finds the selected one again.
    pub(super) fn arrange(&mut self, rows: &[Row]) {
        let words: Vec<String> = self
            .filter
            .to_lowercase()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        self.order.clear();
        for (at, row) in rows.iter().enumerate() {
            let found = words.iter().all(|w| row.hay.contains(w.as_str()));
            if found && self.scope.has(row) {
                self.order.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        if !self.unsorted {
            let sort = self.sort;
            let cell = |at: &u32| rows.get(*at as usize).and_then(|r| r.cells.get(sort));
            self.order.sort_by(|a, b| match (cell(a), cell(b)) {
                (Some(a), Some(b)) => a.order(b),
                _ => Ordering::Equal,
            });
        }
        if self.reverse {
            self.order.reverse();
        }
        let key = |at: &u32| rows.get(*at as usize).map(|r| r.key.as_str());
        let selected = self.selected.as_deref();
        let found = selected.and_then(|wanted| {
            let mut places = self.order.iter();
            places.position(|at| key(at) == Some(wanted))
        });
        // A row that has gone leaves the selection where it was.
        self.place = found.unwrap_or(self.place.min(self.order.len().saturating_sub(1)));
        if self.selected.is_some() {
            self.selected = self.order.get(self.place).and_then(key).map(str::to_owned);
        }
    }

    /// Selects the row `by` places on, or the nearest to it.
    pub(super) fn step(&mut self, rows: &[Row], by: isize) {
        let last = self.order.len().saturating_sub(1);
        self.place = self.place.saturating_add_signed(by).min(last);
        let row = self.order.get(self.place);
        let row = row.and_then(|at| rows.get(*at as usize));
        self.selected = row.map(|r| r.key.clone());
    }

    /// The selected row.
    pub(super) fn row<'a>(&self, rows: &'a [Row]) -> Option<&'a Row> {
        let at = self.order.get(self.place)?;
        rows.get(*at as usize)
    }

    /// Which places are visible in so many lines.
    pub(super) fn window(&self, lines: usize) -> std::ops::Range<usize> {
        let mut top = self.top.min(self.order.len().saturating_sub(lines));
        if self.place < top {
            top = self.place;
        }
        if lines > 0 && self.place >= top + lines {
            top = self.place + 1 - lines;
        }
        top..(top + lines).min(self.order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(names: &[&str]) -> Vec<Row> {
        let row = |name: &&str| Row::new((*name).into(), vec![Cell::Text((*name).into())], "");
        names.iter().map(row).collect()
    }

    fn shown(look: &Look, rows: &[Row]) -> Vec<String> {
        let key = |at: &u32| rows[*at as usize].key.clone();
        look.order.iter().map(key).collect()
    }

    #[test]
    fn names_are_put_in_order_as_people_count() {
        let all = rows(&["pi-10", "PI-2", "pi-1", "pi-02x", "a"]);
        let mut look = Look::default();
        look.arrange(&all);
        assert_eq!(shown(&look, &all), ["a", "pi-1", "PI-2", "pi-02x", "pi-10"]);
        look.reverse = true;
        look.arrange(&all);
        assert_eq!(shown(&look, &all)[0], "pi-10");
    }

    #[test]
    fn the_selection_stays_on_its_row_when_the_order_changes() {
        let all = rows(&["a", "b", "c"]);
        let mut look = Look::default();
        look.arrange(&all);
        look.step(&all, 1);
        assert_eq!(look.row(&all).unwrap().key, "b");
        let more = rows(&["0", "a", "b", "c"]);
        look.arrange(&more);
        assert_eq!(
            (look.place, look.row(&more).unwrap().key.as_str()),
            (2, "b")
        );
        let fewer = rows(&["a"]);
        look.arrange(&fewer);
        assert_eq!(look.row(&fewer).unwrap().key, "a");
        look.arrange(&[]);
        assert!(look.row(&[]).is_none());
    }

    #[test]
    fn every_word_of_a_filter_must_be_found() {
        let all = rows(&["kiosk-1 zone=Lab", "kiosk-2 zone=hall", "robot zone=lab"]);
        let mut look = Look {
            filter: "LAB kio".into(),
            ..Look::default()
        };
        look.arrange(&all);
        assert_eq!(shown(&look, &all), ["kiosk-1 zone=Lab"]);
    }

    #[test]
    fn the_selected_row_is_always_visible() {
        let names: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
        let all = rows(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut look = Look::default();
        look.arrange(&all);
        for by in [5, 50, -3, 1_000, -1_000, isize::MIN, isize::MAX] {
            look.step(&all, by);
            let window = look.window(10);
            assert!(window.contains(&look.place), "{window:?} {}", look.place);
            look.top = window.start;
        }
        assert!(look.window(0).is_empty());
    }

    #[test]
    fn what_is_fullest_and_youngest_comes_first_and_the_unknown_last() {
        let percent = |v| Cell::Percent(v);
        assert_eq!(
            percent(Some(90.0)).order(&percent(Some(5.0))),
            Ordering::Less
        );
        assert_eq!(percent(Some(0.0)).order(&percent(None)), Ordering::Less);
        assert_eq!(Cell::Since(9).order(&Cell::Since(1)), Ordering::Less);
        let all = Cell::Ratio(Some(9), 9, 0);
        assert_eq!(Cell::Ratio(Some(0), 2, 0).order(&all), Ordering::Less);
        assert_eq!(Cell::Ratio(None, 2, 0).order(&all), Ordering::Less);
        let resting = Cell::Ratio(Some(0), 9, 9);
        assert_eq!(resting.order(&all), Ordering::Equal, "none is missing");
        let [bad, warning, info] =
            ["critical", "warning", "info"].map(|s| Cell::Severity(s.into(), Tone::Plain));
        assert_eq!(bad.order(&info), Ordering::Less);
        assert_eq!(info.order(&warning), Ordering::Greater);
    }
}
