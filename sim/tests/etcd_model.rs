//! The model beside a real server: the same requests, in an order that a seed gives, have the same answers.
//!
//! Time is not compared, but for leases that are ended by hand: what ends by itself is in the stories.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use muster_common::seed::{RandomSequence, Seed};
use muster_sim::etcd::{EtcdAnswer, EtcdModel, EtcdRelease, EtcdRequest, EtcdResult};
use muster_store::etcd_protocol::{
    EtcdError, LeaseKept, LeaseSeconds, MemberChange, MemberConnection, PageQuery, StoreLineage,
    WatchQuery, WatchStream,
};
use muster_store::{EtcdOptions, Guard, LeaseId, Liveness, Op, Range, etcd_transport};

/// How long a server may take for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// A server of a test's own.
struct Server {
    process: Child,
    endpoint: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (endpoint, peer) =
            (format!("http://127.0.0.1:{}", port()), format!("http://127.0.0.1:{}", port()));
        let directory = tempfile::tempdir().unwrap();
        let process = Command::new("etcd")
            .args(["--name", "m0", "--logger", "zap", "--log-level", "error"])
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("m0={peer}")])
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is needed (Debian: etcd-server)");
        Self { process, endpoint, _directory: directory }
    }

    /// A connection, once the server answers.
    async fn connect(&self) -> Arc<dyn MemberConnection> {
        let patient = Liveness { call: LIMIT, ping_timeout: LIMIT, ..Liveness::default() };
        let options = EtcdOptions {
            endpoints: vec![self.endpoint.clone()],
            liveness: patient,
            ..EtcdOptions::default()
        };
        let transport = etcd_transport(&options).await.unwrap();
        let (member, _) = transport.connect(&self.endpoint).await.unwrap();
        let begun = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while member.read_page(&page("/", 0, 0)).await.is_err() {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(LIMIT, begun).await.expect("etcd to start");
        member
    }

    /// Forgets the history before a revision; whether the server agreed.
    fn compact(&self, revision: u64) -> bool {
        Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint, "compact", &revision.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("etcdctl is needed (Debian: etcd-client)")
            .success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn page(prefix: &str, revision: u64, limit: u64) -> PageQuery {
    PageQuery {
        range: Range::Prefix(prefix.to_owned()),
        after: None,
        revision,
        limit,
        max_bytes: 1 << 24,
    }
}

async fn ask_server(member: &dyn MemberConnection, request: &EtcdRequest) -> EtcdResult {
    match request {
        EtcdRequest::ReadPage(query) => member.read_page(query).await.map(EtcdAnswer::Page),
        EtcdRequest::Transact { guards, ops } => {
            member.send_transaction(guards, ops).await.map(EtcdAnswer::Transaction)
        }
        EtcdRequest::GrantLease { lease, seconds } => {
            member.grant_lease(*lease, *seconds).await.map(EtcdAnswer::Granted)
        }
        EtcdRequest::KeepAlive { lease } => {
            // The client of etcd takes the first answer of a stream for itself, and says by an error that the lease is gone.
            let answer = match member.open_keep_alive(*lease).await {
                Ok(mut stream) => stream.keep_alive().await,
                Err(EtcdError::LeaseNotFound) => Ok(LeaseKept { seconds: 0, term: 0 }),
                Err(error) => Err(error),
            };
            answer.map(EtcdAnswer::KeptAlive)
        }
        EtcdRequest::ReadLease { lease } => member.read_lease(*lease).await.map(EtcdAnswer::Lease),
        EtcdRequest::RevokeLease { lease } => {
            member.revoke_lease(*lease).await.map(|()| EtcdAnswer::Revoked)
        }
        EtcdRequest::ReadVersion | EtcdRequest::Ping => panic!("not compared"),
    }
}

/// The requests of a run.
struct Dice {
    numbers: RandomSequence,
    /// The revision there may be by now.
    revision: u64,
}

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        self.numbers.next() % bound
    }

    fn pick(&self, words: &[&str]) -> String {
        let at = usize::try_from(self.below(words.len() as u64)).unwrap();
        words[at].to_owned()
    }

    fn key(&self) -> String {
        self.pick(&["/a", "/a/1", "/a/2", "/a0", "/b", "/b/\u{e9}"])
    }

    fn range(&self) -> Range {
        match self.below(3) {
            0 => Range::Key(self.key()),
            1 => Range::Prefix("/".to_owned()),
            _ => Range::Prefix(self.pick(&["/a", "/a/", "/b/"])),
        }
    }

    fn lease(&self) -> LeaseId {
        LeaseId(i64::try_from(self.below(5)).unwrap() + 1)
    }

    fn some_revision(&self) -> u64 {
        self.below(self.revision + 3)
    }

    fn guard(&self) -> Guard {
        match self.below(4) {
            0 => Guard::Exists { key: self.key() },
            1 => Guard::Created { key: self.key(), revision: self.some_revision() },
            2 => Guard::Modified { key: self.key(), revision: 0 },
            _ => Guard::Modified { key: self.key(), revision: self.some_revision() },
        }
    }

    fn op(&self) -> Op {
        if self.below(3) == 0 {
            return Op::Delete { key: self.key() };
        }
        let lease = (self.below(3) == 0).then(|| self.lease());
        Op::Put { key: self.key(), value: self.below(100).to_string().into(), lease }
    }

    fn range_to_read(&self) -> Range {
        match self.range() {
            Range::Prefix(prefix) if self.below(2) == 0 => {
                Range::PrefixBeside { prefix, beside: self.key() }
            }
            range => range,
        }
    }

    fn request(&self) -> EtcdRequest {
        match self.below(12) {
            0..=1 => EtcdRequest::ReadPage(PageQuery {
                range: self.range_to_read(),
                after: None,
                revision: if self.below(2) == 0 { 0 } else { self.some_revision() },
                limit: self.below(4),
                max_bytes: 1 << 24,
            }),
            2..=7 => EtcdRequest::Transact {
                guards: (0..self.below(3)).map(|_| self.guard()).collect(),
                ops: (0..self.below(4)).map(|_| self.op()).collect(),
            },
            8 => EtcdRequest::GrantLease {
                lease: self.lease(),
                // None ends by itself while the test runs.
                seconds: 10_000 + i64::try_from(self.below(1000)).unwrap(),
            },
            9 => EtcdRequest::KeepAlive { lease: self.lease() },
            10 => EtcdRequest::ReadLease { lease: self.lease() },
            _ => EtcdRequest::RevokeLease { lease: self.lease() },
        }
    }
}

