//! The daemon's loops, on an embedded store with a runner in memory: what must happen, and what must not.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use std::time::Duration;

use muster_common::state::DesiredState::{Launched, Loaded};
use muster_store::Registry;
use support::{
    Daemon, LONG, Machine, StoreLine, long_after, name, reported, request_unit, timed_store,
    wait_until,
};

const UNIT: &str = "[Service]\nExecStart=/bin/true\n";
const OTHER: &str = "[Service]\nExecStart=/bin/false\n";

#[allow(clippy::unnecessary_wraps, reason = "it is compared with what may not be there")]
fn is(active: &str, generation: u64) -> Option<(String, u64)> {
    Some((active.to_owned(), generation))
}

#[tokio::test(start_paused = true)]
async fn a_unit_is_placed_started_reported_and_destroyed() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    assert_eq!(machine.host.requests_made(), ["write a.service", "start a.service"]);

    registry.destroy_units(&[name("a.service")]).await.unwrap();
    wait_until(&registry, "gone", |s| s.states.is_empty() && s.places.is_empty()).await;
    assert_eq!(machine.host.unit_state("a.service"), None);
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_starts_again_adopts_what_runs() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    let before = machine.host.unit_state("a.service");
    let id = "m1".parse().unwrap();
    let lease = registry.read_registration(&id).await.unwrap().unwrap().lease;
    daemon.stop().await;

    for kill in [true, false] {
        let again = machine.start(&registry);
        again.health.subscribe().wait_for(|s| s.placements.ok).await.unwrap();
        // What is asked for now is done, so whatever the daemon makes of the old unit is done as well.
        let other = if kill { "b.service" } else { "c.service" };
        request_unit(&registry, other, UNIT, Launched).await;
        wait_until(&registry, "the next", |s| reported(s, other) == is("active", 1)).await;
        assert_eq!(registry.read_registration(&id).await.unwrap().unwrap().lease, lease);
        if kill { again.kill().await } else { again.stop().await }
    }
    assert_eq!(machine.host.unit_state("a.service"), before);
    let asked = machine.host.requests_made();
    assert_eq!(asked.iter().filter(|what| what.ends_with(" a.service")).count(), 2, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_says_why_and_is_not_tried_again_unasked() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.fail_starts("a.service");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    let s = wait_until(&registry, "failed", |s| reported(s, "a.service") == is("failed", 1)).await;
    let state = s.states[&name("a.service")].values().next().unwrap().clone();
    assert_eq!(state.problem.as_deref(), Some("start failed: exit status 1"));
    long_after().await;
    assert_eq!(machine.host.requests_made(), ["write a.service", "start a.service"]);

    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "tried again", |s| reported(s, "a.service") == is("failed", 2)).await;
    assert_eq!(machine.host.requests_made().len(), 3);
    daemon.stop().await;
}

/// A process that is born is not a service that works: that it was is told as carried out once it has stayed up, or has failed.
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_in_its_first_moments_is_not_launched() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.break_at_once("a.service");
    machine.host.restart_at_once("b.service");
    let daemon = machine.start(&registry);
    for unit in ["a.service", "b.service"] {
        request_unit(&registry, unit, UNIT, Launched).await;
        let s = wait_until(&registry, "carried out", |s| {
            reported(s, unit).is_some_and(|(_, generation)| generation == 1)
        });
        let s = s.await;
        let state = s.states[&name(unit)].values().next().unwrap().clone();
        let problem = state.problem.unwrap();
        assert!(problem.starts_with("it failed within moments of its start"), "{problem}");
    }
    // A type that says when it is up is believed at once.
    machine.host.break_at_once("c.service");
    let exec = "[Service]\nType=exec\nExecStart=/bin/true\n";
    request_unit(&registry, "c.service", exec, Launched).await;
    let s = wait_until(&registry, "failed", |s| reported(s, "c.service") == is("failed", 1)).await;
    let state = s.states[&name("c.service")].values().next().unwrap().clone();
    assert_eq!(state.problem, None);
    daemon.stop().await;
}

const JOB: &str = "[Service]\nType=oneshot\nExecStart=/bin/true\n[X-Fleet]\nJob=yes\n";

/// The number of times that a unit was started there.
fn starts(machine: &Machine, unit: &str) -> usize {
    let start = format!("start {unit}");
    machine.host.requests_made().iter().filter(|line| **line == start).count()
}

