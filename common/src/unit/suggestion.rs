//! "Did you mean": the known word closest to a misspelt one.

/// How alike two words must be, from 0 to 1, before one is offered for the other.
const LIKENESS: f64 = 0.8;

/// The candidate most like a word, if any is like it enough. Upper and lower case count alike.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    candidates
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(&word, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        // Of equals the first: candidates come in order of preference.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, candidate)| candidate)
}

/// A problem, followed by the way out where one is likely.
pub(super) fn or_hint<'a>(
    problem: &str,
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> String {
    match closest(word, candidates) {
        Some(candidate) => format!("{problem}; did you mean {candidate}?"),
        None => problem.to_owned(),
    }
}
