//! The times for which a container engine answers without a break, and what became of containers between them.
//!
//! Owns the rule for telling a container that ended by itself from one that its engine took along when it stopped.

/// Counts the sessions with one engine. A session begins when the engine answers, for the first time or again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineSessions {
    count: u64,
    /// True when live-restore is on, as last heard.
    live_restore: Option<bool>,
    /// True when the engine that was last away took its containers along.
    took_along: bool,
}

impl EngineSessions {
    /// Begins another session, with what the engine now says of live-restore; `None` where it says nothing.
    pub fn begin(&mut self, live_restore: Option<bool>) {
        // It may have been switched on or off while the engine was away, or just before.
        self.took_along = [self.live_restore, live_restore].contains(&Some(false));
        self.live_restore = live_restore;
        self.count += 1;
    }

    /// The number of the present session; the same number means that the engine was not away in between.
    pub fn current_session(&self) -> u64 {
        self.count
    }

    /// True when a container that ran in that session and has ended since ended because its engine stopped.
    pub fn took_along_since(&self, session: u64) -> bool {
        self.count != session && self.took_along
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_without_live_restore_takes_its_containers_along() {
        let mut sessions = EngineSessions::default();
        let mut begin = |live_restore| {
            sessions.begin(live_restore);
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
    }
}
