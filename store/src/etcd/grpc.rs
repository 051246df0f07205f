//! Members of etcd over their own protocol.
//!
//! Owns the client of one endpoint: TLS, the login, the form of requests and answers. It chooses no endpoint, waits for nothing
//! longer than it is let, and repeats nothing.

use std::sync::Arc;

use async_trait::async_trait;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, EventType, GetOptions, GetResponse,
    LeaseGrantOptions, LeaseKeepAliveStream, LeaseKeeper, PutOptions, ResponseHeader, TlsOptions,
    Txn, TxnOp, TxnOpResponse, WatchOptions,
};

use super::error::EtcdError;
use super::protocol::{
    EtcdTransport, EtcdUsers, KeepAliveStream, LeaseKept, LeaseSeconds, MemberChange,
    MemberConnection, Page, PageQuery, StoreLineage, TransactionOutcome, WatchEnd, WatchMessage,
    WatchQuery, WatchStream,
};
use super::tls;
use crate::options::{EtcdOptions, Liveness};
use crate::store::{Guard, KeyChange, KeyValue, LeaseId, Op, Range, StoreError};

/// Largest message of a watch that is taken. etcd sends up to a thousand revisions at once to a watch that catches up.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// How the endpoints begin that are spoken to in TLS.
const HTTPS: &str = "https://";

/// The way to members that are reached over TCP.
pub(crate) struct GrpcTransport {
    login: Option<(String, String)>,
    tls: tls::CertificateFiles,
    liveness: Liveness,
}

impl GrpcTransport {
    /// Checks the options; reads the files they name, and reaches nobody.
    pub(crate) async fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        let refuse = |problem: String| StoreError::Rejected {
            during: "connection to etcd".to_owned(),
            problem,
        };
        let EtcdOptions { endpoints, login, ca_file, identity_files, liveness, seed: _ } = options;
        for endpoint in endpoints {
            let uri: Result<http::Uri, _> = endpoint.parse();
            let scheme = uri.as_ref().ok().and_then(http::Uri::scheme_str);
            let host = uri.as_ref().ok().and_then(http::Uri::host);
            match (scheme, host) {
                (Some("http"), Some(_)) => {}
                (Some("https"), Some(_)) if ca_file.is_some() => {}
                (Some("https"), Some(_)) => {
                    let needs = "needs the file of the authorities to trust (etcd.ca_file)";
                    return Err(refuse(format!("endpoint {endpoint} {needs}")));
                }
                _ => {
                    let form = "expected http://host:port or https://host:port";
                    return Err(refuse(format!("endpoint {endpoint:?}: {form}")));
                }
            }
        }
        let secure = endpoints.iter().any(|endpoint| endpoint.starts_with(HTTPS));
        if !secure && (ca_file.is_some() || identity_files.is_some()) {
            let problem = "there are files for TLS (etcd.ca_file, etcd.cert_file), but no endpoint begins with https://";
            return Err(refuse(problem.to_owned()));
        }
        let tls = tls::CertificateFiles::new(ca_file.clone(), identity_files.clone());
        let read = tls.read().await.map_err(refuse)?;
        let transport = Self { login: login.clone(), tls, liveness: *liveness };
        for endpoint in endpoints {
            transport
                .check_certificates(endpoint, read.as_ref())
                .await
                .map_err(|error| refuse(error.to_string()))?;
        }
        transport.tls.accept_certificates(read);
        Ok(transport)
    }

    /// Fails when these certificates are of no use. It makes a client's TLS ready and reaches nobody; a key that does not fit its
    /// certificate shows here.
    async fn check_certificates(
        &self,
        endpoint: &str,
        read: Option<&tls::Certificates>,
    ) -> Result<(), EtcdError> {
        let options = self.connect_options(endpoint, None, read.map(|read| &read.options));
        let made = Client::connect([endpoint], Some(options)).await;
        made.map(drop).map_err(|error| EtcdError::from(error).at_endpoint(endpoint))
    }

    /// The certificates as they are on disk now, or those from before while these are of no use.
    async fn current_certificates(&self, endpoint: &str) -> Option<tls::Certificates> {
        let accepted = self.tls.accepted_certificates();
        if !self.tls.are_given() || !endpoint.starts_with(HTTPS) {
            return accepted;
        }
        let problem = match self.tls.read().await {
            Ok(read) => match (&read, &accepted) {
                (Some(read), Some(accepted)) if read.is_same(accepted) => {
                    return Some(accepted.clone());
                }
                _ => match self.check_certificates(endpoint, read.as_ref()).await {
                    Ok(()) => {
                        self.tls.accept_certificates(read.clone());
                        return read;
                    }
                    Err(error) => error.to_string(),
                },
            },
            Err(problem) => problem,
        };
        self.tls.warn_once(&problem);
        accepted
    }

    fn connect_options(
        &self,
        endpoint: &str,
        login: Option<&(String, String)>,
        tls: Option<&TlsOptions>,
    ) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_keep_alive(self.liveness.ping_interval, self.liveness.ping_timeout)
            // Streams are open whenever something is at stake.
            .with_keep_alive_while_idle(false)
            .with_connect_timeout(self.liveness.call)
            // A member without a leader says so at once instead of letting us wait.
            .with_require_leader(true);
        if let Some((user, password)) = login {
            options = options.with_user(user, password).with_auto_token_refresh(true);
        }
        match tls {
            Some(tls) if endpoint.starts_with(HTTPS) => options.with_tls(tls.clone()),
            _ => options,
        }
    }
}

