//! Bad input through the real client and daemon, records that cannot be read, and a store without room: each told clearly,
//! nothing lost, nothing else harmed.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::{Cluster, PREFIX};
use muster_tests::lab::{Host, Options, Output};

fn ours(unit: &str) -> bool {
    unit.starts_with("app")
}

#[test]
fn a_cluster_refuses_nonsense_and_survives_damage() -> Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let first = cluster.host(0)?;
    for app in ["app1.service", "app2.service", "app3.service"] {
        cluster.write_sleeper(first, app, "")?;
    }
    cluster.run(first, "musterctl start app1.service app2.service app3.service")?;
    let running = cluster.list_running(ours)?;
    ensure!(running.len() == 3, "{}", Cluster::format_running(&running));

    files_that_are_none(&cluster, first)?;
    names_that_are_none(&cluster, first)?;
    options_that_cannot_be(&cluster, first)?;
    cluster.ensure_unchanged(&running, ours)?;
    machines_that_are_not_there(&cluster, first)?;
    // A machine was given up, and its unit moved.
    let running = cluster.list_running(ours)?;
    requests_that_are_none(&cluster, first)?;
    cluster.run_failing(
        first,
        "musterctl --endpoint unix:///run/nobody.sock list-units",
        &["no daemon listens at", "/run/nobody.sock", "hint:"],
    )?;
    // None of it has left anything behind.
    let files: Vec<String> = cluster.unit_files(first)?.into_iter().map(|row| row.unit).collect();
    ensure!(files == ["app1.service", "app2.service", "app3.service"], "{files:?}");
    cluster.ensure_unchanged(&running, ours)?;

    damaged_records(&cluster, first)?;
    cluster.ensure_unchanged(&running, ours)?;
    two_machines_with_one_id(&cluster)?;
    cluster.ensure_unchanged(&running, ours)?;
    cluster.tear_down()
}

/// Tries a file under several verbs; nothing may be stored.
fn refused_file(cluster: &Cluster, host: &Host, name: &str, words: &[&str]) -> Result<()> {
    for verb in ["submit", "start"] {
        let output = cluster.run_failing(host, &format!("musterctl {verb} {name}"), words)?;
        if verb == "submit" {
            cluster.step(&format!("  {}", output.stderr.trim().replace('\n', " / ")));
        }
    }
    Ok(())
}

fn files_that_are_none(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("files that are no unit files");
    cluster.run(host, ": > empty.service")?;
    refused_file(cluster, host, "empty.service", &["empty.service", "empty"])?;
    cluster.run(host, "{ echo '[Service]'; yes '# padding' | head -c 300000; } > huge.service")?;
    refused_file(cluster, host, "huge.service", &["huge.service", "262144"])?;
    cluster.run(host, "head -c 4000 /usr/bin/musterctl > binary.service")?;
    refused_file(cluster, host, "binary.service", &["binary.service"])?;
    cluster.run(host, "printf '[Unit]\\nDescription=caf\\351\\n' > latin1.service")?;
    refused_file(cluster, host, "latin1.service", &["latin1.service", "UTF-8"])?;
    cluster.write_unit(
        host,
        "words.service",
        "[Service]\nExecStart=/bin/true\nthis is no option\n",
    )?;
    refused_file(cluster, host, "words.service", &["words.service", "line 3"])?;
    cluster.run_failing(
        host,
        "musterctl submit no-such-file.service",
        &["no-such-file.service"],
    )?;
    cluster.run_failing(host, "musterctl start no-such-unit", &["no-such-unit", "no such file"])?;
    Ok(())
}

fn names_that_are_none(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("names that are no unit names");
    for name in ["'a b.service'", "@1.service", "''", "'caf\u{e9}.service'"] {
        cluster.run_failing(host, &format!("musterctl start {name}"), &["is not a unit name"])?;
    }
    let long = format!("{}.service", "x".repeat(300));
    cluster.run_failing(host, &format!("musterctl submit {long}"), &["is not a unit name"])?;

    cluster.step("templates, and instances without one");
    cluster.write_sleeper(host, "job@.service", "")?;
    cluster.run_failing(
        host,
        "musterctl start job@.service",
        &["job@.service is a template", "hint:"],
    )?;
    cluster.run_failing(host, "musterctl start other@1", &["other@1", "other@.service"])?;
    Ok(())
}

