//! What a Compose file is called, where its directory is on the nodes, and which of its services
//! are taken.

use super::super::{
    report::Report,
    shown,
    span::{Flaw, Source},
    tree::{Data, Entry, Value, entry},
    word::absolute_path,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The variable that Compose takes for the project's name.
const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";
/// The variable that Compose takes for the profiles that are chosen.
const PROFILES: &str = "COMPOSE_PROFILES";
/// The variable that `--project-dir` sets.
const PROJECT_DIR: &str = "FLEET_PROJECT_DIR";

/// The name of the project: the variable, `name` of the file, its directory, itself.
pub(super) fn name(
    entries: &[Entry],
    source: &Source,
    variables: &BTreeMap<String, String>,
    report: &Report,
) -> String {
    if let Some(given) = variables.get(PROJECT_NAME).filter(|name| !name.is_empty()) {
        return normal(given);
    }
    if let Some(written) = entry(entries, "name").filter(|name| name.value.data != Data::Null) {
        let name = written.value.as_text().unwrap_or_default();
        let near = normal(name);
        if near != name {
            let flaw = Flaw::new(format!("`{}` is not the name of a project", shown(name)));
            let flaw = flaw.hint(format!("`{near}` would do"));
            report.add(written.value.span.clone(), flaw);
        }
        return near;
    }
    let path = Path::new(&source.name);
    let directory = path.parent().and_then(Path::file_name);
    let directory = directory.and_then(|name| name.to_str());
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let found = source.directory.as_deref().or(directory).or(stem);
    normal(found.unwrap_or_default())
}

/// Lower case, and only what may be in a project's name, as Compose does it.
fn normal(name: &str) -> String {
    let fine = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c);
    let name: String = name.to_lowercase().chars().filter(fine).take(64).collect();
    match name.trim_start_matches(['_', '-']) {
        "" => "compose".to_owned(),
        name => name.to_owned(),
    }
}

/// The directory of the file on the nodes, where the command line says it.
pub(super) fn directory(variables: &BTreeMap<String, String>, report: &Report) -> Option<String> {
    let read = absolute_path(variables.get(PROJECT_DIR)?);
    read.map_err(|flaw| report.add_outside(PROJECT_DIR, flaw))
        .ok()
}

/// The services that are taken, and those that are not: a service with profiles is left out where
/// none of them is chosen.
pub(super) fn chosen<'a>(
    services: &'a [Entry],
    variables: &BTreeMap<String, String>,
    report: &Report,
) -> (Vec<&'a Entry>, Vec<&'a Entry>) {
    let given = variables.get(PROFILES).map_or("", String::as_str);
    let given: BTreeSet<&str> = given.split(',').map(str::trim).collect();
    services.iter().partition(|service| {
        let profiles = service
            .value
            .as_map()
            .and_then(|keys| entry(keys, "profiles"));
        let Some(profiles) = profiles.filter(|key| key.value.data != Data::Null) else {
            return true;
        };
        let names = match &profiles.value.data {
            Data::Text(name) => vec![name.as_str()],
            Data::List(items) => items.iter().filter_map(Value::as_text).collect(),
            _ => {
                let found = profiles.value.kind();
                let flaw = Flaw::new(format!("`profiles` must be a list, not {found}"));
                report.add(profiles.value.span.clone(), flaw);
                return true;
            }
        };
        let taken = names.is_empty()
            || given.contains("*")
            || names.iter().any(|name| given.contains(*name));
        if !taken {
            let flaw = Flaw::new(format!(
                "the service `{}` is left out; `--var {PROFILES}={}` takes it in",
                shown(&service.name),
                shown(names.first().unwrap_or(&""))
            ));
            report.note(profiles.name_span.clone(), flaw);
        }
        taken
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_projects() {
        for (given, expected) in [
            ("shop", "shop"),
            ("My Shop.2", "myshop2"),
            ("_-x_y-", "x_y-"),
            ("Ärger", "rger"),
            ("", "compose"),
            ("__", "compose"),
        ] {
            assert_eq!(normal(given), expected, "{given}");
        }
    }

    #[test]
    fn a_file_is_called_after_where_it_is() {
        let report = Report::new(&Source::new("", ""));
        let name_of = |path: &str, directory: Option<&str>| {
            let mut source = Source::new(path, "");
            source.directory = directory.map(str::to_owned);
            name(&[], &source, &BTreeMap::new(), &report)
        };
        for (path, directory, expected) in [
            ("/srv/shop/compose.yaml", None, "shop"),
            ("shop/compose.yaml", None, "shop"),
            ("compose.yaml", Some("Shop"), "shop"),
            ("nextcloud.yaml", None, "nextcloud"),
            ("standard input", None, "standardinput"),
        ] {
            assert_eq!(name_of(path, directory), expected, "{path}");
        }
    }
}
