//! systemd's words on D-Bus, and ours.
//!
//! Owns the names of its properties, the object paths of its units, and what its signals carry (org.freedesktop.systemd1(5)). It
//! talks to nobody.

use std::collections::HashMap;

use muster_common::state::ActiveState;
use muster_common::unit::UnitName;
use zbus::message::Body;
use zbus::{ObjectPath, OwnedVariant, Variant};

use super::manager::{JobId, JobKind, JobResult, ManagerSignal, PropertyValue, UnitProperty};

/// The interface whose properties are read: every unit has it, and systemd's word of a unit's state is there.
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The interface services have besides.
const SERVICE: &str = "org.freedesktop.systemd1.Service";
/// Prefix of the object paths of units.
const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/";

/// One entry of `ListUnits`: name, description, load, active, sub, following, path, job, job type, job path.
pub(super) type UnitEntry<'a> = (
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    ObjectPath<'a>,
    u32,
    &'a str,
    ObjectPath<'a>,
);

/// The method of the manager that enqueues a job.
pub(super) fn job_method(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Start => "StartUnit",
        JobKind::Stop => "StopUnit",
        JobKind::Restart => "RestartUnit",
    }
}

/// Interface and name of a property.
pub(super) fn property_name(property: UnitProperty) -> (&'static str, &'static str) {
    match property {
        UnitProperty::LoadState => (UNIT, "LoadState"),
        UnitProperty::ActiveState => (UNIT, "ActiveState"),
        UnitProperty::SubState => (UNIT, "SubState"),
        UnitProperty::FragmentPath => (UNIT, "FragmentPath"),
        UnitProperty::NeedDaemonReload => (UNIT, "NeedDaemonReload"),
        UnitProperty::JobNumber => (UNIT, "Job"),
        UnitProperty::InvocationId => (UNIT, "InvocationID"),
        UnitProperty::Result => (SERVICE, "Result"),
        UnitProperty::ExecMainCode => (SERVICE, "ExecMainCode"),
        UnitProperty::ExecMainStatus => (SERVICE, "ExecMainStatus"),
        UnitProperty::RestartCount => (SERVICE, "NRestarts"),
    }
}

/// A property's value; `None` if it has another type than any that is asked for.
pub(super) fn property_value(value: &OwnedVariant) -> Option<PropertyValue> {
    Some(match &**value {
        Variant::Str(text) => PropertyValue::Text(text.as_str().to_owned()),
        Variant::Bool(flag) => PropertyValue::Flag(*flag),
        Variant::I32(number) => PropertyValue::Number(i64::from(*number)),
        Variant::U32(number) => PropertyValue::Number(i64::from(*number)),
        Variant::Array(_) => PropertyValue::Bytes(read_bytes(value)),
        // `Job`: number and path.
        Variant::Structure(job) => match job.fields().first() {
            Some(Variant::U32(number)) => PropertyValue::Number(i64::from(*number)),
            _ => return None,
        },
        _ => return None,
    })
}

/// `JobRemoved(u id, o job, s unit, s result)`.
pub(super) fn job_removed(body: &Body) -> Option<ManagerSignal> {
    let (_, job, _, result) = body.deserialize::<(u32, ObjectPath<'_>, &str, &str)>().ok()?;
    let job = JobId(job.as_str().to_owned());
    Some(ManagerSignal::JobRemoved { job, result: JobResult::from(result) })
}

/// `PropertiesChanged` of a unit's Unit interface: a hint that carries all we report. A change that says nothing of the state is one of
/// the job's alone.
pub(super) fn unit_changed(unit: UnitName, body: &Body) -> Option<ManagerSignal> {
    let changed = body.deserialize::<(&str, HashMap<&str, Variant<'_>>, Vec<&str>)>();
    let (interface, properties, _) = changed.ok()?;
    if interface != UNIT {
        return None;
    }
    let text = |name: &str| match properties.get(name) {
        Some(Variant::Str(text)) => Some(text.as_str().to_owned()),
        _ => None,
    };
    let (active, sub) = (text("ActiveState")?, text("SubState")?);
    let since = match properties.get("StateChangeTimestamp") {
        Some(Variant::U64(microseconds)) => microseconds / 1_000_000,
        _ => 0,
    };
    let invocation = properties.get("InvocationID").map(read_bytes).unwrap_or_default();
    Some(ManagerSignal::UnitChanged {
        unit,
        active: ActiveState::from(active.as_str()),
        sub,
        invocation: to_hexadecimal(&invocation),
        since,
    })
}

/// The unit an object path stands for. systemd writes every byte that is not a letter or a digit as `_` and two
/// hexadecimal digits.
pub(super) fn unit_of(path: &str) -> Option<UnitName> {
    let escaped = path.strip_prefix(UNIT_PATH)?;
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'_' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            name.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()?.parse().ok()
}

/// An object path for a unit, the reverse of [`unit_of`].
pub(super) fn path_of(unit: &UnitName) -> String {
    use std::fmt::Write as _;
    let mut path = UNIT_PATH.to_owned();
    for (index, byte) in unit.as_str().bytes().enumerate() {
        // A digit in the first place is escaped as well, since labels of other buses must not begin with one.
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

/// An array of bytes; empty when it is none.
fn read_bytes(value: &Variant<'_>) -> Vec<u8> {
    let Variant::Array(bytes) = value else { return Vec::new() };
    let bytes = bytes.iter().filter_map(|byte| match byte {
        Variant::U8(byte) => Some(*byte),
        _ => None,
    });
    bytes.collect()
}

/// Two hexadecimal digits for each byte.
pub(super) fn to_hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_are_each_others_reverse() {
        for (name, path) in [
            ("web@1.service", "web_401_2eservice"),
            ("a-b\\x2dc.mount", "a_2db_5cx2dc_2emount"),
            ("0a.service", "_30a_2eservice"),
        ] {
            let unit: UnitName = name.parse().unwrap();
            let path = format!("{UNIT_PATH}{path}");
            assert_eq!(path_of(&unit), path);
            assert_eq!(unit_of(&path), Some(unit));
        }
    }

    #[test]
    fn paths_that_stand_for_no_unit_are_passed_over() {
        for path in [
            "/",
            "/org/freedesktop/systemd1",
            "/org/freedesktop/systemd1/unit/a_2",
            "/org/freedesktop/systemd1/unit/_zz",
        ] {
            assert_eq!(unit_of(path), None, "{path}");
        }
    }
}
