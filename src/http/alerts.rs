//! Alerts: what is wrong, who does not want to be told, and how telling goes.

use super::{
    auth::Caller,
    problem::ApiError,
    workloads::{MAX_PAGE, Page, idempotent},
};
use crate::{
    alert::{AlertPlace, AlertState, AlertView, Matcher, RuleView, SilenceView, is_rule_name},
    controller::Controller,
    fleet::{Change, Refusal},
    identity::Role,
    model::{Name, UnixMs, shown},
    notify::ReceiverStatus,
    support::clock,
};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, sync::Arc};
use utoipa::{IntoParams, ToSchema};

const SECOND_MS: u64 = 1_000;
const YEAR_MS: u64 = 365 * 86_400 * SECOND_MS;

/// Which alerts.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Selection {
    /// Only those in this state, or in one of these: `firing,silenced`.
    #[serde(default)]
    state: String,
    /// Only about this node.
    #[serde(default)]
    node: String,
    /// Only about this workload.
    #[serde(default)]
    workload: String,
    /// Only what comes after this place: `next` of the page before.
    #[serde(default)]
    after: String,
    /// At most so many; 1,000 unless given.
    limit: Option<usize>,
}

impl Selection {
    fn states(&self) -> Result<Vec<AlertState>, ApiError> {
        if self.state.is_empty() {
            return Ok(AlertState::ALL.to_vec());
        }
        let read = |word: &str| {
            let known = AlertState::ALL.into_iter().find(|s| s.as_str() == word);
            known.ok_or_else(|| {
                let detail = format!(
                    "`state` must be firing, silenced, pending or resolved, not `{}`",
                    shown(word)
                );
                ApiError::new(StatusCode::BAD_REQUEST, detail)
            })
        };
        self.state.split(',').map(read).collect()
    }

    fn page(&self, all: Vec<AlertView>) -> Result<Page<AlertView>, ApiError> {
        let states = self.states()?;
        let is = |name: &Option<Name>, wanted: &str| {
            wanted.is_empty() || name.as_ref().is_some_and(|n| n.as_str() == wanted)
        };
        let after = match self.after.as_str() {
            "" => None,
            text => Some(Place::read(text).ok_or_else(|| {
                let detail = "`after` must be the `next` of the page before";
                ApiError::new(StatusCode::BAD_REQUEST, detail)
            })?),
        };
        let limit = self.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        let wanted = all.into_iter().filter(|a| {
            states.contains(&a.state)
                && is(&a.subject.node, &self.node)
                && is(&a.subject.workload, &self.workload)
                && after.as_ref().is_none_or(|p| a.place() > p.place())
        });
        let mut items: Vec<AlertView> = wanted.take(limit + 1).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(Place::text);
        Ok(Page { items, next })
    }
}

/// A place in the list of alerts, as it stands in `after`.
#[derive(Debug)]
struct Place {
    state: AlertState,
    weight: u8,
    since_ms: UnixMs,
    resolved_ms: UnixMs,
    id: String,
}

impl Place {
    fn text(alert: &AlertView) -> String {
        let resolved_ms = alert.resolved_ms.unwrap_or(0);
        let (state, weight, since_ms) = (alert.state, alert.weight(), alert.since_ms);
        format!("{state}.{weight}.{since_ms}.{resolved_ms}.{}", alert.id)
    }

    fn read(text: &str) -> Option<Place> {
        let mut parts = text.splitn(5, '.');
        let word = parts.next()?;
        Some(Place {
            state: AlertState::ALL.into_iter().find(|s| s.as_str() == word)?,
            weight: parts.next()?.parse().ok()?,
            since_ms: parts.next()?.parse().ok()?,
            resolved_ms: parts.next()?.parse().ok()?,
            id: parts.next()?.to_owned(),
        })
    }

    fn place(&self) -> AlertPlace<'_> {
        let (since, resolved) = (Reverse(self.since_ms), Reverse(self.resolved_ms));
        (self.state, Reverse(self.weight), since, &self.id, resolved)
    }
}

#[utoipa::path(get, path = "/api/v1/alerts", params(Selection), tag = "alerts",
    description = "What is wrong: alerts that fire first, then those that are silenced and pending, of \
                   each the worst first, and those that are over; then the newest first. Of those that are over the last 1,000 since the \
                   controller's start are kept.",
    responses((status = 200, body = Page<AlertView>), (status = 400, body = super::ProblemDocument)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Result<Json<Page<AlertView>>, ApiError> {
    caller.need(Role::Viewer)?;
    Ok(Json(selection?.0.page(c.alert_views())?))
}

#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts",
    params(("id" = String, Path, description = "Rule and subject, as in `disk.pi-3`")),
    responses((status = 200, body = AlertView), (status = 404, body = super::ProblemDocument)))]
