//! What is read, rendered, refused, and never shown.

use crate::{
    config::{ControllerConfig, Surroundings, check, examine, tests::controller},
    manifest::{Problems, Source},
    model::Name,
    notify::{HIDDEN, Kind, MailTls, Receiver, Secret},
};

fn read(text: &str) -> Result<ControllerConfig, Problems> {
    controller(&format!(
        "[controller]\n[controller.alerts.receiver.ops]\n{text}"
    ))
}

fn receiver(text: &str) -> Receiver {
    let config = read(text).unwrap_or_else(|p| panic!("{p}"));
    let name: Name = "ops".parse().unwrap();
    config.alerts.receivers[&name].clone()
}

const ALL: [&str; 6] = [
    "type = 'webhook'\nurl = 'env:HOOK'\nheaders = { X-Team = 'env:TEAM' }\nsecret_file = '/k'\n",
    "type = 'slack'\nurl_file = '/etc/fleetctl/slack'\ntimeout = '3s'\n",
    "type = 'discord'\nurl = 'env:DISCORD'\n",
    "type = 'ntfy'\nurl = 'http://10.0.0.1:8080'\ntopic = 'fleet_1'\ntoken_file = '/t'\n",
    "type = 'pagerduty'\nrouting_key = 'env:KEY'\n",
    "type = 'smtp'\nhost = 'mail.example.org'\nusername = 'me'\npassword_file = '/p'\nfrom = 'a@b.c'\n\
     to = ['Ops <ops@example.org>']\nca = '/ca.pem'\n",
];

#[test]
fn every_type_is_read_and_rendered_again() {
    for text in ALL {
        let config = read(text).unwrap_or_else(|p| panic!("{p}"));
        let shown = config.render();
        let again = controller(&shown).unwrap_or_else(|p| panic!("{p}\n{shown}"));
        assert_eq!(again, config, "{shown}");
    }
}

#[test]
fn defaults_are_those_of_the_services() {
    let ntfy = receiver("type = 'ntfy'\ntopic = 'fleet'\n");
    assert_eq!(ntfy.timeout_ms, 10_000);
    assert!(matches!(&ntfy.kind, Kind::Ntfy { url, token: None, .. }
        if *url == Secret::Value("https://ntfy.sh/".into())));
    for (tls, port) in [("", 587), ("tls = 'implicit'", 465), ("tls = 'none'", 25)] {
        let text = format!("type = 'smtp'\nhost = 'm'\nfrom = 'a@b.c'\nto = ['a@b.c']\n{tls}\n");
        let Kind::Smtp(smtp) = receiver(&text).kind else {
            panic!("{text}");
        };
        assert_eq!(smtp.port, port);
        assert_eq!(smtp.tls == MailTls::Starttls, tls.is_empty());
    }
}

#[test]
fn secrets_are_neither_rendered_nor_in_problems() {
    for (text, shown) in [
        (
            "type = 'slack'\nurl = 'https://hooks.slack.com/services/SECRET'\n",
            "hooks.slack.com",
        ),
        (
            "type = 'webhook'\nurl = 'https://h.test/?k=SECRET'\nsecret = 'SECRET'\n",
            "h.test",
        ),
        (
            "type = 'webhook'\nurl = 'https://h.test/'\nheaders = { A = 'SECRET' }\n",
            HIDDEN,
        ),
        (
            "type = 'ntfy'\ntopic = 'x'\ntoken = 'tk_SECRET'\n",
            "token = ",
        ),
        (
            "type = 'pagerduty'\nrouting_key = 'SECRET'\n",
            "routing_key = ",
        ),
        (
            "type = 'smtp'\nhost = 'm'\nfrom = 'a@b.c'\nto = ['a@b.c']\nusername = 'u'\n\
             password = 'SECRET'\n",
            "username = \"u\"",
        ),
    ] {
        let config = read(text).unwrap_or_else(|p| panic!("{p}"));
        let rendered = config.render();
        assert!(rendered.contains(shown), "{rendered}");
        assert!(!rendered.contains("SECRET"), "{rendered}");
        assert!(!format!("{config:?}").contains("SECRET"));
        assert!(controller(&rendered).is_ok(), "{rendered}");
    }
    for text in [
        "type = 'slack'\nurl = 'ftp://hooks.slack.com/SECRET'\n",
        "type = 'slack'\nurl = ['SECRET']\n",
        "type = 'webhook'\nurl = 'https://me:SECRET@h.test/'\n",
        "type = 'webhook'\nurl = 'https://h.test/'\nheaders = { Host = 'SECRET' }\n",
        "type = 'webhook'\nurl = 'https://h.test/'\nsecret = 'env:SECRET x'\n",
        "type = 'ntfy'\ntopic = 'x'\ntoken = \"SECRET\\n\"\n",
    ] {
        let problems = read(text).unwrap_err().to_string();
        assert!(!problems.contains("SECRET"), "{problems}");
    }
}

