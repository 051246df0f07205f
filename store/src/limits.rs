//! What no backend carries out, checked before anything is sent, so that both backends refuse alike.

use std::collections::HashSet;
use std::time::Duration;

use crate::store::{Guard, MAX_OPERATIONS, MAX_REQUEST_BYTES, Op, StoreError};

/// The bytes that one guard or operation adds to a request besides its key and value: etcd's framing of it, rounded up.
const FRAMING_BYTES: usize = 64;

impl Guard {
    /// The key it looks at.
    pub fn key(&self) -> &str {
        match self {
            Self::Modified { key, .. }
            | Self::Created { key, .. }
            | Self::Exists { key }
            | Self::Holds { key, .. } => key,
        }
    }

    /// The bytes it adds to a request, at the most.
    pub(crate) fn request_bytes(&self) -> usize {
        let value = match self {
            Self::Holds { value, .. } => value.len(),
            Self::Modified { .. } | Self::Created { .. } | Self::Exists { .. } => 0,
        };
        self.key().len().saturating_add(value).saturating_add(FRAMING_BYTES)
    }
}

impl Op {
    /// The key it writes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// The bytes it adds to a request, at the most.
    pub(crate) fn request_bytes(&self) -> usize {
        let value = match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        };
        self.key().len().saturating_add(value).saturating_add(FRAMING_BYTES)
    }
}

/// The name of a commit in an error: the first key it writes.
pub(crate) fn describe(ops: &[Op]) -> String {
    match ops {
        [] => "commit of nothing".to_owned(),
        [only] => format!("commit of {}", only.key()),
        [first, rest @ ..] => format!("commit of {} and {} more", first.key(), rest.len()),
    }
}

/// Refuses a commit that is too large or contradicts itself.
pub(crate) fn check(guards: &[Guard], ops: &[Op]) -> Result<(), StoreError> {
    let refuse = |problem: String| Err(StoreError::Rejected { during: describe(ops), problem });
    if guards.len() > MAX_OPERATIONS || ops.len() > MAX_OPERATIONS {
        return refuse(format!(
            "{} guards and {} operations, at most {MAX_OPERATIONS} of each are possible",
            guards.len(),
            ops.len()
        ));
    }
    let bytes = guards
        .iter()
        .map(Guard::request_bytes)
        .chain(ops.iter().map(Op::request_bytes))
        .sum::<usize>();
    if bytes > MAX_REQUEST_BYTES {
        return refuse(format!("{bytes} bytes, at most {MAX_REQUEST_BYTES} are possible"));
    }
    if guards.iter().map(Guard::key).chain(ops.iter().map(Op::key)).any(str::is_empty) {
        return refuse("a key is empty".to_owned());
    }
    let mut keys = HashSet::new();
    if let Some(twice) = ops.iter().find(|op| !keys.insert(op.key())) {
        return refuse(format!("it writes {} twice", twice.key()));
    }
    Ok(())
}

/// Longest lease: etcd's own limit is 9,000,000,000 s; a day is more than any presence needs, and keeps deadlines
/// far from the end of every clock.
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Refuses a lease that is no lease.
pub(crate) fn check_ttl(ttl: Duration) -> Result<(), StoreError> {
    if ttl.is_zero() || ttl > MAX_TTL {
        return Err(StoreError::Rejected {
            during: "grant of a lease".to_owned(),
            problem: format!("a time to live of {ttl:?}; it must be above zero and at most a day"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, bytes: usize) -> Op {
        Op::Put { key: key.to_owned(), value: vec![0; bytes].into(), lease: None }
    }

    #[test]
    fn a_commit_at_the_limits_passes_and_one_above_them_is_refused() {
        let ops = |n: usize| (0..n).map(|i| put(&format!("k{i}"), 1)).collect::<Vec<_>>();
        assert!(check(&[], &ops(MAX_OPERATIONS)).is_ok());
        assert!(check(&[], &ops(MAX_OPERATIONS + 1)).is_err());
        assert!(check(&[], &[put("k", MAX_REQUEST_BYTES - FRAMING_BYTES - 1)]).is_ok());
        assert!(check(&[], &[put("k", MAX_REQUEST_BYTES - FRAMING_BYTES)]).is_err());
    }

    #[test]
    fn a_commit_that_contradicts_itself_is_refused() {
        let error = check(&[], &[put("k", 1), Op::Delete { key: "k".to_owned() }]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store refuses commit of k and 1 more: it writes k twice"
        );
        assert!(check(&[Guard::Exists { key: String::new() }], &[]).is_err());
    }
}
