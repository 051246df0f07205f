//! Reading, page by page at one revision, and of one store.
//!
//! A store that was put back from a backup, or another that stands at its address, may answer for the next page. A listing of two
//! histories is none: it is begun again.

use muster_common::probe::{is_planted, reached};

use super::connection::Connection;
use super::error::EtcdError;
use super::protocol::{Page, PageQuery};
use crate::store::{KeyValue, Listing, Range};

/// Keys of one page. A thousand of our records are about half a megabyte.
const PAGE: u64 = 1000;

/// Largest answer taken. A page of records near etcd's limit is larger, and then is asked for in smaller pages.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How often a listing is begun again because a compaction overtook it, or another store.
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
    let apart = is_planted("identity-read-apart");
    let mut listing = Listing::default();
    let mut first: Option<Page> = None;
    let mut query = PageQuery {
        range: if apart { range.without_beside() } else { range.clone() },
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
            Ok(mut page) => {
                listing.entries.append(&mut page.records);
                // The last key, not the last record: keys that are no text may fill a page.
                query.after = page.last_key.take();
                let is_last = !page.more || query.after.is_none();
                let first = match &first {
                    None => first.insert(page),
                    Some(first) if are_of_one_store(first, &page) => first,
                    Some(_) => {
                        reached("listing-of-two-stores");
                        return Err(EtcdError::Compacted);
                    }
                };
                (query.revision, listing.revision) = (first.revision, first.revision);
                if is_last {
                    listing.entries.extend(first.beside.clone());
                    if apart && let Some(key) = range.key_beside() {
                        listing.entries.extend(read_apart(connection, key).await?);
                    }
                    return Ok(listing);
                }
            }
        }
    }
}

/// True if a later page of a listing may be of the store that gave the first. A listing is linearizable, so no member that lags
/// behind answers with an earlier term.
fn are_of_one_store(first: &Page, later: &Page) -> bool {
    is_planted("pages-of-two-stores-joined")
        || later.lineage.may_follow(first.lineage) && later.beside == first.beside
}

/// As it was before: with a request of its own.
async fn read_apart(connection: &Connection, key: &str) -> Result<Option<KeyValue>, EtcdError> {
    let query = PageQuery {
        range: Range::Key(key.to_owned()),
        after: None,
        revision: 0,
        limit: 1,
        max_bytes: MAX_ANSWER_BYTES,
    };
    let asked = &query;
    let page = connection.call_repeatedly(|member| async move { member.read_page(asked).await });
    Ok(page.await?.records.pop())
}
