//! What a board says of itself: the lines that `cli/deploy/probe.sh` prints.
//!
//! A line is a word, a blank and a value. What stands before the line `fleetctl-probe 1` is greetings
//! of the board and skipped. Nothing of it is believed beyond its form, and everything is bounded.

use crate::model::Digest;
use std::collections::BTreeMap;

/// The most lines that are looked at.
const MAX_LINES: usize = 400;
/// The first line that counts.
const MARK: &str = "fleetctl-probe 1";

/// What starts services on a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// systemd.
    Systemd,
    /// OpenRC.
    OpenRc,
    /// Nothing that is known here.
    Unknown,
}

/// A directory that something is to be put into: of those on its path, the one that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Where its disk is mounted.
    pub mounted: String,
    /// Options of that mount: `ro`, `noexec`, …
    pub options: String,
    /// Free bytes for root; `None`: unknown.
    pub free: Option<u64>,
}

impl Place {
    /// Mounted so.
    pub fn is(&self, option: &str) -> bool {
        self.options.split(',').any(|o| o == option)
    }
}

/// A board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// As `uname -m` says.
    pub machine: String,
    /// Processor of its programs (of `/bin/sh`): an ELF machine; `None`: unknown.
    pub elf: Option<u16>,
    /// What starts services.
    pub init: Init,
    /// Its clock, Unix seconds.
    pub time_s: u64,
    /// Where the binary goes.
    pub install: Place,
    /// Where configuration goes: `/etc`.
    pub etc: Place,
    /// Where the agent keeps its data.
    pub data: Place,
    /// SHA-256 of files that are there, by what they are: `binary`, `config`, `env`, `unit`, `settings`.
    pub files: BTreeMap<String, Digest>,
    /// Size of the binary that is there.
    pub binary_bytes: u64,
    /// The public key of the fleet that the machine has joined.
    pub fleet_key: Option<String>,
    /// Its name there.
    pub node: Option<String>,
    /// The service runs.
    pub active: bool,
    /// The service is started at boot.
    pub enabled: bool,
    /// It runs a binary or configuration that is not the one on disk any more, or is to be started
    /// for the first time: an earlier run ended between copying and starting.
    pub stale: bool,
}

impl Probe {
    /// Reads what the script printed.
    ///
    /// # Errors
    /// It printed something else: a sentence.
    pub fn parse(text: &str) -> Result<Probe, String> {
        let mut lines = text.lines().skip_while(|l| l.trim_end() != MARK).skip(1);
        let mut said: BTreeMap<&str, &str> = BTreeMap::new();
        let mut whole = false;
        for line in lines.by_ref().take(MAX_LINES) {
            let line = line.trim_end();
            if line == "end" {
                whole = true;
                break;
            }
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            said.insert(word, value.trim());
        }
        if !whole {
            let last = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("");
            let last: String = last.chars().take(200).collect();
            return Err(match last.is_empty() {
                true => "it did not say what it is: is its login shell a shell?".to_owned(),
                false => format!("it did not say what it is; the last it said was: {last}"),
            });
        }
        let text = |word: &str| said.get(word).copied().unwrap_or_default();
        let some = |word: &str| Some(text(word).to_owned()).filter(|t| !t.is_empty());
        let number = |word: &str| text(word).parse::<u64>().ok();
        let place = |name: &str| Place {
            mounted: text(&format!("{name}.mounted")).to_owned(),
            options: text(&format!("{name}.options")).to_owned(),
            free: number(&format!("{name}.free_kib")).map(|kib| kib.saturating_mul(1024)),
        };
        let mut files = BTreeMap::new();
        for (word, value) in &said {
            if let Some(what) = word.strip_prefix("sha256.")
                && let Ok(digest) = format!("sha256:{value}").parse::<Digest>()
            {
                files.insert(what.to_owned(), digest);
            }
        }
        Ok(Probe {
            machine: text("machine").to_owned(),
            elf: elf(text("elf")),
            init: match text("init") {
                "systemd" => Init::Systemd,
                "openrc" => Init::OpenRc,
                _ => Init::Unknown,
            },
            time_s: number("time").unwrap_or(0),
            install: place("install"),
            etc: place("etc"),
            data: place("data"),
            files,
            binary_bytes: number("binary_bytes").unwrap_or(0),
            fleet_key: some("fleet_key"),
            node: some("node"),
            active: text("active") == "yes",
            enabled: text("enabled") == "yes",
            stale: text("stale") == "yes",
        })
    }

    /// The architecture that a binary must have, as releases call it; else what the board is.
    ///
    /// # Errors
    /// No release is for it: what it is.
    pub fn arch(&self) -> Result<&'static str, String> {
        match (self.elf, self.machine.as_str()) {
            (Some(40), "armv6l" | "armv5tel" | "armv5tejl" | "armv4l") => {
                Err(format!("{} (ARM before version 7)", self.machine))
            }
            (Some(62), _) => Ok("x86_64"),
            (Some(183), _) => Ok("aarch64"),
            (Some(40), _) => Ok("arm"),
            (None, "x86_64") => Ok("x86_64"),
            (None, "aarch64") => Ok("aarch64"),
            (None, "armv7l" | "armv8l") => Ok("arm"),
            (Some(3), machine) => Err(format!("{machine} with 32-bit x86 programs")),
            (Some(elf), machine) => Err(format!("{machine} (programs for ELF machine {elf})")),
            (None, machine) => Err(match machine {
                "" => "an unknown machine".to_owned(),
                machine => machine.chars().take(40).collect(),
            }),
        }
    }
}

/// The machine in the first bytes of a program, as hexadecimal pairs.
fn elf(hex: &str) -> Option<u16> {
    let bytes: Vec<u8> = hex
        .split_whitespace()
        .take(20)
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect::<Option<_>>()?;
    if bytes.len() < 20 || bytes[..4] != [0x7f, b'E', b'L', b'F'] {
        return None;
    }
    let machine = [bytes[18], bytes[19]];
    Some(match bytes[5] {
        2 => u16::from_be_bytes(machine),
        _ => u16::from_le_bytes(machine),
    })
}
