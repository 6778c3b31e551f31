//! Tokens that the controller makes itself: at its first start, and for machines that join.

use super::{AskError, ControllerError, state::Controller};
use crate::{
    fleet::{Actor, Change, Refusal, TokenGrant},
    identity::{self, ApiToken, JoinToken, Role},
    journal::JournalError,
    support::clock,
};
use std::path::Path;

/// The first start makes an admin token and leaves it in a file.
/// `true` at the first start.
pub(super) async fn first_token(
    controller: &Controller,
    dir: &Path,
) -> Result<bool, ControllerError> {
    let path = dir.join("admin.token");
    let known = identity::read_optional(&path)?;
    let valid = known.is_some_and(|secret| {
        controller
            .fleet()
            .authorize(secret.trim(), clock::unix_ms())
            .is_some()
    });
    // Whoever revoked it has another one; without any, who can write here may have one.
    if valid || controller.fleet().has_admin_beside("", clock::unix_ms()) {
        return Ok(false);
    }
    let token = ApiToken::generate()?;
    identity::write_private(&path, format!("{}\n", token.secret).as_bytes())?;
    let id = if controller.fleet().tokens().any(|(id, _)| id == "admin") {
        identity::random_id()?
    } else {
        "admin".to_owned()
    };
    let change = Change::TokenCreated {
        id,
        name: "admin".into(),
        grant: TokenGrant::Api {
            role: Role::Admin,
            digest: token.digest,
        },
        expires_ms: 0,
        uses: None,
    };
    let by = Actor {
        token: "first start".into(),
        role: Role::Admin,
        from: "local".into(),
        trace: None,
    };
    match controller.change(Some(by), change).await {
        Ok(()) | Err(AskError::Refused(Refusal::Unchanged)) => Ok(true),
        Err(error) => Err(ControllerError::Journal(JournalError::Failed {
            path: dir.join("journal.db").display().to_string(),
            what: error.to_string(),
        })),
    }
}

impl Controller {
    /// Makes a join token that is valid until `expires_ms` (0: for ever), for so many machines or for
    /// any number, and journals it.
    ///
    /// # Errors
    /// As [`Controller::change`].
    pub async fn create_join_token(
        &self,
        by: Option<Actor>,
        name: String,
        expires_ms: u64,
        uses: Option<u32>,
    ) -> Result<String, AskError> {
        let id = identity::random_id().map_err(|e| AskError::NotDurable(e.to_string()))?;
        let grant = TokenGrant::Join;
        self.change(
            by,
            Change::TokenCreated {
                id: id.clone(),
                name,
                grant,
                expires_ms,
                uses,
            },
        )
        .await?;
        Ok(self.join_token(id, expires_ms))
    }

    pub(super) fn join_token(&self, id: String, expires_ms: u64) -> String {
        let base = self.join.clone();
        JoinToken {
            secret: identity::join_secret(&self.identity.key, &id, expires_ms),
            id,
            brokers: base.brokers,
            ca_sha256: base.ca_sha256,
            external_ca: base.external_ca,
            fleet_key: self.identity.key.public().to_string(),
            prefix: base.prefix,
            expires_ms,
        }
        .encode()
    }
}
