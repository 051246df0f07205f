//! The words of a command line and the units that they stand for.
//!
//! Owns the asking of the daemon for the units that patterns match. What a pattern is, [`crate::pattern`] knows.

use std::collections::BTreeSet;

use muster_client::Client;
use muster_common::api::v1::{UnitSummary, Units};
use muster_common::unit::UnitName;

use crate::argument_error::ArgumentError;
use crate::error::Error;
use crate::pattern::{UnitArgument, first_pattern, stand_for};

/// Returns what words stand for, in order. `fits` says whether the command can be about a unit that a pattern matches; `verb` is
/// what it does, as in "be started". The daemon is asked only if there is a pattern.
pub(crate) async fn expand_words<'a>(
    client: &Client,
    words: &'a [String],
    verb: &'static str,
    fits: impl Fn(&UnitSummary) -> bool,
) -> Result<Vec<UnitArgument<'a>>, Error> {
    if first_pattern(words)?.is_none() {
        return Ok(words.iter().map(|word| UnitArgument::Named(word)).collect());
    }
    let known: Units = client.get("/v1/units").await?;
    Ok(stand_for(&known.units, words, verb, fits)?)
}

/// The names that words stand for, each once, in order.
pub(crate) fn names_of(words: &[UnitArgument<'_>]) -> Result<Vec<UnitName>, ArgumentError> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::with_capacity(words.len());
    for word in words {
        let name = match word {
            UnitArgument::Named(word) => UnitName::from_argument(word)?,
            UnitArgument::Matched(unit) => unit.name.clone(),
        };
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    Ok(names)
}
