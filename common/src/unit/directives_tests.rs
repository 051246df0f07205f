//! What a user is told about a unit file that systemd would not read as it was meant.

use super::*;

fn warned(name: &str, text: &str) -> Vec<String> {
    let file = text.parse().unwrap();
    directive_warnings(&name.parse().unwrap(), &file).iter().map(Warning::to_string).collect()
}

#[test]
fn a_sound_unit_draws_no_warning() {
    let service = "[Unit]\nDescription=x\nAfter=y.service\n[Service]\nExecStart=/bin/true\nUser=nobody\n\
                   KillMode=process\nMemoryMax=1G\n[Install]\nWantedBy=multi-user.target\n[X-Fleet]\nGlobal=true\n";
    assert_eq!(warned("a.service", service), [""; 0]);
    assert_eq!(warned("a.timer", "[Timer]\nOnCalendar=daily\nPersistent=true\n"), [""; 0]);
    assert_eq!(warned("a.target", "[Unit]\nWants=b.service\n"), [""; 0]);
}

/// What systemd 257, which Debian 13 has, takes and 252, which Debian 12 has, does not.
const SINCE_252: &str = "\
    [Unit] SurviveFinalKillSignal WantsMountsFor
    [Service] BindLogSockets CoredumpReceive DefaultStartupMemoryLow DelegateSubgroup ExtensionImagePolicy
    [Service] FileDescriptorStorePreserve ImportCredential LogFilterPatterns ManagedOOMMemoryPressureDurationSec
    [Service] MemoryKSM MemoryPressureThresholdSec MemoryPressureWatch MemoryZSwapMax MemoryZSwapWriteback
    [Service] MountImagePolicy NFTSet OpenFile PrivatePIDs ReloadSignal RestartMaxDelaySec RestartMode RestartSteps
    [Service] RootEphemeral RootImagePolicy SetLoginEnvironment StartupMemoryHigh StartupMemoryLow StartupMemoryMax
    [Service] StartupMemorySwapMax StartupMemoryZSwapMax
    [Socket] NFTSet PassFileDescriptorsToExec PollLimitBurst PollLimitIntervalSec PrivatePIDs
    [Timer] DeferReactivation
    [Install] UpheldBy";

#[test]
fn what_systemd_has_learnt_since_is_known() {
    for line in SINCE_252.lines() {
        let (section, names) = line.trim().split_once(' ').unwrap();
        let kind = match section {
            "[Socket]" => "a.socket",
            "[Timer]" => "a.timer",
            _ => "a.service",
        };
        for name in names.split(' ') {
            assert_eq!(warned(kind, &format!("{section}\n{name}=x\n")), [""; 0], "{name}");
        }
    }
}

#[test]
fn a_misspelt_directive_is_named_with_its_line() {
    assert_eq!(
        warned(
            "a.service",
            "[Unit]\nBindTo=b.service\n\n[Service]\nExecStrat=/bin/true\nFrobnicate=1\n"
        ),
        [
            "line 2: [Unit] BindTo: an old name; use BindsTo",
            "line 5: [Service] ExecStrat: unknown directive; systemd ignores it; did you mean ExecStart?",
            "line 6: [Service] Frobnicate: unknown directive; systemd ignores it",
        ]
    );
}

#[test]
fn a_directive_in_the_wrong_section_is_told_where_it_belongs() {
    assert_eq!(
        warned("a.service", "[Unit]\nExecStart=/bin/true\n[Service]\nAfter=b.service\n"),
        [
            "line 2: [Unit] ExecStart: belongs into [Service]; systemd ignores it here",
            "line 4: [Service] After: belongs into [Unit]; systemd ignores it here",
        ]
    );
}

#[test]
fn a_section_systemd_does_not_read_is_named_once() {
    assert_eq!(
        warned(
            "a.service",
            "[Timer]\nOnCalendar=daily\nPersistent=1\n[Serivce]\nExecStart=x\n[XFleet]\nGlobal=1\n"
        ),
        [
            "line 1: [Timer] is not a section of service units; systemd ignores it",
            "line 4: [Serivce] is not a section systemd knows; systemd ignores it; did you mean [Service]?",
            "line 6: [XFleet] is not a section systemd knows; systemd ignores it; did you mean [X-Fleet]?",
        ]
    );
}

#[test]
fn what_begins_with_x_is_somebody_elses() {
    assert_eq!(warned("a.service", "[X-Other]\nA=1\n[Service]\nX-B=2\nExecStart=c\n"), [""; 0]);
}