/// The machine goes down and comes back, and has done what there is to do about its units.
async fn after_reboot(registry: &Registry, machine: &Machine, unit: &str) -> Daemon {
    machine.reboot();
    let again = machine.start(registry);
    request_unit(registry, unit, UNIT, Launched).await;
    wait_until(registry, "the next", |s| reported(s, unit) == is("active", 1)).await;
    again.health.subscribe().wait_for(|s| s.reported).await.unwrap();
    again
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_ended_is_not_begun_again_by_a_reboot() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    for unit in ["job.service", "plain.service"] {
        machine.host.end_when_started(unit);
    }
    let daemon = machine.start(&registry);
    let plain = JOB.replace("Job=yes", "Job=no");
    request_unit(&registry, "job.service", JOB, Launched).await;
    request_unit(&registry, "plain.service", &plain, Launched).await;
    for unit in ["job.service", "plain.service"] {
        wait_until(&registry, "ended", |s| reported(s, unit) == is("inactive", 1)).await;
    }
    daemon.stop().await;
    let daemon = after_reboot(&registry, &machine, "b.service").await;
    wait_until(&registry, "known", |s| reported(s, "job.service") == is("inactive", 1)).await;
    assert_eq!((starts(&machine, "job.service"), starts(&machine, "plain.service")), (1, 2));

    // Whoever asks for it again gets it again.
    request_unit(&registry, "job.service", JOB, Launched).await;
    wait_until(&registry, "again", |s| reported(s, "job.service") == is("inactive", 2)).await;
    assert_eq!(starts(&machine, "job.service"), 2);
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_cut_off_is_not_begun_again_and_says_so() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.hold_starts("job.service", true);
    let daemon = machine.start(&registry);
    request_unit(&registry, "job.service", JOB, Launched).await;
    machine.host.until_state(|state| state == Some("activating"), "job.service").await;
    daemon.kill().await;
    let daemon = after_reboot(&registry, &machine, "b.service").await;
    let s =
        wait_until(&registry, "told", |s| reported(s, "job.service") == is("inactive", 1)).await;
    let state = s.states[&name("job.service")].values().next().unwrap().clone();
    // What exactly depends on what the torn-off start hears of the power cut, which here it outlives.
    assert!(state.problem.is_some());
    assert_eq!(starts(&machine, "job.service"), 1);
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_has_reported_on_its_units_has_done_so_whatever_they_do_next() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    let mut health = daemon.health.subscribe();
    health.wait_for(|s| s.reported).await.unwrap();
    let withdrawn = tokio::spawn(async move { health.wait_for(|s| !s.reported).await.is_ok() });
    for _ in 0..5 {
        machine.host.crash_unit("a.service");
        wait_until(&registry, "failed", |s| {
            reported(s, "a.service").is_some_and(|r| r.0 == "failed")
        })
        .await;
        request_unit(&registry, "a.service", UNIT, Launched).await;
        wait_until(&registry, "active", |s| {
            reported(s, "a.service").is_some_and(|r| r.0 == "active")
        })
        .await;
    }
    long_after().await;
    assert!(!withdrawn.is_finished(), "what it had said was taken back for a moment");
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_of_the_hosts_own_is_refused_and_left_alone() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.add_foreign_unit("sshd.service");
    let daemon = machine.start(&registry);
    request_unit(&registry, "sshd.service", UNIT, Launched).await;
    let s = wait_until(&registry, "refused", |s| reported(s, "sshd.service").is_some()).await;
    let state = s.states[&name("sshd.service")].values().next().unwrap().clone();
    assert!(state.problem.unwrap().contains("has a unit of that name of its own"));
    assert_eq!((state.generation, state.file), (1, None));

    registry.destroy_units(&[name("sshd.service")]).await.unwrap();
    wait_until(&registry, "gone", |s| s.states.is_empty()).await;
    assert_eq!(machine.host.requests_made(), Vec::<String>::new());
    assert_eq!(machine.host.unit_state("sshd.service").unwrap().0, "active");
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_holds_up_nobody_and_can_be_stopped() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.hold_starts("slow.service", true);
    let daemon = machine.start(&registry);
    request_unit(&registry, "slow.service", UNIT, Launched).await;
    wait_until(&registry, "starting", |s| reported(s, "slow.service") == is("activating", 0)).await;
    request_unit(&registry, "quick.service", UNIT, Launched).await;
    wait_until(&registry, "the other", |s| reported(s, "quick.service") == is("active", 1)).await;

    request_unit(&registry, "slow.service", UNIT, Loaded).await;
    wait_until(&registry, "stopped", |s| reported(s, "slow.service") == is("inactive", 2)).await;
    assert!(machine.host.requests_made().contains(&"stop slow.service".to_owned()));
    daemon.stop().await;
}

