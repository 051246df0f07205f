//! Rolling reboots seen from outside: the records as they stand in the store, and a roll watched from its first slot to
//! its last.
//!
//! Owns reading and waiting. It reads etcd, not Muster, so that what Muster says can be held against it; what is right is
//! for the caller to say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::PREFIX;
use crate::lab::{Answer, CONFIGURATION, ETCD_PORT, Host, Lab, Options, Request, wait_until};

/// The group that is there without anybody having made it.
pub const DEFAULT: &str = "default";

/// The time three hosts may take for their reboots, one after the other, on a machine that is slow at times.
pub const ROLL_TIMEOUT: Duration = Duration::from_secs(180);

/// Where a host notes each of its boots, when [`Reboots::count_boots`] has asked it to.
const BOOTS: &str = "/var/lib/boots";

/// A group's slots.
#[derive(Debug, Clone, Deserialize)]
pub struct Slots {
    /// The number of slots.
    pub max: u32,
    /// Who has one.
    #[serde(default)]
    pub holders: Vec<Holder>,
}

/// Who has a slot.
#[derive(Debug, Clone, Deserialize)]
pub struct Holder {
    /// A machine's id, or what a client calls itself.
    pub id: String,
}

/// The state of a host.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Status {
    /// Its phase.
    pub phase: String,
    /// Why it waits; the kind is under `reason`.
    #[serde(default)]
    pub waits: Vec<Value>,
    /// Why a reboot is due; the kind is under `source`.
    #[serde(default)]
    pub due: Vec<Value>,
}

impl Status {
    /// The wait of a kind, such as `slots-taken`.
    pub fn wait(&self, reason: &str) -> Option<&Value> {
        self.waits.iter().find(|wait| wait.get("reason").is_some_and(|kind| kind == reason))
    }
}

/// A slot that was held.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// By whom.
    pub id: String,
    /// Seconds since the Unix epoch.
    pub taken: u64,
    /// Seconds since the Unix epoch.
    pub freed: u64,
    /// Its end.
    pub outcome: String,
    /// Why it was given up.
    #[serde(default)]
    pub problem: String,
    /// Why the reboot was due.
    #[serde(default)]
    pub due: Vec<Value>,
    /// The phases it went through.
    #[serde(default)]
    pub phases: Vec<PhaseLength>,
}

impl Entry {
    /// The names of the phases, in order.
    pub fn phase_names(&self) -> Vec<&str> {
        self.phases.iter().map(|span| span.phase.as_str()).collect()
    }
}

/// A phase and how long it lasted.
#[derive(Debug, Clone, Deserialize)]
pub struct PhaseLength {
    /// The phase.
    pub phase: String,
    /// Seconds.
    pub seconds: u64,
}

/// What etcd's JSON gateway answers; keys and values are in base64.
#[derive(Debug, Deserialize)]
struct EtcdRange {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Debug, Deserialize)]
struct KeyValue {
    value: String,
}

#[derive(Debug, Deserialize)]
struct History {
    entries: Vec<Entry>,
}

/// One slot held, as it was watched.
#[derive(Debug, Clone)]
pub struct HeldSlot {
    /// A host's name, or the id of another holder.
    pub holder: String,
    /// When it was first seen.
    pub taken: Instant,
    /// When it was first seen to be gone.
    pub freed: Option<Instant>,
}

/// The slots as they were watched.
#[derive(Debug, Clone, Default)]
pub struct SlotRecord {
    /// Slots in the order in which they were taken.
    pub held: Vec<HeldSlot>,
    /// Most that were held at once.
    pub most: usize,
}

/// The reboots of a lab's hosts.
#[derive(Debug)]
pub struct Reboots<'a>(&'a Lab);

/// Three hosts whose daemons have these lines under `[reboot]`.
pub fn options_with(lines: &str) -> Options {
    Options { configuration: format!("[reboot]\n{lines}\n"), ..Options::default() }
}

impl<'a> Reboots<'a> {
    /// Of this lab.
    pub fn for_lab(lab: &'a Lab) -> Self {
        Self(lab)
    }