#[test]
fn a_slip_of_x_fleet_is_noticed_in_every_unit() {
    for section in ["X-fleet", "X-Fleeet", "X-Flet", "X-FLEET"] {
        let expected = format!("line 1: [{section}] is read by nobody; did you mean [X-Fleet]?");
        let text = format!("[{section}]\nGlobal=true\nConflicts=a\n[X-Flight]\nA=b\n");
        assert_eq!(warned("a.service", &text), [expected.as_str()]);
        assert_eq!(warned("a.container", &text), [expected.as_str()]);
    }
}

#[test]
fn musters_section_is_meant_by_its_second_half_in_every_unit_of_systemds() {
    for section in ["Fleet", "fleet", "x_fleet", "Fleet\u{a0}"] {
        let warned =
            warned("a.timer", &format!("[Timer]\nOnCalendar=daily\n[{section}]\nGlobal=true\n"));
        let [warning] = warned.as_slice() else { panic!("{warned:?}") };
        assert!(warning.starts_with("line 3: ["), "{warning}");
        assert!(warning.ends_with("; did you mean [X-Fleet]?"), "{warning}");
    }
}

#[test]
fn what_looks_like_white_space_and_is_none_is_named() {
    assert_eq!(
        warned(
            "a.service",
            "[Service]\n\u{a0}ExecStart=/bin/true\nUser=nobody\u{2003}\nExecStop=/a \\\n  b\u{200b}c\nGroup=\u{feff}x\n"
        ),
        [
            "line 2: [Service] \u{a0}ExecStart: unknown directive; systemd ignores it; there is a no-break space (U+00A0) in its name; did you mean ExecStart?",
            "line 3: [Service] User: its value ends in a space of Unicode's (U+2003), which is no white space to systemd but a part of the value",
            "line 5: [Service] ExecStop: its value holds a zero-width space (U+200B), which is no white space to systemd but a part of the value",
            "line 6: [Service] Group: its value begins with a byte order mark (U+FEFF), which is no white space to systemd but a part of the value",
        ]
    );
    let described = "[Unit]\nDescription=10\u{a0}km à pied\n[Service]\nExecStart=/a\n";
    assert_eq!(warned("a.service", described), [""; 0]);
    assert_eq!(
        warned("a.container", "[Container]\nImage=a\u{a0}\n"),
        [
            "line 2: [Container] Image: its value ends in a no-break space (U+00A0), which is no white space to systemd but a part of the value"
        ]
    );
}

#[test]
fn a_line_that_does_not_go_on_after_its_backslash_is_named() {
    assert_eq!(
        warned("a.service", "[Service]\n# a \\ \nExecStart=/bin/echo \\ \t\nUser=x\n"),
        [
            "line 3: blanks follow the \\ at its end, so it does not go on in the next line; remove the blanks"
        ]
    );
}

#[test]
fn every_name_that_is_hinted_at_is_one() {
    for (old, new) in names::RENAMED {
        assert!(names::UNIT.contains(new), "{old} is said to be called {new}");
    }
}

#[test]
fn processes_are_configured_only_where_there_are_some() {
    assert_eq!(
        warned("a.timer", "[Timer]\nUser=nobody\n"),
        ["line 2: [Timer] User: unknown directive; systemd ignores it"]
    );
    assert_eq!(warned("a.slice", "[Slice]\nMemoryMax=1G\n"), [""; 0]);
    assert_eq!(warned("a.scope", "[Scope]\nKillMode=none\nUser=x\n").len(), 1);
}

#[test]
fn containers_are_not_systemds() {
    assert_eq!(warned("a.container", "[Container]\nImage=x\n"), [""; 0]);
}

#[test]
fn every_table_is_sorted_without_repeats() {
    let shared = [names::UNIT, names::INSTALL, names::EXEC, names::KILL, names::RESOURCE_CONTROL];
    let own = UnitType::ALL.into_iter().filter_map(own_section).flat_map(|(_, tables)| tables);
    for table in own.copied().chain(shared) {
        assert!(table.is_sorted_by(|a, b| a < b), "{table:?}");
    }
}

#[test]
fn a_file_of_nothing_but_slips_is_not_examined_to_its_end() {
    let directives: Vec<_> = (0..30_000).map(|i| format!("A{i}=\n")).collect();
    let warnings = warned("a.service", &format!("[Service]\n{}", directives.concat()));
    assert_eq!(warnings.len(), MAX_WARNINGS + 1);
    assert_eq!(warnings.last().map(String::as_str), Some("line 102: and more from here on"));
}
