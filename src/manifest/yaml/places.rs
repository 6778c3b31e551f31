//! From the place of a character, as the parser counts, to the place of a byte, as we do.

/// So many characters are counted at most for one place.
const STEP: usize = 64;

/// The bytes at which characters begin.
pub(super) struct Places<'t> {
    text: &'t str,
    /// The byte of every [`STEP`]th character; empty where every character is one byte.
    steps: Vec<u32>,
}

impl<'t> Places<'t> {
    /// Of `text`, which is shorter than 4 GiB.
    pub(super) fn new(text: &'t str) -> Places<'t> {
        let steps = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices()
                .step_by(STEP)
                .map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX))
                .collect()
        };
        Places { text, steps }
    }

    /// The byte at which the character `index` begins; the end for one beyond it.
    pub(super) fn byte(&self, index: usize) -> usize {
        if self.steps.is_empty() {
            return index.min(self.text.len());
        }
        let Some(start) = self.steps.get(index / STEP) else {
            return self.text.len();
        };
        let start = *start as usize;
        let rest = self.text.get(start..).unwrap_or_default();
        rest.char_indices()
            .nth(index % STEP)
            .map_or(self.text.len(), |(at, _)| start + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_has_its_byte() {
        for text in [String::new(), "a".repeat(200), "aü€😀\n".repeat(100)] {
            let places = Places::new(&text);
            for (index, (byte, _)) in text.char_indices().enumerate() {
                assert_eq!(places.byte(index), byte);
            }
            for beyond in [0, 1, 63, 64, 1_000_000] {
                let index = text.chars().count() + beyond;
                assert_eq!(places.byte(index), text.len());
            }
        }
    }
}
