//! What the programs of simulated workloads do: their version says it, so that a log tells.
//!
//! | version | does |
//! |---|---|
//! | `7` | runs for ever, is healthy |
//! | `7-crash` | ends with exit code 1 within two seconds, each time |
//! | `7-never` | runs for ever; its health check never answers well |
//! | `7-sick` | is healthy at first, and then no more |
//! | `7-done` | ends with exit code 0 after half a second |

/// How a program behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Good,
    Crashes,
    Never,
    Sick,
    Done,
}

/// After how long a sick one stops to answer well.
const SICK_AFTER_MS: u64 = 25_000;

impl Program {
    pub fn of(version: &str) -> Program {
        match version.rsplit_once('-').map(|(_, word)| word) {
            Some("crash") => Program::Crashes,
            Some("never") => Program::Never,
            Some("sick") => Program::Sick,
            Some("done") => Program::Done,
            _ => Program::Good,
        }
    }

    /// It does not do what it is for: no rollout of it may succeed, unless it is sick too late.
    pub fn is_poisoned(self) -> bool {
        matches!(self, Program::Crashes | Program::Never | Program::Sick)
    }

    /// When it ends by itself, and with which code.
    pub fn ends(self, version: &str) -> Option<(u64, i32)> {
        let number = version
            .split('-')
            .next()
            .and_then(|n| n.parse::<u64>().ok());
        let number = number.unwrap_or(0);
        match self {
            Program::Crashes => Some((200 + number * 613 % 1_600, 1)),
            Program::Done => Some((500, 0)),
            _ => None,
        }
    }

    /// What its health check answers when it has run for so long.
    pub fn answers(self, up_ms: u64) -> Result<(), String> {
        match self {
            Program::Never => Err("it answers 500".to_owned()),
            Program::Sick if up_ms >= SICK_AFTER_MS => Err("it answers 503".to_owned()),
            _ => Ok(()),
        }
    }
}
