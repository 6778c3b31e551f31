//! Every step with a power cut after it, and random rows of crashes: whatever happens, an agent comes
//! up, and it is the old one or the new one.

use super::{
    decide::{Begin, Ending, How, MAX_TRIES, World, begin},
    record::{Edition, OnTrial, Program, Record},
};
use crate::model::Digest;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// How the new release behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum New {
    /// Healthy: it confirms.
    Good,
    /// Ends, or is killed for its time.
    Bad,
    /// Finds by itself that it does not work.
    GivesUp,
    /// Works, but something else is wanted meanwhile.
    Superseded,
}

/// A board: what outlives a power cut, and when the power goes.
#[derive(Debug)]
struct Board {
    record: Option<Record>,
    installed: Digest,
    whole: BTreeSet<Digest>,
    new: New,
    /// Writes until the power goes; each one before and each one after is a step of its own.
    power: Option<u32>,
    /// It has gone: nothing that is done from now on is done.
    dark: bool,
    started: u32,
    /// The disk takes nothing.
    full: bool,
}

const OLD: &[u8] = b"old";
const NEW: &[u8] = b"new";

fn stored(bytes: &[u8]) -> Program {
    Program::Stored(Digest::of(bytes))
}

fn edition(bytes: &[u8]) -> Edition {
    Edition {
        program: stored(bytes),
        version: String::from_utf8_lossy(bytes).into_owned(),
        spec_hash: format!("{:?}", Digest::of(bytes)),
    }
}

impl Board {
    /// With the old one as it was installed, or as an earlier upgrade.
    fn new(upgraded: bool, new: New) -> Board {
        let mut record = Record::default().noted("first", "1");
        let installed = Digest::of(b"installed");
        if upgraded {
            let trial = record.to_try(edition(OLD), 1, installed);
            record = trial.confirmed().unwrap();
        }
        Board {
            record: Some(record),
            installed,
            whole: [Digest::of(OLD), Digest::of(NEW)].into(),
            new,
            power: None,
            dark: false,
            started: 0,
            full: false,
        }
    }

    fn old(&self) -> Program {
        match &self.record {
            Some(record) => record.current.program,
            None => Program::Installed,
        }
    }

    /// A write; the power may go before it or after it.
    fn write(&mut self, record: Option<Record>) -> bool {
        if self.dark || self.full {
            return false;
        }
        if let Some(power) = &mut self.power {
            if *power == 0 {
                self.dark = true;
                return false;
            }
            *power -= 1;
        }
        self.record = record;
        if self.power == Some(0) {
            self.dark = true;
        }
        true
    }

    /// What `launch` of the runtime does.
    fn wish(&mut self, edition: Edition) {
        let record = self.record.clone().unwrap_or_default();
        if record.refuses(&edition.spec_hash).is_none() {
            let next = record.to_try(edition, 1_000, self.installed);
            self.write(Some(next));
        }
    }

    /// From a boot, or from a process that begins anew as `me`, to an agent that runs; `None`: the
    /// power went before.
    fn come_up(&mut self, mut me: Program) -> Option<Program> {
        for _ in 0..20 {
            let begun = begin(self, me, false);
            if self.dark {
                return None;
            }
            match begun {
                Begin::Run => return Some(me),
                Begin::Become(program) => me = program,
                Begin::Stop => panic!("nobody asked it to stop"),
            }
        }
        panic!("it goes round and round: {self:?}");
    }

    fn boot(&mut self) -> Option<Program> {
        self.dark = false;
        self.come_up(Program::Installed)
    }
}

impl World for Board {
    fn record(&mut self) -> Record {
        self.record.clone().unwrap_or_default()
    }

    fn store(&mut self, record: &Record) -> bool {
        self.write(Some(record.clone()))
    }

    fn installed(&mut self) -> Option<Digest> {
        Some(self.installed)
    }

    fn is_whole(&mut self, program: Program) -> bool {
        program.digest().is_none_or(|d| self.whole.contains(&d))
    }

    fn guard(&mut self, trial: &OnTrial) -> Ending {
        let ending = |how| Ending {
            how,
            after_ms: 1,
            last_lines: Vec::new(),
        };
        if self.dark {
            return ending(How::Signal(9));
        }
        self.started += 1;
        let record = self.record.clone().unwrap();
        assert_eq!(record.trial.as_ref().unwrap().edition, trial.edition);
        assert!(
            record.trial.as_ref().unwrap().tries >= 1,
            "counted before it starts"
        );
        match self.new {
            New::Good => {
                self.write(record.confirmed());
            }
            New::GivesUp => {
                self.write(Some(record.failed("no network".into(), Vec::new())));
            }
            New::Superseded => {
                self.write(Some(record.superseded()));
            }
            New::Bad => {}
        }
        ending(How::Exit(75))
    }

    fn say(&mut self, _: String) {}
}

/// Wishes for the new one, with the power going at that write; what runs in the end.
fn upgrade(board: &mut Board, power: Option<u32>) -> Program {
    let old = board.old();
    board.power = power;
    board.wish(edition(NEW));
    let mut runs = match board.dark {
        true => None,
        false => board.come_up(old),
    };
    board.power = None;
    for _ in 0..3 {
        runs = runs.or_else(|| board.boot());
    }
    runs.expect("an agent comes up where the power stays")
}

