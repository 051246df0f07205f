//! That no refusal and no warning sends its reader to an option that is refused too.

use super::keys::{Key, Section, Support};

/// Options that a text sends its reader to: what stands before a `=`, with the section behind it where that is named.
fn hints(text: &str) -> Vec<(String, Option<String>)> {
    let mut hints = Vec::new();
    for (at, _) in text.match_indices('=') {
        let (before, behind) = text.split_at(at);
        let before = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
        let is_option = before.starts_with(|c: char| c.is_ascii_uppercase())
            && before.contains(|c: char| c.is_ascii_lowercase());
        let behind = behind.strip_prefix("= in [").and_then(|rest| rest.split_once(']'));
        if is_option || ["DNS", "IP"].contains(&before) {
            hints.push((before.to_owned(), behind.map(|(section, _)| section.to_owned())));
        }
    }
    hints
}

/// True when an option can be written, in this section or in any.
fn is_taken(option: &str, section: Option<&str>) -> bool {
    let fleets = ["MachineMetadata", "MachineID", "MachineOf", "Conflicts", "DeleteOnDestroy"];
    if section == Some("X-Fleet") {
        return fleets.contains(&option);
    }
    Section::ALL.into_iter().filter(|s| section.is_none_or(|wanted| wanted == s.as_str())).any(
        |s| {
            s.own_keys()
                .iter()
                .any(|key| key.name == option && !matches!(key.support, Support::Refused(_)))
        },
    )
}

/// Nobody is sent from one refusal to another: each option that a table or a message names can be written.
#[test]
fn no_hint_leads_nowhere() {
    let mut checked = 0;
    let mut check = |place: &str, text: &str| {
        for (option, section) in hints(text) {
            assert!(is_taken(&option, section.as_deref()), "{place}: {option}= in {text:?}");
            checked += 1;
        }
    };
    for section in Section::ALL {
        for Key { name, support } in section.all_keys() {
            match support {
                Support::Refused(why)
                | Support::Only(_, why)
                | Support::Noted(why)
                | Support::Emulated(why) => check(&format!("[{section}] {name}"), why),
                Support::Honoured => {}
            }
        }
    }
    // Messages that the readers put together: every text between quotes in their code, up to its tests.
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/container");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_code = path.extension().is_some_and(|end| end == "rs")
            && !path.to_string_lossy().ends_with("tests.rs");
        if !is_code {
            continue;
        }
        let code = std::fs::read_to_string(&path).unwrap();
        let code = code.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for text in line.split('"').skip(1).step_by(2) {
                check(&path.display().to_string(), text);
            }
        }
    }
    assert!(checked > 30, "only {checked} hints: are the messages looked at?");
}
