//! The files of an instance: placed before each start, taken away with it.
//!
//! A relative path lies below the instance's own `work`. An absolute one is anywhere on the node,
//! so it is written down (`files.json`) before it is touched: a file that is there and is in
//! nobody's record is somebody else's, and is refused. A newer version of a workload takes over
//! what an older one has placed.

use super::account::Account;
use super::directory::InstanceDir;
use super::record::Plan;
use crate::model::FileSpec;
use crate::runtime::RuntimeError;
use crate::runtime::files::{Writing, place};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Larger than any file that a workload brings.
const FILE_MAX: u64 = 16 << 20;

/// Places the files of `plan`, whose instance is `dir`; `root` has all instances. Whether one
/// changed. Blocks on the disk.
pub(super) fn place_files(
    root: &Path,
    dir: &InstanceDir,
    plan: &Plan,
) -> Result<bool, RuntimeError> {
    let mut placed = dir.placed();
    if plan.files.is_empty() && placed.is_empty() {
        return Ok(false);
    }
    let written_down = placed.clone();
    let paths = paths(dir, &plan.files)?;
    let absolute = |file: &FileSpec| file.path.starts_with('/');
    for file in plan.files.iter().filter(|file| absolute(file)) {
        if placed.contains_key(&file.path) || may_take(root, dir, plan, file)? {
            placed.insert(file.path.clone(), digest(file.content.as_bytes()));
        }
    }
    // Of a plan that stood here before.
    placed.retain(|path, content| {
        let wanted = plan.files.iter().any(|file| file.path == *path);
        if !wanted {
            remove_ours(Path::new(path), content);
        }
        wanted
    });
    if placed != written_down {
        dir.write_placed(&placed).map_err(|error| {
            RuntimeError::Failed(format!(
                "the files of `{}` cannot be written down: {error}",
                plan.workload
            ))
        })?;
    }
    // One that happens to be there already, as it should be, is not touched.
    let ours = |(file, _): &(FileSpec, PathBuf)| !absolute(file) || placed.contains_key(&file.path);
    let (files, paths): (Vec<FileSpec>, Vec<PathBuf>) =
        plan.files.iter().cloned().zip(paths).filter(ours).unzip();
    let changed = place(&files, &paths, Writing::Replace).map_err(RuntimeError::Failed)?;
    give_away(plan, &paths);
    Ok(changed)
}

/// Takes away what was placed outside of the instance's directory, as far as it is still as we
/// placed it.
pub(super) fn remove_files(dir: &InstanceDir) {
    for (path, content) in dir.placed() {
        remove_ours(Path::new(&path), &content);
    }
}

