//! Placements through the registry.

use std::time::Duration;

use muster_common::cordon::{CordonHolder, Hold};
use muster_common::decision::{Decision, Move, MoveReason, PlacesCommitted, UnitWritten};
use muster_common::machine::{Machine, MachineId};
use muster_common::snapshot::{Change, ClusterEvent, Handover, Placement, Snapshot};
use muster_common::state::DesiredState;
use muster_common::unit::UnitName;
use muster_store::{CommitError, Leadership, Lease, Registry};

use crate::machines::{machine, present};
use crate::support::{Bed, update};
use crate::units::{file, name, write};

/// A leader with a machine and some units, at rest.
struct Scene {
    registry: Registry,
    leadership: Leadership,
    snapshot: Snapshot,
}

async fn scene(bed: &Bed, units: usize) -> Scene {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let leadership = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let file = file("/bin/true");
    let writes = (0..units).map(|n| write(&unit(n), &file, 0)).collect();
    let written = registry.write_units(writes).await.unwrap();
    assert!(written.iter().all(|w| matches!(w, UnitWritten::Done { .. })));
    let snapshot = registry.read_snapshot().await.unwrap();
    Scene { registry, leadership, snapshot }
}

fn unit(n: usize) -> String {
    format!("web@{n}.service")
}

fn m1() -> MachineId {
    machine("m1").id
}

/// Decisions to be written as one.
fn together(decisions: Vec<Decision>) -> Move {
    Move { unit: decisions[0].unit().clone(), reason: MoveReason::Place, decisions }
}

impl Scene {
    fn place(&self, n: usize) -> Decision {
        let unit = &self.snapshot.units[&name(&unit(n))];
        let places = self.snapshot.places.get(&unit.name);
        let revision = places.and_then(|p| p.get(&m1())).map_or(0, |p| p.revision);
        Decision::Place {
            machine: m1(),
            unit: unit.name.clone(),
            placement: Placement {
                file: unit.file,
                desired: DesiredState::Launched,
                generation: unit.generation,
                handover: Handover::default(),
                revision,
            },
            unit_revision: unit.revision,
            machine_created: self.snapshot.machines[&m1()].created,
            cordon: self.snapshot.cordons.get(&m1()).map_or(0, |cordon| cordon.revision),
        }
    }

    fn remove(&self, n: usize) -> Decision {
        let unit = name(&unit(n));
        Decision::Remove {
            machine: m1(),
            revision: self.snapshot.places[&unit][&m1()].revision,
            unit_revision: self.snapshot.units.get(&unit).map_or(0, |u| u.revision),
            leaving: None,
            unit,
        }
    }

    async fn commit(&self, groups: Vec<Vec<Decision>>) -> PlacesCommitted {
        let moves: Vec<Move> = groups.into_iter().map(together).collect();
        self.registry.commit_places(self.leadership, &moves).await.unwrap()
    }

    async fn refresh_snapshot(&mut self) {
        self.snapshot = self.registry.read_snapshot().await.unwrap();
    }
}

pub(crate) async fn placements_are_written_and_removed(bed: &Bed) {
    let mut scene = scene(bed, 2).await;
    let done = scene.commit(vec![vec![scene.place(0)], vec![scene.place(1)]]).await;
    assert!(done.conflicts.is_empty());
    scene.refresh_snapshot().await;
    assert!(done.revision > 0 && done.revision <= scene.snapshot.revision);
    let placed = &scene.snapshot.places[&name(&unit(0))][&m1()];
    assert_eq!((placed.desired, placed.generation), (DesiredState::Launched, 7));
    assert_eq!(placed.file, file("/bin/true").hash());
    // A placement written over, and one removed whose unit is gone.
    scene.registry.destroy_units(&[name(&unit(1))]).await.unwrap();
    scene.refresh_snapshot().await;
    let done = scene.commit(vec![vec![scene.place(0)], vec![scene.remove(1)]]).await;
    assert!(done.conflicts.is_empty());
    scene.refresh_snapshot().await;
    assert_eq!(scene.snapshot.places.len(), 1);
    assert_eq!(scene.commit(vec![]).await, PlacesCommitted::default());
}

pub(crate) async fn whoever_is_deposed_writes_nothing(bed: &Bed) {
    let scene = scene(bed, 1).await;
    let lease = scene.registry.read_registration(&m1()).await.unwrap().unwrap().lease;
    scene.registry.revoke_lease(lease.unwrap()).await.unwrap();
    let moves = [together(vec![scene.place(0)])];
    for _ in 0..2 {
        let error = scene.registry.commit_places(scene.leadership, &moves).await.unwrap_err();
        assert!(matches!(error, CommitError::Deposed), "{error:?}");
        // Nobody leads; then another does.
        let other = present(&scene.registry, "m2").await;
        scene.registry.campaign_for_leadership(&other).await.unwrap();
    }
    assert!(scene.registry.read_snapshot().await.unwrap().places.is_empty());
}

