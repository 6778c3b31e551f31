//! `deploy.update_config`: the table `update`, as far as Compose can say it.
//!
//! What Compose takes for granted and a fleet does otherwise is refused by name where it is
//! written: one version may not run beside the other on a node (`start-first`), and a rollout does
//! not go on over a failure (`continue`).

use super::{
    super::{
        span::Flaw,
        tree::{Data, Entry},
    },
    deploy::find,
    service::Service,
    value::with,
};

/// Reads `update_config`, whose keys were checked; they are `keys`.
pub(super) fn read(service: &mut Service<'_>, config: &Entry, keys: &[Entry]) {
    if config.value.data == Data::Null {
        return;
    }
    // It is a guard also where it says nothing more.
    if !service.draft.has("update") {
        let empty = with(&config.value, Data::Map(Vec::new()));
        service.draft.put("update", config, empty);
    }
    let reader = service.reader();
    if let Some(parallelism) = find(keys, "parallelism")
        && let Some(mut number) = reader.whole(parallelism)
    {
        if number.data == Data::Integer(0) {
            number.data = Data::Text("100%".to_owned());
        }
        service
            .draft
            .put_in("update", "max_parallel", parallelism, number);
    }
    if let Some(monitor) = find(keys, "monitor")
        && let Some(time) = reader.duration(monitor)
    {
        service
            .draft
            .put_in("update", "min_healthy_time", monitor, time);
    }
    if let Some(action) = find(keys, "failure_action") {
        let rolls_back = match action.value.as_text() {
            Some("rollback") => Some(true),
            Some("pause") => Some(false),
            Some("continue") => {
                let flaw = Flaw::new("a rollout never goes on after a failure");
                service.refuse(&action.value, flaw.hint("write `rollback` or `pause`"));
                None
            }
            _ => {
                let flaw = Flaw::new("this is no action for a failure");
                service.refuse(&action.value, flaw.hint("write `rollback` or `pause`"));
                None
            }
        };
        if let Some(rolls_back) = rolls_back {
            let answer = with(&action.value, Data::Bool(rolls_back));
            service
                .draft
                .put_in("update", "auto_rollback", action, answer);
        }
    }
    if let Some(order) = find(keys, "order")
        && order.value.as_text() != Some("stop-first")
    {
        let flaw = Flaw::new("a node never runs two versions of a service at once");
        service.refuse(
            &order.value,
            flaw.hint("write `stop-first`, or remove `order`"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Source, parse};
    use crate::model::{Placement, Share, Update, Workload};

    fn service(deploy: &str) -> Result<Workload, Vec<String>> {
        let text = format!("services:\n  a:\n    image: example/a:1\n    deploy:\n{deploy}");
        match parse(&Source::new("compose.yaml", text)) {
            Ok(mut read) => Ok(read.remove(0).workload),
            Err(problems) => Err(problems
                .0
                .iter()
                .map(|p| format!("{}:{} {}", p.line, p.column, p.message))
                .collect()),
        }
    }

    #[test]
    fn an_update_config_becomes_a_guard() {
        let update = |keys: &str| service(keys).unwrap().update;
        assert_eq!(update("      replicas: 2\n"), None);
        assert_eq!(update("      update_config:\n"), None);
        assert_eq!(update("      update_config: {}\n"), Some(Update::default()));
        assert_eq!(
            update(
                "      update_config:\n        parallelism: 3\n        monitor: 30s\n        \
                 failure_action: pause\n        order: stop-first\n"
            ),
            Some(Update {
                max_parallel: Share::Count(3),
                min_healthy_time_ms: 30_000,
                auto_rollback: false,
                ..Update::default()
            })
        );
        assert_eq!(
            update("      update_config: {parallelism: 0, failure_action: rollback}\n"),
            Some(Update {
                max_parallel: Share::ALL,
                ..Update::default()
            })
        );
    }

    #[test]
    fn what_only_the_fleet_knows_is_said_beside_it() {
        let read = service(
            "      update_config: {parallelism: 2}\n    x-fleet:\n      \
             update: {canary: 1, sequence: rack}\n      placement: {prefers: [gpu], apart: [b]}\n",
        );
        let workload = read.unwrap();
        assert_eq!(
            workload.update,
            Some(Update {
                max_parallel: Share::Count(2),
                canary: 1,
                sequence: Some("rack".to_owned()),
                ..Update::default()
            })
        );
        assert_eq!(workload.placement.prefers[0].weight, 50);
        assert_eq!(workload.placement.apart[0].as_str(), "b");
    }

    #[test]
    fn a_preference_spreads_over_a_label() {
        let read = service(
            "      replicas: 3\n      placement:\n        preferences:\n          - spread: \
             node.labels.zone\n        constraints: [node.labels.disk != hdd]\n",
        );
        let placement = read.unwrap().placement;
        let Placement {
            spread, requires, ..
        } = placement;
        assert_eq!(spread.as_deref(), Some("zone"));
        assert_eq!(requires[0].to_string(), "disk!=hdd");
    }

    #[test]
    fn what_cannot_be_kept_is_refused_at_its_place() {
        for (keys, expected) in [
            (
                "update_config: {order: start-first}",
                "5:30 a node never runs two versions of a service at once",
            ),
            (
                "update_config: {failure_action: continue}",
                "5:39 a rollout never goes on after a failure",
            ),
            (
                "update_config: {failure_action: explode}",
                "5:39 this is no action for a failure",
            ),
            (
                "update_config: {delay: 10s}",
                "5:23 `delay` of Compose is not supported",
            ),
            (
                "update_config: {max_failure_ratio: 0.5}",
                "5:23 `max_failure_ratio` of Compose is not supported",
            ),
            (
                "update_config: {parallelism: -1}",
                "5:36 `max_parallel` must be from 1 to 100000",
            ),
            (
                "update_config: {parallelism: many}",
                "5:36 `parallelism` must be a whole number, not a string",
            ),
            (
                "update_config: {monitor: 2h}",
                "5:32 `min_healthy_time` must be from 0s to 1h",
            ),
            (
                "update_config: {paralelism: 1}",
                "5:23 unknown key `paralelism`",
            ),
            (
                "update_config: 3",
                "5:22 `update_config` must be a map, not an integer",
            ),
            (
                "rollback_config: {parallelism: 1}",
                "5:7 `rollback_config` of Compose is not supported",
            ),
            (
                "placement: {preferences: [{spread: node.id}]}",
                "5:42 instances can be spread over a label of nodes only",
            ),
            (
                "placement: {preferences: [{spread: node.labels.a}, {spread: node.labels.b}]}",
                "5:58 instances are spread over one label only",
            ),
            (
                "placement: {preferences: [zone]}",
                "5:33 a preference must be a map, not a string",
            ),
            (
                "placement: {preferences: zone}",
                "5:32 `preferences` must be a list, not a string",
            ),
            (
                "placement: {preferences: [{spred: node.labels.a}]}",
                "5:34 unknown key `spred`",
            ),
            (
                "placement: {constraints: [node.labels.a==b, node.labels.a==c]}",
                "5:51 `a=c` contradicts `a=b`",
            ),
        ] {
            let found = service(&format!("      {keys}\n")).unwrap_err();
            assert_eq!(found, [expected], "{keys}");
        }
    }
}
