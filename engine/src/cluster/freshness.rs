//! The age that a picture of the cluster may have for an answer.
//!
//! Owns the way to a picture that is new enough: whether the watch is waited for, or the store is asked for its revision or read anew, and
//! which revision is refused. It waits for nothing itself.

/// The way of one reader to a picture that is new enough: a state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPlan {
    wanted: WantedPicture,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WantedPicture {
    /// At least what the store had when the read began.
    Current,
    /// At least this revision, which is to be one that the store has come to.
    AtLeast(u64),
}

/// The next step of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStep {
    /// Wait for the first picture of the watch.
    AwaitFirst,
    /// Wait a moment for the watch to bring this revision. It may never: the store's revision can be that of a key that the watch does not
    /// cover.
    AwaitRevision(u64),
    /// Ask the store for its revision.
    AskRevision,
    /// Read the whole store, beside the watch.
    ReadStore,
    /// The picture is new enough.
    Ready,
    /// The revision that was asked for is of the future.
    RefuseFuture {
        /// The revision that was asked for.
        revision: u64,
        /// The store's.
        present: u64,
    },
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadInput {
    /// The first picture is there.
    FirstPicture,
    /// The watch has brought the revision in time.
    RevisionReached,
    /// It has not.
    RevisionMissed,
    /// The store is at this revision.
    StoreAt(u64),
    /// The store is behind what the picture had when it was asked: it was restored, and the watch has not said so yet.
    StoreWentBack,
    /// The store was read.
    StoreRead,
}

impl ReadPlan {
    /// A plan for a picture of at least what the store has now. `is_first`: the watch has just been started for this reader, so that its first
    /// picture is new enough.
    pub fn for_current(is_first: bool) -> (Self, ReadStep) {
        let step = if is_first { ReadStep::AwaitFirst } else { ReadStep::AskRevision };
        (Self { wanted: WantedPicture::Current }, step)
    }

    /// A plan for a picture of at least a revision.
    pub fn at_least(revision: u64) -> (Self, ReadStep) {
        (Self { wanted: WantedPicture::AtLeast(revision) }, ReadStep::AwaitFirst)
    }

    /// The step that follows.
    pub fn next_step(&self, input: ReadInput) -> ReadStep {
        match (input, self.wanted) {
            (ReadInput::FirstPicture, WantedPicture::Current)
            | (ReadInput::RevisionReached | ReadInput::StoreRead, _) => ReadStep::Ready,
            (ReadInput::FirstPicture, WantedPicture::AtLeast(revision)) => {
                ReadStep::AwaitRevision(revision)
            }
            (ReadInput::StoreAt(present), WantedPicture::Current) => {
                ReadStep::AwaitRevision(present)
            }
            (ReadInput::RevisionMissed, WantedPicture::Current) | (ReadInput::StoreWentBack, _) => {
                ReadStep::ReadStore
            }
            // Without this question a revision of the future would read the whole store, each time.
            (ReadInput::RevisionMissed, WantedPicture::AtLeast(_)) => ReadStep::AskRevision,
            (ReadInput::StoreAt(present), WantedPicture::AtLeast(revision)) => {
                if revision > present {
                    ReadStep::RefuseFuture { revision, present }
                } else {
                    ReadStep::ReadStore
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps((plan, first): (ReadPlan, ReadStep), inputs: &[ReadInput]) -> Vec<ReadStep> {
        let next = inputs.iter().map(|input| plan.next_step(*input));
        std::iter::once(first).chain(next).collect()
    }

    #[test]
    fn a_watch_that_has_just_begun_is_new_enough_and_one_that_runs_catches_up() {
        use ReadInput::{FirstPicture, RevisionMissed, RevisionReached, StoreAt, StoreRead};
        use ReadStep::{AskRevision, AwaitFirst, AwaitRevision, ReadStore, Ready};
        let first = steps(ReadPlan::for_current(true), &[FirstPicture]);
        assert_eq!(first, [AwaitFirst, Ready]);
        let warm = steps(ReadPlan::for_current(false), &[StoreAt(7), RevisionReached]);
        assert_eq!(warm, [AskRevision, AwaitRevision(7), Ready]);
        let behind = steps(ReadPlan::for_current(false), &[StoreAt(7), RevisionMissed, StoreRead]);
        assert_eq!(behind, [AskRevision, AwaitRevision(7), ReadStore, Ready]);
    }

    #[test]
    fn a_store_that_was_restored_is_read_whatever_the_watch_has_seen() {
        use ReadInput::{StoreRead, StoreWentBack};
        use ReadStep::{AskRevision, ReadStore, Ready};
        let restored = steps(ReadPlan::for_current(false), &[StoreWentBack, StoreRead]);
        assert_eq!(restored, [AskRevision, ReadStore, Ready]);
    }

    #[test]
    fn a_revision_of_the_future_is_refused_and_never_read_for() {
        use ReadInput::{FirstPicture, RevisionMissed, StoreAt, StoreRead};
        use ReadStep::{AskRevision, AwaitFirst, AwaitRevision, ReadStore, Ready, RefuseFuture};
        let inputs = [FirstPicture, RevisionMissed, StoreAt(7), StoreRead];
        let past = steps(ReadPlan::at_least(7), &inputs);
        assert_eq!(past, [AwaitFirst, AwaitRevision(7), AskRevision, ReadStore, Ready]);
        let future = steps(ReadPlan::at_least(8), &inputs[..3]);
        let refused = RefuseFuture { revision: 8, present: 7 };
        assert_eq!(future, [AwaitFirst, AwaitRevision(8), AskRevision, refused]);
    }
}
