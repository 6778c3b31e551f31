//! `token`.

use super::{
    Failure,
    args::{TokenKind, TokenVerb},
    client::Client,
    output,
};
use crate::{
    http::{NewToken, TokenCreated, TokenView},
    identity::{JoinToken, read_optional, write_private},
};
use hyper::Method;
use std::path::Path;

const DAY_MS: u64 = 86_400_000;

pub(super) async fn run(client: &mut Client, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create {
            kind,
            role,
            ttl,
            name,
            file,
            no_address,
            uses,
            output,
        } => {
            if kind == TokenKind::Api && no_address {
                return Err(Failure::usage("--no-address is for --kind join"));
            }
            if kind == TokenKind::Api && uses.is_some() {
                return Err(Failure::usage("--uses is for --kind join"));
            }
            if kind == TokenKind::Api && file.is_some() {
                return Err(Failure::usage("--file is for --kind join"));
            }
            if let Some(path) = &file
                && is_taken(client, path).await?
            {
                return Ok(());
            }
            if kind == TokenKind::Join && role.is_some() {
                return Err(Failure::usage(
                    "a join token has no role; --role is for --kind api",
                ));
            }
            let new = match kind {
                TokenKind::Join => NewToken {
                    kind: "join".into(),
                    name,
                    role,
                    ttl_ms: ttl.or(Some(DAY_MS)),
                    uses,
                },
                TokenKind::Api => NewToken {
                    kind: "api".into(),
                    name,
                    role,
                    ttl_ms: ttl,
                    uses: None,
                },
            };
            let mut created: TokenCreated = client.post("/api/v1/tokens", &new).await?;
            if no_address {
                created.token = without_address(&created.token)?;
            }
            if let Some(path) = file {
                return Ok(write_private(&path, (created.token + "\n").as_bytes())?);
            }
            match output::is_for_people(output.output) {
                true => output::print(&(created.token + "\n")),
                false => output::one(output.output, &created, |_| Vec::new()),
            }
        }
        TokenVerb::Ls { output } => {
            let all: Vec<TokenView> = client.get("/api/v1/tokens").await?;
            let head = [
                "ID",
                "KIND",
                "ROLE",
                "NAME",
                "CREATED",
                "EXPIRES",
                "VALID",
                "USES LEFT",
            ];
            output::list(output.output, &all, &head, |t, wide| {
                let mut row = vec![
                    t.id.clone(),
                    t.kind.clone(),
                    t.role.map_or("-".into(), |r| r.to_string()),
                    t.name.clone(),
                    output::utc(t.created_ms),
                    if t.expires_ms == 0 {
                        "never".into()
                    } else {
                        output::utc(t.expires_ms)
                    },
                    if t.valid { "yes".into() } else { "no".into() },
                ];
                if wide {
                    row.push(t.uses.map_or("-".into(), |n| n.to_string()));
                }
                row
            })
        }
        TokenVerb::Revoke { id, .. } => {
            let path = format!("/api/v1/tokens/{}", super::client::path_word(&id)?);
            client.order(Method::DELETE, &path, None::<&()>).await
        }
    }
}

/// In this file is a join token that this controller takes.
async fn is_taken(client: &mut Client, path: &Path) -> Result<bool, Failure> {
    let known = read_optional(path)?.and_then(|text| JoinToken::decode(&text).ok());
    let Some(known) = known else {
        return Ok(false);
    };
    let all: Vec<TokenView> = client.get("/api/v1/tokens").await?;
    Ok(all.iter().any(|t| t.id == known.id && t.valid))
}

/// The same token, for a machine that is to find the controller by itself.
fn without_address(token: &str) -> Result<String, Failure> {
    let token = JoinToken::decode(token)?;
    if token.ca_sha256.is_none() {
        return Err(Failure::new(
            "the fleet's broker is not its own, so nobody announces it in the local network: a \
             token without an address would lead nowhere",
        ));
    }
    let brokers = Vec::new();
    Ok(JoinToken { brokers, ..token }.encode())
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Format, Verb};
    use super::*;
    use clap::Parser;

    #[test]
    fn a_token_can_be_made_for_a_program_to_read() {
        let words = ["fleetctl", "token", "create", "--kind", "api", "-o", "json"];
        let Verb::Token(TokenVerb::Create { output, .. }) =
            Cli::try_parse_from(words).unwrap().verb
        else {
            panic!("that is no token to make");
        };
        assert_eq!(output.output, Format::Json);
    }
}
