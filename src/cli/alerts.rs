//! `alerts`: what is wrong, who is told, and who does not want to be.

use super::{
    Failure,
    args::{AlertListArgs, AlertsArgs, AlertsVerb, SilenceArgs},
    client::{Client, path_word},
    output, ps,
};
use crate::{
    alert::{AlertView, Matcher, RuleView, SilenceView},
    http::{NewSilence, SilenceRequest},
    manifest::quantity::duration_text,
    model::Name,
    notify::{ReceiverStatus, Severity},
};
use hyper::Method;

const HEAD: [&str; 7] = [
    "SEVERITY",
    "STATE",
    "SINCE",
    "ALERT",
    "MESSAGE",
    "SILENCED UNTIL (UTC)",
    "ESCALATED",
];
const RULES: [&str; 11] = [
    "RULE",
    "CONDITION",
    "ENABLED",
    "SEVERITY",
    "FIRING",
    "SILENCED",
    "SAMPLES",
    "NOTIFY",
    "WHEN",
    "ONLY",
    "REPEAT",
];
const RECEIVERS: [&str; 8] = [
    "RECEIVER",
    "TYPE",
    "DELIVERED",
    "WAITING",
    "FAILED",
    "DROPPED",
    "LAST",
    "ERROR",
];

pub(super) async fn run(client: &mut Client, args: AlertsArgs) -> Result<(), Failure> {
    let verb = args.verb.unwrap_or(AlertsVerb::Ls(args.list));
    match verb {
        AlertsVerb::Ls(args) => ls(client, args).await,
        AlertsVerb::Show { id, output } => {
            let path = format!("/api/v1/alerts/{}", path_word(&id)?);
            let alert: AlertView = client.get(&path).await?;
            output::one(output.output, &alert, fields)
        }
        AlertsVerb::Silence(args) => silence(client, args).await,
        AlertsVerb::Unsilence { id } => {
            let path = format!("/api/v1/alerts/{}/silence", silence_word(&id)?);
            client.order(Method::DELETE, &path, None::<&()>).await?;
            eprintln!("{id} is not silenced any more: people are told of it again");
            Ok(())
        }
        AlertsVerb::Silences { output } => {
            let all: Vec<SilenceView> = client.get("/api/v1/silences").await?;
            let head = ["ALERT", "UNTIL (UTC)", "BY", "COMMENT"];
            output::list(output.output, &all, &head, |s, _| {
                let until = output::utc(s.until_ms);
                vec![s.alert.clone(), until, s.by.clone(), s.comment.clone()]
            })
        }
        AlertsVerb::Rules { output } => {
            let all: Vec<RuleView> = client.get("/api/v1/alerts/rules").await?;
            output::list(output.output, &all, &RULES, rule)
        }
        AlertsVerb::Receivers { output } => {
            let all: Vec<ReceiverStatus> = client.get("/api/v1/alerts/receivers").await?;
            output::list(output.output, &all, &RECEIVERS, receiver)
        }
        AlertsVerb::Test { receiver } => {
            let path = format!("/api/v1/alerts/receivers/{receiver}/test");
            client.order(Method::POST, &path, None::<&()>).await?;
            eprintln!("{receiver} was told that this is a test");
            Ok(())
        }
    }
}

async fn ls(client: &mut Client, args: AlertListArgs) -> Result<(), Failure> {
    let mut path = "/api/v1/alerts?state=firing,silenced,pending".to_owned();
    if args.all {
        path.push_str(",resolved");
    }
    for (key, name) in [("node", &args.node), ("workload", &args.workload)] {
        if let Some(name) = name {
            path.push_str(&format!("&{key}={name}"));
        }
    }
    let format = args.output.output;
    let show = async |client: &mut Client| {
        let all: Vec<AlertView> = client.list(&path).await?;
        output::render_list(format, &all, &HEAD, row)
    };
    ps::watch(args.watch, show, client).await
}

fn row(a: &AlertView, wide: bool) -> Vec<String> {
    let mut cells = vec![
        severity(a.severity).to_owned(),
        a.state.to_string(),
        output::ago(a.since_ms),
        a.id.clone(),
        output::short(&a.message, if wide { 300 } else { 100 }),
    ];
    if wide {
        let until = a.silenced.as_ref().map(|s| output::utc(s.until_ms));
        cells.push(until.unwrap_or_else(|| "-".into()));
        cells.push(a.escalated_ms.map_or("-".into(), output::ago));
    }
    cells
}

fn fields(a: &AlertView) -> Vec<(&'static str, String)> {
    let name = |name: &Option<Name>| name.as_ref().map(Name::to_string).unwrap_or_default();
    let time = |at: Option<u64>| at.map(|at| output::utc(at) + " UTC").unwrap_or_default();
    let silenced = a.silenced.as_ref().map(|s| {
        let until = output::utc(s.until_ms);
        let why = match s.comment.is_empty() {
            true => String::new(),
            false => format!(": {}", s.comment),
        };
        format!("until {until} UTC by {}{why}", s.by)
    });
    vec![
        ("alert", a.id.clone()),
        ("message", a.message.clone()),
        ("state", a.state.to_string()),
        ("severity", severity(a.severity).to_owned()),
        ("rule", a.rule.clone()),
        ("node", name(&a.subject.node)),
        ("workload", name(&a.subject.workload)),
        ("certificate", name(&a.subject.certificate)),
        ("since", time(Some(a.since_ms))),
        ("resolved", time(a.resolved_ms)),
        ("silenced", silenced.unwrap_or_default()),
        ("escalated", time(a.escalated_ms)),
    ]
}

