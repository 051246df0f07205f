//! What a daemon makes of the containers it finds: whose they are, and how they are.

use std::collections::BTreeMap;

use muster_common::container::ContainerStatus;
use muster_common::unit::FileHash;

use super::life::{Ended, FoundContainer, HealthState};
use super::translate::{Identity, LABEL_CLUSTER, LABEL_FILE, LABEL_GENERATION, LABEL_UNIT};

/// Whose a container, a volume or a network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This cluster's.
    Ours(Identity),
    /// Another cluster's on the same engine, by its name.
    OtherCluster(String),
    /// Somebody else's, never to be touched. One whose labels cannot be read is too.
    Foreign,
}

/// Whose something with these labels is.
pub fn owner_by_labels(labels: &BTreeMap<String, String>, cluster: &str) -> Owner {
    let Some(theirs) = labels.get(LABEL_CLUSTER) else { return Owner::Foreign };
    if theirs != cluster {
        return Owner::OtherCluster(theirs.clone());
    }
    let identity = || {
        Some(Identity {
            unit: labels.get(LABEL_UNIT)?.parse().ok()?,
            file: labels.get(LABEL_FILE)?.parse::<FileHash>().ok()?,
            generation: labels.get(LABEL_GENERATION)?.parse().ok()?,
            cluster: theirs.clone(),
        })
    };
    identity().map_or(Owner::Foreign, Owner::Ours)
}

/// The answer of Docker's inspect call about a container's state, `.State`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected<'a> {
    /// `Status`.
    pub status: ContainerStatus,
    /// `ExitCode`.
    pub exit_code: i64,
    /// `OOMKilled`.
    pub oom: bool,
    /// `Health.Status`, where there is a check.
    pub health: Option<&'a str>,
}

impl FoundContainer {
    /// The meaning of a container's state. One that was made and never ran is as good as none; one that is paused runs, for
    /// whoever paused it has a reason; of one in a state this version does not know it is not concluded that it has ended.
    pub fn from_inspected(state: &Inspected<'_>) -> Self {
        match state.status {
            ContainerStatus::Created => Self::Absent,
            ContainerStatus::Dead | ContainerStatus::Exited | ContainerStatus::Removing => {
                Self::Ended(Ended { code: state.exit_code, oom: state.oom })
            }
            ContainerStatus::Running
            | ContainerStatus::Paused
            | ContainerStatus::Restarting
            | ContainerStatus::Other(_) => {
                Self::Running(state.health.and_then(HealthState::from_word))
            }
        }
    }
}

impl HealthState {
    /// Docker's word for it; `None` where there is no check.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "starting" => Some(Self::Starting),
            "healthy" => Some(Self::Healthy),
            "unhealthy" => Some(Self::Unhealthy),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_has_all_our_labels_is_ours() {
        let file = FileHash::of_text("a");
        let hash = file.to_string();
        let all = [
            (LABEL_UNIT, "web.container"),
            (LABEL_FILE, hash.as_str()),
            (LABEL_GENERATION, "3"),
            (LABEL_CLUSTER, "here"),
        ];
        let identity = Identity {
            unit: "web.container".parse().unwrap(),
            file,
            generation: 3,
            cluster: "here".to_owned(),
        };
        assert_eq!(owner_by_labels(&labels(&all), "here"), Owner::Ours(identity));
        assert_eq!(owner_by_labels(&labels(&all), "there"), Owner::OtherCluster("here".to_owned()));
        for missing in 0..all.len() {
            let mut some = all.to_vec();
            some.remove(missing);
            assert_eq!(owner_by_labels(&labels(&some), "here"), Owner::Foreign);
        }
        let bad = [all[0], (LABEL_FILE, "x"), all[2], all[3]];
        assert_eq!(owner_by_labels(&labels(&bad), "here"), Owner::Foreign);
    }

    #[test]
    fn states_are_dockers() {
        let seen = |status: &str, health| {
            let status = ContainerStatus::from(status);
            FoundContainer::from_inspected(&Inspected { status, exit_code: 3, oom: true, health })
        };
        let ended = FoundContainer::Ended(Ended { code: 3, oom: true });
        assert_eq!(seen("created", None), FoundContainer::Absent);
        assert_eq!(seen("running", Some("none")), FoundContainer::Running(None));
        assert_eq!(
            seen("running", Some("unhealthy")),
            FoundContainer::Running(Some(HealthState::Unhealthy))
        );
        assert_eq!(seen("paused", None), FoundContainer::Running(None));
        assert_eq!(seen("frozen", None), FoundContainer::Running(None));
        assert_eq!((seen("exited", None), seen("dead", None)), (ended, ended));
    }
}
