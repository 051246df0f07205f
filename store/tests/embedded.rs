//! What the embedded store promises beyond the suite: durability, and clear words about a file that cannot be used.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

#[allow(dead_code, reason = "other tests share it and use more of it")]
mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use muster_store::{CommitOutcome, KeyValue, Op, Range, Store, StoreError, open_embedded};

fn put(key: &str, bytes: usize) -> Op {
    Op::Put { key: key.to_owned(), value: vec![b'x'; bytes].into(), lease: None }
}

async fn commit(store: &dyn Store, op: Op) -> u64 {
    match store.commit(vec![], vec![op]).await.unwrap() {
        CommitOutcome::Done { revision } => revision,
        CommitOutcome::Conflict { .. } => panic!("it has no guards"),
    }
}

async fn everything(store: &dyn Store) -> (u64, Vec<KeyValue>) {
    let listing = store.read(Range::Prefix(String::new())).await.unwrap();
    (listing.revision, listing.entries)
}

#[tokio::test]
async fn all_is_there_after_closing_and_revisions_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_embedded(directory.path()).unwrap();
    let lease = store.grant(Duration::from_secs(600)).await.unwrap();
    commit(&*store, put("/a", 1)).await;
    commit(&*store, put("/a", 2)).await;
    commit(&*store, Op::Put { key: "/b".to_owned(), value: "".into(), lease: Some(lease.id) })
        .await;
    let (revision, before) = everything(&*store).await;
    drop(store);
    let store = open_embedded(directory.path()).unwrap();
    assert_eq!(everything(&*store).await, (revision, before));
    assert_eq!(commit(&*store, put("/c", 1)).await, revision + 1);
    assert_eq!(store.keep_alive(lease.id).await.unwrap(), lease);
    assert_ne!(store.grant(Duration::from_secs(600)).await.unwrap().id, lease.id);
    store.revoke(lease.id).await.unwrap();
    assert_eq!(everything(&*store).await.1.len(), 2);
}

const CHILD: &str = "EMBEDDED_STORE_CHILD";

/// Not a test of its own: what the next test runs in another process and kills.
#[tokio::test]
async fn write_until_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let store = open_embedded(Path::new(&directory)).unwrap();
    for n in 0.. {
        let revision = commit(&*store, put(&format!("/{n}"), 100)).await;
        println!("acknowledged {n} {revision}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let mut written = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["write_until_killed", "--exact", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut last = None;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some((_, text)) = line.split_once("acknowledged ") {
                let (n, revision) = text.split_once(' ').unwrap();
                last = Some((n.parse::<u64>().unwrap(), revision.parse::<u64>().unwrap()));
                if n.parse::<u64>().unwrap() == round * 20 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        let (n, revision) = last.unwrap();
        let store = open_embedded(directory.path()).unwrap();
        let (found, entries) = everything(&*store).await;
        assert!(found >= revision, "revision {revision} was acknowledged, {found} was found");
        assert!(entries.len() as u64 > n);
        assert!(found > written);
        written = found;
    }
}

#[tokio::test]
async fn a_store_in_use_is_not_opened_twice() {
    let directory = tempfile::tempdir().unwrap();
    let _store = open_embedded(directory.path()).unwrap();
    let Err(error) = open_embedded(directory.path()) else { panic!("it was opened twice") };
    assert!(matches!(error, StoreError::Embedded { .. }), "{error:?}");
    assert!(error.to_string().contains("another musterd has it open"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_an_error_that_says_what_to_do() {
    let damages: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |bytes| vec![0xA5; bytes.len()],
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |_| b"this is no database".to_vec(),
    ];
    for damage in damages {
        let directory = tempfile::tempdir().unwrap();
        let store = open_embedded(directory.path()).unwrap();
        for n in 0..100 {
            commit(&*store, put(&format!("/{n}"), 1000)).await;
        }
        drop(store);
        let path = directory.path().join("store.redb");
        std::fs::write(&path, damage(std::fs::read(&path).unwrap())).unwrap();
        let Err(error) = open_embedded(directory.path()) else { panic!("it was opened") };
        let StoreError::Embedded { path: named, problem } = &error else { panic!("{error:?}") };
        assert_eq!(named, &path.display().to_string());
        assert!(problem.contains("restore it from a backup"), "{problem}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Err(error) = open_embedded(&file.join("below")) else { panic!("it was opened") };
    assert!(matches!(error, StoreError::Embedded { .. }), "{error:?}");
}

/// A file system of a few megabytes, for as long as it is held. Making one needs root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(directory.path())
            .status()
            .unwrap();
        assert!(mount.success(), "a tmpfs cannot be mounted: this test needs root");
        Self(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_nothing_is_lost() {
    let disk = SmallDisk::mount();
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 3 * 1024 * 1024]).unwrap();
    let store = open_embedded(&disk.0.path().join("store")).unwrap();
    let mut written = 0;
    let error = loop {
        match store.commit(vec![], vec![put(&format!("/{written}"), 100_000)]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1000, "the disk does not fill");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(written > 0);
    let (revision, entries) = everything(&*store).await;
    assert_eq!(entries.len(), written);
    let error = store.commit(vec![], vec![put("/again", 100_000)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(commit(&*store, put("/again", 100_000)).await, revision + 1);
    drop(store);
    let store = open_embedded(&disk.0.path().join("store")).unwrap();
    assert_eq!(everything(&*store).await.1.len(), written + 1);
}
