//! Text that somebody else wrote: what is taken at the door, and how it is shown.
//!
//! Owns the one limit of free texts ([`FreeText`]), the one idea of which characters are hidden ([`is_hidden`]) and the
//! one way to show them ([`clean`]). It never prints and never decides where a text goes.
//!
//! Two rules follow from it. What people say about what they do (who, why) is bounded and visible before it is kept, so that a
//! record it becomes part of stays small. And whatever comes from anywhere (records, other daemons, systemd, files) is
//! cleaned where it is shown, for the store may hold what an older version, or somebody else, wrote.

use std::fmt::{self, Write as _};
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest free text, in bytes: two lines of a terminal. A hundred of them, the length of a history, are a small record,
/// far below what a store takes in one (1 MiB).
pub const LONGEST: usize = 256;

/// The part of a refused text that a person is shown.
const EXCERPT: usize = 64;

/// True when a character cannot be seen and does something all the same: it moves the cursor, starts another line, drives
/// a terminal, turns the direction of what follows, or hides other text.
///
/// These are the control characters (C0, DEL, C1), the separators of lines and paragraphs, the controls of direction, the
/// blanks of no width, the fillers and the tags: what Unicode calls `Default_Ignorable_Code_Point`, and the annotations. The
/// joiners U+200C and U+200D and the variation selectors are none of them: Persian, Hindi, the names of people in Japan and
/// many an emoji cannot be written without, and they change nothing but the letters beside them.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{061c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e00ff}'
                | '\u{e01f0}'..='\u{e0fff}'
        )
}

/// A text of 0 to [`LONGEST`] bytes without hidden characters: who does something, and why, in that one's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FreeText(String);

/// A text that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// It is too long.
    #[error("a text of {0} bytes, and at most {LONGEST} are taken")]
    TooLong(usize),
    /// Something in it cannot be seen.
    #[error("the character {} at byte {at}, which cannot be seen; texts are one line of visible characters", shown_part(*.character))]
    Hidden {
        /// The first such character.
        character: char,
        /// Where it begins, from 0.
        at: usize,
    },
}

/// True when a text is what [`FreeText`] takes.
pub fn check(text: &str) -> Result<(), InvalidText> {
    if text.len() > LONGEST {
        return Err(InvalidText::TooLong(text.len()));
    }
    match text.char_indices().find(|(_, c)| is_hidden(*c)) {
        Some((at, character)) => Err(InvalidText::Hidden { character, at }),
        None => Ok(()),
    }
}

impl FreeText {
    /// The part of any text that can be kept: hidden characters made visible, the end of what is too long replaced by dots. For
    /// texts that no person is there to correct.
    pub fn fit_text(text: &str) -> Self {
        Self(fit_text(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for FreeText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl FromStr for FreeText {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for FreeText {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        check(&text).map(|()| Self(text))
    }
}

impl From<FreeText> for String {
    fn from(text: FreeText) -> Self {
        text.0
    }
}

impl fmt::Display for FreeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// See [`FreeText::fit_text`].
pub(crate) fn fit_text(text: &str) -> String {
    const DOTS: &str = "...";
    // Cleaning makes a text longer, so no more of it than this can be of use.
    let visible = clean_text(cut_text(text, LONGEST + 1)).to_string();
    if visible.len() <= LONGEST && text.len() <= LONGEST {
        return visible;
    }
    format!("{}{DOTS}", cut_text(&visible, LONGEST - DOTS.len()))
}

/// The beginning of a text: at most so many bytes, whole characters.
pub fn cut_text(text: &str, most: usize) -> &str {
    (0..=most.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// A text on one line: each hidden character as Rust writes it, `\u{1b}` or `\n`; the others as they are.
pub fn clean_text(text: &str) -> CleanText<'_> {
    CleanText { text, lines: false }
}

/// A text of several lines, the same but for line feeds and tabs.
pub fn clean_lines(text: &str) -> CleanText<'_> {
    CleanText { text, lines: true }
}

/// See [`clean`] and [`clean_lines`].
#[derive(Debug, Clone, Copy)]
pub struct CleanText<'a> {
    text: &'a str,
    lines: bool,
}

impl fmt::Display for CleanText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text;
        let hides = |c: char| is_hidden(c) && !(self.lines && matches!(c, '\n' | '\t'));
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| hides(*c)) {
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
            f.write_str(before)?;
            write!(f, "{}", c.escape_default())?;
            rest = after.get(c.len_utf8()..).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

/// A text as an error names it: quoted, visible, and of what is long the beginning and the length.
pub fn quote_text(text: &str) -> TextQuote<'_> {
    TextQuote(text)
}

/// See [`quoted`].
#[derive(Debug, Clone, Copy)]
pub struct TextQuote<'a>(&'a str);

impl fmt::Display for TextQuote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        // A name of the longest kind is no surprise, and whole it can be searched for.
        if text.len() <= LONGEST {
            return write!(f, "{text:?}");
        }
        write!(f, "{:?}... ({} bytes)", cut_text(text, EXCERPT), text.len())
    }
}

