//! Typed watches.

use std::sync::Arc;

use muster_common::snapshot::ClusterEvent;
use tokio::sync::mpsc;

use super::decode::Decoder;
use crate::store::{Range, Store, WatchEvent};

/// A running typed watch; dropping it ends it.
#[derive(Debug)]
pub struct ClusterWatch {
    /// Where its events arrive.
    pub events: mpsc::Receiver<ClusterEvent>,
}

/// Events decoded ahead of the reader. The backend queues the rest and knows what to do when that is too much.
const DECODED_AHEAD: usize = 16;

/// Follows a range until the receiver is dropped.
pub(super) fn watch_range(store: &Arc<dyn Store>, prefix: &Arc<str>, range: Range) -> ClusterWatch {
    let identified = range.key_beside().is_some();
    let mut raw = store.watch(range);
    let mut decoder = Decoder::new(Arc::clone(prefix));
    let (sender, events) = mpsc::channel(DECODED_AHEAD);
    muster_runtime::spawn(async move {
        let mut seen = 0;
        loop {
            // Both are cancel-safe; a reader that has gone away ends the watch below even if nothing happens in it.
            let event = tokio::select! {
                biased;
                () = sender.closed() => return,
                event = raw.events.recv() => event,
            };
            let typed = match event {
                None => return,
                Some(WatchEvent::Reset(listing)) => {
                    seen = listing.revision;
                    let snapshot = if identified {
                        decoder.reset_identified(&listing)
                    } else {
                        decoder.reset(&listing)
                    };
                    ClusterEvent::Reset(Box::new(snapshot))
                }
                Some(WatchEvent::Changes { revision, changes }) => {
                    // Backends promise it: a reader that counts on it takes no older state for a newer one.
                    debug_assert!(revision >= seen, "changes came after later ones");
                    seen = revision;
                    ClusterEvent::Changes { revision, changes: decoder.decode_changes(&changes) }
                }
                // Nothing new, and nobody needs to wake up for it.
                Some(WatchEvent::Progress { revision }) if revision <= seen => continue,
                Some(WatchEvent::Progress { revision }) => {
                    seen = revision;
                    ClusterEvent::Changes { revision, changes: Vec::new() }
                }
                Some(WatchEvent::Lost { problem }) => ClusterEvent::Lost { problem },
            };
            if sender.send(typed).await.is_err() {
                return;
            }
        }
    });
    ClusterWatch { events }
}
