//! What must not leave its node, and what must not run on two nodes for a moment.

use crate::model::{Mount, MountSource, Workload};
use std::net::IpAddr;

/// What of a workload is there only on the node where it runs, as in `volume data`. A path that is
/// only read is something that it needs, not something that it leaves behind.
pub(super) fn local_state(spec: &Workload) -> Option<String> {
    let keeps = |m: &&Mount| {
        let needed_only = m.read_only && matches!(m.source, MountSource::Path(_));
        !m.movable && !needed_only
    };
    if let Some(mount) = spec.volumes.iter().find(keeps) {
        return Some(match &mount.source {
            MountSource::Volume(name) => format!("volume {name}"),
            MountSource::Path(path) => path.clone(),
        });
    }
    let adopted = spec.adopt.as_ref()?;
    Some(format!("the container {adopted} that it took over"))
}

/// Whether the old one must be gone before the new one starts: both would write to one volume, or
/// listen on one address that moves with it.
pub(super) fn old_first(spec: &Workload) -> bool {
    let shared = |m: &Mount| m.movable && !m.read_only;
    let claimed = |address: &Option<String>| {
        let address = address.as_deref().unwrap_or_default();
        let own = |ip: IpAddr| ip.is_unspecified() || ip.is_loopback();
        !address.is_empty() && !address.parse::<IpAddr>().is_ok_and(own)
    };
    spec.volumes.iter().any(shared) || spec.ports.iter().any(|p| claimed(&p.address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Port, Protocol, Run};

    fn workload() -> Workload {
        let run = Run::Process {
            command: vec!["/bin/true".into()],
            user: None,
            working_dir: None,
        };
        Workload::new("web".parse().unwrap(), run)
    }

    #[test]
    fn what_a_workload_would_leave_behind_keeps_it_on_its_node() {
        let volume = || MountSource::Volume("data".into());
        let path = || MountSource::Path("/srv".into());
        for (source, read_only, movable, state, first) in [
            (volume(), false, false, Some("volume data"), false),
            (volume(), true, false, Some("volume data"), false),
            (volume(), false, true, None, true),
            (volume(), true, true, None, false),
            (path(), false, false, Some("/srv"), false),
            (path(), true, false, None, false),
            (path(), false, true, None, true),
        ] {
            let mut spec = workload();
            spec.volumes = vec![Mount {
                source,
                target: "/data".into(),
                read_only,
                movable,
            }];
            let case = &spec.volumes[0];
            assert_eq!(local_state(&spec).as_deref(), state, "{case:?}");
            assert_eq!(old_first(&spec), first, "{case:?}");
        }
        let mut spec = workload();
        assert_eq!(local_state(&spec), None);
        spec.adopt = Some("old-web".into());
        assert!(local_state(&spec).unwrap().contains("old-web"));
    }

    #[test]
    fn an_address_that_moves_with_it_is_not_claimed_twice() {
        for (address, first) in [
            (None, false),
            (Some("0.0.0.0"), false),
            (Some("::"), false),
            (Some("127.0.0.1"), false),
            (Some("192.168.1.50"), true),
            (Some("fd00::50"), true),
        ] {
            let mut spec = workload();
            spec.ports = vec![Port {
                address: address.map(str::to_owned),
                host: 80,
                container: 80,
                protocol: Protocol::Tcp,
            }];
            assert_eq!(old_first(&spec), first, "{address:?}");
        }
    }
}
