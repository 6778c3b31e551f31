//! What the fleet decides by, as TOML: where instances go, in which steps they change, and which
//! of their volumes may be left behind.

use super::{duration, inline, line, number, optional, quote, strings};
use crate::{
    manifest::{placement::DEFAULT_WEIGHT, quantity::duration_text},
    model::{
        Budget, Mount, MountSource, Placement, PlacementMode, Preference, Share, Strategy, Update,
        Window,
    },
};

/// The table `placement`.
pub(super) fn placement(placement: &Placement) -> String {
    let mut text = String::new();
    match placement.mode {
        PlacementMode::Every => line(&mut text, "on", quote("every")),
        PlacementMode::Any { replicas: 1 } => {}
        PlacementMode::Any { replicas } => {
            line(&mut text, "on", quote("any"));
            line(&mut text, "replicas", replicas.to_string());
        }
    }
    let strategy = match placement.strategy {
        Strategy::LeastLoaded => None,
        Strategy::RoundRobin => Some("round_robin"),
        Strategy::CapabilityMatch => Some("capability_match"),
        Strategy::ResourceOptimal => Some("resource_optimal"),
    };
    optional(&mut text, "strategy", strategy);
    let words = placement.requires.iter().map(ToString::to_string);
    strings(&mut text, "requires", words);
    list(&mut text, "prefers", &placement.prefers, preference);
    optional(&mut text, "spread", placement.spread.as_deref());
    for (key, names) in [
        ("nodes", &placement.nodes),
        ("with", &placement.with),
        ("apart", &placement.apart),
    ] {
        strings(&mut text, key, names.iter().map(ToString::to_string));
    }
    text
}

fn preference(preference: &Preference) -> String {
    let requirement = quote(&preference.requirement.to_string());
    if preference.weight == DEFAULT_WEIGHT {
        return requirement;
    }
    inline([
        ("requires".to_owned(), requirement),
        ("weight".to_owned(), preference.weight.to_string()),
    ])
}

/// The table `update`; never empty, since a workload with all defaults differs from one without.
pub(super) fn update(update: &Update) -> String {
    let mut text = String::new();
    let usual = Update::default();
    line(&mut text, "max_parallel", share(update.max_parallel));
    number(
        &mut text,
        "canary",
        Some(update.canary).filter(|canary| *canary != usual.canary),
    );
    if update.auto_promote != usual.auto_promote {
        line(&mut text, "auto_promote", update.auto_promote.to_string());
    }
    // One of them alone could move the defaults of the others.
    let times = |update: &Update| {
        [
            ("min_healthy_time", update.min_healthy_time_ms),
            ("healthy_deadline", update.healthy_deadline_ms),
            ("progress_deadline", update.progress_deadline_ms),
        ]
    };
    if times(update) != times(&usual) {
        for (key, ms) in times(update) {
            duration(&mut text, key, Some(ms));
        }
    }
    if update.auto_rollback != usual.auto_rollback {
        line(&mut text, "auto_rollback", update.auto_rollback.to_string());
    }
    optional(&mut text, "sequence", update.sequence.as_deref());
    if let Some(Budget {
        label,
        max_unavailable,
    }) = &update.budget
    {
        let budget = inline([
            ("label".to_owned(), quote(label)),
            ("max_unavailable".to_owned(), share(*max_unavailable)),
        ]);
        line(&mut text, "budget", budget);
    }
    list(&mut text, "windows", &update.windows, window);
    list(
        &mut text,
        "download_windows",
        &update.download_windows,
        window,
    );
    text
}

fn share(share: Share) -> String {
    match share {
        Share::Count(count) => count.to_string(),
        Share::Percent(_) => quote(&share.to_string()),
    }
}

fn window(window: &Window) -> String {
    let mut entries = vec![
        ("opens".to_owned(), quote(&window.opens)),
        (
            "duration".to_owned(),
            quote(&duration_text(window.duration_ms)),
        ),
    ];
    if let Some(zone) = &window.time_zone {
        entries.push(("time_zone".to_owned(), quote(zone)));
    }
    inline(entries)
}

/// `volumes`: a word each, and a table where a word cannot say it.
pub(super) fn volumes(text: &mut String, volumes: &[Mount]) {
    list(text, "volumes", volumes, mount);
}

fn mount(mount: &Mount) -> String {
    let (MountSource::Volume(source) | MountSource::Path(source)) = &mount.source;
    if !mount.movable {
        let read_only = if mount.read_only { ":ro" } else { "" };
        return quote(&format!("{source}:{}{read_only}", mount.target));
    }
    let mut entries = vec![
        ("source".to_owned(), quote(source)),
        ("target".to_owned(), quote(&mount.target)),
    ];
    for (key, on) in [("read_only", mount.read_only), ("movable", mount.movable)] {
        if on {
            entries.push((key.to_owned(), "true".to_owned()));
        }
    }
    inline(entries)
}

/// `key = [a, b]`, where there are any; `shown` makes TOML of one.
fn list<T>(text: &mut String, key: &str, items: &[T], shown: impl Fn(&T) -> String) {
    if !items.is_empty() {
        let items: Vec<String> = items.iter().map(shown).collect();
        line(text, key, format!("[{}]", items.join(", ")));
    }
}
