//! How unit files are read and written out again.

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> UnitFile {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn problem(bytes: &[u8]) -> String {
    UnitFile::parse(bytes).expect_err("it parses").to_string()
}

fn triples(file: &UnitFile) -> Vec<(&str, &str, &str)> {
    file.options().iter().map(|o| (&*o.section, &*o.name, &*o.value)).collect()
}

fn option(section: &str, name: &str, value: &str) -> UnitOption {
    UnitOption { section: section.into(), name: name.into(), value: value.into() }
}

#[test]
fn order_repeats_and_empty_values_are_kept_comments_are_not() {
    let text = "# first\n[Unit]\n;second\n  After = a.service b.service  \nAfter=\n\n[X-Mine]\nKey=v=w\n\
                [Unit]\nAfter=c.service\n[Empty]\n";
    let file = parsed(text);
    assert_eq!(
        triples(&file),
        [
            ("Unit", "After", "a.service b.service"),
            ("Unit", "After", ""),
            ("X-Mine", "Key", "v=w"),
            ("Unit", "After", "c.service"),
        ]
    );
    assert_eq!(file.text(), text);
    assert_eq!(file.numbered_options().map(|(line, _)| line).collect::<Vec<_>>(), [4, 5, 8, 10]);
    assert_eq!(
        file.canonical_text(),
        "[Unit]\nAfter=a.service b.service\nAfter=\nAfter=c.service\n\n[X-Mine]\nKey=v=w\n"
    );
}

#[test]
fn the_hash_is_fleets() {
    // Hash that fleet 1.0 shows for this very file.
    let file = parsed("[Service]\nExecStart=/bin/sleep 100\n");
    assert_eq!(file.fleet_hash(), "1c6fb6f3684bafb0c173d8b8b957ceff031180c1");
    // Comments, blank lines and spacing do not count.
    let same = parsed("# x\n\n[Service]\n\n ExecStart = /bin/sleep 100");
    assert_eq!(same.fleet_hash(), file.fleet_hash());
    assert_ne!(same.hash(), file.hash());
}

#[test]
fn continuation_lines_keep_their_form_and_join_as_systemd_joins_them() {
    let text =
        "[Service]\nExecStart=echo \\\n  \"pi\\\n  ng\"\nExecStop=\\\necho \"po\\\nng\"\nUser=x\n";
    let file = parsed(text);
    assert_eq!(
        triples(&file),
        [
            ("Service", "ExecStart", "echo \\\n  \"pi\\\n  ng\""),
            ("Service", "ExecStop", "\\\necho \"po\\\nng\""),
            ("Service", "User", "x"),
        ]
    );
    assert_eq!(file.canonical_text(), text);
    let joined: Vec<_> = file.options().iter().map(UnitOption::joined_value).collect();
    assert_eq!(joined, ["echo    \"pi   ng\"", "echo \"po ng\"", "x"]);
    assert_eq!(file.numbered_options().map(|(line, _)| line).collect::<Vec<_>>(), [2, 5, 8]);
}

#[test]
fn comments_inside_a_continuation_are_skipped() {
    let file = parsed("[Service]\nExecStart=a \\\n# b \\\n  ; c\n  d\nUser=x\n");
    assert_eq!(file.options().len(), 2);
    assert_eq!(file.options()[0].joined_value(), "a    d");
    assert_eq!(parsed(&file.canonical_text()).options(), file.options());
}

#[test]
fn a_comment_never_continues() {
    let file = parsed("[Service]\n# a \\\nUser=x\n");
    assert_eq!(triples(&file), [("Service", "User", "x")]);
}

#[test]
fn an_escaped_backslash_does_not_continue() {
    let file = parsed("[Service]\nExecStart=a\\\\\nUser=x\n");
    assert_eq!(triples(&file), [("Service", "ExecStart", "a\\\\"), ("Service", "User", "x")]);
}

#[test]
fn a_blank_line_or_the_end_ends_a_continuation() {
    let file = parsed("[Service]\nExecStart=a \\\n\nUser=x \\");
    assert_eq!(triples(&file), [("Service", "ExecStart", "a \\\n"), ("Service", "User", "x \\")]);
    let joined: Vec<_> = file.options().iter().map(UnitOption::joined_value).collect();
    assert_eq!(joined, ["a", "x"]);
    assert_eq!(parsed("[A]\nb=c \\\n").canonical_text(), "[A]\nb=c \\\n\n");
}

#[test]
fn lines_may_end_as_on_windows_and_begin_with_a_byte_order_mark() {
    let file = parsed("\u{feff}[Service]\r\nExecStart=a \\\r\n b\r\n");
    assert_eq!(triples(&file), [("Service", "ExecStart", "a \\\n b")]);
    assert_eq!(file.numbered_options().next().map(|(line, _)| line), Some(2));
}

#[test]
fn white_space_is_systemds_and_the_hash_is_fleets_all_the_same() {
    let file = parsed("[Service]\n\u{a0}User = \u{2003}x\u{a0} \n\u{c}Group=y\n");
    assert_eq!(
        triples(&file),
        [("Service", "\u{a0}User", "\u{2003}x\u{a0}"), ("Service", "\u{c}Group", "y")]
    );
    assert_eq!(parsed(&file.canonical_text()).options(), file.options());
    assert_eq!(UnitFile::from_options(file.options().to_vec()).unwrap().options(), file.options());
    // fleet was written in Go, whose white space is Unicode's.
    let fleets = parsed("[Service]\nUser=x\nGroup=y\n");
    assert_eq!(file.fleet_hash(), fleets.fleet_hash());
    let ends = |text: &str| parsed(text).fleet_hash();
    assert_eq!(ends("[A]\nb=c \\\n\u{a0}\n"), ends("[A]\nb=c \\\n\n"));
    // What stands inside is nobody's to strip.
    assert_ne!(ends("[A]\nb=c\u{a0}d\n"), ends("[A]\nb=c d\n"));
}

#[test]
fn a_file_may_have_no_options() {
    for text in ["", " \n\n", "# only\n[Unit]\n", "[Volume]\n"] {
        let file = parsed(text);
        assert_eq!((file.text(), file.options()), (text, [].as_slice()));
    }
}

#[test]
fn what_is_no_unit_file_is_refused_with_its_line() {
    let huge = vec![b'#'; MAX_FILE_BYTES + 1];
    let cases: [(&[u8], &str); 14] = [
        (&huge, "it has 262145 bytes, more than the 262144 a unit file may have"),
        (b"[Unit]\n\x7fELF\0", "line 2: it contains a NUL byte: a binary file is no unit file"),
        (b"[Unit]\nA=b\nC=\xff\n", "line 3: it is not UTF-8"),
        (b"A=b\n", "line 1: it stands before the first [Section]"),
        (b"[Unit]\n\nnonsense\n", "line 3: expected [Section], Name=value or a comment"),
        (
            "[Unit]\n\u{a0}[Service]\n".as_bytes(),
            "line 2: expected [Section], Name=value or a comment; there is a no-break space (U+00A0) in it, which is no white space to systemd",
        ),
        (
            "[Unit]\n\u{a0}\n".as_bytes(),
            "line 2: expected [Section], Name=value or a comment; there is a no-break space (U+00A0) in it, which is no white space to systemd",
        ),
        (
            b"[Service]\nExecStart=/bin/echo \\ \t\n\n# why\n  one two\n",
            "line 2: blanks follow the \\ at its end, so it does not go on in the next line; remove the blanks",
        ),
        (
            b"[Service]\nExecStart=/a \\\n# comment\n  b \\ \n  c\n",
            "line 4: blanks follow the \\ at its end, so it does not go on in the next line; remove the blanks",
        ),
        (b"[Unit]\n=x\n", "line 2: nothing stands before its ="),
        (b"[Unit\nA=b\n", "line 1: the section header has no ]"),
        (b"[]\nA=b\n", "line 1: the section has no name"),
        (b"[Unit] x\nA=b\n", "line 1: something stands after the ] of the section header"),
        (
            b"[Unit]\nA=b\rExecStart=c\n",
            "line 2: it has a carriage return inside, which systemd takes for the end of a line",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(problem(bytes), expected);
    }
}

#[test]
fn a_file_as_long_as_may_be_is_taken_even_on_one_line() {
    let mut text = "[Service]\nEnvironment=".to_owned();
    text.push_str(&"x".repeat(MAX_FILE_BYTES - text.len()));
    assert_eq!(parsed(&text).text().len(), MAX_FILE_BYTES);
}

#[test]
fn description_and_install() {
    let file =
        parsed("[Unit]\nDescription=a \\\n b\nDescription=c\n[Install]\nWantedBy=x.target\n");
    assert_eq!(file.description(), "a   b");
    assert!(file.has_install());
    let bare = parsed("[Service]\nDescription=not this\n");
    assert_eq!(bare.description(), "");
    assert!(!bare.has_install());
}

#[test]
fn options_make_a_file() {
    let file = UnitFile::from_options(vec![
        option("Unit", "Description", "x"),
        option("Service", "ExecStart", " a \\\n  b "),
        option("Unit", "After", ""),
    ])
    .unwrap();
    assert_eq!(file.text(), "[Unit]\nDescription=x\nAfter=\n\n[Service]\nExecStart=a \\\n  b\n");
    assert_eq!(file.text(), file.canonical_text());
}

#[test]
fn no_option_can_smuggle_in_another() {
    let refused = [
        vec![],
        vec![option("", "A", "b")],
        vec![option("Unit]\n[Service", "A", "b")],
        vec![option("Un[it", "A", "b")],
        vec![option("Unit", "", "b")],
        vec![option("Unit", "A=b", "c")],
        vec![option("Unit", "A\nB", "c")],
        vec![option("Unit", "#A", "c")],
        vec![option("Unit", "[A", "c]")],
        vec![option("Unit", "A", "b\nC=d")],
        vec![option("Unit", "A", "b\n[Service]")],
        vec![option("Unit", "A", "b\rC=d")],
        vec![option("Unit", "A", "b\0")],
        vec![option("Unit", "A", "b \\"), option("Unit", "C", "d")],
        vec![option("Unit", "A", "b \\\n \nC=d")],
        vec![option("Unit", "A", "b \\\n\nC=d")],
        vec![option("Unit", "A", "b \\\n# c"), option("Unit", "C", "d")],
        vec![option("\u{feff}", "A", "b")],
        vec![option("Unit", "A", &"x".repeat(MAX_FILE_BYTES))],
    ];
    for options in refused {
        let answer = UnitFile::from_options(options.clone());
        // A byte order mark is only special at the very start of a text, where a bracket stands.
        if options.first().is_some_and(|o| o.section == "\u{feff}") {
            assert_eq!(answer.unwrap().options(), options);
        } else {
            assert!(answer.is_err(), "{options:?} was taken: {answer:?}");
        }
    }
    assert_eq!(
        UnitFile::from_options(vec![option("Unit", "A", "b\nC=d")]).unwrap_err().to_string(),
        "option 1 ([Unit] A): its value has a line break that no backslash precedes"
    );
}

#[test]
fn many_sections_cost_no_more_than_many_options() {
    let sections: Vec<_> = (0..20_000).map(|i| format!("[{i}]\na=b\n")).collect();
    let text = sections.concat();
    let file = parsed(&text);
    assert_eq!(parsed(&file.canonical_text()).options(), file.options());
}

/// Texts made of what unit files are made of, valid or not.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[Unit]\n".to_owned()),
        Just("[X-Fleet]\r\n".to_owned()),
        Just("Name=".to_owned()),
        Just("\\\n".to_owned()),
        Just("\\".to_owned()),
        Just("\n".to_owned()),
        Just(" \t".to_owned()),
        Just("# comment".to_owned()),
        Just(";".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        "[a-z=é\u{a0}\u{feff}]{0,4}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| format!("[S]\nA={}", pieces.concat()))
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(file) = UnitFile::parse(&bytes) {
            prop_assert_eq!(file.text().as_bytes(), &bytes);
        }
    }

    #[test]
    fn the_text_stays_and_the_canonical_form_says_the_same(text in texts()) {
        let Ok(file) = text.parse::<UnitFile>() else { return Ok(()) };
        prop_assert_eq!(file.text(), &text);
        // A backslash that ends a value for another reason than a continuation (the text ends there, or white space
        // follows it) is one in the canonical form, as in fleet.
        let open = |o: &UnitOption| syntax::check_option(&o.section, &o.name, &o.value).is_err();
        prop_assume!(!file.options().iter().any(open));
        let again: UnitFile = file.canonical_text().parse().unwrap();
        let grouped: Vec<_> = group_options(file.options()).into_iter().flat_map(|(_, o)| o).collect();
        prop_assert_eq!(again.options().iter().collect::<Vec<_>>(), grouped);
        prop_assert_eq!(again.canonical_text(), file.canonical_text());
    }

    #[test]
    fn options_that_are_taken_are_what_the_file_says(
        options in prop::collection::vec(
            ("[A-Z\\[\\]\n ]{0,3}", "[A-Z=#\n ]{0,3}", "[a-z\\\\\n\r#;= ]{0,8}"), 0..5)
    ) {
        let options: Vec<_> = options.iter().map(|(s, n, v)| option(s, n, v)).collect();
        let Ok(file) = UnitFile::from_options(options.clone()) else { return Ok(()) };
        let mut taken: Vec<_> = file.options().to_vec();
        let mut given: Vec<_> = options
            .iter()
            .map(|o| option(&o.section, o.name.trim(), &syntax::trim_value(&o.value)))
            .collect();
        taken.sort();
        given.sort();
        prop_assert_eq!(taken, given);
    }
}