#[async_trait]
impl EtcdTransport for GrpcTransport {
    /// Makes a client, with the certificates that are there now. It takes a login where there is one. An etcd that has no users
    /// yet does without: whoever is about to protect a cluster tells the daemons their password first.
    async fn connect(
        &self,
        endpoint: &str,
    ) -> Result<(Arc<dyn MemberConnection>, EtcdUsers), EtcdError> {
        let certificates = self.current_certificates(endpoint).await;
        let tls = certificates.as_ref().map(|read| &read.options);
        let connect = async |login| {
            let options = self.connect_options(endpoint, login, tls);
            Client::connect([endpoint.to_owned()], Some(options)).await.map_err(EtcdError::from)
        };
        let users = match (&self.login, self.tls.are_given()) {
            (Some(_), _) => EtcdUsers::Enabled,
            (None, false) => EtcdUsers::Disabled,
            (None, true) => EtcdUsers::Unknown,
        };
        let may_log_in_again = self.login.is_some();
        let (client, users) = match connect(self.login.as_ref()).await {
            Err(EtcdError::NoUsers(_)) => {
                tracing::warn!(endpoint, "etcd lets everybody in: it has no users enabled");
                (connect(None).await?, EtcdUsers::Disabled)
            }
            outcome => (outcome?, users),
        };
        Ok((Arc::new(GrpcMember { client, may_log_in_again }), users))
    }
}

/// A client of one endpoint.
struct GrpcMember {
    client: Client,
    may_log_in_again: bool,
}

impl GrpcMember {
    fn sort_error(&self, error: Error) -> EtcdError {
        sort_login_error(error, self.may_log_in_again)
    }
}

fn sort_login_error(error: Error, may_log_in_again: bool) -> EtcdError {
    match EtcdError::from(error) {
        // A new client takes a new login.
        EtcdError::NotLoggedIn(problem) if may_log_in_again => EtcdError::NotCarriedOut(problem),
        error => error,
    }
}

#[async_trait]
impl MemberConnection for GrpcMember {
    async fn read_page(&self, query: &PageQuery) -> Result<Page, EtcdError> {
        let mut options = GetOptions::new()
            .with_limit(i64::try_from(query.limit).unwrap_or(i64::MAX))
            .with_revision(signed_revision(query.revision));
        if let Range::Prefix(prefix) | Range::PrefixBeside { prefix, .. } = &query.range {
            options = options.with_range(prefix_end(prefix));
        }
        let key = match &query.after {
            Some(after) => [after.as_slice(), b"\0"].concat(),
            None => query.range.as_str().as_bytes().to_vec(),
        };
        let mut kv = self.client.kv_client().max_decoding_message_size(query.max_bytes);
        let Some(beside) = query.range.key_beside() else {
            let page = kv.get(key, Some(options)).await;
            let mut page = page.map_err(|error| self.sort_error(error))?;
            let header = page.take_header();
            return Ok(decode_page(header.as_ref(), page));
        };
        let besides = GetOptions::new().with_revision(signed_revision(query.revision));
        let both = [TxnOp::get(key, Some(options)), TxnOp::get(beside, Some(besides))];
        let answer = kv.txn(Txn::new().and_then(both)).await;
        let answer = answer.map_err(|error| self.sort_error(error))?;
        let mut parts = answer.op_responses().into_iter();
        let (Some(TxnOpResponse::Get(page)), Some(TxnOpResponse::Get(mut beside))) =
            (parts.next(), parts.next())
        else {
            let problem = "the answer to a listing has not the parts that were asked for";
            return Err(EtcdError::Unknown(problem.to_owned()));
        };
        let beside = beside.take_kvs().pop().and_then(decode_record);
        Ok(Page { beside, ..decode_page(answer.header(), page) })
    }