fn options_that_cannot_be(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("[X-Fleet] sections that make no sense");
    for (section, words) in [
        ("Global=true\nMachineOf=app1.service", ["Global", "MachineOf"]),
        ("Replaces=app1.service\nConflicts=app*", ["Replaces", "Conflicts"]),
        ("Conflict=app*", ["Conflict", "Conflicts"]),
    ] {
        cluster.write_sleeper(host, "odd.service", section)?;
        let mut all = vec!["odd.service"];
        all.extend(words);
        refused_file(cluster, host, "odd.service", &all)?;
    }

    cluster.step("one that means nothing, which fleet took");
    cluster.write_sleeper(host, "odd.service", "MachineMetadata=zone")?;
    let taken = cluster.run(host, "musterctl submit odd.service")?;
    ensure!(
        taken.stderr.contains("MachineMetadata") && taken.stderr.contains("warning"),
        "{}",
        taken.stderr
    );
    cluster.run(host, "musterctl destroy odd.service")?;

    cluster.step("a circle of MachineOf");
    cluster.write_sleeper(host, "hen.service", "MachineOf=egg.service")?;
    cluster.write_sleeper(host, "egg.service", "MachineOf=hen.service")?;
    let refused = cluster.run_failing(
        host,
        "musterctl start hen.service egg.service",
        &["hen.service", "egg.service", "circle"],
    )?;
    cluster.step(&format!("  {}", refused.stderr.trim().replace('\n', " / ")));
    ensure!(cluster.active_on("hen.service").is_empty(), "it was refused and runs");
    cluster.run(host, "musterctl destroy hen egg")?;
    Ok(())
}

fn machines_that_are_not_there(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("a machine that never was, and one that is dead");
    let unknown = "0123456789abcdef0123456789abcdef";
    cluster.write_sleeper(host, "far.service", &format!("MachineID={unknown}"))?;
    let words = ["far.service", unknown, "not registered"];
    cluster.run_failing(host, "musterctl start far.service", &words)?;
    cluster.run(host, "musterctl destroy far")?;

    let dead = cluster.host(2)?;
    let its = dead.active_units(ours);
    // A clean end of its daemon's registration without its units: the daemon stops and its lease runs out.
    cluster.run(dead, "systemctl stop musterd")?;
    cluster.wait_for_condition("two machines", || {
        let machines = cluster.machines(host)?;
        ensure!(machines.len() == 2, "{machines:?}");
        Ok(())
    })?;
    cluster.write_sleeper(host, "far.service", &format!("MachineID={}", dead.machine_id()))?;
    let words = ["far.service", dead.machine_id(), "not registered"];
    cluster.run_failing(host, "musterctl start far.service", &words)?;
    cluster.run(host, "musterctl destroy far")?;

    cluster.run(dead, "systemctl start musterd")?;
    cluster.wait_for_machines(3)?;
    cluster.wait_for_condition("one copy of each", || {
        for unit in &its {
            cluster.host_of(unit)?;
        }
        Ok(())
    })?;
    cluster.wait_until_settled()
}

/// Sends a request to the daemon's socket: the status and the body.
fn request(cluster: &Cluster, host: &Host, arguments: &str) -> Result<(u16, String)> {
    let line = format!(
        "curl --silent --show-error --max-time 10 --write-out '\\n%{{http_code}}' \
         --unix-socket /run/muster/muster.sock {arguments}"
    );
    let output = cluster.run(host, &line)?;
    let (body, status) = output.stdout.rsplit_once('\n').context("curl told no status")?;
    Ok((status.parse()?, body.to_owned()))
}

