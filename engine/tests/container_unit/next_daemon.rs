//! The memory of a unit, and what a daemon that comes later makes of it.

use super::*;

const INTERRUPTED: &str = "activating/interrupted (cut off while the daemon was away)";

#[test]
fn another_daemon_goes_on_from_what_was_remembered() {
    let story = Story::up("");
    let again = Story::adopts(
        "",
        Some(story.memory.clone()),
        Some(container("abc", FoundContainer::Running(None))),
    );
    assert_eq!(again.first, "active/running abc");
    assert_eq!(again.memory.since, 1_002, "since when is not forgotten");
    let ended = FoundContainer::Ended(Ended { code: 3, oom: false });
    let again = Story::adopts("", Some(story.memory.clone()), Some(container("abc", ended)));
    assert_eq!(again.first, "failed/failed (exit-code, code 3)");
    let again = Story::adopts("", Some(story.memory.clone()), None);
    assert_eq!(again.first, INTERRUPTED);
    let again = Story::adopts("", None, None);
    assert_eq!(again.first, "inactive/dead");
}

#[test]
fn another_daemon_knows_what_an_engine_took_along_while_there_was_none() {
    let mut story = Story::up("");
    let engine = |process| EngineRun { process: Some(process), ..NOT_LIVE };
    story.memory.engine = Some(engine(7));
    let adopts = |process| {
        let ended = FoundContainer::Ended(Ended { code: 137, oom: false });
        let found = Some(container("abc", ended));
        Story::adopts_from("", engine(process), Some(story.memory.clone()), found).first
    };
    assert_eq!(adopts(8), INTERRUPTED, "whether it belongs here is not known yet");
    assert_eq!(adopts(7), "failed/failed (signal 9)", "it has ended by itself");
}

#[test]
fn a_container_that_somebody_removed_is_made_again_as_what_it_was() {
    let story = Story::up("");
    let mut again = Story::adopts("", Some(story.memory.clone()), None);
    assert_eq!(again.first, INTERRUPTED);
    again.go_on(
        "
        1 start    => prepare; activating/start-pre
        2 prepared => start for 7; activating/start
        ",
    );
}

#[test]
fn a_memory_of_this_version_is_written_as_it_was_before() {
    let story = Story::up("");
    let expected = serde_json::json!({
        "memory": {
            "wanted": true, "starts": [], "restarts": 0, "rest": null, "ended": null, "unmet": false,
        },
        "container": "abc", "active": "active", "sub": "running", "since": 1_002,
        "fault": "", "remark": "", "generation": 7,
        "engine": { "live_restore": false, "process": null },
    });
    let mut written = serde_json::to_value(&story.memory).unwrap();
    written["memory"]["starts"] = serde_json::json!([]);
    assert_eq!(written, expected);
    for newer in ["generation", "engine"] {
        written.as_object_mut().unwrap().remove(newer);
    }
    let older: UnitMemory = serde_json::from_value(written).unwrap();
    assert_eq!((older.generation, older.engine), (0, None), "one of before is read");
}