    async fn send_transaction(
        &self,
        guards: &[Guard],
        ops: &[Op],
    ) -> Result<TransactionOutcome, EtcdError> {
        let answer = self.client.kv_client().txn(encode_transaction(guards, ops)).await;
        let answer = answer.map_err(|error| self.sort_error(error))?;
        Ok(TransactionOutcome {
            revision: answer.header().map_or(0, |header| unsigned_revision(header.revision())),
            succeeded: answer.succeeded(),
        })
    }

    async fn grant_lease(&self, lease: LeaseId, seconds: i64) -> Result<i64, EtcdError> {
        let options = LeaseGrantOptions::new().with_id(lease.0);
        let answer = self.client.lease_client().grant(seconds, Some(options)).await;
        let answer = answer.map_err(|error| self.sort_error(error))?;
        if answer.id() != lease.0 {
            let problem = "the answer to the grant of a lease names another lease";
            return Err(EtcdError::Unknown(problem.to_owned()));
        }
        Ok(answer.ttl())
    }

    async fn read_lease(&self, lease: LeaseId) -> Result<LeaseSeconds, EtcdError> {
        let answer = self.client.lease_client().time_to_live(lease.0, None).await;
        let answer = answer.map_err(|error| self.sort_error(error))?;
        let term = decode_lineage(answer.header()).term;
        Ok(LeaseSeconds { left: answer.ttl(), granted: answer.granted_ttl(), term })
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), EtcdError> {
        let answer = self.client.lease_client().revoke(lease.0).await;
        answer.map(drop).map_err(|error| self.sort_error(error))
    }

    async fn open_keep_alive(&self, lease: LeaseId) -> Result<Box<dyn KeepAliveStream>, EtcdError> {
        let opened = self.client.lease_client().keep_alive(lease.0).await;
        let (keeper, replies) = opened.map_err(|error| self.sort_error(error))?;
        Ok(Box::new(GrpcKeepAlive { keeper, replies, may_log_in_again: self.may_log_in_again }))
    }

    async fn open_watch(&self, query: &WatchQuery) -> Result<Box<dyn WatchStream>, EtcdError> {
        let mut options = WatchOptions::new().with_start_revision(signed_revision(query.from));
        if let Range::Prefix(prefix) | Range::PrefixBeside { prefix, .. } = &query.range {
            options = options.with_range(prefix_end(prefix));
        }
        let client = self.client.watch_client();
        let opened = client
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .watch(query.range.as_str(), Some(options))
            .await;
        Ok(Box::new(GrpcWatch(opened.map_err(|error| self.sort_error(error))?)))
    }

    async fn read_version(&self) -> Result<String, EtcdError> {
        let status = self.client.maintenance_client().status().await;
        Ok(status.map_err(|error| self.sort_error(error))?.version().to_owned())
    }
}

/// The client keeps the time to live of the first answer to itself, so each keepalive is asked for.
struct GrpcKeepAlive {
    keeper: LeaseKeeper,
    replies: LeaseKeepAliveStream,
    may_log_in_again: bool,
}

#[async_trait]
impl KeepAliveStream for GrpcKeepAlive {
    async fn keep_alive(&mut self) -> Result<LeaseKept, EtcdError> {
        let sort = |error| sort_login_error(error, self.may_log_in_again);
        self.keeper.keep_alive().await.map_err(sort)?;
        match self.replies.message().await.map_err(sort)? {
            Some(reply) => {
                let term = decode_lineage(reply.header()).term;
                Ok(LeaseKept { seconds: reply.ttl(), term })
            }
            None => Err(EtcdError::Unknown("the stream ended".to_owned())),
        }
    }
}

