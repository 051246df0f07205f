//! `list-units`, `list-unit-files` and `list-machines`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use muster_client::Client;
use muster_common::api::v1::{Machines, States, Units};
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::Unreadable;
use muster_common::text::clean_text;
use muster_common::unit::UnitName;

use crate::cli::{ListArgs, UnitListArgs};
use crate::error::Error;
use crate::output::console::Console;
use crate::output::fields::{self, TableRow};
use crate::output::json::{FileRow, MachineRow, PlacedMachine, StateRow, non_empty};
use crate::output::table;

use super::filter::{Filter, STATES};

/// The desired states of units, which are current ones as well.
const DESIRED: [&str; 3] = ["inactive", "loaded", "launched"];

/// The remark on a unit whose machine is lost.
const LOST: &str = "its machine is not registered now, so that how far it came is not known";

/// The column of `list-units` that is shown by itself when there is something in it.
const REMARK: &str = "remark";

/// Lists what machines report.
pub(crate) async fn list_units(
    client: &Client,
    console: &Console,
    args: &UnitListArgs,
) -> Result<ExitCode, Error> {
    let mut columns = fields::parse_columns::<StateRow>(&args.list)?;
    let filter = Filter::new(client, args, STATES).await?;
    let answer: States = client.get("/v1/states").await?;
    let addresses = addresses_by_machine(&answer.machines);
    let lost = answer.lost;
    let silent = answer.silent.into_iter().flat_map(|name| silent_rows(&name, lost.get(&name)));
    let reported = answer.states.into_iter().map(|s| StateRow {
        unit: s.name.to_string(),
        ip: address_of(&addresses, &s.machine),
        machine: Some(s.machine),
        load: non_empty(&s.state.load),
        active: non_empty(s.state.active.as_str()),
        sub: non_empty(&s.state.sub),
        hash: non_empty(&s.state.hash),
        since: Some(s.state.since).filter(|&since| since > 0),
        problem: s.state.problem,
        remark: non_empty(&s.state.remark),
    });
    let mut rows: Vec<StateRow> = reported.chain(silent).collect();
    let mut names: Vec<String> = rows.iter().map(|row| row.unit.clone()).collect();
    if !filter.is_met_by(&names) {
        // What is on no machine exists all the same.
        let known: Units = client.get("/v1/units").await?;
        names.extend(known.units.iter().map(|unit| unit.name.to_string()));
    }
    filter.check_names(&names)?;
    rows.retain(|row| {
        let states = [&row.load, &row.active, &row.sub].map(|state| state.as_deref());
        filter.is_wanted(&row.unit, states.into_iter().flatten(), row.machine.iter())
    });
    if rows.is_empty() && filter.names_only() {
        console.print_note("no machine has any of these units; `musterctl list-unit-files` shows what is wanted of them");
    }
    rows.sort_by(|a, b| (&a.unit, &a.machine).cmp(&(&b.unit, &b.machine)));
    // An exit code or a download that goes on is worth a column; where there is nothing to say the table is fleetctl's.
    if args.list.fields.is_none() && rows.iter().any(|row| row.remark.is_some()) {
        columns.push(REMARK.to_owned());
    }
    fields::print_list(console, &args.list, &columns, &rows)?;
    warn_unreadable(console, &answer.unreadable);
    Ok(ExitCode::SUCCESS)
}

/// The rows of a unit that no machine reports on: one for each machine that has it and is lost, and one without if there is none.
fn silent_rows(name: &UnitName, lost: Option<&Vec<MachineId>>) -> Vec<StateRow> {
    let row = StateRow { unit: name.to_string(), ..StateRow::default() };
    let Some(lost) = lost else { return vec![row] };
    let at = |machine: &MachineId| StateRow {
        machine: Some(machine.clone()),
        remark: Some(LOST.to_owned()),
        ..row.clone()
    };
    lost.iter().map(at).collect()
}

/// Lists the units the cluster knows.
pub(crate) async fn list_unit_files(
    client: &Client,
    console: &Console,
    args: &UnitListArgs,
) -> Result<ExitCode, Error> {
    let columns = fields::parse_columns::<FileRow>(&args.list)?;
    if columns.iter().any(|c| c == "tmachine") {
        console.print_warning("the field tmachine is fleet's old name of target");
    }
    let filter = Filter::new(client, args, &DESIRED).await?;
    let answer: Units = client.get("/v1/units").await?;
    let addresses = addresses_by_machine(&answer.machines);
    filter
        .check_names(&answer.units.iter().map(|unit| unit.name.to_string()).collect::<Vec<_>>())?;
    let rows: Vec<FileRow> = answer
        .units
        .into_iter()
        .filter(|unit| {
            let states = [unit.desired.as_str(), unit.current.as_str()];
            filter.is_wanted(unit.name.as_str(), states.into_iter(), unit.machines.iter())
        })
        .map(|unit| FileRow {
            unit: unit.name.to_string(),
            hash: non_empty(&unit.hash),
            desc: non_empty(&unit.description),
            global: unit.global,
            dstate: unit.desired,
            state: unit.current,
            target: unit
                .machines
                .into_iter()
                .map(|id| PlacedMachine { ip: address_of(&addresses, &id), id })
                .collect(),
        })
        .collect();
    fields::print_list(console, &args.list, &columns, &rows)?;
    warn_unreadable(console, &answer.unreadable);
    Ok(ExitCode::SUCCESS)
}

