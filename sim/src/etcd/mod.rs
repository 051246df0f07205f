//! etcd, as it means: what daemons of a simulation keep their records in.
//!
//! Owns four layers. [`EtcdModel`] is the state machine of one etcd: pure, time as an argument, no chance. [`EtcdCluster`] has the
//! members: which of them answers what, by leader, cuts, pauses and kills. [`EtcdWire`] is what lies between a daemon and the members, and
//! is the world's. [`open_line`] gives a daemon its store: the product's own backend (`store/src/etcd`: deadlines, endpoints, repetition,
//! reading back, watches), to which only the far side of `muster_store::etcd_protocol` is simulated. So the simulated line is neither kinder nor
//! harsher than the real one, and a fault in it is the product's.

mod cluster;
mod direct;
mod faults;
mod keyspace;
mod lessor;
mod line;
mod member;
mod model;
mod request;
mod serving;
mod wire;

pub use cluster::{AutoCompaction, ClusterOptions, EtcdCluster};
pub use direct::DirectWire;
pub use line::{LineOptions, open_line};
pub use model::{EtcdModel, EtcdRelease};
pub use request::{EtcdAnswer, EtcdRequest, EtcdResult, refusal};
pub use wire::{EtcdConnectionId, EtcdDelivery, EtcdMessage, EtcdStreamId, EtcdWire};
