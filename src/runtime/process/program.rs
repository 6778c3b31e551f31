//! A program as an instance's plan has it: its user, its environment, its place, and sentences
//! for what goes wrong. The shim starts the instance itself from it, the agent what is run
//! beside it.

use super::account::Account;
use super::directory::InstanceDir;
use super::record::Plan;
use rustix::process::geteuid;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where programs are looked for unless the workload says otherwise.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotStarted {
    /// One sentence for a person.
    pub message: String,
    /// Trying again without a change may help.
    pub may_pass: bool,
}

impl NotStarted {
    /// Only a change helps.
    pub fn for_good(message: String) -> NotStarted {
        NotStarted {
            message,
            may_pass: false,
        }
    }
}

/// Who a program becomes between fork and exec; nothing where it stays who the agent is.
#[derive(Debug, Clone)]
pub(super) struct Identity(Option<(Vec<u32>, u32, u32)>);

impl Identity {
    /// Makes only system calls and allocates nothing.
    pub fn assume(&self) -> io::Result<()> {
        let Some((groups, gid, uid)) = &self.0 else {
            return Ok(());
        };
        // SAFETY: plain values, and a pointer with its length.
        unsafe {
            check(libc::setgroups(groups.len(), groups.as_ptr()))?;
            check(libc::setgid(*gid))?;
            check(libc::setuid(*uid))
        }
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What is looked up before a program can be started.
#[derive(Debug)]
pub(super) struct Setting {
    /// Who it runs as.
    pub account: Account,
    /// How it becomes that.
    pub identity: Identity,
    pub place: PathBuf,
}

impl Setting {
    /// Of the instance in `dir`; makes its `work` directory where that is missing.
    pub fn of(dir: &InstanceDir, plan: &Plan) -> Result<Setting, NotStarted> {
        let account = Account::find(plan.user.as_deref()).map_err(NotStarted::for_good)?;
        let changes = may_become(&account)?;
        let place = working_dir(dir, plan, changes.then_some(&account))?;
        let identity =
            Identity(changes.then(|| (account.groups.clone(), account.gid, account.uid)));
        Ok(Setting {
            account,
            identity,
            place,
        })
    }

    /// A command with the instance's environment and place. The user wins wherever both have
    /// a variable.
    pub fn command(&self, plan: &Plan, command: &[String]) -> Result<Command, NotStarted> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(NotStarted::for_good(
                "its command is empty; name the program to run".into(),
            ));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &self.account.home)
            .env("USER", &self.account.name)
            .env("LOGNAME", &self.account.name)
            .env("SHELL", &self.account.shell)
            .env("FLEETCTL_NODE", plan.node.as_str())
            .env("FLEETCTL_WORKLOAD", plan.workload.as_str())
            .env("FLEETCTL_VERSION", &plan.version)
            .envs(&plan.env)
            .current_dir(&self.place);
        Ok(command)
    }
}

/// Whether the account is another one than the agent's.
fn may_become(account: &Account) -> Result<bool, NotStarted> {
    let me = geteuid();
    if me.is_root() {
        // As root also where it stays root: its groups become its own and not the agent's.
        Ok(true)
    } else if me.as_raw() == account.uid {
        Ok(false)
    } else {
        Err(NotStarted::for_good(format!(
            "it cannot run as user `{}` because the agent does not run as root; start the agent \
             as root or leave the user out",
            account.name
        )))
    }
}

fn working_dir(
    dir: &InstanceDir,
    plan: &Plan,
    owner: Option<&Account>,
) -> Result<PathBuf, NotStarted> {
    let Some(place) = &plan.working_dir else {
        let work = dir.work();
        let _ = std::fs::create_dir(&work);
        if let Some(owner) = owner {
            let _ = std::os::unix::fs::chown(&work, Some(owner.uid), Some(owner.gid));
        }
        return Ok(work);
    };
    match std::fs::metadata(place) {
        Ok(found) if found.is_dir() => Ok(PathBuf::from(place)),
        Ok(_) => Err(NotStarted::for_good(format!(
            "working directory `{place}` is not a directory"
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NotStarted::for_good(
            format!("working directory `{place}` does not exist on this node"),
        )),
        Err(error) => Err(NotStarted::for_good(format!(
            "working directory `{place}` cannot be entered: {error}"
        ))),
    }
}

/// A sentence for what the kernel said to the start of `program`.
pub(super) fn explain(plan: &Plan, program: &str, error: &io::Error) -> NotStarted {
    let has_path = program.contains('/');
    let of_python = plan
        .python
        .as_ref()
        .filter(|_| plan.command.first().is_some_and(|first| first == program));
    let message = match (error.raw_os_error(), of_python) {
        (Some(libc::ENOENT), Some(python)) => match &python.venv {
            Some(venv) => format!(
                "there is no `{program}` on this node; make the virtual environment with \
                 `python3 -m venv {venv}`, or leave `venv` out"
            ),
            None => "Python is not installed on this node: `python3` is not found in PATH; \
                     install it, or name a virtual environment with `venv`"
                .to_owned(),
        },
        (Some(libc::ENOENT), None) if has_path && Path::new(program).exists() => format!(
            "`{program}` needs an interpreter or a loader that does not exist on this node (see \
             its first line, or what it was built for)"
        ),
        (Some(libc::ENOENT), None) if has_path => {
            format!("`{program}` does not exist on this node")
        }
        (Some(libc::ENOENT), None) => {
            format!("`{program}` does not exist on this node (not found in PATH)")
        }
        (Some(libc::EACCES), _) => match &plan.user {
            Some(user) => format!("`{program}` is not executable by user `{user}`"),
            None => format!("`{program}` is not executable"),
        },
        (Some(libc::ENOEXEC), _) => format!(
            "`{program}` is not a program for this node: it was built for another architecture, \
             or is a script without a first line that names its interpreter"
        ),
        (Some(libc::EPERM), _) => format!(
            "`{program}` may not be started as asked for: the system does not let the agent \
             change to its user and groups"
        ),
        (Some(libc::E2BIG), _) => format!(
            "`{program}` cannot be started: its arguments and environment (with `params`) are \
             larger than the system takes; move what is large into `files`"
        ),
        _ => format!("`{program}` cannot be started: {error}"),
    };
    let passing = [
        libc::EAGAIN,
        libc::ENOMEM,
        libc::EMFILE,
        libc::ENFILE,
        libc::ETXTBSY,
    ];
    NotStarted {
        message,
        may_pass: error.raw_os_error().is_some_and(|n| passing.contains(&n)),
    }
}
