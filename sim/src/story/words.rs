//! Faults, requests and units in words.
//!
//! Owns how what a plan has as data is told. A kind that has no sentence here is told by its name, so that a new one needs nothing.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::moment::Micros;
use crate::plan::Plan;

/// By the kind of a fault or request: the sentence. `{}` stands for whom or what it is about.
const SENTENCES: &[(&str, &str)] = &[
    ("cut", "the line between {} and the store is cut"),
    ("cut-to-store", "nothing of {} reaches the store, and it hears what the store says"),
    ("cut-from-store", "{} hears nothing of the store, which carries out what it asks"),
    ("cut-many", "the lines between {} and the store are cut together"),
    ("lag", "messages of {} take seconds"),
    ("loss", "messages of {} are lost at times"),
    ("store-paused", "the store stands still, and leases run out"),
    ("store-away", "the store is away; leases get their time again when it is back"),
    ("store-full", "the store is full and takes no writes"),
    ("lease-ends", "the lease of {} is ended by force"),
    ("daemon-killed", "the daemon of {} is killed"),
    ("daemon-restarted", "the daemon of {} is stopped, as for an upgrade"),
    ("daemon-paused", "the daemon of {} stands still"),
    ("power-cut", "{} loses its power"),
    ("shutdown", "{} shuts down in order"),
    ("cloned", "a machine is switched on again with a copy of another's disk"),
    ("wall-jump", "the time of day of {} is set"),
    ("runner-lost", "the daemon of {} loses its line to systemd"),
    ("systemd-busy", "systemd on {} is busy and reads no calls"),
    ("systemd-reloaded", "somebody has systemd on {} read all unit files anew"),
    ("systemd-reexecuted", "somebody has systemd on {} execute itself anew"),
    ("unit-fails", "a unit of {} fails by itself"),
    ("stopped-by-hand", "a person stops a unit on {}, past its daemon"),
    ("started-by-hand", "a person starts a unit on {}, past its daemon"),
    ("job-cancelled", "a person cancels a job of systemd on {}"),
    ("file-edited", "a person edits a unit's file on {}"),
    ("name-taken", "{} has a unit of its own under the name of one of the cluster's"),
    ("suspended", "{} sleeps"),
    ("soft-reboot", "the userspace of {} goes down, and is there again at once"),
    ("engine-restarted", "the container engine of {} is stopped, and started again after it"),
    ("engine-killed", "the container engine of {} is killed, and started again after it"),
    ("engine-hung", "the container engine of {} reads no calls"),
    ("engine-lost", "the daemon of {} loses its line to the container engine"),
    ("events-lost", "the container engine of {} tells nobody of what happens"),
    ("registry-away", "no image can be fetched on {}"),
    ("images-pruned", "a person removes all images on {}"),
    ("container-killed", "a person kills a container on {}"),
    ("container-out-of-memory", "a container on {} has used up its memory"),
    ("container-stopped", "a person stops a container on {}"),
    ("container-started", "a person starts a container on {} that has ended"),
    ("container-removed", "a person removes a container on {}"),
    ("container-paused", "a person has a container on {} stand still"),
    (
        "container-name-taken",
        "{} has a container of its own under the name of one of the cluster's",
    ),
    ("launch", "a user wants {} to run"),
    ("load", "a user wants {} loaded and not up"),
    ("deactivate", "a user wants {} to be nowhere"),
    ("destroy", "a user destroys {}"),
    ("cordon", "a user cordons {}"),
    ("drain", "a user drains {}"),
    ("uncordon", "a user takes the cordon of {} away"),
    ("unfreeze", "a user ends the freeze"),
    ("submit", "a user submits a file of {}"),
    ("start", "a user starts {}"),
    ("restart", "a user restarts {}"),
    ("replace", "a user destroys {} and launches it anew"),
    ("reboot", "a user asks {} to reboot"),
    ("cancel-reboot", "a user takes back that {} reboots"),
    ("set-slots", "a user sets how many machines may reboot at a time"),
    ("upgrade", "the daemon of {} is replaced by one of another version"),
    ("write-by-hand", "somebody writes a record by hand"),
    ("take-away-by-hand", "what was written by hand is taken away"),
    ("look", "a user looks at everything"),
    ("doctor", "a person looks for what is wrong with the cluster"),
];

