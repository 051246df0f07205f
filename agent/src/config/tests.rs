//! The configuration as its users meet it: what wins over what, and every error with its place.

use clap::Parser as _;

use super::*;

fn with_file(text: &str, flags: &[&str]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("muster.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    let mut arguments = vec!["musterd", "--config", &path, "--machine-id", "m1"];
    arguments.extend(flags);
    Config::load(Flags::try_parse_from(arguments).unwrap())
}

fn problem(text: &str) -> String {
    let error = with_file(text, &[]).unwrap_err().to_string();
    // The file lies in a directory of a random name.
    match error.split_once("muster.toml: ") {
        Some((_, rest)) => format!("muster.toml: {rest}"),
        None => error,
    }
}

#[test]
fn without_configuration_one_machine_runs_alone() {
    let config = with_file("", &[]).unwrap();
    assert_eq!(config.etcd, None);
    assert_eq!(config.prefix, "/muster/v1/");
    assert_eq!(config.ttl, Duration::from_secs(10));
    assert_eq!(config.roles, Roles::default());
    assert_eq!(config.token_limit, 100);
    assert_eq!(config.http.socket, Path::new("/run/muster/muster.sock"));
    assert!(config.http.listeners.is_empty());
}

#[test]
fn a_flag_wins_over_the_file() {
    let file = "ttl = \"20s\"\nprefix = \"/a/\"\n[metadata]\nzone = \"a\"\n";
    let config = with_file(file, &["--ttl", "5s", "--metadata", "disk=ssd, zone=b"]).unwrap();
    assert_eq!(config.ttl, Duration::from_secs(5));
    assert_eq!(config.prefix, "/a/");
    let metadata: Vec<_> = config.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(metadata, ["disk=ssd", "zone=b"]);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = problem("ttl = \"20s\"\n\ncolour = \"red\"\n");
    assert!(
        error.starts_with("muster.toml: line 3: unknown key `colour`, expected one of "),
        "{error}"
    );
    let error = problem("[etcd]\nendpoint = []\n");
    assert!(
        error.starts_with("muster.toml: line 2: unknown key `endpoint`, expected one of "),
        "{error}"
    );
}

#[test]
fn a_bad_value_is_named_with_its_key_and_line() {
    for (text, expected) in [
        (
            "engine = 1\n",
            "muster.toml: line 1: engine: invalid type: integer `1`, expected a boolean",
        ),
        (
            "\nttl = \"soon\"\n",
            "muster.toml: line 2: ttl: \"soon\" is not a time from 2s to 10m, such as \"10s\"",
        ),
        (
            "[etcd]\nendpoints = [\"10.0.0.1\"]\n",
            "muster.toml: line 2: endpoints: \"10.0.0.1\" is not an etcd endpoint, http://HOST:PORT or https://HOST:PORT",
        ),
        (
            "[log]\nformat = \"xml\"\n",
            "muster.toml: line 2: format: \"xml\" is not a log format: text or json",
        ),
    ] {
        assert_eq!(problem(text), expected);
    }
}

#[test]
fn the_api_over_plain_tcp_needs_a_word_wherever_it_is() {
    for address in ["127.0.0.1:7117", "[::1]:7117", "10.0.0.1:7117", "0.0.0.0:7117", "127.9.9.9:1"]
    {
        let listen = format!("[http]\nlisten = [\"{address}\"]\n");
        let serves = format!(
            "[[http.listener]]\naddress = \"{address}\"\nserves = [\"metrics\", \"api\"]\n"
        );
        for (line, key, text) in [(2, "http.listen", listen), (1, "http.listener", serves)] {
            let error = problem(&text);
            let expected =
                format!("muster.toml: line {line}: {key}: {address}: plain TCP, on loopback too");
            assert!(error.starts_with(&expected), "{error}");
            assert!(error.contains("http.insecure = true"), "{error}");
            let config = with_file(&text, &["--http-insecure"]).unwrap();
            assert!(config.http.listeners[0].serves.api);
        }
    }
    let flag = with_file("", &["--http-listen", "127.0.0.1:7117"]).unwrap_err().to_string();
    assert!(
        flag.starts_with("http.listen: 127.0.0.1:7117: plain TCP"),
        "no line of the file: {flag}"
    );
    assert!(with_file("", &["--http-listener", "127.0.0.1:7117=api"]).is_err());
}

#[test]
fn a_listener_serves_what_it_says_and_needs_no_word_for_it() {
    let text = "[http]\ninsecure = false\n\n[[http.listener]]\naddress = \"127.0.0.1:7118\"\nserves = [\"fleetlock\"]\n\n\
                [[http.listener]]\naddress = \"10.0.0.1:9100\"\nserves = [\"metrics\", \"fleetlock\"]\n";
    let expected = |config: Config| -> Vec<String> {
        let listeners = config.http.listeners.into_iter();
        listeners.map(|l| format!("{} {}", l.address, l.serves)).collect()
    };
    let both = ["127.0.0.1:7118 fleetlock", "10.0.0.1:9100 fleetlock, metrics"];
    assert_eq!(expected(with_file(text, &[]).unwrap()), both);
    let flag = ["--http-listener", "127.0.0.1:1=metrics,[::1]:2=fleetlock+metrics"];
    let given = ["127.0.0.1:1 metrics", "[::1]:2 fleetlock, metrics"];
    assert_eq!(expected(with_file(text, &flag).unwrap()), given);
    assert_eq!(
        with_file(text, &[]).unwrap().advertised_api("10.0.0.1"),
        None,
        "the API is not there"
    );
    let names = with_file("[http]\nnames = [\"N1.Example.\"]\n", &[]).unwrap().http.names;
    assert_eq!(names, [HostName("n1.example".to_owned())]);
}

#[test]
fn a_listener_that_makes_no_sense_is_named_with_its_line() {
    let table = |inside: &str| format!("\n[[http.listener]]\n{inside}\n");
    for (text, expected) in [
        (
            table("address = \"127.0.0.1:7118\"\nserves = [\"fleetlok\"]"),
            "muster.toml: line 4: serves: \"fleetlok\" is not a part of the API: \"fleetlock\", \"metrics\" or \"api\"",
        ),
        (
            table("address = \"127.0.0.1:7118\"\nserves = []"),
            "muster.toml: line 2: serves: a listener serves at least one of \"fleetlock\", \"metrics\" and \"api\"",
        ),
        (
            table("address = \"127.0.0.1:7118\""),
            "muster.toml: line 2: serves: a listener serves at least one of \"fleetlock\", \"metrics\" and \"api\"",
        ),
        (table("serves = [\"metrics\"]"), "muster.toml: line 2: listener: address is missing"),
        (
            table("address = \"127.0.0.1\"\nserves = [\"metrics\"]"),
            "muster.toml: line 3: address: \"127.0.0.1\" is not an address with its port, such as \"127.0.0.1:7118\"",
        ),
        (
            table("address = \"127.0.0.1:7118\"\nserves = \"metrics\""),
            "muster.toml: line 4: serves: invalid type: string \"metrics\", expected a list, such as [\"a\", \"b\"]",
        ),
        (
            "\n[http.listener]\naddress = \"127.0.0.1:7118\"\n".to_owned(),
            "muster.toml: line 2: there may be several of [http.listener], so it is written as [[http.listener]]",
        ),
        (
            "[http]\ninsecure = true\nlisten = [\"n1:7117\"]\n".to_owned(),
            "muster.toml: line 3: listen: \"n1:7117\" is not an address with its port, such as \"127.0.0.1:7118\"",
        ),
        (
            table("address = \"127.0.0.1:1\"\nserve = [\"metrics\"]"),
            "muster.toml: line 4: unknown key `serve`, expected `address` or `serves`",
        ),
        (
            format!("{0}{0}", table("address = \"127.0.0.1:7118\"\nserves = [\"metrics\"]")),
            "muster.toml: line 6: listener: what comes to this address goes to 127.0.0.1:7118 already; one address has one",
        ),
        (
            table("address = \"0.0.0.0:7118\"\nserves = [\"fleetlock\"]")
                + &table("address = \"127.0.0.1:7118\"\nserves = [\"metrics\"]"),
            "muster.toml: line 6: listener: what comes to this address goes to 0.0.0.0:7118 already",
        ),
        (
            table("address = \"10.0.0.1:7118\"\nserves = [\"fleetlock\"]")
                + &table("address = \"[::]:7118\"\nserves = [\"metrics\"]"),
            "muster.toml: line 6: listener: what comes to this address goes to 10.0.0.1:7118 already",
        ),
        (
            format!(
                "[http]\ninsecure = true\nlisten = [\"127.0.0.1:1\"]\n{}",
                table("address = \"[::ffff:127.0.0.1]:1\"\nserves = [\"metrics\"]")
            ),
            "muster.toml: line 5: http.listener: [::ffff:127.0.0.1]:1: what comes to it goes to 127.0.0.1:1 already",
        ),
        (
            "[http]\ninsecure = true\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n".to_owned(),
            "muster.toml: line 3: http.listen: 127.0.0.1:1: what comes to it goes to 127.0.0.1:1 already",
        ),
        (
            "[http]\nnames = [\"http://n1\"]\n".to_owned(),
            "muster.toml: line 2: names: \"http://n1\" is not a host name or an address, without scheme and port",
        ),
    ] {
        let problem = problem(&text);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn the_api_is_advertised_at_the_machines_own_address() {
    let config = with_file("[http]\nlisten = [\"0.0.0.0:7117\"]\ninsecure = true\n", &[]).unwrap();
    assert_eq!(config.advertised_api("10.0.0.9").as_deref(), Some("10.0.0.9:7117"));
    assert_eq!(config.advertised_api(""), None);
    assert_eq!(config.own_address(), None, "it has to be found");
    // On one address that is the machine's, unless another is configured.
    let listen = "[http]\nlisten = [\"127.0.0.1:7117\", \"10.0.0.1:7117\"]\ninsecure = true\n";
    let config = with_file(listen, &[]).unwrap();
    assert_eq!(config.own_address().as_deref(), Some("10.0.0.1"));
    assert_eq!(config.advertised_api("10.0.0.1").as_deref(), Some("10.0.0.1:7117"));
    assert!(!config.api_is_elsewhere("10.0.0.1"));
    let config = with_file(&format!("address = \"192.0.2.1\"\n{listen}"), &[]).unwrap();
    assert_eq!(config.own_address().as_deref(), Some("192.0.2.1"));
    assert_eq!(config.advertised_api("192.0.2.1"), None);
    assert!(config.api_is_elsewhere("192.0.2.1"));
}

#[test]
fn half_a_login_is_an_error() {
    let error =
        with_file("[etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\nusername = \"root\"\n", &[]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("muster.toml: line 3: etcd.username needs etcd.password"), "{error}");
}

#[test]
fn what_makes_no_sense_together_is_named_with_its_line() {
    let tls = "[etcd]\nendpoints = [\"https://127.0.0.1:1\"]\n";
    for (text, expected) in [
        (
            "[etcd]\nendpoints = [\n  \"https://127.0.0.1:1\",\n  \"http://127.0.0.2:1\",\n]\nusername = \"a\"\npassword = \"b\"\n"
                .to_owned(),
            "muster.toml: line 4: etcd.endpoints: a password (etcd.password, etcd.password_file) is never sent",
        ),
        (
            format!("{tls}\nkey_file = \"/a\"\n"),
            "muster.toml: line 4: etcd.cert_file and etcd.key_file: one is of no use",
        ),
        (
            format!("{tls}username = \"a\"\npassword_file = \"/nonexistent\"\n"),
            "muster.toml: line 4: etcd.password_file: cannot read /nonexistent",
        ),
        (
            format!("{tls}username = \"a\"\npassword_file = \"/dev/null\"\n"),
            "muster.toml: line 4: etcd.password_file: there is no password in /dev/null",
        ),
        (
            "\n[etcd]\nca_file = \"/a\"\n".to_owned(),
            "muster.toml: line 3: etcd: there are no etcd.endpoints",
        ),
        ("[log]\nlevel = \"a=b=c\"\n".to_owned(), "muster.toml: line 2: log.level: \"a=b=c\""),
        ("state_dir = \"\"\n".to_owned(), "muster.toml: line 1: state_dir: it is empty"),
    ] {
        let problem = problem(&text);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn a_password_in_an_address_is_refused_and_not_repeated() {
    for scheme in ["http", "https"] {
        let problem =
            problem(&format!("[etcd]\nendpoints = [\"{scheme}://ann:hush@127.0.0.1:2379\"]\n"));
        let expected =
            format!("muster.toml: line 2: endpoints: \"{scheme}://...@127.0.0.1:2379\" is not");
        assert!(problem.starts_with(&expected) && problem.contains("etcd.username"), "{problem}");
        assert!(!problem.contains("hush"), "{problem}");
    }
}

/// The socket is made under another name, which is longer.
#[test]
fn the_path_of_the_socket_is_as_long_as_the_name_it_is_made_under_allows() {
    let path = |length: usize| format!("/{}", "s".repeat(length - 1));
    let file = |length| format!("\n[http]\nsocket = \"{}\"\n", path(length));
    assert_eq!(with_file(&file(99), &[]).unwrap().http.socket, Path::new(&path(99)));
    let problem = problem(&file(100));
    let expected = format!("muster.toml: line 3: http.socket: \"{}\" has 100 bytes", path(100));
    assert!(problem.starts_with(&expected), "{problem}");
    let flag = with_file("", &["--http-socket", &path(100)]).unwrap_err().to_string();
    assert!(flag.starts_with("http.socket: "), "{flag}");
    assert!(with_file("[http]\nsocket = \"\"\n", &[]).is_err());
}

#[test]
fn a_program_that_others_may_write_is_not_run_as_root_without_a_word() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("check");
    std::fs::write(&program, "").unwrap();
    let flag = program.display().to_string();
    let mode = |mode| {
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
        with_file("", &["--reboot-check", &flag]).unwrap().find_exposures()
    };
    assert_eq!(mode(0o755), Vec::<String>::new());
    let expected = mode(0o777);
    assert!(
        expected[0].starts_with("reboot.check ") && expected[0].contains("mode 0777"),
        "{expected:?}"
    );
}

#[test]
fn a_named_file_must_be_there() {
    let flags = Flags::try_parse_from(["musterd", "--config", "/nonexistent.toml"]).unwrap();
    let error = Config::load(flags).unwrap_err().to_string();
    assert_eq!(error, "there is no configuration file /nonexistent.toml");
}

#[test]
fn the_roles_are_all_or_those_named() {
    let roles = |text: &str| with_file(text, &[]).unwrap().roles.to_string();
    assert_eq!(roles(""), "engine,agent,reboot");
    assert_eq!(roles("engine = false\n"), "agent,reboot");
    assert_eq!(roles("roles = [\"reboot\"]\n"), "reboot");
    assert_eq!(roles("roles = [\"agent\"]\nengine = false\n"), "agent");
    let config = with_file("roles = [\"agent\"]\n", &["--roles", "reboot,engine"]).unwrap();
    assert_eq!(config.roles.to_string(), "engine,reboot");
    for (text, expected) in [
        (
            "roles = []\n",
            "muster.toml: line 1: roles: a daemon needs at least one of engine, agent and reboot",
        ),
        (
            "roles = [\"agent\"]\nengine = true\n",
            "muster.toml: line 2: engine = true, and roles leave the engine out: set only roles",
        ),
        (
            "roles = [\"engine\"]\nengine = false\n",
            "muster.toml: line 2: engine = false, and roles name the engine: set only roles",
        ),
        (
            "roles = [\"boss\"]\n",
            "muster.toml: line 1: roles: \"boss\" is not a role: engine, agent or reboot",
        ),
    ] {
        assert_eq!(problem(text), expected);
    }
}

#[test]
fn reboots_are_configured_in_a_table_of_their_own() {
    let config = with_file("", &[]).unwrap().reboot;
    assert_eq!(config.strategy.as_str(), "lock");
    assert_eq!(config.group.as_str(), "default");
    assert_eq!(config.method.as_str(), "reboot");
    assert_eq!(config.sources, [DueSource::Request].into(), "a lone machine");
    let text = "[etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\n[reboot]\ngroup = \"front\"\nwindows = [\"Thu 23:00 1h30m\"]\n\
                check = [\"/bin/check\", \"a b\"]\ntime_zone = \"UTC\"\nsettle = \"2m\"\nat_deadline = \"give-up\"\n";
    let config = with_file(text, &["--reboot-settle", "1h30m", "--reboot-check", "/bin/other x"]);
    let config = config.unwrap().reboot;
    let sources = [DueSource::Request, DueSource::RebootRequired, DueSource::UpdateEngine];
    assert_eq!(config.sources, sources.into(), "in a cluster");
    assert_eq!(config.settle, Duration::from_secs(90 * 60));
    assert_eq!(config.windows.len(), 1);
    let check = config.check.unwrap();
    assert_eq!(
        (check.program_path(), check.program_arguments()),
        ("/bin/other", &["x".to_owned()][..])
    );
    let json = with_file("", &["--reboot-check", "[\"/bin/check\", \"a b\"]"]).unwrap().reboot;
    assert_eq!(json.check.unwrap().program_arguments(), ["a b"]);
}

#[test]
fn a_bad_value_for_reboots_is_named() {
    for (text, expected) in [
        (
            "[reboot]\nwindow = \"\"\n",
            "muster.toml: line 2: unknown key `window`, expected one of ",
        ),
        (
            "[reboot]\nstrategy = \"etcd-lock\"\n",
            "muster.toml: line 2: strategy: \"etcd-lock\" is not a reboot strategy: lock, now or off",
        ),
        (
            "[reboot]\nmethod = \"soft\"\n",
            "muster.toml: line 2: method: \"soft\" is not a way to reboot: reboot, soft-reboot or kexec",
        ),
        (
            "[reboot]\nwindows = [\"Thu 25:00 1h\"]\n",
            "muster.toml: line 2: windows: \"Thu 25:00 1h\" is not a window: no such time of the day",
        ),
        (
            "[reboot]\ntime_zone = \"Mars/Olympus\"\n",
            "muster.toml: line 2: time_zone: \"Mars/Olympus\" is not a time zone this machine knows",
        ),
        (
            "[reboot]\nsettle = \"soon\"\n",
            "muster.toml: line 2: settle: \"soon\" is not a time of at most a week",
        ),
        ("[reboot]\ncheck = []\n", "muster.toml: line 2: check: \"\" is not a command"),
        (
            "[reboot]\nsources = [\"command\"]\n",
            "muster.toml: line 2: reboot.command and the source \"command\" in reboot.sources: one is of no use without",
        ),
    ] {
        let problem = problem(text);
        assert!(problem.starts_with(expected), "{problem}");
    }
}
