//! `node config`.

use super::{
    Failure,
    args::{NodeConfigVerb, NodeConfigWait},
    client::Client,
    output,
};
use crate::{
    fleet::{MetricPatch, NodeConfigPatch},
    http::NodeConfigView,
    manifest::{
        nearest::nearest,
        quantity::{duration_text, parse_duration_ms},
    },
    model::{Metric, Name, NodeConfig},
};
use hyper::Method;
use std::time::{Duration, Instant};

/// Every metric at once, as in `telemetry.all.enabled`.
const ALL: &str = "all";
/// What a key begins with.
const FIRST: [&str; 3] = ["heartbeat_interval", "telemetry", "logs"];
/// What there is to say of a metric.
const OF_METRIC: [&str; 3] = ["enabled", "interval", "change_threshold"];
/// What there is to say of the shipping of logs.
const OF_LOGS: [&str; 2] = ["enabled", "interval"];
/// Between two looks at whether a node has taken it.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(client: &mut Client, verb: NodeConfigVerb) -> Result<(), Failure> {
    match verb {
        NodeConfigVerb::Show { node, output } => {
            let view: NodeConfigView = client.get(&path(&node)).await?;
            output::one(output.output, &view, fields)
        }
        NodeConfigVerb::Set {
            node,
            settings,
            wait,
        } => {
            let patch = read(&settings)?;
            client
                .order(Method::PATCH, &path(&node), Some(&patch))
                .await?;
            hint(client, &node, &patch).await?;
            taken(client, &node, &wait).await
        }
        NodeConfigVerb::Reset { node, wait } => {
            client
                .order(Method::DELETE, &path(&node), None::<&()>)
                .await?;
            taken(client, &node, &wait).await
        }
    }
}

fn path(node: &Name) -> String {
    format!("/api/v1/nodes/{node}/config")
}

/// An interval of what is off has no effect, and nobody should wonder why nothing comes.
async fn hint(client: &mut Client, node: &Name, patch: &NodeConfigPatch) -> Result<(), Failure> {
    let view: NodeConfigView = client.get(&path(node)).await?;
    let off: Vec<String> = patch
        .telemetry
        .iter()
        .filter(|(metric, p)| {
            let now = view.effective_wanted.telemetry.get(metric);
            p.enabled.is_none() && !now.is_some_and(|m| m.enabled)
        })
        .map(|(metric, _)| format!("telemetry.{metric}.enabled=true"))
        .collect();
    if !off.is_empty() {
        eprintln!(
            "it has no effect as long as it is off; to turn it on: fleetctl node config set \
             {node} {}",
            off.join(" ")
        );
    }
    Ok(())
}

/// With `--wait`: until the node says that it does what it is to do.
async fn taken(client: &mut Client, node: &Name, wait: &NodeConfigWait) -> Result<(), Failure> {
    if !wait.wait {
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_millis(wait.timeout);
    loop {
        let view: NodeConfigView = client.get(&path(node)).await?;
        if view.is_in_effect() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!(
                "{node} has not said in time that it has these settings; they wait for it \
                 (`fleetctl node show {node}` shows whether it is online, `fleetctl node config \
                 show {node}` what it has)"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The settings as they were typed, `key=value` each.
fn read(settings: &[String]) -> Result<NodeConfigPatch, Failure> {
    let mut patch = NodeConfigPatch::default();
    for text in settings {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Failure::usage(format!(
                "`{}` is not key=value, as in telemetry.cpu.enabled=true",
                output::visible(text)
            ))
        })?;
        let (key, value) = (key.trim(), value.trim());
        let duration = || {
            parse_duration_ms(value).map_err(|flaw| {
                let hint = flaw.hint.map(|h| format!(": {h}")).unwrap_or_default();
                Failure::usage(format!("{key}: {}{hint}", flaw.message))
            })
        };
        let parts: Vec<&str> = key.split('.').collect();
        match parts.as_slice() {
            ["heartbeat_interval"] => patch.heartbeat_interval_ms = Some(duration()?),
            ["logs", "enabled"] => patch.logs.enabled = Some(yes_or_no(key, value)?),
            ["logs", "interval"] => patch.logs.interval_ms = Some(duration()?),
            ["telemetry", which, what] if OF_METRIC.contains(what) => {
                let chosen = metrics(which).ok_or_else(|| unknown(key))?;
                let mut one = MetricPatch::default();
                match *what {
                    "enabled" => one.enabled = Some(yes_or_no(key, value)?),
                    "interval" => one.interval_ms = Some(duration()?),
                    _ => one.change_threshold = Some(number(key, value)?),
                }
                for metric in chosen {
                    let known = patch.telemetry.entry(metric).or_default();
                    known.enabled = one.enabled.or(known.enabled);
                    known.interval_ms = one.interval_ms.or(known.interval_ms);
                    known.change_threshold = one.change_threshold.or(known.change_threshold);
                }
            }
            _ => return Err(unknown(key)),
        }
    }
    Ok(patch)
}

/// The metric of that name, or every one.
fn metrics(word: &str) -> Option<Vec<Metric>> {
    if word == ALL {
        return Some(Metric::ALL.to_vec());
    }
    let one = Metric::ALL.into_iter().find(|m| m.as_str() == word)?;
    Some(vec![one])
}

fn yes_or_no(key: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Failure::usage(format!(
            "{key} must be true or false, not `{}`",
            output::visible(value)
        ))),
    }
}

fn number(key: &str, value: &str) -> Result<f64, Failure> {
    let number = value.parse::<f64>().ok();
    let number = number.filter(|n| n.is_finite() && *n >= 0.0);
    number.ok_or_else(|| {
        Failure::usage(format!(
            "{key} must be a number, 0 or more, not `{}`",
            output::visible(value)
        ))
    })
}

