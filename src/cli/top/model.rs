//! What is on the screen, and what keys and news make of it. Pure: time comes in as data.
//!
//! ```text
//!  lists (1-6, Tab) ──Enter──► a node: its hour and its instances ──Enter──► the log of one
//!        │                                                                       ▲
//!        └──Enter──► instances of a workload, nodes of a rollout ──Enter─────────┘
//!  Esc goes back one.        / filters a list or searches a log.       ? q everywhere.
//! ```
//!
//! When the controller is lost, everything that is shown stays and is marked as old: nothing is
//! green that nobody has looked at (see [`Model::is_stale`]).

use super::{
    log::Log,
    news::{Action, Hello, Kind, Need, News},
    rows,
    table::{Look, Row, Scope},
    tally::Tally,
    text::plain,
};
use crate::{
    controller::NodeHistory,
    fleet::{NodeView, WorkloadView},
    model::{Name, Presence},
};
use std::collections::BTreeMap;

/// Events that are kept.
pub(super) const EVENTS: usize = 1_000;
/// With no answer for so long, what is shown is old, whether or not anybody said so.
pub(super) const STALE_MS: u64 = 8_000;
/// How long the end of an action is told.
const TOLD_MS: u64 = 8_000;
/// What fills the screen.
#[derive(Debug, Clone)]
pub(super) enum Page {
    List(Kind, Look),
    /// A node, and its instances.
    Node(Name, Look),
    Log(Box<Log>),
}

/// Nodes by state, and what is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) online: usize,
    pub(super) silent: usize,
    pub(super) offline: usize,
    pub(super) firing: usize,
}

/// What the last line is for just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Normal,
    /// A filter or what to search for is typed.
    Typing,
    Help,
    Confirm(Action),
}

/// All of it.
#[derive(Debug)]
pub(super) struct Model {
    /// Name or address of the controller.
    pub(super) context: String,
    pub(super) hello: Hello,
    pub(super) mode: Mode,
    pub(super) counts: Counts,
    /// `None`: instances were not told of yet.
    pub(super) tally: Option<Tally>,
    pub(super) rows: BTreeMap<Kind, Vec<Row>>,
    /// This controller has no alerts to tell of.
    pub(super) no_alerts: bool,
    /// How each list was looked at last.
    pub(super) looks: BTreeMap<Kind, Look>,
    /// The last one is visible; never empty. Keys lead from one to another: [`super::keys`].
    pub(super) pages: Vec<Page>,
    /// The node of the page, once it came.
    pub(super) node: Option<Box<(NodeView, NodeHistory)>>,
    /// Since when the controller is lost, and why.
    pub(super) lost: Option<(u64, String)>,
    /// When it answered last; 0 when it never did.
    pub(super) heard_ms: u64,
    /// What to tell, until when, and whether it is good.
    pub(super) told: Option<(u64, String, bool)>,
    pub(super) last_event: u64,
    /// Lines of the table or log, as drawn last.
    pub(super) page_lines: usize,
    /// Logs that were looked at.
    pub(super) logs: u64,
}

impl Model {
    pub(super) fn new(context: &str) -> Model {
        Model {
            context: plain(context),
            hello: Hello::default(),
            mode: Mode::Normal,
            counts: Counts::default(),
            tally: None,
            rows: BTreeMap::new(),
            no_alerts: false,
            looks: BTreeMap::new(),
            pages: vec![Page::List(Kind::Nodes, Look::default())],
            node: None,
            lost: None,
            heard_ms: 0,
            told: None,
            last_event: 0,
            page_lines: 1,
            logs: 0,
        }
    }

    pub(super) fn page(&self) -> &Page {
        // There is always one: the last is never popped.
        self.pages.last().unwrap_or(&FIRST)
    }

    /// The log of the page, when it is the one with this number.
    fn log(&mut self, number: u64) -> Option<&mut Log> {
        match self.pages.last_mut() {
            Some(Page::Log(log)) if log.number == number => Some(log),
            _ => None,
        }
    }

    /// What was found out by drawing: how many lines there are, and which row is the first.
    pub(super) fn drawn(&mut self, lines: usize, top: usize) {
        self.page_lines = lines;
        if let Some(Page::List(_, look) | Page::Node(_, look)) = self.pages.last_mut() {
            look.top = top;
        }
    }

