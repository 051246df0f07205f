//! A stage for stories: a cluster, a few nodes with lines to it, and one clock for all, moved by the test.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::seed::Seed;
use muster_runtime::simulated::Node;
use muster_sim::etcd::{
    AutoCompaction, ClusterOptions, EtcdCluster, EtcdDelivery, EtcdMessage, EtcdRelease, EtcdWire,
    LineOptions, open_line,
};
use muster_store::{Liveness, Store};

/// The time that a message takes, either way.
pub(crate) const LATENCY: Duration = Duration::from_millis(1);

/// What a node has sent: its number, the member, the message.
type Outbox = Arc<Mutex<Vec<(usize, usize, EtcdMessage)>>>;

struct StageWire {
    node: usize,
    outbox: Outbox,
}

impl EtcdWire for StageWire {
    fn send_message(&self, member: usize, message: EtcdMessage) {
        self.outbox.lock().unwrap().push((self.node, member, message));
    }
}

enum Event {
    ToMember(usize, EtcdMessage),
    ToNode(EtcdDelivery),
}

/// What happens to a message on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// Nothing of the node reaches the member.
    Requests,
    /// Nothing of the member reaches the node.
    Answers,
}

pub(crate) struct Stage {
    pub(crate) cluster: EtcdCluster,
    pub(crate) nodes: Vec<Node>,
    pub(crate) stores: Vec<Arc<dyn Store>>,
    pub(crate) now: Duration,
    /// Messages on the way are lost between this node and this member.
    pub(crate) losses: BTreeSet<(usize, usize, Loss)>,
    outbox: Outbox,
    queue: BTreeMap<(Duration, u64), Event>,
    sent: u64,
}

impl Stage {
    pub(crate) fn new(members: usize, nodes: usize, release: EtcdRelease) -> Self {
        Self::with_options(
            nodes,
            ClusterOptions {
                members,
                release,
                quota: None,
                compaction: AutoCompaction::Off,
                seed: Seed(3),
            },
        )
    }

    pub(crate) fn with_options(nodes: usize, options: ClusterOptions) -> Self {
        let cluster = EtcdCluster::new(Duration::ZERO, options);
        let outbox = Outbox::default();
        let all: Vec<Node> = (0..nodes).map(|_| Node::new(Duration::ZERO)).collect();
        let stores = all.iter().enumerate().map(|(at, node)| {
            let wire = Arc::new(StageWire { node: at, outbox: Arc::clone(&outbox) });
            let line = LineOptions {
                line: u32::try_from(at).unwrap(),
                members: (0..options.members).collect(),
                liveness: Liveness::default(),
                seed: Seed(at as u64),
            };
            node.enter(|| open_line(wire, &line).unwrap())
        });
        let stores = stores.collect();
        Self {
            cluster,
            nodes: all,
            stores,
            now: Duration::ZERO,
            losses: BTreeSet::new(),
            outbox,
            queue: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Does something to the cluster.
    pub(crate) fn happens(
        &mut self,
        what: impl FnOnce(&mut EtcdCluster, Duration) -> Vec<EtcdDelivery>,
    ) {
        let deliveries = what(&mut self.cluster, self.now);
        self.carry_deliveries(deliveries);
    }

    fn push(&mut self, event: Event) {
        self.sent += 1;
        self.queue.insert((self.now + LATENCY, self.sent), event);
    }

    fn carry_deliveries(&mut self, deliveries: Vec<EtcdDelivery>) {
        for delivery in deliveries {
            let node = usize::try_from(delivery.connection.line).unwrap();
            if !self.losses.contains(&(node, delivery.member, Loss::Answers)) {
                self.push(Event::ToNode(delivery));
            }
        }
    }

    fn collect_outbox(&mut self) {
        let sent = std::mem::take(&mut *self.outbox.lock().unwrap());
        for (node, member, message) in sent {
            if !self.losses.contains(&(node, member, Loss::Requests)) {
                self.push(Event::ToMember(member, message));
            }
        }
    }

    /// The next moment at which anything happens.
    fn next_moment(&self) -> Option<Duration> {
        let event = self.queue.first_key_value().map(|((at, _), _)| *at);
        let nodes = self.nodes.iter().filter_map(Node::next_deadline).min();
        [event, nodes, self.cluster.next_deadline()].into_iter().flatten().min()
    }

    /// Lets everything happen up to a moment.
    pub(crate) fn run_until(&mut self, end: Duration) {
        loop {
            self.collect_outbox();
            let Some(at) = self.next_moment().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            let deliveries = self.cluster.advance_to(self.now);
            self.carry_deliveries(deliveries);
            while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.now) {
                match entry.remove() {
                    Event::ToNode(delivery) => delivery.hand_over(),
                    Event::ToMember(member, message) => {
                        let deliveries = self.cluster.on_message(self.now, member, message);
                        self.carry_deliveries(deliveries);
                    }
                }
            }
            for node in &self.nodes {
                if node.next_deadline().is_some_and(|at| at <= self.now) {
                    node.run_at(self.now);
                }
            }
        }
        self.now = end;
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Begins something on a node; what it comes to is found later.
    pub(crate) fn begin<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        node: usize,
        work: impl FnOnce(Arc<dyn Store>) -> F,
    ) -> Arc<Mutex<Option<(Duration, T)>>> {
        let found = Arc::new(Mutex::new(None));
        let (kept, work) = (Arc::clone(&found), work(Arc::clone(&self.stores[node])));
        let begun = self.now;
        self.nodes[node].run_at(self.now);
        self.nodes[node].spawn(async move {
            let start = muster_runtime::Instant::now();
            let value = work.await;
            *kept.lock().unwrap() = Some((begun + start.elapsed(), value));
        });
        found
    }

    /// The same over a line of its own that knows one member only.
    pub(crate) fn begin_on_member<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        member: usize,
        work: impl FnOnce(Arc<dyn Store>) -> F,
    ) -> Arc<Mutex<Option<(Duration, T)>>> {
        let node = self.nodes.len();
        let wire = Arc::new(StageWire { node, outbox: Arc::clone(&self.outbox) });
        let line = LineOptions {
            line: u32::try_from(node).unwrap(),
            members: vec![member],
            liveness: Liveness::default(),
            seed: Seed(node as u64),
        };
        self.nodes.push(Node::new(self.now));
        let store = self.nodes[node].enter(|| open_line(wire, &line).unwrap());
        self.stores.push(store);
        self.begin(node, work)
    }

    /// Does something on a node and waits for it, for a minute at most; gives how long it took.
    pub(crate) fn ask<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        node: usize,
        work: impl FnOnce(Arc<dyn Store>) -> F,
    ) -> (Duration, T) {
        let (begun, found) = (self.now, self.begin(node, work));
        for _ in 0..6_000 {
            self.run_for(Duration::from_millis(10));
            if let Some((at, value)) = found.lock().unwrap().take() {
                return (at.saturating_sub(begun), value);
            }
        }
        panic!("waited a minute in vain")
    }
}
