//! The attempts at one start of a container.
//!
//! Owns the rule for a start that was not answered: what it has begun is not begun again. A container of the same unit, file and
//! generation that has run is this start's, unless it is the one that was to be replaced. Work may have been done in it, and for a job
//! that is to be once.

use muster_common::probe::{is_planted, reached};

use super::found::Owner;
use super::life::FoundContainer;
use super::sessions::EngineSessions;
use super::translate::Identity;
use super::unit::InspectedContainer;

/// The attempts at a start so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartAttempt {
    /// The container that is to be replaced.
    pub before: Option<String>,
    /// The sessions with the engine when the present attempt began.
    pub began_in: EngineSessions,
    /// The same of the first that was not answered, if any was not.
    pub lost_in: Option<EngineSessions>,
}

impl StartAttempt {
    /// The present attempt was not answered.
    pub fn note_loss(&mut self) {
        self.lost_in.get_or_insert(self.began_in);
    }

    /// The sessions with the engine since which what was found may have run, where an earlier attempt has started it.
    pub fn earliest_session(&self) -> EngineSessions {
        self.lost_in.unwrap_or(self.began_in)
    }

    /// True if the container that has the name was started by an attempt that was not answered.
    pub fn has_started(&self, found: &InspectedContainer, identity: &Identity) -> bool {
        let is_this_starts = matches!(&found.owner, Owner::Ours(of) if of == identity)
            && self.before.as_ref() != Some(&found.id);
        let has_run = found.seen != FoundContainer::Absent;
        if self.lost_in.is_none() || !is_this_starts || !has_run {
            return false;
        }
        reached("container-started-unheard");
        !is_planted("lost-container-start-repeated")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Ended, EngineRun};

    fn identity(generation: u64) -> Identity {
        Identity {
            unit: "web.container".parse().unwrap(),
            file: muster_common::unit::FileHash::of_text(""),
            generation,
            cluster: "here".to_owned(),
        }
    }

    fn container(id: &str, generation: u64, seen: FoundContainer) -> InspectedContainer {
        InspectedContainer {
            id: id.to_owned(),
            owner: Owner::Ours(identity(generation)),
            seen,
            stop_signal: None,
            fault: String::new(),
            paused: false,
        }
    }

    #[test]
    fn what_an_attempt_has_begun_is_found_by_its_marks() {
        let mut attempt = StartAttempt { before: Some("a".to_owned()), ..StartAttempt::default() };
        attempt.note_loss();
        let lost_in = attempt.lost_in;
        attempt.began_in.begin(EngineRun::default());
        assert_eq!(attempt.earliest_session(), EngineSessions::default(), "it is of the first");
        let ended = FoundContainer::Ended(Ended { code: 0, oom: false });
        let runs = FoundContainer::Running(None);
        for (id, generation, seen, has_started) in [
            ("b", 5, runs, true),
            ("b", 5, ended, true),
            ("b", 5, FoundContainer::Absent, false),
            ("b", 4, runs, false),
            ("a", 5, ended, false),
        ] {
            let found = container(id, generation, seen);
            assert_eq!(attempt.has_started(&found, &identity(5)), has_started, "{found:?}");
        }
        let first = StartAttempt { lost_in: None, ..attempt };
        assert!(!first.has_started(&container("b", 5, runs), &identity(5)));
        let foreign = InspectedContainer { owner: Owner::Foreign, ..container("b", 5, runs) };
        assert!(!StartAttempt { lost_in, ..first }.has_started(&foreign, &identity(5)));
    }
}
