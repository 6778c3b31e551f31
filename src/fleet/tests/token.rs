//! Tokens, and the document that tells brokers whom to refuse.

use super::entry;
use crate::{
    fleet::{Change, Effect, Entry, Fleet, Refusal, TokenGrant},
    identity::{ApiToken, Role},
};

fn created(id: &str, grant: TokenGrant, expires_ms: u64) -> Change {
    Change::TokenCreated {
        id: id.to_owned(),
        name: format!("name of {id}"),
        grant,
        expires_ms,
        uses: None,
    }
}

fn api(secret: &str, role: Role) -> TokenGrant {
    TokenGrant::Api {
        role,
        digest: ApiToken::digest(secret),
    }
}

fn revoked(id: &str) -> Change {
    Change::TokenRevoked { id: id.to_owned() }
}

fn at(at_ms: u64, change: Change) -> Entry {
    Entry {
        at_ms,
        ..entry(change)
    }
}

#[test]
fn a_join_token_is_taken_until_it_expires_or_is_revoked() {
    let mut fleet = Fleet::new();
    super::apply(&mut fleet, created("short", TokenGrant::Join, 5_000));
    super::apply(&mut fleet, created("long", TokenGrant::Join, 0));
    assert!(fleet.join_token_is_valid("short", 4_999));
    assert!(!fleet.join_token_is_valid("short", 5_000));
    assert!(fleet.join_token_is_valid("long", u64::MAX));
    assert!(!fleet.join_token_is_valid("nobody", 0));
    let effects = super::apply(&mut fleet, revoked("long"));
    assert_eq!(effects, [Effect::PublishAccess]);
    assert!(!fleet.join_token_is_valid("long", 0));
    assert_eq!(
        super::refuse(&mut fleet, revoked("long")),
        Refusal::Unchanged
    );
    let refusal = super::refuse(&mut fleet, revoked("nobody"));
    assert_eq!(refusal.to_string(), "there is no token `nobody`");
}

#[test]
fn an_api_token_gives_its_role_to_who_knows_the_secret() {
    let mut fleet = Fleet::new();
    super::apply(
        &mut fleet,
        created("1", api("secret", Role::Operator), 5_000),
    );
    let expected = Some(("name of 1", Role::Operator));
    assert_eq!(fleet.authorize("secret", 4_999), expected);
    assert_eq!(fleet.authorize("secret", 5_000), None);
    assert_eq!(fleet.authorize("Secret", 0), None);
    assert_eq!(fleet.authorize("", 0), None);
    let digest = crate::identity::ApiToken::digest("secret");
    let token = fleet.api_token(&digest, 4_999).expect("it is taken");
    assert_eq!((token.name, token.expires_ms), ("name of 1", 5_000));
    assert_eq!(fleet.api_token("secret", 4_999), None, "only by its digest");
    assert!(
        !fleet.join_token_is_valid("1", 0),
        "an API token is no join token"
    );
    super::apply(&mut fleet, revoked("1"));
    assert_eq!(fleet.authorize("secret", 0), None);
}

#[test]
fn brokers_are_told_who_reads_and_who_is_cut_off_each_time_under_a_higher_number() {
    let mut fleet = Fleet::new();
    assert_eq!(fleet.access().generation, 0);
    let changes = [
        created("join", TokenGrant::Join, 0),
        created("api", api("secret", Role::Viewer), 0),
        created("gone", api("other", Role::Viewer), 0),
        revoked("join"),
        revoked("gone"),
    ];
    for (before, change) in (0..).zip(changes) {
        super::apply(&mut fleet, change);
        assert_eq!(fleet.access().generation, before + 1);
    }
    let access = fleet.access();
    assert_eq!(access.revoked_tokens, ["join"]);
    assert_eq!(access.readers, [ApiToken::digest("secret")]);
}

#[test]
fn what_expired_a_month_ago_is_forgotten_when_another_is_made_and_not_by_a_refusal() {
    let mut fleet = Fleet::new();
    let month = 30 * 86_400_000;
    fleet
        .apply(&at(0, created("old", TokenGrant::Join, 10)))
        .unwrap();
    fleet
        .apply(&at(1, created("other", TokenGrant::Join, 0)))
        .unwrap();
    fleet
        .apply(&at(2, created("late", TokenGrant::Join, u64::MAX)))
        .unwrap();
    let before = fleet.clone();
    let again = at(month + 11, created("other", TokenGrant::Join, 0));
    fleet.apply(&again).unwrap_err();
    assert_eq!(fleet, before, "refused, and yet changed");
    let ids = |fleet: &Fleet| fleet.tokens().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    fleet
        .apply(&at(month + 10, created("a", TokenGrant::Join, 0)))
        .unwrap();
    assert_eq!(ids(&fleet), ["a", "late", "old", "other"]);
    fleet
        .apply(&at(month + 11, created("b", TokenGrant::Join, 0)))
        .unwrap();
    assert_eq!(ids(&fleet), ["a", "b", "late", "other"]);
}

#[test]
fn where_there_are_too_many_tokens_revoking_one_makes_room() {
    let mut fleet = Fleet::new();
    for n in 0..10_000 {
        let change = created(&format!("t{n}"), api(&n.to_string(), Role::Viewer), 0);
        fleet.apply(&entry(change)).unwrap();
    }
    let more = || created("more", TokenGrant::Join, 0);
    let refusal = super::refuse(&mut fleet, more());
    assert!(refusal.to_string().contains("revoke some"), "{refusal}");
    super::apply(&mut fleet, revoked("t7"));
    super::apply(&mut fleet, more());
    assert_eq!(fleet.tokens().count(), 10_000);
    assert!(fleet.tokens().all(|(id, _)| id != "t7"));
}

#[test]
fn a_token_for_one_machine_lets_one_in_and_answers_it_again() {
    let mut fleet = Fleet::new();
    super::apply(
        &mut fleet,
        Change::TokenCreated {
            id: "once".into(),
            name: "one board".into(),
            grant: TokenGrant::Join,
            expires_ms: 5_000,
            uses: Some(1),
        },
    );
    let enrolled = |node: &str, key: &str| Change::NodeEnrolled {
        node: node.parse().unwrap(),
        key: key.into(),
        token: "once".into(),
        hostname: node.into(),
        approve: true,
        http: false,
    };
    assert!(fleet.join_token_serves("once", "pi-1", "key-1", 0));
    super::apply(&mut fleet, enrolled("pi-1", "key-1"));
    // The answer may have been lost: the same machine asks again.
    assert!(fleet.join_token_serves("once", "pi-1", "key-1", 0));
    assert!(!fleet.join_token_serves("once", "pi-1", "key-1", 5_000));
    let again = super::refuse(&mut fleet, enrolled("pi-1", "key-1"));
    assert_eq!(again, Refusal::Unchanged);
    // Nobody else is served, whatever the name.
    assert!(!fleet.join_token_serves("once", "pi-2", "key-2", 0));
    assert!(!fleet.join_token_serves("once", "pi-1", "key-2", 0));
    let refusal = super::refuse(&mut fleet, enrolled("pi-2", "key-2"));
    assert!(refusal.to_string().contains("has been used"), "{refusal}");
}
