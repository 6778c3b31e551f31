//! What changes an instance: launch, start, reload, remove. One at a time for each.

use super::directory::InstanceDir;
use super::record::{self, End, Plan};
use super::standing::Standing;
use super::{GONE, Processes, delete, instances, mounts, placed, spawn, stop};
use crate::runtime::{Launch, Launched, RuntimeError};
use std::io;
use std::time::Duration;

impl Processes {
    /// As [`crate::runtime::Runtime::launch`].
    pub(super) async fn launch_plan(&self, launch: &Launch) -> Result<Launched, RuntimeError> {
        let plan = Plan::new(launch)?;
        let name = launch.container_name();
        let dir = self.dir(name.strip_prefix("fleetctl-").unwrap_or(&name))?;
        let _turn = self.turn(&dir.handle()).await;
        if let Some(there) = dir.plan() {
            if there.spec_hash == plan.spec_hash && there.node == plan.node {
                if let Some(launched) = running(&dir) {
                    return Ok(launched);
                }
            } else {
                // Eight hex digits may collide.
                stop::stop(&dir, Duration::ZERO).await?;
            }
        }
        if dir.plan().as_ref() != Some(&plan) {
            let place = dir.clone();
            // Waits for the disk.
            tokio::task::spawn_blocking(move || {
                place.create()?;
                place.write_plan(&plan)
            })
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| {
                RuntimeError::Failed(format!(
                    "the directory of `{}` cannot be written below `{}`: {error}",
                    dir.handle(),
                    self.root.display()
                ))
            })?;
        }
        self.bring_up(&dir).await
    }

    /// As [`crate::runtime::Runtime::start`].
    pub(super) async fn start_again(&self, handle: &str) -> Result<Launched, RuntimeError> {
        let dir = self.dir(handle)?;
        let _turn = self.turn(handle).await;
        if dir.plan().is_none() {
            return Err(RuntimeError::NotFound(handle.to_owned()));
        }
        if let Some(launched) = running(&dir) {
            return Ok(launched);
        }
        self.bring_up(&dir).await
    }

    /// Starts the shim and tells what came of it. Needs the turn, and that nothing runs there.
    async fn bring_up(&self, dir: &InstanceDir) -> Result<Launched, RuntimeError> {
        // Kills what a killed shim left behind, so that it never runs twice.
        let _ = Standing::of(dir);
        if let Some(plan) = dir.plan()
            && !(plan.files.is_empty() && dir.placed().is_empty())
        {
            self.place_files(dir, plan).await?;
        }
        let cgroup = self
            .cgroups
            .as_ref()
            .and_then(|base| base.of_instance(&dir.handle()));
        spawn::start(&self.shim, dir, cgroup.as_deref()).await?;
        // Without a watcher there is nobody to tell.
        let _ = self.started.send(dir.handle());
        match Standing::of(dir) {
            Standing::Running(state) => Ok(launched(dir, state)),
            Standing::Ended(ending) => match ending.end {
                End::NotStarted { may_pass } => {
                    let why = ending
                        .message
                        .unwrap_or_else(|| "it cannot be started".to_owned());
                    Err(if may_pass {
                        RuntimeError::Failed(why)
                    } else {
                        RuntimeError::Refused(why)
                    })
                }
                // It ran, and was quick.
                _ => Ok(Launched {
                    handle: dir.handle(),
                    pid: None,
                    warnings: dir.state().map(|state| state.warnings).unwrap_or_default(),
                }),
            },
            Standing::Created => Err(RuntimeError::Failed(format!(
                "`{}` was removed while it was being started",
                dir.handle()
            ))),
        }
    }

    /// Whether one changed.
    async fn place_files(&self, dir: &InstanceDir, plan: Plan) -> Result<bool, RuntimeError> {
        let (root, place) = (self.root.clone(), dir.clone());
        // Waits for the disk.
        tokio::task::spawn_blocking(move || {
            mounts::with_the_machines(|| placed::place_files(&root, &place, &plan))
        })
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| RuntimeError::Failed(format!("its files were not placed: {error}")))?
    }

    /// As [`crate::runtime::Runtime::reload`].
    pub(super) async fn place_and_signal(
        &self,
        handle: &str,
        launch: &Launch,
    ) -> Result<bool, RuntimeError> {
        let dir = self.dir(handle)?;
        let _turn = self.turn(handle).await;
        let there = dir
            .plan()
            .ok_or_else(|| RuntimeError::NotFound(handle.to_owned()))?;
        let plan = Plan::new(launch)?;
        // Written down last: if the agent is killed before, the signal is sent once more.
        let untold = there.files != plan.files;
        let changed = self.place_files(&dir, plan.clone()).await? || untold;
        if changed
            && let Some(signal) = launch.workload.reload
            && let Some(state) = dir.state().filter(record::State::is_live)
        {
            let number = rustix::process::Signal::from_named_raw(signal.number());
            let sent = number.map(|number| state.child.signal(number)).transpose();
            sent.map_err(|error| {
                RuntimeError::Failed(format!("{signal} cannot be sent to `{handle}`: {error}"))
            })?;
        }
        if there != plan {
            let place = dir.clone();
            tokio::task::spawn_blocking(move || place.write_plan(&plan))
                .await
                .map_err(io::Error::other)
                .flatten()
                .map_err(|error| {
                    RuntimeError::Failed(format!(
                        "the new files of `{handle}` cannot be written down: {error}"
                    ))
                })?;
        }
        Ok(changed)
    }

    /// As [`crate::runtime::Runtime::remove`].
    pub(super) async fn remove_dir(&self, handle: &str) -> Result<(), RuntimeError> {
        let Ok(dir) = self.dir(handle) else {
            return Ok(());
        };
        let _turn = self.turn(handle).await;
        stop::stop(&dir, Duration::ZERO).await?;
        let gone = self.root.join(format!("{GONE}{handle}"));
        let place = dir.clone();
        // The name first: a deletion that is cut off must not leave half an instance.
        let removed = tokio::task::spawn_blocking(move || {
            mounts::with_the_machines(|| placed::remove_files(&place))?;
            delete(&gone)?;
            match std::fs::rename(place.path(), &gone) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => delete(&gone),
            }
        });
        removed
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| {
                RuntimeError::Failed(format!("`{handle}` cannot be removed: {error}"))
            })?;
        // One that is being started has its directory already.
        if let Some(base) = &self.cgroups
            && instances(&self.root).is_empty()
        {
            base.tidy();
        }
        Ok(())
    }
}

fn running(dir: &InstanceDir) -> Option<Launched> {
    match Standing::of(dir) {
        Standing::Running(state) => Some(launched(dir, state)),
        _ => None,
    }
}

fn launched(dir: &InstanceDir, state: record::State) -> Launched {
    Launched {
        handle: dir.handle(),
        pid: u32::try_from(state.child.pid).ok(),
        warnings: state.warnings,
    }
}