async fn silence(client: &mut Client, args: SilenceArgs) -> Result<(), Failure> {
    let SilenceArgs {
        id,
        rule,
        node,
        workload,
        for_ms,
        comment,
    } = args;
    if let Some(id) = id {
        let path = format!("/api/v1/alerts/{}/silence", path_word(&id)?);
        let request = SilenceRequest { for_ms, comment };
        client.order(Method::POST, &path, Some(&request)).await?;
        let silences: Vec<SilenceView> = client.get("/api/v1/silences").await?;
        let own = silences.iter().find(|s| s.alert == id);
        eprintln!("{}", silenced_text(&id, own.map(|s| s.until_ms)));
        return Ok(());
    }
    let new = NewSilence {
        rule,
        node,
        workload,
        for_ms,
        comment,
    };
    let kept: SilenceView = client.post("/api/v1/silences", &new).await?;
    eprintln!("{}", silenced_text(&kept.alert, Some(kept.until_ms)));
    Ok(())
}

/// `until_ms`: none where somebody has taken it back already.
fn silenced_text(about: &str, until_ms: Option<u64>) -> String {
    match until_ms {
        Some(until) => format!(
            "nobody is told of {about} until {} UTC; `fleetctl alerts unsilence {about}` takes \
             that back",
            output::utc(until)
        ),
        None => format!("{about} was silenced, and somebody has taken that back already"),
    }
}

/// What a silence is about, for an address.
fn silence_word(text: &str) -> Result<String, Failure> {
    let matcher = Matcher::parse(text).map_err(Failure::usage)?;
    Ok(matcher.to_string().replace('=', "%3D").replace(',', "%2C"))
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

fn names(names: &[Name]) -> String {
    let all: Vec<&str> = names.iter().map(Name::as_str).collect();
    match all.is_empty() {
        true => "-".into(),
        false => all.join(","),
    }
}

/// `disk above 90 %`; from a controller that does not write it out, its word.
fn condition(r: &RuleView) -> String {
    let text = match r.condition.is_empty() {
        true => &r.when,
        false => &r.condition,
    };
    match r.note.is_empty() {
        true => text.clone(),
        false => format!("{text} ({})", r.note),
    }
}

fn rule(r: &RuleView, wide: bool) -> Vec<String> {
    let mut cells = vec![
        r.name.clone(),
        condition(r),
        if r.enabled { "yes" } else { "no" }.to_owned(),
        severity(r.severity).to_owned(),
        r.firing.to_string(),
        r.silenced.to_string(),
        r.samples.to_string(),
        names(&r.notify),
    ];
    if wide {
        cells.push(r.when.clone());
        let workloads = r.workloads.iter().map(Name::to_string);
        let only: Vec<String> = r.nodes.iter().cloned().chain(workloads).collect();
        cells.push(match only.is_empty() {
            true => "-".into(),
            false => only.join(","),
        });
        cells.push(match r.repeat_ms {
            0 => "never".into(),
            ms => duration_text(ms),
        });
    }
    cells
}

fn receiver(r: &ReceiverStatus, _: bool) -> Vec<String> {
    vec![
        r.name.to_string(),
        r.kind.clone(),
        r.delivered.to_string(),
        r.waiting.to_string(),
        r.failed.to_string(),
        r.dropped.to_string(),
        r.last_ms.map_or("-".into(), output::ago),
        output::short(r.last_error.as_deref().unwrap_or("-"), 100),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_said_with_its_end() {
        let text = silenced_text("disk.pi-3", Some(1_700_000_000_000));
        assert!(
            text.starts_with("nobody is told of disk.pi-3 until 2023-11-14 22:13:20 UTC"),
            "{text}"
        );
    }

    #[test]
    fn a_condition_that_nothing_can_meet_says_so() {
        let mut rule: RuleView = serde_json::from_value(serde_json::json!({
            "name": "busy", "enabled": true, "when": "telemetry", "severity": "warning",
            "samples": 2, "notify": [], "repeat_ms": 0, "firing": 0,
        }))
        .unwrap();
        assert_eq!(condition(&rule), "telemetry", "an older controller");
        rule.condition = "load 1m above 0.01".into();
        assert_eq!(condition(&rule), "load 1m above 0.01");
        rule.note = "no node measures `load 1m`".into();
        assert_eq!(
            condition(&rule),
            "load 1m above 0.01 (no node measures `load 1m`)"
        );
    }

    #[test]
    fn what_a_silence_is_about_fits_an_address() {
        assert_eq!(silence_word("disk.pi-3").unwrap(), "disk.pi-3");
        let word = silence_word("node=pi rule=disk").unwrap();
        assert_eq!(word, "rule%3Ddisk%2Cnode%3Dpi");
        assert!(silence_word("../tokens").is_err());
    }
}
