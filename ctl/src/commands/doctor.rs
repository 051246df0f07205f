//! `doctor`: a look at the whole cluster.
//!
//! Owns the looking, again where something may pass by itself, and how findings are printed. What is wrong is for
//! [`muster_checker`] to find. It changes nothing.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_checker::{ClusterPicture, Severity, Violation, check_cluster};
use muster_client::{Client, ClientError};
use muster_common::api::inspect::{ClusterRecords, MachineAnswer, MachineReports};
use muster_common::errors::error_chain;
use muster_common::machine::MachineId;
use tokio::time::{Instant, sleep};

use crate::cli::doctor::DoctorArgs;
use crate::daemon_hints;
use crate::error::Error;
use crate::exit_code::exit_code;
use crate::output::console::Console;
use crate::output::json::{self, DoctorReport, ViolationRow};

/// The exit code when no daemon could be asked.
const UNSEEN: u8 = 2;

/// The pause between two looks. Each asks every machine, and little changes in less time.
const PAUSE: Duration = Duration::from_secs(2);

/// One look at the cluster.
struct Look {
    picture: ClusterPicture,
    found: Vec<Violation>,
}

/// Something that is wrong, and when it was first seen.
struct Finding {
    violation: Violation,
    since: Instant,
}

/// Looks at the cluster until what is wrong has lasted or is gone, and prints it.
pub(crate) async fn run(
    client: &Client,
    console: &mut Console,
    args: &DoctorArgs,
) -> Result<ExitCode, Error> {
    if args.json {
        console.switch_to_json();
    }
    match look_until_clear(client, console, args.wait).await {
        Ok(look) => {
            if console.is_json() {
                console.print_data(&json::pretty_json(&report_of(&look))?)?;
            } else {
                console.print_text(&text_of(&look, args.wait))?;
            }
            Ok(exit_code(!look.found.iter().any(is_wrong)))
        }
        Err(error) => {
            console.print_error(format_args!(
                "could not look at the cluster: {}",
                error_chain(&error)
            ));
            if let Some(hint) = daemon_hints::hint_for(&error) {
                console.print_hint(hint);
            }
            Ok(ExitCode::from(UNSEEN))
        }
    }
}

/// Looks again and again until nothing is wrong, or all that is has lasted for the time given. What keeps changing is told after
/// twice that time.
async fn look_until_clear(
    client: &Client,
    console: &Console,
    wait: Duration,
) -> Result<Look, ClientError> {
    let began = Instant::now();
    let mut known: Vec<Finding> = Vec::new();
    let mut told = false;
    loop {
        let look = take_look(client).await?;
        let now = Instant::now();
        let wrong = look.found.iter().filter(|violation| is_wrong(violation));
        known = wrong.map(|violation| find_again(&known, violation, now)).collect();
        let lasts = |finding: &Finding| now.duration_since(finding.since) >= wait;
        if known.iter().all(lasts) || now.duration_since(began) >= wait * 2 {
            return Ok(look);
        }
        if !told {
            told = true;
            let wait = humantime::format_duration(wait);
            console.print_note(format_args!(
                "something is not as it should be; looking for {wait} whether it passes"
            ));
        }
        sleep(PAUSE.min(wait)).await;
    }
}

/// A violation with the time since when it is known.
fn find_again(known: &[Finding], violation: &Violation, now: Instant) -> Finding {
    let earlier = known.iter().find(|finding| violation.is_same_as(&finding.violation));
    let since = earlier.map_or(now, |finding| finding.since);
    Finding { violation: violation.clone(), since }
}

fn is_wrong(violation: &Violation) -> bool {
    violation.severity_level() != Severity::Remark
}

/// Asks for the machines first: nothing that they have seen may be missing in the records.
async fn take_look(client: &Client) -> Result<Look, ClientError> {
    let reports: MachineReports = client.get("/v1/inspect/machines").await?;
    let (records, unread) = match client.get::<ClusterRecords>("/v1/inspect/records").await {
        Ok(records) => (Some(records.into()), None),
        // The daemon has answered before: it is the store that does not.
        Err(error) => (None, Some(error_chain(&error))),
    };
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let picture = ClusterPicture { records, unread, machines: reports.machines, wall };
    let found = check_cluster(&picture);
    Ok(Look { picture, found })
}

fn report_of(look: &Look) -> DoctorReport {
    let (answered, silent) = count_answers(look);
    let rows = look.found.iter().map(|violation| ViolationRow {
        word: violation.as_word(),
        severity: violation.severity_level().as_str(),
        unit: violation.unit().cloned(),
        machines: violation.machines(),
        message: violation.to_string(),
        way_out: violation.way_out(),
    });
    DoctorReport {
        healthy: !look.found.iter().any(is_wrong),
        revision: look.picture.records.as_ref().map(|records| records.snapshot.revision),
        answered,
        silent,
        violations: rows.collect(),
    }
}

fn count_answers(look: &Look) -> (usize, usize) {
    let all = look.picture.machines.len();
    let reports = look
        .picture
        .machines
        .values()
        .filter(|answer| matches!(answer, MachineAnswer::Report { .. }));
    let answered = reports.count();
    (answered, all - answered)
}

fn text_of(look: &Look, wait: Duration) -> String {
    let mut text = String::new();
    let lasting = if wait.is_zero() {
        "Wrong now; some of it may pass:".to_owned()
    } else {
        format!("Wrong, and for {} by now:", humantime::format_duration(wait))
    };
    for (severity, heading) in [
        (Severity::Unsafe, "Must never be:"),
        (Severity::Unsettled, lasting.as_str()),
        (Severity::Remark, "Worth knowing:"),
    ] {
        let mut of_it =
            look.found.iter().filter(|violation| violation.severity_level() == severity).peekable();
        if of_it.peek().is_some() {
            let _ = writeln!(text, "{heading}");
        }
        for violation in of_it {
            let unit = violation.unit().map(|unit| format!("  {unit}")).unwrap_or_default();
            let machines: Vec<String> = violation.machines().iter().map(short_id).collect();
            let machines = if machines.is_empty() {
                String::new()
            } else {
                format!("  {}", machines.join(","))
            };
            let _ = writeln!(text, "  {}{unit}{machines}", violation.as_word());
            let _ = writeln!(text, "      {violation}");
            let _ = writeln!(text, "      what to do: {}", violation.way_out());
        }
    }
    let (answered, silent) = count_answers(look);
    if !look.found.iter().any(is_wrong) {
        let _ = write!(text, "Nothing wrong: ");
    }
    let _ = write!(text, "{} answered", count(answered, "machine"));
    if silent > 0 {
        let _ = write!(text, ", {silent} did not");
    }
    match &look.picture.records {
        Some(records) => {
            let (units, revision) = (records.snapshot.units.len(), records.snapshot.revision);
            let _ = writeln!(text, "; {} at revision {revision}", count(units, "unit"));
        }
        None => {
            let _ = writeln!(text, "; the store could not be read");
        }
    }
    text
}

fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

fn short_id(machine: &MachineId) -> String {
    format!("{}...", machine.short_id())
}
