//! Orders that change something: remembered over a restart, so that none stays "executing".

use super::{Effect, Fleet, Refusal};
use crate::model::{CommandKind, CommandOutcome, CommandSpec, Name, TraceContext, UnixMs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Commands that are remembered; the oldest are forgotten first.
const MAX_COMMANDS: usize = 500;

/// One order to one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandRecord {
    /// To whom.
    #[schema(value_type = String)]
    pub node: Name,
    /// What.
    pub order: CommandSpec,
    /// When it was sent.
    pub issued_ms: UnixMs,
    /// When it counts as lost.
    pub deadline_ms: UnixMs,
    /// Its result.
    pub outcome: Option<CommandOutcome>,
}

impl Fleet {
    /// A command by id.
    pub fn command(&self, id: &str) -> Option<&CommandRecord> {
        self.commands.get(id)
    }

    /// All commands that are remembered, by id.
    pub fn commands(&self) -> impl Iterator<Item = (&String, &CommandRecord)> {
        self.commands.iter()
    }

    /// Commands without a result whose time is over: they end as failed.
    pub fn expired_commands(&self, now: UnixMs) -> Vec<super::Change> {
        let over = |r: &CommandRecord| r.outcome.is_none() && r.deadline_ms <= now;
        let finish = |(id, r): (&String, &CommandRecord)| super::Change::CommandFinished {
            id: id.clone(),
            outcome: CommandOutcome::failed(format!(
                "{} did not answer in time; whether it acted is not known",
                r.node
            )),
        };
        self.commands
            .iter()
            .filter(|(_, r)| over(r))
            .map(finish)
            .collect()
    }

    pub(super) fn issue_command(
        &mut self,
        id: &str,
        node: &Name,
        order: &CommandSpec,
        trace: Option<TraceContext>,
        at: UnixMs,
        deadline_ms: UnixMs,
    ) -> Result<Vec<Effect>, Refusal> {
        if !self.is_member(node.as_str()) {
            return Err(Refusal::no_node(node));
        }
        if order.command.changes_something()
            && let Some(workload) = &order.workload
        {
            let what = match order.command {
                CommandKind::Exec => "given a program to run beside it",
                _ => "started, stopped or removed on one node",
            };
            self.refuse_agent(workload, what)?;
        }
        if self.commands.contains_key(id) {
            return Err(Refusal::Conflict(format!(
                "there is a command `{id}` already"
            )));
        }
        if self.commands.len() >= MAX_COMMANDS {
            let oldest = self
                .commands
                .iter()
                .min_by_key(|(id, r)| (r.issued_ms, (*id).clone()));
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.commands.remove(&id);
            }
        }
        let record = CommandRecord {
            node: node.clone(),
            order: order.clone(),
            issued_ms: at,
            deadline_ms,
            outcome: None,
        };
        self.commands.insert(id.to_owned(), record);
        Ok(vec![Effect::SendCommand {
            id: id.to_owned(),
            node: node.clone(),
            order: Box::new(order.clone()),
            trace,
        }])
    }

    pub(super) fn finish_command(
        &mut self,
        id: &str,
        outcome: &CommandOutcome,
    ) -> Result<Vec<Effect>, Refusal> {
        let command = self.commands.get_mut(id).filter(|c| c.outcome.is_none());
        let command = command.ok_or(Refusal::Unchanged)?;
        command.outcome = Some(CommandOutcome {
            lines: Vec::new(),
            ..outcome.clone()
        });
        Ok(Vec::new())
    }
}
