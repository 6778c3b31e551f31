//! Mosquitto, as somebody's own broker: anonymous, on loopback, keeping nothing over a restart.

use super::{daemon::Daemon, ports::Port, wait::wait_until};
use std::{fs, net::TcpStream, path::PathBuf, process::Command};
use tempfile::TempDir;

/// A broker of a test's own.
#[derive(Debug)]
pub struct Mosquitto {
    pub daemon: Daemon,
    pub port: Port,
    config: PathBuf,
    log: PathBuf,
    _dir: TempDir,
}

impl Mosquitto {
    pub fn start() -> Mosquitto {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = Port::take();
        let config = dir.path().join("mosquitto.conf");
        // As root it becomes another user, who could not read a directory of ours.
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n",
            port.number()
        );
        fs::write(&config, text).expect("a configuration");
        let log = dir.path().join("mosquitto.log");
        let daemon = launch(&config, &log);
        let mosquitto = Mosquitto {
            daemon,
            port,
            config,
            log,
            _dir: dir,
        };
        mosquitto.wait_listening();
        mosquitto
    }

    pub fn url(&self) -> String {
        format!("mqtt://{}", self.port.local())
    }

    /// Starts it again, with nothing remembered.
    pub fn restart(&mut self) {
        self.daemon = launch(&self.config, &self.log);
        self.wait_listening();
    }

    fn wait_listening(&self) {
        wait_until("mosquitto listens", || {
            TcpStream::connect(self.port.local()).is_ok()
        });
    }
}

fn launch(config: &std::path::Path, log: &std::path::Path) -> Daemon {
    // Where Debian installs it is not on every PATH.
    let installed = "/usr/sbin/mosquitto";
    let program = match fs::exists(installed) {
        Ok(true) => installed,
        _ => "mosquitto",
    };
    let mut command = Command::new(program);
    command.arg("-c").arg(config);
    Daemon::spawn("mosquitto", command, log)
}
