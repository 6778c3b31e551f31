//! `[controller.rebalance]`: rebalancing by itself. Off unless the table is written.

use crate::{
    fleet::{AutoRebalance, RebalanceBounds},
    manifest::{
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
    let interval_ms = table.ms_within("interval", INTERVAL);
    let default = RebalanceBounds::default();
    let threshold = table.count_within("threshold", 1..=100);
    let mut moves = |key, default| table.count_within(key, 1..=1_000).unwrap_or(default);
    let bounds = RebalanceBounds {
        max_moves: moves("max_moves", default.max_moves),
        max_per_workload: moves("max_per_workload", default.max_per_workload),
        threshold: threshold
            .and_then(|percent| u8::try_from(percent).ok())
            .unwrap_or(default.threshold),
    };
    table.finish();
    enabled.then_some(AutoRebalance {
        interval_ms: interval_ms.unwrap_or(DEFAULT_INTERVAL_MS),
        bounds,
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
        config::{ControllerConfig, tests::controller},
        fleet::{AutoRebalance, FleetConfig, RebalanceBounds},
        manifest::Problems,
    };

    fn read(text: &str) -> Result<ControllerConfig, Problems> {
        controller(&format!("[controller]\n{text}"))
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
        let again = controller(&again);
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
