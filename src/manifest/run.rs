//! What is executed: a container of an image, a native process, or a Python callable.

use super::{
    image::ImageReference,
    options,
    span::Flaw,
    table::Table,
    word::{argument, callable, engine_name, node_path, user},
};
use crate::model::{PullPolicy, Run, RuntimeKind};

/// Keys that mean something for a container only, beside those of [`options::KEYS`].
const CONTAINER_KEYS: [&str; 7] = [
    "ports", "volumes", "devices", "engine", "pull", "network", "adopt",
];
/// Keys that mean something for a Python callable only.
const PYTHON_KEYS: [&str; 2] = ["venv", "python_path"];

/// What is executed, and the image where there is one. `None` when it is not known; the problem
/// is on record then.
pub(crate) fn read(table: &mut Table<'_>) -> Option<(Run, Option<ImageReference>)> {
    let (has_image, has_command) = (table.has("image"), table.has("command"));
    let has_python = table.has("python");
    if !has_image && !has_command && !has_python {
        table
            .missing(Flaw::new("the workload says nothing to run").hint(
                "write `image = \"…\"` for a container or `command = [\"…\"]` for a process",
            ));
    }

    let image = table.parsed("image", ImageReference::parse);
    let command = if has_image {
        table.parsed_list("command", argument)
    } else {
        table.command("command")
    };
    let callable = table.parsed("python", callable);
    let venv = table.parsed("venv", node_path);
    let path = table.parsed_list("python_path", node_path);
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
    let working_dir = table.parsed("working_dir", node_path);
    let network = table.parsed("network", |text| engine_name(text, "a network"));
    let container_options = options::read(table);

    if has_python && (has_image || has_command) {
        let other = if has_image { "image" } else { "command" };
        let flaw = Flaw::new(format!("`python` and `{other}` exclude each other"));
        table.refuse_key("python", flaw.hint("keep one of the two"));
    }
    if !has_python {
        for key in PYTHON_KEYS {
            let flaw = Flaw::new(format!("`{key}` has no meaning without `python`"))
                .hint("remove it, or write `python = \"package.module:function\"`");
            table.refuse_key(key, flaw);
        }
    }
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
            options: Box::new(container_options),
        };
        return Some((run, Some(image)));
    }
    if has_command || has_python {
        refuse_container_keys(table);
    }
    if has_command {
        let run = Run::Process {
            command: command?,
            user,
            working_dir,
        };
        return Some((run, None));
    }
    let run = Run::Python {
        callable: callable?,
        venv,
        path: path.unwrap_or_default(),
        user,
        working_dir,
    };
    Some((run, None))
}

/// Refuses on a process what only a container has.
fn refuse_container_keys(table: &mut Table<'_>) {
    for key in CONTAINER_KEYS.into_iter().chain(options::KEYS) {
        let flaw = Flaw::new(format!(
            "`{key}` is for containers, and this workload is a process"
        ))
        .hint("remove it, or give an `image`");
        table.refuse_key(key, flaw);
    }
}
