//! Plays the scripts in `tests/scenarios/joining`, and properties of the same rules for any order of requests.
//!
//! `UPDATE=1 cargo test -p muster-identity` writes what is said into the scripts, for a person to read in the diff.
//!
//! | command | does |
//! | --- | --- |
//! | `at SECONDS` | the clock of whoever decides |
//! | `begin MACHINE key=KEY authority=KEY [cluster=OTHER]` | root on a machine begins the cluster's authority, and the change is carried out |
//! | `order TOKEN [role=ROLE] [ttl=SECONDS] [uses=N] [replace=MACHINE]` | somebody has a token made |
//! | `join MACHINE key=KEY token=TOKEN [secret=TOKEN] [pin=KEY] [cluster=OTHER]` | a machine asks to join, and the change is carried out |
//! | `decide NAME MACHINE …` | the same, and nothing is carried out yet |
//! | `commit NAME` | carries out what was decided under that name, if its guards hold |
//! | `renew MACHINE key=KEY` | a machine asks for its next certificate |
//! | `remove MACHINE` | its record goes |
//! | `show` | prints all records |
//!
//! Lines that begin with `>` are what it says; `#` begins a comment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail, and reads its scripts"
)]

mod paper;
#[path = "../../engine/tests/support/scripts.rs"]
mod scripts;

use std::collections::{BTreeMap, BTreeSet};

use muster_common::pki::{PkiChange, PkiKey, PkiRecord};
use muster_identity::{JoinDecision, JoinRefusal, RenewalDecision};
use proptest::prelude::*;

use paper::{PaperRecords, Wish};
use scripts::{Player, play_directory};

#[derive(Default)]
struct Script {
    records: PaperRecords,
    decided: BTreeMap<String, JoinDecision>,
}

impl Player for Script {
    fn carry_out(&mut self, words: &[&str], _body: &str) -> String {
        match words {
            ["at", seconds] => {
                self.records.now = seconds.parse().unwrap();
                String::new()
            }
            ["begin", machine, options @ ..] => {
                self.records.begin(machine, &Options::read(options))
            }
            ["order", token, options @ ..] => self.records.order(token, &Options::read(options)),
            ["join", machine, options @ ..] => {
                let decision = self.records.decide(&Wish::read(machine, &Options::read(options)));
                self.carry_out_decision(&decision)
            }
            ["decide", name, machine, options @ ..] => {
                let decision = self.records.decide(&Wish::read(machine, &Options::read(options)));
                let said = describe(&decision);
                self.decided.insert((*name).to_owned(), decision);
                said
            }
            ["commit", name] => {
                let decision = self.decided.remove(*name).unwrap();
                self.carry_out_decision(&decision)
            }
            ["renew", machine, key] => {
                let key = key.strip_prefix("key=").unwrap();
                match self.records.renew(machine, key) {
                    RenewalDecision::Renew { role, validity, change } => {
                        assert!(self.records.commit(&change));
                        format!("renewed as {role} until {}", validity.not_after)
                    }
                    RenewalDecision::Refuse(refusal) => format!("refused: {refusal}"),
                }
            }
            ["remove", machine] => {
                self.records.remove(&PkiKey::Host(machine.parse().unwrap()));
                String::new()
            }
            ["show"] => self.records.show(),
            other => panic!("{other:?}"),
        }
    }
}

impl Script {
    fn carry_out_decision(&mut self, decision: &JoinDecision) -> String {
        match decision {
            JoinDecision::Grant(grant) if !self.records.commit(&grant.change) => {
                "conflict: to be decided anew".to_owned()
            }
            decision => describe(decision),
        }
    }
}

fn describe(decision: &JoinDecision) -> String {
    match decision {
        JoinDecision::Grant(grant) => {
            let (machine, role) = (grant.name.machine(), grant.role);
            format!("{machine} joins as {role}, certificate until {}", grant.validity.not_after)
        }
        JoinDecision::Refuse(refusal) => format!("refused ({}): {refusal}", refusal.as_str()),
    }
}

