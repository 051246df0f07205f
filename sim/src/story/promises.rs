//! The promise that each violation breaks, as a user of Muster would be told it.

/// By the word of a violation: what Muster promises.
const PROMISES: &[(&str, &str)] = &[
    ("commit-too-large", "a commit is never larger than the store takes"),
    ("conflict-together", "units that conflict are never placed on one machine"),
    ("copy-acts", "a copy of a machine does nothing while that machine is registered"),
    ("daemon-ended", "a daemon ends when it is told to, and never by itself"),
    ("daemon-panicked", "nothing that comes from outside makes a daemon panic"),
    ("health-late", "a daemon that cannot reach the store says so"),
    ("job-begun-twice", "a job is begun once for each start that a user asks for"),
    ("left-behind", "what is not wanted on a machine any more is stopped and removed there"),
    ("moved-from-the-well", "nothing moves away from a machine that is well"),
    ("moved-in-mass", "machines that vanish together keep their units"),
    ("moved-late", "the units of a lost machine are placed elsewhere soon after it is lost"),
    (
        "moved-too-soon",
        "a machine has its time to live to be heard of again before anything moves away from it",
    ),
    ("never-at-rest", "a daemon that has nothing to do waits"),
    ("no-daemon", "a daemon that was stopped is started again"),
    ("nobody-leads", "a cluster of which a machine is well has a leader"),
    ("not-a-member", "a machine that is registered is missed when it goes"),
    ("not-placed", "a unit that is wanted is placed where it may be, once all is well"),
    ("not-registered", "a machine that is well is registered"),
    ("not-reported", "a machine that is registered reports on its units"),
    ("not-running", "a unit that is placed runs as it was asked to, once all is well"),
    ("not-spread", "of units that conflict as many run as there are machines"),
    ("note-kept", "a machine that is counted on does not note that the store is away"),
    ("not-there", "a unit that is placed on a machine is there"),
    ("not-well", "a daemon says that it is well once all is well"),
    ("placed-twice", "a unit is placed on one machine"),
    ("placed-unguarded", "a placement is written only where it is as the plan was made for"),
    ("placed-unwanted", "a unit that nobody wants is placed nowhere"),
    ("placed-without-lead", "only the leader's plans are written"),
    (
        "placed-without-machine",
        "a placement is written only while its machine is registered as it was when the plan was made",
    ),
    ("placed-without-unit", "a plan is written only while the unit is as it was when it was made"),
    ("promise-broken", "what a user was promised stays until a user says otherwise"),
    ("rebooted-undrained", "what can run elsewhere leaves a machine before it reboots"),
    ("registered-late", "a machine that is gone is registered no more once its lease is over"),
    ("removed-text-runs", "nothing of a removed file is ever started again"),
    ("replaced-text-runs", "what is started anew is started from its present file"),
    ("replicas-at-once", "reboots never take two replicas of one service down at once"),
    ("restarted-for-nothing", "what runs as it should is left alone"),
    ("runs-twice", "a unit that may not run twice does not"),
    ("runs-unwanted", "a unit that is to be loaded only is not up"),
    (
        "started-from-the-past",
        "a machine does not start from its disk what was moved away while it was off",
    ),
    ("started-unplaced", "a machine starts only what is placed on it"),
    ("state-of-nothing", "of a unit that is gone from a machine nothing is reported"),
    ("state-stale", "what a machine reports of a unit is so"),
    ("still-frozen", "a freeze ends when all of its machines are back"),
    ("stopped-for-nothing", "an outage stops nothing, and what is wanted is left alone"),
    ("wrong-file", "a unit has the file that its user gave"),
];

/// The promise that this violation breaks; none where its own sentence says it.
pub(super) fn broken_promise(word: &str) -> Option<&'static str> {
    PROMISES.iter().find(|(known, _)| *known == word).map(|(_, promise)| *promise)
}
