//! Other releases of fleetctl: the built program under another version, and programs that say they
//! are one and are not.

use fleetctl::support::release::{Release, arch, disguised, marker_of};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};
use tempfile::TempDir;

/// What is wrong with a program that says it is a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// It ends at once.
    Exits,
    /// It never connects.
    Hangs,
    /// It ends after two seconds.
    Crashes,
    /// It ends, and leaves processes behind: in its group, and in a session of their own.
    Forks,
    /// It is a program for another processor.
    WrongArch,
}

impl Bad {
    pub const ALL: [Bad; 5] = [
        Bad::Exits,
        Bad::Hangs,
        Bad::Crashes,
        Bad::Forks,
        Bad::WrongArch,
    ];

    /// What it does after it was asked for anything but its version.
    fn body(self) -> &'static str {
        match self {
            Bad::Exits => "eprintln!(\"this release does not start\"); std::process::exit(3)",
            Bad::Hangs => "loop { std::thread::park() }",
            Bad::Forks => {
                "if std::env::args().any(|a| a == \"stray\") { \
                 std::thread::sleep(std::time::Duration::from_secs(300)); return; } \
                 let me = std::env::current_exe().unwrap(); \
                 std::process::Command::new(&me).arg(\"stray\").spawn().unwrap(); \
                 std::process::Command::new(\"setsid\").arg(&me).arg(\"stray\").spawn().unwrap(); \
                 std::thread::sleep(std::time::Duration::from_millis(500)); \
                 eprintln!(\"this release forks\"); std::process::exit(5)"
            }
            Bad::Crashes | Bad::WrongArch => {
                "std::thread::sleep(std::time::Duration::from_secs(2)); \
                 eprintln!(\"this release crashes\"); std::process::exit(4)"
            }
        }
    }
}

/// A directory with releases, taken away with it.
#[derive(Debug)]
pub struct Releases {
    dir: TempDir,
    base: PathBuf,
}

impl Releases {
    /// Made from the program that was built for the tests.
    pub fn new() -> Releases {
        Releases::of(&small())
    }

    /// Made from this program.
    pub fn of(base: &Path) -> Releases {
        Releases {
            dir: tempfile::tempdir().expect("a temporary directory"),
            base: base.to_owned(),
        }
    }

    /// The program that they are made from: what is installed.
    pub fn installed(&self) -> &Path {
        &self.base
    }

    /// The same program, saying that it is another version.
    pub fn good(&self, version: &str) -> PathBuf {
        let bytes = fs::read(&self.base).expect("the program");
        let bytes = disguised(bytes, &release(version, arch())).expect("its marker");
        self.place(version, &bytes)
    }

    /// One that says it is `version`, and is none.
    pub fn bad(&self, version: &str, kind: Bad) -> PathBuf {
        let arch = match kind {
            Bad::WrongArch => other_arch(),
            _ => arch(),
        };
        let marker = marker_of(&release(version, arch)).expect("a marker");
        let source = format!(
            "#[used] static MARKER: [u8; {}] = {marker:?};\n\
             fn main() {{\n\
             if std::env::args().any(|a| a == \"--version\") {{\n\
             println!(\"fleetctl {version}\"); return;\n\
             }}\n\
             std::hint::black_box(&MARKER);\n\
             {}\n}}\n",
            marker.len(),
            kind.body()
        );
        let path = self.dir.path().join(format!("{version}.rs"));
        fs::write(&path, source).expect("a source");
        let out = self.dir.path().join(format!("fleetctl-{version}"));
        let done = Command::new("rustc")
            .args(["--edition=2021", "--crate-name=release", "-Cpanic=abort"])
            .args(["-Cstrip=symbols", "-o"])
            .args([&out, &path])
            .status();
        assert!(done.is_ok_and(|s| s.success()), "{kind:?} is not built");
        if kind == Bad::WrongArch {
            let mut bytes = fs::read(&out).expect("a program");
            let machine: u16 = if arch == "aarch64" { 183 } else { 62 };
            bytes[18..20].copy_from_slice(&machine.to_le_bytes());
            fs::write(&out, bytes).expect("another program");
        }
        out
    }

    /// The first half of a release.
    pub fn truncated(&self, version: &str) -> PathBuf {
        let bytes = fs::read(self.good(version)).expect("a release");
        self.place(&format!("{version}-cut"), &bytes[..bytes.len() / 2])
    }

    fn place(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(format!("fleetctl-{name}"));
        fs::write(&path, bytes).expect("a release");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
        path
    }
}

fn release(version: &str, arch: &str) -> Release {
    Release {
        version: version.to_owned(),
        arch: arch.to_owned(),
    }
}

fn other_arch() -> &'static str {
    match arch() {
        "aarch64" => "x86_64",
        _ => "aarch64",
    }
}

/// The built program without what only a debugger needs: a third of its bytes. Made once.
fn small() -> PathBuf {
    static SMALL: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let built = Path::new(env!("CARGO_BIN_EXE_fleetctl"));
        let meta = fs::metadata(built).expect("the program");
        let modified = meta.modified().ok();
        let age = modified.and_then(|m| m.duration_since(std::time::UNIX_EPOCH).ok());
        let name = format!(
            "fleetctl-{}-{}",
            age.unwrap_or_default().as_nanos(),
            meta.len()
        );
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripped");
        let path = dir.join(name);
        if path.exists() {
            return path;
        }
        // Those of earlier builds; another test may run this one right now.
        let old_enough = std::time::Duration::from_secs(6 * 60 * 60);
        for old in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let age = old.metadata().and_then(|m| m.modified()).ok();
            if age
                .and_then(|m| m.elapsed().ok())
                .is_some_and(|age| age > old_enough)
            {
                let _ = fs::remove_file(old.path());
            }
        }
        fs::create_dir_all(&dir).expect("a directory");
        let made = tempfile::Builder::new()
            .tempdir_in(&dir)
            .expect("a directory");
        let beside = made.path().join("fleetctl");
        let done = Command::new("strip")
            .arg("-o")
            .arg(&beside)
            .arg(built)
            .status();
        assert!(
            done.is_ok_and(|s| s.success()),
            "strip (binutils) is missing"
        );
        // The first one stays: what runs from it must not lose its file.
        match fs::hard_link(&beside, &path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                panic!("{}: {error}", path.display())
            }
            _ => path,
        }
    };
    SMALL.get_or_init(make).clone()
}
