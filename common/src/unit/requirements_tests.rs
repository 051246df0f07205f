//! What `[X-Fleet]` means, and what it refuses.

use proptest::prelude::*;

use super::section::NAMES;
use super::*;

fn read(name: &str, section: &str) -> Result<Requirements, RequirementsError> {
    let file = format!("[X-Fleet]\n{section}\n[Service]\nExecStart=/bin/true\n").parse().unwrap();
    Requirements::from_file(&name.parse().unwrap(), &file)
}

fn of(name: &str, section: &str) -> Requirements {
    read(name, section).unwrap_or_else(|error| panic!("{section}: {error}"))
}

/// What a file that fleet took asks for, and what is told of it.
fn warned(name: &str, section: &str) -> (Requirements, Vec<String>) {
    let name: UnitName = name.parse().unwrap();
    let file: UnitFile =
        format!("[X-Fleet]\n{section}\n[Service]\nExecStart=/bin/true\n").parse().unwrap();
    let problems = requirement_warnings(&name, &file).iter().map(ToString::to_string).collect();
    (
        Requirements::from_file(&name, &file).unwrap_or_else(|error| panic!("{section}: {error}")),
        problems,
    )
}

/// The error as its reader sees it, with its line.
fn refused(name: &str, section: &str) -> String {
    let error = read(name, section).expect_err("it is accepted");
    format!("{}: {error}", error.line)
}

fn units<'a>(names: impl IntoIterator<Item = &'a UnitName>) -> Vec<&'a str> {
    names.into_iter().map(UnitName::as_str).collect()
}

fn patterns(requirements: &Requirements) -> Vec<&str> {
    requirements.conflicts.iter().map(Glob::as_str).collect()
}

#[test]
fn no_section_asks_for_nothing() {
    let file = "[Service]\nExecStart=/bin/true\n".parse().unwrap();
    let nothing = Requirements::from_file(&"a.service".parse().unwrap(), &file);
    assert_eq!(nothing, Ok(Requirements::default()));
}