pub(crate) async fn a_plan_of_before_a_doubt_is_written_nowhere(bed: &Bed) {
    let scene = scene(bed, 1).await;
    let presence = present(&scene.registry, "m1").await;
    let Scene { registry, leadership, .. } = &scene;
    let moves = [together(vec![scene.place(0)])];
    let before = registry.write_held_machines(*leadership, &presence, [].into()).await.unwrap();
    let after = registry.write_held_machines(*leadership, &presence, [].into()).await.unwrap();
    let error = registry.commit_fenced_places(*leadership, before, &moves).await.unwrap_err();
    assert!(matches!(error, CommitError::Fenced), "{error:?}");
    let committed = registry.commit_fenced_places(*leadership, after, &moves).await.unwrap();
    assert!(committed.conflicts.is_empty());
}

pub(crate) async fn decisions_on_what_is_no_more_are_conflicts(bed: &Bed) {
    let mut scene = scene(bed, 5).await;
    scene.commit(vec![vec![scene.place(3)], vec![scene.place(4)]]).await;
    let stale = [scene.place(3)];
    scene.refresh_snapshot().await;
    let groups = vec![
        vec![scene.place(0)],
        vec![scene.place(1)],
        vec![match scene.place(2) {
            Decision::Place {
                machine,
                unit,
                placement,
                unit_revision,
                machine_created,
                cordon,
            } => {
                let machine_created = machine_created + 1;
                Decision::Place { machine, unit, placement, unit_revision, machine_created, cordon }
            }
            remove @ Decision::Remove { .. } => remove,
        }],
        stale.to_vec(),
        vec![scene.remove(4)],
    ];
    // Since the leader looked, one unit was written and one destroyed.
    let seen = scene.snapshot.units[&name(&unit(1))].revision;
    let rewrite = write(&unit(1), &file("/bin/false"), seen);
    scene.registry.write_units(vec![rewrite]).await.unwrap();
    scene.registry.destroy_units(&[name(&unit(4))]).await.unwrap();
    let done = scene.commit(groups).await;
    assert_eq!(done.conflicts, [1, 2, 3, 4]);
    let before = scene.snapshot.clone();
    scene.refresh_snapshot().await;
    let placed: Vec<&str> = scene.snapshot.places.keys().map(UnitName::as_str).collect();
    assert_eq!(placed, [unit(0), unit(3), unit(4)]);
    let kept = name(&unit(3));
    assert_eq!(scene.snapshot.places[&kept], before.places[&kept]);
}

pub(crate) async fn a_cordon_unseen_keeps_new_placements_away_and_no_others(bed: &Bed) {
    let mut scene = scene(bed, 2).await;
    scene.commit(vec![vec![scene.place(0)]]).await;
    scene.refresh_snapshot().await;
    let stale = vec![vec![scene.place(0)], vec![scene.place(1)]];
    scene.registry.cordon_machine(&m1(), &CordonHolder::Person, Hold::default()).await.unwrap();
    assert_eq!(scene.commit(stale).await.conflicts, [1]);
    scene.refresh_snapshot().await;
    assert!(scene.commit(vec![vec![scene.place(1)]]).await.conflicts.is_empty());
}

pub(crate) async fn nothing_moves_away_from_a_machine_that_is_back(bed: &Bed) {
    let mut scene = scene(bed, 1).await;
    scene.commit(vec![vec![scene.place(0)]]).await;
    scene.refresh_snapshot().await;
    let lost = |machine: MachineId| {
        let (unit, decisions) = (name(&unit(0)), vec![scene.remove(0)]);
        [Move { unit, reason: MoveReason::Lost { machine }, decisions }]
    };
    // It was lost, and is registered again before the move comes.
    let committed = scene.registry.commit_places(scene.leadership, &lost(m1())).await.unwrap();
    assert_eq!(committed.conflicts, [0]);
    let gone = machine("m2").id;
    let committed = scene.registry.commit_places(scene.leadership, &lost(gone)).await.unwrap();
    assert!(committed.conflicts.is_empty());
}

