//! Reading, page by page at one revision.

use super::connection::Connection;
use super::error::EtcdError;
use super::protocol::PageQuery;
use crate::store::{Listing, Range};

/// Keys of one page. A thousand of our records are about half a megabyte.
const PAGE: u64 = 1000;

/// Largest answer taken. A page of records near etcd's limit is larger, and then is asked for in smaller pages.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How often a listing is begun again because a compaction overtook it.
const ATTEMPTS: usize = 5;

/// Reads a range, linearizably, at one revision.
pub(super) async fn read(connection: &Connection, range: &Range) -> Result<Listing, EtcdError> {
    let mut outcome = Err(EtcdError::Compacted);
    for _ in 0..ATTEMPTS {
        outcome = read_at_once(connection, range).await;
        if !matches!(outcome, Err(EtcdError::Compacted)) {
            break;
        }
    }
    outcome
}

async fn read_at_once(connection: &Connection, range: &Range) -> Result<Listing, EtcdError> {
    let mut listing = Listing::default();
    let mut query = PageQuery {
        range: range.clone(),
        after: None,
        revision: 0,
        limit: PAGE,
        max_bytes: MAX_ANSWER_BYTES,
    };
    loop {
        let asked = &query;
        let page =
            connection.call_repeatedly(|member| async move { member.read_page(asked).await }).await;
        match page {
            Err(EtcdError::AnswerTooLarge) if query.limit > 1 => {
                query.limit = (query.limit / 8).max(1);
            }
            Err(error) => return Err(error),
            Ok(page) => {
                if query.revision == 0 {
                    query.revision = page.revision;
                    listing.revision = page.revision;
                }
                listing.entries.extend(page.records);
                // The last key, not the last record: keys that are no text may fill a page.
                query.after = page.last_key;
                if !page.more || query.after.is_none() {
                    return Ok(listing);
                }
            }
        }
    }
}