fn requests_that_are_none(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("requests that no client makes");
    let json = "--header 'Content-Type: application/json'";
    let unit = r#"{"desiredState":"inactive","options":[{"section":"Service","name":"ExecStart","value":"/bin/true"}]}"#;
    let base = "http://localhost";
    for (arguments, status) in [
        (format!("-X POST {json} -d '{{' {base}/v1/units"), 400),
        (format!("-X POST {json} -d '[1]' {base}/v1/units"), 400),
        (format!("-X POST {json} -d '{{\"units\":[],\"unitz\":1}}' {base}/v1/units"), 400),
        (
            format!("-X POST -H 'Content-Type: text/plain' -d '{{\"units\":[]}}' {base}/v1/units"),
            415,
        ),
        (format!("-X PUT -d '{unit}' {base}/fleet/v1/units/raw.service"), 415),
        (format!("-X PUT {json} -d 'no json' {base}/fleet/v1/units/raw.service"), 400),
        (format!("-X PUT {json} -d '{unit}' '{base}/fleet/v1/units/raw'"), 400),
        (
            format!(
                "-X PUT {json} -d '{{\"desiredState\":\"sideways\",\"options\":[]}}' {base}/fleet/v1/units/raw.service"
            ),
            400,
        ),
        (
            format!(
                "-X PUT {json} -d '{{\"desiredState\":\"launched\"}}' {base}/fleet/v1/units/raw.service"
            ),
            409,
        ),
        (format!("'{base}/fleet/v1/units?nextPageToken=nonsense'"), 400),
        (format!("'{base}/fleet/v1/machines?nextPageToken=AAAA'"), 400),
        (format!("-X DELETE {base}/fleet/v1/units"), 405),
        (format!("-X PUT {base}/v1/machines"), 405),
        (format!("-X DELETE {base}/fleet/v1/units/absent.service"), 404),
        (format!("{base}/v1/units/absent.service"), 404),
        (format!("{base}/no/such/path"), 404),
        (
            format!(
                "-X PATCH {json} -d '[{{\"op\":\"move\",\"path\":\"/a/metadata/b\"}}]' {base}/fleet/v1/machines"
            ),
            400,
        ),
    ] {
        let (got, body) = request(cluster, host, &arguments)?;
        ensure!(got == status, "{arguments}: {got} instead of {status}: {body}");
        let error: serde_json::Value =
            serde_json::from_str(&body).with_context(|| format!("{arguments}: {body}"))?;
        let (code, message) = (error.pointer("/error/code"), error.pointer("/error/message"));
        ensure!(code == Some(&status.into()), "{arguments}: {body}");
        let output_text = message.and_then(serde_json::Value::as_str).unwrap_or_default();
        ensure!(!output_text.is_empty(), "{arguments}: no message: {body}");
    }
    cluster.run(host, "head -c 20000000 /dev/zero | tr '\\0' ' ' > /tmp/big.json")?;
    let (status, body) = request(
        cluster,
        host,
        &format!("-X POST {json} --data-binary @/tmp/big.json {base}/v1/units"),
    )?;
    ensure!(status == 413, "{status} {body}");
    Ok(())
}

/// Puts something into the store that no daemon wrote.
fn put(cluster: &Cluster, host: &Host, key: &str, value: &str) -> Result<Output> {
    cluster.run(host, &format!("etcdctl put {PREFIX}{key} '{value}'"))
}

