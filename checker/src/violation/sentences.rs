//! A sentence for each violation.
//!
//! Owns the words for people. Text of others is cleaned here, and machines go by the beginning of their id, as in tables.

use std::collections::BTreeSet;
use std::fmt;

use muster_common::machine::MachineId;
use muster_common::text::{clean_lines, clean_text};

use super::Violation;

/// Characters of a hash that tell files apart for a person.
const SHORT_HASH: usize = 12;

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sentence) = self.sentence_of_unit() {
            return f.write_str(&sentence);
        }
        f.write_str(&self.sentence_of_cluster())
    }
}

impl Violation {
    /// The sentence on one unit; `None` if it is about none.
    fn sentence_of_unit(&self) -> Option<String> {
        let sentence = match self {
            Self::PlacedTwice { unit, machines } => {
                format!("{unit} is placed on {}, and is not global", all_ids(machines))
            }
            Self::RunsTwice { unit, machines } => {
                format!("{unit} may not run twice at a time, and runs on {}", all_ids(machines))
            }
            Self::TemplatePlaced { unit, machine } => {
                format!("{unit} is a template and placed on {}", short_id(machine))
            }
            Self::ConflictTogether { unit, with, pattern, machine } => {
                let (at, pattern) = (short_id(machine), clean_text(pattern));
                format!(
                    "{unit} and {with} have both been put on {at} and Conflicts={pattern} keeps them apart"
                )
            }
            Self::FileMissing { unit, file } => {
                format!("the file of {unit} ({}) is not in the store", short_hash(file))
            }
            Self::UnitUnplaced { unit } => {
                format!("{unit} is wanted, a machine takes it, and it is on none")
            }
            Self::GlobalMissing { unit, machine } => {
                format!("{unit} is global, {} takes it, and it is not there", short_id(machine))
            }
            Self::PlacementWithoutMachine { unit, machine } => {
                let at = short_id(machine);
                format!("{unit} is placed on {at}, which is gone, and another machine takes it")
            }
            Self::PlacementUnwanted { unit, machine } => {
                format!("{unit} is placed on {} and nobody wants it", short_id(machine))
            }
            Self::PlacementOutdated { unit, machine } => {
                let at = short_id(machine);
                format!("the placement of {unit} on {at} does not say what is wanted of it by now")
            }
            Self::PlacementUnsuitable { unit, machine } => {
                format!("{unit} is placed on {}, where it may not stay", short_id(machine))
            }
            Self::MoveUnfinished { unit, machine } => {
                let at = short_id(machine);
                format!("the move of {unit} that {at} has a part in does not go on")
            }
            Self::StateOfNobody { unit, machine, active } => {
                let at = short_id(machine);
                format!("{at} reports {unit} as {active}, and it is not placed there")
            }
            Self::StateMissing { unit, machine } => {
                format!("{unit} is placed on {}, which says nothing of it", short_id(machine))
            }
            Self::NotCarriedOut { unit, machine } => {
                format!("{} has not carried out what is asked of {unit}", short_id(machine))
            }
            Self::StaleState { unit, machine, told, active } => {
                let at = short_id(machine);
                format!("{unit} is {told} by the store and {active} on {at} itself")
            }
            Self::RunsUnplaced { unit, machine, active } => {
                format!("{unit} is {active} on {} and not placed there", short_id(machine))
            }
            Self::OwnedUnplaced { unit, machine } => {
                format!("{} keeps {unit}, which is not placed there", short_id(machine))
            }
            Self::OldTextRuns { unit, machine } => {
                let at = short_id(machine);
                format!("{unit} is up on {at} with another file than the one that is placed")
            }
            Self::LastKnownDiffers { unit, machine } => {
                let at = short_id(machine);
                format!("what {at} has on disk of {unit} is not what is placed there")
            }
            Self::UnitWaits { unit, refusal } => {
                let reasons = clean_lines(refusal).to_string();
                format!("no machine takes {unit}: {}", reasons.trim_end().replace('\n', "; "))
            }
            Self::UnitFailed { unit, machine, problem } => {
                format!("{unit} on {}: {}", short_id(machine), clean_text(problem))
            }
            _ => return None,
        };
        Some(sentence)
    }

