//! `export` and `import`: the cluster's records in one file, and back.
//!
//! Owns the order in which they are asked for and put back. It speaks to a daemon, as every command does, so the records pass the
//! same checks as when people first made them.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use muster_client::{Client, ClientError, escape_segment};
use muster_common::api::cordon::{CordonAnswer, CordonRequest};
use muster_common::api::reboot::{MaxRequest, MaxSet, Reboots};
use muster_common::api::v1::{
    ChangeAnswer, ChangeOutcome, ChangeRequest, Machines, UnitChange, UnitDetail, Units,
};
use muster_common::backup::{Backup, BackupUnit, CordonedMachine, GroupMax, VERSION};
use muster_common::cordon::CordonHolder;
use muster_common::text::{FreeText, clean_text};
use muster_common::unit::FileHash;

use crate::asking_user::asking_user;
use crate::cli::{ExportArgs, ImportArgs};
use crate::error::Error;
use crate::exit_code::exit_code;
use crate::output::console::Console;
use crate::output::json;

/// Most bytes of file texts in one request: half of the daemon's default limit, since JSON makes them longer.
const BATCH: usize = 4 * 1024 * 1024;

/// The mode of a file of records.
const PRIVATE: u32 = 0o600;

/// Most units in one request.
const BATCH_UNITS: usize = 1_000;