pub(crate) async fn nothing_moves_away_from_a_machine_that_stays_after_all(bed: &Bed) {
    let mut scene = scene(bed, 1).await;
    scene.commit(vec![vec![scene.place(0)]]).await;
    let lease = scene.registry.read_registration(&m1()).await.unwrap().unwrap().lease.unwrap();
    let lease = Lease { id: lease, ttl: Duration::from_secs(60) };
    let write_record = |leaving| {
        let machine = Machine { leaving, ..machine("m1") };
        let registry = &scene.registry;
        async move { registry.claim_registration(&machine, lease, None).await.unwrap().0 }
    };
    let before = write_record(true).await;
    let snapshot = scene.registry.read_snapshot().await.unwrap();
    let leaving = Some(snapshot.machines[&m1()].revision);
    // It has booted meanwhile, and its new record took the place of the one before.
    assert_eq!(write_record(false).await.created, before.created);
    let leave = |decision| match decision {
        Decision::Remove { machine, unit, revision, unit_revision, .. } => {
            Decision::Remove { machine, unit, revision, unit_revision, leaving }
        }
        place @ Decision::Place { .. } => place,
    };
    scene.refresh_snapshot().await;
    assert_eq!(scene.commit(vec![vec![leave(scene.remove(0))]]).await.conflicts, [0]);
    assert!(scene.commit(vec![vec![scene.remove(0)]]).await.conflicts.is_empty());
}

pub(crate) async fn a_group_is_all_or_nothing(bed: &Bed) {
    let mut scene = scene(bed, 4).await;
    let groups = vec![vec![scene.place(0), scene.place(1)], vec![scene.place(2), scene.place(3)]];
    scene.registry.destroy_units(&[name(&unit(3))]).await.unwrap();
    assert_eq!(scene.commit(groups).await.conflicts, [1]);
    scene.refresh_snapshot().await;
    assert_eq!(scene.snapshot.places.len(), 2);
}

pub(crate) async fn a_thousand_placements_are_written(bed: &Bed) {
    let mut scene = scene(bed, 1000).await;
    let groups: Vec<Vec<Decision>> = (0..1000).map(|n| vec![scene.place(n)]).collect();
    let gone = [17, 18, 600];
    let names: Vec<_> = gone.iter().map(|n| name(&unit(*n))).collect();
    scene.registry.destroy_units(&names).await.unwrap();
    assert_eq!(scene.commit(groups).await.conflicts, gone);
    scene.refresh_snapshot().await;
    assert_eq!(scene.snapshot.places.len(), 997);
}

pub(crate) async fn a_group_larger_than_a_commit_is_written_piece_by_piece(bed: &Bed) {
    let mut scene = scene(bed, 150).await;
    let group: Vec<Decision> = (0..150).map(|n| scene.place(n)).collect();
    assert!(scene.commit(vec![group.clone()]).await.conflicts.is_empty());
    scene.refresh_snapshot().await;
    assert_eq!(scene.snapshot.places.len(), 150);
    // All of it rests on what is no more.
    assert_eq!(scene.commit(vec![group]).await.conflicts, [0]);
}

pub(crate) async fn a_machine_sees_its_placements_only(bed: &Bed) {
    let mut scene = scene(bed, 2).await;
    let other = present(&scene.registry, "m11").await;
    let mut mine = scene.registry.watch_places(&m1());
    let mut others = scene.registry.watch_places(&other.machine);
    for watch in [&mut mine, &mut others] {
        let ClusterEvent::Reset(snapshot) = update(watch).await else { panic!("a reset") };
        assert!(snapshot.places.is_empty());
    }
    scene.commit(vec![vec![scene.place(0)]]).await;
    let ClusterEvent::Changes { changes, .. } = update(&mut mine).await else { panic!("a change") };
    let [Change::Place(machine, unit_name, Some(_))] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!((machine, unit_name), (&m1(), &name(&unit(0))));
    scene.refresh_snapshot().await;
    scene.commit(vec![vec![scene.remove(0)]]).await;
    let ClusterEvent::Changes { changes, .. } = update(&mut mine).await else { panic!("a change") };
    assert_eq!(changes, [Change::Place(m1(), name(&unit(0)), None)]);
    // The next thing the other one sees is its own.
    let Decision::Place { unit, placement, unit_revision, .. } = scene.place(1) else {
        panic!("a placement")
    };
    let (machine, machine_created) = (other.machine.clone(), other.created);
    let place =
        Decision::Place { machine, unit, placement, unit_revision, machine_created, cordon: 0 };
    scene.commit(vec![vec![place]]).await;
    let ClusterEvent::Changes { changes, .. } = update(&mut others).await else {
        panic!("a change")
    };
    assert!(matches!(changes.as_slice(), [Change::Place(m, _, Some(_))] if *m == other.machine));
}
