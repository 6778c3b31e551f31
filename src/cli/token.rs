//! `token`.

use super::{
    Failure,
    args::{TokenKind, TokenVerb},
    client::Client,
    output,
};
use crate::http::{NewToken, TokenCreated, TokenView};
use hyper::Method;

const DAY_MS: u64 = 86_400_000;

pub(super) async fn run(client: &mut Client, verb: TokenVerb) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create {
            kind,
            role,
            ttl,
            name,
            output,
        } => {
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
                },
                TokenKind::Api => NewToken {
                    kind: "api".into(),
                    name,
                    role,
                    ttl_ms: ttl,
                },
            };
            let created: TokenCreated = client.post("/api/v1/tokens", &new).await?;
            match output::is_for_people(output.output) {
                true => output::print(&(created.token + "\n")),
                false => output::one(output.output, &created, |_| Vec::new()),
            }
        }
        TokenVerb::Ls { output } => {
            let all: Vec<TokenView> = client.get("/api/v1/tokens").await?;
            let head = ["ID", "KIND", "ROLE", "NAME", "CREATED", "EXPIRES", "VALID"];
            output::list(output.output, &all, &head, |t, _| {
                vec![
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
                ]
            })
        }
        TokenVerb::Revoke { id, .. } => {
            let path = format!("/api/v1/tokens/{}", super::client::path_word(&id)?);
            client.order(Method::DELETE, &path, None::<&()>).await
        }
    }
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
