//! That a file is read as Podman and systemd read it where Docker would have it otherwise, or is refused.

use super::tests::{container, parse, refused};
use super::*;

/// The warnings of a container with these lines, as `line: message`.
fn warned(lines: &str) -> Vec<String> {
    let (_, warnings) = parse("web.container", &format!("[Container]\nImage=a\n{lines}\n"))
        .unwrap_or_else(|error| panic!("{error}: {lines}"));
    warnings.iter().map(|warning| format!("{}: {}", warning.line, warning.problem)).collect()
}

#[test]
fn what_systemd_does_not_know_of_restarts_it_skips() {
    let expected = "5: [Service] Restart: no effect: unless-stopped is a word of Docker's, which systemd does not know and skips; \
                for a container that is started again say always";
    let lines = "[Service]\nRestart=on-failure\nRestart=unless-stopped";
    let restart =
        |lines: &str| container(&format!("[Container]\nImage=a\n{lines}\n")).service.restart;
    assert_eq!(warned(&lines.replace("Restart=on-failure", "RestartSec=1")), [expected]);
    assert_eq!(restart("[Service]\nRestart=unless-stopped"), Restart::No);
    assert_eq!(restart(lines), Restart::OnFailure);
    assert_eq!(restart(&format!("{lines}\nRestart=always")), Restart::Always);
}

#[test]
fn ports_are_published_only_from_a_network_of_the_containers_own() {
    let ports = |lines: &str| container(&format!("[Container]\nImage=a\n{lines}\n")).ports.len();
    assert_eq!(ports("PublishPort=80:80"), 1);
    for network in ["host", "none", "container:db"] {
        let lines = format!("Network={network}\nPublishPort=80:80");
        assert_eq!(ports(&lines), 0);
        let warnings = warned(&lines);
        assert!(
            warnings.len() == 1
                && warnings[0].starts_with("4: [Container] PublishPort: no effect: "),
            "{warnings:?}"
        );
    }
    // One that is wrong is wrong there, too.
    assert!(refused("Network=host\nPublishPort=x").starts_with("4: [Container] PublishPort: "));
}

#[test]
fn what_is_added_to_another_user_than_root_is_refused() {
    let lost = "Docker gives what is added to root alone, and User=app would not have CAP_NET_ADMIN; leave it or User= out";
    assert_eq!(
        refused("User=app:7\nAddCapability=NET_ADMIN"),
        format!("4: [Container] AddCapability: {lost}")
    );
    assert!(refused("User=33\nPodmanArgs=--cap-add=all").contains("would not have ALL"));
    assert!(
        refused("User=33\nNetwork=host\nAddCapability=NET_BIND_SERVICE")
            .contains("CAP_NET_BIND_SERVICE")
    );
    for lines in [
        "User=root\nAddCapability=NET_ADMIN",
        "User=0:7\nAddCapability=NET_ADMIN",
        "User=33\nAddCapability=NET_BIND_SERVICE",
        "User=33\nAddCapability=NET_ADMIN\nPodmanArgs=--privileged",
        "User=33\nDropCapability=all",
    ] {
        container(&format!("[Container]\nImage=a\n{lines}\n"));
    }
    let spec = container("[Container]\nImage=a\nAddCapability=NET_ADMIN NET_BIND_SERVICE\n");
    assert_eq!(spec.capabilities_of_root(), ["CAP_NET_ADMIN"]);
}

#[test]
fn the_machine_goes_by_podmans_names_where_the_file_speaks_of_it() {
    let hosts = |lines: &str| container(&format!("[Container]\nImage=a\n{lines}\n")).names.hosts;
    let spoken = "Environment=DB=postgres://host.containers.internal/a";
    assert_eq!(hosts("Exec=a"), [""; 0]);
    assert_eq!(hosts(spoken), ["host.containers.internal:host-gateway"]);
    assert_eq!(
        hosts(&format!("Network=host\n{spoken}")),
        ["host.containers.internal:host-gateway"]
    );
    assert_eq!(hosts(&format!("Network=none\n{spoken}")), [""; 0]);
    assert_eq!(
        hosts(&format!("AddHost=host.containers.internal:10.0.0.1\n{spoken}")),
        ["host.containers.internal:10.0.0.1"]
    );
}

