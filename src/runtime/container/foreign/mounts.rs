//! Volumes, directories and memory that are mounted into a container.

use super::limits;
use crate::model::{Mount, MountSource, Tmpfs};
use bollard::models::{ContainerInspectResponse, HostConfig, MountPoint};

/// Mounts and directories in memory, in order of their targets.
pub(super) fn of(
    inspected: &ContainerInspectResponse,
    host: &HostConfig,
    lost: &mut Vec<String>,
) -> (Vec<Mount>, Vec<Tmpfs>) {
    let mut mounts = Vec::new();
    let mut memory: Vec<Tmpfs> = Vec::new();
    for (path, options) in host.tmpfs.iter().flatten() {
        let size = options
            .split(',')
            .find_map(|option| option.strip_prefix("size="));
        memory.push(Tmpfs {
            path: path.clone(),
            size: size.and_then(limits::bytes),
        });
    }
    for point in inspected.mounts.iter().flatten() {
        let target = point.destination.clone().unwrap_or_default();
        match mount(point, &target, lost) {
            Some(mount) => mounts.push(mount),
            None if point.typ.as_deref() == Some("tmpfs")
                && memory.iter().all(|tmpfs| tmpfs.path != target) =>
            {
                memory.push(Tmpfs {
                    path: target,
                    size: None,
                });
            }
            None => {}
        }
    }
    if host
        .volumes_from
        .as_ref()
        .is_some_and(|from| !from.is_empty())
    {
        lost.push("it has the volumes of another container (`--volumes-from`)".to_owned());
    }
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    memory.sort_by(|a, b| a.path.cmp(&b.path));
    (mounts, memory)
}

fn mount(point: &MountPoint, target: &str, lost: &mut Vec<String>) -> Option<Mount> {
    let kind = point.typ.as_deref().unwrap_or_default();
    let source = match kind {
        "volume" => {
            let name = point.name.clone()?;
            if is_anonymous(&name) {
                lost.push(format!(
                    "the volume at {target} has no name: its content stays with this container"
                ));
                return None;
            }
            MountSource::Volume(name)
        }
        "bind" => MountSource::Path(point.source.clone()?),
        "tmpfs" => return None,
        other => {
            lost.push(format!("a mount of type `{other}` at {target}"));
            return None;
        }
    };
    let propagation = point.propagation.as_deref().unwrap_or_default();
    if !matches!(propagation, "" | "rprivate" | "private") {
        lost.push(format!(
            "the mount at {target} is passed on (`{propagation}`)"
        ));
    }
    Some(Mount {
        source,
        target: target.to_owned(),
        read_only: point.rw == Some(false),
        movable: false,
    })
}

/// Engines name a volume that nobody named with 64 hex digits.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}
