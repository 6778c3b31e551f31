use super::*;

#[test]
fn the_fleet_is_counted() {
    let mut world = World::of(&["a", "b", "c"]);
    world.apply(enrolled("new", "key-new", false));
    let mut web = replicas("web", 4);
    web.resources.memory = Some(1 << 20);
    web.resources.cpus = Some(0.25);
    world.apply(applied(&[web, every("probe")]));
    world.report_all();
    world.offline("c");
    world.pass(LOST_AFTER);
    world.apply(cordoned("b", true));
    let status = world.fleet.cluster_status();
    assert_eq!(status.version, world.fleet.version());
    let nodes = &status.nodes;
    assert_eq!((nodes.all, nodes.pending, nodes.online), (4, 1, 2));
    assert_eq!((nodes.offline, nodes.lost, nodes.cordoned), (1, 1, 1));
    assert_eq!(status.workloads, 2);
    assert_eq!((status.instances.wanted, status.instances.missing), (7, 1));
    let states = &status.instances.by_state;
    assert_eq!(states["running"], 4);
    assert_eq!(states["unknown"], 2);
    assert_eq!(states["pending"], 1);
    assert_eq!((status.memory_placed, status.cpus_placed), (3 << 20, 0.75));
    assert_eq!(status.memory_total, 3 << 30);
}

#[test]
fn nodes_are_grouped_by_a_label_and_those_without_it_come_last() {
    let mut world = World::of(&["a", "b", "c"]);
    world.apply(super::super::labelled("c", "zone", Some("east")));
    world.apply(super::super::labelled("a", "zone", Some("west")));
    world.apply(applied(&[every("probe")]));
    world.offline("c");
    let topology = world.fleet.topology(Some("zone"));
    let groups: Vec<(Option<&str>, usize, usize)> = topology
        .groups
        .iter()
        .map(|g| (g.value.as_deref(), g.online, g.instances))
        .collect();
    assert_eq!(
        groups,
        [(Some("east"), 0, 1), (Some("west"), 1, 1), (None, 1, 1)]
    );
    let node = &topology.groups[1].nodes[0];
    assert_eq!((node.name.as_str(), node.closed), ("a", false));
    assert_eq!(node.capabilities["process"], "1");
    assert_eq!(world.fleet.topology(None).groups.len(), 1);
}