    pub(super) fn rows(&self, kind: Kind) -> &[Row] {
        self.rows.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The table of the page, and how it is looked at.
    pub(super) fn table(&self) -> Option<(Kind, &Look)> {
        match self.page() {
            Page::List(kind, look) => Some((*kind, look)),
            Page::Node(_, look) => Some((Kind::Instances, look)),
            Page::Log(_) => None,
        }
    }

    /// What is shown may not be so any more.
    pub(super) fn is_stale(&self, now: u64) -> bool {
        self.lost.is_some() || now.saturating_sub(self.heard_ms) > STALE_MS
    }

    /// What has to be asked for.
    pub(super) fn need(&self) -> Need {
        let mut need = Need::default();
        match self.page() {
            Page::List(kind, _) => need.kinds.push(*kind),
            Page::Node(node, _) => {
                need.kinds.push(Kind::Instances);
                need.node = Some(node.clone());
            }
            Page::Log(log) => {
                need.log = Some((log.workload.clone(), log.node.clone(), log.number));
            }
        }
        need
    }

    pub(super) fn receive(&mut self, now: u64, news: News) {
        match news {
            News::Lost(why) => {
                let why = plain(&why.replace('\n', " "));
                // What is shown is from then.
                let heard = if self.heard_ms == 0 {
                    now
                } else {
                    self.heard_ms
                };
                let since = self.lost.as_ref().map_or(heard, |(since, _)| *since);
                self.lost = Some((since, why));
                return;
            }
            News::Done(how) => {
                let (text, good) = match how {
                    Ok(text) => (text, true),
                    Err(text) => (text, false),
                };
                self.told = Some((now + TOLD_MS, plain(&text), good));
                return;
            }
            News::LogNote(number, text) => {
                if let Some(log) = self.log(number) {
                    log.note(&text);
                }
                return;
            }
            News::Log(number, lines) => {
                if let Some(log) = self.log(number) {
                    log.add(lines);
                }
            }
            News::Hello(hello) => self.hello = hello,
            News::Heard => {}
            News::Nodes(all) => {
                self.counts = Counts {
                    firing: self.counts.firing,
                    ..count(&all)
                };
                self.put(Kind::Nodes, all.iter().map(rows::node).collect());
            }
            News::Instances(all) => {
                self.tally = Some(Tally::of(&all));
                self.put(Kind::Instances, all.iter().map(rows::instance).collect());
            }
            News::Workloads(all) => {
                let waiting =
                    |w: &WorkloadView| self.tally.as_ref().map_or(0, |t| t.scheduled(&w.name));
                let rows = all.iter().map(|w| rows::workload(w, waiting(w))).collect();
                self.put(Kind::Workloads, rows);
            }
            News::Rollouts(mut all) => {
                // Those under way first, then the youngest.
                all.sort_by_key(|r| (!r.active, std::cmp::Reverse(r.rollout.started_ms)));
                self.put(Kind::Rollouts, all.iter().map(rows::rollout).collect());
            }
            News::Alerts(all) => {
                self.no_alerts = all.is_none();
                let all = all.unwrap_or_default();
                self.counts.firing = all.iter().filter(|a| a.state == "firing").count();
                self.put(Kind::Alerts, all.iter().map(rows::alert).collect());
            }
            News::Events(all) => self.events(&all),
            News::Node(name, view) => {
                if matches!(self.page(), Page::Node(shown, _) if *shown == name) {
                    if view.is_none() {
                        let text = format!("{name} is no node of this fleet any more");
                        self.told = Some((now + TOLD_MS, text, false));
                    }
                    self.node = view;
                }
            }
        }
        (self.lost, self.heard_ms) = (None, now);
    }

    fn put(&mut self, kind: Kind, rows: Vec<Row>) {
        self.rows.insert(kind, rows);
        self.arrange(kind);
    }

    /// Puts what is shown of a list in order anew.
    pub(super) fn arrange(&mut self, kind: Kind) {
        let rows = self.rows.get(&kind).map_or(&[][..], Vec::as_slice);
        match self.pages.last_mut() {
            Some(Page::List(shown, look)) if *shown == kind => look.arrange(rows),
            Some(Page::Node(_, look)) if kind == Kind::Instances => look.arrange(rows),
            _ => {}
        }
    }

    fn events(&mut self, all: &[crate::controller::NumberedEvent]) {
        let Some(last) = all.last() else { return };
        self.last_event = last.id;
        let mut rows = Vec::with_capacity(EVENTS);
        rows.extend(all.iter().rev().take(EVENTS).map(rows::event));
        let before = self.rows.remove(&Kind::Events).unwrap_or_default();
        rows.extend(before);
        rows.truncate(EVENTS);
        self.put(Kind::Events, rows);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: u64) {
        if self.told.as_ref().is_some_and(|(until, ..)| *until <= now) {
            self.told = None;
        }
    }
}

/// For when there is no page, which does not happen.
static FIRST: Page = Page::List(
    Kind::Nodes,
    Look {
        scope: Scope {
            node: None,
            workload: None,
        },
        filter: String::new(),
        sort: 0,
        reverse: false,
        unsorted: false,
        selected: None,
        order: Vec::new(),
        place: 0,
        top: 0,
    },
);

/// Counts of nodes.
pub(super) fn count(nodes: &[NodeView]) -> Counts {
    let in_state = |state| nodes.iter().filter(|n| n.state == state).count();
    Counts {
        online: in_state(Presence::Online),
        silent: in_state(Presence::Silent),
        offline: in_state(Presence::Offline),
        firing: 0,
    }
}
