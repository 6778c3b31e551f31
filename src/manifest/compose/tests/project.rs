//! What a file has beside its services: variables, networks, profiles, files.

use super::{fixture, networks, read, read_with, service, workloads};
use crate::manifest::{Source, parse_with, wanted_files};
use crate::model::{MountSource, Run, Workload};
use std::collections::BTreeMap;

#[test]
fn values_for_variables_are_taken_from_whoever_reads() {
    let text = "services:\n  a:\n    image: example/a:${TAG}\n    environment: [TOKEN]\n";
    let variables = [("TAG", "7"), ("TOKEN", "x")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let source = Source::new("-", text);
    let reading = parse_with(&source, &BTreeMap::from(variables)).unwrap();
    assert_eq!(reading.manifests[0].workload.version, "7");
    assert_eq!(reading.manifests[0].workload.env["TOKEN"], "x");
    assert!(read(text).is_err());
}

#[test]
fn a_default_network_may_be_one_that_exists() {
    let text = "services:\n  a:\n    image: example/a:1\nnetworks:\n  default:\n    external: true\n    \
                name: lan\n";
    assert_eq!(networks(&workloads(text)["a"]), ["lan: a"]);
}

#[test]
fn services_are_in_the_networks_of_their_project() {
    let text = "services:\n  a:\n    image: x:1\n    container_name: the_a\n    hostname: a\n  \
                b:\n    image: x:1\n    hostname: '{{ node.name }}'\n    networks: []\n  c:\n    \
                image: x:1\n    networks: [back, default]\n  d:\n    image: x:1\n    networks:\n      \
                out:\n      back: {aliases: [dd, d]}\n  e:\n    image: x:1\n    network_mode: none\n\
                networks:\n  back:\n    name: deep\n  out:\n    external: true\n";
    let all = workloads(text);
    assert_eq!(networks(&all["a"]), ["+shop_default: a the_a"]);
    assert_eq!(networks(&all["b"]), ["+shop_default: b"]);
    assert_eq!(networks(&all["c"]), ["+deep: c", "+shop_default: c"]);
    assert_eq!(networks(&all["d"]), ["out: d", "+deep: dd d"]);
    assert!(networks(&all["e"]).is_empty());

    let named = |variables: &[(&str, &str)], top: &str| {
        let text = format!("{top}services: {{a: {{image: 'x:1'}}}}\n");
        let reading = read_with(&text, variables).unwrap();
        networks(&reading.manifests[0].workload)
    };
    assert_eq!(named(&[], "name: mine\n"), ["+mine_default: a"]);
    let variables = [("COMPOSE_PROJECT_NAME", "Other")];
    assert_eq!(named(&variables, "name: mine\n"), ["+other_default: a"]);
}

#[test]
fn fleet_extensions_win_over_networks() {
    let network = |workload: &Workload| match &workload.run {
        Run::Container { network, .. } => network.clone(),
        run => panic!("{run:?}"),
    };
    let own = service("    networks: [default]\n    x-fleet: {network: host}\n");
    assert_eq!(
        (network(&own).as_deref(), networks(&own).len()),
        (Some("host"), 0)
    );
    let of_file = |keys: &str| {
        let text = format!("x-fleet: {{network: host}}\nservices:\n  a:\n    image: x:1\n{keys}");
        workloads(&text).remove("a").unwrap()
    };
    let defaulted = of_file("");
    assert_eq!(
        (network(&defaulted).as_deref(), networks(&defaulted).len()),
        (Some("host"), 0)
    );
    let named = of_file("    networks: [default]\n");
    assert_eq!(
        (network(&named), networks(&named)),
        (None, vec!["+shop_default: a".to_owned()])
    );
    let mode = of_file("    network_mode: none\n");
    assert_eq!(network(&mode).as_deref(), Some("none"));
}

#[test]
fn services_with_profiles_are_chosen() {
    let text = fixture("photos");
    let names = |variables: &[(&str, &str)]| {
        let reading = read_with(text, variables).unwrap();
        let names = reading
            .manifests
            .iter()
            .map(|m| m.workload.name.to_string());
        names.collect::<Vec<_>>()
    };
    let without = ["immich-server", "redis", "database"];
    assert_eq!(names(&[]), without);
    assert_eq!(names(&[("COMPOSE_PROFILES", "other")]), without);
    for given in ["ml", "other, ml", "*"] {
        let all = names(&[("COMPOSE_PROFILES", given)]);
        assert_eq!(all.len(), 4, "{given}: {all:?}");
    }
    let server = |variables: &[(&str, &str)]| {
        let reading = read_with(text, variables).unwrap();
        reading.manifests[0].workload.depends_on.len()
    };
    assert_eq!((server(&[]), server(&[("COMPOSE_PROFILES", "ml")])), (2, 3));

    let text =
        "services:\n  a: {image: 'x:1', depends_on: [b]}\n  b: {image: 'x:1', profiles: p}\n";
    let found = read(text).unwrap_err().to_string();
    assert!(found.contains("the service `b` is left out"), "{found}");
    let found = read("services: {a: {image: 'x:1', profiles: [p]}}\n").unwrap_err();
    assert!(found.to_string().contains("none is chosen"), "{found}");
}

#[test]
fn files_beside_the_file_are_taken_in() {
    let all = workloads(fixture("cloud"));
    let (db, app) = (&all["db"], &all["app"]);
    assert_eq!(db.env["MYSQL_PASSWORD"], "p$ss #1");
    assert_eq!(db.env["MYSQL_USER"], "nextcloud");
    assert_eq!(
        db.env["GREETING"], "{{ \"{{\" }} .Name }}",
        "braces are not ours"
    );
    assert_eq!(app.env["MYSQL_DATABASE"], "cloud", "`environment` wins");
    let needs: Vec<&str> = app.depends_on.keys().map(|name| name.as_str()).collect();
    assert_eq!(needs, ["db", "redis"], "a link is a dependency");

    let all = workloads(fixture("metrics"));
    let prometheus = &all["prometheus"];
    let paths: Vec<&str> = prometheus.files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/etc/prometheus/alerts.yml",
            "/etc/prometheus/prometheus.yml"
        ]
    );
    assert!(
        prometheus.files[0]
            .content
            .contains("{{ $labels.instance }}")
    );
    assert_eq!(prometheus.volumes.len(), 1);
    let reading = read_with(fixture("metrics"), &[("COMPOSE_PROFILES", "dashboards")]).unwrap();
    let grafana = &reading.manifests.last().unwrap().workload;
    assert!(grafana.files[0].content.contains("http://prometheus:9090"));

    // With a directory on the nodes, it stays a bind.
    let there = [("FLEET_PROJECT_DIR", "/opt/metrics")];
    let reading = read_with(fixture("metrics"), &there).unwrap();
    let prometheus = &reading.manifests[1].workload;
    assert!(prometheus.files.is_empty());
    let source = MountSource::Path("/opt/metrics/prometheus.yml".to_owned());
    assert_eq!(prometheus.volumes[0].source, source);
    let found = read_with(fixture("metrics"), &[("FLEET_PROJECT_DIR", "opt")]).unwrap_err();
    assert!(found.to_string().contains("FLEET_PROJECT_DIR"), "{found}");
}

#[test]
fn what_may_be_a_file_is_wanted() {
    let wanted = |text: &str| wanted_files(&Source::new("compose.yaml", text), &BTreeMap::new());
    assert_eq!(
        wanted(fixture("metrics")),
        ["./alerts.yml", "./prometheus.yml"],
        "nothing for what is left out"
    );
    assert_eq!(wanted(fixture("cloud")), ["db.env", "local.env"]);
    assert_eq!(wanted(fixture("paperless")), ["docker-compose.env"]);
    assert!(wanted("services: [").is_empty());
    let text = "services:\n  a:\n    image: x:1\n    volumes: ['./a/:/a', '.:/b', '../c:/c', '/d:/d']\n    \
                env_file: [/e, ../f]\n";
    assert!(wanted(text).is_empty());
}
