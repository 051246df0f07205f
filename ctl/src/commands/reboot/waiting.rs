//! Waiting for a slot, and for machines to reboot, by the daemon's events.
//!
//! Owns what an event means for the wait. It takes no slot and asks for no reboot.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_client::{ApiRequest, ClientError, Limits, ResumableRequest, escape_segment};
use muster_common::api::reboot::{RebootEvent, Reboots, Requested};
use muster_common::boot::BootMark;
use muster_common::machine::MachineId;
use muster_common::reboot::{Group, HolderId, HostStatus, Phase, WaitReason};
use muster_common::text::clean_text;

use super::names::{holder_label, machine_label};
use super::status::wait_text;
use crate::error::Error;
use crate::follow::{Awaited, Followable};
use crate::output::console::Console;
use crate::output::time;

/// Until there is a slot, or it is held already.
pub(super) struct SlotWait<'a> {
    known: &'a Reboots,
    group: &'a Group,
    /// The holder that wants it; absent: the machine whose daemon is asked.
    id: Option<&'a HolderId>,
    free: bool,
    status_text: String,
    troubles: DegradedNotices,
}

impl<'a> SlotWait<'a> {
    pub(super) fn new(known: &'a Reboots, group: &'a Group, id: Option<&'a HolderId>) -> Self {
        let status_text = format!("waiting for a slot of group {group}");
        Self { known, group, id, free: false, status_text, troubles: DegradedNotices::default() }
    }
}

impl ResumableRequest for SlotWait<'_> {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        let group = escape_segment(self.group.as_str());
        Ok(ApiRequest::get(format!("/v1/reboot/watch?group={group}")))
    }
}

impl Followable for SlotWait<'_> {
    fn handle_event(&mut self, console: &mut Console, data: &str) -> Result<(), Error> {
        let Some(now) = self.troubles.read_event(console, data) else { return Ok(()) };
        let Some(slots) = now.groups.iter().find(|slots| slots.name == *self.group) else {
            return Ok(());
        };
        let own = HolderId::from(&now.machine);
        self.free = slots.available > 0 || slots.find_holder(self.id.unwrap_or(&own)).is_some();
        let holders: Vec<String> =
            slots.holders.iter().map(|holder| holder_label(self.known, &holder.id)).collect();
        self.status_text = if holders.is_empty() {
            format!("waiting for a slot of group {}: it has none", self.group)
        } else {
            format!("waiting for a slot of group {}: held by {}", self.group, holders.join(", "))
        };
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.free
    }

    fn progress_line(&self) -> String {
        self.status_text.clone()
    }

    fn list_awaited(&self) -> Vec<Awaited> {
        vec![Awaited { sentence: self.status_text.clone(), machine: None }]
    }
}

/// Until machines have rebooted and given their slots back.
pub(super) struct RebootWait<'a> {
    known: &'a Reboots,
    pending: BTreeMap<MachineId, AwaitedHost>,
    total: usize,
    /// The outcome of those that are not waited for any more.
    pub(super) ended: BTreeMap<MachineId, RebootEnd>,
    troubles: DegradedNotices,
}

/// A machine that is waited for.
struct AwaitedHost {
    /// The boot it was asked in; absent while it has not said.
    boot: Option<BootMark>,
    status_text: String,
    /// The failed attempt that was told last.
    shown_problem: Option<String>,
}

/// The end of the wait for a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RebootEnd {
    Rebooted,
    Cancelled,
}

/// The state of a machine that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RebootStanding {
    Ended(RebootEnd),
    Going(String),
}

impl<'a> RebootWait<'a> {
    pub(super) fn new(known: &'a Reboots, asked: &[Requested]) -> Self {
        let awaited = |answer: &Requested| AwaitedHost {
            boot: answer.host.as_ref().map(HostStatus::boot_mark),
            status_text: "nothing heard yet".to_owned(),
            shown_problem: None,
        };
        let pending: BTreeMap<_, _> =
            asked.iter().map(|answer| (answer.id.clone(), awaited(answer))).collect();
        let total = pending.len();
        Self { known, pending, total, ended: BTreeMap::new(), troubles: DegradedNotices::default() }
    }

    /// The machines still waited for, in words: `1111.../10.0.0.1 (draining) is`.
    pub(super) fn describe_pending(&self) -> String {
        let names: Vec<String> = self
            .pending
            .iter()
            .map(|(id, awaited)| {
                format!("{} ({})", machine_label(self.known, id), awaited.status_text)
            })
            .collect();
        format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
    }
}

impl ResumableRequest for RebootWait<'_> {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        Ok(ApiRequest::get("/v1/reboot/watch"))
    }

    /// The daemon that is asked may be on a machine that reboots, and is away for as long as that takes.
    fn give_up_after(&self, limits: &Limits) -> Option<Duration> {
        let reboots = self.pending.contains_key(&self.known.machine);
        (!reboots).then_some(limits.request)
    }
}

