//! Manual pages and completions of a release: `cargo run --example man -- DIR` writes `man/man1/*.1`,
//! one page per command, and `completions/<shell>/…` below DIR.
//!
//! A program of its own, so that nothing of it is in the binary on the boards.

use clap_mangen::Man;
use std::{env, error::Error, fs, io, path::Path};

/// Each shell, and the name under which it looks for the script.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "fleetctl"),
    ("zsh", "_fleetctl"),
    ("fish", "fleetctl.fish"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let to = env::args_os().nth(1).ok_or("usage: man DIR")?;
    let to = Path::new(&to);
    let pages = to.join("man/man1");
    fs::create_dir_all(&pages)?;
    let mut all = fleetctl::cli::command_line().disable_help_subcommand(true);
    all.build();
    page(&all, &pages)?;
    for (shell, file) in SHELLS {
        let script = fleetctl::cli::completion(shell, "fleetctl")?;
        let script = script.ok_or_else(|| format!("there is no completion for {shell}"))?;
        let dir = to.join("completions").join(shell);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(file), script)?;
    }
    Ok(())
}

/// The page of a command, and those of the commands below it.
fn page(command: &clap::Command, to: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        page(below, to)?;
    }
    // Below the top each has the name of its page; without a version of its own the page's foot
    // would be its bare name.
    Man::new(command.clone())
        .source(format!(
            "fleetctl {}",
            fleetctl::support::release::version()
        ))
        .manual("fleetctl")
        .generate_to(to)?;
    Ok(())
}
