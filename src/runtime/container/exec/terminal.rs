//! The size of a terminal, told to the engine until it has surely arrived.
//!
//! Both engines take a size once the program's terminal is there, a moment after the start. Podman
//! can also answer "done" and lose it: it writes the size into a pipe of the container's monitor,
//! which drops what comes before the terminal is open. The same size twice is nothing to the
//! program (the kernel signals a change only), so the newest one is told again a few times.

use super::{ASK_EVERY, CALL_LIMIT, Fault, connect, limited};
use crate::model::TerminalSize;
use bollard::exec::ResizeExecOptions;
use std::{path::Path, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// A terminal that does not take its size within so many questions keeps the one it has.
const TRIES: u32 = 20;
/// After these pauses a size that was taken is told again.
const AGAIN_AFTER: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Tells the engine each newest size, [as often as needed](AGAIN_AFTER). Ends when nobody can send
/// another one.
pub(super) async fn keep_sized(
    socket: &Path,
    id: &str,
    mut sizes: watch::Receiver<Option<TerminalSize>>,
) {
    'newest: loop {
        let size = *sizes.borrow_and_update();
        if let Some(size) = size {
            resize(socket, id, size).await;
            for pause in AGAIN_AFTER {
                match timeout(pause, sizes.changed()).await {
                    Ok(Ok(())) => continue 'newest,
                    Ok(Err(_)) => return,
                    Err(_) => resize(socket, id, size).await,
                }
            }
        }
        if sizes.changed().await.is_err() {
            return;
        }
    }
}

async fn resize(socket: &Path, id: &str, size: TerminalSize) {
    let options = ResizeExecOptions {
        height: size.rows,
        width: size.columns,
    };
    for _ in 0..TRIES {
        let Ok(engine) = connect(socket) else { return };
        match limited(CALL_LIMIT, engine.resize_exec(id, options)).await {
            Ok(()) => return,
            Err(Fault::Unreachable(_)) => return,
            Err(fault) => tracing::debug!(exec = id, ?fault, "terminal not resized yet"),
        }
        sleep(ASK_EVERY).await;
    }
}
