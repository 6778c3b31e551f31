//! `boot_dir`: where a board's first words of its owner are looked for.

use super::common::parse_path;
use crate::manifest::Flaw;
use std::path::PathBuf;

/// Where a boot partition is mounted: Raspberry Pi OS since 2023, everybody else.
const USUAL: [&str; 2] = ["/boot/firmware/fleetctl-boot", "/boot/fleetctl-boot"];

/// A directory on the boot partition, from which the agent takes its join token, name and labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BootDir {
    /// Where boot partitions are usually mounted.
    #[default]
    Usual,
    /// Nowhere.
    Off,
    /// There.
    At(PathBuf),
}

impl BootDir {
    /// `off` or an absolute path.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<BootDir, Flaw> {
        if text == "off" {
            return Ok(BootDir::Off);
        }
        parse_path(text)
            .map(BootDir::At)
            .map_err(|flaw| flaw.hint("write a path or \"off\""))
    }

    /// As [`BootDir::parse`] reads it; empty for the usual places.
    pub fn text(&self) -> String {
        match self {
            BootDir::Usual => String::new(),
            BootDir::Off => "off".to_owned(),
            BootDir::At(path) => path.to_string_lossy().into_owned(),
        }
    }

    /// The directories to look at, best first.
    pub fn places(&self) -> Vec<PathBuf> {
        match self {
            BootDir::Usual => USUAL.map(PathBuf::from).to_vec(),
            BootDir::Off => Vec::new(),
            BootDir::At(path) => vec![path.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        for text in ["off", "/boot/efi/fleetctl-boot"] {
            assert_eq!(BootDir::parse(text).unwrap().text(), text);
        }
        assert!(BootDir::parse("fleetctl-boot").is_err());
        assert_eq!(BootDir::Off.places(), Vec::<PathBuf>::new());
        assert_eq!(BootDir::Usual.places().len(), 2);
    }
}
