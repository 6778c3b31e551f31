//! `[controller.telemetry.<metric>]` and `[controller.log_shipping]`: what every node measures and
//! publishes that has no configuration of its own.

use crate::{
    fleet::{SHIPPING_BOUNDS, TELEMETRY_BOUNDS},
    manifest::{
        Flaw,
        quantity::duration_text,
        render::{line, quote},
        table::Table,
    },
    model::{LogShipping, Metric, MetricConfig},
};
use std::collections::BTreeMap;

/// The tables of the metrics; one that is written is on, unless it says otherwise.
pub(super) fn read_metrics(mut all: Table<'_>) -> BTreeMap<Metric, MetricConfig> {
    let mut metrics = BTreeMap::new();
    for metric in Metric::ALL {
        let table = all.table(metric.as_str());
        if table.is_present() {
            metrics.insert(metric, read_metric(table));
        }
    }
    all.finish();
    metrics
}

fn read_metric(mut table: Table<'_>) -> MetricConfig {
    let default = MetricConfig::default();
    let config = MetricConfig {
        enabled: table.bool("enabled").unwrap_or(default.enabled),
        interval_ms: table
            .ms_within("interval", TELEMETRY_BOUNDS)
            .unwrap_or(default.interval_ms),
        change_threshold: table
            .number("change_threshold")
            .unwrap_or(default.change_threshold),
    };
    if !(config.change_threshold.is_finite() && config.change_threshold >= 0.0) {
        let flaw = Flaw::new("`change_threshold` must be 0 or more")
            .hint("0 sends every measurement; else only what moved by so much");
        table.refuse("change_threshold", flaw);
    }
    table.finish();
    config
}

/// The table of log shipping; one that is written turns it on, unless it says otherwise.
pub(super) fn read_shipping(mut table: Table<'_>) -> LogShipping {
    let default = LogShipping::default();
    if !table.is_present() {
        return default;
    }
    let config = LogShipping {
        enabled: table.bool("enabled").unwrap_or(true),
        interval_ms: table
            .ms_within("interval", SHIPPING_BOUNDS)
            .unwrap_or(default.interval_ms),
    };
    table.finish();
    config
}

/// The tables as they are read; nothing where everything is off, as it is by default.
pub(super) fn render(
    metrics: &BTreeMap<Metric, MetricConfig>,
    shipping: &LogShipping,
    text: &mut String,
) {
    for (metric, m) in metrics {
        text.push_str(&format!("\n[controller.telemetry.{metric}]\n"));
        line(text, "enabled", m.enabled.to_string());
        line(text, "interval", quote(&duration_text(m.interval_ms)));
        line(
            text,
            "change_threshold",
            format!("{:?}", m.change_threshold),
        );
    }
    if *shipping != LogShipping::default() {
        text.push_str("\n[controller.log_shipping]\n");
        line(text, "enabled", shipping.enabled.to_string());
        line(
            text,
            "interval",
            quote(&duration_text(shipping.interval_ms)),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{ControllerConfig, tests::controller},
        manifest::Problems,
        model::{LogShipping, Metric, NodeConfig},
    };

    fn read(text: &str) -> Result<ControllerConfig, Problems> {
        controller(&format!("[controller]\n{text}"))
    }

    #[test]
    fn nothing_is_measured_or_shipped_unless_somebody_says_so() {
        assert_eq!(read("").unwrap().node_config(), NodeConfig::default());
    }

    #[test]
    fn what_is_written_reaches_the_nodes_and_is_rendered_again() {
        let config = read(
            "heartbeat_interval = '5s'\n[controller.telemetry.cpu]\n\
             [controller.telemetry.disk]\ninterval = '1h'\nchange_threshold = 0.5\n\
             [controller.telemetry.load]\nenabled = false\nchange_threshold = 2\n\
             [controller.log_shipping]\ninterval = '250ms'\n",
        )
        .unwrap_or_else(|p| panic!("{p}"));
        let nodes = config.node_config();
        assert_eq!(nodes.heartbeat_interval_ms, 5_000);
        let get = |metric| nodes.telemetry[&metric];
        assert_eq!(
            (get(Metric::Cpu).enabled, get(Metric::Cpu).interval_ms),
            (true, 30_000)
        );
        assert_eq!(
            (
                get(Metric::Disk).interval_ms,
                get(Metric::Disk).change_threshold
            ),
            (3_600_000, 0.5)
        );
        assert_eq!(
            (
                get(Metric::Load).enabled,
                get(Metric::Load).change_threshold
            ),
            (false, 2.0)
        );
        let shipping = LogShipping {
            enabled: true,
            interval_ms: 250,
        };
        assert_eq!(nodes.logs, shipping);
        let text = config.render();
        let again = controller(&text);
        assert_eq!(again.unwrap_or_else(|p| panic!("{p}\n{text}")), config);
    }

    #[test]
    fn mistakes_have_their_place() {
        for (text, expected) in [
            ("[controller.telemetry.cpi]\n", "unknown key `cpi`"),
            (
                "[controller.telemetry.cpu]\nintervall = '1s'\n",
                "unknown key `intervall`",
            ),
            (
                "[controller.telemetry.cpu]\ninterval = '1ms'\n",
                "`interval` must be from 1s to 1d",
            ),
            (
                "[controller.telemetry.cpu]\nchange_threshold = -1\n",
                "`change_threshold` must be 0 or more",
            ),
            (
                "[controller.telemetry.cpu]\nchange_threshold = inf\n",
                "`change_threshold` must be 0 or more",
            ),
            ("telemetry = true\n", "`telemetry` must be a table"),
            (
                "[controller.log_shipping]\ninterval = '1h'\n",
                "`interval` must be from 100ms to 10m",
            ),
        ] {
            let problems = read(text).unwrap_err().to_string();
            assert!(problems.contains(expected), "{text}: {problems}");
        }
    }
}
