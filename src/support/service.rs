//! What a service manager is told: that the role is ready, what it does, and that it still moves.
//!
//! systemd's protocol is one datagram of `KEY=value` lines to the socket in `NOTIFY_SOCKET`; where
//! that is not set (OpenRC, a terminal, a container) everything here does nothing. Nothing waits
//! and nothing fails: a service manager that does not listen is no reason to stop.
//!
//! ```text
//! start ──► ready() ──► status("joined as pi-1") … alive() every half of WATCHDOG_USEC ──► stopping()
//!             ▲                                                     │
//!             └────────────── reloading() ◄── SIGHUP ◄──────────────┘
//! ```
//!
//! [`alive`] is called from the loop whose stall matters (an agent's main loop, the thread that
//! writes a controller's journal), never from a task beside it: such a task would go on while the
//! loop hangs.
//!
//! Only the process that the manager knows may speak (`NotifyAccess=main`): a child that is tried
//! out below its guard is started without these variables, see [`hide_from`].

use crate::support::clock;
use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    process::Command,
    sync::OnceLock,
    time::Duration,
};

/// What a manager sets for the role alone: what the role starts must not have it.
const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The longest text of a status, bytes.
const MAX_STATUS: usize = 256;

struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

fn manager() -> Option<&'static Manager> {
    static MANAGER: OnceLock<Option<Manager>> = OnceLock::new();
    let found = MANAGER.get_or_init(|| {
        let address = address(&std::env::var_os("NOTIFY_SOCKET")?.into_string().ok()?)?;
        let socket = UnixDatagram::unbound().ok()?;
        // A manager that reads nothing must not hold up who tells it that he is alive.
        socket.set_nonblocking(true).ok()?;
        Some(Manager { socket, address })
    });
    found.as_ref()
}

/// `/a/path`, or `@name` in the abstract namespace.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).ok(),
        None if text.starts_with('/') => SocketAddr::from_pathname(Path::new(text)).ok(),
        None => None,
    }
}

fn tell(text: &str) {
    if let Some(manager) = manager() {
        let sent = manager
            .socket
            .send_to_addr(text.as_bytes(), &manager.address);
        if let Err(error) = sent {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

/// Somebody listens. What is costly to say may be left out otherwise.
pub fn is_watched() -> bool {
    manager().is_some()
}

/// The role does its work from now on; also after a reload.
pub fn ready() {
    tell("READY=1");
}

/// The loop that matters went round.
pub fn alive() {
    tell("WATCHDOG=1");
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    if manager().is_some() {
        tell(&status_line(text));
    }
}

/// One line, whatever is in it, and no key of the protocol but its own.
fn status_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut end = line.len().min(MAX_STATUS);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("STATUS={}", &line[..end])
}

/// It was asked to stop and does.
pub fn stopping() {
    tell("STOPPING=1");
}

/// It reads its configuration anew; [`ready`] says when it has.
pub fn reloading() {
    let at_us = clock::mono_ms().saturating_mul(1_000);
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={at_us}"));
}

/// How often [`alive`] is due: half of what the manager allows. `None`: nobody watches.
pub fn watchdog_interval() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    interval(
        variable("WATCHDOG_USEC").as_deref(),
        variable("WATCHDOG_PID").as_deref(),
        std::process::id(),
    )
}

fn interval(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok().filter(|usec| *usec > 0)?;
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    // A manager that allows a millisecond must not keep a board busy.
    Some(Duration::from_micros(usec / 2).max(Duration::from_millis(50)))
}

/// A watchdog as a branch of a loop's `select!`: each end of [`Watchdog::due`] has told the manager
/// that the loop went round.
#[derive(Debug)]
pub struct Watchdog(Option<tokio::time::Interval>);

impl Watchdog {
    /// As the manager of this process wants it.
    pub fn of_this_process() -> Watchdog {
        Watchdog(watchdog_interval().map(|every| {
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Nobody watches.
    pub fn off() -> Watchdog {
        Watchdog(None)
    }

    /// Until it is due; for ever where nobody watches. Dropped before its end it has done nothing.
    pub async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => {
                ticks.tick().await;
                alive();
            }
            None => std::future::pending().await,
        }
    }
}

/// Takes what the manager has set for this process alone out of a child's environment.
pub fn hide_from(command: &mut Command) -> &mut Command {
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_a_path_or_an_abstract_name() {
        let path = address("/run/systemd/notify").unwrap();
        assert_eq!(path.as_pathname(), Some(Path::new("/run/systemd/notify")));
        let name = address("@fleetctl-test").unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"fleetctl-test"[..]));
        for wrong in ["", "run/notify", "vsock:2:1234", &"/x".repeat(200)] {
            assert!(address(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_datagram_reaches_either_kind_of_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("fleetctl-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let abstract_address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_address).unwrap();
        let texts = [path.display().to_string(), format!("@{abstract_name}")];
        for (listener, text) in [by_path, by_name].iter().zip(texts) {
            let sender = UnixDatagram::unbound().unwrap();
            let to = address(&text).unwrap();
            sender.send_to_addr(b"READY=1", &to).unwrap();
            let mut buffer = [0; 64];
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1", "{text}");
        }
    }

    #[test]
    fn the_watchdog_is_fed_at_half_its_time_by_whom_it_is_meant_for() {
        let ms = Duration::from_millis;
        for (usec, pid, expected) in [
            (None, None, None),
            (Some("60000000"), None, Some(ms(30_000))),
            (Some("60000000"), Some("7"), Some(ms(30_000))),
            (Some("60000000"), Some("8"), None),
            (Some("60000000"), Some("me"), None),
            (Some("0"), None, None),
            (Some("often"), None, None),
            (Some("2"), None, Some(ms(50))),
        ] {
            assert_eq!(interval(usec, pid, 7), expected, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn a_status_is_one_line_and_bounded() {
        let line = status_line("joined\nREADY=1\tas pi");
        assert_eq!(line, "STATUS=joined READY=1 as pi");
        let long = status_line(&"ü".repeat(1_000));
        assert!(long.len() <= "STATUS=".len() + MAX_STATUS, "{}", long.len());
    }

    #[test]
    fn children_do_not_inherit_what_is_meant_for_the_role() {
        let mut command = Command::new("true");
        let removed: Vec<_> = hide_from(&mut command)
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        for name in VARIABLES {
            assert!(removed.contains(&name.to_owned()), "{removed:?}");
        }
    }
}
