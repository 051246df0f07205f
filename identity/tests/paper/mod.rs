//! Records of identity on paper: what a store would hold, without one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::pki::{
    Digest, HostRecord, HostRole, JoinRecord, KeyHash, PkiChange, PkiKey, PkiRecord, StoredPki,
    TokenId,
};
use muster_common::text::FreeText;
use muster_identity::{
    Authority, AuthorityCertificate, BeginBasis, BeginDecision, BeginRequest, CertifiedName,
    HostCertificate, JoinBasis, JoinDecision, JoinRequest, OrderBasis, PrivateKey, RenewalBasis,
    RenewalDecision, SerialNumber, TokenOrder, TokenSecret, Validity, decide_beginning,
    decide_join, decide_renewal, mint_token,
};

use crate::Options;

/// The cluster.
const CLUSTER: ClusterId = ClusterId::from_number(7);

/// When scripts begin.
const START: u64 = 1_000_000;

/// The pin that scripts know the cluster's authority by: real keys differ from run to run.
const OUR_PIN: &str = "authority";

/// All records, the clock of whoever decides, and the authorities that lie on machines' disks.
#[derive(Clone)]
pub(crate) struct PaperRecords {
    pub(crate) now: u64,
    revision: u64,
    records: BTreeMap<PkiKey, (PkiRecord, u64)>,
    authorities: BTreeMap<String, AuthorityCertificate>,
}

/// A request to join.
pub(crate) struct Wish(JoinRequest);

impl Default for PaperRecords {
    fn default() -> Self {
        Self { now: START, revision: 1, records: BTreeMap::new(), authorities: BTreeMap::new() }
    }
}

fn named_hash(name: &str) -> KeyHash {
    KeyHash(Digest::of_bytes(name.as_bytes()))
}

fn token_id(name: &str) -> TokenId {
    format!("{name:a<8}").parse().unwrap()
}

fn token_secret(name: &str) -> TokenSecret {
    let mut bytes = [0; TokenSecret::LENGTH];
    bytes.iter_mut().zip(name.bytes()).for_each(|(byte, letter)| *byte = letter);
    TokenSecret::from_bytes(bytes)
}

impl Wish {
    pub(crate) fn read(machine: &str, options: &Options) -> Self {
        let token = options.get("token").unwrap();
        Self(JoinRequest {
            token: token_id(token),
            secret: token_secret(options.get("secret").unwrap_or(token)),
            pin: named_hash(options.get("pin").unwrap_or(OUR_PIN)),
            machine: machine.parse().unwrap(),
            key: named_hash(options.get("key").unwrap()),
            cluster: options
                .get("cluster")
                .map(|number| ClusterId::from_number(number.parse().unwrap())),
        })
    }

    pub(crate) fn numbered(machine: u8, key: u8, token: u8, secret: u8) -> Self {
        Self(JoinRequest {
            token: token_id(letter(token)),
            secret: token_secret(letter(secret)),
            pin: named_hash(OUR_PIN),
            machine: format!("m{machine}").parse().unwrap(),
            key: named_hash(&key.to_string()),
            cluster: None,
        })
    }

    pub(crate) fn machine(&self) -> MachineId {
        self.0.machine.clone()
    }

    pub(crate) fn key(&self) -> KeyHash {
        self.0.key
    }
}

fn letter(number: u8) -> &'static str {
    ["p", "q", "r", "s"][usize::from(number % 4)]
}

impl PaperRecords {
    /// With an authority, and nobody else.
    pub(crate) fn begun() -> Self {
        let mut records = Self::default();
        let options = Options::read(&["key=first", "authority=first"]);
        assert!(records.begin("n1", &options).starts_with("n1 begins"));
        records
    }

    fn found<R>(
        &self,
        key: &PkiKey,
        pick: impl Fn(&PkiRecord) -> Option<R>,
    ) -> Option<StoredPki<R>> {
        let (record, revision) = self.records.get(key)?;
        Some(StoredPki { record: pick(record)?, revision: *revision })
    }

    fn host(&self, machine: &MachineId) -> Option<StoredPki<HostRecord>> {
        self.found(&PkiKey::Host(machine.clone()), |record| match record {
            PkiRecord::Host(_, host) => Some(host.clone()),
            _ => None,
        })
    }

    fn token(&self, id: TokenId) -> Option<StoredPki<JoinRecord>> {
        self.found(&PkiKey::Join(id), |record| match record {
            PkiRecord::Join(_, token) => Some(token.clone()),
            _ => None,
        })
    }

    fn state(&self) -> Option<StoredPki<muster_common::pki::AuthorityState>> {
        self.found(&PkiKey::State, |record| match record {
            PkiRecord::State(state) => Some(state.clone()),
            _ => None,
        })
    }

    pub(crate) fn host_key(&self, machine: &MachineId) -> Option<KeyHash> {
        self.host(machine).map(|host| host.record.key)
    }

    pub(crate) fn commit(&mut self, change: &PkiChange) -> bool {
        let holds = |(key, revision): &(PkiKey, u64)| {
            self.records.get(key).map_or(0, |(_, found)| *found) == *revision
        };
        if !change.guards.iter().all(holds) {
            return false;
        }
        self.revision += 1;
        for write in &change.writes {
            self.records.insert(write.key(), (write.clone(), self.revision));
        }
        for removal in &change.removals {
            self.records.remove(removal);
        }
        true
    }

    pub(crate) fn remove(&mut self, key: &PkiKey) {
        self.records.remove(key);
    }

