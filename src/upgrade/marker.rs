//! What a process is told of itself by the one that it was before, in one environment variable.
//!
//! It names the process that it is meant for: what a workload inherits by accident is meant for
//! somebody else.

use super::record::Program;
use std::path::PathBuf;

/// The variable.
pub(super) const VARIABLE: &str = "FLEETCTL_AGENT_PROGRAM";

/// What it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The agent, or the guard of another.
    Agent,
    /// To become the child on trial, of the guard with this process number.
    Launch(u32),
    /// The child on trial.
    OnTrial,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub role: Role,
    /// The program that it is, or is to become.
    pub program: Program,
    /// How often one program became another since the last one that ran.
    pub hops: u32,
    /// What the service manager starts.
    pub installed: PathBuf,
}

impl Marker {
    /// As text for the process `pid`; for [`Role::Launch`], whose number nobody knows yet, for
    /// whoever has that parent. `None`: the path cannot be written as text.
    pub(super) fn encode(&self, pid: u32) -> Option<String> {
        let (word, pid) = match self.role {
            Role::Agent => ("agent", pid),
            Role::Launch(guard) => ("launch", guard),
            Role::OnTrial => ("trial", pid),
        };
        let program = match self.program {
            Program::Installed => "installed".to_owned(),
            Program::Stored(digest) => digest.hex(),
        };
        let (hops, installed) = (self.hops, self.installed.to_str()?);
        Some(format!("{word} {pid} {program} {hops} {installed}"))
    }

    /// From the text, for the process `pid` with this parent.
    pub(super) fn decode(text: &str, pid: u32, parent: u32) -> Option<Marker> {
        let mut words = text.splitn(5, ' ');
        let word = words.next()?;
        let meant_for: u32 = words.next()?.parse().ok()?;
        let program = match words.next()? {
            "installed" => Program::Installed,
            hex => Program::Stored(hex.parse().ok()?),
        };
        let hops = words.next()?.parse().ok()?;
        let installed = PathBuf::from(words.next()?);
        let (role, own) = match word {
            "agent" => (Role::Agent, pid),
            "launch" => (Role::Launch(meant_for), parent),
            "trial" => (Role::OnTrial, pid),
            _ => return None,
        };
        (meant_for == own).then_some(Marker {
            role,
            program,
            hops,
            installed,
        })
    }

    /// Of this process.
    pub(super) fn of_this_process() -> Option<Marker> {
        let text = std::env::var(VARIABLE).ok()?;
        let parent = rustix::process::getppid().map_or(0, |p| p.as_raw_pid().unsigned_abs());
        Marker::decode(&text, std::process::id(), parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    #[test]
    fn a_marker_is_read_by_whom_it_is_meant_for_alone() {
        let programs = [Program::Installed, Program::Stored(Digest::of(b"x"))];
        for role in [Role::Agent, Role::Launch(7), Role::OnTrial] {
            for program in programs {
                let marker = Marker {
                    role,
                    program,
                    hops: 2,
                    installed: "/opt/my programs/fleetctl".into(),
                };
                let text = marker.encode(8).unwrap();
                assert_eq!(Marker::decode(&text, 8, 7), Some(marker), "{text}");
                assert_eq!(Marker::decode(&text, 9, 6), None, "{text}");
            }
        }
        for text in ["", "agent", "agent 8 cafe 0 /x", "other 8 installed 0 /x"] {
            assert_eq!(Marker::decode(text, 8, 7), None, "{text}");
        }
    }
}