/// systemd shows a unit as inactive for as long as its start is in the queue.
#[tokio::test(start_paused = true)]
async fn a_start_that_has_not_come_to_its_turn_is_called_off_with_the_unit() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    for (number, desired) in [(1, None), (2, Some(Loaded))] {
        let unit = format!("a{number}.service");
        machine.host.queue_starts(&unit);
        request_unit(&registry, &unit, UNIT, Launched).await;
        machine.host.until_queued(&unit).await;
        match desired {
            None => {
                registry.destroy_units(&[name(&unit)]).await.unwrap();
                // The store may have heard nothing of a unit that has not come to its turn, so the machine is asked.
                machine.host.until_asked(&format!("remove {unit}")).await;
            }
            Some(desired) => {
                request_unit(&registry, &unit, UNIT, desired).await;
                wait_until(&registry, "loaded", |s| reported(s, &unit) == is("inactive", 2)).await;
            }
        }
        machine.host.work_off();
        assert!(
            machine.host.unit_state(&unit).is_none_or(|(active, _)| active == "inactive"),
            "{unit}"
        );
        assert!(
            machine.host.requests_made().contains(&format!("stop {unit}")),
            "{:?}",
            machine.host.requests_made()
        );
    }
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_ended_stays_ended_until_it_is_asked_for_again() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    machine.host.crash_unit("a.service");
    wait_until(&registry, "failed", |s| reported(s, "a.service") == is("failed", 1)).await;
    long_after().await;
    assert_eq!(machine.host.requests_made(), ["write a.service", "start a.service"]);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active again", |s| reported(s, "a.service") == is("active", 2)).await;
    assert_eq!(
        machine.host.requests_made(),
        ["write a.service", "start a.service", "start a.service"]
    );
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_file_is_written_and_the_unit_restarted() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    request_unit(&registry, "a.service", OTHER, Launched).await;
    wait_until(&registry, "anew", |s| reported(s, "a.service") == is("active", 2)).await;
    assert_eq!(
        machine.host.requests_made(),
        ["write a.service", "start a.service", "write a.service", "restart a.service"]
    );
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_leads_to_a_new_registration_and_restarts_nothing() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    let id = "m1".parse().unwrap();
    let lease = registry.read_registration(&id).await.unwrap().unwrap().lease.unwrap();
    registry.revoke_lease(lease).await.unwrap();
    let back = wait_until(&registry, "back", |s| {
        s.machines.contains_key(&id)
            && s.leader.is_some()
            && reported(s, "a.service") == is("active", 1)
    });
    back.await;
    assert_ne!(registry.read_registration(&id).await.unwrap().unwrap().lease, Some(lease));
    assert_eq!(machine.host.unit_state("a.service"), is("active", 1));
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_machine_with_the_same_id_keeps_out_and_says_so() {
    let (registry, _disk) = timed_store();
    let first = Machine::new("m1", "10.0.0.1");
    let daemon = first.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    let before =
        wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;

    // The two share a kernel here, and with it a boot id: the record is given another one.
    let id = "m1".parse().unwrap();
    let found = registry.read_registration(&id).await.unwrap().unwrap();
    let (mut record, lease) = (found.machine, found.lease);
    record.boot = "elsewhere".to_owned();
    let lease = muster_store::Lease { id: lease.unwrap(), ttl: Duration::from_secs(2) };
    registry.register_machine(&record, lease).await.unwrap();

    let second = Machine::new("m1", "10.0.0.2");
    let refused = second.start(&registry);
    let mut status = refused.health.subscribe();
    let status = status.wait_for(|s| s.lease.problem.is_some()).await.unwrap().clone();
    let problem = status.lease.problem.unwrap();
    assert!(problem.contains("the machine at 10.0.0.1"), "{problem}");
    // systemd takes the bus's where there is one, which in a clone is the same.
    assert!(
        problem.contains("/var/lib/dbus/machine-id, run systemd-machine-id-setup"),
        "{problem}"
    );
    long_after().await;
    refused.stop().await;

    let after = registry.read_snapshot().await.unwrap();
    assert_eq!(after.states, before.states);
    assert_eq!(second.host.requests_made(), Vec::<String>::new());
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_shuts_down_gives_its_units_up() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    machine.host.begin_shutdown();
    daemon.stop().await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "inactive");
    let left = registry.read_snapshot().await.unwrap();
    assert!(left.machines.is_empty() && left.leader.is_none() && left.states.is_empty());
    assert!(!machine.settings.state_dir.join("placements.json").exists());
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_leaves_for_good_gives_its_units_up() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let mark = machine.settings.run_dir.join("give-up");
    // One that an earlier daemon did not live to see means nothing to this one.
    std::fs::create_dir_all(&machine.settings.run_dir).unwrap();
    std::fs::write(&mark, "").unwrap();
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    daemon.stop().await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "active");

    let daemon = machine.start(&registry);
    daemon.health.subscribe().wait_for(|s| s.placements.ok && s.units == 1).await.unwrap();
    std::fs::write(&mark, "").unwrap();
    daemon.stop().await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "inactive");
    assert!(registry.read_snapshot().await.unwrap().machines.is_empty());
    assert!(!mark.exists());
}