#[test]
fn every_option_is_understood() {
    let all = of(
        "a.service",
        "MachineID=0123456789abcdef0123456789abcdef\nMachineOf=b.service\nMachineOf=c.service d.service\n\
         MachineMetadata=disk=ssd\nConflicts=e* f.service\nConflicts=g@?.service",
    );
    assert_eq!(all.machine_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    assert_eq!(units(&all.machine_of), ["b.service", "c.service", "d.service"]);
    assert_eq!(patterns(&all), ["e*", "f.service", "g@?.service"]);
    assert!(!all.global);
    assert_eq!(units(&of("a.service", "Replaces=b.service").replaces), ["b.service"]);
    assert!(of("a.service", "Global=true\nMachineMetadata=a=b\nConflicts=c*").global);
}

#[test]
fn old_names_mean_the_same() {
    let old = "X-ConditionMachineOf=b.service\nX-ConditionMachineMetadata=k=v\nX-Conflicts=c*\n";
    let new = "MachineOf=b.service\nMachineMetadata=k=v\nConflicts=c*\n";
    assert_eq!(of("a.service", old), of("a.service", new));
    for name in ["X-ConditionMachineID", "X-ConditionMachineBootID"] {
        assert_eq!(of("a.service", &format!("{name}=abc")), of("a.service", "MachineID=abc"));
    }
}

#[test]
fn metadata_is_or_within_a_key_and_and_between_keys() {
    let expected = BTreeMap::from([
        ("disk".to_owned(), BTreeSet::from(["ssd".to_owned()])),
        ("region".to_owned(), BTreeSet::from(["east".to_owned(), "west".to_owned()])),
    ]);
    for section in [
        "MachineMetadata=region=east\nMachineMetadata=region=west\nMachineMetadata=disk=ssd",
        "MachineMetadata=\"region=east\" \"disk=ssd\"\nMachineMetadata=\"region=west\"",
        "MachineMetadata=region=east region=west disk=ssd",
        "MachineMetadata='region=east' \\\n  \"region=west\" \\\n# aside\n disk=ssd",
    ] {
        assert_eq!(of("a.service", section).metadata, expected, "{section}");
    }
}

#[test]
fn metadata_values_may_have_spaces_and_equals_signs() {
    let value = |section: &str| {
        let metadata = of("a.service", section).metadata;
        metadata
            .into_iter()
            .flat_map(|(k, v)| v.into_iter().map(move |v| format!("{k}|{v}")))
            .collect::<Vec<_>>()
    };
    assert_eq!(value("MachineMetadata=room=upper floor"), ["room|upper floor"]);
    assert_eq!(
        value("MachineMetadata=\"room=upper floor\" \"a=b=c\""),
        ["a|b=c", "room|upper floor"]
    );
    assert_eq!(value("MachineMetadata=room=\"upper floor\""), ["room|upper floor"]);
}

#[test]
fn global_takes_fleets_words_and_the_last_wins() {
    for word in ["true", "yes", "1", "on", "t", "TRUE", "Yes", "On", "T"] {
        assert!(of("a.service", &format!("Global={word}")).global, "{word}");
    }
    for word in ["false", "no", "0", "off", "f", ""] {
        assert!(!of("a.service", &format!("Global={word}")).global, "{word}");
    }
    assert!(!of("a.service", "Global=true\nGlobal=false").global);
    assert!(of("a.service", "Global=false\nGlobal=true").global);
    assert!(of("a.service", "Global=true\nReplaces=\nMachineID=").global);
    assert!(!of("a.service", "Global=true\nMachineOf=b.service\nGlobal=no").global);
}

#[test]
fn an_empty_value_forgets_the_earlier_ones() {
    let section = "Conflicts=a*\nMachineOf=b.service\nMachineMetadata=k=v\nMachineID=x\n\
                   Conflicts=\nMachineOf=\nMachineMetadata=\nMachineID=\nConflicts=c*";
    let left = of("z.service", section);
    assert_eq!(left, of("z.service", "Conflicts=c*"));
    assert_eq!(
        units(&of("z.service", "Conflicts=a\nConflicts=\nReplaces=b.service").replaces),
        ["b.service"]
    );
}

#[test]
fn specifiers_are_expanded() {
    let section =
        "MachineOf=%p-data@%i.service\nConflicts=%p@*\nMachineMetadata=name=%N\nConflicts=%n.old";
    let one = of("web@1.service", section);
    assert_eq!(units(&one.machine_of), ["web-data@1.service"]);
    assert_eq!(patterns(&one), ["web@*", "web@1.service.old"]);
    assert!(one.metadata.get("name").is_some_and(|values| values.contains("web@1")));
}

#[test]
fn a_unit_may_match_its_own_conflicts_and_replace_itself_in_vain() {
    assert_eq!(patterns(&of("web@1.service", "Conflicts=web@*")), ["web@*"]);
    assert_eq!(
        units(&of("web@1.service", "Replaces=web@1.service web@2.service").replaces),
        ["web@2.service"]
    );
}

#[test]
fn a_template_is_checked_as_far_as_it_goes() {
    let section = "MachineOf=%p-data@%i.service\nMachineOf=db.service\nConflicts=%p@*";
    let template = of("web@.service", section);
    assert_eq!(units(&template.machine_of), ["db.service"]);
    assert_eq!(
        refused("web@.service", "\nMachineOf=%i"),
        "3: [X-Fleet] MachineOf: \"INSTANCE\" is not a unit name: it has no type such as .service"
    );
    assert_eq!(
        warned("web@.service", "Conflicts=%i[").1,
        [
            "line 2: [X-Fleet] Conflicts: \"INSTANCE[\" is not a pattern: a class has no ] at character 10; it matches nothing and is ignored, as in fleet"
        ]
    );
    assert_eq!(
        refused("web@.service", "Global=yes\nMachineOf=%p-data@%i.service"),
        "3: [X-Fleet] MachineOf: it cannot stand beside Global="
    );
    assert_eq!(
        refused("web@.service", "MachineOf=%n"),
        "2: [X-Fleet] MachineOf: it names the unit itself"
    );
}

#[test]
fn a_template_may_name_one_of_its_instances() {
    assert_eq!(units(&of("web@.service", "Replaces=web@1.service").replaces), ["web@1.service"]);
    assert_eq!(of("web@.service", "MachineOf=%p@1.service"), Requirements::default());
}

#[test]
fn a_template_whose_instances_contradict_themselves_is_refused() {
    assert_eq!(
        refused("web@.service", "MachineOf=%p-data@%i.service\nConflicts=%p*"),
        "3: [X-Fleet] Conflicts: MachineOf=web-data@INSTANCE.service and Conflicts=web* contradict one another"
    );
}

#[test]
fn there_is_an_end_to_the_values() {
    let section = |count: usize| format!("Conflicts={}", "a* ".repeat(count));
    assert_eq!(patterns(&of("a.service", &section(1_000))), ["a*"]);
    assert_eq!(
        refused("a.service", &section(1_001)),
        "2: [X-Fleet] Conflicts: the section has more than 1000 values"
    );
}

#[test]
fn what_is_wrong_is_said_with_line_and_option() {
    let cases = [
        (
            "MachineOff=b.service",
            "2: [X-Fleet] MachineOff: unknown option; did you mean MachineOf?",
        ),
        ("machineof=b.service", "2: [X-Fleet] machineof: unknown option; did you mean MachineOf?"),
        ("Frobnicate=1", "2: [X-Fleet] Frobnicate: unknown option"),
        (
            "\n\nMachineOf=b",
            "4: [X-Fleet] MachineOf: \"b\" is not a unit name: it has no type such as .service",
        ),
        (
            "MachineOf=b@.service",
            "2: [X-Fleet] MachineOf: b@.service is a template, which is never placed",
        ),
        ("MachineOf=a.service", "2: [X-Fleet] MachineOf: it names the unit itself"),
        ("Global=1\nMachineID=x", "3: [X-Fleet] MachineID: it cannot stand beside Global="),
        ("MachineOf=b.service\nGlobal=1", "3: [X-Fleet] Global: it cannot stand beside MachineOf="),
        ("Replaces=b.service\nGlobal=1", "3: [X-Fleet] Global: it cannot stand beside Replaces="),
        (
            "Conflicts=c*\nReplaces=b.service",
            "3: [X-Fleet] Replaces: it cannot stand beside Conflicts=",
        ),
        (
            "MachineOf=b.service\nConflicts=b*",
            "3: [X-Fleet] Conflicts: MachineOf=b.service and Conflicts=b* contradict one another",
        ),
        (
            "MachineOf=b.service\nReplaces=b.service",
            "3: [X-Fleet] Replaces: MachineOf=b.service and Replaces=b.service contradict one another",
        ),
        (
            "Replaces=b*\nMachineOf=b.service",
            "3: [X-Fleet] MachineOf: MachineOf=b.service and Replaces=b* contradict one another",
        ),
    ];
    for (section, expected) in cases {
        assert_eq!(refused("a.service", section), expected);
    }
}

#[test]
fn of_several_machines_the_one_fleet_took_counts() {
    for (section, id, problems) in [
        ("MachineID=x", "x", vec![]),
        ("MachineID=x\nMachineID=x", "x", vec![]),
        ("MachineID=x y", "x", vec![(2, "MachineID", "MachineID=x", "y")]),
        ("MachineID=\"x\" \"y\" \"z\"", "x", vec![(2, "MachineID", "MachineID=x", "y z")]),
        ("MachineID=x\nMachineID=y", "x", vec![(3, "MachineID", "MachineID=x", "y")]),
        (
            "X-ConditionMachineID=y\nMachineID=x",
            "x",
            vec![(2, "X-ConditionMachineID", "MachineID=x", "y")],
        ),
        (
            "X-ConditionMachineBootID=z\nX-ConditionMachineID=y",
            "y",
            vec![(2, "X-ConditionMachineBootID", "X-ConditionMachineID=y", "z")],
        ),
        (
            "X-ConditionMachineBootID=z\nX-ConditionMachineID=y\nMachineID=x",
            "x",
            vec![
                (2, "X-ConditionMachineBootID", "MachineID=x", "z"),
                (3, "X-ConditionMachineID", "MachineID=x", "y"),
            ],
        ),
    ] {
        let problems: Vec<String> = problems
            .into_iter()
            .map(|(line, option, taken, ignored)| {
                format!(
                    "line {line}: [X-Fleet] {option}: a unit runs on one machine, and {taken} says which; {ignored} is ignored, as in fleet"
                )
            })
            .collect();
        let (asked, warnings) = warned("a.service", section);
        assert_eq!((asked.machine_id.as_deref(), warnings), (Some(id), problems), "{section}");
    }
}

#[test]
fn options_without_text_count_in_their_order() {
    let option = |name: &str, value: &str| super::super::UnitOption {
        section: "X-Fleet".to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let options = vec![
        option("X-ConditionMachineID", "y"),
        option("MachineID", "x"),
        option("MachineID", "z"),
    ];
    let file = UnitFile::from_options(options).unwrap();
    let asked = Requirements::from_file(&"a.service".parse().unwrap(), &file).unwrap();
    assert_eq!(asked.machine_id.as_deref(), Some("x"));
}

#[test]
fn what_fleet_ignored_is_ignored_with_a_word() {
    let nothing = Requirements::default();
    for (section, problems) in [
        (
            "MachineMetadata=region",
            "MachineMetadata: \"region\" is not key=value and is ignored, as in fleet",
        ),
        (
            "MachineMetadata=region=",
            "MachineMetadata: \"region=\" is not key=value and is ignored, as in fleet",
        ),
        (
            "MachineMetadata==east",
            "MachineMetadata: \"=east\" is not key=value and is ignored, as in fleet",
        ),
        (
            "Conflicts=a[",
            "Conflicts: \"a[\" is not a pattern: a class has no ] at character 3; it matches nothing and is ignored, as in fleet",
        ),
        (
            "Replaces=a[",
            "Replaces: \"a[\" is not a pattern: a class has no ] at character 3; it matches nothing and is ignored, as in fleet",
        ),
        (
            "Replaces=b@.service",
            "Replaces: b@.service is a template, which is never placed; it is ignored, as in fleet",
        ),
        (
            "Replaces=b",
            "Replaces: \"b\" is not a unit name: it has no type such as .service; it is ignored, as in fleet",
        ),
        (
            "Global=ture",
            "Global: \"ture\" is neither true nor false and counts as false, as in fleet",
        ),
        (
            "Global=true false",
            "Global: \"true false\" is neither true nor false and counts as false, as in fleet",
        ),
        (
            "Global=true\nGlobal=perhaps",
            "Global: \"perhaps\" is neither true nor false and counts as false, as in fleet",
        ),
    ] {
        let (asked, warnings) = warned("a.service", section);
        let line = section.lines().count() + 1;
        assert_eq!(
            (asked, warnings),
            (nothing.clone(), vec![format!("line {line}: [X-Fleet] {problems}")]),
            "{section}"
        );
    }
    // One that is ignored hinders none beside it.
    let (asked, warnings) = warned("a.service", "MachineMetadata=disk=ssd\nMachineMetadata=fast");
    assert_eq!(asked, of("a.service", "MachineMetadata=disk=ssd"));
    assert_eq!(warnings.len(), 1);
}

#[test]
fn what_is_taken_as_fleet_had_it_is_told() {
    let (asked, problems) = warned("a.service", "MachineID=01234567");
    assert_eq!(asked.machine_id.as_deref(), Some("01234567"));
    assert_eq!(
        problems,
        [
            "line 2: [X-Fleet] MachineID: 01234567 stands for every machine whose id begins with it; the whole id names one alone"
        ]
    );
    let (asked, problems) = warned("a.service", "MachineID=a/b");
    assert_eq!(asked.machine_id.as_deref(), Some("a/b"));
    assert_eq!(
        problems,
        [
            "line 2: [X-Fleet] MachineID: \"a/b\" is no machine's id, so that no machine takes the unit, as in fleet"
        ]
    );
    let (asked, problems) = warned("a.service", "Conflicts=\"b* c*");
    assert_eq!(patterns(&asked), ["\"b*", "c*"]);
    assert_eq!(
        problems,
        [
            "line 2: [X-Fleet] Conflicts: a \" is not closed, and is taken for a part of the value, as in fleet"
        ]
    );
    assert!(warned("a.service", "MachineID=x\nConflicts=\nGlobal=no\nReplaces=b*").1.is_empty());
}

#[test]
fn units_to_make_room_may_be_named_by_patterns() {
    let asked = of("web@1.service", "Replaces=old-%p*.service web@* c.service");
    assert_eq!(units(&asked.replaces), ["c.service"]);
    let like: Vec<_> = asked.replaces_matching.iter().map(Glob::as_str).collect();
    assert_eq!(like, ["old-web*.service", "web@*"]);
    for (name, replaced) in [
        ("c.service", true),
        ("old-web7.service", true),
        ("web@2.service", true),
        ("d.service", false),
    ] {
        assert_eq!(asked.replaces_unit(&name.parse().unwrap()), replaced, "{name}");
    }
}

#[test]
fn a_machine_goes_by_its_whole_id_and_by_its_beginning() {
    let id: MachineId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    for (text, its) in [
        ("0123456789abcdef0123456789abcdef", true),
        ("01234567", true),
        ("0123456", false),
        ("012345678", false),
        ("", false),
    ] {
        assert_eq!(id.goes_by(text), its, "{text}");
    }
    assert!("n1".parse::<MachineId>().unwrap().goes_by("n1"));
}

#[test]
fn units_of_a_template_share_what_does_not_depend_on_their_names() {
    let template = |section: &str| {
        RequirementsTemplate::parse(&format!("[X-Fleet]\n{section}\n").parse().unwrap()).unwrap()
    };
    let name = |name: &str| name.parse::<UnitName>().unwrap();
    let shared = template("Conflicts=web@1*\nMachineOf=web@7.service");
    assert!(!shared.depends_on_name());
    let one = shared.for_unit(&name("web@1.service")).unwrap();
    let two = shared.for_unit(&name("web@2.service")).unwrap();
    assert!(Arc::ptr_eq(&one, &two));
    assert!(shared.for_unit(&name("web@7.service")).is_err(), "it names itself");
    let own = template("Conflicts=%p@*");
    assert!(own.depends_on_name());
    assert_eq!(
        *own.for_unit(&name("web@1.service")).unwrap(),
        of("web@1.service", "Conflicts=web@*")
    );
}

proptest! {
    #[test]
    fn any_section_is_understood_or_refused(
        lines in prop::collection::vec((0..NAMES.len(), "[a-c%inNp=@*.\"' \\[]{0,6}|b@%i\\.service|true"), 0..5),
        template: bool,
    ) {
        let section: Vec<_> = lines
            .iter()
            .filter_map(|(index, value)| NAMES.get(*index).map(|(name, _)| format!("{name}={value}")))
            .collect();
        let name = if template { "b@.service" } else { "b@1.service" };
        if let Ok(read) = read(name, &section.join("\n")) {
            prop_assert!(!(read.global && (read.machine_id.is_some() || !read.machine_of.is_empty())));
            prop_assert!(!read.replaces_any() || (!read.global && read.conflicts.is_empty()));
            prop_assert!(!read.names(&name.parse().unwrap()));
        }
    }
}

/// The options between two marks that a page shows, one a line between `begin` and `end`.
fn documented(page: &str, begin: &str, end: &str) -> BTreeSet<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| Some(line.strip_prefix(begin)?.split_once(end)?.0.replace("\\-", "-")))
        .collect()
}

