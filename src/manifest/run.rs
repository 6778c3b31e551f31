//! What is executed: a container of an image, or a native process.

use super::{
    image::ImageReference,
    not_supported,
    span::Flaw,
    table::Table,
    word::{absolute_path, argument, engine_name, user},
};
use crate::model::{PullPolicy, Run, RuntimeKind};

/// Keys that mean something for a container only.
const CONTAINER_KEYS: [&str; 6] = ["ports", "volumes", "devices", "engine", "pull", "network"];

/// What is executed, and the image where there is one. `None` when it is not known; the problem
/// is on record then.
pub(crate) fn read(table: &mut Table<'_>) -> Option<(Run, Option<ImageReference>)> {
    table.refuse_key("python", not_supported("python"));
    let (has_image, has_command) = (table.has("image"), table.has("command"));
    if !has_image && !has_command && !table.has("python") {
        table
            .missing(Flaw::new("the workload says nothing to run").hint(
                "write `image = \"…\"` for a container or `command = [\"…\"]` for a process",
            ));
    }

    let image = table.parsed("image", ImageReference::parse);
    let command = table.parsed_list("command", argument);
    let engine = table.choice(
        "engine",
        &[
            ("docker", RuntimeKind::Docker),
            ("podman", RuntimeKind::Podman),
        ],
    );
    let pull = table.choice(
        "pull",
        &[
            ("missing", PullPolicy::Missing),
            ("always", PullPolicy::Always),
            ("never", PullPolicy::Never),
        ],
    );
    let user = table.parsed("user", user);
    let working_dir = table.parsed("working_dir", absolute_path);
    let network = table.parsed("network", |text| engine_name(text, "a network"));

    if has_image {
        let image = image?;
        let run = Run::Container {
            image: image.to_string(),
            command: command.unwrap_or_default(),
            pull: pull.unwrap_or_default(),
            engine,
            user,
            working_dir,
            network,
        };
        return Some((run, Some(image)));
    }
    if has_command {
        refuse_container_keys(table);
        let command = command?;
        if command.first().is_none_or(|program| program.is_empty()) {
            let flaw = Flaw::new("`command` names no program")
                .hint("write the program and its arguments, as in [\"/usr/bin/x\", \"--flag\"]");
            table.refuse("command", flaw);
            return None;
        }
        return Some((
            Run::Process {
                command,
                user,
                working_dir,
            },
            None,
        ));
    }
    None
}

/// Refuses on a process what only a container has.
fn refuse_container_keys(table: &mut Table<'_>) {
    for key in CONTAINER_KEYS {
        let flaw = Flaw::new(format!(
            "`{key}` is for containers, and this workload is a process"
        ))
        .hint("remove it, or give an `image`");
        table.refuse_key(key, flaw);
    }
}
