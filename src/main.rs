//! Parse, start tracing, dispatch.

use std::{ffi::OsStr, path::Path, process::ExitCode};

fn main() -> ExitCode {
    // The shim of a native process must stay tiny: nothing else is started before it.
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() == Some(OsStr::new("shim")) {
        let Some(dir) = args.next() else {
            return ExitCode::from(2);
        };
        return fleetctl::runtime::process::shim_main(Path::new(&dir));
    }
    fleetctl::cli::main()
}