    /// A record, if there is one, from whichever member of etcd answers.
    ///
    /// Asked from outside: a command on a host that goes down holds its shutdown up, by ten seconds at a time, since systemd
    /// waits for a process whose end it is not told of.
    pub fn read_record<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let whole = format!("{PREFIX}{key}");
        let body = format!(r#"{{"key":"{}"}}"#, BASE64_STANDARD.encode(&whole));
        let path = "/v3/kv/range";
        let request = Request { method: "POST", path, body: &body, ..Request::get(path) };
        let mut silent = anyhow!("no host is up");
        for host in self.0.hosts().iter().filter(|host| host.is_up()) {
            match self.0.send_request(host, ETCD_PORT, request) {
                Ok(Answer { status: 200, body }) => return read(&body).context(whole),
                Ok(answer) => {
                    silent = anyhow!("{}: {} {}", host.name(), answer.status, answer.body);
                }
                Err(error) => silent = error.context(host.name().to_owned()),
            }
        }
        Err(silent.context(whole))
    }

    /// The slots of a group.
    pub fn read_slots(&self, group: &str) -> Result<Slots> {
        let found = self.read_record(&format!("reboot/{group}"))?;
        Ok(found.unwrap_or(Slots { max: 1, holders: Vec::new() }))
    }

    /// Who holds slots of a group: names of hosts, ids of others.
    pub fn list_holders(&self, group: &str) -> Result<BTreeSet<String>> {
        let holders = self.read_slots(group)?.holders;
        Ok(holders.into_iter().map(|holder| self.name(&holder.id)).collect())
    }

    /// The history, the oldest entry first.
    pub fn read_history(&self, group: &str) -> Result<Vec<Entry>> {
        let found: Option<History> = self.read_record(&format!("reboot-history/{group}"))?;
        Ok(found.map_or_else(Vec::new, |history| history.entries))
    }

    /// The state that a host reported.
    pub fn status(&self, host: &Host) -> Result<Status> {
        Ok(self.read_record(&format!("reboot-host/{}", host.machine_id()))?.unwrap_or_default())
    }

    /// The name of the host with this id, or the id.
    fn name(&self, id: &str) -> String {
        self.0.host_with_id(id).map_or_else(|_| id.to_owned(), |host| host.name().to_owned())
    }

    /// Waits until a host says that it is in this phase.
    pub fn wait_for_phase(&self, host: &Host, phase: &str) -> Result<Duration> {
        wait_until(&format!("{} in {phase}", host.name()), ROLL_TIMEOUT, || {
            let status = self.status(host)?;
            ensure!(status.phase == phase, "it is {status:?}");
            Ok(())
        })
    }

    /// Waits until a host says that it waits for this reason; how it says so.
    pub fn wait_for_reason(&self, host: &Host, reason: &str) -> Result<Value> {
        let mut found = Value::Null;
        wait_until(&format!("{} to wait: {reason}", host.name()), ROLL_TIMEOUT, || {
            let status = self.status(host)?;
            found = status.wait(reason).with_context(|| format!("it is {status:?}"))?.clone();
            anyhow::Ok(())
        })?;
        Ok(found)
    }

    /// Waits until so many slots of a group have been freed since the beginning, and none is held.
    pub fn wait_for_freed(&self, group: &str, count: usize) -> Result<Vec<Entry>> {
        let mut history = Vec::new();
        wait_until(&format!("{count} slots freed"), ROLL_TIMEOUT, || {
            history = self.read_history(group)?;
            let holders = self.list_holders(group)?;
            let done = history.len() == count && holders.is_empty();
            ensure!(done, "held by {holders:?}, freed: {}", format_history(&history));
            Ok(())
        })?;
        Ok(history)
    }

