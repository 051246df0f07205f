//! What a user reads about a file that cannot be run, and that no text makes the reader stumble.

use proptest::prelude::*;

use super::keys::{Key, Support};
use super::*;

pub(super) fn parse(name: &str, text: &str) -> Result<(Quadlet, Vec<Warning>), ContainerError> {
    let file = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    read(&name.parse().unwrap(), &file, &HostFacts::stand_in())
}

pub(super) fn container(text: &str) -> ContainerSpec {
    match parse("web.container", text) {
        Ok((Quadlet::Container(spec), _)) => *spec,
        Ok(other) => panic!("{other:?}"),
        Err(error) => panic!("{error}: {text}"),
    }
}

/// The refusal of a container with these lines, as `line: message`.
pub(super) fn refused(lines: &str) -> String {
    let error = parse("web.container", &format!("[Container]\nImage=a\n{lines}\n"))
        .map(|(quadlet, _)| panic!("{lines} is taken: {quadlet:?}"))
        .unwrap_err();
    format!("{}: {error}", error.line)
}

#[test]
fn a_volume_and_a_network_need_no_options() {
    for (name, text) in [("a.volume", "[Volume]\n"), ("a.network", "# ours\n[Network]\n")] {
        let file: UnitFile = text.parse().unwrap();
        assert_eq!(file.text(), text);
        assert!(check(&name.parse().unwrap(), &file).is_ok());
    }
    for (name, text) in [("a.volume", ""), ("a.network", "# ours\n"), ("a@1.volume", "[Unit]\n")] {
        let (quadlet, warnings) = parse(name, text).unwrap();
        assert!(matches!(quadlet, Quadlet::Volume(_) | Quadlet::Network(_)) && warnings.is_empty());
    }
    let empty = parse("web.container", "").unwrap_err();
    assert_eq!(empty.to_string(), "[Container] Image: it is missing; a container needs an image");
}

#[test]
fn a_fault_names_its_line_its_option_and_the_way_out() {
    assert_eq!(refused("Imag=b"), "3: [Container] Imag: unknown option; did you mean Image?");
    assert_eq!(
        refused("Exec=a\nPodmanArgs=--foo"),
        "4: [Container] PodmanArgs: Docker has nothing like podman's --foo"
    );
    assert_eq!(
        refused("Memory=lots"),
        "3: [Container] Memory: \"lots\" is not a size such as 512m or 20g"
    );
    assert_eq!(refused("Label='a=b"), "3: [Container] Label: a ' is not closed");
    assert_eq!(refused("Group=7"), "3: [Container] Group: it needs a User= beside it");
    assert_eq!(
        refused("Notify=true"),
        "3: [Container] Notify: Docker hands no notification socket in; use Notify=healthy and HealthCmd="
    );
    assert_eq!(
        refused("[Service]\nRestart=sometimes"),
        "4: [Service] Restart: \"sometimes\" is none of no, on-success, on-failure, on-abnormal, on-watchdog, on-abort and always"
    );
    assert_eq!(
        refused("[Service]\nExecStartPre=/bin/true"),
        "4: [Service] ExecStartPre: refused: nothing runs on the machine beside the container; put it into the image or into a unit of its own"
    );
    assert_eq!(
        refused("[Service]\nCPUWeight=5"),
        "4: [Service] CPUWeight: refused: it limits a control group of systemd's, and Docker puts the container into another; use Memory= and PidsLimit= in [Container] where they say it"
    );
    assert_eq!(
        refused("[Contaner]\nImage=b"),
        "3: [Contaner] Image: [Contaner] is not a section of a container unit; did you mean [Container]?"
    );
    assert_eq!(
        refused("[Fleet]\n# where\nGlobal=true"),
        "3: [Fleet] Global: [Fleet] is not a section of a container unit; did you mean [X-Fleet]?"
    );
    assert_eq!(
        refused("\u{a0}Exec=a"),
        "3: [Container] \\u{a0}Exec: unknown option; there is a no-break space (U+00A0) in its name; did you mean Exec?"
    );
    assert_eq!(
        refused("User=1000:1000\nGroup=5"),
        "4: [Container] Group: User= has a group already; leave one of them out"
    );
    let missing = parse("web.container", "[Unit]\nDescription=a\n").unwrap_err();
    assert_eq!(missing.to_string(), "[Container] Image: it is missing; a container needs an image");
}

