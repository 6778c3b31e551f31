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

use super::cgroup::Cgroup;
use super::process_id::ProcessId;
use super::program;
use crate::model::{FileSpec, LogLimits, Name, Resources, Run, UnixMs};
use crate::runtime::{ENV_TRACE, Exit, Launch, RuntimeError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
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
    /// How much of what it writes is kept.
    #[serde(default)]
    pub logs: LogLimits,
    /// What the agent places before each start.
    #[serde(default)]
    pub files: Vec<FileSpec>,
    /// It is a Python callable, and `command` is the interpreter's.
    #[serde(default)]
    pub python: Option<Python>,
}

/// What there is to know of a Python callable when it cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Python {
    /// `package.module:function`.
    pub callable: String,
    /// Virtual environment.
    #[serde(default)]
    pub venv: Option<String>,
}

impl Plan {
    /// From a launch; refused where the workload is a container.
    ///
    /// The environment is complete here as far as the workload determines it, so that a shim of
    /// another version has nothing to add.
    pub fn new(launch: &Launch) -> Result<Plan, RuntimeError> {
        let workload = &launch.workload;
        let mut env = workload.env.clone();
        if let Some(trace) = launch.trace {
            env.entry(ENV_TRACE.to_owned())
                .or_insert_with(|| trace.to_string());
        }
        if !workload.params.is_empty() {
            let params = serde_json::Value::Object(workload.params.clone()).to_string();
            env.entry("FLEETCTL_PARAMS".to_owned()).or_insert(params);
        }
        let (command, user, working_dir, python) = match &workload.run {
            Run::Process {
                command,
                user,
                working_dir,
            } => (command.clone(), user, working_dir, None),
            Run::Python {
                callable,
                venv,
                path,
                user,
                working_dir,
            } => {
                let command = python_command(callable, venv.as_deref(), path);
                python_environment(&mut env, venv.as_deref(), path);
                let python = Python {
                    callable: callable.clone(),
                    venv: venv.clone(),
                };
                (command, user, working_dir, Some(python))
            }
            Run::Agent { .. } => {
                return Err(RuntimeError::Refused(format!(
                    "`{}` is the agent itself, not a process beside it",
                    workload.name
                )));
            }
            Run::Container { .. } => {
                return Err(RuntimeError::Refused(format!(
                    "`{}` is a container, which the process runtime cannot run; give it a \
                     `command` in place of an `image`, or a node with Docker or Podman",
                    workload.name
                )));
            }
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
            command,
            user: user.clone(),
            working_dir: working_dir.clone(),
            env,
            resources: workload.resources.clone(),
            logs: workload.logs,
            files: workload.files.clone(),
            python,
        })
    }
}

/// Calls a callable, see the file.
const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// The directories of `path` come before everything else in `sys.path`, also before the working
/// directory; that is the bootstrap's doing.
fn python_command(callable: &str, venv: Option<&str>, path: &[String]) -> Vec<String> {
    let python = match venv {
        Some(venv) => format!("{}/bin/python3", venv.trim_end_matches('/')),
        None => "python3".to_owned(),
    };
    let mut command = vec![
        python,
        "-u".to_owned(),
        "-c".to_owned(),
        BOOTSTRAP.to_owned(),
        callable.to_owned(),
    ];
    command.extend(path.iter().cloned());
    command
}

/// For programs that the callable starts in its turn.
fn python_environment(env: &mut BTreeMap<String, String>, venv: Option<&str>, path: &[String]) {
    if !path.is_empty() {
        let mut joined = path.join(":");
        if let Some(own) = env.get("PYTHONPATH").filter(|own| !own.is_empty()) {
            joined = format!("{joined}:{own}");
        }
        env.insert("PYTHONPATH".to_owned(), joined);
    }
    if let Some(venv) = venv {
        let venv = venv.trim_end_matches('/');
        env.entry("VIRTUAL_ENV".to_owned())
            .or_insert_with(|| venv.to_owned());
        env.entry("PATH".to_owned())
            .or_insert_with(|| format!("{venv}/bin:{}", program::PATH));
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
    /// The cgroup of the program and all that it starts, where there is one.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

impl State {
    /// It was written in this boot of the machine, so its pids may be looked at.
    pub fn is_of_this_boot(&self) -> bool {
        super::process_id::boot_id().is_some_and(|id| id == self.boot_id)
    }

    /// The program's cgroup.
    pub fn cgroup(&self) -> Option<Cgroup> {
        self.cgroup.clone().and_then(Cgroup::of)
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
    /// More than a sentence, at most 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
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
            detail: None,
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
            detail: self.detail.clone(),
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
    fn a_plan_of_the_first_release_is_read() {
        let stored = r#"{"node":"pi","workload":"web","version":"1","spec_hash":"00",
            "command":["/bin/true"],"user":null,"working_dir":null,"env":{"A":"b"},
            "resources":{"memory":1,"cpus":null,"nice":null},"of_a_later_release":1}"#;
        let plan: Plan = serde_json::from_str(stored).expect("an older and newer form");
        assert_eq!(plan.logs, LogLimits::default());
        assert_eq!((plan.files.len(), plan.python), (0, None));
    }

    fn plan_of(run: Run, change: impl FnOnce(&mut crate::model::Workload)) -> Plan {
        let mut workload = crate::model::Workload::new("web".parse().expect("a name"), run);
        change(&mut workload);
        let launch = Launch {
            node: "pi".parse().expect("a name"),
            spec_hash: workload.spec_hash(),
            workload: std::sync::Arc::new(workload),
            trace: None,
        };
        Plan::new(&launch).expect("a plan")
    }

    fn python(venv: Option<&str>, path: &[&str]) -> Run {
        Run::Python {
            callable: "pkg.mod:run".into(),
            venv: venv.map(str::to_owned),
            path: path.iter().map(ToString::to_string).collect(),
            user: None,
            working_dir: None,
        }
    }

    #[test]
    fn params_are_in_the_environment_unless_the_user_has_them() {
        let params = |w: &mut crate::model::Workload| {
            w.params.insert("n".into(), 1.into());
        };
        let plan = plan_of(python(None, &[]), params);
        assert_eq!(plan.env["FLEETCTL_PARAMS"], r#"{"n":1}"#);
        assert_eq!(plan.command[0], "python3");
        assert_eq!(plan.command[4..], ["pkg.mod:run"]);
        assert!(!plan.env.contains_key("PYTHONPATH"));
        let plan = plan_of(python(None, &[]), |w| {
            params(w);
            w.env.insert("FLEETCTL_PARAMS".into(), "own".into());
        });
        assert_eq!(plan.env["FLEETCTL_PARAMS"], "own");
        let plan = plan_of(python(None, &[]), |_| {});
        assert!(!plan.env.contains_key("FLEETCTL_PARAMS"));
    }

    #[test]
    fn a_python_path_comes_before_the_users_own() {
        let plan = plan_of(python(Some("/opt/v/"), &["/a", "/b"]), |w| {
            w.env.insert("PYTHONPATH".into(), "/own".into());
        });
        assert_eq!(plan.command[0], "/opt/v/bin/python3");
        assert_eq!(plan.command[5..], ["/a", "/b"]);
        assert_eq!(plan.env["PYTHONPATH"], "/a:/b:/own");
        assert_eq!(plan.env["VIRTUAL_ENV"], "/opt/v");
        assert!(plan.env["PATH"].starts_with("/opt/v/bin:/usr/"));
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
