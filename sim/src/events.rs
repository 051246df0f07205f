//! The events of the world.

use muster_store::WatchEvent;
use tokio::sync::oneshot;

use crate::units_host::{DueJob, RunnerReply};
use crate::wire::{RunnerCall, StoreCall, StoreResult};

/// The place for an answer of the store.
pub(crate) type StoreReply = oneshot::Sender<StoreResult>;

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request arrives at the store.
    CallArrives {
        /// The node that asks.
        node: usize,
        /// The request.
        call: StoreCall,
        /// The place for its answer.
        reply: StoreReply,
    },
    /// An answer of the store arrives at a node.
    AnswerArrives {
        /// The place for it.
        reply: StoreReply,
        /// The answer.
        result: StoreResult,
    },
    /// The wish for a watch arrives at the store.
    WatchArrives {
        /// The watch.
        watch: u64,
    },
    /// An event of a watch arrives at its node.
    WatchTells {
        /// The watch.
        watch: u64,
        /// The line by which it came.
        line: u64,
        /// The event.
        event: WatchEvent,
    },
    /// A node notices that a watch is silent.
    WatchSilent {
        /// The watch.
        watch: u64,
        /// The line that is silent.
        line: u64,
    },
    /// A lease may end.
    LeasesDue,
    /// A request arrives at a machine's systemd.
    UnitCall {
        /// The machine.
        machine: usize,
        /// The boot in which it was made.
        boot: u64,
        /// The request.
        call: RunnerCall,
        /// The place for its answer.
        reply: RunnerReply,
    },
    /// A job of a machine's systemd goes on.
    JobDue {
        /// The machine.
        machine: usize,
        /// The boot in which it began.
        boot: u64,
        /// The job.
        job: DueJob,
    },
    /// A fault of the plan begins.
    FaultBegins(usize),
    /// A fault of the plan is over.
    FaultEnds(usize),
    /// A user makes a request of the plan.
    UserAsks(usize),
    /// A machine is switched on.
    MachineBoots(usize),
    /// A machine's daemon is started.
    DaemonStarts(usize),
    /// From now on nothing goes wrong.
    CalmBegins,
    /// The world looks for what is late.
    LookAround,
}
