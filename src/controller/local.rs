//! One node in the controller's own process.

use super::state::Controller;
use crate::{
    agent::{self, AgentEnd},
    config::{AgentConfig, ControllerConfig, JoinSource, Surroundings},
    model::Name,
    support::{Shutdown, clock},
};
use std::sync::Arc;
use tracing::error;

/// One node in the controller's own process.
pub(super) async fn local_agent(
    config: ControllerConfig,
    controller: Arc<Controller>,
    shutdown: Shutdown,
) {
    let around = Surroundings::of_this_process();
    let name = config
        .node_name
        .clone()
        .or_else(|| Name::from_lossy(&around.host_name));
    let Some(name) = name else {
        error!("the local node has no name; set `node_name`");
        return;
    };
    loop {
        let hour = clock::unix_ms() + 3_600_000;
        // Only an agent that has not joined yet needs a token that is taken.
        let joined = config.common.data_dir.join("agent/fleet.json").exists();
        let token = if joined {
            controller.join_token("local".into(), 1)
        } else {
            match controller
                .create_join_token(None, format!("local node {name}"), hour, None)
                .await
            {
                Ok(token) => token,
                Err(error) => {
                    error!(%error, "the local agent gets no join token");
                    return;
                }
            }
        };
        let Ok(token) = crate::config::JoinToken::parse(&token) else {
            return;
        };
        let agent = AgentConfig::local(
            config.common.clone(),
            config.common.data_dir.join("agent"),
            name.clone(),
            JoinSource::Token(token),
            config.otlp.clone(),
            &around,
        );
        match agent::run(agent, None, shutdown.clone()).await {
            Ok(AgentEnd::Restart) => continue,
            Ok(AgentEnd::Stopped | AgentEnd::HandOver) => return,
            Err(error) => {
                error!(
                    error = crate::support::chain(&error),
                    "the local agent ends"
                );
                return;
            }
        }
    }
}