/// The time that passes is not the model's, so it is taken out of the answer about a lease, and so is the name of the store.
fn without_time(answer: EtcdResult) -> EtcdResult {
    match answer {
        Ok(EtcdAnswer::Lease(time)) => {
            Ok(EtcdAnswer::Lease(LeaseSeconds { left: time.left.min(0), term: 0, ..time }))
        }
        Ok(EtcdAnswer::KeptAlive(kept)) => Ok(EtcdAnswer::KeptAlive(LeaseKept { term: 0, ..kept })),
        Ok(EtcdAnswer::Page(mut page)) => {
            page.lineage = StoreLineage::default();
            Ok(EtcdAnswer::Page(page))
        }
        other => other,
    }
}

/// All changes up to a revision, or the revision that was compacted instead.
async fn read_watch(mut stream: Box<dyn WatchStream>, to: u64) -> Result<Vec<MemberChange>, u64> {
    let mut seen: Vec<MemberChange> = Vec::new();
    let read = async {
        while seen.last().is_none_or(|change| change.revision < to) {
            let message = stream.next_message().await.unwrap().expect("the watch goes on");
            if let Some(end) = message.end {
                return Err(end.compact_revision);
            }
            seen.extend(message.changes);
        }
        Ok(())
    };
    tokio::time::timeout(LIMIT, read).await.expect("the changes of a watch")?;
    Ok(seen)
}

