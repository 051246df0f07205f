//! Fields with commas between, as Podman reads them: one record of comma-separated values (RFC 4180).
//!
//! Owns that notation alone. Podman's command line has it for lists, and `Mount=` for its options, so that a field may hold
//! a comma if quotes stand around all of it.

/// The fields of a text; none of an empty one.
pub(super) fn split_fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    while !rest.is_empty() || !fields.is_empty() {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => match rest.split_once(',') {
                Some((field, after)) => (field.to_owned(), Some(after)),
                None => (rest.to_owned(), None),
            },
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    Ok(fields)
}

/// A field whose opening quote is gone already, and what stands behind its comma.
fn quoted_field(text: &str) -> Result<(String, Option<&str>), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"').ok_or("a \" is not closed")?;
        field.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            field.push('"');
            rest = after;
        } else if after.is_empty() {
            return Ok((field, None));
        } else if let Some(after) = after.strip_prefix(',') {
            return Ok((field, Some(after)));
        } else {
            return Err(format!("{after:?} stands behind a closing \", where a comma belongs"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        split_fields(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn commas_separate_and_quotes_hold_together() {
        assert_eq!(read(""), [""; 0]);
        assert_eq!(read("a"), ["a"]);
        assert_eq!(read("a,b,,c"), ["a", "b", "", "c"]);
        assert_eq!(read("a,"), ["a", ""]);
        assert_eq!(read("type=bind,\"src=/a,b\",dst=/c"), ["type=bind", "src=/a,b", "dst=/c"]);
        assert_eq!(read("\"say \"\"x\"\"\""), ["say \"x\""]);
        assert!(split_fields("\"a").is_err() && split_fields("\"a\"b").is_err());
    }
}