#[test]
fn the_manual_page_and_the_documentation_have_every_option_and_no_other() {
    let known: BTreeSet<String> = NAMES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(documented("packaging/man/muster.unit.5", "\\fB", "=\\fP"), known);
    let present: BTreeSet<String> =
        known.iter().filter(|name| !name.starts_with("X-")).cloned().collect();
    assert_eq!(documented("docs/unit-options.md", "| `", "=` |"), present);
}

#[test]
fn what_is_made_for_containers_may_go_with_its_unit() {
    for name in ["data.volume", "data@.volume", "front.network"] {
        assert!(of(name, "DeleteOnDestroy=no\nDeleteOnDestroy=yes").delete_on_destroy, "{name}");
        assert!(!of(name, "DeleteOnDestroy=yes\nDeleteOnDestroy=").delete_on_destroy, "{name}");
        assert!(!of(name, "").delete_on_destroy, "{name}");
    }
    let file: UnitFile = "[X-Fleet]\nDeleteOnDestroy=yes\n".parse().unwrap();
    let error = Requirements::from_file(&"web.container".parse().unwrap(), &file).unwrap_err();
    assert_eq!(
        format!("{}: {error}", error.line),
        "2: [X-Fleet] DeleteOnDestroy: it is for .volume and .network units, which are otherwise kept"
    );
}

