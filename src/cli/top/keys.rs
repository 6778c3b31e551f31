//! What keys make of the model: from page to page, over a table, into a filter.

use super::{
    actions,
    log::Log,
    model::{Mode, Model, Page},
    news::{Key, Kind, Wish},
    table::{Look, Scope},
    text::plain,
};

/// Pages over each other.
const DEEPEST: usize = 16;

impl Model {
    pub(super) fn press(&mut self, key: Key) -> Option<Wish> {
        match key {
            Key::Ctrl('c') => return Some(Wish::Quit),
            Key::Ctrl('z') => return Some(Wish::Suspend),
            Key::Ctrl('l') => return Some(Wish::Repaint),
            _ => {}
        }
        match &self.mode {
            Mode::Help => {
                self.mode = Mode::Normal;
                (key == Key::Char('q')).then_some(Wish::Quit)
            }
            Mode::Confirm(action) => {
                let action = action.clone();
                self.mode = Mode::Normal;
                matches!(key, Key::Char('y' | 'Y')).then_some(Wish::Act(action))
            }
            Mode::Typing => {
                self.typed(key);
                None
            }
            Mode::Normal => self.normal(key),
        }
    }

    fn normal(&mut self, key: Key) -> Option<Wish> {
        self.told = None;
        match key {
            Key::Char('q') => return Some(Wish::Quit),
            Key::Char('?') | Key::Char('h') => self.mode = Mode::Help,
            Key::Char('/') => self.mode = Mode::Typing,
            Key::Char(digit @ '1'..='6') => {
                let number = digit.to_digit(10).unwrap_or(1) as usize - 1;
                self.list(Kind::ALL[number]);
            }
            Key::Tab | Key::Right => self.beside(1),
            Key::BackTab | Key::Left => self.beside(Kind::ALL.len() - 1),
            Key::Esc | Key::Backspace => self.back(),
            Key::Enter => self.enter(),
            Key::Char(letter) if self.hello.may_change && self.act(letter) => {}
            _ => self.look(key),
        }
        None
    }

    /// A key for what fills the page.
    fn look(&mut self, key: Key) {
        let lines = self.page_lines;
        let page = isize::try_from(lines.max(2) - 1).unwrap_or(1);
        let (kind, look) = match self.pages.last_mut() {
            Some(Page::List(kind, look)) => (*kind, look),
            Some(Page::Node(_, look)) => (Kind::Instances, look),
            Some(Page::Log(log)) => {
                log.press(key, lines);
                return;
            }
            None => return,
        };
        let rows = self.rows.get(&kind).map_or(&[][..], Vec::as_slice);
        match key {
            Key::Up | Key::Char('k') => look.step(rows, -1),
            Key::Down | Key::Char('j') => look.step(rows, 1),
            Key::PageUp => look.step(rows, -page),
            Key::PageDown => look.step(rows, page),
            Key::Home | Key::Char('g') => look.step(rows, isize::MIN),
            Key::End | Key::Char('G') => look.step(rows, isize::MAX),
            Key::Char('s') => {
                if !std::mem::take(&mut look.unsorted) {
                    look.sort = (look.sort + 1) % kind.columns().len();
                }
                look.arrange(rows);
            }
            Key::Char('S') => {
                let columns = kind.columns().len();
                look.unsorted = false;
                look.sort = (look.sort + columns - 1) % columns;
                look.arrange(rows);
            }
            Key::Char('r') => {
                look.reverse = !look.reverse;
                look.arrange(rows);
            }
            _ => {}
        }
    }

    /// A key while a filter or a search is typed.
    fn typed(&mut self, key: Key) {
        let text = match self.pages.last_mut() {
            Some(Page::List(_, look) | Page::Node(_, look)) => &mut look.filter,
            Some(Page::Log(log)) => &mut log.search,
            None => return,
        };
        match key {
            Key::Enter => self.mode = Mode::Normal,
            Key::Esc => {
                text.clear();
                self.mode = Mode::Normal;
            }
            Key::Backspace => {
                text.pop();
            }
            Key::Ctrl('u') => text.clear(),
            Key::Char(c)
                if text.len() < 200 && plain(c.encode_utf8(&mut [0; 4])).starts_with(c) =>
            {
                text.push(c)
            }
            Key::Up | Key::Down | Key::PageUp | Key::PageDown => return self.look(key),
            _ => return,
        }
        if let Some(Page::Log(log)) = self.pages.last_mut() {
            if key == Key::Enter {
                log.find(false);
            }
        } else if let Some((kind, _)) = self.table() {
            self.arrange(kind);
        }
    }