/// Lists the machines.
pub(crate) async fn list_machines(
    client: &Client,
    console: &Console,
    args: &ListArgs,
) -> Result<ExitCode, Error> {
    let columns = fields::parse_columns::<MachineRow>(args)?;
    let answer: Machines = client.get("/v1/machines").await?;
    let rows: Vec<MachineRow> = answer
        .machines
        .into_iter()
        .map(|machine| MachineRow {
            leader: answer.leader.as_ref() == Some(&machine.id),
            host: non_empty(&machine.host),
            cordon: answer.cordons.get(&machine.id).map(ToString::to_string),
            ip: non_empty(&machine.address),
            machine: machine.id,
            metadata: machine.metadata,
            version: machine.version,
            runners: machine.runners,
            container_runner: machine.container_runner,
            containers_lost: machine.containers_lost,
        })
        .collect();
    fields::print_list(console, args, &columns, &rows)?;
    for row in &rows {
        if let Some(problem) = &row.containers_lost {
            let machine = row.machine.short_id();
            console.print_warning(format_args!(
                "the container engine of {machine}... does not answer: {}",
                clean_text(problem)
            ));
        }
    }
    for (machine, cordon) in &answer.cordons {
        console.print_warning(format_args!("{}... is cordoned {cordon}", machine.short_id()));
    }
    warn_unreadable(console, &answer.unreadable);
    Ok(ExitCode::SUCCESS)
}

impl TableRow for StateRow {
    const FIELDS: &'static [&'static str] =
        &["active", "hash", "load", "machine", "problem", REMARK, "sub", "unit"];
    const DEFAULT: &'static str = "unit,machine,active,sub";

    fn cell_text(&self, field: &str, full: bool) -> String {
        let shown = |value: &Option<String>| table::or_dash(value.as_deref().unwrap_or_default());
        match (field, &self.machine) {
            ("unit", _) => self.unit.clone(),
            ("active", _) => shown(&self.active),
            ("load", _) => shown(&self.load),
            ("sub", _) => shown(&self.sub),
            ("problem", _) => shown(&self.problem),
            (REMARK, _) => shown(&self.remark),
            ("hash", _) => table::short_hash(self.hash.as_deref().unwrap_or_default(), full),
            ("machine", Some(id)) => {
                table::machine_name(id, self.ip.as_deref().unwrap_or_default(), full)
            }
            _ => "-".to_owned(),
        }
    }
}

impl TableRow for FileRow {
    const FIELDS: &'static [&'static str] =
        &["desc", "dstate", "global", "hash", "state", "target", "tmachine", "unit"];
    const DEFAULT: &'static str = "unit,hash,dstate,state,target";

    fn cell_text(&self, field: &str, full: bool) -> String {
        match field {
            "unit" => self.unit.clone(),
            "hash" => table::short_hash(self.hash.as_deref().unwrap_or_default(), full),
            "desc" => table::or_dash(self.desc.as_deref().unwrap_or_default()),
            "global" => self.global.to_string(),
            "dstate" => self.dstate.to_string(),
            "target" | "tmachine" if self.global => "global".to_owned(),
            "target" | "tmachine" => {
                let shown: Vec<String> = self
                    .target
                    .iter()
                    .map(|p| table::machine_name(&p.id, p.ip.as_deref().unwrap_or_default(), full))
                    .collect();
                table::or_dash(&shown.join(","))
            }
            // fleet shows no state for a global unit: it has one for each machine.
            "state" if !self.global => self.state.to_string(),
            _ => "-".to_owned(),
        }
    }
}

impl TableRow for MachineRow {
    const FIELDS: &'static [&'static str] =
        &["cordon", "host", "ip", "machine", "metadata", "runners"];
    const DEFAULT: &'static str = "machine,ip,metadata";

    fn cell_text(&self, field: &str, full: bool) -> String {
        match field {
            "machine" => table::machine_id(&self.machine, full),
            "ip" => table::or_dash(self.ip.as_deref().unwrap_or_default()),
            "host" => table::or_dash(self.host.as_deref().unwrap_or_default()),
            "cordon" => table::or_dash(self.cordon.as_deref().unwrap_or_default()),
            "runners" => {
                // The one that takes what names none, where that is not Docker.
                let word = |runner: &RunnerKind| {
                    let mark = if self.container_runner == Some(*runner) { "*" } else { "" };
                    format!("{}{mark}", runner.as_str())
                };
                let words: Vec<String> = self.runners.iter().map(word).collect();
                table::or_dash(&words.join(","))
            }
            _ => {
                let pairs: Vec<String> =
                    self.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
                table::or_dash(&pairs.join(","))
            }
        }
    }
}

fn addresses_by_machine(machines: &[Machine]) -> BTreeMap<&MachineId, &str> {
    machines.iter().map(|m| (&m.id, m.address.as_str())).collect()
}

fn address_of(addresses: &BTreeMap<&MachineId, &str>, id: &MachineId) -> Option<String> {
    addresses.get(id).and_then(|address| non_empty(address))
}

fn warn_unreadable(console: &Console, unreadable: &[Unreadable]) {
    for record in unreadable {
        let (key, problem) = (clean_text(&record.key), clean_text(&record.problem));
        console.print_warning(format_args!("the record {key} cannot be read: {problem}"));
    }
}