#[test]
fn a_job_ends_by_itself_and_is_on_one_machine() {
    let read = |text: &str| {
        let file: UnitFile = text.parse().unwrap();
        Requirements::from_file(&"a.service".parse().unwrap(), &file)
    };
    let oneshot = "[Service]\nType=oneshot\nExecStart=/a\n[X-Fleet]\n";
    for (lines, job) in [("", false), ("Job=yes\n", true), ("Job=yes\nJob=no\n", false)] {
        assert_eq!(read(&format!("{oneshot}{lines}")).unwrap().job, job, "{lines}");
    }
    assert!(!read("[Service]\nExecStart=/a\n[X-Fleet]\nJob=no\n").unwrap().job);
    let refused = |text: &str| {
        let error = read(text).unwrap_err();
        format!("{}: {}: {}", error.line, error.option, error.problem)
    };
    assert_eq!(
        refused("[Service]\nExecStart=/a\n[X-Fleet]\nJob=yes\n"),
        "4: Job: a job does its work and ends: it needs Type=oneshot in [Service]"
    );
    assert_eq!(
        refused(&format!("{oneshot}Job=yes\nGlobal=yes\n")),
        "6: Global: it cannot stand beside Job="
    );
    assert!(refused(&format!("{oneshot}Job=once\n")).contains("neither true nor false"));
}

