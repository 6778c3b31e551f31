//! The file with the alerts that fire: whole or absent, whatever happens to the power.

use crate::{
    alert::StoredAlerts,
    identity::{self, FileError},
};
use std::{fs, path::Path};
use tracing::warn;

/// Its name in the data directory.
pub(super) const NAME: &str = "alerts.json";
/// Bytes of it: 10,000 alerts with long sentences.
const MAX_LEN: u64 = 16 << 20;

/// What was kept. A file that cannot be read is put aside, and that is said: then those alerts that
/// still fire are told once more.
pub(super) fn read(path: &Path) -> StoredAlerts {
    let length = fs::metadata(path).map_or(0, |m| m.len());
    let text = match length {
        0..=MAX_LEN => identity::read_optional(path).map_err(|e| e.to_string()),
        _ => Err("it is too large".to_owned()),
    };
    let read = text.and_then(|text| match text {
        None => Ok(StoredAlerts::default()),
        Some(text) => serde_json::from_str(&text).map_err(|e| e.to_string()),
    });
    read.unwrap_or_else(|error| {
        let aside = path.with_extension("json.damaged");
        let moved = fs::rename(path, &aside).is_ok();
        warn!(
            path = %path.display(), error, moved,
            "the alerts that fired cannot be read; what still fires is told again"
        );
        StoredAlerts::default()
    })
}

/// Writes it beside, and puts it in place.
pub(super) fn write(path: &Path, stored: &StoredAlerts) -> Result<(), FileError> {
    let bytes = serde_json::to_vec(stored).unwrap_or_default();
    identity::write_private(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_what_is_damaged_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        assert_eq!(read(&path), StoredAlerts::default());
        let text =
            r#"{"v":1,"firing":[{"rule":"disk","subject":{"node":"pi"},"since_ms":5}],"new":1}"#;
        fs::write(&path, text).unwrap();
        let stored = read(&path);
        assert_ne!(stored, StoredAlerts::default());
        write(&path, &stored).unwrap();
        assert_eq!(read(&path), stored);
        for damaged in ["", "{\"v\":1,\"firing\":[{\"rule\"", "\u{0}\u{0}"] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(read(&path), StoredAlerts::default(), "{damaged:?}");
            assert!(!path.exists(), "{damaged:?}");
            let aside = fs::read_to_string(dir.path().join("alerts.json.damaged"));
            assert_eq!(aside.unwrap(), damaged);
        }
    }
}
