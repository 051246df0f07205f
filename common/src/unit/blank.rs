//! White space as systemd has it, and the characters that look like it or like nothing and are not.
//!
//! Owns the one list of what separates and surrounds names and values: space, tab, line feed, carriage return
//! (systemd.syntax(7), and `WHITESPACE` in systemd's reader). Everything else is part of the text, a no-break space too. Owns
//! naming such characters, since nobody sees them. It never changes a text.

use std::fmt;

/// The characters that systemd takes for white space.
pub(crate) const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// A text without the white space around it.
pub(crate) fn strip_blanks(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// True when a text is nothing but white space.
pub(crate) fn is_blank(text: &str) -> bool {
    strip_blanks(text).is_empty()
}

/// A character that a reader does not see, or takes for a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvisibleChar(char);

impl InvisibleChar {
    /// The first in a text, with its place in bytes.
    pub(crate) fn first_in(text: &str) -> Option<(usize, Self)> {
        text.char_indices().find(|(_, c)| is_unseen(*c)).map(|(at, c)| (at, Self(c)))
    }
}

impl fmt::Display for InvisibleChar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} (U+{:04X})", name(self.0), u32::from(self.0))
    }
}

/// A text without its unseen characters, for finding out what it was meant to be.
pub(crate) fn strip_unseen(text: &str) -> String {
    text.chars().filter(|c| !is_unseen(*c)).collect()
}

fn is_unseen(c: char) -> bool {
    let is_space = c.is_whitespace() || c.is_control();
    let has_no_width = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    );
    (is_space || has_no_width) && !BLANKS.contains(&c)
}

fn name(c: char) -> &'static str {
    match c {
        '\u{a0}' => "no-break space",
        '\u{202f}' => "narrow no-break space",
        '\u{3000}' => "wide space",
        '\u{200b}' => "zero-width space",
        '\u{200c}' => "zero-width non-joiner",
        '\u{200d}' => "zero-width joiner",
        '\u{2060}' => "word joiner",
        '\u{feff}' => "byte order mark",
        '\u{ad}' => "soft hyphen",
        '\u{b}' => "vertical tab",
        '\u{c}' => "form feed",
        '\u{85}' | '\u{2028}' | '\u{2029}' => "line separator of Unicode's",
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            "mark of writing direction"
        }
        c if c.is_control() => "control character",
        c if c.is_whitespace() => "space of Unicode's",
        _ => "character without width",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_systemds_white_space_is_stripped() {
        assert_eq!(strip_blanks(" \t\r\na\u{a0} "), "a\u{a0}");
        assert!(is_blank(" \t") && !is_blank("\u{2003}") && !is_blank("\u{c}"));
    }

    #[test]
    fn an_unseen_character_is_named_with_its_number() {
        let named = |text| InvisibleChar::first_in(text).map(|(at, c)| (at, c.to_string()));
        assert_eq!(named("é\u{a0}x"), Some((2, "a no-break space (U+00A0)".to_owned())));
        assert_eq!(named("\u{200b}"), Some((0, "a zero-width space (U+200B)".to_owned())));
        assert_eq!(named("\u{2003}"), Some((0, "a space of Unicode's (U+2003)".to_owned())));
        assert_eq!(named("\u{1b}"), Some((0, "a control character (U+001B)".to_owned())));
        assert_eq!(named("a b\tc äöü 漢字 😀"), None);
        assert_eq!(strip_unseen("\u{a0}Exec\u{200b}Start"), "ExecStart");
    }
}
