//! The times for which a container engine answers without a break, and what became of containers between them.
//!
//! Owns the rule for telling a container that ended by itself from one that its engine took along when it stopped.

use muster_common::probe::{is_planted, reached};
use serde::{Deserialize, Serialize};

/// The word of an engine on itself, as it is when a session with it begins. It is remembered with a container that ran then: a daemon
/// that comes later has no other way to know that the engine was away meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRun {
    /// True when live-restore is on; `None` where it says nothing.
    pub live_restore: Option<bool>,
    /// Tells one process of the engine from the next, where anything does.
    pub process: Option<u64>,
}

impl EngineRun {
    /// True if it is known that both are of one process, `None` where nothing says.
    fn is_same_process(self, other: Self) -> Option<bool> {
        let (one, another) = (self.process?, other.process?);
        Some(one == another)
    }
}

/// Counts the sessions with one engine. A session begins when the engine answers, for the first time or again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineSessions {
    count: u64,
    /// What was heard last.
    run: EngineRun,
    /// The session before which an engine took its containers along, the last of them.
    taken_before: u64,
    /// True if the engine did not answer when the daemon looked for it first.
    was_missing: bool,
}

impl EngineSessions {
    /// The engine does not answer.
    pub fn note_silence(&mut self) {
        self.was_missing |= self.count == 0;
    }

    /// Begins another session, with what the engine says of itself now. Where that shows that its process has gone on, nothing was
    /// away but the line to it, and the session goes on as well.
    pub fn begin(&mut self, run: EngineRun) {
        let before = std::mem::replace(&mut self.run, run);
        if self.count > 0 && before.is_same_process(run) == Some(true) {
            return;
        }
        self.count += 1;
        // It may have been switched on or off while the engine was away, or just before.
        if [before.live_restore, run.live_restore].contains(&Some(false)) {
            self.taken_before = self.count;
        }
    }

    /// The number of the present session; the same number means that the engine was not away in between.
    pub fn current_session(&self) -> u64 {
        self.count
    }

    /// The engine's word on itself, once there is one.
    pub fn current_run(&self) -> Option<EngineRun> {
        (self.count > 0).then_some(self.run)
    }

    /// True when a container that ran in that session and has ended since ended because its engine stopped.
    pub fn took_along_since(&self, session: u64) -> bool {
        self.taken_before > session
    }

    /// The same of one that ran when an earlier daemon knew of it last. An engine that does not say which process it is has been away
    /// if it was when this daemon looked for it first, or has gone since.
    pub fn took_along_after(&self, earlier: EngineRun) -> bool {
        let was_away = match earlier.is_same_process(self.run) {
            Some(is_same) => !is_same,
            None => self.was_missing || self.count > 1,
        };
        let takes_along = earlier.live_restore == Some(false) || self.taken_before > 0;
        if !was_away || !takes_along {
            return false;
        }
        reached("container-taken-along-unwatched");
        !is_planted("engine-run-forgotten")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(live_restore: Option<bool>) -> EngineRun {
        EngineRun { live_restore, process: None }
    }

    fn process(number: u64) -> EngineRun {
        EngineRun { live_restore: Some(false), process: Some(number) }
    }

    fn sessions(runs: &[EngineRun]) -> EngineSessions {
        let mut sessions = EngineSessions::default();
        for run in runs {
            sessions.begin(*run);
        }
        sessions
    }

    #[test]
    fn an_engine_without_live_restore_takes_its_containers_along() {
        let mut sessions = EngineSessions::default();
        let mut begin = |live_restore| {
            sessions.begin(run(live_restore));
            sessions
        };
        let first = begin(Some(true));
        assert!(!first.took_along_since(first.current_session()), "it was not away");
        let second = begin(Some(true));
        assert!(!second.took_along_since(first.current_session()), "its containers outlive it");
        let third = begin(Some(false));
        assert!(third.took_along_since(second.current_session()));
        assert!(!third.took_along_since(third.current_session()));
        let fourth = begin(Some(true));
        assert!(
            fourth.took_along_since(third.current_session()),
            "it was off when the engine went"
        );
        let fifth = begin(None);
        assert!(!fifth.took_along_since(fourth.current_session()), "nothing is known");
        assert!(fifth.took_along_since(first.current_session()), "it was taken long before");
    }

    #[test]
    fn a_line_that_breaks_ends_no_session_with_a_process_that_goes_on() {
        let first = sessions(&[process(7)]);
        let again = sessions(&[process(7), process(7)]);
        assert!(!again.took_along_since(first.current_session()));
        let another = sessions(&[process(7), process(8)]);
        assert!(another.took_along_since(first.current_session()));
    }

    #[test]
    fn a_later_daemon_knows_by_the_process_or_by_its_silence() {
        assert!(
            sessions(&[process(8)]).took_along_after(process(7)),
            "it went between two daemons"
        );
        assert!(!sessions(&[process(7)]).took_along_after(process(7)));
        let live = EngineRun { live_restore: Some(true), process: Some(8) };
        assert!(!sessions(&[live]).took_along_after(EngineRun { process: Some(7), ..live }));
        assert!(sessions(&[live]).took_along_after(process(7)), "it was off when the engine went");

        let silent = run(Some(false));
        assert!(!sessions(&[silent]).took_along_after(silent), "it was there all the time");
        let mut found_missing = EngineSessions::default();
        found_missing.note_silence();
        found_missing.begin(silent);
        assert!(found_missing.took_along_after(silent));
        assert!(sessions(&[silent, silent]).took_along_after(silent), "it has gone since");
    }
}
