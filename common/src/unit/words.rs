//! Words of a value, quoted and escaped as systemd.syntax(7) and systemd.service(5) have it.
//!
//! Owns splitting a value into words. It never expands anything: specifiers and variables are looked at word by word
//! afterwards, so that what they stand for is never split.
//!
//! Stricter than what it follows in two places, where systemd writes a line to its log and goes on with a guess: a quote
//! that is not closed and a backslash before a letter that means nothing are errors.

use super::blank::BLANKS;

/// The meaning of a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backslash {
    /// It begins a C escape (`\n`, `\x41`, `\u00e9`, `\s` for a space), as in command lines and environments.
    Escapes,
    /// It stands for itself, as in lists of names.
    Literal,
}

/// A word, or what is wrong with one, and where in the value it begins, in bytes.
pub(crate) type WithLine<T> = (usize, T);

/// The words of a value. Quotes may begin anywhere in a word; an empty pair makes an empty word.
pub(crate) fn split(value: &str, backslash: Backslash) -> Result<Vec<String>, String> {
    let words = split_at_places(value, backslash).map_err(|(_, problem)| problem)?;
    Ok(words.into_iter().map(|(_, word)| word).collect())
}

/// The words of a value with their places.
pub(crate) fn split_at_places(
    value: &str,
    backslash: Backslash,
) -> Result<Vec<WithLine<String>>, WithLine<String>> {
    let mut words = Vec::new();
    // Bytes, since escapes may put a character together out of several.
    let mut word: Option<WithLine<Vec<u8>>> = None;
    let mut quote: Option<WithLine<char>> = None;
    let mut rest = value.chars();
    loop {
        let at = value.len() - rest.as_str().len();
        let Some(c) = rest.next() else { break };
        let new = || (at, Vec::new());
        match quote {
            Some((_, open)) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some((at, c));
                word.get_or_insert_with(new);
            }
            None if BLANKS.contains(&c) => {
                if let Some(word) = word.take() {
                    words.push(text(word)?);
                }
            }
            Some(_) | None if c == '\\' && backslash == Backslash::Escapes => {
                let (bytes, after) =
                    unescape_word(rest.as_str()).map_err(|problem| (at, problem))?;
                word.get_or_insert_with(new).1.extend(bytes);
                rest = after.chars();
            }
            Some(_) | None => {
                let mut buffer = [0; 4];
                let bytes = c.encode_utf8(&mut buffer).as_bytes();
                word.get_or_insert_with(new).1.extend(bytes);
            }
        }
    }
    if let Some((at, open)) = quote {
        return Err((at, format!("a {open} is not closed")));
    }
    if let Some(word) = word {
        words.push(text(word)?);
    }
    Ok(words)
}

fn text((at, word): WithLine<Vec<u8>>) -> Result<WithLine<String>, WithLine<String>> {
    match String::from_utf8(word) {
        Ok(word) => Ok((at, word)),
        Err(_) => Err((at, "its escapes do not make UTF-8".to_owned())),
    }
}

/// The character that an escape stands for, and the text behind it; the backslash is gone already.
fn unescape_word(rest: &str) -> Result<(Vec<u8>, &str), String> {
    let mut chars = rest.chars();
    let Some(c) = chars.next() else {
        return Err("it ends in a backslash".to_owned());
    };
    let byte = |byte: u8| Ok((vec![byte], chars.as_str()));
    match c {
        'a' => byte(0x07),
        'b' => byte(0x08),
        'f' => byte(0x0c),
        'n' => byte(b'\n'),
        'r' => byte(b'\r'),
        't' => byte(b'\t'),
        'v' => byte(0x0b),
        's' => byte(b' '),
        '\\' | '"' | '\'' => byte(u8::try_from(c).unwrap_or(b'\\')),
        'x' => parse_number(rest, 1, 2, 16, true),
        'u' => parse_number(rest, 1, 4, 16, false),
        'U' => parse_number(rest, 1, 8, 16, false),
        '0'..='7' => parse_number(rest, 0, 3, 8, true),
        _ => Err(format!("\\{} means nothing; write \\\\ for a backslash", c.escape_debug())),
    }
}

