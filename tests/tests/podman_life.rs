//! The life of container units with Podman where something is slow, refused or full: health, a registry that asks who one is, images that
//! cannot be had, updates, storage without room, and what goes with a destroyed volume.
//!
//! What runs is read from Podman and systemd of the host, never only from Muster. The registry is on the host itself; nothing is fetched from
//! elsewhere.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::{Cluster, StateRow};
use muster_tests::lab::{Host, IMAGE_ARCHIVE, Options, Release};

/// A registry of files, with one image that only `user` with `password` gets, and no faster than somebody could look on.
const REGISTRY: &str = "set -e; cd /root; \
    mkdir -p r/bin; cp /bin/busybox r/bin; ln -s busybox r/bin/sleep; head --bytes=2m /dev/urandom > r/ballast; \
    tar -C r -c . | podman import --quiet - localhost/private:latest; \
    podman push --quiet --format v2s2 localhost/private:latest dir:/root/box; podman image rm localhost/private:latest; \
    mkdir -p registry/v2/box/manifests registry/v2/box/blobs /etc/containers/registries.conf.d; touch registry/v2/index.html; \
    mv box/manifest.json registry/v2/box/manifests/v1.json; rm box/version; \
    for blob in box/*; do mv $blob registry/v2/box/blobs/sha256:${blob#box/}; done; \
    printf '/v2:user:password\\n.json:application/vnd.docker.distribution.manifest.v2+json\\n' > httpd.conf; \
    systemd-run --quiet --unit registry busybox httpd -f -p 127.0.0.1:5000 -h /root/registry -c /root/httpd.conf; \
    printf '[[registry]]\\nlocation = \"127.0.0.1:5000\"\\ninsecure = true\\n' > /etc/containers/registries.conf.d/lab.conf; \
    nft 'add table inet slow; add chain inet slow out { type filter hook output priority 0; }; \
         add rule inet slow out tcp sport 5000 limit rate over 400 kbytes/second burst 400 kbytes drop'";

