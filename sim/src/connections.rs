//! The connections between nodes and members, as the network keeps them.
//!
//! Owns which connection belongs to which node, in which order its messages arrive, what waits for a cut to be mended, and which connections
//! have broken without anybody being told. It decides nothing and sends nothing.

use std::collections::BTreeMap;

use crate::etcd::{EtcdConnectionId, EtcdDelivery, EtcdMessage};
use crate::moment::Micros;

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// The node of each line, while its process lives.
    lines: Vec<Option<usize>>,
    open: BTreeMap<EtcdConnectionId, Connection>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The node at its near end.
    pub(crate) node: usize,
    /// The member at its far end.
    pub(crate) member: usize,
    /// True once nothing passes any more, whatever becomes of the network.
    pub(crate) is_broken: bool,
    /// The last arrival at the member, and at the node: none overtakes another.
    pub(crate) at_member: Micros,
    pub(crate) at_node: Micros,
    /// Messages that wait at the node for a cut to be mended.
    pub(crate) held_out: Vec<EtcdMessage>,
    /// Messages that wait at the member.
    pub(crate) held_in: Vec<EtcdDelivery>,
}

impl Connections {
    /// A line for another life of a node's process.
    pub(crate) fn add_line(&mut self, node: usize) -> u32 {
        self.lines.push(Some(node));
        u32::try_from(self.lines.len() - 1).unwrap_or(u32::MAX)
    }

    /// The process of a node is gone, and its connections with it. Returns its lines.
    pub(crate) fn end_lines(&mut self, node: usize) -> Vec<u32> {
        let mut ended = Vec::new();
        for (number, line) in self.lines.iter_mut().enumerate() {
            if *line == Some(node) {
                *line = None;
                ended.extend(u32::try_from(number));
            }
        }
        self.open.retain(|_, connection| connection.node != node);
        ended
    }

    /// The connection over which a node's message goes to a member: a new one if it is the first.
    pub(crate) fn connection_of(
        &mut self,
        id: EtcdConnectionId,
        node: usize,
        member: usize,
    ) -> &mut Connection {
        self.open.entry(id).or_insert_with(|| Connection {
            node,
            member,
            is_broken: false,
            at_member: Micros::ZERO,
            at_node: Micros::ZERO,
            held_out: Vec::new(),
            held_in: Vec::new(),
        })
    }

    /// A connection, if its node still lives.
    pub(crate) fn find_connection(&mut self, id: EtcdConnectionId) -> Option<&mut Connection> {
        self.open.get_mut(&id)
    }

    /// All connections, in order.
    pub(crate) fn all_connections(
        &mut self,
    ) -> impl Iterator<Item = (EtcdConnectionId, &mut Connection)> {
        self.open.iter_mut().map(|(id, connection)| (*id, connection))
    }

    /// Forgets a connection that its node has given up.
    pub(crate) fn forget_connection(&mut self, id: EtcdConnectionId) {
        self.open.remove(&id);
    }
}
