//! The names in certificates.
//!
//! Owns the one name of a host, `<machine>.<cluster>.muster`, and the zone that an authority may speak for. No address is ever in a
//! certificate: a machine that gets another one stays who it is.

use std::fmt;

use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::text::quote_text;

/// The end of every name.
const ROOT: &str = "muster";

/// Longest part of a name between two dots, in bytes (RFC 1035).
const LONGEST_LABEL: usize = 63;

/// The name of a machine in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertifiedName {
    machine: MachineId,
    cluster: ClusterId,
}

/// A name that no host's certificate has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The machine's id cannot be a part of a name.
    #[error(
        "the machine id {} cannot stand in a certificate: expected 1 to 63 of the characters a-z 0-9 - _, with no - at either end; set \
         another machine_id on that machine",
        quote_text(.0.as_str())
    )]
    Machine(MachineId),
    /// The name is of something else.
    #[error("{} is no name of a host: expected MACHINE.CLUSTER.muster", quote_text(.0))]
    Foreign(String),
}

/// The zone of a cluster: its authority's certificates count for names in it and for no others.
pub(crate) fn cluster_zone(cluster: ClusterId) -> String {
    format!("{cluster}.{ROOT}")
}

impl CertifiedName {
    /// The name of a machine. Upper case is refused, since two ids that differ in nothing else would share one name.
    pub fn of_machine(machine: &MachineId, cluster: ClusterId) -> Result<Self, NameError> {
        let word =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let text = machine.as_str();
        let has_hyphen_at_an_end = text.starts_with('-') || text.ends_with('-');
        if text.len() > LONGEST_LABEL || !text.bytes().all(word) || has_hyphen_at_an_end {
            return Err(NameError::Machine(machine.clone()));
        }
        Ok(Self { machine: machine.clone(), cluster })
    }

    /// Reads a name as it stands in a certificate.
    pub fn from_text(text: &str) -> Result<Self, NameError> {
        let foreign = || NameError::Foreign(text.to_owned());
        let mut labels = text.split('.');
        let (Some(machine), Some(cluster), Some(ROOT), None) =
            (labels.next(), labels.next(), labels.next(), labels.next())
        else {
            return Err(foreign());
        };
        let machine = machine.parse().map_err(|_| foreign())?;
        let cluster = cluster.parse().map_err(|_| foreign())?;
        Self::of_machine(&machine, cluster)
    }

    /// The machine.
    pub fn machine(&self) -> &MachineId {
        &self.machine
    }

    /// Its cluster.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster
    }
}

impl fmt::Display for CertifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.machine, cluster_zone(self.cluster))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls_pki_types::DnsName;

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_number(7);

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_written_and_is_one_for_every_library(machine in "[A-Za-z0-9_-]{1,64}") {
            let machine: MachineId = machine.parse().unwrap();
            if let Ok(name) = CertifiedName::of_machine(&machine, CLUSTER) {
                let text = name.to_string();
                prop_assert_eq!(CertifiedName::from_text(&text), Ok(name));
                prop_assert!(DnsName::try_from(text.as_str()).is_ok(), "{}", text);
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic_and_what_it_accepts_it_writes_alike(text in "[ -~é]{0,120}|[a-z0-9-]{1,9}\\.0{31}7\\.muster") {
            if let Ok(name) = CertifiedName::from_text(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn ids_that_cannot_stand_in_a_name_are_refused_with_the_way_out() {
        let long = "a".repeat(64);
        for id in ["M1", "-a", "a-", long.as_str()] {
            let refused = CertifiedName::of_machine(&id.parse().unwrap(), CLUSTER).unwrap_err();
            assert!(refused.to_string().contains("machine_id"), "{refused}");
        }
        for name in
            ["m1", "m1.muster", "m1.x.muster", "a.m1.00000000000000000000000000000007.muster"]
        {
            assert!(matches!(CertifiedName::from_text(name), Err(NameError::Foreign(_))), "{name}");
        }
    }
}