fn at_home() -> Surroundings {
    Surroundings {
        home: Some("/home/pi".into()),
        ..Surroundings::default()
    }
}

/// A mistake in a line with a secret, in every place where one may be made.
#[test]
fn no_problem_shows_a_line_with_a_secret() {
    let head = "[controller]\n[controller.alerts.receiver.ops]\n";
    let hook = "type = 'webhook'\nurl = 'https://h/'\n";
    for text in [
        format!("{head}{hook}secrt = \"SECRETX\"\n"),
        format!("{head}type = 'slack'\nurl = 'https://h/'\ntoken = \"SECRETX\"\n"),
        format!("{head}{hook}headers = \"SECRETX\"\n"),
        format!("{head}{hook}headers = {{ A = 'SECRETX', a = 'SECRETX' }}\n"),
        format!("{head}{hook}headers = {{ A = ['SECRETX'] }}\n"),
        format!("{head}{hook}secret = 'SECRETX'\nsecret = 'SECRETX'\n"),
        format!("{head}{hook}secret = \"SECRETX\n"),
        format!("{head}{hook}secret = SECRETX\n"),
        format!("{head}{hook}secret \"SECRETX\"\n"),
        format!("{head}{hook}secret = \"SECRETX\" SECRETX\n"),
        format!("{head}{hook}secret = \"\"\"SECRETX\n\n"),
        format!("{head}type = 'ntfy'\ntopic = 'SECRETX SECRETX'\n"),
        format!("{head}{hook}[controller.alerts.receiver.ops]\nsecret = 'SECRETX'\n"),
        "[controller]\n[controller.alerts.reciever.ops]\nsecret = 'SECRETX\n".to_owned(),
        "[controller]\n[controller.alerts]\nreceiver = { ops = { type = 'webhook', secrt = \
         'SECRETX' } }\n"
            .to_owned(),
        "[controller]\nalerts = { receiver = { ops = { secrt = 'SECRETX', secrt = 1 } } }\n"
            .to_owned(),
        "[controller]\nalerts.receiver.ops = { secret = 'SECRETX' \n".to_owned(),
        "[controller]\n[controller.alerts]\n# [controller.alerts.receiver.ops]\nsecret = \
         'SECRETX'\n"
            .to_owned(),
        format!("{head}{hook}[controller.alerts.rule.disk]\nsecret = 'SECRETX'\n"),
    ] {
        let source = Source::new("c.toml", text.clone());
        let around = at_home();
        let checked = check(&source, &around).unwrap_err();
        let started = controller(&text).unwrap_err();
        for problems in [&checked, &started] {
            let said = problems.to_string();
            assert!(!said.contains("SECRETX"), "{text}: {said}");
            assert!(problems.0.iter().any(|p| p.line > 1), "{text}: {said}");
        }
    }
    // What stands before the receivers is shown as ever.
    let text = format!("[controller]\nlost_aftr = '5m'\n{head}{hook}").replacen(
        "[controller]\n[controller.",
        "[controller.",
        1,
    );
    let said = controller(&text).unwrap_err().to_string();
    assert!(said.contains("2 | lost_aftr = '5m'"), "{said}");
}