#[test]
fn a_fault_names_the_line_it_stands_on() {
    let cases = [
        ("Exec=/bin/echo \\  \nLabel=a", "3: [Container] Exec: blanks follow the \\ at its end"),
        (
            "Exec=a \\\n# why\n  b \\\t\nLabel=c",
            "5: [Container] Exec: blanks follow the \\ at its end",
        ),
        ("Environment=A=1 \\\n# B=\n  C=3 \\\n  ; D\n  4 E=6", "7: [Container] Environment: \"4\""),
        ("Exec=a \\\n# b '\n  c 'd\n", "5: [Container] Exec: a ' is not closed"),
        ("Secret=a \\\n  b,type=x", "4: [Container] Secret: \"type=x\""),
        ("Label=\\\n# none\n a=1 \\\n b", "6: [Container] Label: \"b\" has no ="),
        ("Exec=a \\\n# b\n  c\n\nMemory=lots", "7: [Container] Memory:"),
    ];
    for (lines, expected) in cases {
        let problem = refused(lines);
        assert!(problem.starts_with(expected), "{lines:?}: {problem}");
    }
}

#[test]
fn lists_may_have_commas_where_podmans_command_line_has_them() {
    let spec = container(
        "[Container]\nImage=a\nAddCapability=NET_ADMIN,SYS_TIME CAP_KILL\nDropCapability=all,chown\n\
         AddHost=a:10.0.0.1,b;c:10.0.0.2\nDNS=10.0.0.2,10.0.0.3\nDNSSearch=a.example,b.example\nDNSOption=ndots:1,debug\n\
         GroupAdd=audio,44\nNetwork=one,two\nNetworkAlias=x,y\nPublishPort=80:80,443:443/udp\nExposeHostPort=1,2-3\n\
         Sysctl=net.core.somaxconn=1,net.ipv4.ip_forward=1\nUlimit=nofile=1:2,nproc=3\nPublishPort=\"90:90\"\n",
    );
    assert_eq!(spec.security.add_capabilities, ["CAP_NET_ADMIN", "CAP_SYS_TIME", "CAP_KILL"]);
    assert_eq!(spec.security.drop_capabilities, ["ALL", "CAP_CHOWN"]);
    assert_eq!(spec.names.hosts, ["a:10.0.0.1", "b:10.0.0.2", "c:10.0.0.2"]);
    assert_eq!(spec.names.servers, ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(spec.names.search, ["a.example", "b.example"]);
    assert_eq!(spec.names.options, ["ndots:1", "debug"]);
    assert_eq!(spec.groups, ["audio", "44"]);
    let NetworkMode::Networks(networks) = &spec.network else { panic!("{:?}", spec.network) };
    assert!(networks.len() == 2 && networks.iter().all(|network| network.aliases == ["x", "y"]));
    assert_eq!(spec.ports.iter().map(|port| port.container).collect::<Vec<_>>(), [80, 443, 90]);
    assert_eq!(spec.exposed.len(), 3);
    assert_eq!(spec.sysctls.len(), 2);
    assert_eq!(spec.limits.ulimits.len(), 2);
    assert_eq!(
        refused("PublishPort=80:80,nonsense"),
        "3: [Container] PublishPort: \"nonsense\" is not [[address:]host:]container[/protocol]"
    );
}

#[test]
fn what_podman_takes_in_user_and_device_is_taken() {
    let spec = container(
        "[Container]\nImage=a\nUser=1000:1000\nAddDevice=nvidia.com/gpu=all -/dev/kvm\nHealthCmd=CMD-SHELL true\n",
    );
    assert_eq!(spec.user.as_deref(), Some("1000:1000"));
    assert_eq!(spec.cdi_devices.len(), 1);
    assert_eq!(spec.devices.len(), 1);
    assert_eq!(spec.health.check, Some(Check::Shell("true".to_owned())));
    let spec = container("[Container]\nImage=a\nHealthCmd=true\nHealthInterval=disable\n");
    assert_eq!(spec.health.check, Some(Check::Disabled));
}

#[test]
fn a_file_of_variables_may_be_missing_or_lie_where_podman_has_its_units() {
    let text =
        "[Container]\nImage=a\nEnvironmentFile=-/etc/x \\\n  -y.env ./z.env\nVolume=../conf:/c\n";
    let (Quadlet::Container(spec), warnings) = parse("web.container", text).unwrap() else {
        panic!("no container");
    };
    let files: Vec<_> =
        spec.environment.files.iter().map(|file| (file.path.as_str(), file.optional)).collect();
    assert_eq!(
        files,
        [
            ("/etc/x", true),
            ("/etc/containers/systemd/y.env", true),
            ("/etc/containers/systemd/z.env", false)
        ]
    );
    let mut warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    warnings.sort();
    let notes = |line, option, given, place| {
        format!(
            "line {line}: [Container] {option}: \"{given}\" is relative to the unit's file, which lies in the cluster; \
             on the machine it is looked for as {place}"
        )
    };
    assert_eq!(
        warnings,
        [
            notes(4, "EnvironmentFile", "./z.env", "/etc/containers/systemd/z.env"),
            notes(4, "EnvironmentFile", "y.env", "/etc/containers/systemd/y.env"),
            notes(5, "Volume", "../conf", "/etc/containers/conf"),
        ]
    );
}

#[test]
fn the_daemons_own_variables_are_not_passed_on_and_that_is_said() {
    let text = "[Container]\nImage=a\nEnvironment=HOME MUSTER_ETCD_PASSWORD MUSTER_MINE=1\nEnvironment=NOTIFY_SOCKET\n\
                [Service]\nEnvironment=NOTIFY_SOCKET=mine\n";
    let (_, warnings) = parse("web.container", text).unwrap();
    assert_eq!(
        warnings.iter().map(Warning::to_string).collect::<Vec<_>>(),
        [
            "line 3: [Container] Environment: MUSTER_ETCD_PASSWORD is the daemon's own and is not passed on; the container gets none"
        ]
    );
}

#[test]
fn options_that_contradict_one_another_are_refused() {
    let cases = [
        (
            "Network=host\nNetwork=none",
            "4: [Container] Network: only networks of your own can be more than one",
        ),
        ("Network=a\nNetwork=a", "4: [Container] Network: one is given twice"),
        (
            "Network=a.container\nHostName=b",
            "4: [Container] HostName: the container whose network it shares has a say in it, and this one has not",
        ),
        ("NetworkAlias=b", "3: [Container] NetworkAlias: it needs a Network= of your own"),
        ("Volume=/a:/x\nMount=type=tmpfs,dst=/x/", "4: [Container] Mount: two mounts want /x/"),
        ("Secret=a\nSecret=b,target=a", "4: [Container] Secret: two secrets want /run/secrets/a"),
        (
            "Notify=healthy\nHealthCmd=none",
            "3: [Container] Notify: without a health check there is nothing to wait for",
        ),
        (
            "[Service]\nType=oneshot\nRestart=always",
            "5: [Service] Restart: systemd refuses always and on-success beside Type=oneshot",
        ),
        (
            "PublishPort=1-4000:1-4000\nPublishPort=5001-9000:1-4000",
            "4: [Container] PublishPort: 8000 ports are more than the 4096 one container may have; use Network=host",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(refused(lines), expected);
    }
}

#[test]
fn the_last_scalar_wins_lists_add_up_and_nothing_takes_them_back() {
    let spec = container(
        "[Container]\nImage=a\nImage=b:2\nAddHost=a:10.0.0.1\nAddHost=\nAddHost=b:10.0.0.2\nAddHost=c:10.0.0.3\n\
         Exec=one\nExec=\nMemory=5m\nMemory=\nLabel=a=1 b=2\nLabel=\"a=3 4\"\n",
    );
    assert_eq!(
        spec.image,
        Image::Named(ImageName {
            repository: "b".to_owned(),
            tag: Some("2".to_owned()),
            digest: None
        })
    );
    assert_eq!(spec.names.hosts, ["b:10.0.0.2", "c:10.0.0.3"]);
    assert_eq!((spec.command, spec.limits.memory), (None, None));
    let labels: Vec<_> = spec.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["a=3 4", "b=2"]);
}

#[test]
fn an_empty_entrypoint_is_meant_and_a_missing_one_is_not() {
    let entrypoint = |line| container(&format!("[Container]\nImage=a\n{line}\n")).entrypoint;
    assert_eq!(entrypoint("User=b"), None);
    assert_eq!(entrypoint("Entrypoint="), Some(Vec::new()));
    assert_eq!(entrypoint("Entrypoint=\nEntrypoint=/a b"), Some(vec!["/a b".to_owned()]));
    assert_eq!(
        entrypoint(r#"Entrypoint=["/a", "b c"]"#),
        Some(vec!["/a".to_owned(), "b c".to_owned()])
    );
}

#[test]
fn a_refused_option_may_be_taken_back() {
    container("[Container]\nImage=a\nPodmanArgs=\n");
}

#[test]
fn what_has_no_effect_is_said() {
    let text = "[Unit]\nAfter=b.service\n[Container]\nImage=a\n[Service]\nDelegate=yes\n";
    let (_, warnings) = parse("web.container", text).unwrap();
    let warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "line 6: [Service] Delegate: no effect: Docker sets up a container's control group",
            "line 2: [Unit] After: no effect: containers are not ordered among units",
        ]
    );
}

