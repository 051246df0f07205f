//! "Did you mean": the known word closest to a misspelt one.

use super::blank::{self, InvisibleChar};

/// The likeness that two words must have, from 0 to 1, before one is offered for the other.
const LIKENESS: f64 = 0.8;

/// The candidate most like a word, if any is like it enough. Upper and lower case count alike.
pub(crate) fn closest_word<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .filter(|candidate| may_be_alike(word.len(), candidate.len()))
        .map(|candidate| (word_likeness(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        // Of equals the first: candidates come in order of preference.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, candidate)| candidate)
}

fn word_likeness(word: &str, candidate: &str) -> f64 {
    let (word, candidate) = (word.to_ascii_lowercase(), candidate.to_ascii_lowercase());
    strsim::normalized_damerau_levenshtein(&word, &candidate)
}

/// True when words of these lengths need comparing at all, which is dear for a long one: at least the difference of
/// their lengths has to be typed. Generous, since lengths are in bytes.
fn may_be_alike(one: usize, other: usize) -> bool {
    one.max(other) <= 2 * one.min(other)
}

/// The section most like a word. Muster's own is found by its second half too: few remember the first.
pub(crate) fn closest_section<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let shown = blank::strip_unseen(word);
    let word = blank::strip_blanks(&shown);
    closest_word(word, candidates).or_else(|| {
        let letters: String = word.chars().filter(char::is_ascii_alphanumeric).collect();
        closest_word(&letters, ["Fleet", "XFleet"].into_iter()).map(|_| "X-Fleet")
    })
}

/// A problem, followed by the way out where one is likely.
pub(crate) fn or_hint<'a>(
    problem: &str,
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> String {
    let unseen = match InvisibleChar::first_in(word) {
        Some((_, unseen)) => format!("; there is {unseen} in its name"),
        None => String::new(),
    };
    match closest_word(&blank::strip_unseen(word), candidates) {
        Some(candidate) => format!("{problem}{unseen}; did you mean {candidate}?"),
        None => format!("{problem}{unseen}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_does_not() {
        let known = ["ExecStart", "ExecStartPre", "ExecStop", "User"];
        let found = |word| closest_word(word, known.into_iter());
        assert_eq!(found("ExecStrat"), Some("ExecStart"));
        assert_eq!(found("execstart"), Some("ExecStart"));
        assert_eq!(found("ExecStopp"), Some("ExecStop"));
        assert_eq!(found("Frobnicate"), None);
        assert_eq!(found(""), None);
        assert_eq!(found(&"x".repeat(100_000)), None);
    }

    #[test]
    fn musters_own_section_is_found_by_its_second_half() {
        let found = |word| closest_section(word, ["Unit", "Container", "X-Fleet"].into_iter());
        for word in ["Fleet", "fleet", "X_Fleet", "XFleet", "x-fleet", " X-Fleet", "X-Fleet\u{a0}"]
        {
            assert_eq!(found(word), Some("X-Fleet"), "{word:?}");
        }
        assert_eq!(found("container "), Some("Container"));
        assert_eq!(found("Flatpak"), None);
    }

    #[test]
    fn what_nobody_sees_is_named_in_a_hint() {
        assert_eq!(
            or_hint("unknown", "\u{a0}User", ["User"].into_iter()),
            "unknown; there is a no-break space (U+00A0) in its name; did you mean User?"
        );
    }
}
