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
    assert!(config.http.listen.is_empty());
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
fn plain_tcp_beyond_loopback_needs_a_word() {
    assert!(with_file("[http]\nlisten = [\"127.0.0.1:7117\"]\n", &[]).is_ok());
    let open = "[http]\nlisten = [\"10.0.0.1:7117\"]\n";
    let error = with_file(open, &[]).unwrap_err().to_string();
    assert!(error.starts_with("http.listen: 10.0.0.1:7117 is not on loopback"), "{error}");
    assert!(error.contains("http.insecure = true"), "{error}");
    let config = with_file(open, &["--http-insecure"]).unwrap();
    assert_eq!(config.api("10.0.0.1").as_deref(), Some("10.0.0.1:7117"));
}

#[test]
fn listening_everywhere_is_reached_at_the_machines_address() {
    let config = with_file("[http]\nlisten = [\"0.0.0.0:7117\"]\ninsecure = true\n", &[]).unwrap();
    assert_eq!(config.api("10.0.0.9").as_deref(), Some("10.0.0.9:7117"));
    assert_eq!(config.api(""), None);
}

#[test]
fn half_a_login_is_an_error() {
    let error =
        with_file("[etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\nusername = \"root\"\n", &[]);
    assert!(error.unwrap_err().to_string().starts_with("etcd.username needs etcd.password"));
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
        ("roles = []\n", "roles: a daemon needs at least one of engine, agent and reboot"),
        (
            "roles = [\"agent\"]\nengine = true\n",
            "engine = true, and roles leave the engine out: set only roles",
        ),
        (
            "roles = [\"engine\"]\nengine = false\n",
            "engine = false, and roles name the engine: set only roles",
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
    assert_eq!(config.sources, [Source::Request].into(), "a lone machine");
    let text = "[etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\n[reboot]\ngroup = \"front\"\nwindows = [\"Thu 23:00 1h30m\"]\n\
                check = [\"/bin/check\", \"a b\"]\ntime_zone = \"UTC\"\nsettle = \"2m\"\nat_deadline = \"give-up\"\n";
    let config = with_file(text, &["--reboot-settle", "1h30m", "--reboot-check", "/bin/other x"]);
    let config = config.unwrap().reboot;
    let sources = [Source::Request, Source::RebootRequired, Source::UpdateEngine];
    assert_eq!(config.sources, sources.into(), "in a cluster");
    assert_eq!(config.settle, Duration::from_secs(90 * 60));
    assert_eq!(config.windows.len(), 1);
    let check = config.check.unwrap();
    assert_eq!((check.program(), check.arguments()), ("/bin/other", &["x".to_owned()][..]));
    let json = with_file("", &["--reboot-check", "[\"/bin/check\", \"a b\"]"]).unwrap().reboot;
    assert_eq!(json.check.unwrap().arguments(), ["a b"]);
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
            "reboot.command and the source \"command\" in reboot.sources: one is of no use without",
        ),
    ] {
        let problem = problem(text);
        assert!(problem.starts_with(expected), "{problem}");
    }
}
