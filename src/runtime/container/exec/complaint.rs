//! What engines write in place of a program's output when they could not start it.
//!
//! ```text
//! Docker   OCI runtime exec failed: exec failed: … "nope": executable file not found in $PATH
//! Podman   Error: runc: exec failed: … "nope": executable file not found in $PATH: OCI runtime …
//!          Error: read unixpacket @->/proc/self/fd/14/attach: read: connection reset by peer
//! ```
//!
//! It comes on the program's own streams, so it is held back until the end tells whose words it
//! was: a program that never ran has an exit code that is not 0, and nothing else was written.

use crate::runtime::ExecOutput;

/// A complaint is not longer.
const COMPLAINT_LIMIT: usize = 4 * 1024;

/// What may be one, so far.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// All that was written.
    pub(super) pieces: Vec<ExecOutput>,
}

impl Complaint {
    /// Whether it still may be one with these words at its end.
    pub(super) fn goes_on_with(&self, words: &[u8]) -> bool {
        let length: usize = self.pieces.iter().map(|piece| piece.data.len()).sum();
        if length + words.len() > COMPLAINT_LIMIT {
            return false;
        }
        let starts = |start: &[u8]| words.starts_with(start);
        let of_podman = starts(b"Error: ") && memchr::memmem::find(words, b": OCI ").is_some();
        starts(b"OCI runtime ")
            || starts(b"Error attaching to container")
            || starts(b"Error: read unixpacket ")
            || of_podman
    }

    /// One line; the one that tells why, where there are several.
    pub(super) fn sentence(&self) -> String {
        let bytes: Vec<u8> = self.pieces.iter().flat_map(|p| p.data.to_vec()).collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines = || text.lines().map(str::trim);
        let line = lines().find(|line| line.contains("OCI "));
        let line = line.or_else(|| lines().next()).unwrap_or_default();
        line.strip_prefix("Error: ").unwrap_or(line).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogStream;
    use bytes::Bytes;

    fn held(texts: &[&str]) -> Option<Complaint> {
        let mut complaint = Complaint::default();
        for text in texts {
            if !complaint.goes_on_with(text.as_bytes()) {
                return None;
            }
            complaint.pieces.push(ExecOutput {
                stream: LogStream::Stderr,
                data: Bytes::copy_from_slice(text.as_bytes()),
            });
        }
        Some(complaint)
    }

    #[test]
    fn complaints_of_both_engines_are_known() {
        let docker = "OCI runtime exec failed: exec failed: unable to start container process: \
                      exec: \"nope\": executable file not found in $PATH: unknown\r\n";
        let podman = "Error: runc: exec failed: unable to start container process: exec: \
                      \"nope\": executable file not found in $PATH: OCI runtime attempted to \
                      invoke a command that was not found\n";
        let denied = "Error: runc: exec failed: unable to start container process: exec: \
                      \"/bin\": permission denied: OCI permission denied\n";
        let reset = "Error: read unixpacket @->/proc/self/fd/14/attach: read: connection reset \
                     by peer\n";
        let whole = |text: &str| text.trim_end().trim_start_matches("Error: ").to_owned();
        let cases = [
            (vec![docker], docker),
            (vec![podman], podman),
            (vec![podman, reset], podman),
            (vec![reset, podman], podman),
            (vec![denied, reset], denied),
            (vec![reset], reset),
        ];
        for (texts, reason) in cases {
            let complaint = held(&texts).unwrap();
            assert_eq!(complaint.sentence(), whole(reason), "{texts:?}");
        }
        assert!(held(&[podman, "more"]).is_none());
    }

    #[test]
    fn only_an_engines_words_are_held_back() {
        let long = format!("OCI runtime {}", "x".repeat(COMPLAINT_LIMIT));
        for text in ["OCI", "hello", "Error: no such file", "Error: ", &long] {
            assert!(held(&[text]).is_none(), "{text}");
        }
        let once = format!("OCI runtime {}", "x".repeat(COMPLAINT_LIMIT / 2));
        assert!(held(&[&once]).is_some());
        assert!(held(&[&once, &once]).is_none());
    }
}