/// By the kind of a unit: how it is.
const UNIT_KINDS: &[(&str, &str)] = &[
    ("plain", "a service that may run anywhere"),
    ("spread", "never beside another of its kind"),
    ("single", "it may not run twice"),
    ("keeper", "it keeps data on its machine"),
    ("job", "a job: begun once, and done when it ends"),
    ("global", "on every machine"),
    ("timed", "a timer starts it again and again"),
    ("timer", "the timer of such a service, on its machine"),
    ("served", "a socket starts it"),
    ("socket", "the socket of such a service, on its machine"),
];

/// A fault that begins.
pub(super) fn describe_fault(fault: &impl Serialize, lasts: Micros, plan: &Plan) -> String {
    let text = describe_item(fault, plan);
    if lasts == Micros::ZERO { text } else { format!("{text}, for {lasts} s") }
}

/// A fault or a request.
pub(super) fn describe_item(item: &impl Serialize, plan: &Plan) -> String {
    let (kind, about) = kind_and_details(item);
    let mut subject = String::new();
    let mut details = String::new();
    collect_details(&about, None, plan, &mut subject, &mut details);
    let sentence = SENTENCES.iter().find(|(known, _)| *known == kind);
    match sentence {
        Some((_, sentence)) => format!("{}{details}", sentence.replace("{}", &subject)),
        None if subject.is_empty() => format!("{kind}{details}"),
        None => format!("{kind}: {subject}{details}"),
    }
}

/// The kind of a unit in words.
pub(super) fn describe_kind(kind: &impl Serialize) -> String {
    let (kind, _) = kind_and_details(kind);
    let known = UNIT_KINDS.iter().find(|(known, _)| *known == kind);
    known.map_or(kind, |(_, text)| (*text).to_owned())
}

/// The unit that a request is about.
pub(super) fn unit_of(request: &impl Serialize, plan: &Plan) -> Option<String> {
    let (_, about) = kind_and_details(request);
    unit_name(about.get("unit")?, plan)
}

fn unit_name(number: &Value, plan: &Plan) -> Option<String> {
    let number = usize::try_from(number.as_u64()?).ok()?;
    plan.shape.units.get(number).map(|unit| unit.name.to_string())
}

/// An enum as it is written down: the name of its variant, and what is in it.
fn kind_and_details(item: &impl Serialize) -> (String, Value) {
    match serde_json::to_value(item) {
        Ok(Value::String(kind)) => (kind, Value::Null),
        Ok(Value::Object(fields)) => host_kind(fields.into_iter().next().unwrap_or_default()),
        _ => (String::new(), Value::Null),
    }
}

/// A fault of one host, or of its container engine, has its kind within. The number that picks a unit there, of those there are then, says
/// nothing to a reader.
fn host_kind((kind, about): (String, Value)) -> (String, Value) {
    match (kind.as_str(), about) {
        ("host" | "container", Value::Array(parts)) => match parts.as_slice() {
            [machine, fault] => (kind_and_details(fault).0, machine.clone()),
            _ => (kind, Value::Array(parts)),
        },
        (_, about) => (kind, about),
    }
}