async fn compare(seed: u64, requests: usize) {
    let server = Server::start();
    let member = server.connect().await;
    let mut model = EtcdModel::new(EtcdRelease::Old, None);
    let mut dice = Dice { numbers: Seed(seed).random_sequence(), revision: 1 };
    let mut story = Vec::new();
    for _ in 0..requests {
        if dice.below(60) == 0 {
            let revision = dice.some_revision().max(1);
            story.push(format!("compact to {revision}"));
            let ours = model.compact_history(revision).is_ok();
            assert_eq!(ours, server.compact(revision), "{}", story.join("\n"));
            continue;
        }
        if dice.below(20) == 0 {
            let (range, from) = (Range::Prefix("/".to_owned()), dice.some_revision().max(1));
            story.push(format!("watch from {from}"));
            let query = WatchQuery { range: range.clone(), from };
            let ours = model.changes_between(&range, from, model.revision());
            // A watch of the future has nothing to tell.
            let Some(last) = ours.last().map(|change| change.revision) else { continue };
            let theirs = read_watch(member.open_watch(&query).await.unwrap(), last).await;
            let compacted = model.compacted_revision();
            let ours = if from < compacted { Err(compacted) } else { Ok(ours) };
            assert_eq!(ours, theirs, "seed {seed}:\n{}", story.join("\n"));
            continue;
        }
        let request = dice.request();
        story.push(format!("{request:?}"));
        let ours = without_time(model.step(Duration::ZERO, &request));
        let theirs = without_time(ask_server(&*member, &request).await);
        assert_eq!(ours, theirs, "seed {seed}:\n{}", story.join("\n"));
        dice.revision = model.revision();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_answers_as_a_server_does() {
    for seed in 0..6 {
        compare(seed, 500).await;
    }
}

/// Requests that no daemon makes, or only once in a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_refuses_as_a_server_does() {
    let server = Server::start();
    let member = server.connect().await;
    let mut model = EtcdModel::new(EtcdRelease::Old, None);
    let put = |key: &str, bytes: usize| Op::Put {
        key: key.to_owned(),
        value: vec![b'x'; bytes].into(),
        lease: None,
    };
    let delete = |key: &str| Op::Delete { key: key.to_owned() };
    let many = |count: usize| (0..count).map(|n| put(&format!("/{n}"), 1)).collect::<Vec<_>>();
    let transact = |ops: Vec<Op>| EtcdRequest::Transact { guards: vec![], ops };
    let grant =
        |lease: i64, seconds: i64| EtcdRequest::GrantLease { lease: LeaseId(lease), seconds };
    let beside = Range::PrefixBeside { prefix: "/1".to_owned(), beside: "/5".to_owned() };
    let exists = Guard::Exists { key: "/absent".to_owned() };
    let absent_lease =
        Op::Put { key: "/leased".to_owned(), value: "".into(), lease: Some(LeaseId(77)) };
    let requests = [
        transact(vec![put("/twice", 1), put("/twice", 1)]),
        transact(vec![put("/twice", 1), delete("/twice")]),
        transact(vec![delete("/twice"), delete("/twice")]),
        transact(vec![]),
        transact(many(128)),
        transact(many(129)),
        transact(vec![put("/large", 1_600_000)]),
        // A guard that does not hold comes before a lease that is not there.
        EtcdRequest::Transact { guards: vec![exists], ops: vec![absent_lease.clone()] },
        transact(vec![absent_lease]),
        grant(5, 1),
        grant(6, 2),
        grant(5, 100),
        grant(7, 9_000_000_001),
        EtcdRequest::RevokeLease { lease: LeaseId(99) },
        EtcdRequest::ReadLease { lease: LeaseId(99) },
        EtcdRequest::KeepAlive { lease: LeaseId(99) },
        EtcdRequest::ReadPage(page("/", 1_000, 0)),
        EtcdRequest::ReadPage(PageQuery { after: Some(b"/10".to_vec()), ..page("/", 0, 3) }),
        EtcdRequest::ReadPage(PageQuery { range: beside.clone(), ..page("/", 1_000, 0) }),
        EtcdRequest::ReadPage(PageQuery {
            range: beside,
            after: Some(b"/10".to_vec()),
            ..page("/", 0, 3)
        }),
    ];
    for request in requests {
        let ours = without_time(model.step(Duration::ZERO, &request));
        let theirs = without_time(ask_server(&*member, &request).await);
        let told = format!("{request:?}");
        assert_eq!(ours, theirs, "{}", told.chars().take(200).collect::<String>());
    }
}
