//! `[controller.rebalance]`: rebalancing by itself. Off unless the table is written.

use crate::{
    fleet::{AutoRebalance, RebalanceBounds},
    manifest::{
        Flaw,
        quantity::duration_text,
        render::{line, quote},
        table::Table,
    },
};
use std::ops::RangeInclusive;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// How often may be looked.
const INTERVAL: RangeInclusive<u64> = MINUTE..=7 * 24 * HOUR;
/// How often is looked, unless it is written.
const DEFAULT_INTERVAL_MS: u64 = HOUR;

/// The table; written, it turns rebalancing on unless it says otherwise.
pub(super) fn read(mut table: Table<'_>) -> Option<AutoRebalance> {
    if !table.is_present() {
        return None;
    }
    let enabled = table.bool("enabled").unwrap_or(true);
    let interval_ms = table.duration_ms("interval").unwrap_or(DEFAULT_INTERVAL_MS);
    if !INTERVAL.contains(&interval_ms) {
        let (low, high) = (
            duration_text(*INTERVAL.start()),
            duration_text(*INTERVAL.end()),
        );
        let flaw = Flaw::new(format!("`interval` must be from {low} to {high}"));
        table.refuse("interval", flaw);
    }
    let default = RebalanceBounds::default();
    let threshold = count(&mut table, "threshold", default.threshold.into(), 1..=100);
    let bounds = RebalanceBounds {
        threshold: u8::try_from(threshold).unwrap_or(default.threshold),
        max_moves: count(&mut table, "max_moves", default.max_moves, 1..=1_000),
        max_per_workload: count(
            &mut table,
            "max_per_workload",
            default.max_per_workload,
            1..=1_000,
        ),
    };
    table.finish();
    enabled.then_some(AutoRebalance {
        interval_ms,
        bounds,
    })
}

fn count(
    table: &mut Table<'_>,
    key: &'static str,
    default: u32,
    bounds: RangeInclusive<u32>,
) -> u32 {
    let Some(written) = table.integer(key) else {
        return default;
    };
    let fits = u32::try_from(written).ok().filter(|n| bounds.contains(n));
    fits.unwrap_or_else(|| {
        let (low, high) = (bounds.start(), bounds.end());
        table.refuse(
            key,
            Flaw::new(format!("`{key}` must be from {low} to {high}")),
        );
        default
    })
}

/// The table as it is read; nothing where it is off, as it is by default.
pub(super) fn render(auto: Option<&AutoRebalance>, text: &mut String) {
    let Some(auto) = auto else {
        return;
    };
    text.push_str("\n[controller.rebalance]\n");
    line(text, "interval", quote(&duration_text(auto.interval_ms)));
    line(text, "threshold", auto.bounds.threshold.to_string());
    line(text, "max_moves", auto.bounds.max_moves.to_string());
    line(
        text,
        "max_per_workload",
        auto.bounds.max_per_workload.to_string(),
    );
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{ControllerConfig, ControllerOverrides, Surroundings},
        fleet::{AutoRebalance, FleetConfig, RebalanceBounds},
        manifest::{Problems, Source},
    };

    fn read(text: &str) -> Result<ControllerConfig, Problems> {
        let given = ControllerOverrides {
            embed_broker: Some(true),
            ..ControllerOverrides::default()
        };
        let around = Surroundings {
            root: true,
            ..Surroundings::default()
        };
        let text = format!("[controller]\n{text}");
        ControllerConfig::resolve(Some(&Source::new("c.toml", text)), &given, &around)
    }

    #[test]
    fn nothing_is_rebalanced_unless_somebody_says_so() {
        assert_eq!(read("").unwrap().fleet_config(), FleetConfig::default());
        let off = read("[controller.rebalance]\nenabled = false\n").unwrap();
        assert_eq!(off.rebalance, None);
    }

    #[test]
    fn what_is_written_is_read_and_rendered_again() {
        let text = "lost_after = '0s'\n[controller.rebalance]\ninterval = '10m'\nthreshold = 5\n";
        let config = read(text).unwrap_or_else(|p| panic!("{p}"));
        let expected = FleetConfig {
            lost_after_ms: 0,
            rebalance: Some(AutoRebalance {
                interval_ms: 600_000,
                bounds: RebalanceBounds {
                    threshold: 5,
                    ..RebalanceBounds::default()
                },
            }),
        };
        assert_eq!(config.fleet_config(), expected);
        let again = config.render();
        let again = read(again.trim_start_matches("[controller]\n"));
        assert_eq!(again.unwrap_or_else(|p| panic!("{p}")), config);
    }

    #[test]
    fn mistakes_have_their_place() {
        for (text, expected) in [
            (
                "[controller.rebalance]\ninterval = '1s'\n",
                "`interval` must be from 1m to 7d",
            ),
            (
                "[controller.rebalance]\nthreshold = 0\n",
                "`threshold` must be from 1 to 100",
            ),
            (
                "[controller.rebalance]\nmax_moves = -1\n",
                "`max_moves` must be from 1 to 1000",
            ),
            (
                "[controller.rebalance]\nmax_move = 1\n",
                "unknown key `max_move`",
            ),
            ("lost_after = '8d'\n", "`lost_after` must be from"),
        ] {
            let problems = read(text).unwrap_err().to_string();
            assert!(problems.contains(expected), "{text}: {problems}");
        }
    }
}
