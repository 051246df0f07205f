//! What the generator says of a file, in words for the user.
//!
//! Owns reading its lines: which are about this unit, which of them only warn, and the line of the file that a key stands in, which
//! the generator does not say.

use muster_common::text::clean_text;
use muster_common::unit::{UnitFile, UnitName};

/// Most lines that are passed on.
const LINES: usize = 5;

/// The way out of a key that it does not know.
const LATER_KEY: &str = "; a later Podman may have it, else take it out";

/// What stands before and behind the name of a file that a line is about.
const NAMING: [(&str, &str); 2] = [("converting \"", "\": "), ("error loading \"", "\", ")];

/// The lines of one run of the generator.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GeneratorWords {
    /// Why it made nothing of a file; true of the unit's own.
    pub(super) problems: Vec<(bool, String)>,
    /// Something that it made the best of, and that may not be meant so.
    pub(super) warnings: Vec<String>,
}

/// Reads what it wrote to its standard error about a unit, and about files beside it.
pub(super) fn read_words(
    stderr: &str,
    unit: &UnitName,
    read_file: &dyn Fn(&UnitName) -> Option<UnitFile>,
) -> GeneratorWords {
    let mut words = GeneratorWords::default();
    for line in stderr.lines() {
        // `quadlet-generator[320]: converting "a.container": unsupported key ...`; the number only where it begins a message.
        let text = line.split_once("]: ").map_or(line, |(_, text)| text).trim();
        if text.is_empty() || text.starts_with("Loading source unit file") {
            continue;
        }
        if let Some(warning) = text.strip_prefix("Warning: ") {
            let about = warning.split(' ').next().unwrap_or_default().parse::<UnitName>();
            if about.is_ok_and(|about| about.unit_type().is_quadlet() && about != *unit) {
                continue;
            }
            words.warnings.push(clean_text(warning).to_string());
            continue;
        }
        words.problems.push(read_problem(text, unit, read_file));
    }
    // What is about the unit itself stands before what is about others.
    words.problems.sort_by_key(|(is_own, _)| !is_own);
    words.problems.truncate(LINES);
    words.warnings.truncate(LINES);
    words
}

/// A problem in words for the user, and whether it is the unit's own.
fn read_problem(
    text: &str,
    unit: &UnitName,
    read_file: &dyn Fn(&UnitName) -> Option<UnitFile>,
) -> (bool, String) {
    let named = NAMING.iter().find_map(|(before, behind)| {
        let (name, problem) = text.strip_prefix(before)?.split_once(behind)?;
        let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
        Some((name.parse::<UnitName>().ok()?, problem))
    });
    let (about, problem) = named.unwrap_or_else(|| (unit.clone(), text));
    let problem = problem.split(" in /").next().unwrap_or(problem);
    let at = match read_file(&about) {
        Some(file) => line_of(problem, &file),
        None => None,
    };
    let more = if problem.starts_with("unsupported key ") { LATER_KEY } else { "" };
    let shown = match at {
        Some(at) => format!("line {at}: {}{more}", clean_text(problem)),
        None => format!("{}{more}", clean_text(problem)),
    };
    if about == *unit { (true, shown) } else { (false, format!("{about}: {shown}")) }
}

/// The line of the key that a problem names: `unsupported key 'Bogus' in group 'Container'`, or of the file that it misses:
/// `requested Quadlet source d.volume was not found`.
fn line_of(problem: &str, file: &UnitFile) -> Option<usize> {
    let missed = problem.split_once("Quadlet source ").and_then(|(_, rest)| rest.split(' ').next());
    if let Some(missed) = missed {
        let mut options = file.numbered_options();
        let naming = options.find(|(_, option)| option.value.contains(missed));
        return naming.map(|(line, _)| line);
    }
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
        let words = read_words(stderr, &unit, &|_| Some(file.clone()));
        let problem = "line 6: unsupported key 'Bogus' in group 'Container'; a later Podman may have it, else take it out";
        assert_eq!(words.problems, [(true, problem.to_owned())]);
        assert_eq!(words.warnings.len(), 1);
        assert_eq!(read_words("", &unit, &|_| None), GeneratorWords::default());
        assert_eq!(read_words("panic: \u{1b}[31m\n", &unit, &|_| None).problems.len(), 1);
    }

    #[test]
    fn words_about_other_files_name_those() {
        let unit: UnitName = "a.container".parse().unwrap();
        let file: UnitFile = "[Container]\nImage=a\nVolume=d.volume:/d\n".parse().unwrap();
        let stderr = "quadlet-generator[9]: Warning: b.container specifies the image \"b\"\n\
                      quadlet-generator[9]: converting \"d.volume\": unsupported key 'Bogus' in group 'Volume' in /q/d.volume\n\
                      converting \"a.container\": requested Quadlet source d.volume was not found\n\
                      quadlet-generator[9]: error loading \"/q/e.pod\", file contains line 1: x\n";
        let words = read_words(stderr, &unit, &|named| (*named == unit).then(|| file.clone()));
        let problems: Vec<&str> = words.problems.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            problems,
            [
                "line 3: requested Quadlet source d.volume was not found",
                "d.volume: unsupported key 'Bogus' in group 'Volume'; a later Podman may have it, else take it out",
                "e.pod: file contains line 1: x",
            ]
        );
        assert_eq!(words.warnings, [""; 0]);
    }
}