#[tokio::test(start_paused = true)]
async fn a_broken_line_to_the_runner_is_made_good_afterwards() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    daemon.health.subscribe().wait_for(|s| s.placements.ok && s.runner.ok).await.unwrap();
    machine.host.cut_line(true);
    daemon.health.subscribe().wait_for(|s| !s.runner.ok).await.unwrap();
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "placed", |s| s.places.contains_key(&name("a.service"))).await;
    assert_eq!(machine.host.requests_made(), Vec::<String>::new());
    machine.host.cut_line(false);
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_starts_and_stops_nothing() {
    let (registry, line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    let before = machine.host.unit_state("a.service");
    line.set_cut(true);
    daemon.health.subscribe().wait_for(|s| !s.store.ok && !s.placements.ok).await.unwrap();
    // A daemon that starts again in the outage goes by what it knows.
    daemon.stop().await;
    let again = machine.start(&registry);
    again.health.subscribe().wait_for(|s| !s.lease.ok && s.units == 1).await.unwrap();
    assert_eq!(machine.host.unit_state("a.service"), before);

    line.set_cut(false);
    again.health.subscribe().wait_for(|s| s.lease.ok && s.placements.ok).await.unwrap();
    request_unit(&registry, "b.service", UNIT, Launched).await;
    wait_until(&registry, "the next", |s| reported(s, "b.service") == is("active", 1)).await;
    assert_eq!(machine.host.unit_state("a.service"), before);
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reboot_in_an_outage_brings_the_units_back() {
    let (registry, line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    line.set_cut(true);
    daemon.stop().await;
    machine.reboot();
    let again = machine.start(&registry);
    again.health.subscribe().wait_for(|s| s.counters.starts == 1 || s.units == 1).await.unwrap();
    machine.host.until_state(|state| state == Some("active"), "a.service").await;

    line.set_cut(false);
    wait_until(&registry, "reported", |s| reported(s, "a.service") == is("active", 1)).await;
    assert_eq!(machine.host.requests_made().iter().filter(|l| *l == "start a.service").count(), 2);
    again.stop().await;
}

/// The placements on disk may be older than what the store has said since.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_has_heard_the_store_does_not_go_by_its_disk_again() {
    let (registry, line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let file = machine.settings.state_dir.join("placements.json");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    daemon.stop().await;
    let old = std::fs::read_to_string(&file).unwrap();
    let daemon = machine.start(&registry);
    registry.destroy_units(&[name("a.service")]).await.unwrap();
    wait_until(&registry, "gone", |s| s.states.is_empty() && s.places.is_empty()).await;
    daemon.stop().await;

    std::fs::remove_file(&file).unwrap();
    let daemon = machine.start(&registry);
    // What it has read is on disk before the disk is put back to what it was.
    let saved = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while !file.exists() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(LONG, saved).await.unwrap();
    std::fs::write(&file, &old).unwrap();
    line.cut_with_the_leases();
    // Another one begins now, and when it goes by its disk, the first has had its chance to.
    let other = Machine::new("m2", "10.0.0.2");
    std::fs::write(other.settings.state_dir.join("placements.json"), &old).unwrap();
    let note = r#"{"machine":"m2","boot":"b"}"#;
    std::fs::write(other.settings.state_dir.join("outage.json"), note).unwrap();
    let began = other.start(&registry);
    other.host.until_state(|state| state == Some("active"), "a.service").await;
    assert!(!daemon.health.status().lease.ok);
    assert!(machine.host.unit_state("a.service").is_none(), "{:?}", machine.host.requests_made());
    daemon.stop().await;
    began.stop().await;
}