pub(super) async fn show(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AlertView>, ApiError> {
    caller.need(Role::Viewer)?;
    found(&c, &id).map(Json)
}

/// What goes on comes before what is over.
fn found(c: &Controller, id: &str) -> Result<AlertView, ApiError> {
    let all = c.alert_views().into_iter();
    let own = all.into_iter().find(|a| a.id == id);
    own.ok_or_else(|| ApiError::not_found("alert", id))
}

/// For how long nobody is to be told, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SilenceRequest {
    /// Milliseconds from now on: a second to a year.
    pub for_ms: u64,
    /// Why; at most 500 bytes.
    #[serde(default)]
    pub comment: String,
}

#[utoipa::path(post, path = "/api/v1/alerts/{id}/silence", tag = "alerts",
    params(("id" = String, Path)), request_body = SilenceRequest,
    responses((status = 204), (status = 404, body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument), (status = 422, body = super::ProblemDocument)))]
pub(super) async fn silence(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Json<SilenceRequest>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    let SilenceRequest { for_ms, comment } = body?.0;
    let change = Change::AlertSilenced {
        alert: found(&c, &id)?.id,
        until_ms: end(for_ms)?,
        comment,
    };
    idempotent(c.change(Some(by), change).await)
}

fn end(for_ms: u64) -> Result<UnixMs, ApiError> {
    if (SECOND_MS..=YEAR_MS).contains(&for_ms) {
        return Ok(clock::unix_ms().saturating_add(for_ms));
    }
    let refusal = Refusal::Invalid("a silence must be from 1s to 365d".into());
    Err(refusal.into())
}

#[utoipa::path(delete, path = "/api/v1/alerts/{id}/silence", tag = "alerts",
    params(("id" = String, Path, description = "Of the alert; or what a silence is about, as in \
                                               `GET /api/v1/silences`")),
    responses((status = 204), (status = 404, body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument)))]
pub(super) async fn unsilence(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Operator)?;
    if Matcher::parse(&id).is_err() {
        return Err(ApiError::not_found("silence", &id));
    }
    if let Some(wider) = wider(&c, &id) {
        let detail = format!("`{id}` is silenced together with others: take `{wider}` back");
        return Err(Refusal::Conflict(detail).into());
    }
    let change = Change::AlertUnsilenced { alert: id };
    idempotent(c.change(Some(by), change).await)
}

/// The silence that covers an alert which has none of its own.
fn wider(c: &Controller, id: &str) -> Option<String> {
    let now = clock::unix_ms();
    let silences = c.fleet().silences().clone();
    if silences.get(id).is_some_and(|s| s.until_ms > now) {
        return None;
    }
    let alert = found(c, id).ok()?;
    let active = silences.iter().filter(|(_, s)| s.until_ms > now);
    let mut fitting = active.filter(|(text, _)| {
        Matcher::parse(text).is_ok_and(|m| m.fits(id, &alert.rule, &alert.subject))
    });
    fitting.next().map(|(text, _)| text.clone())
}

#[utoipa::path(get, path = "/api/v1/silences", tag = "alerts",
    description = "What people do not want to be told now.",
    responses((status = 200, body = Vec<SilenceView>)))]
pub(super) async fn silences(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<Vec<SilenceView>>, ApiError> {
    caller.need(Role::Viewer)?;
    let now = clock::unix_ms();
    let fleet = c.fleet();
    let active = fleet.silences().iter().filter(|(_, s)| s.until_ms > now);
    Ok(Json(
        active.map(|(text, s)| SilenceView::of(text, s)).collect(),
    ))
}

/// Which alerts nobody is to be told of, also those that are to come: of this rule, node and
/// workload, as far as they are given. At least one is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewSilence {
    /// The rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub node: Option<Name>,
    /// The workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workload: Option<Name>,
    /// Milliseconds from now on: a second to a year.
    pub for_ms: u64,
    /// Why; at most 500 bytes.
    #[serde(default)]
    pub comment: String,
}

#[utoipa::path(post, path = "/api/v1/silences", tag = "alerts", request_body = NewSilence,
    responses((status = 200, body = SilenceView),
              (status = 404, description = "No such rule, node or workload", body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument), (status = 422, body = super::ProblemDocument)))]