/// One file for each kind of directive that has no meaning here and harms nothing, with what is said of it.
#[test]
fn what_harms_nothing_is_taken_and_said_with_its_line() {
    let warned = |section: &str, line: &str| {
        let text = format!("[Container]\nImage=a\n[{section}]\n{line}\n");
        let (_, warnings) = parse("web.container", &text).unwrap_or_else(|e| panic!("{line}: {e}"));
        warnings.iter().map(Warning::to_string).collect::<Vec<_>>()
    };
    let units = ["Requires", "Requisite", "BindsTo", "PartOf", "Upholds", "PropagatesStopTo"];
    for name in units {
        let warnings = warned("Unit", &format!("{name}=db.service"));
        let expected = format!(
            "line 4: [Unit] {name}: no effect: containers are not bound to units, and nothing is started or stopped with another; a .volume or .network is made because [Container] names it"
        );
        assert_eq!(warnings, [expected]);
    }
    for line in ["CollectMode=inactive", "JobTimeoutSec=5", "DefaultDependencies=no"] {
        assert_eq!(warned("Unit", line).len(), 1, "{line}");
    }
    for line in [
        "ExecReload=/bin/kill -HUP $MAINPID",
        "StandardOutput=journal",
        "KillSignal=SIGINT",
        "CPUAccounting=yes",
        "UMask=0027",
        "WorkingDirectory=/srv",
        "RestartSteps=5",
        "PIDFile=/run/a.pid",
    ] {
        let warnings = warned("Service", line);
        assert!(
            matches!(warnings.as_slice(), [one] if one.starts_with("line 4: [Service] ")),
            "{line}: {warnings:?}"
        );
    }
    // What says what is the case anyway is worth no word.
    for line in ["PrivateTmp=no", "FailureAction=none", "WatchdogSec=0", "ExitType=main"] {
        assert_eq!(warned("Service", line), [""; 0], "{line}");
    }
}

