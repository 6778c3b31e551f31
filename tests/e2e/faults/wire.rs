//! A connection of either kind: over a Unix socket, or over TCP.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
};

/// Where somebody listens.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Unix(PathBuf),
    /// A port of loopback.
    Tcp(u16),
}

impl Address {
    pub(super) fn connect(&self) -> io::Result<Wire> {
        Ok(match self {
            Address::Unix(path) => Wire::Unix(UnixStream::connect(path)?),
            Address::Tcp(port) => Wire::Tcp(TcpStream::connect(("127.0.0.1", *port))?),
        })
    }

    /// Listens there, without blocking.
    pub(super) fn listen(&self) -> io::Result<Listener> {
        Ok(match self {
            Address::Unix(path) => {
                // What an earlier listener left.
                let _ = std::fs::remove_file(path);
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                Listener::Unix(listener)
            }
            Address::Tcp(port) => {
                let listener = TcpListener::bind(("127.0.0.1", *port))?;
                listener.set_nonblocking(true)?;
                Listener::Tcp(listener)
            }
        })
    }

    /// Nothing is there any more, not even a name.
    pub(super) fn clear(&self) {
        if let Address::Unix(path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Somebody who listens.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// The next connection; `WouldBlock` when there is none.
    pub(super) fn accept(&self) -> io::Result<Wire> {
        Ok(match self {
            Listener::Unix(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(false)?;
                Wire::Unix(stream)
            }
            Listener::Tcp(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                Wire::Tcp(stream)
            }
        })
    }
}

/// One connection.
#[derive(Debug)]
pub(super) enum Wire {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Wire {
    /// Another hold of the same connection.
    pub(super) fn twin(&self) -> io::Result<Wire> {
        Ok(match self {
            Wire::Unix(stream) => Wire::Unix(stream.try_clone()?),
            Wire::Tcp(stream) => Wire::Tcp(stream.try_clone()?),
        })
    }

    /// Ends it, for everybody who holds it.
    pub(super) fn shut(&self, how: Shutdown) {
        // One that has ended already is fine.
        let _ = match self {
            Wire::Unix(stream) => stream.shutdown(how),
            Wire::Tcp(stream) => stream.shutdown(how),
        };
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Unix(stream) => stream.read(buffer),
            Wire::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Unix(stream) => stream.write(bytes),
            Wire::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
