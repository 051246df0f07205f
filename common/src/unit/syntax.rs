//! The lines of a unit file, by systemd.syntax(7) and by what systemd's reader does.
//!
//! Where fleet's reader differs it lost options (a comment that ends in a backslash swallowed the next line, a
//! comment inside a continuation ended it, a line that ends in two backslashes was continued); such files have no
//! fleet hash worth matching, and systemd's reading is the one that runs.

use std::borrow::Cow;

use super::blank::{BLANKS, InvisibleChar, is_blank, strip_blanks};

/// One `name=value`, its value raw but trimmed.
pub(super) struct Assignment<'a> {
    /// Line it begins on, from 1.
    pub(super) line: usize,
    pub(super) section: &'a str,
    pub(super) name: &'a str,
    pub(super) value: String,
}

/// The problem, and where it is.
pub(super) struct SyntaxFault {
    /// Line, from 1.
    pub(super) line: usize,
    pub(super) problem: String,
}

/// Reads every assignment of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Assignment<'_>>, SyntaxFault> {
    // systemd skips a byte order mark too. It would skip the first one before any line, which is refused here or warned of:
    // such a file was put together out of two.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .peekable();
    let mut assignments = Vec::new();
    let mut section = None;
    // The line before, if it was meant to go on and does not.
    let mut broken_off = None;
    while let Some((line, content)) = lines.next() {
        let fault = |problem: &str| SyntaxFault { line, problem: problem.to_owned() };
        if content.contains('\r') {
            return Err(fault(STRAY_RETURN));
        }
        if is_blank(content) || is_comment(content) {
            continue;
        }
        if let Some(header) = strip_blanks(content).strip_prefix('[') {
            section = Some(section_name(header).map_err(fault)?);
            continue;
        }
        let Some((name, first)) = content.split_once('=') else {
            return Err(match broken_off {
                Some(line) => SyntaxFault { line, problem: BROKEN_OFF.to_owned() },
                None => SyntaxFault { line, problem: no_assignment(content) },
            });
        };
        let Some(section) = section else {
            return Err(fault("it stands before the first [Section]"));
        };
        let name = strip_blanks(name);
        if name.is_empty() {
            return Err(fault("nothing stands before its ="));
        }
        let mut raw = first.to_owned();
        let mut continues = is_continued(first);
        broken_off = is_broken_off(first).then_some(line);
        while continues {
            // The last line of a file may end in a backslash; then there is nothing to join.
            let Some((line, next)) = lines.next() else { break };
            if next.contains('\r') {
                return Err(SyntaxFault { line, problem: STRAY_RETURN.to_owned() });
            }
            raw.push('\n');
            // A blank line ends the value. Its own white space is not part of it.
            if is_blank(next) {
                break;
            }
            raw.push_str(next);
            continues = is_comment(next) || self::is_continued(next);
            broken_off = is_broken_off(next).then_some(line);
        }
        assignments.push(Assignment { line, section, name, value: trim_value(&raw).into_owned() });
    }
    Ok(assignments)
}

/// The warning about a line whose backslash has white space behind it.
pub(crate) const BROKEN_OFF: &str =
    "blanks follow the \\ at its end, so it does not go on in the next line; remove the blanks";

/// The lines, from 1, that end in a backslash with white space behind it. To systemd the backslash is a part of the value.
pub(super) fn broken_off(text: &str) -> impl Iterator<Item = usize> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
    lines.filter(|(_, line)| is_broken_off(line)).map(|(index, _)| index + 1)
}

fn is_broken_off(line: &str) -> bool {
    let shown = line.trim_end_matches(BLANKS);
    shown.len() < line.len() && is_continued(shown) && !is_comment(line)
}

/// The problem of a line that is nothing a file may hold.
fn no_assignment(line: &str) -> String {
    const EXPECTED: &str = "expected [Section], Name=value or a comment";
    match InvisibleChar::first_in(line) {
        Some((_, unseen)) => {
            format!("{EXPECTED}; there is {unseen} in it, which is no white space to systemd")
        }
        None => EXPECTED.to_owned(),
    }
}

