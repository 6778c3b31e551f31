//! Following rollouts to their end: those that a change has begun, and no others.
//!
//! It ends before the rollout does where waiting helps nobody: somebody else's change has taken its
//! place, or only a person or the calendar can move it.

use super::{
    Failure,
    client::Client,
    output,
    progress::{self, Progress},
    rollout::{line, named, verdict_text},
};
use crate::{
    fleet::{Plan, RevisionView, RolloutPhase, StepState, WorkloadView},
    http::RolloutView,
    model::{Name, UnixMs},
    support::clock,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Between two looks at a rollout.
const LOOK: Duration = Duration::from_millis(250);

/// Which rollouts there were before a change, so that those which it begins are told from them.
pub(super) struct Before(BTreeMap<Name, u64>);

impl Before {
    /// As they are now.
    pub(super) async fn look(client: &mut Client) -> Result<Before, Failure> {
        let all: Vec<RolloutView> = client.list("/api/v1/rollouts").await?;
        let known = all.into_iter().map(|r| (r.workload, r.rollout.to));
        Ok(Before(known.collect()))
    }

    fn concerns(&self, view: &RolloutView) -> bool {
        view.active || self.0.get(&view.workload) != Some(&view.rollout.to)
    }
}

/// Says on stderr which rollouts an apply has begun, and how they are followed; of what somebody
/// else has changed since, that. The change is made already: where it cannot be found out, nothing
/// is said.
pub(super) async fn tell_begun(client: &mut Client, plan: &Plan) {
    let replaces = plan.changed.iter().filter(|w| w.replaces);
    let replaces: Vec<&Name> = replaces.map(|w| &w.workload).collect();
    if replaces.is_empty() {
        return;
    }
    let all: Result<Vec<RolloutView>, _> = client.list("/api/v1/rollouts").await;
    for view in all.unwrap_or_default() {
        if !replaces.contains(&&view.workload) {
            continue;
        }
        let asked = plan.revisions.get(&view.workload);
        let text = match asked.filter(|revision| took_its_place(&view, **revision)) {
            Some(revision) => replaced_by(client, &view.workload, *revision).await,
            None => Ok(view.active.then(|| begun_text(&view))),
        };
        if let Ok(Some(text)) = text {
            eprintln!("{text}");
        }
    }
}

fn begun_text(view: &RolloutView) -> String {
    let name = &view.workload;
    format!(
        "rollout begun: {}; follow it by `fleetctl rollout show {name}`",
        line(view)
    )
}

/// How rollouts ended that were followed.
pub(super) struct Followed {
    /// Those that ended, or are held since they failed.
    ended: Vec<RolloutView>,
    /// Not all of them did, in time.
    timed_out: bool,
    /// Some are not waited for any longer, which was said: others have taken their place, or only
    /// a person or the calendar moves them.
    left: bool,
}

impl Followed {
    /// All of them succeeded.
    pub(super) fn well(&self) -> bool {
        let well = |r: &RolloutView| r.rollout.phase == RolloutPhase::Succeeded;
        !self.timed_out && !self.left && self.ended.iter().all(well)
    }

    /// All of them have come to rest on a version that was asked for, also by going back.
    pub(super) fn back(&self) -> bool {
        let back = |r: &RolloutView| {
            matches!(
                r.rollout.phase,
                RolloutPhase::Succeeded | RolloutPhase::RolledBack
            )
        };
        !self.timed_out && !self.left && self.ended.iter().all(back)
    }

    /// Nothing more is to be waited for, and why was said.
    pub(super) fn is_left(&self) -> bool {
        self.left
    }

    /// Who follows when it can be heard, although the rollouts are over; one sentence each.
    pub(super) fn followers(&self) -> Vec<String> {
        let over = self.ended.iter().filter(|view| !view.active);
        over.filter_map(|view| {
            let open = [
                StepState::Waiting,
                StepState::Changing,
                StepState::Returning,
            ];
            let open = open.map(|state| named(view, state));
            let open: Vec<String> = open.into_iter().filter(|names| !names.is_empty()).collect();
            let name = &view.workload;
            (!open.is_empty()).then(|| {
                format!(
                    "{name}: not heard, and follows as soon as heard: {}",
                    open.join(", ")
                )
            })
        })
        .collect()
    }

    /// Of each that did not succeed: how it ended.
    pub(super) fn why_not(&self) -> Vec<String> {
        self.ended.iter().filter_map(why_not).collect()
    }
}

fn why_not(view: &RolloutView) -> Option<String> {
    let how = match view.rollout.phase {
        RolloutPhase::Succeeded => return None,
        RolloutPhase::RolledBack => {
            let to = output::visible(&view.from_version);
            format!("it was rolled back to {to}{}", unheard_text(view))
        }
        RolloutPhase::Failed => "it failed and is left as it is".into(),
        RolloutPhase::Aborted => "it was aborted".into(),
        RolloutPhase::Superseded => "another change took its place".into(),
        _ if rests(view) => "it failed and is held".into(),
        _ => "it goes on (`fleetctl rollout ls`)".into(),
    };
    let version = output::visible(&view.version);
    Some(format!(
        "{} {version} is not rolled out: {how}",
        view.workload
    ))
}

/// Who has yet to go back.
fn unheard_text(view: &RolloutView) -> String {
    let open = [StepState::Waiting, StepState::Returning].map(|state| named(view, state));
    let open: Vec<String> = open.into_iter().filter(|names| !names.is_empty()).collect();
    match open.is_empty() {
        true => String::new(),
        false => format!(
            "; not heard, and back as soon as heard: {}",
            open.join(", ")
        ),
    }
}

/// Tells on stderr how the rollouts of `workloads` get on that have begun since `before`, until
/// they end. `asked`: the revisions that they are to lead to.
pub(super) async fn follow(
    client: &mut Client,
    before: &Before,
    asked: &BTreeMap<Name, u64>,
    workloads: &[Name],
    deadline: Instant,
) -> Result<Followed, Failure> {
    let mut told: BTreeMap<Name, String> = BTreeMap::new();
    let mut replaced: BTreeSet<Name> = BTreeSet::new();
    // The same version again, with other settings around it, is looked at once.
    let mut looked: BTreeMap<Name, u64> = BTreeMap::new();
    let mut progress = Progress::begin();
    loop {
        let all: Vec<RolloutView> = client.list("/api/v1/rollouts").await?;
        let concerned = |r: &RolloutView| workloads.contains(&r.workload) && before.concerns(r);
        let mut ours: Vec<RolloutView> = all
            .into_iter()
            .filter(|r| concerned(r) || told.contains_key(&r.workload))
            .filter(|r| !replaced.contains(&r.workload))
            .collect();
        for view in &ours {
            let (name, to) = (&view.workload, view.rollout.to);
            let asked = asked
                .get(name)
                .filter(|asked| took_its_place(view, **asked));
            if let Some(asked) = asked
                && looked.get(name) != Some(&to)
            {
                looked.insert(name.clone(), to);
                if let Some(text) = replaced_by(client, name, *asked).await? {
                    progress.say(&text);
                    replaced.insert(name.clone());
                }
            }
        }
        ours.retain(|view| !replaced.contains(&view.workload));
        for view in &ours {
            let text = line(view);
            if told.get(&view.workload) != Some(&text) {
                // On a terminal the block tells what goes on, and only ends stay.
                if !progress.is_live() || rests(view) {
                    progress.say(&text);
                }
                if let Some(verdict) = view.rollout.verdict.as_ref().filter(|_| rests(view)) {
                    eprint!("{}", verdict_text(view, verdict));
                }
                told.insert(view.workload.clone(), text);
            }
        }
        progress.show(progress::of_rollouts(ours.iter().filter(|r| !rests(r))));
        let left = deadline.saturating_duration_since(Instant::now());
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let until = clock::unix_ms().saturating_add(left_ms);
        let idle: Vec<String> = ours.iter().filter_map(|v| idles(v, until)).collect();
        let over = |view: &RolloutView| rests(view) || idles(view, until).is_some();
        if ours.iter().all(over) {
            idle.iter().for_each(|text| progress.say(text));
            return Ok(Followed {
                ended: ours,
                timed_out: false,
                left: !replaced.is_empty() || !idle.is_empty(),
            });
        }
        if left.is_zero() {
            let open = ours.iter().filter(|r| !rests(r));
            let names: Vec<&str> = open.map(|r| r.workload.as_str()).collect();
            progress.say(&format!(
                "not over in time: the rollout of {} goes on (`fleetctl rollout ls`)",
                names.join(", ")
            ));
            return Ok(Followed {
                ended: ours,
                timed_out: true,
                left: !replaced.is_empty(),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// It goes no further, unless a person makes it.
pub(super) fn rests(view: &RolloutView) -> bool {
    !view.active || (view.rollout.paused && view.rollout.verdict.is_some())
}

/// What a rollout waits for that nobody here can wait for: a person, or a window that does not open
/// before `until`.
fn idles(view: &RolloutView, until: UnixMs) -> Option<String> {
    let r = &view.rollout;
    let name = &view.workload;
    if rests(view) || r.phase == RolloutPhase::RollingBack {
        return None;
    }
    let unless = |what: &str, command: &str| {
        let version = output::visible(&view.version);
        Some(format!(
            "not waited for any longer: {name} {version} {what}: `fleetctl {command} {name}` goes on"
        ))
    };
    if view.stopped {
        return unless("is stopped", "workload start");
    }
    if r.paused {
        return unless("is paused", "rollout resume");
    }
    if r.phase == RolloutPhase::AwaitingPromotion {
        return unless("waits for its canaries to be promoted", "rollout promote");
    }
    let closed = view.changing == 0 && view.waiting > 0 && !r.windows.changes;
    if !closed || r.windows.next_ms.is_some_and(|next| next <= until) {
        return None;
    }
    let when = r.windows.next_ms.map(output::utc);
    let when = when.map_or_else(|| "for ever".into(), |at| format!("until {at} at least"));
    Some(format!(
        "not waited for any longer: the maintenance window of {name} is closed {when}; the rollout \
         goes on by itself when it opens (`fleetctl rollout show {name}`)"
    ))
}

/// What it shows is not the rollout to the revision that was asked for, or no longer.
fn took_its_place(view: &RolloutView, asked: u64) -> bool {
    view.rollout.to > asked || view.rollout.phase == RolloutPhase::Superseded
}

/// Which of these revisions somebody else has replaced, and by what; one sentence each.
pub(super) async fn replaced(
    client: &mut Client,
    asked: &BTreeMap<Name, u64>,
) -> Result<Vec<String>, Failure> {
    let all: Vec<WorkloadView> = client.list("/api/v1/workloads").await?;
    let mut texts = Vec::new();
    for view in all {
        let later = asked
            .get(&view.name)
            .filter(|asked| view.revision > **asked);
        // What it went back to by itself is no change of somebody else.
        let own = |asked: &u64| {
            let rollout = view.rollout.as_ref();
            rollout.is_some_and(|r| r.to == *asked && r.phase != RolloutPhase::Superseded)
        };
        if let Some(asked) = later.filter(|asked| !own(asked)) {
            texts.extend(replaced_by(client, &view.name, *asked).await?);
        }
    }
    Ok(texts)
}

async fn replaced_by(
    client: &mut Client,
    name: &Name,
    asked: u64,
) -> Result<Option<String>, Failure> {
    let path = format!("/api/v1/workloads/{name}/history");
    let history: Vec<RevisionView> = client.get(&path).await?;
    Ok(replaced_text(name, &history, asked))
}

/// Another version is wanted than the one that was asked for.
fn replaced_text(name: &Name, history: &[RevisionView], asked: u64) -> Option<String> {
    let wanted = history.iter().find(|r| r.wanted && r.revision > asked)?;
    let own = history.iter().find(|r| r.revision == asked);
    if own.is_some_and(|own| own.version == wanted.version) {
        return None;
    }
    let own = own.map_or_else(
        || format!("(revision {asked})"),
        |own| output::visible(&own.version),
    );
    let by = wanted.by.as_ref();
    let by = by.map_or_else(String::new, |by| format!(" (by {})", output::visible(by)));
    Some(format!(
        "{name} {own} was replaced by {} before it was everywhere{by}",
        output::visible(&wanted.version)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::{verdict, view};
    use super::*;
    use serde_json::json;

    fn history() -> Vec<RevisionView> {
        let revision = |revision: u64, version: &str, wanted: bool| {
            json!({
                "revision": revision, "version": version, "applied_ms": 0, "by": "admin",
                "verdict": "untried", "wanted": wanted, "nodes": 0, "fields": [],
            })
        };
        let all = json!([
            revision(2, "1.A", false),
            revision(3, "1.B", false),
            revision(4, "1.D", true),
        ]);
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn whoever_was_replaced_hears_by_what_and_by_whom() {
        let web: Name = "web".parse().unwrap();
        assert_eq!(
            replaced_text(&web, &history(), 2).unwrap(),
            "web 1.A was replaced by 1.D before it was everywhere (by admin)"
        );
        assert_eq!(replaced_text(&web, &history(), 4), None, "it is his own");
        let mut same = history();
        same[2].version = "1.A".into();
        assert_eq!(replaced_text(&web, &same, 2), None, "in place");
        let gone = replaced_text(&web, &history(), 1).unwrap();
        assert!(gone.starts_with("web (revision 1) was replaced by 1.D"));
    }

    #[test]
    fn the_rollout_of_another_is_not_taken_for_ones_own() {
        let other = view(RolloutPhase::Succeeded, &[StepState::Healthy]);
        assert_eq!(other.rollout.to, 2);
        assert!(took_its_place(&other, 1) && !took_its_place(&other, 2));
        let at_once = view(RolloutPhase::Superseded, &[StepState::Waiting]);
        assert!(took_its_place(&at_once, 2));
    }

    #[test]
    fn what_only_a_person_can_move_is_not_waited_for() {
        let says = |view: &RolloutView, what: &str| {
            let said = idles(view, 1_000).unwrap_or_default();
            assert!(said.contains(what), "{said}");
        };
        let promote = view(RolloutPhase::AwaitingPromotion, &[StepState::Healthy]);
        says(&promote, "`fleetctl rollout promote web`");
        let mut paused = view(RolloutPhase::Rolling, &[StepState::Changing]);
        assert_eq!(idles(&paused, 1_000), None, "it gets on");
        paused.rollout.paused = true;
        says(&paused, "`fleetctl rollout resume web`");
        paused.stopped = true;
        says(&paused, "`fleetctl workload start web`");
        let back = view(RolloutPhase::RollingBack, &[StepState::Returning]);
        assert_eq!(idles(&back, 1_000), None);
    }

    #[test]
    fn a_window_is_waited_for_that_opens_in_time_and_no_other() {
        let mut closed = view(RolloutPhase::Rolling, &[StepState::Waiting]);
        closed.rollout.windows.next_ms = Some(86_400_000);
        assert_eq!(idles(&closed, 86_400_000), None);
        let said = idles(&closed, 86_399_999).unwrap();
        assert!(said.contains("closed until 1970-01-02"), "{said}");
        closed.rollout.windows.changes = true;
        assert_eq!(idles(&closed, 0), None, "it waits for something else");
    }

    #[test]
    fn a_failure_that_is_held_for_a_person_is_not_waited_for() {
        let mut held = view(RolloutPhase::Rolling, &[StepState::Failed]);
        held.rollout.paused = true;
        held.rollout.verdict = Some(verdict());
        assert!(rests(&held));
        assert_eq!(idles(&held, 0), None, "it was said as a failure");
    }

    #[test]
    fn an_apply_says_that_a_rollout_has_begun_and_how_it_is_followed() {
        let view = view(RolloutPhase::Canary, &[StepState::Changing]);
        assert_eq!(
            begun_text(&view),
            "rollout begun: web 2: canaries, 0 of 1 healthy, pi-0 changing; follow it by \
             `fleetctl rollout show web`"
        );
    }

    #[test]
    fn only_what_a_change_has_begun_is_followed() {
        let before = Before([("web".parse().unwrap(), 2)].into());
        let over = view(RolloutPhase::Succeeded, &[]);
        assert!(!before.concerns(&over), "it was over before");
        assert!(before.concerns(&view(RolloutPhase::Rolling, &[])));
        assert!(Before(BTreeMap::new()).concerns(&over));
    }

    #[test]
    fn who_is_not_heard_is_named_when_the_rollout_is_over_and_not_waited_for() {
        let states = [StepState::Healthy, StepState::Waiting];
        let ended = |phase| Followed {
            ended: vec![view(phase, &states)],
            timed_out: false,
            left: false,
        };
        assert_eq!(
            ended(RolloutPhase::Succeeded).followers(),
            ["web: not heard, and follows as soon as heard: pi-1"]
        );
        assert!(ended(RolloutPhase::Rolling).followers().is_empty());
    }

    #[test]
    fn going_back_is_no_success_of_an_apply() {
        let ended = |phase| Followed {
            ended: vec![view(phase, &[])],
            timed_out: false,
            left: false,
        };
        assert!(ended(RolloutPhase::Succeeded).well());
        assert!(!ended(RolloutPhase::RolledBack).well());
        assert!(ended(RolloutPhase::RolledBack).back());
        assert!(!ended(RolloutPhase::Aborted).back());
        let left = Followed {
            left: true,
            ..ended(RolloutPhase::Succeeded)
        };
        assert!(!left.well() && !left.back());
    }

    #[test]
    fn an_apply_that_went_back_ends_with_that_and_with_who_is_not_heard() {
        let states = [StepState::Returned, StepState::Returning];
        let back = view(RolloutPhase::RolledBack, &states);
        assert_eq!(
            why_not(&back).unwrap(),
            "web 2 is not rolled out: it was rolled back to 1; not heard, and back as soon as \
             heard: pi-1"
        );
        assert_eq!(why_not(&view(RolloutPhase::Succeeded, &states)), None);
    }
}
