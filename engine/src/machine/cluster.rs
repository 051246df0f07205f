//! Whether a store is ours.
//!
//! Owns the comparison of the cluster that a machine remembers with the one that a store holds, and the words for a store that is
//! not the machine's. A store that lost its data, another prefix and another cluster's etcd look alike at first: nothing is placed
//! here. Whoever believed that would stop everything. So a machine that has carried out placements of one cluster believes no
//! other, and none at all, until a person says so on that machine. One that was in a cluster and never carried anything out has
//! nothing to lose, and may join another; but it begins none: an emptied store would look like a new cluster to everybody.
//!
//! | remembered | the store holds | it is |
//! | --- | --- | --- |
//! | a cluster | the same | ours |
//! | a cluster | another, or none | not ours |
//! | a cluster of which nothing was carried out | that one or another | ours |
//! | a cluster of which nothing was carried out | none | not ours |
//! | nothing, and nothing runs from before, or a person says so | a cluster | ours from now on |
//! | nothing, and nothing runs from before, or a person says so | none | ours to begin |
//! | nothing, but units of a release before | a cluster, or records | ours, and gets an identity |
//! | nothing, but units of a release before | nothing at all | not ours |
//! | something that cannot be read | whatever it is | not ours |

use std::fmt;

use muster_common::cluster_id::ClusterId;
use muster_common::probe::is_planted;

/// The memory that a machine has of the cluster whose placements it has carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RememberedCluster {
    /// This one.
    Known(ClusterId),
    /// This one, and no placement was ever carried out.
    Seen(ClusterId),
    /// None: the machine was in none yet. A daemon that has been in one meanwhile knows better.
    Nothing,
    /// None, by the word of a person: whatever the store holds is the machine's from now on.
    BeginsAnew,
    /// None, but placements were carried out: by a release that remembered no identity.
    OlderRelease,
    /// Something that cannot be read.
    Unreadable,
}

/// The cluster that a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredCluster {
    /// This one.
    Identified(ClusterId),
    /// One without an identity: of a release that gave none.
    Unidentified,
    /// None that has an identity; whether there is anything else in it was not looked at, or there is not a single unit.
    Absent,
}

/// The outcome of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterVerdict {
    /// The store is this machine's.
    Ours(ClusterId),
    /// It is this machine's once it has an identity, which this machine may give it.
    ToEstablish,
    /// It is not.
    Foreign(ForeignCluster),
}

/// A store that is not this machine's. Its text is for people, and says what they can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignCluster {
    /// The machine's own cluster.
    pub remembered: RememberedCluster,
    /// The one in the store.
    pub stored: StoredCluster,
}

/// Compares what is remembered with what the store holds.
pub fn judge_store(remembered: RememberedCluster, stored: StoredCluster) -> ClusterVerdict {
    let foreign = ClusterVerdict::Foreign(ForeignCluster { remembered, stored });
    let accepted = match stored {
        StoredCluster::Identified(id) => ClusterVerdict::Ours(id),
        StoredCluster::Unidentified | StoredCluster::Absent => ClusterVerdict::ToEstablish,
    };
    if is_planted("any-store-is-ours") {
        return accepted;
    }
    match (remembered, stored) {
        (RememberedCluster::Known(ours), StoredCluster::Identified(id)) if ours == id => accepted,
        (RememberedCluster::Known(_) | RememberedCluster::Unreadable, _)
        | (RememberedCluster::OlderRelease, StoredCluster::Absent) => foreign,
        (RememberedCluster::Seen(_), StoredCluster::Unidentified | StoredCluster::Absent)
            if !is_planted("idle-machine-begins-a-cluster") =>
        {
            foreign
        }
        (
            RememberedCluster::Seen(_)
            | RememberedCluster::Nothing
            | RememberedCluster::BeginsAnew
            | RememberedCluster::OlderRelease,
            _,
        ) => accepted,
    }
}

impl fmt::Display for ForeignCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = match self.stored {
            StoredCluster::Identified(id) => format!("the store holds cluster {id}"),
            StoredCluster::Unidentified => "the store holds a cluster without identity".to_owned(),
            StoredCluster::Absent => "the store holds no cluster".to_owned(),
        };
        let remembered = match self.remembered {
            RememberedCluster::Known(id) | RememberedCluster::Seen(id) => {
                format!("this machine belongs to cluster {id}")
            }
            RememberedCluster::Unreadable => {
                "what this machine remembers of its cluster cannot be read".to_owned()
            }
            RememberedCluster::OlderRelease
            | RememberedCluster::BeginsAnew
            | RememberedCluster::Nothing => "this machine has units of a cluster".to_owned(),
        };
        let adopted = match self.stored {
            StoredCluster::Identified(id) => id.to_string(),
            StoredCluster::Unidentified | StoredCluster::Absent => "none".to_owned(),
        };
        write!(
            f,
            "{stored}, and {remembered}: nothing is started, stopped or written; repair the store, its addresses or the prefix, or \
             give up what runs here for what that store says: musterd --adopt-cluster={adopted}, on this machine"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: ClusterId = ClusterId::from_number(1);
    const OTHER: ClusterId = ClusterId::from_number(2);

    #[test]
    fn a_machine_with_a_cluster_believes_no_other_store() {
        let remembered = RememberedCluster::Known(OURS);
        let judged = |stored| judge_store(remembered, stored);
        assert_eq!(judged(StoredCluster::Identified(OURS)), ClusterVerdict::Ours(OURS));
        for stored in
            [StoredCluster::Identified(OTHER), StoredCluster::Unidentified, StoredCluster::Absent]
        {
            let foreign = ForeignCluster { remembered, stored };
            assert_eq!(judged(stored), ClusterVerdict::Foreign(foreign));
            let said = foreign.to_string();
            assert!(
                said.contains("--adopt-cluster=") && said.contains(&OURS.to_string()),
                "{said}"
            );
        }
    }

    #[test]
    fn a_new_machine_takes_what_it_finds() {
        for remembered in [RememberedCluster::Nothing, RememberedCluster::BeginsAnew] {
            let judged = |stored| judge_store(remembered, stored);
            assert_eq!(judged(StoredCluster::Identified(OTHER)), ClusterVerdict::Ours(OTHER));
            assert_eq!(judged(StoredCluster::Unidentified), ClusterVerdict::ToEstablish);
            assert_eq!(judged(StoredCluster::Absent), ClusterVerdict::ToEstablish);
        }
    }

    #[test]
    fn a_machine_without_units_may_join_another_cluster_and_begins_none() {
        let judged = |stored| judge_store(RememberedCluster::Seen(OURS), stored);
        assert_eq!(judged(StoredCluster::Identified(OURS)), ClusterVerdict::Ours(OURS));
        assert_eq!(judged(StoredCluster::Identified(OTHER)), ClusterVerdict::Ours(OTHER));
        for stored in [StoredCluster::Unidentified, StoredCluster::Absent] {
            assert!(matches!(judged(stored), ClusterVerdict::Foreign(_)), "{stored:?}");
        }
    }

    #[test]
    fn units_of_an_older_release_are_not_given_up_for_an_empty_store() {
        let judged = |stored| judge_store(RememberedCluster::OlderRelease, stored);
        assert_eq!(judged(StoredCluster::Identified(OTHER)), ClusterVerdict::Ours(OTHER));
        assert_eq!(judged(StoredCluster::Unidentified), ClusterVerdict::ToEstablish);
        assert!(matches!(judged(StoredCluster::Absent), ClusterVerdict::Foreign(_)));
    }
}