impl Followable for RebootWait<'_> {
    fn handle_event(&mut self, console: &mut Console, data: &str) -> Result<(), Error> {
        let Some(now) = self.troubles.read_event(console, data) else { return Ok(()) };
        let mut ended = Vec::new();
        for (id, awaited) in &mut self.pending {
            let host = now.hosts.iter().find(|host| host.machine == *id).map(|host| &host.status);
            let asked = now.requests.iter().any(|wish| wish.machine == *id);
            let holds =
                now.groups.iter().any(|slots| slots.find_holder(&HolderId::from(id)).is_some());
            // The first it says, if it never said before.
            if awaited.boot.is_none() {
                awaited.boot = host.filter(|_| asked).map(HostStatus::boot_mark);
            }
            match reboot_standing(awaited.boot.as_ref(), host, asked, holds) {
                RebootStanding::Ended(end) => ended.push((id.clone(), end)),
                RebootStanding::Going(status_text) => awaited.status_text = status_text,
            }
            let failed =
                host.into_iter().flat_map(|host| &host.waits).find_map(|wait| match wait {
                    WaitReason::Retry { problem, .. } => Some(problem),
                    _ => None,
                });
            if failed.is_some() && awaited.shown_problem.as_ref() != failed {
                awaited.shown_problem = failed.cloned();
                console.print_warning(format_args!(
                    "{} {}",
                    machine_label(self.known, id),
                    awaited.status_text
                ));
            }
        }
        for (id, end) in ended {
            let who = machine_label(self.known, &id);
            match end {
                RebootEnd::Rebooted if console.is_json() => {}
                RebootEnd::Rebooted => console.print_text(&format!("{who} has rebooted\n"))?,
                RebootEnd::Cancelled => console.print_error(format_args!(
                    "{who} is not asked to reboot any more: somebody took the request back"
                )),
            }
            self.pending.remove(&id);
            self.ended.insert(id, end);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.pending.is_empty()
    }

    fn progress_line(&self) -> String {
        let done = self.total - self.pending.len();
        let next = self.pending.iter().next();
        let next = next.map(|(id, awaited)| {
            format!(": {} {}", machine_label(self.known, id), awaited.status_text)
        });
        format!("{done}/{}{}", self.total, next.unwrap_or_default())
    }

    fn list_awaited(&self) -> Vec<Awaited> {
        let waits = |(id, awaited): (&MachineId, &AwaitedHost)| Awaited {
            sentence: format!(
                "{} is to reboot: {}",
                machine_label(self.known, id),
                awaited.status_text
            ),
            machine: Some(id.clone()),
        };
        self.pending.iter().map(waits).collect()
    }
}

/// Returns the state of a machine that was asked in one boot (`None`: it is not known in which). It has rebooted when it is in
/// another one, is done with what comes after, and neither holds a slot nor is asked any more.
fn reboot_standing(
    boot: Option<&BootMark>,
    host: Option<&HostStatus>,
    asked: bool,
    holds: bool,
) -> RebootStanding {
    let Some(host) = host else {
        return match (asked, boot) {
            (false, None) => RebootStanding::Ended(RebootEnd::Cancelled),
            _ => RebootStanding::Going("says nothing of reboots".to_owned()),
        };
    };
    let calm = matches!(host.phase, Phase::Idle | Phase::Due | Phase::Waiting | Phase::Unknown);
    let another = boot.is_some_and(|boot| !boot.is_same(&host.boot_mark()));
    if calm && !asked && !holds {
        // One that was never seen before it had rebooted cannot be told from one that never did.
        return RebootStanding::Ended(if another || boot.is_none() {
            RebootEnd::Rebooted
        } else {
            RebootEnd::Cancelled
        });
    }
    let why = host.waits.first().map(|wait| wait_text(wait, time::now()));
    RebootStanding::Going(match why {
        Some(why) => format!("{}: {why}", host.phase),
        None => host.phase.to_string(),
    })
}

/// Troubles of the daemon, each told once in a row.
#[derive(Default)]
struct DegradedNotices(Option<String>);