/// Says that there is no such key, and which one was probably meant.
fn unknown(key: &str) -> Failure {
    let shown: String = output::visible(key).chars().take(80).collect();
    let meant = match meant(key) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "the keys are heartbeat_interval, logs.enabled, logs.interval and \
                 telemetry.METRIC.enabled, .interval and .change_threshold"
            .to_owned(),
    };
    let names: Vec<&str> = metric_words();
    Failure::usage(format!(
        "there is no setting `{shown}`; {meant} (METRIC is one of {})",
        names.join(", ")
    ))
}

fn metric_words() -> Vec<&'static str> {
    let all = Metric::ALL.into_iter().map(Metric::as_str);
    all.chain([ALL]).collect()
}

/// The key that is nearest, part by part; one that is right already counts as nearest.
fn meant(key: &str) -> Option<String> {
    let near = |word: &str, known: &[&'static str]| -> Option<&'static str> {
        let same = known.iter().copied().find(|k| *k == word);
        same.or_else(|| nearest(word, known))
    };
    let parts: Vec<&str> = key.split('.').collect();
    let first = near(parts.first()?, &FIRST)?;
    match (first, &parts[1..]) {
        ("heartbeat_interval", []) => Some(first.to_owned()),
        ("logs", [what]) => Some(format!("{first}.{}", near(what, &OF_LOGS)?)),
        ("telemetry", [which, what]) => {
            let (which, what) = (near(which, &metric_words())?, near(what, &OF_METRIC)?);
            Some(format!("{first}.{which}.{what}"))
        }
        _ => None,
    }
}

/// A configuration as it is typed, one setting in a line.
pub(super) fn text(config: &NodeConfig) -> String {
    let mut lines = vec![format!(
        "heartbeat_interval={}",
        duration_text(config.heartbeat_interval_ms)
    )];
    for (metric, m) in &config.telemetry {
        let state = if m.enabled { "" } else { " (off)" };
        lines.push(format!(
            "telemetry.{metric}.interval={} change_threshold={}{state}",
            duration_text(m.interval_ms),
            m.change_threshold
        ));
    }
    if config.logs.enabled {
        let interval = duration_text(config.logs.interval_ms);
        lines.push(format!("logs.enabled=true logs.interval={interval}"));
    }
    lines.join("\n")
}

fn fields(view: &NodeConfigView) -> Vec<(&'static str, String)> {
    let origin = match view.configured {
        Some(_) => "the node's own",
        None => "the fleet's",
    };
    let reported = match &view.reported {
        None => "nothing was heard yet".to_owned(),
        Some(r) if view.is_in_effect() => {
            format!("the same, heard {} ago", output::ago(r.heard_ms))
        }
        Some(r) => format!(
            "heard {} ago:\n{}",
            output::ago(r.heard_ms),
            text(&r.config)
        ),
    };
    vec![
        ("settings", origin.to_owned()),
        ("wanted", text(&view.effective_wanted)),
        ("reported", reported),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(all: &[&str]) -> Result<NodeConfigPatch, String> {
        let all: Vec<String> = all.iter().map(|s| (*s).to_owned()).collect();
        read(&all).map_err(|failure| failure.message)
    }

    #[test]
    fn settings_are_read() {
        let patch = settings(&[
            "heartbeat_interval=5s",
            "telemetry.all.enabled=true",
            "telemetry.cpu.interval=10s",
            "telemetry.cpu.change_threshold=2.5",
            "telemetry.disk.enabled=false",
            "logs.enabled=true",
            "logs.interval=250ms",
        ])
        .unwrap();
        assert_eq!(patch.heartbeat_interval_ms, Some(5_000));
        assert_eq!(patch.telemetry.len(), Metric::ALL.len());
        let cpu = patch.telemetry[&Metric::Cpu];
        assert_eq!(
            (cpu.enabled, cpu.interval_ms, cpu.change_threshold),
            (Some(true), Some(10_000), Some(2.5))
        );
        assert_eq!(patch.telemetry[&Metric::Disk].enabled, Some(false));
        assert_eq!(
            (patch.logs.enabled, patch.logs.interval_ms),
            (Some(true), Some(250))
        );
    }

    #[test]
    fn mistakes_name_the_key_and_the_nearest_one() {
        for (text, words) in [
            ("heartbeat_intervall=5s", vec!["`heartbeat_interval`?"]),
            (
                "telemetry.cpi.enabled=true",
                vec!["`telemetry.cpu.enabled`?"],
            ),
            (
                "telemetri.temperatur.treshold=1",
                vec!["telemetri.temperatur.treshold", "METRIC.enabled"],
            ),
            (
                "telemetry.cpu.change_treshold=1",
                vec!["`telemetry.cpu.change_threshold`?"],
            ),
            (
                "telemetry.cpu=true",
                vec!["telemetry.cpu", "METRIC is one of cpu"],
            ),
            ("log.enabled=true", vec!["`logs.enabled`?"]),
            ("x=1", vec!["`x`", "the keys are"]),
            ("telemetry.cpu.enabled", vec!["key=value"]),
            (
                "telemetry.cpu.enabled=yes",
                vec!["telemetry.cpu.enabled", "`yes`"],
            ),
            (
                "telemetry.cpu.interval=10",
                vec!["telemetry.cpu.interval", "10s"],
            ),
            ("telemetry.cpu.change_threshold=-1", vec!["0 or more"]),
            ("telemetry.cpu.change_threshold=NaN", vec!["0 or more"]),
        ] {
            let said = settings(&[text]).unwrap_err();
            for word in words {
                assert!(said.contains(word), "{text}: no {word} in: {said}");
            }
        }
    }
}
