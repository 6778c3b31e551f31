//! Texts as people write them on a memory card: with Windows' line ends, a byte order mark, blanks
//! at the ends, `.txt` behind the name, the whole join line where a token was meant.
//!
//! What is wrong is said with the number of its line and never with its text: that may be something
//! that nobody is to read.

use crate::{config::parse_label, identity::JoinToken, model::Name};
use std::collections::BTreeMap;

/// The largest file that is read, bytes.
pub(super) const MAX_FILE: u64 = 64 << 10;
/// Labels that are taken.
const MAX_LABELS: usize = 64;
/// Begins every join token.
const TOKEN_MARK: &str = "fleetjoin1_";

/// What a file in the directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Join,
    Name,
    Labels,
    /// Ours, of an earlier start.
    Error,
    /// Of the system that wrote the card.
    Ignored,
    Unknown,
}

/// By its name: `join`, `JOIN.TXT`, `join.txt.txt`.
pub(super) fn kind(file: &str) -> Kind {
    let lower = file.to_ascii_lowercase();
    let mut stem = lower.as_str();
    while let Some(shorter) = stem.strip_suffix(".txt") {
        stem = shorter;
    }
    match stem {
        "join" => Kind::Join,
        "name" => Kind::Name,
        "labels" | "label" => Kind::Labels,
        "error" => Kind::Error,
        "readme" | "readme.md" | "thumbs.db" | "desktop.ini" => Kind::Ignored,
        _ if stem.starts_with('.') || stem.ends_with('~') => Kind::Ignored,
        _ => Kind::Unknown,
    }
}

