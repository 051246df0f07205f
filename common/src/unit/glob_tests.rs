//! Patterns by the documented rules of Go's `path.Match`.

use proptest::prelude::*;

use super::*;

fn glob(pattern: &str) -> Glob {
    pattern.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn patterns_match_what_go_says_they_match() {
    let cases = [
        ("", "", true),
        ("", "a", false),
        ("web", "web", true),
        ("web", "web1", false),
        ("web", "we", false),
        ("*", "", true),
        ("*", "web@1.service", true),
        ("*", "a/b", false),
        ("a*", "abc", true),
        ("a*", "b", false),
        ("*c", "abc", true),
        ("a*/b", "a/c/b", false),
        ("a*/b", "abc/b", true),
        ("a*b*c*", "abxbbxdbxebxczzx", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("**", "ab", true),
        ("**a", "bba", true),
        ("web@*", "web@1.service", true),
        ("web@*", "web-announce@1.service", false),
        ("web@?.service", "web@1.service", true),
        ("web@?.service", "web@12.service", false),
        ("a?b", "a/b", false),
        ("a?b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("[a-c]", "b", true),
        ("[a-c]", "d", false),
        ("[^a-c]", "d", true),
        ("[^a-c]", "b", false),
        ("[^a]", "☺", true),
        ("a[^a]b", "a☺b", true),
        ("a[^a][^a][^a]b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("[abc-e]x", "dx", true),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-]", "x", true),
        ("[x\\-]", "z", false),
        ("[^x\\-]", "a", true),
        ("[^x\\-]", "x", false),
        ("[a^]", "^", true),
        ("[*]", "*", true),
        ("[*]", "a", false),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("\\\\", "\\", true),
        ("ab]", "ab]", true),
        ("*x", "xxx", true),
        ("*ab", "aab", true),
        ("{a,b}", "a", false),
        ("{a,b}", "{a,b}", true),
        ("[b-a]", "a", false),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(glob(pattern).matches_name(name), expected, "{pattern:?} on {name:?}");
    }
}

#[test]
fn malformed_patterns_are_refused_where_they_go_wrong() {
    let cases = [
        ("[", "\"[\" is not a pattern: a class has no ] at character 2"),
        ("a[", "\"a[\" is not a pattern: a class has no ] at character 3"),
        ("[^", "\"[^\" is not a pattern: a class has no ] at character 3"),
        ("[a", "\"[a\" is not a pattern: a class has no ] at character 3"),
        (
            "[]a]",
            "\"[]a]\" is not a pattern: a class wants a character, or a \\ before this one at character 2",
        ),
        (
            "[-]",
            "\"[-]\" is not a pattern: a class wants a character, or a \\ before this one at character 2",
        ),
        (
            "[x-]",
            "\"[x-]\" is not a pattern: a class wants a character, or a \\ before this one at character 4",
        ),
        (
            "[a-b-c]",
            "\"[a-b-c]\" is not a pattern: a class wants a character, or a \\ before this one at character 5",
        ),
        ("é\\", "\"é\\\\\" is not a pattern: nothing follows the \\ at character 3"),
        ("[\\", "\"[\\\\\" is not a pattern: nothing follows the \\ at character 3"),
    ];
    for (pattern, expected) in cases {
        assert_eq!(pattern.parse::<Glob>().unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_plain_name_is_told_from_a_pattern() {
    assert_eq!(glob("web.service").literal_name(), Some("web.service"));
    assert_eq!(glob("web@*").literal_name(), None);
    assert_eq!(glob("web@*").literal_prefix(), "web@");
    assert_eq!(glob("a\\*").literal_prefix(), "a");
    assert_eq!(glob("[a]b").literal_prefix(), "");
    assert_eq!(glob("web").literal_prefix(), "web");
}

#[test]
fn many_stars_do_not_blow_up() {
    // Backtracking over every star would take longer than anyone waits.
    let pattern = glob(&format!("{}b", "a*".repeat(1_000)));
    assert!(!pattern.matches_name(&"a".repeat(5_000)));
}

/// The definition, followed letter by letter: slow, but plainly right.
fn by_definition(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], name) => name.is_empty(),
        (['*', rest @ ..], _) => {
            by_definition(rest, name)
                || matches!(name, [c, shorter @ ..] if *c != '/' && by_definition(pattern, shorter))
        }
        (['?', rest @ ..], [c, shorter @ ..]) => *c != '/' && by_definition(rest, shorter),
        ([p, rest @ ..], [c, shorter @ ..]) => p == c && by_definition(rest, shorter),
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_literal_matches_itself_alone(name in "[a-z0-9@.:_-]{0,12}", other in "[a-z0-9@.:_-]{0,12}") {
        prop_assert!(glob(&name).matches_name(&name));
        prop_assert_eq!(glob(&name).matches_name(&other), name == other);
    }

    #[test]
    fn any_text_escaped_matches_itself_alone(name in "\\PC{0,8}", other in "\\PC{0,8}") {
        let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        prop_assert!(glob(&escaped).matches_name(&name));
        prop_assert_eq!(glob(&escaped).matches_name(&other), name == other);
    }

    #[test]
    fn stars_and_questions_follow_the_definition(pattern in "[ab/*?]{0,10}", name in "[ab/]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(
            glob(&pattern).matches_name(&name),
            by_definition(&chars(&pattern), &chars(&name))
        );
    }

    #[test]
    fn any_pattern_is_compiled_or_refused(pattern in "\\PC{0,12}", name in "\\PC{0,12}") {
        match pattern.parse::<Glob>() {
            Ok(glob) => {
                prop_assert_eq!(glob.as_str(), &pattern);
                if glob.matches_name(&name) {
                    prop_assert!(name.starts_with(glob.literal_prefix()));
                }
            }
            Err(error) => prop_assert!((1..=pattern.chars().count() + 1).contains(&error.at)),
        }
    }
}