struct GrpcWatch(etcd_client::WatchStream);

#[async_trait]
impl WatchStream for GrpcWatch {
    async fn next_message(&mut self) -> Result<Option<WatchMessage>, EtcdError> {
        let Some(message) = self.0.message().await? else { return Ok(None) };
        let end = message.canceled().then(|| WatchEnd {
            compact_revision: unsigned_revision(message.compact_revision()),
            reason: message.cancel_reason().to_owned(),
        });
        Ok(Some(WatchMessage {
            revision: message.header().map_or(0, |header| unsigned_revision(header.revision())),
            lineage: decode_lineage(message.header()),
            changes: message.events().iter().filter_map(decode_event).collect(),
            end,
        }))
    }

    async fn request_progress(&mut self) -> Result<(), EtcdError> {
        Ok(self.0.request_progress().await?)
    }
}

fn encode_transaction(guards: &[Guard], ops: &[Op]) -> Txn {
    let compares: Vec<Compare> = guards
        .iter()
        .map(|guard| match guard {
            Guard::Modified { key, revision } => {
                Compare::mod_revision(key.as_str(), CompareOp::Equal, signed_revision(*revision))
            }
            Guard::Created { key, revision } => {
                Compare::create_revision(key.as_str(), CompareOp::Equal, signed_revision(*revision))
            }
            Guard::Exists { key } => Compare::create_revision(key.as_str(), CompareOp::Greater, 0),
            Guard::Holds { key, value } => {
                Compare::value(key.as_str(), CompareOp::Equal, value.as_ref())
            }
        })
        .collect();
    let ops: Vec<TxnOp> = ops
        .iter()
        .map(|op| match op {
            Op::Put { key, value, lease } => {
                let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
                TxnOp::put(key.as_str(), value.as_ref(), options)
            }
            Op::Delete { key } => TxnOp::delete(key.as_str(), None),
        })
        .collect();
    Txn::new().when(compares).and_then(ops)
}

/// A page, and what the whole answer says of the store. The answer to a part of a transaction has no word on that.
fn decode_page(header: Option<&ResponseHeader>, mut page: GetResponse) -> Page {
    let records = page.take_kvs();
    Page {
        revision: header.map_or(0, |header| unsigned_revision(header.revision())),
        lineage: decode_lineage(header),
        beside: None,
        more: page.more(),
        last_key: records.last().map(|record| record.key().to_vec()),
        records: records.into_iter().filter_map(decode_record).collect(),
    }
}

fn decode_lineage(header: Option<&ResponseHeader>) -> StoreLineage {
    let lineage = |header: &ResponseHeader| StoreLineage {
        cluster: header.cluster_id(),
        term: header.raft_term(),
    };
    header.map(lineage).unwrap_or_default()
}

fn decode_event(event: &etcd_client::Event) -> Option<MemberChange> {
    let kv = event.kv()?;
    let change = match event.event_type() {
        EventType::Put => decode_record(kv.clone()).map(KeyChange::Put),
        EventType::Delete => {
            let key = std::str::from_utf8(kv.key()).ok();
            key.map(|key| KeyChange::Delete { key: key.to_owned() })
        }
    };
    Some(MemberChange { revision: unsigned_revision(kv.mod_revision()), change })
}

/// The first key after all that begin with a prefix, as etcd wants the end of a range.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Everything.
    vec![0]
}

/// A record of etcd's as ours. `None` for a key that is no text: nobody who writes through this crate makes one.
fn decode_record(record: etcd_client::KeyValue) -> Option<KeyValue> {
    let (create_revision, mod_revision) =
        (unsigned_revision(record.create_revision()), unsigned_revision(record.mod_revision()));
    let lease = (record.lease() != 0).then(|| LeaseId(record.lease()));
    let (key, value) = record.into_key_value();
    let key = String::from_utf8(key).ok()?;
    Some(KeyValue { key, value: value.into(), create_revision, mod_revision, lease })
}

/// etcd's revisions are never negative.
fn unsigned_revision(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

fn signed_revision(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_lacks_it() {
        assert_eq!(prefix_end("/muster/"), b"/muster0");
        assert_eq!(prefix_end(""), [0]);
        assert_eq!(prefix_end("a\u{7f}"), b"a\x80");
    }
}
