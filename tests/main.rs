//! Everything that needs real parts: sockets, engines, processes, the built binary.
//! `make test` starts what they need.

mod broker;
mod engine;
mod process;
