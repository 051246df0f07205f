//! Data that are exchanged under those who use them: of etcd's members, and of a daemon.
//!
//! Owns the order in which that is done so that nothing but the fault itself is done to anybody: who holds files open is stopped or
//! paused first, and what was there comes back in the end.

use anyhow::Result;
use muster_tests::cluster::Cluster;
use muster_tests::lab::Host;

/// A snapshot of etcd, on each host.
const SNAPSHOT: &str = "/root/chaos.snapshot";

/// `systemctl stop` alone waits for a leave that a member cannot take of a quorum that goes with it.
const STOP_ETCD: &str = "systemctl kill --signal=KILL etcd; systemctl stop etcd";

/// Where etcd's unit says that its member has its data, and what its member is.
const READ_SETTINGS: &str = ". /etc/default/etcd";

/// Writes down what the store holds now, on every host the same.
pub(super) fn take_snapshot(cluster: &Cluster) -> Result<()> {
    let host = cluster.host(0)?;
    let save = format!(
        "rm -f {SNAPSHOT} && timeout 10 etcdctl snapshot save {SNAPSHOT} >/dev/null && base64 {SNAPSHOT}"
    );
    let snapshot = cluster.run(host, &save)?.stdout;
    for host in cluster.hosts() {
        host.write_file(&format!("{SNAPSHOT}.base64"), &snapshot)?;
        cluster.run(host, &format!("base64 --decode {SNAPSHOT}.base64 >{SNAPSHOT}"))?;
    }
    Ok(())
}

/// Puts what was written down in the place of what the store holds, as docs/operations.md says: every member is stopped, gets data
/// made of the snapshot, and is started.
pub(super) fn restore_store(cluster: &Cluster) -> Result<()> {
    let restore = format!(
        "test -s {SNAPSHOT} || exit 0\n\
         {READ_SETTINGS}\n\
         rm -rf $ETCD_DATA_DIR.restored\n\
         etcdctl snapshot restore {SNAPSHOT} --name $ETCD_NAME --data-dir $ETCD_DATA_DIR.restored \
         --initial-cluster $ETCD_INITIAL_CLUSTER --initial-cluster-token $ETCD_INITIAL_CLUSTER_TOKEN \
         --initial-advertise-peer-urls $ETCD_INITIAL_ADVERTISE_PEER_URLS &&\n\
         chown -R etcd: $ETCD_DATA_DIR.restored && rm -rf $ETCD_DATA_DIR && mv $ETCD_DATA_DIR.restored $ETCD_DATA_DIR"
    );
    exchange_data(cluster, &restore)?;
    cluster.for_each_host(|_, host| cluster.run(host, &format!("rm -f {SNAPSHOT}*")))?;
    Ok(())
}

/// Has every member begin with nothing.
pub(super) fn empty_store(cluster: &Cluster) -> Result<()> {
    let keep = format!(
        "{READ_SETTINGS}; rm -rf $ETCD_DATA_DIR.kept; mv $ETCD_DATA_DIR $ETCD_DATA_DIR.kept"
    );
    exchange_data(cluster, &keep)
}

/// Gives every member its data back.
pub(super) fn return_data(cluster: &Cluster) -> Result<()> {
    let give = format!(
        "{READ_SETTINGS}; test -d $ETCD_DATA_DIR.kept || exit 0; rm -rf $ETCD_DATA_DIR && mv $ETCD_DATA_DIR.kept $ETCD_DATA_DIR"
    );
    exchange_data(cluster, &give)
}

/// Does something to the data of all members while none of them runs. They are started again whatever comes of it.
fn exchange_data(cluster: &Cluster, line: &str) -> Result<()> {
    let stopped = cluster.for_each_host(|_, host| cluster.run(host, STOP_ETCD));
    let done = stopped.and_then(|_| cluster.for_each_host(|_, host| cluster.run(host, line)));
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl start --no-block etcd"))?;
    done.map(|_| ())
}

/// Puts a disk without room in the place of the one that a daemon has its state on, with the same files.
pub(super) fn fill_disk(cluster: &Cluster, host: &Host) -> Result<()> {
    // What fills the disk is a file that ends where the room does.
    let line = "mkdir -p /run/full && mount -t tmpfs -o size=512k,mode=700 full /run/full &&\n\
                systemctl kill --signal=STOP musterd &&\n\
                cp -a /var/lib/muster/. /run/full/ && mount --bind /run/full /var/lib/muster\n\
                head -c 1M /dev/zero >/run/full/filling 2>/dev/null\n\
                systemctl kill --signal=CONT musterd\n\
                mountpoint --quiet /var/lib/muster";
    cluster.run(host, line).map(|_| ())
}

/// Puts the daemon's own disk back, with the files as they are now.
pub(super) fn make_room(cluster: &Cluster, host: &Host) -> Result<()> {
    let line = "mountpoint --quiet /var/lib/muster || exit 0\n\
                systemctl kill --signal=STOP musterd\n\
                rm -f /run/full/filling\n\
                umount --lazy /var/lib/muster &&\n\
                find /var/lib/muster -mindepth 1 -delete && cp -a /run/full/. /var/lib/muster/\n\
                done=$?\n\
                umount --lazy /run/full\n\
                systemctl kill --signal=CONT musterd\n\
                exit $done";
    cluster.run(host, line).map(|_| ())
}
