//! Asking everything to stop.

use tokio::sync::watch;

/// A flag that many wait for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    flag: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown {
            flag: watch::Sender::new(false),
        }
    }
}

impl Shutdown {
    /// Not asked yet.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Asks.
    pub fn trigger(&self) {
        self.flag.send_replace(true);
    }

    /// Until somebody has asked.
    pub async fn wait(&self) {
        let mut receiver = self.flag.subscribe();
        // The sender lives in `self`, so that this cannot fail before it was asked.
        let _ = receiver.wait_for(|asked| *asked).await;
    }

    /// One that is triggered by SIGINT and SIGTERM; a second signal ends the process at once.
    pub fn on_signals() -> Shutdown {
        use tokio::signal::unix::{SignalKind, signal};
        let shutdown = Shutdown::new();
        let trigger = shutdown.clone();
        tokio::spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                return;
            };
            for already_asked in [false, true] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if already_asked {
                    std::process::exit(130);
                }
                trigger.trigger();
            }
        });
        shutdown
    }
}