    /// The sentence on a machine, a record or the whole cluster.
    fn sentence_of_cluster(&self) -> String {
        match self {
            Self::RecordWithoutLease { key } => {
                format!(
                    "the record {} would outlive its machine: it is under no lease",
                    clean_text(key)
                )
            }
            Self::SlotTwice { group, holder } => {
                format!("{holder} holds two slots of the reboot group {group}")
            }
            Self::OtherCluster { machine, known, store } => {
                let at = short_id(machine);
                format!("{at} belongs to the cluster {known}, and the store is that of {store}")
            }
            Self::StoreUnread { problem } => {
                format!("the store cannot be read: {}", clean_text(problem))
            }
            Self::RecordUnreadable { key, problem } => {
                format!("the record {} cannot be read: {}", clean_text(key), clean_text(problem))
            }
            Self::LeaderMissing => "no daemon leads, so nothing is placed".to_owned(),
            Self::LeaderWithoutLease { machine } => {
                format!("{} leads by its record and is not registered", short_id(machine))
            }
            Self::LeadsTwice { machines } => {
                format!("{} all believe that they lead", all_ids(machines))
            }
            Self::LeaderUnaware { machine } => {
                format!("{} leads by its record and does not know of it", short_id(machine))
            }
            Self::Frozen { machines } => {
                let held = all_ids(machines);
                format!(
                    "{held} vanished together: their units stay where they are until they return"
                )
            }
            Self::MemberMissing { machine } => {
                format!("{} belongs to the cluster and is not registered", short_id(machine))
            }
            Self::MemberUnlisted { machine } => {
                format!("{} is registered and not among the members", short_id(machine))
            }
            Self::SlotsAboveMax { group, holders, max } => {
                format!("{holders} hold a slot of the reboot group {group}, which has {max}")
            }
            Self::SlotOfNobody { group, holder } => {
                format!(
                    "a slot of the reboot group {group} is held by {holder}, which is no host of this cluster"
                )
            }
            Self::StateWithoutMachine { machine, units } => {
                format!(
                    "{} is not registered, and its reports on {units} units are there",
                    short_id(machine)
                )
            }
            _ => self.sentence_of_machine(),
        }
    }

    fn sentence_of_machine(&self) -> String {
        match self {
            Self::MachineSilent { machine, problem } => {
                format!(
                    "{} is registered and does not answer: {}",
                    short_id(machine),
                    clean_text(problem)
                )
            }
            Self::MachineUnregistered { machine } => {
                format!("{} answers and is not registered", short_id(machine))
            }
            Self::MachineTwice { machine, registered, answers } => {
                let (registered, answers) = (clean_text(registered), clean_text(answers));
                let at = short_id(machine);
                format!("{at} registered from boot {registered} and answers from boot {answers}")
            }
            Self::AddressTwice { api, machines } => {
                format!("{} have one address, {}", all_ids(machines), clean_text(api))
            }
            Self::OtherMachineAnswers { machine, answers } => {
                format!("at the address of {} answers {}", short_id(machine), short_id(answers))
            }
            Self::ComponentFailed { machine, component, problem } => {
                let (component, problem) = (clean_text(component), clean_text(problem));
                format!("{component} of {}: {problem}", short_id(machine))
            }
            Self::RunnerUnseen { machine, problem } => {
                let at = short_id(machine);
                format!("what runs on {at} cannot be seen: {}", clean_text(problem))
            }
            Self::FileOfNobody { file } => format!("no unit names the file {}", short_hash(file)),
            Self::CordonOfNobody { machine } => {
                format!("{} is cordoned and not in the cluster", short_id(machine))
            }
            Self::MetadataOfNobody { machine } => {
                format!("{} has metadata and is not in the cluster", short_id(machine))
            }
            Self::RebootOfNobody { machine, key } => {
                format!(
                    "{} is not in the cluster, and the record {key} is about it",
                    short_id(machine)
                )
            }
            Self::HeldForLong { group, holder, hours } => {
                format!("{holder} has held its slot of the reboot group {group} for {hours} h")
            }
            Self::MachineUnasked { machine, problem } => {
                format!("{} was not asked: {}", short_id(machine), clean_text(problem))
            }
            Self::ClockOff { machine, milliseconds } => {
                let (seconds, at) = (milliseconds.unsigned_abs() / 1000, short_id(machine));
                let way = if *milliseconds < 0 { "behind" } else { "ahead" };
                format!("the clock of {at} is {seconds} s {way}")
            }
            Self::VersionMixed { versions } => {
                let versions: Vec<String> =
                    versions.iter().map(|version| clean_text(version).to_string()).collect();
                format!("daemons of several versions: {}", versions.join(", "))
            }
            Self::StoreWarning { problem } => format!("the store: {}", clean_text(problem)),
            _ => self.as_word().to_owned(),
        }
    }
}

fn short_id(machine: &MachineId) -> String {
    format!("{}...", machine.short_id())
}

fn all_ids(machines: &BTreeSet<MachineId>) -> String {
    let ids: Vec<String> = machines.iter().map(short_id).collect();
    ids.join(", ")
}

fn short_hash(file: &muster_common::unit::FileHash) -> String {
    file.to_string().chars().take(SHORT_HASH).collect()
}