#[test]
fn a_variable_may_have_any_name_that_a_program_looks_for() {
    let spec = container("[Container]\nImage=a\nEnvironment=discovery.type=single-node my-var=1\n");
    let names: Vec<_> = spec.environment.set.keys().map(String::as_str).collect();
    assert_eq!(names, ["discovery.type", "my-var"]);
    assert_eq!(
        refused("Environment=JAVA_OPTS=-Xms1g -Xmx2g"),
        "3: [Container] Environment: \"-Xmx2g\" is not the name of a variable"
    );
}

#[test]
fn a_containers_networks_know_it_by_the_name_of_its_host() {
    let spec = container(
        "[Container]\nImage=a\nNetwork=a:alias=db\nNetwork=b\nNetworkAlias=x\nHostName=db\n",
    );
    let NetworkMode::Networks(networks) = &spec.network else { panic!("{:?}", spec.network) };
    let aliases: Vec<_> = networks.iter().map(|network| network.aliases.clone()).collect();
    assert_eq!(aliases, [["db", "x"], ["x", "db"]]);
}

#[test]
fn what_limits_a_file_says_nothing_to_the_journal() {
    let lines = "LogDriver=journald\nLogOpt=max-size=1m tag=a";
    let spec = container(&format!("[Container]\nImage=a\n{lines}\n"));
    assert_eq!(spec.log_options.into_keys().collect::<Vec<_>>(), ["tag"]);
    assert_eq!(
        warned(lines),
        [
            "4: [Container] LogOpt: no effect: max-size is about a file, and the journal has limits of its own"
        ]
    );
    let spec = container("[Container]\nImage=a\nLogDriver=k8s-file\nLogOpt=max-size=10mb\n");
    assert_eq!((spec.log_driver.as_deref(), spec.log_options.len()), (Some("json-file"), 1));
    assert!(
        refused("LogDriver=k8s-file\nLogOpt=path=/x").contains("keeps logs in a place of its own")
    );
}

#[test]
fn bridges_are_kept_apart_as_docker_keeps_them() {
    let network = |lines: &str| match parse("a.network", &format!("[Network]\n{lines}\n")) {
        Ok((Quadlet::Network(spec), _)) => Ok(spec.options.into_keys().collect::<Vec<_>>()),
        Ok((other, _)) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(network("Options=isolate=true"), Ok(Vec::new()));
    assert_eq!(network("Driver=bridge\nOptions=isolate=strict"), Ok(Vec::new()));
    let apart = "[Network] Options: isolate=false: Docker always keeps the networks of its bridges from one another; say true or strict";
    assert_eq!(network("Options=isolate=false"), Err(apart.to_owned()));
    assert!(network("Driver=macvlan\nOptions=isolate=true").is_err());
}

#[test]
fn a_volume_of_another_machines_needs_its_address() {
    let volume =
        |lines: &str| parse("a.volume", &format!("[Volume]\nType=nfs\nDevice=nas:/a\n{lines}\n"));
    let problem = volume("").unwrap_err().to_string();
    assert!(problem.ends_with("say Options=addr=SERVER too"), "{problem}");
    assert!(volume("Options=rw,addr=nas,vers=4").is_ok());
}

#[test]
fn what_podman_and_docker_read_otherwise_is_refused() {
    for (lines, problem) in [
        ("ShmSize=0", "for Podman that is no limit, and for Docker its default; say how much"),
        ("EnvironmentFile=- /etc/x", "it names no file"),
        ("ReadOnly=t", "\"t\" is neither true nor false"),
        (
            "Image=fedora",
            "fedora is registry.fedoraproject.org/fedora for Podman and docker.io/library/fedora for Docker; say which",
        ),
    ] {
        assert!(refused(lines).ends_with(problem), "{lines}: {}", refused(lines));
    }
}
