//! The lives of containers on one machine: crashes, health, stopping, images, volumes, networks, a disk that is full.
//!
//! Muster's word is held against the engine's own and against cgroups of the host.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::{Cluster, StateRow};
use muster_tests::lab::{Host, IMAGE_ARCHIVE, Options};

#[test]
fn a_container_lives_as_its_file_says() -> Result<()> {
    let cluster =
        Cluster::start(Options { hosts: 1, etcd: false, containers: true, ..Options::default() })?;
    let host = cluster.host(0)?;

    it_crashes_until_the_start_limit(&cluster, host)?;
    it_is_not_up_before_it_is_healthy(&cluster, host)?;
    it_falls_ill_and_is_killed_or_restarted(&cluster, host)?;
    it_does_not_stop_and_is_killed(&cluster, host)?;
    its_image_is_missing(&cluster, host)?;
    its_image_comes_from_an_archive(&cluster, host)?;
    its_volume_is_kept_and_its_network_made(&cluster, host)?;
    its_secrets_stay_where_they_are(&cluster, host)?;
    the_disk_is_full(&cluster, host)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

fn it_crashes_until_the_start_limit(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("a crash loop: five starts, a second apart, then it stays failed");
    let restarts = "Exec=false\n[Service]\nRestart=on-failure\nRestartSec=1h";
    cluster.write_container(host, "restarts.container", restarts)?;
    cluster.run(host, "musterctl start --no-block restarts.container")?;
    becomes(cluster, host, "restarts.container", "activating", "auto-restart")?;
    destroyed(cluster, host, "restarts.container")?;
    let crash = "Exec=sh -c 'cut -d\" \" -f1 /proc/uptime >> /count/starts; exit 3'\nVolume=/root/count:/count\n\
                 [Service]\nRestart=on-failure\nRestartSec=1s\n\
                 [Unit]\nStartLimitIntervalSec=5min\nStartLimitBurst=5";
    cluster.run(host, "mkdir -p count")?;
    cluster.write_container(host, "crash.container", crash)?;
    cluster.run(host, "musterctl start --no-block crash.container")?;
    let failed = becomes(cluster, host, "crash.container", "failed", "failed")?;
    tells(&failed, "code 3")?;
    let starts = host.read_file("/root/count/starts")?;
    let starts: Vec<f64> = starts.lines().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(starts.len() == 5, "{starts:?}");
    for pair in starts.windows(2) {
        let [one, next] = pair else { continue };
        ensure!(next - one >= 1.0, "RestartSec=1s, and it was started after {}", next - one);
    }
    let code = inspect(cluster, host, "systemd-crash", ".State.ExitCode")?;
    ensure!(code == "3", "the engine says {code}");

    // A start of a user's meets the same limit, and says so.
    cluster.run_failing(
        host,
        "musterctl start crash.container",
        &["crash.container", "start-limit"],
    )?;
    destroyed(cluster, host, "crash.container")?;

    cluster.step("one that fails and is not to be restarted: told with its exit code");
    cluster.write_container(
        host,
        "once.container",
        "Exec=sh -c 'echo no key >&2; exit 4'\n[Service]\nType=oneshot",
    )?;
    let shown =
        cluster.run_failing(host, "musterctl start once.container", &["once.container", "4"])?;
    cluster.step(&format!("  {}", shown.stderr.trim()));
    becomes(cluster, host, "once.container", "failed", "failed")?;
    destroyed(cluster, host, "once.container")
}

fn it_is_not_up_before_it_is_healthy(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("Notify=healthy: activating until its health check says so");
    let slow = "HealthCmd=test -e /state/well\nHealthInterval=1s\nHealthRetries=1000\nNotify=healthy\n\
                Volume=/root/state:/state";
    cluster.run(host, "rm -rf state && mkdir state")?;
    cluster.write_container(host, "slow.container", slow)?;
    cluster.run(host, "musterctl start --no-block slow.container")?;
    cluster.wait_for_condition("its container to run", || {
        cluster.container_of(host, "slow.container").map(|_| ())
    })?;
    becomes(cluster, host, "slow.container", "activating", "start")?;
    let waits = cluster.run_shell(host, "musterctl start --timeout 2 slow.container")?;
    ensure!(waits.code == 1, "it is not up: {waits:?}");
    let id = cluster.container_of(host, "slow.container")?.id;
    cluster.run(host, "touch state/well")?;
    cluster.run(host, "musterctl start slow.container")?;
    becomes(cluster, host, "slow.container", "active", "running")?;
    ensure!(cluster.container_of(host, "slow.container")?.id == id, "it was restarted meanwhile");
    let health = inspect(cluster, host, &id, ".State.Health.Status")?;
    ensure!(health == "healthy", "the engine says {health}");
    destroyed(cluster, host, "slow.container")
}

fn it_falls_ill_and_is_killed_or_restarted(cluster: &Cluster, host: &Host) -> Result<()> {
    for (action, restart) in [("kill", "on-failure"), ("restart", "no")] {
        cluster.step(&format!("health goes bad: HealthOnFailure={action}, Restart={restart}"));
        let ill = format!(
            "HealthCmd=test ! -e /state/ill\nHealthInterval=1s\nHealthRetries=1\nNotify=healthy\n\
             HealthOnFailure={action}\nVolume=/root/state:/state\n\
             [Service]\nRestart={restart}\nRestartSec=0\n[Unit]\nStartLimitIntervalSec=0"
        );
        cluster.run(host, "rm -rf state && mkdir state")?;
        cluster.write_container(host, "ill.container", &ill)?;
        cluster.run(host, "musterctl start ill.container")?;
        let before = cluster.container_of(host, "ill.container")?.id;
        cluster.run(host, "touch state/ill")?;
        cluster.wait_for_condition("another container in its place", || {
            let now = cluster.container_of(host, "ill.container")?;
            ensure!(now.id != before, "it is the same");
            Ok(())
        })?;
        cluster.run(host, "rm state/ill")?;
        becomes(cluster, host, "ill.container", "active", "running")?;
        destroyed(cluster, host, "ill.container")?;
    }

    cluster.step("HealthOnFailure=kill without a restart: failed, by the signal");
    let ill = "HealthCmd=false\nHealthInterval=1s\nHealthRetries=1\nHealthOnFailure=kill";
    cluster.write_container(host, "ill.container", ill)?;
    cluster.run(host, "musterctl start ill.container")?;
    becomes(cluster, host, "ill.container", "failed", "failed")?;
    ensure!(!host.is_active("ill.container"), "it is failed and runs");
    destroyed(cluster, host, "ill.container")
}

fn it_does_not_stop_and_is_killed(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("one that ignores its stop signal is killed after StopTimeout=, not before");
    let deaf = "RunInit=no\nStopTimeout=3\nExec=sh -c \"trap '' TERM; while :; do sleep 1; done\"";
    cluster.write_container(host, "deaf.container", deaf)?;
    cluster.run(host, "musterctl start deaf.container")?;
    let container = cluster.container_of(host, "deaf.container")?;
    let stop = cluster.run(host, "musterctl stop deaf.container")?;
    cluster.report_duration("musterctl stop", stop.took);
    ensure!(stop.took.as_secs_f64() >= 2.9, "it was given {:?}", stop.took);
    ensure!(!host.is_active("deaf.container"), "it was stopped and runs");
    let code = inspect(cluster, host, &container.id, ".State.ExitCode")?;
    ensure!(code == "137", "the engine says {code}");
    destroyed(cluster, host, "deaf.container")?;

    cluster.step("one with a signal of its own stops at once, and well");
    let own = "RunInit=no\nStopSignal=SIGUSR1\nVolume=/root/state:/state\n\
               Exec=sh -c 'trap \"exit 0\" USR1; touch /state/heeds; while :; do sleep 0.1; done'";
    cluster.run(host, "rm -rf state && mkdir state")?;
    cluster.write_container(host, "own.container", own)?;
    cluster.run(host, "musterctl start own.container")?;
    cluster.wait_for_condition("it to heed its signal", || {
        host.read_file("/root/state/heeds").map(|_| ())
    })?;
    cluster.run(host, "musterctl stop own.container")?;
    becomes(cluster, host, "own.container", "inactive", "dead")?;
    let code = inspect(cluster, host, "systemd-own", ".State.ExitCode")?;
    ensure!(code == "0", "the engine says {code}");
    destroyed(cluster, host, "own.container")
}

fn its_image_is_missing(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("an image that is not there and may not be fetched: failed, and said why");
    let text = "[Container]\nImage=localhost/none:1\nPull=never\n";
    cluster.write_unit(host, "none.container", text)?;
    let shown =
        cluster.run_failing(host, "musterctl start none.container", &["localhost/none:1"])?;
    cluster.step(&format!("  {}", shown.stderr.trim()));
    becomes(cluster, host, "none.container", "failed", "failed")?;
    destroyed(cluster, host, "none.container")?;

    cluster.step("a registry that does not answer: a few attempts, then failed, and said why");
    let text = "[Container]\nImage=127.0.0.1:9/none:1\nRetry=2\nRetryDelay=1s\n";
    cluster.write_unit(host, "none.container", text)?;
    let shown =
        cluster.run_failing(host, "musterctl start none.container", &["127.0.0.1:9/none:1"])?;
    cluster.step(&format!("  {}", shown.stderr.trim()));
    let row = becomes(cluster, host, "none.container", "failed", "failed")?;
    tells(&row, "127.0.0.1:9/none:1")?;
    destroyed(cluster, host, "none.container")?;

    cluster.step("and with Restart=always: until the start limit, and said why all the same");
    let text = "[Container]\nImage=localhost/none:1\nPull=never\n[Service]\nRestart=always\n";
    cluster.write_unit(host, "none.container", text)?;
    cluster.run_failing(host, "musterctl start none.container", &["localhost/none:1"])?;
    let row = becomes(cluster, host, "none.container", "failed", "failed")?;
    tells(&row, "localhost/none:1")?;
    destroyed(cluster, host, "none.container")
}

fn its_image_comes_from_an_archive(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("an image from an archive on the machine");
    cluster.run(host, "docker image rm busybox")?;
    let text = format!(
        "[Container]\nImage=docker-archive:{IMAGE_ARCHIVE}\nNetwork=none\nRunInit=yes\nExec=sleep infinity\n"
    );
    cluster.write_unit(host, "packed.container", &text)?;
    cluster.run(host, "musterctl start packed.container")?;
    ensure!(host.is_active("packed.container"), "it was started and does not run");
    cluster.run(host, "docker image inspect busybox")?;
    destroyed(cluster, host, "packed.container")?;

    cluster.step("an archive that is not there");
    let text = "[Container]\nImage=docker-archive:/root/absent.tar\n";
    cluster.write_unit(host, "packed.container", text)?;
    cluster.run_failing(host, "musterctl start packed.container", &["/root/absent.tar"])?;
    destroyed(cluster, host, "packed.container")
}

fn its_volume_is_kept_and_its_network_made(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("a volume and a network are made before the container, and outlive it");
    cluster.write_unit(host, "data.volume", "[Volume]\nLabel=purpose=test\n")?;
    cluster.write_unit(host, "front.network", "[Network]\nSubnet=192.0.2.0/24\n")?;
    let uses = "Network=front.network\nVolume=data.volume:/data\nExec=sh -c 'echo kept >> /data/file; sleep infinity'";
    let text = format!("[Container]\nImage=busybox\nPull=never\nRunInit=yes\n{uses}\n");
    cluster.write_unit(host, "user.container", &text)?;
    cluster.run(host, "musterctl submit data.volume front.network")?;
    cluster.run(host, "musterctl start user.container")?;
    let container = cluster.container_of(host, "user.container")?;
    let networks = inspect(cluster, host, &container.id, "json .NetworkSettings.Networks")?;
    ensure!(networks.contains("systemd-front") && networks.contains("192.0.2."), "{networks}");
    let label = "docker volume inspect --format '{{.Labels.purpose}}' systemd-data";
    ensure!(cluster.run(host, label)?.stdout.trim() == "test", "its label is missing");

    let holds = |lines: &str| {
        cluster.wait_for_condition("what it writes", || {
            let kept = host.read_file("/var/lib/docker/volumes/systemd-data/_data/file")?;
            ensure!(kept == lines, "{kept}");
            Ok(())
        })
    };
    holds("kept\n")?;
    destroyed(cluster, host, "user.container")?;
    cluster.run(host, "musterctl destroy data.volume front.network")?;
    cluster.run(host, "docker volume inspect systemd-data")?;
    cluster.run(host, "docker network inspect systemd-front")?;
    holds("kept\n")?;

    cluster.step("the next container finds what the one before it left");
    cluster.run(host, "musterctl submit data.volume front.network")?;
    cluster.run(host, "musterctl start user.container")?;
    holds("kept\nkept\n")?;
    destroyed(cluster, host, "user.container")?;
    cluster.run(host, "musterctl destroy data.volume front.network")?;
    Ok(())
}

fn its_secrets_stay_where_they_are(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("secrets and environment files reach the container, and no log, record or answer");
    // The daemon tells all it can.
    let all = "mkdir -p /etc/systemd/system/musterd.service.d \
               && printf '[Service]\\nEnvironment=MUSTER_LOG_LEVEL=trace\\n' > /etc/systemd/system/musterd.service.d/trace.conf \
               && systemctl daemon-reload && systemctl restart musterd";
    cluster.run(host, all)?;
    cluster.run(host, "mkdir -p -m 700 /etc/muster/secrets")?;
    host.write_file("/etc/muster/secrets/db", "hunter2-db")?;
    host.write_file("/root/app.env", "TOKEN=hunter2-token\n")?;
    let has = "Secret=db\nSecret=db,type=env,target=DB\nEnvironmentFile=/root/app.env\n\
               Exec=sh -c 'test \"$$DB\" = \"$$(cat /run/secrets/db)\" && test -n \"$$TOKEN\" && echo has both && sleep infinity'";
    cluster.write_container(host, "keeper.container", has)?;
    cluster.run(host, "musterctl start keeper.container")?;
    cluster.wait_for_condition("its word that it has both", || {
        let shown = cluster.run(host, "musterctl journal keeper.container")?.stdout;
        ensure!(shown.contains("has both"), "{shown}");
        Ok(())
    })?;
    let environment = inspect(cluster, host, "systemd-keeper", "json .Config.Env")?;
    ensure!(environment.contains("hunter2-db") && environment.contains("hunter2-token"));

    // What goes wrong is told without them, too.
    host.write_file("/root/app.env", "TOKEN=a\nhunter2 in a line that is none\n")?;
    cluster.run_failing(
        host,
        "musterctl restart keeper.container",
        &["/root/app.env", "line 2"],
    )?;
    host.write_file("/root/app.env", "TOKEN=hunter2-token\n")?;
    cluster.run(host, "rm /etc/muster/secrets/db")?;
    cluster.run_failing(host, "musterctl restart keeper.container", &["Secret=db"])?;

    let shown = "musterctl status keeper.container; musterctl cat keeper.container; musterctl list-units --output json; \
                musterctl plan; musterctl export; curl --silent --unix-socket /run/muster/muster.sock http://x/v1/units; \
                curl --silent --unix-socket /run/muster/muster.sock http://x/metrics; \
                journalctl --boot --all --no-pager --output=export; cat $(find /var/lib/muster /run/muster/containers -type f)";
    let shown = cluster.run_shell(host, shown)?;
    for proof in ["Secret=db", "muster_containers", "TRACE", "line 2"] {
        ensure!(shown.stdout.contains(proof), "{proof} is not in what was searched");
    }
    ensure!(!shown.stdout.contains("hunter2"), "told: {}", lines_with(&shown.stdout, "hunter2"));
    ensure!(!shown.stderr.contains("hunter2"), "{}", shown.stderr);
    destroyed(cluster, host, "keeper.container")?;
    cluster.run(host, "rm /etc/systemd/system/musterd.service.d/trace.conf && systemctl daemon-reload && systemctl restart musterd")?;
    Ok(())
}

fn lines_with(text: &str, word: &str) -> String {
    text.lines().filter(|line| line.contains(word)).collect::<Vec<_>>().join("\n")
}

fn the_disk_is_full(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step(
        "the disk is full while an image is loaded: told, and well again once there is space",
    );
    let small = "systemctl stop docker docker.socket && mount -t tmpfs -o size=8m tmpfs /var/lib/docker \
                 && systemctl reset-failed docker docker.socket && systemctl start docker.socket docker";
    cluster.run(host, small)?;
    host.wait_for_engine()?;
    cluster.run(host, "head --bytes=7m /dev/zero > /var/lib/docker/ballast")?;
    let text = format!(
        "[Container]\nImage=docker-archive:{IMAGE_ARCHIVE}\nNetwork=none\nRunInit=yes\nExec=sleep infinity\n"
    );
    cluster.write_unit(host, "big.container", &text)?;
    cluster.wait_for_condition("the daemon to reach the engine again", || {
        let listed = cluster.run(host, "musterctl list-machines --no-legend --fields=runners")?;
        ensure!(listed.stdout.contains("docker"), "{}", listed.stdout);
        Ok(())
    })?;
    let shown =
        cluster.run_failing(host, "musterctl start big.container", &["no space left on device"])?;
    cluster.step(&format!("  {}", shown.stderr.trim()));
    let row = becomes(cluster, host, "big.container", "failed", "failed")?;
    tells(&row, "no space left on device")?;
    ensure!(!host.is_active("big.container"), "it runs without an image");

    cluster.run(host, "rm /var/lib/docker/ballast")?;
    cluster.run(host, "musterctl start big.container")?;
    ensure!(host.is_active("big.container"), "it was started and does not run");
    destroyed(cluster, host, "big.container")
}

/// Waits until Muster says that a unit is like that; its row of `list-units` then.
fn becomes(
    cluster: &Cluster,
    host: &Host,
    unit: &str,
    active: &str,
    sub: &str,
) -> Result<StateRow> {
    let mut found = None;
    cluster.wait_for_condition(&format!("{unit} to be {active}/{sub}"), || {
        let rows = cluster.list_states(host)?;
        let row = rows.into_iter().find(|row| row.unit == unit).context("it is not listed")?;
        let so = row.active.as_deref() == Some(active) && row.sub.as_deref() == Some(sub);
        ensure!(so, "{row:?}");
        found = Some(row);
        Ok(())
    })?;
    found.context("it is not listed")
}

/// An error unless the list says this of a unit.
fn tells(row: &StateRow, word: &str) -> Result<()> {
    let mut texts = row.problem.iter().chain(&row.remark);
    ensure!(texts.any(|texts| texts.contains(word)), "{word:?} in {row:?}");
    Ok(())
}

/// Destroys a unit: its container is gone, from the engine too.
fn destroyed(cluster: &Cluster, host: &Host, unit: &str) -> Result<()> {
    cluster.run(host, &format!("musterctl destroy {unit}"))?;
    ensure!(!host.is_active(unit), "{unit} was destroyed and runs");
    let left = cluster.run(host, "docker ps --all --quiet --filter label=muster.unit")?.stdout;
    ensure!(left.is_empty(), "{unit} was destroyed, and the engine has {left}");
    Ok(())
}

/// What a host's engine says of a container.
fn inspect(cluster: &Cluster, host: &Host, container: &str, field: &str) -> Result<String> {
    let line = format!("docker inspect --format '{{{{{field}}}}}' {container}");
    Ok(cluster.run(host, &line)?.stdout.trim().to_owned())
}