fn runner_kind_of(name: &str, text: &str) -> RunnerKind {
    runner_of(&name.parse().unwrap(), &text.parse().unwrap())
}

#[test]
fn a_container_may_choose_and_nothing_else() {
    let container = "[Container]\nImage=a\n";
    assert_eq!(runner_kind_of("a.container", container), RunnerKind::Docker);
    assert_eq!(
        runner_kind_of("a.container", &format!("{container}[X-Fleet]\nRunner=podman\n")),
        RunnerKind::Podman
    );
    assert_eq!(
        runner_kind_of("a.container", &format!("{container}[X-Fleet]\nRunner=docker\n")),
        RunnerKind::Docker
    );
    let last = format!("{container}[X-Fleet]\nRunner=podman\nRunner=docker\n");
    assert_eq!(runner_kind_of("a.container", &last), RunnerKind::Docker);
    assert_eq!(
        runner_kind_of("a.service", "[Service]\nExecStart=a\n[X-Fleet]\nRunner=podman\n"),
        RunnerKind::Systemd
    );
}

#[test]
fn files_that_only_podman_knows_are_podmans() {
    assert_eq!(runner_kind_of("a.pod", "[Pod]\n"), RunnerKind::Podman);
    assert_eq!(runner_kind_of("a.kube", "[Kube]\nYaml=/a\n"), RunnerKind::Podman);
    let docker: UnitFile = "[Pod]\n[X-Fleet]\nRunner=docker\n".parse().unwrap();
    let error = Requirements::from_file(&"a.pod".parse().unwrap(), &docker).unwrap_err();
    assert_eq!(error.to_string(), "[X-Fleet] Runner: Docker runs no .pod units");
}

#[test]
fn a_container_belongs_where_its_pod_is() {
    let beside = |text: &str| -> Vec<String> {
        let unit: UnitName = "web@1.container".parse().unwrap();
        let requirements = Requirements::from_file(&unit, &text.parse().unwrap()).unwrap();
        requirements.machine_of.iter().map(ToString::to_string).collect()
    };
    let file = "[Container]\nImage=a\nPod=shop.pod\nNetwork=db.container\nVolume=d.volume:/d\n[X-Fleet]\nRunner=podman\n";
    assert_eq!(beside(file), ["db.container", "shop.pod"]);
    assert_eq!(beside(&format!("{file}MachineOf=a.service\n")).len(), 3);
    assert_eq!(beside(&format!("{file}Global=yes\n")), [""; 0], "each machine has its own pod");
    let shares = "[Container]\nImage=a\nNetwork=db.container\n";
    assert_eq!(beside(shares), ["db.container"], "its machine may prefer Podman");
    assert_eq!(beside(&format!("{shares}[X-Fleet]\nRunner=docker\n")), [""; 0]);
}