impl DegradedNotices {
    /// The status that an event tells, if it tells one.
    fn read_event(&mut self, console: &Console, data: &str) -> Option<Reboots> {
        // A later daemon may have events that this client does not know; they are not for it.
        match serde_json::from_str::<RebootEvent>(data) {
            Ok(RebootEvent::Status(now)) => {
                self.0 = None;
                Some(now)
            }
            Ok(RebootEvent::Degraded { message }) if self.0.as_ref() != Some(&message) => {
                console.print_warning(format_args!("{}; still waiting", clean_text(&message)));
                self.0 = Some(message);
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::tests::on_a_silent_stream;

    fn host(boot: &str, phase: Phase) -> HostStatus {
        HostStatus { boot: boot.to_owned(), phase, ..HostStatus::default() }
    }

    fn mark(boot: &str) -> BootMark {
        BootMark { machine: boot.to_owned(), userspace: Some("u1".to_owned()) }
    }

    fn nobody() -> Reboots {
        serde_json::from_value(serde_json::json!({
            "machine": "1".repeat(32), "groups": [], "hosts": [], "requests": [], "machines": [],
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_wait_for_a_slot_whose_stream_falls_silent_does_not_hang() {
        let (known, group) = (nobody(), Group::default());
        let problem = on_a_silent_stream(SlotWait::new(&known, &group, None)).await;
        assert!(problem.ends_with("has said nothing for 35s"), "{problem}");
    }

    #[tokio::test]
    async fn a_wait_for_reboots_whose_stream_falls_silent_does_not_hang() {
        let asked: Requested = serde_json::from_value(serde_json::json!({
            "id": "2".repeat(32), "anew": true, "host": {"phase": "idle", "boot": "b1"},
            "request": {"machine": "2".repeat(32), "by": "ann", "at": 1},
        }))
        .unwrap();
        let known = nobody();
        let problem = on_a_silent_stream(RebootWait::new(&known, &[asked])).await;
        assert!(problem.ends_with("has said nothing for 35s"), "{problem}");
    }

    #[test]
    fn a_machine_has_rebooted_when_it_is_back_well_and_without_its_slot() {
        let rebooted = RebootStanding::Ended(RebootEnd::Rebooted);
        let stand = |boot, phase, asked, holds| {
            reboot_standing(Some(&mark("b1")), Some(&host(boot, phase)), asked, holds)
        };
        let soft = HostStatus { userspace: Some("u2".to_owned()), ..host("b1", Phase::Idle) };
        assert_eq!(reboot_standing(Some(&mark("b1")), Some(&soft), false, false), rebooted);
        assert_eq!(stand("b2", Phase::Idle, false, false), rebooted);
        assert_eq!(stand("b2", Phase::Waiting, false, false), rebooted, "the next one may be due");
        for (boot, phase, asked, holds) in [
            ("b1", Phase::Waiting, true, false),
            ("b1", Phase::Rebooting, true, true),
            ("b2", Phase::Settling, false, true),
            ("b2", Phase::Idle, false, true),
            ("b2", Phase::Idle, true, false),
            ("b2", Phase::Releasing, false, false),
        ] {
            let going = stand(boot, phase, asked, holds);
            assert_eq!(
                going,
                RebootStanding::Going(phase.to_string()),
                "{boot} {phase} {asked} {holds}"
            );
        }
    }

    #[test]
    fn a_request_that_is_gone_without_a_reboot_was_taken_back() {
        let cancelled = RebootStanding::Ended(RebootEnd::Cancelled);
        let idle = host("b1", Phase::Idle);
        assert_eq!(reboot_standing(Some(&mark("b1")), Some(&idle), false, false), cancelled);
        assert_eq!(reboot_standing(None, None, false, false), cancelled);
        // Nothing was taken back while it goes about it.
        let draining = host("b1", Phase::Draining);
        assert_eq!(
            reboot_standing(Some(&mark("b1")), Some(&draining), false, true),
            RebootStanding::Going("draining".to_owned())
        );
    }

    #[test]
    fn a_machine_that_never_said_how_far_it_is_is_waited_for_while_it_is_asked() {
        let silent = RebootStanding::Going("says nothing of reboots".to_owned());
        assert_eq!(reboot_standing(None, None, true, false), silent);
        assert_eq!(
            reboot_standing(None, Some(&host("b1", Phase::Idle)), false, false),
            RebootStanding::Ended(RebootEnd::Rebooted)
        );
    }

    #[test]
    fn machines_that_are_waited_for_are_named_with_how_far_they_are() {
        let id = "2".repeat(32);
        let known: Reboots = serde_json::from_value(serde_json::json!({
            "machine": id, "groups": [], "hosts": [], "requests": [], "machines": [],
        }))
        .unwrap();
        let asked: Requested = serde_json::from_value(serde_json::json!({
            "id": id, "anew": true, "host": {"phase": "idle", "boot": "b1"},
            "request": {"machine": id, "by": "ann", "at": 1},
        }))
        .unwrap();
        let mut waited = RebootWait::new(&known, &[asked]);
        assert_eq!(waited.describe_pending(), "22222222... (nothing heard yet) is");
        let event = serde_json::json!({
            "event": "status", "machine": id, "groups": [], "machines": [],
            "hosts": [{"machine": id, "phase": "waiting", "boot": "b1", "since": 1}],
            "requests": [{"machine": id, "by": "ann", "at": 1}],
        });
        let mut console = Console::new(crate::output::console::Format::Table);
        waited.handle_event(&mut console, &event.to_string()).unwrap();
        assert_eq!(waited.describe_pending(), "22222222... (waiting) is");
    }
}