/// `key=value` of a command.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    fn read(words: &[&str]) -> Self {
        let pair = |word: &&str| {
            let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("{word}"));
            (key.to_owned(), value.to_owned())
        };
        Self(words.iter().map(pair).collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

#[test]
fn joining_is_decided_as_the_scripts_say() {
    play_directory::<Script>("joining");
}

/// A step of a day on which machines join, are installed anew and are removed, and requests race.
#[derive(Debug, Clone)]
enum Step {
    Order {
        token: u8,
        role: bool,
        uses: u32,
        replace: Option<u8>,
    },
    /// Asks, and the change is carried out after so many further steps.
    Ask {
        machine: u8,
        key: u8,
        token: u8,
        secret: u8,
        late: usize,
    },
    Remove {
        machine: u8,
    },
    Pass {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let few = 0..4_u8;
    let order = (few.clone(), any::<bool>(), 1..4_u32, prop::option::of(few.clone()))
        .prop_map(|(token, role, uses, replace)| Step::Order { token, role, uses, replace });
    let ask = (few.clone(), few.clone(), few.clone(), 0..12_u8, 0..4_usize).prop_map(
        |(machine, key, token, secret, late)| {
            // Mostly the right one.
            let secret = if secret < 4 { secret } else { token };
            Step::Ask { machine, key, token, secret, late }
        },
    );
    let remove = few.prop_map(|machine| Step::Remove { machine });
    let pass = (1..2000_u64).prop_map(|seconds| Step::Pass { seconds });
    prop::collection::vec(prop_oneof![2 => order, 12 => ask, 1 => remove, 2 => pass], 1..60)
}

/// The hosts that may have been let in by one token: by the records that a change wrote.
#[derive(Default)]
struct Admissions {
    by_token: BTreeMap<String, BTreeSet<(String, String)>>,
    uses: BTreeMap<String, u32>,
    replaces: BTreeMap<String, Option<String>>,
}

impl Admissions {
    fn note(&mut self, change: &PkiChange, before: &PaperRecords) {
        let token = change.writes.iter().find_map(|write| match write {
            PkiRecord::Join(id, _) => Some(id.to_string()),
            _ => None,
        });
        for write in &change.writes {
            let PkiRecord::Host(machine, host) = write else { continue };
            let had = before.host_key(machine);
            if had == Some(host.key) {
                assert!(token.is_none(), "a host that is known uses no token up");
                continue;
            }
            let token = token.clone().expect("nobody comes in without a token");
            if had.is_some() {
                let replaced = self.replaces[&token].as_deref();
                assert_eq!(
                    replaced,
                    Some(machine.as_str()),
                    "a key is replaced where that is asked for"
                );
            }
            let admitted = self.by_token.entry(token.clone()).or_default();
            admitted.insert((machine.to_string(), host.key.to_string()));
            assert!(admitted.len() <= self.uses[&token] as usize, "{token} let too many in");
        }
    }
}

proptest! {
    #[test]
    fn whatever_races_a_token_lets_no_more_in_than_it_may(steps in steps()) {
        let mut records = PaperRecords::begun();
        let mut admissions = Admissions::default();
        let mut late: Vec<(usize, PkiChange)> = Vec::new();
        for (at, step) in steps.into_iter().enumerate() {
            for (_, change) in late.extract_if(.., |(due, _)| *due <= at) {
                let before = records.clone();
                if records.commit(&change) {
                    admissions.note(&change, &before);
                }
            }
            match step {
                Step::Order { token, role, uses, replace } => {
                    let uses = if replace.is_some() { 1 } else { uses };
                    let replace = replace.map(|machine| format!("m{machine}"));
                    if let Some(id) = records.order_token(token, role, uses, replace.as_deref()) {
                        admissions.uses.insert(id.clone(), uses);
                        admissions.replaces.insert(id, replace);
                    }
                }
                Step::Ask { machine, key, token, secret, late: wait } => {
                    let wish = Wish::numbered(machine, key, token, secret);
                    let decision = records.decide(&wish);
                    // The same question has the same answer.
                    prop_assert_eq!(&records.decide(&wish), &decision);
                    match decision {
                        JoinDecision::Grant(grant) => {
                            for write in &grant.change.writes {
                                let guarded = grant.change.guards.iter().any(|(key, _)| *key == write.key());
                                prop_assert!(guarded, "{:?} is written unguarded", write);
                            }
                            late.push((at + wait, grant.change));
                        }
                        JoinDecision::Refuse(refusal) => {
                            prop_assert!(!refusal.to_string().is_empty());
                            let knows = records.host_key(&wish.machine()) == Some(wish.key());
                            // Whoever is in is told so, unless it comes for another part.
                            prop_assert!(!knows || matches!(refusal, JoinRefusal::OtherRole { .. }), "{}", refusal);
                        }
                    }
                }
                Step::Remove { machine } => {
                    records.remove(&PkiKey::Host(format!("m{machine}").parse().unwrap()));
                }
                Step::Pass { seconds } => records.now += seconds,
            }
        }
    }

    #[test]
    fn an_answer_that_was_lost_is_given_again(repeats in 1..5_u64, wait in 0..100_000_u64) {
        let mut records = PaperRecords::begun();
        records.order_token(0, false, 1, None).unwrap();
        let wish = Wish::numbered(1, 1, 0, 0);
        let JoinDecision::Grant(first) = records.decide(&wish) else { panic!() };
        prop_assert!(records.commit(&first.change));
        for _ in 0..repeats {
            records.now += wait;
            let JoinDecision::Grant(again) = records.decide(&wish) else { panic!("it is refused now") };
            prop_assert!(records.commit(&again.change));
            prop_assert_eq!((&again.name, again.role), (&first.name, first.role));
        }
    }
}
