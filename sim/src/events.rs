//! The events of the world.

use crate::api_call::ApiCall;
use crate::etcd::{EtcdDelivery, EtcdMessage};
use crate::moment::Micros;

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// A node's message arrives at a member of etcd.
    MessageArrives {
        /// The node it comes from.
        node: usize,
        /// The member.
        member: usize,
        /// The message.
        message: EtcdMessage,
    },
    /// A member's message arrives at its node.
    DeliveryArrives {
        /// The message.
        delivery: EtcdDelivery,
    },
    /// A backup is made, for the fault that puts it back.
    BackupIsMade(usize),
    /// A member of etcd is started, as its machine has booted.
    MemberStarts(usize),
    /// A request arrives at a machine's daemon.
    ApiCallArrives(ApiCall),
    /// A request to a daemon was lost, and whoever asked notices.
    ApiCallLost(ApiCall),
    /// A machine that goes down stops its units and its daemon; the moment names the way down it is about.
    HostStops(usize, Micros),
    /// A machine that goes down may be down.
    HostMayGo(usize, Micros),
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