pub(super) async fn create_silence(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<NewSilence>, JsonRejection>,
) -> Result<Json<SilenceView>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let new = body?.0;
    if let Some(rule) = new.rule.as_ref().filter(|r| !is_rule_name(r)) {
        let detail = format!("`{}` is no name of a rule", shown(rule));
        return Err(Refusal::Invalid(detail).into());
    }
    if new.rule.is_none() && new.node.is_none() && new.workload.is_none() {
        let detail = "say at least one of `rule`, `node` and `workload`";
        return Err(Refusal::Invalid(detail.into()).into());
    }
    let until_ms = end(new.for_ms)?;
    // A silence of what is not there is a slip of the pen, and would be noticed at night.
    if let Some(rule) = new.rule.as_ref().filter(|r| !c.alerts.has_rule(r)) {
        return Err(ApiError::not_found("rule", rule));
    }
    let missing = {
        let fleet = c.fleet();
        let node = new
            .node
            .as_ref()
            .filter(|n| fleet.node(n.as_str()).is_none());
        let workload = new.workload.as_ref();
        let workload = workload.filter(|w| fleet.workload(w.as_str()).is_none());
        let missing = node
            .map(|n| ("node", n))
            .or(workload.map(|w| ("workload", w)));
        missing.map(|(what, name)| ApiError::not_found(what, name.as_str()))
    };
    if let Some(missing) = missing {
        return Err(missing);
    }
    let matcher = Matcher::Fitting {
        rule: new.rule,
        node: new.node,
        workload: new.workload,
    };
    let alert = matcher.to_string();
    let change = Change::AlertSilenced {
        alert: alert.clone(),
        until_ms,
        comment: new.comment,
    };
    idempotent(c.change(Some(by), change).await)?;
    let kept = c
        .fleet()
        .silences()
        .get(&alert)
        .map(|s| SilenceView::of(&alert, s));
    kept.map(Json)
        .ok_or_else(|| ApiError::not_found("silence", &alert))
}

#[utoipa::path(get, path = "/api/v1/alerts/rules", tag = "alerts",
    description = "What is looked for, also what is turned off.",
    responses((status = 200, body = Vec<RuleView>)))]
pub(super) async fn rules(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<Vec<RuleView>>, ApiError> {
    caller.need(Role::Viewer)?;
    Ok(Json(c.alert_rules()))
}

#[utoipa::path(get, path = "/api/v1/alerts/receivers", tag = "alerts",
    description = "Who is told, and how that goes since the controller's start.",
    responses((status = 200, body = Vec<ReceiverStatus>)))]
pub(super) async fn receivers(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<Vec<ReceiverStatus>>, ApiError> {
    caller.need(Role::Viewer)?;
    Ok(Json(c.alerts.receivers()))
}

#[utoipa::path(post, path = "/api/v1/alerts/receivers/{name}/test", tag = "alerts",
    params(("name" = String, Path)),
    description = "Tells a receiver that this is a test: once, now, past whatever waits for it.",
    responses((status = 204), (status = 404, body = super::ProblemDocument),
              (status = 502, description = "It could not be told", body = super::ProblemDocument)))]
pub(super) async fn test_receiver(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.need(Role::Operator)?;
    let known = name.parse::<Name>().ok();
    let known = known.filter(|n| c.alerts.has_receiver(n.as_str()));
    let receiver = known.ok_or_else(|| ApiError::not_found("receiver", &name))?;
    match c.alerts.try_receiver(&receiver).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(ApiError::new(StatusCode::BAD_GATEWAY, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{alert::Subject, notify::Severity};

    fn alert(n: u64, state: AlertState) -> AlertView {
        let node = format!("n{n}").parse().unwrap();
        let subject = Subject::node(&node);
        AlertView {
            id: subject.id("disk"),
            rule: "disk".into(),
            severity: match n % 3 {
                0 => Severity::Critical,
                1 => Severity::Warning,
                _ => Severity::Info,
            },
            subject,
            message: String::new(),
            state,
            since_ms: n / 2,
            resolved_ms: (state == AlertState::Resolved).then_some(n),
            silenced: None,
            escalated_ms: None,
        }
    }

    fn all() -> Vec<AlertView> {
        let mut all: Vec<AlertView> = AlertState::ALL
            .into_iter()
            .flat_map(|state| (0..10).map(move |n| alert(n, state)))
            .collect();
        all.sort_by(|a, b| a.place().cmp(&b.place()));
        all
    }

    #[test]
    fn pages_have_every_alert_once_and_in_order() {
        for limit in [1, 3, 40] {
            let mut selection = Selection {
                limit: Some(limit),
                ..Selection::default()
            };
            let mut paged = Vec::new();
            loop {
                let page = selection.page(all()).unwrap();
                assert!(page.items.len() <= limit);
                paged.extend(page.items);
                match page.next {
                    Some(next) => selection.after = next,
                    None => break,
                }
            }
            assert_eq!(paged, all());
        }
    }

    #[test]
    fn alerts_are_picked_by_state_and_subject() {
        let pick = |state: &str, node: &str| {
            let selection = Selection {
                state: state.into(),
                node: node.into(),
                ..Selection::default()
            };
            selection.page(all()).map(|p| p.items.len())
        };
        assert_eq!(pick("", "").unwrap(), 40);
        assert_eq!(pick("firing", "").unwrap(), 10);
        assert_eq!(pick("firing,resolved", "n3").unwrap(), 2);
        assert_eq!(pick("", "nobody").unwrap(), 0);
        assert!(pick("fire", "").is_err() && pick("firing,", "").is_err());
        let astray = Selection {
            after: "somewhere".into(),
            ..Selection::default()
        };
        assert!(astray.page(all()).is_err());
    }
}
