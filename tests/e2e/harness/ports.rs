//! Ports that belong to one test, also while nobody listens on them.
//!
//! Below the range from which the kernel takes ports by itself: a controller that is killed and
//! started again must find its port free, whatever else connects meanwhile.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u32 = 20_000;
const COUNT: u32 = 10_000;

/// A port, held until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: File,
}

impl Port {
    /// One that nobody uses and no other test holds.
    pub fn take() -> Port {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = std::env::temp_dir().join("fleetctl-e2e-ports");
        fs::create_dir_all(&dir).expect("a directory for the locks of ports");
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let offset = process::id().wrapping_mul(37).wrapping_add(step) % COUNT;
            let number = u16::try_from(FIRST + offset).expect("below 30,000");
            let held = File::create(dir.join(number.to_string())).expect("the lock of a port");
            let free = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok();
            if held.try_lock().is_ok() && free() {
                return Port {
                    number,
                    _held: held,
                };
            }
        }
        panic!("no free port from {FIRST} on");
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// On loopback.
    pub fn local(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