/// An escape that gives a number: a byte, or a character by its place in Unicode.
fn parse_number(
    rest: &str,
    skip: usize,
    digits: usize,
    radix: u32,
    is_byte: bool,
) -> Result<(Vec<u8>, &str), String> {
    let parsed = rest.get(skip..).and_then(|text| text.split_at_checked(digits));
    let bad =
        || format!("\\{} is not a character", rest.chars().take(skip + digits).collect::<String>());
    let (number, after) = parsed.ok_or_else(bad)?;
    if !number.chars().all(|c| c.is_digit(radix)) {
        return Err(bad());
    }
    let value = u32::from_str_radix(number, radix).map_err(|_| bad())?;
    if value == 0 {
        return Err(format!("{}: a NUL cannot be part of a word", bad()));
    }
    if is_byte {
        return Ok((vec![u8::try_from(value).map_err(|_| bad())?], after));
    }
    let c = char::from_u32(value).ok_or_else(bad)?;
    Ok((c.to_string().into_bytes(), after))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// One word as it can stand in a value that is split with [`Backslash::Escapes`].
    fn quote(word: &str) -> String {
        let plain = |c: char| !c.is_ascii_control() && !BLANKS.contains(&c) && !"\"'\\".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            return word.to_owned();
        }
        let mut quoted = String::from("\"");
        for c in word.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                '\r' => quoted.push_str("\\r"),
                c if c.is_ascii_control() => write!(quoted, "\\x{:02x}", u32::from(c)).unwrap(),
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        quoted
    }

    fn escaped(value: &str) -> Vec<String> {
        split(value, Backslash::Escapes).unwrap_or_else(|problem| panic!("{value}: {problem}"))
    }

    fn refused(value: &str) -> String {
        split(value, Backslash::Escapes).unwrap_err()
    }

    #[test]
    fn quotes_hold_a_word_together_wherever_they_begin() {
        assert_eq!(escaped("a  b\tc"), ["a", "b", "c"]);
        assert_eq!(escaped("'a b' \"c d\""), ["a b", "c d"]);
        assert_eq!(escaped("a=\"b c\"d"), ["a=b cd"]);
        assert_eq!(escaped("\"it's\" 'say \"x\"'"), ["it's", "say \"x\""]);
        assert_eq!(escaped("'' a \"\""), ["", "a", ""]);
        assert_eq!(escaped("   "), [""; 0]);
    }

    #[test]
    fn escapes_are_those_of_c_in_and_out_of_quotes() {
        assert_eq!(escaped(r"a\nb '\t' \x41\101"), ["a\nb", "\t", "AA"]);
        assert_eq!(escaped(r"a\sb \\ \' \u00e9 \U0001F600"), ["a b", "\\", "'", "é", "😀"]);
        // Two bytes, one character.
        assert_eq!(escaped(r"\xc3\xa9"), ["é"]);
    }

    #[test]
    fn a_word_and_a_fault_have_a_place() {
        let places = |value| split_at_places(value, Backslash::Escapes);
        assert_eq!(places("a  'b c'd"), Ok(vec![(0, "a".to_owned()), (3, "b cd".to_owned())]));
        assert_eq!(places("a b'c"), Err((3, "a ' is not closed".to_owned())));
        assert_eq!(places(r"a b\q").map_err(|(at, _)| at), Err(3));
        assert_eq!(split("a\u{a0}b", Backslash::Escapes), Ok(vec!["a\u{a0}b".to_owned()]));
    }

    #[test]
    fn a_literal_backslash_is_left_alone() {
        assert_eq!(
            split(r"a\n 'b\' c", Backslash::Literal),
            Ok(vec![r"a\n".to_owned(), r"b\".to_owned(), "c".to_owned()])
        );
    }

    #[test]
    fn what_is_cut_short_or_means_nothing_is_refused() {
        assert_eq!(refused("'a b"), "a ' is not closed");
        assert_eq!(refused("a\\"), "it ends in a backslash");
        assert_eq!(refused(r"\d+"), "\\d means nothing; write \\\\ for a backslash");
        assert_eq!(refused(r"\x4"), "\\x4 is not a character");
        assert_eq!(refused(r"\xfg"), "\\xfg is not a character");
        assert_eq!(refused(r"\777"), "\\777 is not a character");
        assert_eq!(refused(r"\x00"), "\\x00 is not a character: a NUL cannot be part of a word");
        assert_eq!(refused(r"\ud800"), "\\ud800 is not a character");
        assert_eq!(refused(r"\xc3"), "its escapes do not make UTF-8");
        assert_eq!(refused(r"\x+1"), "\\x+1 is not a character");
    }

    proptest! {
        #[test]
        fn words_written_down_split_into_themselves(words in prop::collection::vec("[^\\x00]{0,12}", 0..6)) {
            let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(split(&line.join(" "), Backslash::Escapes), Ok(words));
        }

        #[test]
        fn any_text_is_split_or_refused(value in "(\\PC|[\\\\\"' xuU0-9\\n]){0,40}") {
            let _ = split(&value, Backslash::Escapes);
            let _ = split(&value, Backslash::Literal);
        }
    }
}
