//! What to do about each violation.
//!
//! Owns the next step, with the command where there is one. Most that is not settled is the daemons' own affair: if it stays, their
//! logs say why, and the way out says whose.

use muster_common::machine::MachineId;
use muster_common::unit::UnitName;

use super::Violation;

/// Where placing is decided.
const LEADER_LOG: &str = "it is the leader's to change: `musterctl plan` shows what it would do, and `journalctl -u musterd` on \
                          the leading machine why it does not";

/// Where placements are carried out.
const MACHINE_LOG: &str =
    "it is that machine's daemon's to change: `journalctl -u musterd` there says what keeps it";

impl Violation {
    /// The next step, as a sentence, with the commands to run.
    pub fn way_out(&self) -> String {
        let unit = self.unit().map_or("UNIT", UnitName::as_str);
        let machines = self.machines();
        let machine = machines.first().map_or("MACHINE", MachineId::as_str);
        self.general_way_out().replace("UNIT", unit).replace("MACHINE", machine)
    }

    /// The same for any unit and machine.
    fn general_way_out(&self) -> &'static str {
        match self {
            Self::PlacedTwice { .. } => {
                "`musterctl unload UNIT` takes it off both, `musterctl start UNIT` puts it on one; please report how it came to be"
            }
            Self::RunsTwice { .. } => {
                "stop it on one of them at once (`systemctl stop UNIT` there): two that keep the same data harm it"
            }
            Self::TemplatePlaced { .. } => "`musterctl unload UNIT`; templates are never started",
            Self::ConflictTogether { .. } => {
                "`musterctl unload UNIT` and start it again; please report how it came to be"
            }
            Self::FileMissing { .. } => "`musterctl submit --replace FILE` stores it again",
            Self::RecordWithoutLease { .. } => {
                "delete the record in etcd; its machine writes it again, under its lease"
            }
            Self::SlotTwice { .. } => "`musterctl reboot unlock` frees both; see docs/reboots.md",
            Self::OtherCluster { .. } => {
                "point that machine at its own store, or the others: `etcd.endpoints` and `prefix` in muster.toml say which it is"
            }
            Self::StoreUnread { .. } => {
                "repair the store: `journalctl -u musterd` and etcd's own log say what is wrong; units that run go on"
            }
            Self::RecordUnreadable { .. } => {
                "destroy the unit and submit it again, or delete the record in etcd; a newer daemon may be able to read it"
            }
            Self::LeaderMissing => {
                "at least one machine needs the role `engine`; if one has it, its log says why it does not lead"
            }
            Self::LeaderWithoutLease { .. }
            | Self::LeadsTwice { .. }
            | Self::LeaderUnaware { .. } => {
                "it passes with the lease of the one that does not lead; if it stays, restart musterd on that machine"
            }
            Self::Frozen { .. } | Self::MemberMissing { .. } => {
                "bring the machine back; `musterctl unfreeze` lets its units be placed anew without it"
            }
            Self::SlotsAboveMax { .. } => {
                "if max was lowered it passes when they have rebooted; `musterctl reboot status` shows them"
            }
            Self::SlotOfNobody { .. } | Self::HeldForLong { .. } => {
                "look after that host; `musterctl reboot unlock` frees its slot if it will not come back"
            }
            Self::MemberUnlisted { .. }
            | Self::UnitUnplaced { .. }
            | Self::GlobalMissing { .. }
            | Self::PlacementWithoutMachine { .. }
            | Self::PlacementUnwanted { .. }
            | Self::PlacementOutdated { .. }
            | Self::PlacementUnsuitable { .. }
            | Self::MoveUnfinished { .. } => LEADER_LOG,
            Self::StateWithoutMachine { .. } => "it ends with that machine's lease",
            Self::StateOfNobody { .. }
            | Self::StateMissing { .. }
            | Self::NotCarriedOut { .. }
            | Self::StaleState { .. }
            | Self::RunsUnplaced { .. }
            | Self::OwnedUnplaced { .. }
            | Self::LastKnownDiffers { .. } => MACHINE_LOG,
            Self::OldTextRuns { .. } => "`musterctl restart UNIT` starts it from its file",
            Self::MachineSilent { .. } => {
                "look after musterd on that machine, and after the way there: its port may be closed"
            }
            Self::MachineUnregistered { .. } => {
                "`curl --unix-socket /run/muster/muster.sock http://localhost/healthz` there says why"
            }
            Self::MachineTwice { .. } => {
                "if a machine was cloned: `rm -f /etc/machine-id /var/lib/dbus/machine-id && systemd-machine-id-setup` on the \
                 clone, and restart it"
            }
            Self::AddressTwice { .. } | Self::OtherMachineAnswers { .. } => {
                "give each machine its own address: `address` and `http.listen` in muster.toml"
            }
            Self::ComponentFailed { .. } | Self::RunnerUnseen { .. } => {
                "look at that machine: `journalctl -u musterd` there has more"
            }
            Self::UnitWaits { .. } => {
                "`musterctl plan` shows it as long as it is so; `musterctl unload UNIT` ends the wait"
            }
            Self::UnitFailed { .. } => {
                "`musterctl status UNIT` and `musterctl journal UNIT` say more"
            }
            Self::FileOfNobody { .. } => {
                "nothing: it is small, and goes with the next unreadable unit that is destroyed"
            }
            Self::CordonOfNobody { .. }
            | Self::MetadataOfNobody { .. }
            | Self::RebootOfNobody { .. } => {
                "nothing if it is to come back; otherwise `musterctl forget MACHINE`"
            }
            Self::MachineUnasked { .. } => "run `musterctl doctor` on that machine as well",
            Self::ClockOff { .. } => {
                "let a time service set it; no decision rests on it, but times in lists are wrong"
            }
            Self::VersionMixed { .. } => "nothing during an upgrade; after it, upgrade the rest",
            Self::StoreWarning { .. } => {
                "docs/operations.md says what each warning about the store means"
            }
        }
    }
}
