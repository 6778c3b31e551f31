//! `networks`: the engine's networks that a container is in, each by its name or as a table.

use super::{
    shown,
    span::Flaw,
    table::Table,
    tree::Data,
    word::{engine_name, is_host},
};
use crate::model::ContainerNetwork;

/// The most networks of one container.
const MAX_NETWORKS: usize = 16;
/// The most names that a container has in one network.
const MAX_ALIASES: usize = 32;
/// Words for `network`, which mean no network that a container could share with others.
const ALONE: [&str; 4] = ["bridge", "default", "host", "none"];

/// The key `networks`; it excludes `network`.
pub(crate) fn read(table: &mut Table<'_>) -> Vec<ContainerNetwork> {
    let mut networks: Vec<ContainerNetwork> = Vec::new();
    for item in table.items("networks", MAX_NETWORKS) {
        let network = match &item.data {
            Data::Text(name) => {
                named(name).map_err(|flaw| table.refuse_at(item.span.clone(), flaw))
            }
            Data::Map(_) => one(table.below(item)).ok_or(()),
            _ => {
                let found = item.kind();
                let flaw = Flaw::new(format!(
                    "a network must be a string or a table, not {found}"
                ));
                table.refuse_at(item.span.clone(), flaw.hint("write its name in quotes"));
                continue;
            }
        };
        let Ok(network) = network else {
            continue;
        };
        if networks.iter().any(|other| other.name == network.name) {
            let flaw = Flaw::new(format!("the network `{}` is named twice", network.name));
            table.refuse_at(item.span.clone(), flaw);
            continue;
        }
        networks.push(network);
    }
    if table.has("networks") && table.has("network") {
        let flaw = Flaw::new("`network` and `networks` exclude each other");
        table.refuse_key("networks", flaw.hint("keep one of the two"));
    }
    networks
}

fn named(text: &str) -> Result<ContainerNetwork, Flaw> {
    let name = engine_name(text, "a network")?;
    if ALONE.contains(&text) {
        let flaw = Flaw::new(format!("`{text}` cannot be one of several networks"));
        return Err(flaw.hint(format!(
            "write `network = \"{text}\"` in place of `networks`"
        )));
    }
    Ok(ContainerNetwork {
        name,
        ..ContainerNetwork::default()
    })
}

/// A table with `name`, `create` and `aliases`. `None`: it has no usable name, which is on record.
fn one(mut table: Table<'_>) -> Option<ContainerNetwork> {
    if !table.has("name") {
        table.missing(Flaw::new("the network has no `name`").hint("write `name = \"…\"`"));
    }
    let network = table.parsed("name", named);
    let create = table.bool("create").unwrap_or(false);
    let mut aliases: Vec<String> = Vec::new();
    table.parsed_list("aliases", |text| {
        let alias = alias(text)?;
        if aliases.contains(&alias) {
            return Err(Flaw::new(format!("`{alias}` is named twice")));
        }
        if aliases.len() == MAX_ALIASES {
            return Err(Flaw::new(format!(
                "a container has at most {MAX_ALIASES} names in a network"
            )));
        }
        aliases.push(alias);
        Ok(())
    });
    table.finish();
    Some(ContainerNetwork {
        create,
        aliases,
        ..network?
    })
}

/// A name by which others find a container: as a host name, and with underscores, since names of
/// services have them.
pub(crate) fn alias(text: &str) -> Result<String, Flaw> {
    if is_host(&text.replace('_', "a")) {
        return Ok(text.to_owned());
    }
    Err(Flaw::new(format!(
        "`{}` is not a name to be found by in a network",
        shown(text)
    ))
    .hint("write letters, digits and `-`, as in \"db\""))
}

#[cfg(test)]
mod tests {
    use super::super::{Source, parse};
    use crate::model::{ContainerNetwork, Run};

    fn read(line: &str) -> Result<Vec<ContainerNetwork>, String> {
        let text = format!("[workload.a]\nimage = \"x:1\"\n{line}\n");
        let found = parse(&Source::new("t.toml", text)).map_err(|all| all.to_string())?;
        match &found[0].workload.run {
            Run::Container { options, .. } => Ok(options.networks.clone()),
            run => panic!("{run:?}"),
        }
    }

    #[test]
    fn names_and_tables() {
        let found = read(
            "networks = [\"back\", { name = \"front_1\", create = true, aliases = [\"web\", \
             \"my_web.lan\"] }]",
        )
        .unwrap();
        let back = ContainerNetwork {
            name: "back".to_owned(),
            ..ContainerNetwork::default()
        };
        let front = ContainerNetwork {
            name: "front_1".to_owned(),
            create: true,
            aliases: vec!["web".to_owned(), "my_web.lan".to_owned()],
        };
        assert_eq!(found, [back, front]);
        assert_eq!(read("networks = []").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, message) in [
            ("networks = \"back\"", "must be an array"),
            ("networks = [1]", "a network must be a string or a table"),
            ("networks = [\"a b\"]", "`a b` is not the name of a network"),
            (
                "networks = [\"host\"]",
                "`host` cannot be one of several networks",
            ),
            (
                "networks = [\"a\", { name = \"a\" }]",
                "the network `a` is named twice",
            ),
            (
                "networks = [{ create = true }]",
                "the network has no `name`",
            ),
            (
                "networks = [{ name = \"a\", alias = \"b\" }]",
                "unknown key `alias`",
            ),
            (
                "networks = [{ name = \"a\", aliases = [\"{{ node.name }}\"] }]",
                "is not a name to be found by",
            ),
            (
                "networks = [{ name = \"a\", aliases = [\"b\", \"b\"] }]",
                "`b` is named twice",
            ),
            (
                "network = \"a\"\nnetworks = [\"b\"]",
                "`network` and `networks` exclude each other",
            ),
        ] {
            let found = read(line).unwrap_err();
            assert!(found.contains(message), "{line}: {found}");
        }
        let many: Vec<String> = (0..17).map(|n| format!("\"n{n}\"")).collect();
        let found = read(&format!("networks = [{}]", many.join(", "))).unwrap_err();
        assert!(found.contains("more than 16 items"), "{found}");
        let process = parse(&Source::new(
            "t.toml",
            "[workload.a]\ncommand = [\"x\"]\nnetworks = [\"a\"]\n",
        ));
        let found = process.unwrap_err().to_string();
        assert!(found.contains("`networks` is for containers"), "{found}");
    }
}
