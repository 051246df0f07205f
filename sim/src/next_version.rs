//! A daemon of the next version, as its records show it.
//!
//! Owns how those differ: they have a higher schema, and fields that the present version does not know. So a daemon of either version
//! meets records of both, its own of before an upgrade among them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Store, StoreError, TimeLeft, Watch,
};
use serde_json::{Map, Value, json};

/// A store, as a daemon of the next version writes to it.
pub(crate) struct NextVersion(pub(crate) Arc<dyn Store>);

/// A record as the next version writes it.
fn as_later(value: &Bytes) -> Bytes {
    let Ok(mut record) = serde_json::from_slice::<Map<String, Value>>(value) else {
        return value.clone();
    };
    record.insert("schema".to_owned(), json!(2));
    record.insert("of-the-next-version".to_owned(), json!({"is": ["not", "known", 7]}));
    Bytes::from(Value::Object(record).to_string())
}

#[async_trait]
impl Store for NextVersion {
    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        let ops = ops.into_iter().map(|op| match op {
            Op::Put { key, value, lease } => Op::Put { key, value: as_later(&value), lease },
            removal @ Op::Delete { .. } => removal,
        });
        self.0.commit(guards, ops.collect()).await
    }

    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.0.read(range).await
    }

    fn watch(&self, range: Range) -> Watch {
        self.0.watch(range)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.0.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.0.keep_alive(lease).await
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        self.0.time_left(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.0.revoke(lease).await
    }
}
