//! Boards with a network cable each: namespaces behind one bridge.

use std::process::Command;

/// A bridge of a test's own, and the namespaces on it.
#[derive(Debug)]
pub struct Lan {
    tag: String,
    subnet: String,
    boards: Vec<Board>,
}

/// A network namespace with one cable.
#[derive(Debug, Clone)]
pub struct Board {
    pub namespace: String,
    cable: String,
}

impl Lan {
    /// `tag`: at most eight characters that no other test uses.
    pub fn new(tag: &str) -> Lan {
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root: run the tests as root"
        );
        let number = u32::from_str_radix(tag, 16).expect("a hexadecimal tag");
        let subnet = format!("10.{}.{}", 128 + number % 64, (number / 64) % 256);
        let lan = Lan {
            tag: tag.to_owned(),
            subnet,
            boards: Vec::new(),
        };
        let bridge = lan.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"]);
        ip(&[
            "addr",
            "add",
            &format!("{}/24", lan.address()),
            "dev",
            &bridge,
        ]);
        ip(&["link", "set", &bridge, "up"]);
        lan
    }

    fn bridge(&self) -> String {
        format!("fbr{}", self.tag)
    }

    /// Of the control host.
    pub fn address(&self) -> String {
        format!("{}.1", self.subnet)
    }

    /// One more board.
    pub fn board(&mut self) -> Board {
        let n = self.boards.len() + 1;
        let board = Board {
            namespace: format!("fns{n}{}", self.tag),
            cable: format!("fvh{n}{}", self.tag),
        };
        let (ns, cable, plug) = (
            &board.namespace,
            &board.cable,
            format!("fvn{n}{}", self.tag),
        );
        self.boards.push(board.clone());
        ip(&["netns", "add", ns]);
        ip(&[
            "link", "add", cable, "type", "veth", "peer", "name", &plug, "netns", ns,
        ]);
        ip(&["link", "set", cable, "master", &self.bridge(), "up"]);
        let address = format!("{}.{}/24", self.subnet, n + 1);
        ip(&["-n", ns, "addr", "add", &address, "dev", &plug]);
        ip(&["-n", ns, "link", "set", "lo", "up"]);
        ip(&["-n", ns, "link", "set", &plug, "up"]);
        board
    }
}

impl Board {
    /// Pulls its cable.
    pub fn pull(&self) {
        ip(&["link", "set", &self.cable, "down"]);
    }

    /// Plugs it in again.
    pub fn plug(&self) {
        ip(&["link", "set", &self.cable, "up"]);
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for board in &self.boards {
            let _ = run(&["link", "del", &board.cable]);
            let _ = run(&["netns", "del", &board.namespace]);
        }
        let _ = run(&["link", "del", &self.bridge()]);
    }
}

fn run(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output();
    let output = output.map_err(|e| format!("ip cannot be run (package iproute2): {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn ip(args: &[&str]) {
    run(args).unwrap_or_else(|e| panic!("ip {}: {e}", args.join(" ")));
}
