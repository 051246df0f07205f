//! Which losses are held, and for how long.

use super::*;

const TTL: Duration = Duration::from_secs(10);
/// When tests begin: the leader's contact with the store is older than the TTL.
const EPOCH: Duration = Duration::from_secs(20);
/// Later than all losses of a test.
const AFTERWARDS: Duration = Duration::from_secs(120);

fn ids(names: &str) -> BTreeSet<MachineId> {
    names.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

/// A leader that is in contact with the store since this second, for as long as the test takes.
fn in_contact_since(second: u64) -> StoreContact {
    let lease = Duration::from_secs(6);
    let mut contact = StoreContact::begin(Duration::from_secs(second), lease);
    for sent in (second..second + 200).map(Duration::from_secs) {
        contact = contact.extend_contact(sent, sent);
    }
    contact
}

/// All that is here belongs to the cluster, and the store was there for longer than anybody knows.
fn cluster(names: &str) -> Freeze {
    let mut freeze = Freeze::new(TTL);
    freeze.set_contact(Some(in_contact_since(0)));
    freeze.take_over(ids(names), &ids(names), None, EPOCH);
    freeze
}

fn at(second: u64) -> Duration {
    EPOCH + Duration::from_secs(second)
}

/// All others were asked after, and these are silent.
fn probe(freeze: &Freeze, silent: &str) -> LeaseProbe {
    LeaseProbe { asked: freeze.live_machines().clone(), silent: ids(silent) }
}

/// A loss after which all others are heard of.
fn lose(freeze: &mut Freeze, name: &str, second: u64) {
    freeze.on_machine_lost(name.parse().unwrap(), true, at(second));
    if freeze.needs_probe(at(second)) {
        let probe = probe(freeze, "");
        freeze.on_leases_probed(&probe, AFTERWARDS, at(second));
    }
}

#[test]
fn one_loss_is_never_mass() {
    let mut two = cluster("a b");
    lose(&mut two, "b", 1);
    assert!(!two.is_frozen());
    assert!(two.waiting_machines().is_empty());
}

#[test]
fn half_lost_within_a_ttl_freezes_and_later_losses_join() {
    let mut four = cluster("a b c d");
    lose(&mut four, "a", 1);
    assert!(!four.is_frozen());
    lose(&mut four, "b", 9);
    assert_eq!(four.held_machines(), &ids("a b"));
    lose(&mut four, "c", 60);
    assert_eq!(four.held_machines(), &ids("a b c"));
}

#[test]
fn losses_far_apart_do_not_add_up() {
    let mut four = cluster("a b c d");
    lose(&mut four, "a", 1);
    lose(&mut four, "b", 12);
    assert!(!four.is_frozen());
}

#[test]
fn fewer_than_half_moves_at_once() {
    let mut five = cluster("a b c d e");
    lose(&mut five, "a", 1);
    lose(&mut five, "b", 1);
    assert!(!five.is_frozen());
    assert!(five.waiting_machines().is_empty());
}

#[test]
fn nothing_moves_before_the_others_have_been_asked_after() {
    let mut three = cluster("a b c");
    three.on_machine_lost("a".parse().unwrap(), true, at(1));
    assert!(three.needs_probe(at(1)));
    assert_eq!(three.waiting_machines(), ids("a"));
    assert!(!three.is_frozen());
    three.on_leases_probed(&probe(&three, ""), AFTERWARDS, at(1));
    assert!(three.waiting_machines().is_empty());
}

#[test]
fn a_silent_machine_counts_with_the_lost_until_it_is_heard_of() {
    let mut three = cluster("a b c");
    three.on_machine_lost("a".parse().unwrap(), true, at(1));
    three.on_leases_probed(&probe(&three, "b"), AFTERWARDS, at(1));
    assert!(three.needs_probe(at(1)));
    assert_eq!(three.waiting_machines(), ids("a"));
    let mut heard = three.clone();
    heard.on_leases_probed(&probe(&heard, ""), AFTERWARDS, at(1));
    assert!(heard.waiting_machines().is_empty());
    three.on_machine_lost("b".parse().unwrap(), true, at(3));
    assert_eq!(three.held_machines(), &ids("a b"));
    assert!(!three.needs_probe(at(1)));
}

#[test]
fn a_silent_machine_among_many_holds_nothing_up() {
    let mut five = cluster("a b c d e");
    five.on_machine_lost("a".parse().unwrap(), true, at(1));
    five.on_leases_probed(&probe(&five, "b"), AFTERWARDS, at(1));
    assert!(five.waiting_machines().is_empty());
}

#[test]
fn a_lease_prolonged_when_it_should_be_is_not_silent() {
    let seconds = Duration::from_secs;
    let is_silent =
        |left, granted| is_silent(&TimeLeft { left, granted, counted_for: Duration::MAX });
    // Of three seconds, prolonged every second, in whole seconds as etcd counts.
    assert!(!is_silent(seconds(2), seconds(3)));
    assert!(is_silent(seconds(1), seconds(3)));
    // Of six, prolonged every two.
    assert!(!is_silent(seconds(4), seconds(6)));
    assert!(!is_silent(seconds(3), seconds(6)));
    assert!(is_silent(seconds(2), seconds(6)));
    // It ended while it was asked after.
    assert!(is_silent(Duration::ZERO, Duration::ZERO));
}

/// Of six seconds, and a seventh from the election. One that was not prolonged since has as much left as one that was.
#[test]
fn a_lease_that_an_election_has_prolonged_says_nothing_until_half_of_it_is_over() {
    let granted = Duration::from_secs(6);
    for tenths in 0..70 {
        let left = Duration::from_secs((70 - tenths) / 10);
        let time = TimeLeft { left, granted, counted_for: Duration::from_millis(100 * tenths) };
        assert!(is_silent(&time), "{time:?}");
    }
    let (left, counted_for) = (Duration::from_secs(4), Duration::from_millis(4100));
    assert!(!is_silent(&TimeLeft { left, granted, counted_for }), "prolonged since");
}

#[test]
fn it_ends_when_all_are_back_or_a_person_says_so() {
    let mut three = cluster("a b c");
    lose(&mut three, "a", 1);
    lose(&mut three, "b", 2);
    three.on_machine_returned("a".parse().unwrap());
    assert_eq!(three.held_machines(), &ids("b"));
    three.on_machine_returned("b".parse().unwrap());
    assert!(!three.is_frozen());
    lose(&mut three, "a", 30);
    lose(&mut three, "b", 31);
    three.unfreeze_all();
    assert!(!three.is_frozen());
    assert!(three.waiting_machines().is_empty());
}

#[test]
fn a_clean_departure_is_no_loss() {
    let mut four = cluster("a b c d");
    four.on_machine_left(&"a".parse().unwrap());
    lose(&mut four, "b", 1);
    assert!(!four.is_frozen());
    assert_eq!(four.known_members(), ids("b c d"));
}

#[test]
fn a_new_leader_freezes_what_it_finds_missing() {
    let mut freeze = cluster("");
    freeze.take_over(ids("a"), &ids("a b c"), None, at(0));
    assert_eq!(freeze.held_machines(), &ids("b c"));
    freeze.take_over(ids("a"), &ids("a b"), None, at(0));
    assert!(!freeze.is_frozen());
    assert!(freeze.needs_probe(at(1)));
}

#[test]
fn a_new_leader_that_misses_one_asks_after_the_others() {
    let mut freeze = cluster("");
    freeze.take_over(ids("b c"), &ids("a b c"), None, at(0));
    assert_eq!(freeze.waiting_machines(), ids("a"));
    freeze.on_leases_probed(&probe(&freeze, "c"), AFTERWARDS, at(1));
    assert_eq!(freeze.waiting_machines(), ids("a"));
    freeze.on_machine_lost("c".parse().unwrap(), true, at(1));
    assert_eq!(freeze.held_machines(), &ids("a c"));
}

#[test]
fn a_machine_belongs_to_the_cluster_while_its_loss_may_be_part_of_a_larger_one() {
    let mut three = cluster("a b c");
    lose(&mut three, "a", 1);
    assert_eq!(three.forget_old_losses(at(2)), Some(at(11)));
    assert_eq!(three.known_members(), ids("a b c"));
    assert_eq!(three.forget_old_losses(at(12)), None);
    assert_eq!(three.known_members(), ids("b c"));
    // A held machine does for as long as it is held.
    lose(&mut three, "b", 20);
    lose(&mut three, "c", 21);
    assert_eq!(three.forget_old_losses(at(90)), None);
    assert_eq!(three.known_members(), ids("b c"));
}

#[test]
fn whoever_is_missing_after_an_outage_has_a_whole_ttl_to_come_back() {
    let mut freeze = cluster("");
    // The store is back since second 30, and the first daemon to register leads a second later.
    freeze.set_contact(Some(in_contact_since(30)));
    let now = Duration::from_secs(31);
    freeze.take_over(ids("a"), &ids("a b c"), None, now);
    assert!(!freeze.is_frozen() && !freeze.needs_probe(now), "nothing is judged yet");
    assert_eq!(freeze.waiting_machines(), ids("b c"));
    let until = Some(Duration::from_secs(40));
    assert_eq!(freeze.machines_that_may_return(now), (ids("b c"), until));
    freeze.on_machine_returned("b".parse().unwrap());
    let later = Duration::from_secs(40);
    freeze.freeze_mass_loss(later);
    assert!(!freeze.is_frozen() && freeze.needs_probe(later));
    let lost = freeze.on_leases_probed(&probe(&freeze, ""), later, later);
    assert_eq!(lost, ["c".parse().unwrap()], "its units move, and the log says so");
    assert_eq!(freeze.waiting_machines(), ids(""));
}

#[test]
fn who_is_still_missing_then_counts_together() {
    let mut freeze = cluster("");
    freeze.set_contact(Some(in_contact_since(30)));
    freeze.take_over(ids("a"), &ids("a b c"), None, Duration::from_secs(31));
    freeze.freeze_mass_loss(Duration::from_secs(40));
    assert_eq!(freeze.held_machines(), &ids("b c"));
}

#[test]
fn a_lease_that_ends_in_the_first_moments_after_an_outage_ended_because_of_it() {
    let mut freeze = cluster("a b c");
    freeze.set_contact(Some(in_contact_since(30)));
    freeze.on_machine_lost("c".parse().unwrap(), true, Duration::from_secs(33));
    assert_eq!(freeze.waiting_machines(), ids("c"));
    assert!(!freeze.needs_probe(Duration::from_secs(39)));
    assert!(freeze.needs_probe(Duration::from_secs(40)));
    // Four seconds after it everybody who was well had prolonged a lease of six.
    let mut later = cluster("a b c");
    later.set_contact(Some(in_contact_since(30)));
    later.on_machine_lost("c".parse().unwrap(), true, Duration::from_secs(34));
    assert!(later.needs_probe(Duration::from_secs(34)));
}

#[test]
fn a_leader_that_does_not_know_of_the_store_judges_nobody() {
    let mut freeze = cluster("a b c");
    freeze.set_contact(None);
    freeze.on_machine_lost("c".parse().unwrap(), true, at(5));
    assert!(!freeze.needs_probe(at(5)) && !freeze.needs_probe(at(500)));
    // Paused: the last keepalive is long ago, and the next says when contact began anew.
    freeze.set_contact(Some(StoreContact::begin(at(0), Duration::from_secs(6))));
    assert!(!freeze.needs_probe(at(5)));
    freeze.set_contact(Some(in_contact_since(25)));
    assert!(freeze.needs_probe(at(15)));
}

#[test]
fn the_leader_before_is_a_loss_that_was_seen() {
    let mut freeze = cluster("");
    freeze.set_contact(Some(in_contact_since(30)));
    let predecessor = ("a".parse().unwrap(), Duration::from_secs(36));
    let now = Duration::from_secs(37);
    freeze.take_over(ids("b c d e"), &ids("a b c d e"), Some(&predecessor), now);
    assert!(freeze.needs_probe(now));
}

#[test]
fn of_many_machines_some_are_asked_after() {
    let names: Vec<String> = (0..100).map(|number| format!("m{number:02}")).collect();
    let mut freeze = cluster(&names.join(" "));
    freeze.on_machine_lost("m00".parse().unwrap(), true, at(1));
    let asked: BTreeSet<MachineId> = freeze.live.iter().step_by(2).cloned().collect();
    for (silent, is_alone) in [(0, true), (11, true), (12, false), (50, false)] {
        let mut freeze = freeze.clone();
        let silent = asked.iter().take(silent).cloned().collect();
        let probe = LeaseProbe { asked: asked.clone(), silent };
        freeze.on_leases_probed(&probe, AFTERWARDS, at(1));
        assert_eq!(freeze.waiting_machines().is_empty(), is_alone, "{probe:?}");
    }
}
