//! Tokens, and the document that tells brokers whom to refuse.

use super::{Approval, Effect, Fleet, Refusal, TokenGrant};
use crate::{
    contract::Access,
    identity::{ApiToken, Role},
    model::UnixMs,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long an expired token is still listed.
const MONTH_MS: u64 = 30 * 86_400_000;
/// Tokens that may exist at once.
const MAX_TOKENS: usize = 10_000;

/// A token. Its secret is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenRecord {
    /// What a person called it.
    pub name: String,
    /// What it is for.
    pub grant: TokenGrant,
    /// When it was made.
    pub created_ms: UnixMs,
    /// When it ends; 0: never.
    pub expires_ms: UnixMs,
    /// It was revoked.
    pub revoked: bool,
    /// So many machines may still join with it. `None`: any number, or it is no join token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// An API token that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidToken<'a> {
    /// What a person called it, else its id.
    pub name: &'a str,
    /// What it may do.
    pub role: Role,
    /// When it ends; 0: never.
    pub expires_ms: UnixMs,
}

impl TokenRecord {
    /// It is taken at `now`.
    pub fn is_valid(&self, now: UnixMs) -> bool {
        !self.revoked && (self.expires_ms == 0 || now < self.expires_ms)
    }

    /// As many machines as may have joined with it.
    pub fn is_used_up(&self) -> bool {
        self.uses == Some(0)
    }
}

impl Fleet {
    /// All tokens, by id.
    pub fn tokens(&self) -> impl Iterator<Item = (&String, &TokenRecord)> {
        self.tokens.iter()
    }

    /// The API token with this secret: its name and role.
    pub fn authorize(&self, secret: &str, now: UnixMs) -> Option<(&str, Role)> {
        let token = self.api_token(&ApiToken::digest(secret), now)?;
        Some((token.name, token.role))
    }

    /// The API token with this [`ApiToken::digest`], when it is taken at `now`.
    pub fn api_token(&self, wanted: &str, now: UnixMs) -> Option<ValidToken<'_>> {
        self.tokens.iter().find_map(|(id, t)| match &t.grant {
            TokenGrant::Api { role, digest } if digest == wanted && t.is_valid(now) => {
                let name = if t.name.is_empty() { id } else { &t.name };
                Some(ValidToken {
                    name,
                    role: *role,
                    expires_ms: t.expires_ms,
                })
            }
            _ => None,
        })
    }

    /// Whether the join token `id` is taken at `now`.
    pub fn join_token_is_valid(&self, id: &str, now: UnixMs) -> bool {
        let token = self.tokens.get(id);
        token.is_some_and(|t| t.grant == TokenGrant::Join && t.is_valid(now))
    }

    /// Whether the join token `id` serves the machine with `key` as `node` at `now`. One that is used
    /// up still serves who has used it: the answer may have been lost.
    pub fn join_token_serves(&self, id: &str, node: &str, key: &str, now: UnixMs) -> bool {
        let known = || {
            let node = self.nodes.get(node);
            node.is_some_and(|n| n.key == key && n.token == id)
        };
        self.join_token_is_valid(id, now)
            && (!self.tokens.get(id).is_some_and(TokenRecord::is_used_up) || known())
    }

    /// A machine joins with the token `id`.
    ///
    /// # Errors
    /// It is used up.
    pub(super) fn use_token(&mut self, id: &str) -> Result<(), Refusal> {
        match self.tokens.get_mut(id).and_then(|t| t.uses.as_mut()) {
            Some(0) => Err(Refusal::Conflict(
                "its token has been used; create another with `fleetctl token create --kind join`"
                    .into(),
            )),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether a node key was cut off.
    pub fn key_is_revoked(&self, key: &str) -> bool {
        self.revoked_keys.contains(key)
    }

    /// What brokers must know beside the fleet's key.
    pub fn access(&self) -> Access {
        let digests = |t: &TokenRecord| match &t.grant {
            TokenGrant::Api { digest, .. } if !t.revoked => Some(digest.clone()),
            _ => None,
        };
        let revoked_joins = |(id, t): (&String, &TokenRecord)| {
            (t.revoked && t.grant == TokenGrant::Join).then(|| id.clone())
        };
        Access {
            generation: self.access_generation,
            revoked: self.revoked_keys.iter().cloned().collect(),
            revoked_tokens: self.tokens.iter().filter_map(revoked_joins).collect(),
            readers: self.tokens.values().filter_map(digests).collect(),
        }
    }

    pub(super) fn create_token(
        &mut self,
        id: &str,
        name: &str,
        grant: &TokenGrant,
        created_ms: UnixMs,
        expires_ms: UnixMs,
        uses: Option<u32>,
    ) -> Result<Vec<Effect>, Refusal> {
        // What expired long ago only takes room. So does, where room is short, a revoked API token:
        // unlike a join token it is known by its digest alone, which nobody takes any more.
        let expired = |t: &TokenRecord| {
            t.expires_ms != 0 && t.expires_ms.saturating_add(MONTH_MS) < created_ms
        };
        let full = self.tokens.len() >= MAX_TOKENS;
        let spent = |t: &TokenRecord| t.revoked && t.grant != TokenGrant::Join;
        let goes = |t: &TokenRecord| expired(t) || (full && spent(t));
        if self.tokens.contains_key(id) {
            return Err(Refusal::Conflict(format!(
                "there is a token `{id}` already"
            )));
        }
        if full && !self.tokens.values().any(goes) {
            return Err(Refusal::Conflict(format!(
                "there are {MAX_TOKENS} tokens; revoke some (`fleetctl token ls`)"
            )));
        }
        self.tokens.retain(|_, t| !goes(t));
        let record = TokenRecord {
            name: name.to_owned(),
            grant: grant.clone(),
            created_ms,
            expires_ms,
            revoked: false,
            uses: uses.filter(|_| *grant == TokenGrant::Join),
        };
        self.tokens.insert(id.to_owned(), record);
        self.access_generation += 1;
        Ok(vec![Effect::PublishAccess])
    }

    /// There is an admin token that is taken at `now`, beside the one called `id`.
    pub fn has_admin_beside(&self, id: &str, now: UnixMs) -> bool {
        let admin = |t: &TokenRecord| {
            matches!(
                t.grant,
                TokenGrant::Api {
                    role: Role::Admin,
                    ..
                }
            )
        };
        self.tokens
            .iter()
            .any(|(i, t)| i != id && admin(t) && t.is_valid(now))
    }

    pub(super) fn revoke_token(&mut self, id: &str, now: UnixMs) -> Result<Vec<Effect>, Refusal> {
        let last_admin = !self.has_admin_beside(id, now) && self.has_admin_beside("", now);
        let token = self.tokens.get_mut(id);
        let token = token.ok_or_else(|| Refusal::NotFound {
            what: "token",
            name: id.to_owned(),
        })?;
        if token.revoked {
            return Err(Refusal::Unchanged);
        }
        if last_admin {
            return Err(Refusal::Conflict(
                "it is the last admin token; create another one first (`fleetctl token create \
                 --kind api --role admin`)"
                    .into(),
            ));
        }
        token.revoked = true;
        self.access_generation += 1;
        Ok(vec![Effect::PublishAccess])
    }

    /// Cuts a key off for good.
    pub(super) fn revoke_key(&mut self, key: String) {
        self.revoked_keys.insert(key);
        self.access_generation += 1;
    }

    /// Nodes that may take part.
    pub(super) fn is_member(&self, node: &str) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|n| n.approval == Approval::Approved)
    }
}
