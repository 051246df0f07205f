//! The lines of a unit file, by systemd.syntax(7) and by what systemd's reader does.
//!
//! Where fleet's reader differs it lost options (a comment that ends in a backslash swallowed the next line, a
//! comment inside a continuation ended it, a line that ends in two backslashes was continued); such files have no
//! fleet hash worth matching, and systemd's reading is the one that runs.

use std::borrow::Cow;

/// One `name=value`, its value raw but trimmed.
pub(super) struct Assignment<'a> {
    /// Line it begins on, from 1.
    pub(super) line: usize,
    pub(super) section: &'a str,
    pub(super) name: &'a str,
    pub(super) value: String,
}

/// What is wrong, and where.
pub(super) struct Fault {
    /// Line, from 1.
    pub(super) line: usize,
    pub(super) problem: &'static str,
}

/// Reads every assignment of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Assignment<'_>>, Fault> {
    // systemd skips a byte order mark too.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .peekable();
    let mut assignments = Vec::new();
    let mut section = None;
    while let Some((line, content)) = lines.next() {
        let fault = |problem| Fault { line, problem };
        if content.contains('\r') {
            return Err(fault(STRAY_RETURN));
        }
        if content.trim().is_empty() || is_comment(content) {
            continue;
        }
        if let Some(header) = content.trim().strip_prefix('[') {
            section = Some(section_name(header).map_err(fault)?);
            continue;
        }
        let Some((name, first)) = content.split_once('=') else {
            return Err(fault("expected [Section], Name=value or a comment"));
        };
        let Some(section) = section else {
            return Err(fault("it stands before the first [Section]"));
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(fault("nothing stands before its ="));
        }
        let mut raw = first.to_owned();
        let mut continues = continues(first);
        while continues {
            // The last line of a file may end in a backslash; then there is nothing to join.
            let Some((line, next)) = lines.next() else { break };
            if next.contains('\r') {
                return Err(Fault { line, problem: STRAY_RETURN });
            }
            raw.push('\n');
            // A blank line ends the value. Its own white space is not part of it.
            if next.trim().is_empty() {
                break;
            }
            raw.push_str(next);
            continues = is_comment(next) || self::continues(next);
        }
        assignments.push(Assignment { line, section, name, value: trimmed(&raw).into_owned() });
    }
    Ok(assignments)
}

const STRAY_RETURN: &str =
    "it has a carriage return inside, which systemd takes for the end of a line";

/// Whether nothing or only white space precedes a `#` or `;`.
fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

/// Whether a line ends in a backslash that is not itself escaped.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The name in a header, of which the opening bracket is gone already.
fn section_name(header: &str) -> Result<&str, &'static str> {
    match header.split_once(']') {
        None => Err("the section header has no ]"),
        Some((_, rest)) if !rest.trim().is_empty() => {
            Err("something stands after the ] of the section header")
        }
        Some((name, _)) if name.trim().is_empty() => Err("the section has no name"),
        Some((name, _)) => Ok(name),
    }
}

/// A raw value without the white space around it. A newline at its very end is a continuation that joined nothing,
/// and is kept, as fleet keeps it.
pub(super) fn trimmed(raw: &str) -> Cow<'_, str> {
    let value = raw.trim();
    if raw.ends_with('\n') && continues(value) {
        Cow::Owned(format!("{value}\n"))
    } else {
        Cow::Borrowed(value)
    }
}

/// A raw value with its continuation lines joined.
pub(super) fn joined(raw: &str) -> Cow<'_, str> {
    if !continues(raw) && !raw.contains('\n') {
        return Cow::Borrowed(raw);
    }
    let mut value = String::with_capacity(raw.len());
    for (index, line) in raw.split('\n').enumerate() {
        if index > 0 && is_comment(line) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(rest) if continues(line) => {
                value.push_str(rest);
                value.push(' ');
            }
            _ => value.push_str(line),
        }
    }
    Cow::Owned(value.trim().to_owned())
}

/// Whether an option that did not come from a text can be written into one and read back as itself.
pub(super) fn check_option(section: &str, name: &str, value: &str) -> Result<(), &'static str> {
    let breaks = |text: &str| text.contains(['\n', '\r', '\0']);
    if section.trim().is_empty() {
        return Err("it has no section");
    }
    if breaks(section) || section.contains(['[', ']']) {
        return Err("its section has a bracket or a line break in its name");
    }
    if name.trim().is_empty() {
        return Err("it has no name");
    }
    if breaks(name.trim()) || name.contains('=') || name.trim().starts_with(['[', '#', ';']) {
        return Err("its name cannot stand before a =");
    }
    if value.contains(['\r', '\0']) {
        return Err("its value has a carriage return or a NUL byte");
    }
    let value = trimmed(value);
    let mut lines = value.split('\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let continues = continues(line) || index > 0 && is_comment(line);
        match lines.peek() {
            Some(_) if !continues => {
                return Err("its value has a line break that no backslash precedes");
            }
            Some((_, next)) if next.trim().is_empty() && !next.is_empty() => {
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