    /// Follows a group's slots until so many have been taken and freed, and none is held.
    pub fn watch(
        &self,
        group: &str,
        count: usize,
        mut say: impl FnMut(&str),
    ) -> Result<SlotRecord> {
        let mut roll = SlotRecord::default();
        let mut entries_before = None;
        wait_until(&format!("{count} slots taken and freed"), ROLL_TIMEOUT, || {
            let now = Instant::now();
            let holders = self.list_holders(group)?;
            roll.most = roll.most.max(holders.len());
            for held in roll.held.iter_mut().filter(|held| held.freed.is_none()) {
                if !holders.contains(&held.holder) {
                    held.freed = Some(now);
                    let seconds = (now - held.taken).as_secs_f64();
                    say(&format!("slot freed by {} after {seconds:.1} s", held.holder));
                }
            }
            for holder in holders {
                if !roll.held.iter().any(|held| held.holder == holder && held.freed.is_none()) {
                    say(&format!("slot taken by {holder}"));
                    roll.held.push(HeldSlot { holder, taken: now, freed: None });
                }
            }
            // While the store has no quorum nobody can look, and a quick host may be back before anybody can again.
            let history = self.read_history(group)?;
            let before = *entries_before.get_or_insert(history.len());
            for entry in history.iter().skip(before) {
                let holder = self.name(&entry.id);
                if !roll.held.iter().any(|held| held.holder == holder) {
                    say(&format!("slot taken and freed by {holder} between two looks"));
                    roll.held.push(HeldSlot { holder, taken: now, freed: Some(now) });
                }
            }
            let freed = roll.held.iter().filter(|held| held.freed.is_some()).count();
            let done = freed == count && roll.held.len() == count;
            ensure!(done, "{roll:?}");
            Ok(())
        })?;
        Ok(roll)
    }

    /// Has every host note each of its boots from now on.
    pub fn count_boots(&self) -> Result<()> {
        let unit = format!(
            "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/boot_id >> {BOOTS}'\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        self.0.for_each_host(|_, host| {
            host.write_file("/etc/systemd/system/count-boots.service", &unit)?;
            host.exec(&["systemctl", "enable", "--quiet", "--now", "count-boots"])?.ensure_success()
        })?;
        Ok(())
    }

    /// The number of boots of each host since [`Reboots::count_boots`], by name.
    pub fn boot_counts(&self) -> Result<BTreeMap<String, usize>> {
        let mut boots = BTreeMap::new();
        for host in self.0.hosts() {
            let ids: BTreeSet<String> =
                host.read_file(BOOTS)?.lines().map(ToOwned::to_owned).collect();
            boots.insert(host.name().to_owned(), ids.len().saturating_sub(1));
        }
        Ok(boots)
    }

    /// Puts other lines under a host's `[reboot]`, and has its daemon read them.
    pub fn configure_host(&self, host: &Host, lines: &str) -> Result<()> {
        let file = host.read_file(CONFIGURATION)?;
        let rest = file.split_once("\n[reboot]\n").map_or(file.as_str(), |(rest, _)| rest);
        host.write_file(CONFIGURATION, &format!("{rest}\n[reboot]\n{lines}\n"))?;
        host.exec(&["systemctl", "restart", "musterd"])?.ensure_success()?;
        Ok(())
    }
}

/// The value in etcd's answer to a range of one key.
fn read<T: DeserializeOwned>(answer: &str) -> Result<Option<T>> {
    let range: EtcdRange = serde_json::from_str(answer).context("etcd's answer")?;
    let Some(found) = range.kvs.first() else { return Ok(None) };
    let value = BASE64_STANDARD.decode(&found.value).context("etcd's answer")?;
    let value = String::from_utf8(value).context("the record")?;
    serde_json::from_str(&value).map(Some).context(value)
}

/// A history, one entry a line, for errors and for people.
pub fn format_history(history: &[Entry]) -> String {
    let mut text = String::new();
    for entry in history {
        let Entry { id, taken, freed, outcome, problem, .. } = entry;
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {id}: {taken} to {freed}, {outcome} {problem};");
        for span in &entry.phases {
            let _ = write!(text, " {} {} s", span.phase, span.seconds);
        }
    }
    text
}