#[test]
fn nobody_is_told_more_than_can_be_read() {
    let text = format!("[Container]\nImage=a\n[Unit]\n{}", "After=b.service\n".repeat(500));
    let warnings = check(&"web.container".parse().unwrap(), &text.parse().unwrap()).unwrap();
    let last = warnings.last().unwrap();
    assert_eq!(
        (warnings.len(), last.to_string().as_str()),
        (101, "line 104: and more from here on")
    );
}

/// What the container would feel, or what runs beside it, is never dropped.
#[test]
fn what_would_change_what_runs_is_refused() {
    for line in [
        "ExecStartPre=/bin/mkdir -p /srv/a",
        "ExecStopPost=/bin/rm -r /srv/a",
        "PrivateTmp=yes",
        "NoNewPrivileges=true",
        "MemoryHigh=1G",
        "LimitNOFILE=5",
        "SystemCallArchitectures=native",
        "StateDirectory=web",
        "WatchdogSec=30",
        "RuntimeMaxSec=1h",
        "FailureAction=reboot",
        "Sockets=web.socket",
        "DynamicUser=yes",
    ] {
        let refusal = refused(&format!("[Service]\n{line}"));
        let name = line.split('=').next().unwrap_or_default();
        assert!(refusal.starts_with(&format!("4: [Service] {name}: refused: ")), "{refusal}");
    }
    for line in ["OnFailure=a.service", "Conflicts=a.service", "SuccessAction=exit"] {
        assert!(refused(&format!("[Unit]\n{line}")).starts_with("4: [Unit] "), "{line}");
    }
}

