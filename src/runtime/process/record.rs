//! What is written down about an instance: three small JSON files.
//!
//! | file | type | written by | when |
//! |---|---|---|---|
//! | `instance.json` | [`Plan`] | agent | before the shim starts |
//! | `state.json` | [`State`] | shim | when the program runs |
//! | `exit.json` | [`Ending`] | shim (agent, if the shim was killed) | when the program is gone |
//!
//! Readers ignore fields that they do not know, so that an older shim and a newer agent, which
//! share a directory after an upgrade, understand each other.

use super::process_id::ProcessId;
use crate::model::{Name, Resources, Run, UnixMs};
use crate::runtime::{Exit, Launch, RuntimeError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the shim is to run, and the labels of the instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The node that made it.
    pub node: Name,
    /// The workload.
    pub workload: Name,
    /// The workload's version.
    pub version: String,
    /// [`crate::model::Workload::spec_hash`].
    pub spec_hash: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// `uid[:gid]`, or a name of this node.
    #[serde(default)]
    pub user: Option<String>,
    /// The instance's own `work` directory when not given.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Of the workload; the shim adds its own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Limits.
    #[serde(default)]
    pub resources: Resources,
}

impl Plan {
    /// From a launch; refused where the workload is not a process.
    pub fn new(launch: &Launch) -> Result<Plan, RuntimeError> {
        let workload = &launch.workload;
        let Run::Process {
            command,
            user,
            working_dir,
        } = &workload.run
        else {
            return Err(RuntimeError::Refused(format!(
                "`{}` is a container, which the process runtime cannot run; give it a `command` \
                 in place of an `image`, or a node with Docker or Podman",
                workload.name
            )));
        };
        if command.is_empty() {
            return Err(RuntimeError::Refused(format!(
                "`{}` has an empty command; name the program to run",
                workload.name
            )));
        }
        Ok(Plan {
            node: launch.node.clone(),
            workload: workload.name.clone(),
            version: workload.version.clone(),
            spec_hash: launch.spec_hash.clone(),
            command: command.clone(),
            user: user.clone(),
            working_dir: working_dir.clone(),
            env: workload.env.clone(),
            resources: workload.resources.clone(),
        })
    }
}

/// That it runs, and as which processes. Speaks for one boot of the machine only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The shim.
    pub shim: ProcessId,
    /// The program; leader of its process group.
    pub child: ProcessId,
    /// Pids mean nothing in another boot.
    pub boot_id: String,
    /// Node's clock.
    pub started_ms: UnixMs,
    /// What works less well than asked for.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl State {
    /// It was written in this boot of the machine, so its pids may be looked at.
    pub fn is_of_this_boot(&self) -> bool {
        super::process_id::boot_id().is_some_and(|id| id == self.boot_id)
    }

    /// The shim lives, hence the program is looked after.
    pub fn is_live(&self) -> bool {
        self.shim.is_running() && self.is_of_this_boot()
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    /// The end itself.
    pub end: End,
    /// The kernel may have ended it for want of memory.
    #[serde(default)]
    pub out_of_memory: bool,
    /// One sentence where there is more to say.
    #[serde(default)]
    pub message: Option<String>,
    /// Node's clock.
    pub finished_ms: UnixMs,
}

/// The ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// It exited.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It could not be started; the message says why.
    NotStarted {
        /// Trying again without a change may help.
        may_pass: bool,
    },
    /// Nobody saw it.
    Unseen,
}

impl Ending {
    /// An end that happened just now.
    pub fn now(end: End, message: Option<String>) -> Ending {
        Ending {
            end,
            out_of_memory: false,
            message,
            finished_ms: now_ms(),
        }
    }

    /// In the words of the runtime's trait.
    pub fn exit(&self) -> Exit {
        let code = match self.end {
            End::Code(code) => Some(code),
            End::Signal(signal) => Some(128_i32.saturating_add(signal)),
            End::NotStarted { .. } | End::Unseen => None,
        };
        Exit {
            code,
            out_of_memory: self.out_of_memory,
            message: self.message.clone(),
        }
    }
}

/// The node's clock, Unix milliseconds.
pub(super) fn now_ms() -> UnixMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMs::try_from(since.as_millis()).unwrap_or(UnixMs::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_from_128() {
        assert_eq!(Ending::now(End::Signal(9), None).exit().code, Some(137));
        assert_eq!(Ending::now(End::Code(3), None).exit().code, Some(3));
        assert_eq!(Ending::now(End::Unseen, None).exit().code, None);
    }

    #[test]
    fn the_stored_form_of_an_ending_stays() {
        let stored = r#"{"end":{"not_started":{"may_pass":true}},"finished_ms":7,"later":1}"#;
        let ending: Ending = serde_json::from_str(stored).expect("an older or newer form");
        assert_eq!(ending.end, End::NotStarted { may_pass: true });
        let stored = r#"{"end":{"code":3},"out_of_memory":false,"message":null,"finished_ms":7}"#;
        let ending: Ending = serde_json::from_str(stored).expect("today's form");
        assert_eq!(serde_json::to_string(&ending).expect("plain data"), stored);
    }
}