const STRAY_RETURN: &str =
    "it has a carriage return inside, which systemd takes for the end of a line";

/// True when nothing or only white space precedes a `#` or `;`.
fn is_comment(line: &str) -> bool {
    line.trim_start_matches(BLANKS).starts_with(['#', ';'])
}

/// True when a line ends in a backslash that is not itself escaped.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The name in a header, of which the opening bracket is gone already.
fn section_name(header: &str) -> Result<&str, &'static str> {
    match header.split_once(']') {
        None => Err("the section header has no ]"),
        Some((_, rest)) if !is_blank(rest) => {
            Err("something stands after the ] of the section header")
        }
        Some((name, _)) if is_blank(name) => Err("the section has no name"),
        Some((name, _)) => Ok(name),
    }
}

/// A raw value without the white space around it, as systemd has it. A newline at its very end is a continuation that joined
/// nothing, and is kept, as fleet keeps it.
pub(super) fn trim_value(raw: &str) -> Cow<'_, str> {
    let value = strip_blanks(raw);
    if raw.ends_with('\n') && is_continued(value) {
        Cow::Owned(format!("{value}\n"))
    } else {
        Cow::Borrowed(value)
    }
}

/// A value without what Go takes for white space, all of Unicode's.
pub(super) fn stripped_by_fleet(value: &str) -> String {
    let shown = value.trim();
    let behind = value.trim_start().strip_prefix(shown).unwrap_or_default();
    if behind.contains('\n') && is_continued(shown) {
        format!("{shown}\n")
    } else {
        shown.to_owned()
    }
}

/// A raw value with its continuation lines joined.
pub(super) fn join_lines(raw: &str) -> Cow<'_, str> {
    if !is_continued(raw) && !raw.contains('\n') {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(joined_by_line(raw).0)
}

/// A raw value with its continuation lines joined, and for each line where it begins in that, the first being line 0.
pub(super) fn joined_by_line(raw: &str) -> (String, Vec<(usize, usize)>) {
    let mut value = String::with_capacity(raw.len());
    let mut begins = Vec::new();
    for (index, line) in raw.split('\n').enumerate() {
        if index > 0 && is_comment(line) {
            continue;
        }
        begins.push((value.len(), index));
        match line.strip_suffix('\\') {
            Some(rest) if is_continued(line) => {
                value.push_str(rest);
                value.push(' ');
            }
            _ => value.push_str(line),
        }
    }
    let before = value.len() - value.trim_start_matches(BLANKS).len();
    for (begin, _) in &mut begins {
        *begin = begin.saturating_sub(before);
    }
    (strip_blanks(&value).to_owned(), begins)
}

/// True when an option that did not come from a text can be written into one and read back as itself.
pub(super) fn check_option(section: &str, name: &str, value: &str) -> Result<(), &'static str> {
    let breaks = |text: &str| text.contains(['\n', '\r', '\0']);
    if is_blank(section) {
        return Err("it has no section");
    }
    if breaks(section) || section.contains(['[', ']']) {
        return Err("its section has a bracket or a line break in its name");
    }
    if is_blank(name) {
        return Err("it has no name");
    }
    if breaks(strip_blanks(name))
        || name.contains('=')
        || strip_blanks(name).starts_with(['[', '#', ';'])
    {
        return Err("its name cannot stand before a =");
    }
    if value.contains(['\r', '\0']) {
        return Err("its value has a carriage return or a NUL byte");
    }
    let value = trim_value(value);
    let mut lines = value.split('\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let continues = is_continued(line) || index > 0 && is_comment(line);
        match lines.peek() {
            Some(_) if !continues => {
                return Err("its value has a line break that no backslash precedes");
            }
            Some((_, next)) if is_blank(next) && !next.is_empty() => {
                return Err("its value has a blank line");
            }
            None if continues => {
                return Err(
                    "its value ends in a continuation, which would join the next option to it",
                );
            }
            _ => {}
        }
    }
    Ok(())
}