#[test]
fn a_variable_without_a_value_is_nothing_and_said() {
    let text = "[Container]\nImage=a:${TAG}\nLabel=\"rule=Host(`a.${DOMAIN}`)\" size=$SIZE\nExec=run $ARGS -v\n\
                [Service]\nEnvironment=TAG=2\n";
    let (quadlet, warnings) = parse("web.container", text).unwrap();
    let Quadlet::Container(spec) = quadlet else { panic!("{quadlet:?}") };
    assert_eq!(spec.image, image_named("a", "2"));
    assert_eq!(spec.labels.get("rule").map(String::as_str), Some("Host(`a.`)"));
    // Within a word only braces mean a variable.
    assert_eq!(spec.labels.get("size").map(String::as_str), Some("$SIZE"));
    assert_eq!(spec.command.unwrap(), ["run", "-v"]);
    let notes: Vec<_> = warnings
        .iter()
        .map(|w| (w.line, w.problem.split(" has no value").next().unwrap_or_default()))
        .collect();
    assert_eq!(notes, [(3, "[Container] Label: DOMAIN"), (4, "[Container] Exec: ARGS")]);
}

/// What Docker has too is read as the key that says it, behind all that the file says otherwise.
#[test]
fn options_of_podmans_are_taken_one_by_one() {
    let text = "[Container]\nImage=a\nPodmanArgs=--memory=2g -e 'A=b c' --label \"x=${Y}\" --rm\nMemory=1g\n\
                Environment=A=1 B=2\nPodmanArgs=--pid host\n";
    let (quadlet, warnings) = parse("web.container", text).unwrap();
    let Quadlet::Container(spec) = quadlet else { panic!("{quadlet:?}") };
    assert_eq!(spec.limits.memory, Some(2 << 30));
    let value = |name: &str| {
        spec.environment.set.get(name).and_then(|v| v.as_ref()).map(Sensitive::expose_value)
    };
    assert_eq!((value("A"), value("B")), (Some("b c"), Some("2")));
    assert_eq!(spec.labels.get("x").map(String::as_str), Some(""));
    assert_eq!(spec.podman.pid.as_deref(), Some("host"));
    let notes: Vec<_> =
        warnings.iter().map(|w| (w.line, w.problem.contains("no effect"))).collect();
    assert_eq!(notes, [(3, true), (3, false)]);
}

fn image_named(repository: &str, tag: &str) -> Image {
    Image::Named(ImageName {
        repository: repository.to_owned(),
        tag: Some(tag.to_owned()),
        digest: None,
    })
}

