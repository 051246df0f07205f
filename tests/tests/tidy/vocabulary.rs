//! The words that may name a function alone.
//!
//! Owns the list; `docs/STYLE.md` shows the same one, and a test compares them.

/// First what every Rust program has, then the verbs of the field, then nouns that are getters of just that.
pub(crate) const VOCABULARY: &str = "\
new default from into main fmt eq cmp hash clone drop deref poll next iter
run parse get set insert remove push pop clear contains map filter find join split
start stop read write open close send recv connect load save update delete create put list
build serve spawn sleep timeout wait abort elapsed enter reached begin end step apply check plan render encode decode lock rename subscribe
commit watch grant revoke acquire release exec reboot restart enable disable schedule converge translate describe reset shutdown
len now key value kind with source description name names id path text json line lines error errors
address revision version generation unit units machine machines host hosts metadata options status state group requirements
";

/// Whether a function's name is one of them.
pub(crate) fn is_standard(name: &str) -> bool {
    VOCABULARY.split_whitespace().any(|word| word == name)
}

#[test]
fn the_style_guide_shows_the_same_vocabulary() {
    let guide = crate::checkout::text_files().remove("docs/STYLE.md").unwrap();
    let shown = guide.split_once("```text vocabulary\n").unwrap().1.split_once("```").unwrap().0;
    assert_eq!(shown, VOCABULARY, "docs/STYLE.md and tests/tests/tidy/vocabulary.rs are one list");
}