    pub(crate) fn decide(&self, wish: &Wish) -> JoinDecision {
        let basis = JoinBasis {
            cluster: CLUSTER,
            state: self.state().unwrap(),
            trusted: BTreeMap::from([(1, named_hash(OUR_PIN))]),
            host: self.host(&wish.0.machine),
            token: self.token(wish.0.token),
        };
        decide_join(&wish.0, &basis, self.now)
    }

    pub(crate) fn renew(&self, machine: &str, key: &str) -> RenewalDecision {
        let machine: MachineId = machine.parse().unwrap();
        let certificate = HostCertificate {
            name: CertifiedName::of_machine(&machine, CLUSTER).unwrap(),
            role: HostRole::Agent,
            key: named_hash(key),
            validity: Validity::of_host(START),
        };
        let basis = RenewalBasis { state: self.state().unwrap(), host: self.host(&machine) };
        decide_renewal(&certificate, 1, &basis, self.now)
    }

    pub(crate) fn begin(&mut self, machine: &str, options: &Options) -> String {
        let key = options.get("authority").unwrap();
        let cluster = options.get("cluster").map(|number| number.parse().unwrap());
        let cluster = cluster.map_or(CLUSTER, ClusterId::from_number);
        let now = self.now;
        let authority = self.authorities.entry(key.to_owned()).or_insert_with(|| {
            let serial = SerialNumber([1; SerialNumber::LENGTH]);
            let made =
                Authority::create(cluster, 1, PrivateKey::generate_key().unwrap(), now, serial);
            made.unwrap().own_certificate().clone()
        });
        let request = BeginRequest {
            machine: machine.parse().unwrap(),
            host_key: named_hash(options.get("key").unwrap()),
            authority: Some(authority.clone()),
            by: "root".parse().unwrap(),
        };
        let current = self.found(&PkiKey::Authority(1), |record| match record {
            PkiRecord::Authority(_, found) => {
                AuthorityCertificate::from_pem(&found.certificate).ok()
            }
            _ => None,
        });
        let basis = BeginBasis {
            cluster: CLUSTER,
            state: self.state(),
            current: current.map(|found| found.record),
            host: self.host(&request.machine),
        };
        match decide_beginning(&request, &basis, now) {
            BeginDecision::Begin { name, validity, change, .. } => {
                assert!(self.commit(&change));
                let machine = name.machine();
                format!("{machine} begins, certificate until {}", validity.not_after)
            }
            BeginDecision::Refuse(refusal) => format!("refused: {refusal}"),
        }
    }

    pub(crate) fn order(&mut self, token: &str, options: &Options) -> String {
        let seconds = options.get("ttl").map_or(3600, |ttl| ttl.parse().unwrap());
        let order = TokenOrder {
            role: options.get("role").map_or(HostRole::Agent, |role| role.parse().unwrap()),
            ttl: Duration::from_secs(seconds),
            uses: options.get("uses").map_or(1, |uses| uses.parse().unwrap()),
            replaces: options.get("replace").map(|machine| machine.parse().unwrap()),
            by: "root".parse().unwrap(),
        };
        match self.mint(token, &order) {
            Ok(id) => format!("token {id}"),
            Err(refusal) => format!("refused: {refusal}"),
        }
    }

    pub(crate) fn order_token(
        &mut self,
        token: u8,
        is_server: bool,
        uses: u32,
        replaces: Option<&str>,
    ) -> Option<String> {
        let order = TokenOrder {
            role: if is_server { HostRole::Server } else { HostRole::Agent },
            ttl: Duration::from_secs(3600),
            uses,
            replaces: replaces.map(|machine| machine.parse().unwrap()),
            by: FreeText::default(),
        };
        self.mint(letter(token), &order).ok()
    }

    fn mint(&mut self, token: &str, order: &TokenOrder) -> Result<String, String> {
        let tokens =
            self.records.iter().filter_map(|(key, (record, revision))| match (key, record) {
                (PkiKey::Join(id), PkiRecord::Join(_, record)) => {
                    Some((*id, StoredPki { record: record.clone(), revision: *revision }))
                }
                _ => None,
            });
        let basis = OrderBasis {
            state: self.state(),
            pin: named_hash(OUR_PIN),
            replaced: order.replaces.as_ref().and_then(|machine| self.host(machine)),
            tokens: tokens.collect(),
        };
        let drawn = (token_id(token), token_secret(token));
        let minted =
            mint_token(order, drawn, &basis, self.now).map_err(|error| error.to_string())?;
        assert!(self.commit(&minted.change));
        let read: muster_identity::JoinToken = minted.token.to_text().parse().unwrap();
        assert!(read.secret.matches_hash(&token_secret(token).hash()));
        Ok(minted.token.id.to_string())
    }

    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        for (record, _) in self.records.values() {
            match record {
                PkiRecord::State(state) => {
                    let _ = writeln!(text, "authority {} since {}", state.current, state.since);
                }
                PkiRecord::Authority(..) => {}
                PkiRecord::Host(machine, host) => {
                    let HostRecord { role, joined, by, bundle, not_after, key: _ } = host;
                    let _ = writeln!(
                        text,
                        "host {machine}: {role}, joined {joined} by {by}, believes {bundle}, until {not_after}"
                    );
                }
                PkiRecord::Join(id, token) => {
                    let JoinRecord { role, expires, uses, replaces, by, secret: _ } = token;
                    let replaces = replaces.as_ref().map_or("none", |machine| machine.as_str());
                    let _ = writeln!(
                        text,
                        "token {id}: {role}, until {expires}, {uses} left, replaces {replaces}, by {by}"
                    );
                }
            }
        }
        text
    }
}