#[test]
fn what_rests_on_a_file_of_the_machines_waits_for_it() {
    let text = "[Container]\nImage=${IMAGE}\nHostName=${NAME}\nPublishPort=${PORT}:80\nPublishPort=443\nLabel=a=${MORE}\n\
                [Service]\nEnvironment=PORT=1\nEnvironmentFile=/etc/a.env\nEnvironmentFile=-/etc/%N.env\n";
    let unit: UnitName = "web.container".parse().unwrap();
    let file: UnitFile = text.parse().unwrap();
    let host = HostFacts::stand_in();
    assert_eq!(check(&unit, &file), Ok(Vec::new()), "what is not known yet is no fault");
    let file_of = |path: &str, optional| VariableFile { path: path.to_owned(), optional };
    assert_eq!(
        variable_files(&unit, &file, &host),
        Ok(vec![file_of("/etc/a.env", false), file_of("/etc/web.env", true)])
    );
    let on = |texts: &[(&str, &str)]| {
        let texts = texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        read_with(&unit, &file, &host, &texts.collect())
    };
    let (quadlet, warnings) =
        on(&[("/etc/a.env", "IMAGE=\"web:3\"\nPORT=8080\nNAME=a\n")]).unwrap();
    let Quadlet::Container(spec) = quadlet else { panic!("{quadlet:?}") };
    assert_eq!((spec.image, spec.ports[0].host), (image_named("web", "3"), Some(8080)));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(
        on(&[]).unwrap_err().to_string(),
        "[Service] EnvironmentFile: this machine does not have /etc/a.env"
    );
    let error = on(&[("/etc/a.env", "IMAGE=a b\n")]).unwrap_err();
    assert_eq!(error.to_string(), "[Container] Image: \"a b\" is not the name of an image");
}

#[test]
fn commands_are_split_and_expanded_word_by_word() {
    let text = "[Container]\nImage=a\nExec=sh -c 'echo $HOME ${GREETING} %i' $ARGS \"a\\tb\" 100%%\n\
                [Service]\nEnvironment=\"ARGS=x y\" GREETING=hi\n";
    let file = text.parse().unwrap();
    let Ok((Quadlet::Container(spec), _)) =
        read(&"web@7.container".parse().unwrap(), &file, &HostFacts::stand_in())
    else {
        panic!("refused");
    };
    assert_eq!(spec.command.unwrap(), ["sh", "-c", "echo $HOME hi 7", "x", "y", "a\tb", "100%"]);
    assert_eq!(spec.name, "systemd-web_7");
}

#[test]
fn a_template_is_checked_with_an_instance_made_up() {
    let file = "[Container]\nImage=a\nVolume=data@%i.volume:/d\n".parse().unwrap();
    assert_eq!(check(&"web@.container".parse().unwrap(), &file), Ok(Vec::new()));
    let bad = "[Container]\nImage=a\nPublishPort=%i:80\n".parse().unwrap();
    let error = check(&"web@.container".parse().unwrap(), &bad).unwrap_err();
    assert_eq!(
        error.to_string(),
        "[Container] PublishPort: \"INSTANCE:80\" is not [[address:]host:]container[/protocol]"
    );
}

#[test]
fn a_description_is_shown_with_what_its_specifiers_stand_for() {
    let described = |text: &str| {
        let file: UnitFile = format!("[Unit]\nDescription={text}\n").parse().unwrap();
        describe(&"page@7.container".parse().unwrap(), &file, &HostFacts::stand_in())
    };
    assert_eq!(described("Page %i on %H"), "Page 7 on host");
    assert_eq!(described("100 %% of it"), "100 % of it");
    assert_eq!(described("all of %!"), "all of %!", "shown as it was written");
    assert_eq!(described("costs $PRICE"), "costs $PRICE");
}

#[test]
fn volumes_and_networks_are_units_of_their_own() {
    let error = |name, text| parse(name, text).unwrap_err().to_string();
    assert_eq!(
        error("a.volume", "[Volume]\nType=tmpfs\n"),
        "[Volume] Type: it says how Device= is mounted, and there is none"
    );
    assert_eq!(
        error("a.volume", "[Container]\nImage=a\n"),
        "[Container] Image: [Container] is not a section of a volume unit"
    );
    assert_eq!(
        error("a.network", "[Network]\nSubnet=10.0.0.0/24\nGateway=10.0.0.1\nGateway=10.0.1.1\n"),
        "[Network] Gateway: there are more of them than of Subnet=, each of which may have one"
    );
    assert_eq!(
        error("a.network", "[Network]\nSubnet=10.0.0.0/24\nIPRange=10.0.0.5-10.0.0.9\n"),
        "[Network] IPRange: \"10.0.0.5-10.0.0.9\" is not a subnet such as 10.1.0.0/16; Docker takes no range from one address to another"
    );
    assert_eq!(
        error("a.network", "[Network]\nOptions=vrf=a\n"),
        "[Network] Options: Docker has no option \"vrf\" for a network; its own have a dot in their name"
    );
    assert_eq!(
        error("a.service", "[Service]\nType=notify\n"),
        "[Unit] a.service: it is systemd's to run"
    );
}