#[test]
fn a_flawed_receiver_is_one_that_can_be_named() {
    let names = "[controller]\n[controller.alerts]\nnotify = ['ops', 'boss']\n\
                 [controller.alerts.rule.disk]\nescalate_after = '1h'\nescalate_to = ['ops']\n";
    let boss = "[controller.alerts.receiver.boss]\ntype = 'slack'\nurl = 'https://h/'\n";
    let flawed = format!("{names}{boss}[controller.alerts.receiver.ops]\ntype = 'slack'\n");
    let problems = controller(&flawed).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
    assert!(problems.to_string().contains("has no `url`"), "{problems}");
    let missing = controller(&format!("{names}{boss}"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("there is no receiver `ops`"), "{missing}");
    assert!(missing.contains("there are `boss`"), "{missing}");
}

#[test]
fn what_a_receiver_needs_and_is_not_there_is_said_and_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("token");
    std::fs::write(&there, "x").unwrap();
    let text = format!(
        "type = 'webhook'\nurl = 'env:FLEETCTL_NOBODY_SETS_THIS'\nsecret_file = '{}'\n\
         headers = {{ A = 'env:PATH', B = 'env:FLEETCTL_NOR_THIS' }}\nca = '/nonexistent/ca.pem'\n\
         [controller.alerts.receiver.phone]\ntype = 'ntfy'\ntopic = 'x'\n\
         token_file = '/nonexistent/token'\n",
        there.display()
    );
    let source = Source::new(
        "c.toml",
        format!("[controller]\n[controller.alerts.receiver.ops]\n{text}"),
    );
    let (_, absent) = examine(&source, &at_home()).unwrap();
    let expected = [
        ("`ops`", "/nonexistent/ca.pem with its CA"),
        (
            "`ops`",
            "FLEETCTL_NOBODY_SETS_THIS with its address is not set",
        ),
        ("`ops`", "FLEETCTL_NOR_THIS with its B is not set"),
        (
            "`phone`",
            "/nonexistent/token with its token cannot be found",
        ),
    ];
    assert_eq!(absent.len(), expected.len(), "{absent:#?}");
    for (said, (who, what)) in absent.iter().zip(expected) {
        assert!(said.contains(who) && said.contains(what), "{said}");
    }
}

#[test]
fn mistakes_have_their_place() {
    let smtp = "type = 'smtp'\nhost = 'm.test'\nfrom = 'a@b.c'\nto = ['a@b.c']\n";
    let with = |text: &str| format!("{smtp}{text}");
    for (text, expected) in [
        ("", "the receiver has no `type`"),
        ("type = 'slak'\n", "did you mean \"slack\"?"),
        ("type = 'slack'\n", "the receiver has no `url`"),
        (
            "type = 'slack'\nurl_fil = '/x'\n",
            "did you mean `url_file`?",
        ),
        (
            "type = 'slack'\nurl = 'https://h/'\ntopic = 'x'\n",
            "unknown key `topic`",
        ),
        (
            "type = 'slack'\nurl = 'https://h/'\nurl_file = '/x'\n",
            "exclude each other",
        ),
        ("type = 'slack'\nurl = 'h/x'\n", "`url` "),
        (
            "type = 'webhook'\nurl = 'https://h/'\ntimeout = '1h'\n",
            "must be from 1s to 5m",
        ),
        (
            "type = 'webhook'\nurl = 'https://h/'\nheaders = { 'A b' = 'x' }\n",
            "name of a header",
        ),
        (
            "type = 'webhook'\nurl = 'https://h/'\nheaders = { host = 'x' }\n",
            "set by fleetctl",
        ),
        (
            "type = 'webhook'\nurl = 'https://h/'\nheaders = { X-A = 'x', x-a = 'y' }\n",
            "is given twice",
        ),
        (
            "type = 'ntfy'\ntopic = 'a/b'\n",
            "`topic` is not one of ntfy",
        ),
        ("type = 'pagerduty'\n", "the receiver has no `routing_key`"),
        (&with("tls = 'ssl'\n"), "`tls` must be"),
        (&with("port = 0\n"), "`port` must be from 1 to 65535"),
        (&with("username = 'u'\n"), "`username` has no password"),
        (
            &with("password_file = '/p'\n"),
            "a password and no `username`",
        ),
        (
            &with("username = 'u'\npassword_file = '/p'\ntls = 'none'\n"),
            "in plain text",
        ),
        (
            "type = 'smtp'\nhost = 'm'\nfrom = 'a'\nto = ['a@b.c']\n",
            "is not a mail address",
        ),
        (
            "type = 'smtp'\nhost = 'm:25'\nfrom = 'a@b.c'\nto = ['a@b.c']\n",
            "is not a host",
        ),
        (
            "type = 'smtp'\nhost = 'm'\nfrom = 'a@b.c'\nto = []\n",
            "`to` must have from 1 to 50",
        ),
        (
            "type = 'smtp'\nfrom = 'a@b.c'\nto = ['a@b.c']\n",
            "the receiver has no `host`",
        ),
    ] {
        let problems = read(text).unwrap_err().to_string();
        assert!(problems.contains(expected), "{text}: {problems}");
    }
    let problems =
        controller("[controller]\n[controller.alerts.receiver.\"A b\"]\ntype = 'slack'\n");
    assert!(problems.unwrap_err().to_string().contains("is not a name"));
}