fn damaged_records(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("records that cannot be read, one of each kind");
    let absent = "0123456789abcdef0123456789abcdef";
    let hash = "0".repeat(64);
    let damaged = [
        "unit/broken.service".to_owned(),
        "unit/no name".to_owned(),
        format!("file/{hash}"),
        format!("machine/{absent}"),
        format!("metadata/{absent}/zone"),
        format!("place/{absent}/broken.service"),
        format!("state/{absent}/broken.service"),
    ];
    for key in &damaged {
        cluster.run(host, &format!("etcdctl put '{PREFIX}{key}' '{{ not json'"))?;
    }
    cluster.wait_for_condition("every one of them to be reported", || {
        let mut output_text = String::new();
        for list in ["list-units", "list-unit-files", "list-machines"] {
            output_text.push_str(&cluster.run(host, &format!("musterctl {list}"))?.stderr);
        }
        for key in &damaged {
            ensure!(
                output_text.contains(&format!("the record {key} cannot be read")),
                "{key}: {output_text}"
            );
        }
        Ok(())
    })?;
    works(cluster, host)?;

    cluster.step("the file of a unit that runs: the unit runs on, a start says what is wrong");
    let keys = cluster.list_keys(host, "file/")?;
    for key in keys.iter().filter(|key| !damaged.contains(key)) {
        let record =
            cluster.run(host, &format!("etcdctl get --print-value-only {PREFIX}{key}"))?.stdout;
        host.write_file(
            &format!("/root/{}", key.replace('/', "-")),
            record.trim_end_matches('\n'),
        )?;
        put(cluster, host, key, "{}")?;
    }
    works(cluster, host)?;
    // Submitting the same file again repairs it.
    cluster.run(host, "musterctl submit --replace app1.service app2.service app3.service")?;
    let repaired = cluster.list_keys(host, "file/")?;
    for key in repaired.iter().filter(|key| !damaged.contains(key)) {
        let record =
            cluster.run(host, &format!("etcdctl get --print-value-only {PREFIX}{key}"))?.stdout;
        ensure!(record.trim() != "{}", "{key} is as damaged as before");
    }

    cluster.step("the placement and the record of a unit that runs: it runs on");
    let home = cluster.host_of("app1.service")?;
    let place = format!("place/{}/app1.service", home.machine_id());
    let unit = "unit/app1.service";
    let value = |key: &str| -> Result<String> {
        let line = format!("etcdctl get --print-value-only {PREFIX}{key}");
        Ok(cluster.run(host, &line)?.stdout.trim_end().to_owned())
    };
    let was = [(place.as_str(), value(&place)?), (unit, value(unit)?)];
    let running = cluster.list_running(ours)?;
    for (key, _) in &was {
        put(cluster, host, key, "damaged")?;
        works(cluster, host)?;
        cluster.ensure_unchanged(&running, ours)?;
    }
    for (key, value) in was.iter().rev() {
        put(cluster, host, key, value)?;
    }
    works(cluster, host)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("the leader's record: somebody leads again");
    put(cluster, host, "leader", "damaged")?;
    cluster.find_leader()?;
    works(cluster, host)?;

    for key in &damaged {
        cluster.run(host, &format!("etcdctl del '{PREFIX}{key}'"))?;
    }
    cluster.wait_for_condition("silence", || {
        for list in ["list-units", "list-unit-files", "list-machines"] {
            let output_text = cluster.run(host, &format!("musterctl {list}"))?.stderr;
            ensure!(output_text.is_empty(), "{output_text}");
        }
        Ok(())
    })?;
    Ok(())
}

/// A unit is started and destroyed again.
fn works(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.write_sleeper(host, "probe.service", "")?;
    cluster.run(host, "musterctl start --timeout 30 probe.service")?;
    cluster.host_of("probe.service")?;
    cluster.run(host, "musterctl destroy --timeout 30 probe.service")?;
    Ok(())
}

fn two_machines_with_one_id(cluster: &Cluster) -> Result<()> {
    cluster.step("a machine comes with the id of another: it does not register, and says so");
    let (first, second, third) = (cluster.host(0)?, cluster.host(1)?, cluster.host(2)?);
    let its_own = "/etc/muster/muster.toml";
    let configuration = third.read_file(its_own)?;
    let copied = format!("machine_id = \"{}\"\n{configuration}", second.machine_id());
    third.write_file(its_own, &copied)?;
    // Its units are given up properly first: this is about the id, not about a machine that dies.
    let before = cluster.list_running(ours)?;
    cluster.run(third, "systemctl restart --no-block musterd")?;
    cluster.wait_for_condition("the second to be refused", || {
        let journal = cluster.run(third, "journalctl --no-pager --unit=musterd --lines=50")?.stdout;
        ensure!(journal.contains(second.machine_id()), "{journal}");
        let (status, body) = cluster.fetch_health(third)?;
        ensure!(status == 503 && body.contains(second.machine_id()), "{status} {body}");
        Ok(())
    })?;
    let listed = cluster.machines(first)?;
    let row = listed
        .iter()
        .find(|row| row.machine == second.machine_id())
        .context("the first is gone")?;
    ensure!(row.ip == Some(second.address().to_string()), "{row:?}");
    third.write_file(its_own, &configuration)?;
    cluster.run(third, "systemctl restart musterd")?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    let now: Vec<String> =
        cluster.list_running(ours)?.into_iter().map(|(_, unit, _)| unit).collect();
    let then: Vec<String> = before.into_iter().map(|(_, unit, _)| unit).collect();
    ensure!(now == then, "{now:?}");
    Ok(())
}

