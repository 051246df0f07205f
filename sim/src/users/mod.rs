//! The users: a node of their own that asks the store as the API of a daemon does.
//!
//! Owns how a request is carried out and what its user is told. Users do not wait for each other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_common::cordon::{CordonHolder, Drain, Hold};
use muster_common::decision::{UnitWrite, UnitWritten};
use muster_common::machine::MachineId;
use muster_common::seed::Seed;
use muster_common::snapshot::Snapshot;
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, UnitName};
use muster_runtime::simulated::Node;
use muster_store::{Registry, RegistryError};

use crate::etcd::{LineOptions, open_line};
use crate::facts::{UserAnswer, WantedUnit};
use crate::machine::PREFIX;
use crate::moment::Micros;
use crate::plan::shape::Shape;
use crate::plan::users::UserRequest;
use crate::wire::{Outbox, Outgoing};

/// Attempts at a unit that others change at the same time.
const ATTEMPTS: usize = 4;

/// The users' node.
pub(crate) struct SimulatedUsers {
    node: Node,
    outbox: Outbox,
    registry: Registry,
    answers: Arc<Mutex<Vec<GivenAnswer>>>,
}

/// An answer that a user has got.
#[derive(Debug)]
pub(crate) struct GivenAnswer {
    /// The number of the request.
    pub(crate) request: usize,
    /// The unit it is about.
    pub(crate) unit: UnitName,
    /// The answer.
    pub(crate) answer: UserAnswer,
}

/// A request about a unit, ready to be carried out.
struct UnitRequest {
    name: UnitName,
    /// The file, where it is to be another.
    file: Option<Arc<UnitFile>>,
    /// The wanted state; `None`: it is to be gone.
    desired: Option<DesiredState>,
}

impl SimulatedUsers {
    /// Users who have not asked for anything yet.
    pub(crate) fn new(seed: Seed, line: &LineOptions) -> Self {
        let node = Node::new(Duration::ZERO);
        let outbox = Outbox::default();
        let wire = Arc::new(outbox.clone());
        let store = node.enter(|| open_line(wire, line)).unwrap_or_else(|_| unreachable!());
        let registry = Registry::with_seed(store, PREFIX, seed.for_purpose("users' writes"));
        Self { node, outbox, registry, answers: Arc::default() }
    }

    /// The moment at which users want to go on.
    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        self.node.next_deadline().map(Micros::from)
    }

    /// Lets users go on. Returns what they ask the store for.
    pub(crate) fn run_users(&self, now: Micros) -> Vec<Outgoing> {
        self.node.run_at(now.to_duration());
        self.outbox.take_all()
    }

    /// Takes the answers that users have got.
    pub(crate) fn take_answers(&self) -> Vec<GivenAnswer> {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a request. Returns the unit it is about, if it is about one.
    pub(crate) fn make_request(
        &self,
        number: usize,
        request: &UserRequest,
        shape: &Shape,
    ) -> Option<UnitName> {
        let registry = self.registry.clone();
        let Some(asked) = unit_request(request, shape) else {
            let request = request.clone();
            self.node.spawn(async move { ask_for_machine(&registry, &request).await });
            return None;
        };
        let unit = asked.name.clone();
        let (name, answers) = (unit.clone(), Arc::clone(&self.answers));
        self.node.spawn(async move {
            let answer = asked.carry_out(&registry).await.unwrap_or(UserAnswer::Doubt);
            let given = GivenAnswer { request: number, unit: name, answer };
            answers.lock().unwrap_or_else(PoisonError::into_inner).push(given);
        });
        Some(unit)
    }
}

fn unit_request(request: &UserRequest, shape: &Shape) -> Option<UnitRequest> {
    let (unit, version, desired) = match *request {
        UserRequest::Launch { unit, version } => {
            (unit, Some(version), Some(DesiredState::Launched))
        }
        UserRequest::Load { unit } => (unit, None, Some(DesiredState::Loaded)),
        UserRequest::Deactivate { unit } => (unit, None, Some(DesiredState::Inactive)),
        UserRequest::Destroy { unit } => (unit, None, None),
        _ => return None,
    };
    let name = shape.units.get(unit)?.name.clone();
    let file = version.and_then(|version| shape.file_text(unit, version).parse().ok());
    Some(UnitRequest { name, file: file.map(Arc::new), desired })
}

impl UnitRequest {
    async fn carry_out(&self, registry: &Registry) -> Result<UserAnswer, RegistryError> {
        let Some(desired) = self.desired else {
            let done = registry.destroy_units(std::slice::from_ref(&self.name)).await?;
            return Ok(if done.destroyed.is_empty() {
                UserAnswer::Nothing
            } else {
                UserAnswer::Promised(done.revision, None)
            });
        };
        for _ in 0..ATTEMPTS {
            let snapshot = registry.read_snapshot().await?;
            let Some(write) = self.make_write(&snapshot, desired) else {
                return Ok(UserAnswer::Nothing);
            };
            let word =
                WantedUnit { file: write.file.hash(), desired, generation: write.generation };
            let written = registry.write_units(vec![write]).await?;
            if let Some(UnitWritten::Done { revision }) = written.first() {
                return Ok(UserAnswer::Promised(*revision, Some(word)));
            }
        }
        Ok(UserAnswer::Nothing)
    }

    fn make_write(&self, snapshot: &Snapshot, desired: DesiredState) -> Option<UnitWrite> {
        let old = snapshot.units.get(&self.name);
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(snapshot.files.get(&old?.file)?),
        };
        // Above whatever machines still say of an earlier unit of that name.
        let placed = snapshot.places.get(&self.name).into_iter().flatten();
        let told = snapshot.states.get(&self.name).into_iter().flatten();
        let earlier = placed
            .map(|(_, place)| place.generation)
            .chain(told.map(|(_, state)| state.generation))
            .max();
        let generation = match old {
            Some(old) if desired == DesiredState::Launched => old.generation + 1,
            Some(old) => old.generation,
            None => earlier.unwrap_or(0) + 1,
        };
        let expected = old.map_or(0, |old| old.revision);
        Some(UnitWrite { name: self.name.clone(), file, desired, generation, expected })
    }
}

async fn ask_for_machine(registry: &Registry, request: &UserRequest) {
    let machine = |machine: usize| Shape::machine_name(machine).parse::<MachineId>().ok();
    let hold = |drain| Hold { drain, ..Hold::default() };
    let person = CordonHolder::Person;
    // Whether it was done is seen in the store.
    let _ = match *request {
        UserRequest::Cordon { machine: number } => match machine(number) {
            Some(id) => registry.cordon_machine(&id, &person, hold(None)).await.map(|_| ()),
            None => Ok(()),
        },
        UserRequest::Drain { machine: number } => {
            let drain = Drain { began: 0, deadline: None, then: <_>::default(), ended: None };
            match machine(number) {
                Some(id) => {
                    registry.cordon_machine(&id, &person, hold(Some(drain))).await.map(|_| ())
                }
                None => Ok(()),
            }
        }
        UserRequest::Uncordon { machine: number } => match machine(number) {
            Some(id) => registry.uncordon_machine(&id, &person).await.map(|_| ()),
            None => Ok(()),
        },
        UserRequest::Unfreeze => registry.clear_held_machines().await,
        _ => Ok(()),
    };
}