/// Where each file goes; refused where that is not a place for it.
fn paths(dir: &InstanceDir, files: &[FileSpec]) -> Result<Vec<PathBuf>, RuntimeError> {
    let mut paths = Vec::with_capacity(files.len());
    for file in files {
        let relative = Path::new(&file.path);
        if relative.is_absolute() {
            paths.push(relative.to_owned());
            continue;
        }
        let inside = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || file.path.is_empty() || file.path.ends_with('/') {
            return Err(RuntimeError::Refused(format!(
                "file `{}` is neither an absolute path nor one below the instance's directory",
                file.path
            )));
        }
        let path = dir.work().join(relative);
        refuse_links(&dir.work(), relative)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The directory belongs to the program, which may run as another user: the agent must not be
/// led out of it by a link.
fn refuse_links(work: &Path, relative: &Path) -> Result<(), RuntimeError> {
    let mut at = work.to_owned();
    let mut parts: Vec<_> = relative.components().map(|part| part.as_os_str()).collect();
    // What is written first, beside its place.
    let mut temporary = parts.pop().unwrap_or_default().to_owned();
    temporary.push(".fleetctl-new");
    let is_link = |path: &Path| {
        path.symlink_metadata()
            .is_ok_and(|found| found.is_symlink())
    };
    for part in parts {
        at.push(part);
        if is_link(&at) {
            return Err(RuntimeError::Refused(format!(
                "file `{}` cannot be placed: `{}` is a symbolic link",
                relative.display(),
                at.display()
            )));
        }
    }
    for path in [at.join(temporary), work.join(relative)] {
        if is_link(&path) {
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// Whether an absolute path becomes ours. `false`: what is there is already as it should be, but
/// stays somebody else's.
fn may_take(
    root: &Path,
    dir: &InstanceDir,
    plan: &Plan,
    file: &FileSpec,
) -> Result<bool, RuntimeError> {
    let path = Path::new(&file.path);
    // Also where it does not exist at the moment: it comes back when that one starts again.
    if let Some((other, mut placed)) = owner(root, dir, &file.path) {
        let same = other
            .plan()
            .is_none_or(|other| other.workload == plan.workload && other.node == plan.node);
        if !same {
            return Err(RuntimeError::Refused(format!(
                "file `{}` is placed by instance `{}`; two workloads cannot have the same file",
                file.path,
                other.handle()
            )));
        }
        placed.remove(&file.path);
        // Where this fails the older one would take the file away with itself, if its content is
        // the same; the next start brings it back.
        let _ = other.write_placed(&placed);
        return Ok(true);
    }
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(RuntimeError::Refused(format!(
            "file `{}` cannot be placed: {error}",
            file.path
        ))),
        Ok(found) if found.is_file() && read(path).is_ok_and(|c| c == file.content.as_bytes()) => {
            Ok(false)
        }
        Ok(_) => Err(RuntimeError::Refused(format!(
            "file `{}` exists on this node and was not placed by fleetctl; move it away, or \
             choose another path",
            file.path
        ))),
    }
}

/// Another instance that has placed the file.
fn owner(
    root: &Path,
    dir: &InstanceDir,
    path: &str,
) -> Option<(InstanceDir, BTreeMap<String, String>)> {
    let others = super::instances(root);
    let others = others
        .into_iter()
        .filter(|other| other.path() != dir.path());
    others
        .map(|other| {
            let placed = other.placed();
            (other, placed)
        })
        .find(|(_, placed)| placed.contains_key(path))
}

/// The program must be able to read what is meant for it alone.
fn give_away(plan: &Plan, paths: &[PathBuf]) {
    if plan.user.is_none() || !rustix::process::geteuid().is_root() {
        return;
    }
    // A user that does not exist is told when the program is started.
    if let Ok(account) = Account::find(plan.user.as_deref()) {
        for path in paths {
            let _ = std::os::unix::fs::lchown(path, Some(account.uid), Some(account.gid));
        }
    }
}

fn remove_ours(path: &Path, content: &str) {
    let ours = read(path).is_ok_and(|bytes| digest(&bytes) == content);
    if ours && let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a placed file cannot be removed");
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(FILE_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref()[..16]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Run, Workload};
    use crate::runtime::Launch;

    struct Place {
        root: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Place {
            Place {
                root: tempfile::tempdir().expect("a temporary directory"),
            }
        }

        fn outside(&self, name: &str) -> String {
            let path = self.root.path().join(name);
            path.to_str().expect("UTF-8").to_owned()
        }

        /// An instance of `workload` with these files.
        fn instance(&self, handle: &str, workload: &str, files: &[(&str, &str)]) -> Instance {
            let run = Run::Process {
                command: vec!["/bin/true".into()],
                user: None,
                working_dir: None,
            };
            let mut workload = Workload::new(workload.parse().expect("a name"), run);
            workload.files = files
                .iter()
                .map(|(path, content)| file(path, content))
                .collect();
            let launch = Launch {
                node: "pi".parse().expect("a name"),
                spec_hash: workload.spec_hash(),
                workload: std::sync::Arc::new(workload),
                trace: None,
            };
            let root = self.root.path().join("instances");
            let dir = InstanceDir::new(root.join(handle));
            dir.create().expect("a directory");
            let plan = Plan::new(&launch).expect("a plan");
            dir.write_plan(&plan).expect("written");
            Instance { root, dir, plan }
        }
    }

    struct Instance {
        root: PathBuf,
        dir: InstanceDir,
        plan: Plan,
    }

    impl Instance {
        fn place(&self) -> Result<bool, RuntimeError> {
            place_files(&self.root, &self.dir, &self.plan)
        }
    }

    fn file(path: &str, content: &str) -> FileSpec {
        FileSpec {
            path: path.to_owned(),
            content: content.to_owned(),
            mode: 0o600,
            verbatim: false,
        }
    }

    #[test]
    fn files_are_placed_and_go_with_the_instance() {
        let place = Place::new();
        let outside = place.outside("etc/app.conf");
        let web = place.instance("web-1", "web", &[(&outside, "a"), ("sub/x", "b")]);
        assert_eq!(web.place(), Ok(true));
        assert_eq!(web.place(), Ok(false));
        assert_eq!(fs::read_to_string(&outside).expect("a file"), "a");
        let inside = web.dir.work().join("sub/x");
        assert_eq!(fs::read_to_string(inside).expect("a file"), "b");
        // What a person changed is put right at the next start, but not taken away.
        fs::write(&outside, "mine").expect("written");
        assert_eq!(web.place(), Ok(true));
        fs::write(&outside, "mine").expect("written");
        remove_files(&web.dir);
        assert_eq!(fs::read_to_string(&outside).expect("a file"), "mine");
        assert_eq!(web.place(), Ok(true));
        remove_files(&web.dir);
        assert!(!Path::new(&outside).exists());
    }

    #[test]
    fn what_is_somebody_elses_is_refused() {
        let place = Place::new();
        let outside = place.outside("app.conf");
        fs::write(&outside, "theirs").expect("written");
        let web = place.instance("web-1", "web", &[(&outside, "a")]);
        let Err(RuntimeError::Refused(why)) = web.place() else {
            panic!("it was placed");
        };
        assert!(why.contains("was not placed by fleetctl"), "{why}");
        assert_eq!(fs::read_to_string(&outside).expect("a file"), "theirs");
        // The same content is fine, and stays theirs.
        fs::write(&outside, "a").expect("written");
        assert_eq!(web.place(), Ok(false));
        remove_files(&web.dir);
        assert!(Path::new(&outside).exists());
    }

    #[test]
    fn a_newer_version_takes_over_and_another_workload_does_not() {
        let place = Place::new();
        let outside = place.outside("app.conf");
        let old = place.instance("web-1", "web", &[(&outside, "a")]);
        assert_eq!(old.place(), Ok(true));
        let other = place.instance("db-1", "db", &[(&outside, "a")]);
        assert!(matches!(other.place(), Err(RuntimeError::Refused(_))));
        let new = place.instance("web-2", "web", &[(&outside, "a")]);
        assert_eq!(new.place(), Ok(false));
        remove_files(&old.dir);
        assert!(Path::new(&outside).exists());
        remove_files(&new.dir);
        assert!(!Path::new(&outside).exists());
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        let place = Place::new();
        for bad in ["../x", "a/../../x", "", "./x", "a/"] {
            let web = place.instance("web-1", "web", &[(bad, "a")]);
            assert!(
                matches!(web.place(), Err(RuntimeError::Refused(_))),
                "{bad}"
            );
        }
        let web = place.instance("web-2", "web", &[("sub/x", "a"), ("y", "b")]);
        let elsewhere = place.root.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("a directory");
        std::os::unix::fs::symlink(&elsewhere, web.dir.work().join("sub")).expect("a link");
        assert!(matches!(web.place(), Err(RuntimeError::Refused(_))));
        fs::remove_file(web.dir.work().join("sub")).expect("removed");
        let target = elsewhere.join("target");
        for name in ["y", "y.fleetctl-new"] {
            std::os::unix::fs::symlink(&target, web.dir.work().join(name)).expect("a link");
        }
        assert_eq!(web.place(), Ok(true));
        assert!(!target.exists());
        assert_eq!(
            fs::read_to_string(web.dir.work().join("y")).expect("a file"),
            "b"
        );
    }
}
