//! Texts of others as a terminal is to see them: every hidden character visible, lines and tabs kept.
//!
//! Owns the seams of a stream: a character may come in two pieces. No colour passes either: journalctl, which prints for a
//! daemon, has none of its own, and those of a unit can hide what they colour. Whoever wants the bytes has them in a pipe.

use std::fmt::Write as _;

use muster_common::text::clean_lines;

/// A stream on its way to a terminal.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    /// The beginning of a character whose end has not come.
    begun: Vec<u8>,
}

impl Screen {
    /// Returns what can be shown once this piece has come.
    pub(crate) fn render(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(piece);
        let mut shown = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            push(&mut shown, chunk.valid());
            let invalid = chunk.invalid();
            // At the end it may be the beginning of a character; elsewhere it is none.
            if chunks.peek().is_none() && is_begun(invalid) {
                self.begun = invalid.to_vec();
            } else {
                push_bytes(&mut shown, invalid);
            }
        }
        shown
    }

    /// Returns what is left when nothing more comes.
    pub(crate) fn render_rest(&mut self) -> String {
        let mut shown = String::new();
        push_bytes(&mut shown, &std::mem::take(&mut self.begun));
        shown
    }
}

/// Returns whether more bytes could make a character of these.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

fn push(shown: &mut String, text: &str) {
    let _ = write!(shown, "{}", clean_lines(text));
}

fn push_bytes(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(shown, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut screen = Screen::default();
        let mut shown: String = pieces.iter().map(|piece| screen.render(piece)).collect();
        shown.push_str(&screen.render_rest());
        shown
    }

    #[test]
    fn lines_and_tabs_are_kept_and_nothing_drives_the_terminal() {
        assert_eq!(
            shown(&[b"a\tb\n\x1b[31mred\x1b[0m\r\n\x07"]),
            "a\tb\n\\u{1b}[31mred\\u{1b}[0m\\r\n\\u{7}"
        );
        assert_eq!(shown(&["\u{9b}2J\u{202e}".as_bytes()]), "\\u{9b}2J\\u{202e}");
    }

    #[test]
    fn a_character_may_come_in_pieces_and_what_is_none_is_shown_as_bytes() {
        let text = "é語\u{1f680}\u{9b}".as_bytes();
        for at in 0..=text.len() {
            let (before, after) = text.split_at(at);
            assert_eq!(shown(&[before, after]), "é語\u{1f680}\\u{9b}", "{at}");
        }
        assert_eq!(shown(&[b"a\xffb\xc3"]), "a\\xffb\\xc3");
    }
}