#[test]
fn containers_live_as_their_files_say_and_what_is_in_the_way_is_told() -> Result<()> {
    let options = Options {
        hosts: 1,
        etcd: false,
        podman: true,
        release: Some(Release::Trixie),
        configuration: "[containers]\nrunner = \"podman\"\n".to_owned(),
        ..Options::default()
    };
    let cluster = Cluster::start(options)?;
    let host = cluster.host(0)?;
    it_is_not_up_before_it_is_healthy(&cluster, host)?;
    it_waits_for_what_it_names(&cluster, host)?;
    it_falls_ill_and_is_replaced(&cluster, host)?;
    its_image_needs_a_login(&cluster, host)?;
    its_image_cannot_be_had(&cluster, host)?;
    its_updates_are_podmans(&cluster, host)?;
    its_volume_goes_only_where_that_is_said(&cluster, host)?;
    the_storage_is_full(&cluster, host)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

/// A container that runs until it is stopped.
fn container(lines: &str) -> String {
    format!(
        "[Container]\nImage=localhost/busybox:latest\nPull=never\nNetwork=none\nExec=sleep infinity\nStopTimeout=1\n{lines}\n"
    )
}

fn it_is_not_up_before_it_is_healthy(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster
        .step("Notify=healthy: activating until its health check says so, and the remark says why");
    cluster.run(host, "mkdir state")?;
    let slow = "HealthCmd=test -e /state/well\nHealthInterval=1s\nHealthRetries=1000\nNotify=healthy\nVolume=/root/state:/state";
    cluster.write_unit(host, "slow.container", &container(slow))?;
    cluster.run(host, "musterctl start --no-block slow.container")?;
    remarks(cluster, host, "slow.container", "waits until it is healthy")?;
    becomes(cluster, host, "slow.container", "activating", "start")?;
    cluster.step("a daemon that comes in the midst of it says so, too, and waits on");
    let before = cluster.invocation_id(host, "slow.service")?;
    cluster.run(host, "systemctl restart musterd")?;
    remarks(cluster, host, "slow.container", "waits until it is healthy")?;
    let after = cluster.invocation_id(host, "slow.service")?;
    ensure!(before == after, "it was started again");
    cluster.run(host, "touch state/well")?;
    cluster.run(host, "musterctl start slow.container")?;
    let row = becomes(cluster, host, "slow.container", "active", "running")?;
    ensure!(row.remark.is_none(), "it still waits: {row:?}");
    let health = "podman inspect --format '{{.State.Health.Status}}' systemd-slow";
    let health = cluster.run(host, health)?.stdout;
    ensure!(health.trim() == "healthy", "Podman says {health}");
    destroy(cluster, host, "slow.container")
}

fn it_waits_for_what_it_names(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("a container waits for an image, then for a volume: the remark says which");
    let gate = |name: &str| {
        format!(
            "[Service]\nExecStartPre=sh -c 'until test -e /root/{name}-may-go; do sleep 0.1; done'\n"
        )
    };
    let image = format!("[Image]\nImage=docker-archive:{IMAGE_ARCHIVE}\n{}", gate("image"));
    cluster.write_unit(host, "box.image", &image)?;
    let volume = format!(
        "[Unit]\nAfter=box-image.service\n[Volume]\n{}[X-Fleet]\nRunner=podman\n",
        gate("volume")
    );
    cluster.write_unit(host, "shelf.volume", &volume)?;
    let waits = container("Volume=shelf.volume:/shelf")
        .replace("Image=localhost/busybox:latest", "Image=box.image");
    cluster.write_unit(host, "waits.container", &waits)?;
    cluster.run(host, "musterctl submit box.image shelf.volume")?;
    cluster.run(host, "musterctl start --no-block waits.container")?;
    remarks(cluster, host, "waits.container", "waits for box.image")?;
    cluster.step("so does a daemon that comes in the midst of it");
    cluster.run(host, "systemctl restart musterd")?;
    cluster.run(host, "touch image-may-go")?;
    remarks(cluster, host, "waits.container", "waits for shelf.volume")?;
    cluster.run(host, "touch volume-may-go")?;
    cluster.run(host, "musterctl start waits.container")?;
    let row = becomes(cluster, host, "waits.container", "active", "running")?;
    ensure!(row.remark.is_none(), "it still waits: {row:?}");
    destroy(cluster, host, "waits.container")?;
    cluster.run(host, "musterctl destroy box.image shelf.volume")?;
    cluster.run(host, "podman volume rm systemd-shelf").map(|_| ())
}

fn it_falls_ill_and_is_replaced(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("HealthOnFailure=kill: systemd starts another, as Restart= says");
    let ill = "HealthCmd=test ! -e /state/ill\nHealthInterval=1s\nHealthRetries=1\nHealthOnFailure=kill\n\
               Volume=/root/state:/state\n[Service]\nRestart=always\nRestartSec=0";
    cluster.write_unit(host, "ill.container", &container(ill))?;
    cluster.run(host, "musterctl start ill.container")?;
    let before = cluster.invocation_id(host, "ill.service")?;
    cluster.run(host, "touch state/ill")?;
    cluster.wait_for_condition("another run of it", || {
        let now = cluster.invocation_id(host, "ill.service")?;
        ensure!(now != before && !now.is_empty(), "it is the same");
        Ok(())
    })?;
    cluster.run(host, "rm state/ill")?;
    becomes(cluster, host, "ill.container", "active", "running")?;
    destroy(cluster, host, "ill.container")
}

fn its_image_needs_a_login(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step(
        "an image that only some may fetch: told to whoever has not logged in on the machine",
    );
    cluster.run(host, REGISTRY)?;
    let text =
        container("").replace("localhost/busybox:latest\nPull=never", "127.0.0.1:5000/box:v1.json");
    cluster.write_unit(host, "private.container", &text)?;
    let shown = cluster.run_failing(
        host,
        "musterctl start private.container",
        &["authentication required"],
    )?;
    cluster.step(&format!("  {}", shown.stderr.trim()));
    becomes(cluster, host, "private.container", "failed", "failed")?;

    cluster.step("after podman login it is fetched, and the remark says how far that is");
    cluster.run(host, "podman login --username user --password password 127.0.0.1:5000")?;
    cluster.run(host, "musterctl start --no-block private.container")?;
    remarks(cluster, host, "private.container", "fetches 127.0.0.1:5000/box:v1.json: ")?;
    cluster.run(host, "musterctl start private.container")?;
    becomes(cluster, host, "private.container", "active", "running")?;
    cluster.run(host, "nft delete table inet slow")?;
    destroy(cluster, host, "private.container")
}

fn its_image_cannot_be_had(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("a registry that cannot be reached: failed, and said which and why");
    let text = "[Container]\nImage=127.0.0.1:9/none:1\nPodmanArgs=--retry=0\n";
    cluster.write_unit(host, "none.container", text)?;
    let words = ["127.0.0.1:9", "connection refused"];
    let shown = cluster.run_failing(host, "musterctl start none.container", &words)?;
    cluster.step(&format!("  {}", shown.stderr.trim()));
    becomes(cluster, host, "none.container", "failed", "failed")?;
    destroy(cluster, host, "none.container")
}

fn its_updates_are_podmans(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("AutoUpdate= is told to be Podman's, and Podman finds the unit by its service");
    let text = container("AutoUpdate=local\n[X-Fleet]\nRunner=podman");
    cluster.write_unit(host, "fresh.container", &text)?;
    let told = cluster.run(host, "musterctl start fresh.container")?.stderr;
    for word in ["line 7", "AutoUpdate", "podman-auto-update.timer"] {
        ensure!(told.contains(word), "{word} in {told}");
    }
    let line = "podman auto-update --dry-run --format '{{.Unit}} {{.Updated}}'";
    let found = cluster.run(host, line)?.stdout;
    ensure!(found.trim() == "fresh.service false", "Podman says {found}");
    destroy(cluster, host, "fresh.container")
}

fn its_volume_goes_only_where_that_is_said(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step(
        "a volume goes with its unit where its file says so, and what was there before stays",
    );
    let goes = "[Volume]\n\n[X-Fleet]\nDeleteOnDestroy=yes\n";
    cluster.write_unit(host, "gone.volume", goes)?;
    cluster.write_unit(host, "found.volume", goes)?;
    cluster.write_unit(host, "kept.volume", "[Volume]\n")?;
    cluster.write_unit(host, "gone.network", "[Network]\n\n[X-Fleet]\nDeleteOnDestroy=yes\n")?;
    cluster.run(host, "podman volume create systemd-found")?;
    let uses = "Volume=gone.volume:/a\nVolume=kept.volume:/b\nVolume=found.volume:/c\n";
    let text = container(uses).replace("Network=none", "Network=gone.network");
    cluster.write_unit(host, "user.container", &text)?;
    let units = "gone.volume kept.volume found.volume gone.network";
    cluster.run(host, &format!("musterctl submit {units}"))?;
    cluster.run(host, "musterctl start user.container")?;
    let list = || -> Result<String> {
        let line = "podman volume ls --quiet; podman network ls --quiet";
        let all = cluster.run(host, line)?.stdout;
        let ours = all.lines().filter(|name| name.starts_with("systemd-"));
        Ok(ours.collect::<Vec<_>>().join(" "))
    };
    let before = list()?;
    for name in ["gone", "kept", "found"] {
        ensure!(before.contains(&format!("systemd-{name}")), "{name} is not among {before}");
    }
    destroy(cluster, host, "user.container")?;
    ensure!(list()? == before, "the container's end took something along: {}", list()?);
    cluster.run(host, &format!("musterctl destroy {units}"))?;
    cluster.wait_for_condition("what is to go to be gone", || {
        let left = list()?;
        ensure!(left == "systemd-found systemd-kept", "there are {left}");
        Ok(())
    })?;
    cluster.run(host, "podman volume rm systemd-found systemd-kept").map(|_| ())
}

fn the_storage_is_full(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster
        .step("storage is full while an image is loaded: told, and well again once there is room");
    let small = "mount -t tmpfs -o size=12m tmpfs /var/lib/containers/storage && podman images && \
                 (head --bytes=12m /dev/zero > /var/lib/containers/storage/ballast; true)";
    cluster.run(host, small)?;
    let image = format!("[Image]\nImage=docker-archive:{IMAGE_ARCHIVE}\n");
    cluster.write_unit(host, "box.image", &image)?;
    let shown =
        cluster.run_failing(host, "musterctl start box.image", &["no space left on device"])?;
    cluster.step(&format!("  {}", shown.stderr.trim()));
    becomes(cluster, host, "box.image", "failed", "failed")?;
    cluster.run(host, "rm /var/lib/containers/storage/ballast")?;
    cluster.run(host, "musterctl start box.image")?;
    becomes(cluster, host, "box.image", "active", "exited")?;
    destroy(cluster, host, "box.image")?;
    cluster.run(host, "umount --lazy /var/lib/containers/storage").map(|_| ())
}

/// The row of a unit in `list-units`.
fn row_of(cluster: &Cluster, host: &Host, unit: &str) -> Result<StateRow> {
    let rows = cluster.list_states(host)?;
    rows.into_iter().find(|row| row.unit == unit).context("it is not listed")
}

/// Waits until Muster says that a unit is like that; its row then.
fn becomes(
    cluster: &Cluster,
    host: &Host,
    unit: &str,
    active: &str,
    sub: &str,
) -> Result<StateRow> {
    cluster.wait_for_condition(&format!("{unit} to be {active}/{sub}"), || {
        let row = row_of(cluster, host, unit)?;
        let so = row.active.as_deref() == Some(active) && row.sub.as_deref() == Some(sub);
        ensure!(so, "{row:?}");
        Ok(())
    })?;
    row_of(cluster, host, unit)
}

/// Waits until a unit's remark begins like that.
fn remarks(cluster: &Cluster, host: &Host, unit: &str, beginning: &str) -> Result<()> {
    cluster.wait_for_condition(&format!("{unit} to say: {beginning}"), || {
        let row = row_of(cluster, host, unit)?;
        let says = row.remark.as_deref().is_some_and(|remark| remark.starts_with(beginning));
        ensure!(says, "{row:?}");
        Ok(())
    })?;
    Ok(())
}

/// Destroys a unit: nothing of its service is left, and no container.
fn destroy(cluster: &Cluster, host: &Host, unit: &str) -> Result<()> {
    cluster.run(host, &format!("musterctl destroy {unit}"))?;
    let left = cluster.run(host, "podman ps --all --quiet")?.stdout;
    ensure!(left.is_empty(), "{unit} was destroyed, and Podman has {left}");
    Ok(())
}