/// An option that is taken, whatever its value, is looked at by someone: a value that no option takes is refused.
#[test]
fn every_option_that_is_honoured_is_read() {
    // Whose values are anybody's own, and those that only have to be there.
    let free = [
        "AppArmor",
        "AutoUpdate",
        "ContainerName",
        "DNSOption",
        "Description",
        "Documentation",
        "Entrypoint",
        "HealthCmd",
        "SecurityLabelFileType",
        "SecurityLabelLevel",
        "SecurityLabelType",
        "Device",
        "Type",
        "Options",
        "RequiredBy",
        "UpheldBy",
        "WantedBy",
    ];
    let owners = [
        (Section::Container, "web.container"),
        (Section::Volume, "a.volume"),
        (Section::Network, "a.network"),
    ];
    for section in Section::ALL {
        let (own, unit) = owners.into_iter().find(|(own, _)| *own == section).unwrap_or(owners[0]);
        let image = if own == Section::Container { "Image=a\n" } else { "Driver=local\n" };
        for Key { name, support } in section.own_keys() {
            let taken = matches!(support, Support::Honoured | Support::Emulated(_));
            if taken && !free.contains(name) {
                // Not closed, no escape, no path, no number, no name.
                let text = format!("[{own}]\n{image}[{section}]\n{name}='\\q \u{1}\n");
                assert!(parse(unit, &text).is_err(), "[{section}] {name} takes anything");
            }
        }
    }
}

/// Texts that look like a Quadlet file's.
fn quadlet() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "\\PC{0,30}",
        "[a-z0-9:/=,.%$\\\\\"' {}-]{0,30}",
        Just("yes".to_owned()),
        Just("/a:/b:ro".to_owned()),
        Just("10s".to_owned()),
        Just("a=b 'c=d e'".to_owned()),
    ];
    let option = (0..Section::ALL.len(), any::<prop::sample::Index>(), value).prop_map(
        |(section, key, value)| {
            let section = Section::ALL[section];
            (section, key.get(section.own_keys()).name, value)
        },
    );
    prop::collection::vec(option, 1..12).prop_map(|options| {
        let lines =
            options.iter().map(|(section, key, value)| format!("[{section}]\n{key}={value}\n"));
        format!("[Container]\nImage=a\n{}", lines.collect::<String>())
    })
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused_and_reads_the_same_written_out_again(
        text in quadlet(), name in prop_oneof![Just("a.container"), Just("a@b.container"), Just("a.volume"), Just("a.network")]
    ) {
        let Ok(file) = text.parse::<UnitFile>() else { return Ok(()) };
        let name: UnitName = name.parse().unwrap();
        let first = read(&name, &file, &HostFacts::stand_in());
        let again: UnitFile = file.canonical_text().parse().unwrap();
        let second = read(&name, &again, &HostFacts::stand_in());
        prop_assert_eq!(first.map(|(quadlet, _)| quadlet).ok(), second.map(|(quadlet, _)| quadlet).ok());
    }

    #[test]
    fn any_option_is_read_or_refused(key in any::<prop::sample::Index>(), value in "[^\\x00\r\n]{0,40}") {
        let Key { name, .. } = key.get(Section::Container.own_keys());
        let text = format!("[Container]\nImage=a\n{name}={value}\n");
        if let Ok(file) = text.parse::<UnitFile>() {
            let _ = read(&"a.container".parse().unwrap(), &file, &HostFacts::stand_in());
        }
    }
}
