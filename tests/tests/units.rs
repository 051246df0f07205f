//! Units of every kind: the examples, and what users do to units day by day.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options};

#[test]
fn every_example_runs() -> Result<()> {
    let cluster = Cluster::start(Options { containers: true, ..Options::default() })?;
    let first = cluster.host(0)?;
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))?;
    let files: Vec<String> = files
        .map(|file| Ok(file?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    cluster.write_examples(first, &names)?;

    cluster.step("hello");
    cluster.run(first, "musterctl start hello.service")?;
    let home = cluster.host_of("hello.service")?;
    cluster.wait_for_condition("its greeting", || {
        let journal = cluster.run(first, "musterctl journal hello")?;
        let greeting = format!("Hello from {}", home.name());
        ensure!(journal.stdout.contains(&greeting), "{}", journal.stdout);
        Ok(())
    })?;

    cluster.step("a web server and its sidekick start together, on one machine");
    cluster.run(first, "musterctl start web-announce@1 web@1")?;
    let home = cluster.host_of("web@1.service")?;
    announced(&cluster, home)?;

    cluster.step("they move together");
    let other = cluster.other_host(&[home])?;
    home.power_cut()?;
    cluster.moves_away("web@1.service", &[home])?;
    let moved = cluster.host_of("web@1.service")?;
    announced(&cluster, moved)?;
    home.power_on()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;

    cluster.step("a global unit runs on every machine, and on one that comes back");
    cluster.run(other, "musterctl start hello.service")?;
    let first = cluster.host(0)?;
    cluster.run(first, "musterctl start node-info.service")?;
    everywhere(&cluster, "node-info.service")?;
    cluster.step("  one that lost power");
    let gone = cluster.host(2)?;
    gone.power_cut()?;
    gone.power_on()?;
    cluster.wait_for_etcd()?;
    everywhere(&cluster, "node-info.service")?;
    cluster.wait_for_machines(3)?;

    cluster.step("a timer starts the service it is tied to, where both are");
    cluster.run(first, "musterctl load tidy.service")?;
    let loaded = cluster.unit_files(first)?;
    let tidy = loaded.iter().find(|row| row.unit == "tidy.service").context("not listed")?;
    ensure!(tidy.state == "loaded", "{tidy:?}");
    let target = tidy.target.first().context("tidy.service is loaded and nowhere")?;
    let home = cluster.host_with_id(&target.id)?;
    cluster.run(first, "musterctl start tidy.timer")?;
    ensure!(
        cluster.unit_property(home, "tidy.timer", "ActiveState")? == "active",
        "no timer there"
    );
    cluster.wait_for_condition("the timer to have started it", || {
        let result = cluster.unit_property(home, "tidy.service", "ExecMainStatus")?;
        let ended =
            cluster.unit_property(home, "tidy.service", "ExecMainExitTimestampMonotonic")?;
        ensure!(result == "0" && ended != "0", "status {result}, ended at {ended}");
        Ok(())
    })?;

    cluster.step("containers show what lies in a volume");
    cluster.run(first, "musterctl submit pages.volume")?;
    cluster.run(first, "musterctl start page@1.container page@2.container")?;
    let homes = [cluster.host_of("page@1.container")?, cluster.host_of("page@2.container")?];
    ensure!(homes[0].name() != homes[1].name(), "both on {}", homes[0].name());
    for (number, home) in homes.iter().enumerate().map(|(index, home)| (index + 1, home)) {
        let url = format!("http://{}:900{number}/{number}.html", home.address());
        let page = cluster.run(first, &format!("curl --silent --fail {url}"))?.stdout;
        ensure!(page.trim() == format!("page {number} on {}", home.name()), "{page}");
    }

    cluster.step("all of it is destroyed");
    cluster.run(
        first,
        "musterctl destroy page@1.container page@2.container page@.container pages.volume",
    )?;
    for home in homes {
        ensure!(home.list_containers().is_empty(), "{:?}", home.list_containers());
        // What lay in the volume is not the cluster's to throw away.
        cluster.run(home, "docker volume inspect muster-pages")?;
    }
    let all = "hello web@1 web-announce@1 web@.service web-announce@.service node-info tidy.timer tidy.service";
    cluster.run(first, &format!("musterctl destroy {all}"))?;
    for host in cluster.hosts() {
        let left = host
            .active_units(|unit| files.iter().any(|file| file == unit) || unit.starts_with("web"));
        ensure!(left.is_empty(), "{} still runs {left:?}", host.name());
    }
    cluster.assert_sound()?;
    cluster.tear_down()
}

/// The announcement of web@1 is made on the host it runs on.
fn announced(cluster: &Cluster, home: &Host) -> Result<()> {
    cluster.wait_for_condition("the announcement", || {
        let announcer = cluster.host_of("web-announce@1.service")?;
        ensure!(announcer.name() == home.name(), "announced on {}", announcer.name());
        let text = home.read_file("/run/muster-example/web-1")?;
        ensure!(text.starts_with(&format!("{}:8001 ", home.name())), "{text}");
        Ok(())
    })?;
    Ok(())
}

fn everywhere(cluster: &Cluster, unit: &str) -> Result<()> {
    cluster.wait_for_condition(&format!("{unit} everywhere"), || {
        let on = cluster.active_on(unit).len();
        ensure!(on == cluster.hosts().len(), "it runs on {on}");
        Ok(())
    })?;
    Ok(())
}

#[test]
fn units_do_what_users_ask_of_them() -> Result<()> {
    let cluster = Cluster::with_ttl("10s")?;
    let first = cluster.host(0)?;

    a_foreign_unit_is_left_alone(&cluster, first)?;
    a_failure_is_shown_and_can_be_tried_again(&cluster, first)?;
    last_words_are_shown_however_late_they_are_read(&cluster, first)?;
    a_finished_oneshot_is_a_success(&cluster, first)?;
    an_install_section_enables(&cluster, first)?;
    restart_stop_unload_and_load(&cluster, first)?;
    a_changed_file_needs_replace(&cluster, first)?;
    a_slow_start_holds_nobody_up(&cluster, first)?;
    a_misspelt_directive_is_warned_of(&cluster, first)?;
    thirty_units_are_spread(&cluster, first)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

fn a_foreign_unit_is_left_alone(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("a unit of the host's own: refused visibly, never touched");
    let own = "[Service]\nExecStart=/bin/sleep 12345\n[Install]\nWantedBy=multi-user.target\n";
    for host in cluster.hosts() {
        host.write_file("/etc/systemd/system/backup.service", own)?;
        cluster.run(host, "systemctl daemon-reload && systemctl enable --quiet --now backup")?;
    }
    let is_own = |unit: &str| unit == "backup.service" || unit == "dbus.service";
    let before = cluster.list_running(is_own)?;
    ensure!(before.len() == 6, "{}", Cluster::format_running(&before));
    for name in ["backup.service", "dbus.service"] {
        cluster.write_sleeper(first, name, "")?;
        let refused = cluster.run_failing(first, &format!("musterctl start {name}"), &[name])?;
        cluster.step(&format!("  {}", refused.stderr.trim()));
        let state = cluster.list_states(first)?;
        let state = state.iter().find(|row| row.unit == name).context("it is not listed")?;
        ensure!(state.problem.is_some(), "{state:?}");
        cluster.ensure_unchanged(&before, is_own)?;
    }
    for verb in ["stop", "destroy"] {
        let _ = cluster.run_shell(first, &format!("musterctl {verb} --timeout 20 backup dbus"))?;
        cluster.ensure_unchanged(&before, is_own)?;
    }
    ensure!(cluster.unit_files(first)?.is_empty(), "they were destroyed and are listed");
    for host in cluster.hosts() {
        ensure!(host.read_file("/etc/systemd/system/backup.service")? == own, "its file changed");
        let enabled = cluster.run_shell(host, "systemctl is-enabled backup")?.stdout;
        ensure!(enabled.trim() == "enabled", "{enabled}");
    }
    Ok(())
}

fn a_failure_is_shown_and_can_be_tried_again(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step(
        "a unit that fails: exit code 1, with its last words; started again when its cause is gone",
    );
    let text = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'test -e /run/key || \
         {{ echo the key is missing; exit 3; }}'\n\n[X-Fleet]\nMachineID={}\n",
        first.machine_id()
    );
    cluster.write_unit(first, "locked.service", &text)?;
    let failed = cluster.run_failing(
        first,
        "musterctl start locked.service",
        &["locked.service", "the key is missing"],
    )?;
    cluster.report_duration("told of the failure", failed.took);
    let states = cluster.list_states(first)?;
    let state = states.iter().find(|row| row.unit == "locked.service").context("not listed")?;
    ensure!(state.active.as_deref() == Some("failed"), "{state:?}");
    let status = cluster.run_shell(first, "musterctl status locked")?;
    ensure!(status.code == 3, "systemctl's code is 3 for a failed unit: {status:?}");

    // The same command again is tried again, and fails again.
    let before = cluster.invocation_id(first, "locked.service")?;
    cluster.run_failing(first, "musterctl start locked", &["the key is missing"])?;
    let after = cluster.invocation_id(first, "locked.service")?;
    ensure!(before != after, "the second start did nothing");

    cluster.run(first, "touch /run/key")?;
    cluster.run(first, "musterctl start locked")?;
    let active = cluster.unit_property(first, "locked.service", "ActiveState")?;
    ensure!(active == "active", "{active}");

    cluster.step("a program that is not there");
    let text = "[Service]\nType=exec\nExecStart=/usr/bin/no-such-program\n";
    cluster.write_unit(first, "absent.service", text)?;
    cluster.run_failing(first, "musterctl start absent.service", &["absent.service"])?;
    cluster.run(first, "musterctl destroy locked absent")?;
    Ok(())
}

/// journald finds out which start of a unit a line is of when it reads the line. Here it reads it when everything is over.
fn last_words_are_shown_however_late_they_are_read(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("a unit that fails while journald is behind: its last words are shown, those of this start alone");
    let text = format!(
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'cat /root/last-words; exit 3'\n\n[X-Fleet]\nMachineID={}\n",
        first.machine_id()
    );
    cluster.write_unit(first, "hasty.service", &text)?;
    let late = "journald=$(systemctl show --property=MainPID --value systemd-journald)\n\
                show() { systemctl show --property=ActiveState,InvocationID hasty.service; }\n\
                before=$(show)\n\
                trap 'kill -CONT $journald' EXIT\n\
                kill -STOP $journald\n\
                musterctl start hasty.service &\n\
                until now=$(show) && [ \"$now\" != \"$before\" ] && [ \"${now#*=failed}\" != \"$now\" ]; do sleep 0.02; done\n\
                kill -CONT $journald\n\
                wait $!";
    first.write_file("/root/last-words", "the door is locked\n")?;
    cluster.run_failing(first, late, &["the door is locked"])?;
    first.write_file("/root/last-words", "the key is missing\n")?;
    let again = cluster.run_failing(first, late, &["the key is missing"])?;
    ensure!(!again.stderr.contains("the door is locked"), "of an earlier start: {}", again.stderr);
    cluster.run(first, "musterctl destroy hasty")?;
    Ok(())
}

fn a_finished_oneshot_is_a_success(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster
        .step("a oneshot that has finished counts as started, and is not started again by itself");
    let text = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo once >> /run/once'\n";
    cluster.write_unit(first, "once.service", text)?;
    cluster.run(first, "musterctl start once.service")?;
    cluster.one_round()?;
    let runs = || -> Result<usize> {
        let mut runs = 0;
        for host in cluster.hosts() {
            runs += cluster.run_shell(host, "cat /run/once")?.stdout.lines().count();
        }
        Ok(runs)
    };
    ensure!(runs()? == 1, "it ran {} times", runs()?);
    cluster.run(first, "musterctl start once.service")?;
    ensure!(runs()? == 2, "it ran {} times", runs()?);
    cluster.run(first, "musterctl destroy once")?;
    Ok(())
}

fn an_install_section_enables(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("a unit with [Install] is enabled where it is, until it is destroyed");
    let text = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
    cluster.write_unit(first, "wanted.service", text)?;
    cluster.run(first, "musterctl start wanted.service")?;
    let home = cluster.host_of("wanted.service")?;
    let enabled = cluster.run_shell(home, "systemctl is-enabled wanted.service")?.stdout;
    ensure!(enabled.trim() == "enabled-runtime", "{enabled}");
    cluster.run(first, "musterctl destroy wanted")?;
    let left = cluster
        .run(home, "find /run/systemd/system /etc/systemd/system -name 'wanted.service*'")?;
    ensure!(left.stdout.is_empty(), "{}", left.stdout);
    Ok(())
}

fn restart_stop_unload_and_load(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("restart, stop, unload, load, start");
    cluster.write_sleeper(first, "app.service", "")?;
    cluster.run(first, "musterctl start app.service")?;
    let home = cluster.host_of("app.service")?;
    let state = |expected: &str| -> Result<()> {
        let files = cluster.unit_files(first)?;
        let row = files.iter().find(|row| row.unit == "app.service").context("not listed")?;
        ensure!(row.state == expected && row.dstate == expected, "{row:?}");
        Ok(())
    };
    let before = cluster.invocation_id(home, "app.service")?;
    cluster.run(first, "musterctl start app")?;
    ensure!(
        cluster.invocation_id(home, "app.service")? == before,
        "a start of what runs restarted it"
    );
    cluster.run(first, "musterctl restart app")?;
    ensure!(cluster.host_of("app.service")?.name() == home.name(), "a restart moved it");
    ensure!(cluster.invocation_id(home, "app.service")? != before, "it was not restarted");
    state("launched")?;

    cluster.run(first, "musterctl stop app")?;
    ensure!(cluster.active_on("app.service").is_empty(), "it was stopped and runs");
    state("loaded")?;
    ensure!(
        cluster.unit_property(home, "app.service", "LoadState")? == "loaded",
        "its file is gone"
    );

    cluster.run(first, "musterctl unload app")?;
    state("inactive")?;
    for host in cluster.hosts() {
        let load = cluster.unit_property(host, "app.service", "LoadState")?;
        ensure!(load == "not-found", "{}: {load}", host.name());
    }
    cluster.run_failing(first, "musterctl stop app", &["inactive"])?;

    cluster.run(first, "musterctl load app")?;
    state("loaded")?;
    ensure!(cluster.active_on("app.service").is_empty(), "it was loaded and runs");
    cluster.run(first, "musterctl start app")?;
    cluster.host_of("app.service")?;
    cluster.run(first, "musterctl destroy app")?;
    cluster.run_failing(first, "musterctl stop app", &["does not exist"])?;
    cluster.run(first, "musterctl destroy app")?;
    Ok(())
}

fn a_changed_file_needs_replace(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("a changed file is kept out with a warning, and put in with --replace");
    let text = |version: u8| format!("[Service]\nExecStart=/bin/sleep {version}0000\n");
    cluster.write_unit(first, "app.service", &text(1))?;
    cluster.run(first, "musterctl start app.service")?;
    let home = cluster.host_of("app.service")?;
    let before = cluster.invocation_id(home, "app.service")?;
    cluster.write_unit(first, "app.service", &text(2))?;
    let warned = cluster.run(first, "musterctl submit app.service")?;
    ensure!(warned.stderr.contains("--replace"), "{}", warned.stderr);
    ensure!(cluster.run(first, "musterctl cat app")?.stdout == text(1), "it was replaced");
    ensure!(cluster.invocation_id(home, "app.service")? == before, "it was restarted");

    cluster.run(first, "musterctl start --replace app.service")?;
    ensure!(cluster.run(first, "musterctl cat app")?.stdout == text(2), "it was not replaced");
    let home = cluster.host_of("app.service")?;
    let command = cluster.unit_property(home, "app.service", "ExecStart")?;
    ensure!(command.contains("sleep 20000"), "{command}");
    let process = home.unit_processes("app.service");
    let process = process.first().context("it has no process")?;
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", process.pid))?;
    ensure!(command.contains("20000"), "the old one runs: {command}");
    cluster.run(first, "musterctl destroy app")?;
    Ok(())
}

fn a_slow_start_holds_nobody_up(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("a unit that never gets ready holds no other unit of its machine up");
    let there = format!("MachineID={}", first.machine_id());
    let slow = format!(
        "[Service]\nType=notify\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity\n[X-Fleet]\n{there}\n"
    );
    cluster.write_unit(first, "slow.service", &slow)?;
    cluster.run(first, "musterctl start --no-block slow.service")?;
    let activating = || -> Result<()> {
        let state = cluster.unit_property(first, "slow.service", "ActiveState")?;
        ensure!(state == "activating", "{state}");
        Ok(())
    };
    cluster.wait_for_condition("slow.service to be starting", activating)?;
    cluster.write_sleeper(first, "quick.service", &there)?;
    let quick = cluster.run(first, "musterctl start --timeout 30 quick.service")?;
    cluster.report_duration("the quick one started", quick.took);
    activating()?;
    let waits = cluster.run_shell(first, "musterctl start --timeout 1 slow")?;
    ensure!(waits.code == 1 && waits.stderr.contains("slow.service"), "{waits:?}");
    cluster.run(first, "musterctl destroy --timeout 30 slow quick")?;
    ensure!(cluster.active_on("slow.service").is_empty(), "it was destroyed and runs");
    Ok(())
}

fn a_misspelt_directive_is_warned_of(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("a directive that systemd does not know is warned of");
    let text = "[Unit]\nBindTo=dbus.service\n[Service]\nExecStart=/bin/true\n";
    cluster.write_unit(first, "typo.service", text)?;
    let warned = cluster.run(first, "musterctl submit typo.service")?;
    ensure!(
        warned.stderr.contains("BindTo") && warned.stderr.contains("line 2"),
        "{}",
        warned.stderr
    );
    ensure!(warned.stderr.contains("typo.service"), "{}", warned.stderr);
    cluster.run(first, "musterctl destroy typo")?;
    Ok(())
}

fn thirty_units_are_spread(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("thirty units are spread evenly");
    cluster.write_sleeper(first, "many@.service", "")?;
    cluster.run(first, "musterctl submit many@.service")?;
    let names: Vec<String> = (1..=30).map(|number| format!("many@{number}")).collect();
    let names = names.join(" ");
    let started = cluster.run(first, &format!("musterctl start {names}"))?;
    cluster.report_duration("thirty units started", started.took);
    for host in cluster.hosts() {
        let on = host.active_units(|unit| unit.starts_with("many@")).len();
        ensure!(on == 10, "{} runs {on} of them", host.name());
    }
    let gone = cluster.run(first, &format!("musterctl destroy {names} many@.service"))?;
    cluster.report_duration("thirty units destroyed", gone.took);
    for host in cluster.hosts() {
        let left = host.active_units(|unit| unit.starts_with("many@"));
        ensure!(left.is_empty(), "{} still runs {left:?}", host.name());
    }
    Ok(())
}