#[test]
fn a_power_cut_after_any_write_leaves_the_old_one_or_the_new_one() {
    for upgraded in [false, true] {
        for new in [New::Good, New::Bad, New::GivesUp, New::Superseded] {
            for power in (0..8).map(Some).chain([None]) {
                let mut board = Board::new(upgraded, new);
                let old = board.old();
                let runs = upgrade(&mut board, power);
                let record = board.record.clone().unwrap();
                let what = format!("{upgraded} {new:?} {power:?}: {record:?}");
                assert_eq!(
                    runs, record.current.program,
                    "what runs is what is current: {what}"
                );
                assert_eq!(record.trial, None, "nothing stays undecided: {what}");
                match new {
                    New::Good if power != Some(0) => assert_eq!(runs, stored(NEW), "{what}"),
                    _ => assert_eq!(runs, old, "{what}"),
                }
                let failed = matches!(new, New::Bad | New::GivesUp) && power != Some(0);
                let refused = record.refuses(&edition(NEW).spec_hash).is_some();
                assert_eq!(refused, failed, "{what}");
                assert_eq!(
                    board.boot(),
                    Some(runs),
                    "and it does so after each boot: {what}"
                );
            }
        }
    }
}

#[test]
fn what_takes_the_board_down_is_tried_twice() {
    let mut board = Board::new(true, New::Bad);
    board.wish(edition(NEW));
    let mut boots = 0;
    // The write that counts goes through, and then the power goes.
    let runs = loop {
        boots += 1;
        assert!(boots < 10, "{board:?}");
        board.power = Some(1);
        if let Some(runs) = board.boot() {
            break runs;
        }
        if board.record.as_ref().unwrap().trial.is_none() {
            board.power = None;
            break board.boot().unwrap();
        }
    };
    assert_eq!(runs, stored(OLD));
    assert_eq!(boots, MAX_TRIES + 1);
    let failed = board.record.unwrap().failed.unwrap();
    assert!(
        failed.reason.contains("started 2 times"),
        "{}",
        failed.reason
    );
}

#[test]
fn a_damaged_program_is_not_run() {
    let mut board = Board::new(true, New::Good);
    board.whole.clear();
    assert_eq!(board.boot(), Some(Program::Installed));
    assert_eq!(
        board.record,
        Some(Record::default()),
        "the fleet's wish begins anew"
    );

    let mut board = Board::new(true, New::Good);
    board.wish(edition(NEW));
    board.whole.remove(&Digest::of(NEW));
    assert_eq!(board.boot(), Some(stored(OLD)));
    assert_eq!(board.started, 0);
    assert!(board.record.unwrap().failed.is_some());
}

#[test]
fn another_program_that_was_installed_wins() {
    let mut board = Board::new(true, New::Good);
    board.wish(edition(NEW));
    board.installed = Digest::of(b"installed by hand");
    assert_eq!(board.boot(), Some(Program::Installed));
    assert_eq!(board.record, Some(Record::default()));
    assert_eq!(board.started, 0);
}

#[test]
fn a_disk_that_takes_nothing_leaves_the_old_one() {
    let mut board = Board::new(true, New::Good);
    board.wish(edition(NEW));
    board.full = true;
    assert_eq!(board.boot(), Some(stored(OLD)));
    assert_eq!(board.started, 0, "a try that cannot be counted is not made");
}

#[test]
fn the_installed_one_comes_back_by_a_trial_like_any_other() {
    let mut board = Board::new(true, New::Good);
    let back = Edition {
        program: Program::Installed,
        version: "1".into(),
        spec_hash: "first".into(),
    };
    board.wish(back);
    assert_eq!(board.come_up(stored(OLD)), Some(Program::Installed));
    assert_eq!(board.boot(), Some(Program::Installed));
}

#[test]
fn the_child_on_trial_is_the_agent_and_nothing_else() {
    let mut board = Board::new(true, New::Good);
    board.wish(edition(NEW));
    assert_eq!(begin(&mut board, stored(NEW), true), Begin::Run);
    assert_eq!(board.started, 0);
}

proptest! {
    #[test]
    fn random_rows_of_crashes_always_end_with_an_agent(
        upgraded: bool,
        row in prop::collection::vec((0_u8..4, prop::option::of(0_u32..6), any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut board = Board::new(upgraded, New::Good);
        for (kind, power, full, damaged) in row {
            board.new =
                [New::Good, New::Bad, New::GivesUp, New::Superseded][usize::from(kind)];
            let name = [b'n', kind, u8::from(damaged)];
            if !damaged {
                board.whole.insert(Digest::of(&name));
            }
            let old = board.old();
            board.power = power;
            board.wish(edition(&name));
            board.full = full;
            let mut runs = if board.dark { None } else { board.come_up(old) };
            board.power = None;
            for _ in 0..3 {
                runs = runs.or_else(|| board.boot());
            }
            prop_assert!(runs.is_some(), "{:?}", board);
            board.full = false;
            // What is left undecided on a full disk is decided by the next boot.
            let runs = board.boot();
            let record = board.record.clone().unwrap_or_default();
            prop_assert_eq!(runs, Some(record.current.program));
            prop_assert_eq!(&record.trial, &None);
        }
    }
}