/// UTF-8 or, by its mark, UTF-16, as Windows' editor writes it; bytes that are no text become `�`.
pub(super) fn decode(bytes: &[u8]) -> String {
    let wide = |pair: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks_exact(2).map(|two| pair([two[0], two[1]]));
        let chars = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        chars.collect::<String>()
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Lines that say something, with their numbers from 1: without comments, blanks and empty ones.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // Ends of three kinds: Unix, Windows, and a bare carriage return.
    let all = text
        .split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    (1..)
        .zip(all)
        .map(|(number, line)| {
            let blank = |c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0';
            (number, line.trim_matches(blank))
        })
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The token in a text that holds it, or the whole join line.
pub(super) fn token(text: &str) -> Result<JoinToken, String> {
    let all: Vec<&str> = lines(text).map(|(_, line)| line).collect();
    let all = all.join(" ");
    let mut tokens = all
        .split(|c: char| c.is_whitespace() || "\"'`<>=,;".contains(c))
        .filter(|word| word.starts_with(TOKEN_MARK));
    let (Some(token), None) = (tokens.next(), tokens.next()) else {
        return Err(format!(
            "the file `join` must hold one join token (it begins with {TOKEN_MARK}); `fleetctl \
             token create --kind join` on the control host prints one"
        ));
    };
    JoinToken::decode(token).map_err(|_| {
        "the join token is damaged: copy the whole text that `fleetctl token create --kind join` \
         prints into the file `join`, in one line"
            .to_owned()
    })
}

/// The name; `*` in it is `own`, which no other board has: so one card does for many boards.
pub(super) fn name(text: &str, own: &str) -> Result<Name, String> {
    let mut lines = lines(text);
    let (Some((number, line)), None) = (lines.next(), lines.next()) else {
        return Err("the file `name` must hold one line with the name of the board".to_owned());
    };
    let written = line.trim_matches(['"', '\'']).to_ascii_lowercase();
    written.replace('*', own).parse().map_err(|_| {
        format!(
            "line {number} of the file `name` is no name for a board: use letters, digits and `-`"
        )
    })
}

/// One `key=value` a line.
pub(super) fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for (number, line) in lines(text) {
        let tidy = line.split_once('=').map_or_else(
            || line.to_owned(),
            |(key, value)| {
                let value = value.trim().trim_matches(['"', '\'']);
                format!("{}={value}", key.trim())
            },
        );
        let (key, value) = parse_label(&tidy).map_err(|_| {
            format!(
                "line {number} of the file `labels` is not a label: write one key=value in each \
                 line, with letters, digits, `-`, `_` and `.`"
            )
        })?;
        labels.insert(key, value);
    }
    match labels.len() {
        0..=MAX_LABELS => Ok(labels),
        _ => Err(format!(
            "the file `labels` has more than {MAX_LABELS} labels"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{SigningKey, join_secret};

    fn example() -> JoinToken {
        let key = SigningKey::from_seed(&[7; 32]);
        JoinToken {
            id: "a1".into(),
            brokers: vec!["mqtts://192.0.2.1:8883".into()],
            ca_sha256: None,
            external_ca: None,
            fleet_key: key.public().to_string(),
            prefix: "fleet".into(),
            expires_ms: 0,
            secret: join_secret(&key, "a1", 0),
        }
    }

    #[test]
    fn files_are_known_by_names_as_laptops_write_them() {
        for (file, expected) in [
            ("join", Kind::Join),
            ("Join.txt", Kind::Join),
            ("JOIN.TXT", Kind::Join),
            ("join.txt.txt", Kind::Join),
            ("name", Kind::Name),
            ("labels.txt", Kind::Labels),
            ("error.txt", Kind::Error),
            ("._join.txt", Kind::Ignored),
            (".DS_Store", Kind::Ignored),
            ("desktop.ini", Kind::Ignored),
            ("README.txt", Kind::Ignored),
            ("lables.txt", Kind::Unknown),
            ("join.rtf", Kind::Unknown),
        ] {
            assert_eq!(kind(file), expected, "{file}");
        }
    }

    #[test]
    fn a_token_is_found_in_whatever_a_person_pasted() {
        let token = example();
        let text = token.encode();
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(
                format!("{text}\r\n")
                    .encode_utf16()
                    .flat_map(u16::to_le_bytes),
            )
            .collect();
        for bytes in [
            text.clone().into_bytes(),
            format!("\u{feff}{text}\r\n").into_bytes(),
            format!("  {text}  \r\n\r\n").into_bytes(),
            format!("fleetctl agent --join {text}\r\n").into_bytes(),
            format!("# the lab\r\n\"{text}\"").into_bytes(),
            format!("join={text}\n").into_bytes(),
            utf16,
        ] {
            let read = super::token(&decode(&bytes));
            assert_eq!(read.as_ref(), Ok(&token), "{}", decode(&bytes));
        }
        for wrong in ["", "hello", &text[..60], &format!("{text} {text}")] {
            let why = super::token(wrong).unwrap_err();
            assert!(why.contains("token create"), "{why}");
        }
    }

    #[test]
    fn names_and_labels_are_read_kindly_and_refused_in_words() {
        let fine = |text: &str| name(text, "1a2b3c").map(|n| n.to_string());
        assert_eq!(fine("Kiosk-7 \r\n"), Ok("kiosk-7".into()));
        assert_eq!(fine("\u{feff}kiosk-*\r\n"), Ok("kiosk-1a2b3c".into()));
        for wrong in ["", "a b", "a\nb", "kiosk_7!"] {
            assert!(fine(wrong).is_err(), "{wrong:?}");
        }
        let read = labels("zone=lab\r\n# more\r\n\r\n line = \"2\" \r\n").unwrap();
        let pairs: Vec<_> = read.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(pairs, ["line=2", "zone=lab"]);
        for (text, line) in [
            ("zone lab", "line 1 "),
            ("a=b\r\n\r\nzone lab\r\n", "line 3 "),
            ("a=b\rzone lab", "line 2 "),
            ("root:$y$j9T$zone lab=:19000:0", "line 1 "),
        ] {
            let why = labels(text).unwrap_err();
            assert!(why.contains(line) && why.contains("key=value"), "{why}");
            assert!(!why.contains("lab ") && !why.contains("zone"), "{why}");
        }
        let why = name("# mine\nmy secret", "1a2b3c").unwrap_err();
        assert!(why.contains("line 2 ") && !why.contains("secret"), "{why}");
    }
}
