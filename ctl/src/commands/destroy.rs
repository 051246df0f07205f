//! `destroy`: units stopped, taken off their machines, forgotten.

use std::process::ExitCode;

use muster_client::Client;
use muster_common::api::v1::{DestroyAnswer, DestroyRequest, Until, WaitFor};
use muster_common::unit::UnitName;

use crate::cli::NamedArgs;
use crate::error::Error;
use crate::exit_code::exit_code;
use crate::output::console::Console;
use crate::output::json::{UnitOutcome, UnitResult};
use crate::pattern::UnitArgument;
use crate::unit_words;
use crate::units;
use crate::wait::Waiter;

/// Destroys units and waits until no machine has them any more.
pub(crate) async fn run(
    client: &Client,
    console: &mut Console,
    args: &NamedArgs,
) -> Result<ExitCode, Error> {
    let words = unit_words::expand_words(client, &args.units, "be destroyed", |_| true).await?;
    let names = DestroyRequest { names: unit_words::names_of(&words)? };
    let matched = words.iter().filter_map(|word| match word {
        UnitArgument::Matched(unit) => Some(unit.name.as_str()),
        UnitArgument::Named(_) => None,
    });
    let matched: Vec<&str> = matched.collect();
    if !matched.is_empty() {
        console.print_note(format_args!("to be destroyed: {}", matched.join(", ")));
    }
    let answer: DestroyAnswer = client.post_json("/v1/units/destroy", &names).await?;
    for unit in answer.unknown {
        console.print_warning(format_args!("unit {unit} does not exist"));
        let mut given = args.units.iter();
        let given = given.find(|word| UnitName::from_argument(word).is_ok_and(|name| name == unit));
        if let Some(hint) = given.and_then(|word| units::type_hint(word)) {
            console.print_hint(hint);
        }
        console.add_result(UnitResult { unit, what: UnitOutcome::Unknown })?;
    }
    let mut all_well = true;
    let mut waiter = Waiter::new(client, args.blocking, false);
    if waiter.wants_wait() {
        let wait = |name| WaitFor { name, until: Until::Gone, generation: 0 };
        let waits = answer.destroyed.into_iter().map(wait).collect();
        all_well = waiter.wait_for_units(console, waits, answer.revision).await?;
    } else {
        for unit in answer.destroyed {
            console.add_result(UnitResult { unit, what: UnitOutcome::Destroyed })?;
        }
    }
    Ok(exit_code(all_well))
}
