//! The watches of the embedded store.
//!
//! A watcher that does not keep up costs a bounded queue and nothing more: it is given a fresh `Reset` once it has
//! read what is queued for it. The writer never waits for a watcher.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::image::{Batch, Image};
use crate::store::{KeyChange, Range, Watch, WatchEvent};

/// Events queued for one watcher before it counts as behind.
const QUEUED_EVENTS: usize = 1024;

#[derive(Debug)]
struct EmbeddedWatcher {
    range: Range,
    events: mpsc::Sender<WatchEvent>,
    /// It has missed something and is owed a `Reset`.
    behind: bool,
    /// The revision of the last event it was given.
    revision: u64,
}

/// All running watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watchers: Vec<EmbeddedWatcher>,
}

impl Watches {
    /// Adds a watch, which begins with what the image holds now.
    pub(super) fn add_watcher(&mut self, range: Range, image: &Image) -> Watch {
        let (sender, events) = mpsc::channel(QUEUED_EVENTS);
        let behind = sender.try_send(WatchEvent::Reset(image.list(&range))).is_err();
        self.watchers.push(EmbeddedWatcher {
            range,
            events: sender,
            behind,
            revision: image.revision,
        });
        Watch { events }
    }

    /// Tells every watcher what a batch changed, after the image has taken it over.
    pub(super) fn publish_batch(&mut self, batch: &Batch, image: &Image) {
        self.watchers.retain_mut(|watcher| {
            if watcher.events.is_closed() {
                return false;
            }
            if watcher.behind {
                watcher.catch_up(image);
                return true;
            }
            let changes: Vec<KeyChange> = batch
                .changes
                .iter()
                .filter(|change| watcher.range.contains(change.key()))
                .cloned()
                .collect();
            if !changes.is_empty() {
                // Each batch that changes something has a revision of its own, and they come in the order they are written.
                debug_assert!(batch.revision > watcher.revision, "an event came late");
                watcher.revision = batch.revision;
                let event = WatchEvent::Changes { revision: batch.revision, changes };
                watcher.behind =
                    matches!(watcher.events.try_send(event), Err(TrySendError::Full(_)));
            }
            true
        });
    }

    /// Gives those who are behind a `Reset` if they have room for it. Returns whether any is still behind.
    pub(super) fn catch_up(&mut self, image: &Image) -> bool {
        self.watchers.retain(|watcher| !watcher.events.is_closed());
        for watcher in self.watchers.iter_mut().filter(|w| w.behind) {
            watcher.catch_up(image);
        }
        self.watchers.iter().any(|watcher| watcher.behind)
    }
}

impl EmbeddedWatcher {
    fn catch_up(&mut self, image: &Image) {
        if let Ok(place) = self.events.try_reserve() {
            place.send(WatchEvent::Reset(image.list(&self.range)));
            self.behind = false;
            debug_assert!(image.revision >= self.revision, "a reset came late");
            self.revision = image.revision;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::image::ImageDraft;
    use crate::store::{CommitOutcome, Op};
    use std::time::Instant;

    fn put(image: &mut Image, watches: &mut Watches, key: &str) {
        let mut draft = ImageDraft::new(image);
        let op = Op::Put { key: key.to_owned(), value: "v".into(), lease: None };
        assert!(matches!(draft.commit(&[], vec![op]), Ok(CommitOutcome::Done { .. })));
        let batch = draft.into_batch();
        image.apply(&batch, Instant::now());
        watches.publish_batch(&batch, image);
    }

    #[test]
    fn a_watcher_that_falls_behind_gets_a_reset_with_everything_once_it_reads_on() {
        let (mut image, mut watches) = (Image::default(), Watches::default());
        let mut watch = watches.add_watcher(Range::Prefix("a/".to_owned()), &image);
        for n in 0..QUEUED_EVENTS * 2 {
            put(&mut image, &mut watches, &format!("a/{n:05}"));
        }
        assert!(watches.catch_up(&image), "its queue is full");
        for _ in 0..QUEUED_EVENTS {
            watch.events.try_recv().unwrap();
        }
        assert!(!watches.catch_up(&image));
        let Ok(WatchEvent::Reset(listing)) = watch.events.try_recv() else {
            panic!("a reset was owed")
        };
        assert_eq!(listing.entries.len(), QUEUED_EVENTS * 2);
        put(&mut image, &mut watches, "a/last");
        assert!(matches!(watch.events.try_recv(), Ok(WatchEvent::Changes { .. })));
    }
}
