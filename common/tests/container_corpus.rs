//! No file makes the reader of container units stumble: those of `corpus/`, which once did or might, and what becomes of
//! them when bytes, words and lines are lost, doubled and mixed up.
//!
//! Whatever is said of a file names a line that it has. A file that is a find belongs into `corpus/`.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use std::fs;
use std::path::Path;

use muster_common::container::{HostFacts, check, read};
use muster_common::unit::{UnitFile, UnitName, check_bytes};
use proptest::prelude::*;
use proptest::sample::Index;

/// Every kind of unit that has a reader here.
const NAMES: [&str; 6] =
    ["a.container", "a@b.container", "a@.container", "a.volume", "a@1.network", "a.network"];

/// What turns up in such files, and what is likely to be misread.
const PIECES: [&str; 36] = [
    "=",
    "\n",
    "\\\n",
    "\r\n",
    "\"",
    "'",
    "\\",
    "\\x",
    "\\u12",
    "\\777",
    "%",
    "%%",
    "%i",
    "%z",
    "$",
    "$$",
    "${",
    "${A}",
    "$A",
    ":",
    "::",
    ",",
    ";",
    "#",
    "[",
    "]",
    "[Container]\n",
    "[Service]\n",
    "Image=",
    "Environment=",
    "=-1",
    "99999999999999999999",
    "infinity",
    "\t",
    "\u{a0}",
    "\u{2028}",
];

fn corpus() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Reads a file in every way there is, and holds what is said of it to what it has.
fn read_every_way(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let file = match UnitFile::parse(bytes) {
        Ok(file) => file,
        Err(error) => {
            assert!(error.line <= lines, "{error}");
            return;
        }
    };
    for name in NAMES {
        let unit: UnitName = name.parse().unwrap();
        let first = read(&unit, &file, &HostFacts::stand_in());
        assert_eq!(
            first,
            read(&unit, &file, &HostFacts::stand_in()),
            "it says one thing and then another"
        );
        match &first {
            Ok((_, warnings)) => {
                assert!(warnings.iter().all(|warning| (1..=lines).contains(&warning.line)));
                // Whoever can run it has been let in.
                assert!(check(&unit, &file).is_ok(), "{name}");
            }
            Err(error) => {
                assert!(error.line <= lines, "line {} of {lines}: {error}", error.line);
                assert!(!error.to_string().contains('\n'), "{error:?}");
            }
        }
        if let Err(error) = check_bytes(&unit, bytes) {
            assert!(error.line <= lines, "line {} of {lines}: {error}", error.line);
        }
        // Written out from its options it says the same.
        let Ok(again) = UnitFile::from_options(file.options().to_vec()) else { continue };
        let second = read(&unit, &again, &HostFacts::stand_in());
        assert_eq!(first.ok().map(|(quadlet, _)| quadlet), second.ok().map(|(quadlet, _)| quadlet));
    }
}

#[test]
fn every_file_of_the_corpus_is_read_or_refused() {
    for bytes in corpus() {
        read_every_way(&bytes);
        for end in 0..bytes.len() {
            let (cut, _) = bytes.split_at(end);
            let _ = UnitFile::parse(cut).map(|file| check(&"a.container".parse().unwrap(), &file));
        }
    }
}

/// One thing that happens to a file.
#[derive(Debug, Clone)]
enum Mishap {
    Lose(Index, usize),
    Add(Index, usize),
    Flip(Index, u8),
    Double(Index),
    Swap(Index, Index),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        (any::<Index>(), 1_usize..12).prop_map(|(at, count)| Mishap::Lose(at, count)),
        (any::<Index>(), 0..PIECES.len()).prop_map(|(at, piece)| Mishap::Add(at, piece)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mishap::Flip(at, byte)),
        any::<Index>().prop_map(Mishap::Double),
        any::<(Index, Index)>().prop_map(|(one, other)| Mishap::Swap(one, other)),
    ]
}

fn befall(bytes: &mut Vec<u8>, mishap: &Mishap) {
    let at = |index: &Index| index.index(bytes.len() + 1);
    match mishap {
        Mishap::Lose(index, count) => {
            let from = at(index);
            let to = bytes.len().min(from + count);
            bytes.drain(from..to);
        }
        Mishap::Add(index, piece) => {
            let at = at(index);
            let piece = PIECES.get(*piece).copied().unwrap_or_default();
            bytes.splice(at..at, piece.bytes());
        }
        Mishap::Flip(index, byte) => {
            let at = at(index);
            if let Some(flipped) = bytes.get_mut(at) {
                *flipped ^= byte;
            }
        }
        Mishap::Double(index) => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            if !lines.is_empty() {
                let at = index.index(lines.len());
                lines.extend(lines.get(at).copied());
                *bytes = lines.concat();
            }
        }
        Mishap::Swap(one, other) => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            if !lines.is_empty() {
                let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                lines.swap(one, other);
                *bytes = lines.concat();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn a_file_that_has_come_to_harm_is_read_or_refused(
        seed in any::<Index>(), mishaps in prop::collection::vec(mishap(), 1..24)
    ) {
        let corpus = corpus();
        let mut bytes = seed.get(&corpus).clone();
        for mishap in &mishaps {
            befall(&mut bytes, mishap);
        }
        read_every_way(&bytes);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        read_every_way(&bytes);
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..64)) {
        read_every_way(format!("[Container]\nImage=a\nExec={}", pieces.concat()).as_bytes());
    }
}
