//! Reading, page by page at one revision.

use etcd_client::GetOptions;

use super::connection::Connection;
use super::error::EtcdError;
use crate::store::{KeyValue, LeaseId, Listing, Range};

/// Keys of one page. A thousand of our records are about half a megabyte.
const PAGE: i64 = 1000;

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
    let mut limit = PAGE;
    loop {
        let (key, end) = match (range, listing.entries.last()) {
            (Range::Key(key), _) => (key.clone().into_bytes(), None),
            (Range::Prefix(prefix), None) => {
                (prefix.clone().into_bytes(), Some(prefix_end(prefix)))
            }
            (Range::Prefix(prefix), Some(last)) => {
                (format!("{}\0", last.key).into_bytes(), Some(prefix_end(prefix)))
            }
        };
        let mut options = GetOptions::new()
            .with_limit(limit)
            .with_revision(i64::try_from(listing.revision).unwrap_or(i64::MAX));
        if let Some(end) = end {
            options = options.with_range(end);
        }
        let page = connection
            .call_repeatedly(|client| {
                let (key, options) = (key.clone(), options.clone());
                async move {
                    let mut kv = client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES);
                    kv.get(key, Some(options)).await
                }
            })
            .await;
        match page {
            Err(EtcdError::AnswerTooLarge) if limit > 1 => limit = (limit / 8).max(1),
            Err(error) => return Err(error),
            Ok(mut page) => {
                if listing.revision == 0 {
                    listing.revision = page.header().map_or(0, |h| unsigned_revision(h.revision()));
                }
                let records = page.take_kvs();
                let done = !page.more() || records.is_empty();
                listing.entries.extend(records.into_iter().filter_map(decode_record));
                if done {
                    return Ok(listing);
                }
            }
        }
    }
}

/// The first key after all that begin with a prefix, as etcd wants the end of a range.
pub(super) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Everything.
    vec![0]
}

/// A record of etcd's as ours. `None` for a key that is no text: nobody who writes through this crate makes one.
pub(super) fn decode_record(record: etcd_client::KeyValue) -> Option<KeyValue> {
    let (create_revision, mod_revision) =
        (unsigned_revision(record.create_revision()), unsigned_revision(record.mod_revision()));
    let lease = (record.lease() != 0).then(|| LeaseId(record.lease()));
    let (key, value) = record.into_key_value();
    let key = String::from_utf8(key).ok()?;
    Some(KeyValue { key, value: value.into(), create_revision, mod_revision, lease })
}

/// etcd's revisions are never negative.
pub(super) fn unsigned_revision(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_lacks_it() {
        assert_eq!(prefix_end("/muster/"), b"/muster0");
        assert_eq!(prefix_end(""), [0]);
        assert_eq!(prefix_end("a\u{7f}"), b"a\x80");
    }
}
