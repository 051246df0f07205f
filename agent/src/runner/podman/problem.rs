//! What the generator says of a file, in words for the user.
//!
//! Owns reading its lines: which are about this unit, which of them only warn, and the line of the file that a key stands in, which
//! the generator does not say.

use muster_common::text::clean_text;
use muster_common::unit::{UnitFile, UnitName};

/// Most lines that are passed on.
const LINES: usize = 5;

/// The lines of one run of the generator.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GeneratorWords {
    /// Why it made nothing.
    pub(super) problems: Vec<String>,
    /// Something that it made the best of, and that may not be meant so.
    pub(super) warnings: Vec<String>,
}

/// Reads what it wrote to its standard error.
pub(super) fn read_words(stderr: &str, unit: &UnitName, file: Option<&UnitFile>) -> GeneratorWords {
    let mut words = GeneratorWords::default();
    for line in stderr.lines() {
        // `quadlet-generator[320]: converting "a.container": unsupported key ...`
        let text = line.split_once("]: ").map_or(line, |(_, text)| text).trim();
        if text.is_empty() || text.starts_with("Loading source unit file") {
            continue;
        }
        if let Some(warning) = text.strip_prefix("Warning: ") {
            words.warnings.push(clean_text(warning).to_string());
            continue;
        }
        let named = format!("converting \"{unit}\": ");
        let problem = text.strip_prefix(named.as_str()).unwrap_or(text);
        let problem = problem.split(" in /").next().unwrap_or(problem);
        let at = file.and_then(|file| line_of(problem, file));
        words.problems.push(match at {
            Some(at) => format!("line {at}: {}", clean_text(problem)),
            None => clean_text(problem).to_string(),
        });
    }
    words.problems.truncate(LINES);
    words.warnings.truncate(LINES);
    words
}

/// The line of the key that a problem names: `unsupported key 'Bogus' in group 'Container'`.
fn line_of(problem: &str, file: &UnitFile) -> Option<usize> {
    let mut quoted = problem.split('\'').skip(1).step_by(2);
    let key = quoted.next()?;
    let section = quoted.next();
    let is_named = |of: &str| section.is_none_or(|section| section == of);
    let mut options = file.numbered_options();
    options
        .find(|(_, option)| option.name == key && is_named(&option.section))
        .map(|(line, _)| line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_line() {
        let unit: UnitName = "bad.container".parse().unwrap();
        let file: UnitFile = "[Unit]\nBogus=0\n\n[Container]\nImage=a\nBogus=1\n".parse().unwrap();
        let stderr = "quadlet-generator[9]: Loading source unit file /q/bad.container\n\
                      quadlet-generator[9]: Warning: bad.container specifies the image \"a\" which not a fully qualified image name.\n\
                      quadlet-generator[9]: converting \"bad.container\": unsupported key 'Bogus' in group 'Container' in /q/bad.container\n";
        let words = read_words(stderr, &unit, Some(&file));
        assert_eq!(words.problems, ["line 6: unsupported key 'Bogus' in group 'Container'"]);
        assert_eq!(words.warnings.len(), 1);
        assert_eq!(read_words("", &unit, None), GeneratorWords::default());
        assert_eq!(read_words("panic: \u{1b}[31m\n", &unit, None).problems.len(), 1);
    }
}
