//! The specifiers `[X-Fleet]` knows: `%n`, `%N`, `%p`, `%i`.
//!
//! As in fleet nothing else is special: any other `%` stands for itself, `%%` included. No unit name contains a `%`,
//! so what an expansion puts in is never expanded again.

use std::borrow::Cow;

use super::UnitName;

/// True when a value depends on the name of the unit it belongs to.
pub(super) fn has_specifier(value: &str) -> bool {
    next(value).is_some()
}

/// Puts the parts of a unit's name in for the specifiers of a value.
pub(super) fn expand_specifiers<'a>(value: &'a str, name: &UnitName) -> Cow<'a, str> {
    let mut rest = value;
    let mut expanded = String::new();
    while let Some((before, specifier, after)) = next(rest) {
        expanded.push_str(before);
        expanded.push_str(match specifier {
            Specifier::Name => name.as_str(),
            Specifier::Stem => name.name_stem(),
            Specifier::Prefix => name.name_prefix(),
            Specifier::Instance => name.instance_name().unwrap_or_default(),
        });
        rest = after;
    }
    if expanded.is_empty() && rest.len() == value.len() {
        return Cow::Borrowed(value);
    }
    expanded.push_str(rest);
    Cow::Owned(expanded)
}

enum Specifier {
    Name,
    Stem,
    Prefix,
    Instance,
}

/// The first specifier of a text, with what stands before and after it.
fn next(text: &str) -> Option<(&str, Specifier, &str)> {
    text.match_indices('%').find_map(|(at, _)| {
        let (before, from) = text.split_at_checked(at)?;
        let specifier = match from.as_bytes().get(1)? {
            b'n' => Specifier::Name,
            b'N' => Specifier::Stem,
            b'p' => Specifier::Prefix,
            b'i' => Specifier::Instance,
            _ => return None,
        };
        Some((before, specifier, from.get(2..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(value: &str, name: &str) -> String {
        expand_specifiers(value, &name.parse().unwrap()).into_owned()
    }

    #[test]
    fn the_four_specifiers_stand_for_parts_of_the_name() {
        assert_eq!(expanded("%n|%N|%p|%i", "web@1.service"), "web@1.service|web@1|web|1");
        assert_eq!(expanded("%n|%N|%p|%i", "web.service"), "web.service|web|web|");
    }

    #[test]
    fn any_other_percent_sign_stands_for_itself() {
        for value in ["", "100%", "%", "%%", "%H %m", "plain", "%I"] {
            assert_eq!(expanded(value, "web@1.service"), value);
            assert!(!has_specifier(value), "{value}");
        }
        assert_eq!(expanded("%%i", "web@1.service"), "%1");
    }

    #[test]
    fn an_empty_expansion_is_not_mistaken_for_no_specifier() {
        assert_eq!(expanded("%i", "web.service"), "");
        assert_eq!(expanded("%iab", "web.service"), "ab");
    }
}
