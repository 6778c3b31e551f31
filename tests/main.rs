//! Everything that needs real parts: sockets, engines, processes, the built binary.
//! `make test` starts what they need.

#![allow(clippy::unwrap_used)] // a test that cannot go on must say where

mod broker;
mod browser;
mod e2e;
mod engine;
mod process;
mod release;
mod sim;