/// Tells what is in an item. Machines and units stand there by their numbers: a first number without a name is a machine's.
fn collect_details(
    about: &Value,
    field: Option<&str>,
    plan: &Plan,
    subject: &mut String,
    details: &mut String,
) {
    match (about, field) {
        (Value::Null, _) => {}
        (Value::Object(fields), _) => {
            for (name, value) in fields {
                collect_details(value, Some(name), plan, subject, details);
            }
        }
        (Value::Array(values), None | Some("machines")) => {
            for value in values {
                // Of a pair the second one says more about the first.
                let is_machine = value.as_u64().is_some_and(|n| n < plan.shape.machines as u64);
                let field = if is_machine { None } else { Some("number") };
                collect_details(value, field, plan, subject, details);
            }
        }
        (Value::Number(number), None | Some("machine")) => {
            add_subject(subject, &format!("m{number}"));
        }
        (number, Some("unit")) if number.is_u64() => {
            add_subject(subject, &unit_name(number, plan).unwrap_or_default());
        }
        (value, field) => {
            // A string takes everything.
            let _ = write!(details, ", {} {value}", field.unwrap_or_default());
        }
    }
}

fn add_subject(subject: &mut String, name: &str) {
    if !subject.is_empty() {
        subject.push_str(", ");
    }
    subject.push_str(name);
}

/// The same text with the prefix of the store's keys taken away, and file hashes made short.
pub(super) fn shorten_line(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            short.push(' ');
        }
        let word = word.replace("/muster/v1/", "");
        short.push_str(&shorten_hashes(&word));
    }
    short
}

/// The digits of a file's hash that are enough to tell it from another.
const HASH_DIGITS: usize = 6;

fn shorten_hashes(word: &str) -> String {
    let mut short = String::new();
    let mut digits = String::new();
    for letter in word.chars().chain(std::iter::once(' ')) {
        if letter.is_ascii_hexdigit() {
            digits.push(letter);
            continue;
        }
        let kept = if digits.len() >= 32 { HASH_DIGITS } else { digits.len() };
        short.extend(digits.chars().take(kept));
        digits.clear();
        short.push(letter);
    }
    short.pop();
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::container_faults::ContainerFault;
    use crate::plan::faults::Fault;
    use crate::plan::host_faults::HostFault;
    use crate::plan::users::UserRequest;

    #[test]
    fn faults_and_requests_are_told_in_words() {
        let plan = Plan::for_seed(1);
        let unit = &plan.shape.units[0].name;
        let second = Micros::from_secs(1);
        for (fault, text) in [
            (Fault::Cut(1), "the line between m1 and the store is cut, for 1.000000 s"),
            (
                Fault::CutMany(vec![0, 1]),
                "the lines between m0, m1 and the store are cut together, for 1.000000 s",
            ),
            (Fault::WallJump(1, -400), "the time of day of m1 is set, number -400, for 1.000000 s"),
            (
                Fault::Host(1, HostFault::UnitFails(77)),
                "a unit of m1 fails by itself, for 1.000000 s",
            ),
            (Fault::Host(0, HostFault::Suspended), "m0 sleeps, for 1.000000 s"),
            (
                Fault::Container(1, ContainerFault::ContainerKilled(5)),
                "a person kills a container on m1, for 1.000000 s",
            ),
        ] {
            assert_eq!(describe_fault(&fault, second, &plan), text);
        }
        let launch = UserRequest::Launch { unit: 0, version: 2 };
        assert_eq!(describe_item(&launch, &plan), format!("a user wants {unit} to run, version 2"));
        assert_eq!(describe_item(&UserRequest::Unfreeze, &plan), "a user ends the freeze");
    }

    #[test]
    fn hashes_and_prefixes_are_made_short() {
        let hash = "0c5e4ebc43151a2fb31679d2b62316d1de58b2c9c237d3df945313012b601c9d";
        let text = format!("m1 commits +/muster/v1/file/{hash}: at 7 {{ file: {hash}, x }}");
        assert_eq!(shorten_line(&text), "m1 commits +file/0c5e4e: at 7 { file: 0c5e4e, x }");
        assert_eq!(shorten_line("m1 feeds beef"), "m1 feeds beef");
    }
}