#[test]
fn one_machine_needs_no_configuration_and_survives_a_full_disk() -> Result<()> {
    let cluster = Cluster::start(Options { hosts: 1, etcd: false, ..Options::default() })?;
    let host = cluster.host(0)?;

    cluster.step("no configuration at all: hello.service runs");
    cluster.run(host, "systemctl stop musterd && rm -r /etc/muster && systemctl start musterd")?;
    cluster.write_examples(host, &["hello.service"])?;
    let started = cluster.run(host, "musterctl start hello.service")?;
    cluster.report_duration("musterctl start hello.service", started.took);
    let hello = |unit: &str| unit == "hello.service";
    let running = cluster.list_running(hello)?;
    ensure!(running.len() == 1, "{}", Cluster::format_running(&running));
    ensure!(cluster.machines(host)?.len() == 1, "it does not list itself");

    cluster.step("the daemon is restarted, killed, and the host rebooted: it remembers");
    cluster.run(host, "systemctl restart musterd && musterctl list-units")?;
    cluster.run(host, "systemctl kill --signal=KILL musterd")?;
    cluster.wait_for_condition("the next musterd", || {
        cluster.run(host, "musterctl list-units").map(|_| ())
    })?;
    cluster.wait_until_healthy(host)?;
    cluster.ensure_unchanged(&running, hello)?;
    host.power_cut()?;
    host.power_on()?;
    cluster.wait_for_condition("hello.service", || {
        ensure!(host.is_active("hello.service"), "it does not run");
        Ok(())
    })?;
    cluster.wait_until_healthy(host)?;

    cluster.step("a clean reboot gives its units up and places them again");
    host.reboot()?;
    cluster.wait_for_condition("hello.service", || {
        ensure!(host.is_active("hello.service"), "it does not run");
        Ok(())
    })?;
    cluster.wait_until_healthy(host)?;

    cluster.step("the disk under the store fills up: changes fail clearly, units run on");
    cluster.run(host, "systemctl stop musterd && cp -a /var/lib/muster /root/kept")?;
    cluster.run(host, "mount -t tmpfs -o size=8m,mode=0700 tmpfs /var/lib/muster")?;
    cluster.run(host, "cp -a /root/kept/. /var/lib/muster/ && systemctl start musterd")?;
    cluster.wait_until_healthy(host)?;
    let running = cluster.list_running(hello)?;
    ensure!(running.len() == 1, "{}", Cluster::format_running(&running));
    // dd ends with an error when nothing fits any more, which is the point.
    cluster.run_shell(host, "dd if=/dev/zero of=/var/lib/muster/filler bs=4k status=none")?;
    // What is left inside the store's own file is used up by large units.
    let mut refusal = None;
    for number in 0..100 {
        let name = format!("large{number}.service");
        let line = format!(
            "{{ echo '[Service]'; echo 'ExecStart=/bin/true'; yes '# {number} {number} {number}' | head -c 200000; echo; }} > {name} \
             && musterctl submit {name}"
        );
        let output = cluster.run_shell(host, &line)?;
        if output.code != 0 {
            refusal = Some((name, output));
            break;
        }
    }
    let (name, output) = refusal.context("a full disk took everything")?;
    cluster.step(&format!("  {}", output.stderr.trim()));
    ensure!(output.code == 1, "{output:?}");
    let output_text = output.stderr.to_lowercase();
    ensure!(output_text.contains("space") || output_text.contains("full"), "{output:?}");
    cluster.ensure_unchanged(&running, hello)?;
    let listed = cluster.unit_files(host)?;
    ensure!(listed.iter().any(|row| row.unit == "hello.service"), "{listed:?}");
    ensure!(listed.iter().all(|row| row.unit != name), "{name} was refused and is listed");

    cluster.step("room is made: changes are taken again, nothing restarted, nothing lost");
    let daemon = cluster.unit_property(host, "musterd.service", "MainPID")?;
    cluster.run(host, "rm /var/lib/muster/filler")?;
    let took = cluster.wait_for_condition("the store to take it", || {
        cluster.run(host, &format!("musterctl submit {name}")).map(|_| ())
    })?;
    cluster.report_duration("the first change after that", took);
    cluster.write_sleeper(host, "after.service", "")?;
    cluster.run(host, "musterctl start after.service")?;
    cluster.host_of("after.service")?;
    ensure!(
        cluster.unit_property(host, "musterd.service", "MainPID")? == daemon,
        "musterd was restarted"
    );
    cluster.wait_until_healthy(host)?;
    cluster.ensure_unchanged(&running, hello)?;
    let files = cluster.unit_files(host)?.len();
    cluster.run(host, "systemctl restart musterd")?;
    cluster.wait_until_healthy(host)?;
    ensure!(cluster.unit_files(host)?.len() == files, "the restart lost something");
    cluster.ensure_unchanged(&running, hello)?;
    cluster.tear_down()
}
