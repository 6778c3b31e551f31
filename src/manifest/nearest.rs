//! The word that was probably meant.

/// Words longer than this are not compared: a key of ours is shorter.
const MAX_LENGTH: usize = 32;

/// The one of `known` that is nearest to `word`, where one is near enough to have been meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > MAX_LENGTH {
        return None;
    }
    // One slip for a short word, two from six letters on, three from nine on.
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    known
        .iter()
        // So many letters more or fewer are as many slips.
        .filter(|candidate| word.len().abs_diff(candidate.len()) <= 4 * allowed)
        .map(|candidate| (distance(&word, &plain(candidate), allowed), *candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance: insertions, deletions, substitutions and swaps of two neighbours. Where it is
/// more than `allowed`, some number that is more.
fn distance(left: &str, right: &str, allowed: usize) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;
    for (i, a) in left.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != *b))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if j > 0 && previous == Some(*b) && right[j - 1] == a {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        // From two rows the next one is made; it only grows.
        let least = |row: &[usize]| row.iter().min().is_none_or(|least| *least > allowed);
        if least(&row) && least(&last) {
            return allowed + 1;
        }
        before_last = std::mem::replace(&mut last, row);
        previous = Some(a);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let known = ["image", "command", "stop_timeout", "env"];
        for (word, meant) in [
            ("iamge", Some("image")),
            ("images", Some("image")),
            ("Image", Some("image")),
            ("comand", Some("command")),
            ("stop-timeout", Some("stop_timeout")),
            ("envs", Some("env")),
            ("foo", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
        assert_eq!(nearest(&"image".repeat(1_000), &known), None);
    }

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right, 9), expected, "{left} {right}");
        }
    }
}