    pub(super) fn list(&mut self, kind: Kind) {
        self.keep();
        let look = self.looks.get(&kind).cloned();
        let look = look.unwrap_or_else(|| Look {
            unsorted: matches!(kind, Kind::Rollouts | Kind::Alerts | Kind::Events),
            ..Look::default()
        });
        self.pages = vec![Page::List(kind, look)];
        self.arrange(kind);
    }

    /// Remembers how the list below everything is looked at.
    fn keep(&mut self) {
        if let Some(Page::List(kind, look)) = self.pages.first() {
            self.looks.insert(*kind, look.clone());
        }
    }

    fn beside(&mut self, by: usize) {
        let here = match self.pages.first() {
            Some(Page::List(kind, _)) => kind.number(),
            _ => 0,
        };
        self.list(Kind::ALL[(here + by) % Kind::ALL.len()]);
    }

    /// Takes a filter away, else goes back one page.
    fn back(&mut self) {
        let deep = self.pages.len() > 1;
        match self.pages.last_mut() {
            Some(Page::List(_, look) | Page::Node(_, look)) if !look.filter.is_empty() => {
                look.filter.clear();
            }
            Some(Page::Log(log)) if !log.search.is_empty() => log.search.clear(),
            _ if deep => {
                self.pages.pop();
                self.node = None;
            }
            _ => {}
        }
        if let Some((kind, _)) = self.table() {
            self.arrange(kind);
        }
    }

    /// Goes into what is selected.
    fn enter(&mut self) {
        let Some((kind, look)) = self.table() else {
            return;
        };
        let Some(row) = look.row(self.rows(kind)) else {
            return;
        };
        let (node, workload) = (row.node.clone(), row.workload.clone());
        let of_workload = |workload| {
            let scope = Scope {
                workload: Some(workload),
                node: None,
            };
            let look = Look {
                scope,
                sort: 1,
                ..Look::default()
            };
            Page::List(Kind::Instances, look)
        };
        let page = match (kind, node, workload) {
            (Kind::Instances, Some(node), Some(workload)) => {
                self.logs += 1;
                Page::Log(Box::new(Log::new(workload, node, self.logs)))
            }
            (Kind::Workloads | Kind::Rollouts, _, Some(workload)) => of_workload(workload),
            (Kind::Instances, ..) => return,
            (_, Some(node), _) => {
                let scope = Scope {
                    node: Some(node.clone()),
                    workload: None,
                };
                Page::Node(
                    node,
                    Look {
                        scope,
                        ..Look::default()
                    },
                )
            }
            (_, None, Some(workload)) => of_workload(workload),
            (_, None, None) => return,
        };
        if self.pages.len() < DEEPEST {
            self.node = None;
            self.pages.push(page);
            self.arrange(Kind::Instances);
        }
    }

    /// `true`: the key asks for something to be done with what is selected.
    fn act(&mut self, letter: char) -> bool {
        let action = match self.page() {
            Page::Log(_) => None,
            Page::Node(node, look) => {
                let row = look.row(self.rows(Kind::Instances));
                let of_instance = row.and_then(|row| actions::of(Kind::Instances, row, letter));
                let cordoned = self.node.as_ref().is_some_and(|n| n.0.cordoned);
                of_instance.or_else(|| actions::of_node(node, cordoned, letter))
            }
            Page::List(kind, look) => {
                let row = look.row(self.rows(*kind));
                row.and_then(|row| actions::of(*kind, row, letter))
            }
        };
        let some = action.is_some();
        if let Some(action) = action {
            self.mode = Mode::Confirm(action);
        }
        some
    }
}