fn shown_part(character: char) -> String {
    let mut text = String::new();
    let _ = write!(text, "{}", character.escape_default());
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    /// One of each kind of what is hidden.
    const HIDDEN: [char; 20] = [
        '\0',
        '\t',
        '\n',
        '\r',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{200b}',
        '\u{2028}',
        '\u{2029}',
        '\u{202e}',
        '\u{2066}',
        '\u{feff}',
        '\u{ad}',
        '\u{34f}',
        '\u{115f}',
        '\u{3164}',
        '\u{1d173}',
        '\u{e0041}',
    ];

    #[test]
    fn a_free_text_is_short_and_visible() {
        for text in [
            "",
            "new disk",
            "é ü 語 \u{1f469}\u{200d}\u{1f680} \u{2764}\u{fe0f} 葛\u{e0100}",
            &"x".repeat(256),
        ] {
            assert_eq!(text.parse::<FreeText>().unwrap().as_str(), text);
        }
        let long = "é".repeat(129).parse::<FreeText>().unwrap_err();
        assert_eq!(long.to_string(), "a text of 258 bytes, and at most 256 are taken");
        for hidden in HIDDEN {
            let error = format!("ab{hidden}c").parse::<FreeText>().unwrap_err();
            assert_eq!(error, InvalidText::Hidden { character: hidden, at: 2 });
        }
        let error = "a\u{1b}[31m".parse::<FreeText>().unwrap_err().to_string();
        assert!(
            error.starts_with("the character \\u{1b} at byte 1, which cannot be seen"),
            "{error}"
        );
        assert!(from_value::<FreeText>(json!("a\nb")).is_err());
        assert_eq!(from_value::<FreeText>(json!("a b")).unwrap().as_str(), "a b");
    }

    #[test]
    fn what_is_shown_is_visible_and_what_was_visible_is_unchanged() {
        assert_eq!(
            clean_text("a b\u{1b}[31m\r\nc\u{9b}").to_string(),
            "a b\\u{1b}[31m\\r\\nc\\u{9b}"
        );
        assert_eq!(clean_lines("a\tb\nc\u{7}").to_string(), "a\tb\nc\\u{7}");
        let visible = "\"quoted\" \\ é 語";
        assert_eq!(clean_text(visible).to_string(), visible);
        for hidden in HIDDEN {
            let shown = clean_text(&format!("{hidden}{hidden}")).to_string();
            assert!(shown.chars().all(|c| !is_hidden(c)) && shown.starts_with('\\'), "{shown}");
        }
    }

    #[test]
    fn any_text_can_be_made_to_fit() {
        assert_eq!(FreeText::fit_text("a\nb").as_str(), "a\\nb");
        for text in ["x".repeat(300), "é".repeat(10_000), "\u{1b}".repeat(256), "x".repeat(257)] {
            let fitted = FreeText::fit_text(&text);
            assert!(check(&fitted).is_ok() && fitted.ends_with("..."), "{fitted}");
        }
        let whole = "x".repeat(256);
        assert_eq!(FreeText::fit_text(&whole).as_str(), whole);
    }

    #[test]
    fn an_error_does_not_repeat_a_flood() {
        assert_eq!(quote_text("a\u{1b}").to_string(), "\"a\\u{1b}\"");
        let shown = quote_text(&"x".repeat(5000)).to_string();
        assert_eq!(shown, format!("\"{}\"... (5000 bytes)", "x".repeat(64)));
    }
}