/// Writes the records to a file, or to standard output.
pub(crate) async fn export_records(
    client: &Client,
    console: &Console,
    args: &ExportArgs,
) -> Result<ExitCode, Error> {
    let units: Units = client.get("/v1/units").await?;
    let reboots: Reboots = client.get("/v1/reboot").await?;
    let machines: Machines = client.get("/v1/machines").await?;
    let mut backup = Backup { version: VERSION, ..Backup::default() };
    let mut complete = true;
    for unit in units.units {
        let path = format!("/v1/units/{}", escape_segment(unit.name.as_str()));
        let detail: UnitDetail = match client.get(&path).await {
            Ok(detail) => detail,
            // Destroyed since the list was read, or unreadable.
            Err(error @ ClientError::Refused { .. }) => {
                console.print_warning(format_args!("{} is left out: {error}", unit.name));
                complete = false;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let file = FileHash::of_text(&detail.text);
        backup.files.insert(file, detail.text);
        backup.units.push(BackupUnit { name: unit.name, file, desired: detail.unit.desired });
    }
    for group in reboots.groups {
        // A record by another hand may have more than anybody may set.
        let Ok(max) = group.max.try_into() else {
            console.print_warning(format_args!(
                "group {} is left out: it has {} slots",
                group.name, group.max
            ));
            complete = false;
            continue;
        };
        backup.groups.push(GroupMax { name: group.name, max });
    }
    for (machine, cordon) in machines.cordons {
        // That of a reboot under way belongs to the machine's daemon.
        if let Some(hold) = cordon.holds.get(&CordonHolder::Person) {
            let (by, reason) = (hold.by.clone(), hold.reason.clone());
            backup.cordons.push(CordonedMachine { machine, by, reason });
        }
    }
    let unreadable = [units.unreadable, reboots.unreadable, machines.unreadable];
    for record in unreadable.iter().flatten() {
        let (key, problem) = (clean_text(&record.key), clean_text(&record.problem));
        console.print_warning(format_args!("the record {key} is left out: {problem}"));
        complete = false;
    }
    let text = json::pretty_json(&backup)?;
    match &args.file {
        Some(path) if path != Path::new("-") => write_new_file(path, &text, args.force)?,
        _ => console.print_data(&text)?,
    }
    Ok(exit_code(complete))
}

/// Writes a file whole or not at all.
fn write_new_file(path: &Path, text: &[u8], force: bool) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if !force && path.exists() {
        return Err(Error::FileExists(path.to_owned()));
    }
    // Not made of the file's own name, which may be as long as a name can be.
    let new = path.with_file_name(format!(".musterctl-{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    // What is in it is nobody else's business: unit files hold passwords.
    let mut file = options.write(true).create_new(true).mode(PRIVATE).open(&new).map_err(failed)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    written.and_then(|()| std::fs::rename(&new, path)).map_err(|source| {
        let _ = std::fs::remove_file(&new);
        failed(source)
    })
}

/// Puts the records of a file into a cluster that has none.
pub(crate) async fn import_records(
    client: &Client,
    console: &Console,
    args: &ImportArgs,
) -> Result<ExitCode, Error> {
    let bytes = read_input(&args.file)?;
    let backup =
        Backup::read(&bytes).map_err(|source| Error::Backup { path: args.file.clone(), source })?;
    let there: Units = client.get("/v1/units").await?;
    let units = there.units.len() + there.unreadable.len();
    if units > 0 && !args.force {
        return Err(Error::NotEmpty(units));
    }
    // Before any unit is launched: a machine that is to take nothing must not get one meanwhile.
    let mut well = restore_cordons(client, console, &backup.cordons).await?;
    for group in &backup.groups {
        let request = MaxRequest { group: group.name.clone(), max: group.max, by: asking_user() };
        let _: MaxSet = client.post_json("/v1/reboot/max", &request).await?;
    }
    let mut imported = 0;
    for units in split_batches(&backup) {
        let answer: ChangeAnswer =
            client.post_json("/v1/units", &batch_request(&backup, units, args)).await?;
        for unit in answer.units {
            match unit.outcome {
                ChangeOutcome::Failed { message } => {
                    console.print_error(format_args!("{}: {message}", unit.name));
                    well = false;
                }
                _ => imported += 1,
            }
        }
    }
    if console.is_json() {
        console.print_data(&json::pretty_json(&serde_json::json!({ "units": imported }))?)?;
    } else {
        console.print_text(&format!("Imported {imported} of {} units\n", backup.units.len()))?;
    }
    Ok(exit_code(well))
}

fn read_input(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(failed)
}

/// Returns whether every machine of the list is cordoned; one the cluster has never heard of cannot be.
async fn restore_cordons(
    client: &Client,
    console: &Console,
    list: &[CordonedMachine],
) -> Result<bool, Error> {
    let mut all = true;
    for cordoned in list {
        let path = format!("/v1/machines/{}/cordon", escape_segment(cordoned.machine.as_str()));
        // A cluster of an older version took longer texts; a cordon is worth more than the end of one.
        let request = CordonRequest {
            by: FreeText::fit_text(&cordoned.by),
            reason: FreeText::fit_text(&cordoned.reason),
        };
        match client.post_json::<_, CordonAnswer>(&path, &request).await {
            Ok(_) => {}
            Err(error @ ClientError::Refused { .. }) => {
                let machine = cordoned.machine.short_id();
                console.print_warning(format_args!("{machine}... is not cordoned: {error}"));
                all = false;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

/// The units in pieces that a daemon takes.
fn split_batches(backup: &Backup) -> Vec<&[BackupUnit]> {
    let mut batches = Vec::new();
    let mut rest = backup.units.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let mut count = 0;
        for unit in rest.iter().take(BATCH_UNITS) {
            bytes += backup.files.get(&unit.file).map_or(0, String::len);
            if count > 0 && bytes > BATCH {
                break;
            }
            count += 1;
        }
        let (batch, others) = rest.split_at(count);
        batches.push(batch);
        rest = others;
    }
    batches
}

/// The request for some units. A start that no machine can take now waits, as it did where it was exported.
fn batch_request(backup: &Backup, units: &[BackupUnit], args: &ImportArgs) -> ChangeRequest {
    let texts = units.iter().filter_map(|unit| backup.files.get_key_value(&unit.file));
    ChangeRequest {
        files: texts.map(|(hash, text)| (*hash, text.clone())).collect(),
        units: units
            .iter()
            .map(|unit| UnitChange {
                name: unit.name.clone(),
                file: Some(unit.file),
                desired: Some(unit.desired),
                restart: false,
            })
            .collect(),
        replace: args.force,
        queue: true,
        dry_run: false,
    }
}

#[cfg(test)]
mod tests {
    use muster_common::state::DesiredState;

    use super::*;

    /// A name of any length, and a file beside it that happens to be called so.
    #[test]
    fn a_file_is_written_whatever_its_name_is_and_costs_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let neighbour = directory.path().join("records.new");
        std::fs::write(&neighbour, "precious").unwrap();
        for name in ["records".to_owned(), "r".repeat(252), "r".repeat(255)] {
            write_new_file(&directory.path().join(&name), b"text", false).unwrap();
            assert_eq!(std::fs::read(directory.path().join(&name)).unwrap(), b"text");
        }
        assert_eq!(std::fs::read_to_string(&neighbour).unwrap(), "precious");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_request_is_no_larger_than_a_daemon_takes() {
        let mut backup = Backup { version: VERSION, ..Backup::default() };
        for number in 0..40 {
            let text = format!("# {number}{}\n", "x".repeat(256 * 1024 - 10));
            let file = FileHash::of_text(&text);
            backup.files.insert(file, text);
            let name = format!("u{number}.service").parse().unwrap();
            backup.units.push(BackupUnit { name, file, desired: DesiredState::Inactive });
        }
        let batches = split_batches(&backup);
        assert_eq!(batches.concat(), backup.units);
        assert!(batches.len() > 2);
        for batch in batches {
            let bytes: usize = batch.iter().map(|unit| backup.files[&unit.file].len()).sum();
            assert!(bytes <= BATCH, "{bytes}");
        }
    }
}
