//! The real host: systemd and logind over D-Bus, `wall` for words to users.
//!
//! Owns one connection to the system bus, made when it is first needed and again when it broke. It is quiet while nothing
//! is due. It calls whoever owns logind's name at that moment, and believes nobody else's replies.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use muster_common::reboot::RebootMethod;
use muster_engine::reboot::phase::Inhibitor;
use muster_engine::reboot::ways::{check_kexec, check_soft_reboot};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};
use zbus::zvariant::{DynamicType, Type};
use zbus::{Message, OwnedObjectPath, OwnedVariant};

use super::identity;
use super::power::{HostError, HostPower};
use super::wakes::WakeTimer;
use crate::bus::{self, BusMessage, CallError, Calls, Method, NameWatch};

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
const SYSTEMD_MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SYSTEMD_UNIT: &str = "org.freedesktop.systemd1.Unit";
const SYSINIT_PATH: &str = "/org/freedesktop/systemd1/unit/sysinit_2etarget";
const SOFT_REBOOT_PATH: &str = "/org/freedesktop/systemd1/unit/soft_2dreboot_2etarget";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Time that logind has to say whether the host goes down. A daemon that stops waits for it, and an upgrade is not to be held up by
/// a logind that hangs; systemd's own word, which is asked for first, decides where the host goes without logind.
const SHUTDOWN_WORD_LIMIT: Duration = Duration::from_secs(2);
/// logind's word that a shutdown begins, or was called off.
const PREPARES: &str = "type='signal',sender='org.freedesktop.login1',path='/org/freedesktop/login1',\
                        interface='org.freedesktop.login1.Manager',member='PrepareForShutdown'";
/// logind's flags for `RebootWithFlags` (org.freedesktop.login1(5)). No test has seen a host go through a loaded kernel: hosts of
/// tests share one.
const VIA_KEXEC: u64 = 1 << 1;
const SOFT_REBOOT: u64 = 1 << 2;
/// `1` while a kernel is loaded for kexec, which logind passes over in silence where none is.
const KEXEC_LOADED: &str = "/sys/kernel/kexec_loaded";

/// Pause before logind is listened to again after the line to the bus has broken.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);
/// logind answers at once; one that has to be started first takes a few seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// systemd and logind on the system bus.
#[derive(Debug, Default)]
pub struct SystemdHost {
    /// Another bus than the system's (in tests).
    address: Option<String>,
    calls: Mutex<Option<Calls>>,
    /// What logind says unasked.
    announcements: Mutex<Option<NameWatch>>,
    /// What the kernel says when it has slept; opened when somebody waits for it first.
    wakes: OnceCell<Option<WakeTimer>>,
}

/// `ListInhibitors`: what, who, why, mode, uid, pid.
type InhibitorRow = (String, String, String, String, u32, u32);

/// `ListSessions`: id, uid, user, seat, path.
type SessionRow = (String, u32, String, String, OwnedObjectPath);

impl SystemdHost {
    async fn call_logind<B, R>(
        &self,
        during: &'static str,
        place: (&str, &str, &str),
        body: &B,
    ) -> Result<R, HostError>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + Type,
    {
        self.call_service(NAME, during, place, body).await
    }

    async fn call_service<B, R>(
        &self,
        service: &str,
        during: &'static str,
        (path, interface, member): (&str, &str, &str),
        body: &B,
    ) -> Result<R, HostError>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + Type,
    {
        let away = |problem: String| HostError::Away { during, problem };
        let mut slot = self.calls.lock().await;
        // A line that was kept may have broken since: the bus was started anew. What is asked over it is not asked a second time.
        let kept = slot.take().filter(|calls| !calls.is_closed());
        let calls = if let Some(calls) = kept {
            calls
        } else {
            let connection = bus::connect(self.address.as_deref()).await;
            Calls::new(connection.map_err(|error| away(error.to_string()))?, ANSWER_LIMIT)
        };
        match call_owner(&calls, service, Method { path, interface, member }, body).await {
            Ok(reply) => {
                *slot = Some(calls);
                reply.body().deserialize::<R>().map_err(|error| away(error.to_string()))
            }
            // It answered: the line is good.
            Err(CallError::Refused { problem, .. }) => {
                *slot = Some(calls);
                Err(HostError::Refused { during, problem })
            }
            Err(error) => Err(away(error.to_string())),
        }
    }

    async fn read_property(
        &self,
        during: &'static str,
        (path, interface, name): (&str, &str, &str),
    ) -> Result<OwnedVariant, HostError> {
        self.call_logind(during, (path, PROPERTIES, "Get"), &(interface, name)).await
    }

    /// Waits for logind's next word on whether the machine goes down.
    async fn next_announcement(&self) -> Result<bool, HostError> {
        let during = "hear whether the machine goes down";
        let away = |problem: String| HostError::Away { during, problem };
        let mut slot = self.announcements.lock().await;
        let mut watch = if let Some(watch) = slot.take() {
            watch
        } else {
            let connection = bus::connect(self.address.as_deref()).await;
            let connection = connection.map_err(|error| away(error.to_string()))?;
            let watch = NameWatch::open(connection, NAME, &[PREPARES]).await;
            watch.map_err(|error| away(error.to_string()))?
        };
        let said = loop {
            match watch.next().await.map_err(|error| away(error.to_string()))? {
                // It may have said so before we listened, or before it was started anew.
                BusMessage::Owner(Some(_)) => break self.is_preparing().await,
                BusMessage::Owner(None) => {}
                BusMessage::Signal(signal) => {
                    let header = signal.header();
                    let announced = bus::path_of(&header) == PATH
                        && bus::is_signal(&header, MANAGER, "PrepareForShutdown");
                    if let (true, Ok(goes)) = (announced, signal.body().deserialize::<bool>()) {
                        break goes;
                    }
                }
            }
        };
        *slot = Some(watch);
        Ok(said)
    }

    /// Tells whether logind prepares a shutdown, where it says so in time.
    async fn is_preparing(&self) -> bool {
        let during = "tell whether the machine goes down";
        let asked = self.read_property(during, (PATH, MANAGER, "PreparingForShutdown"));
        let answer = muster_runtime::timeout(SHUTDOWN_WORD_LIMIT, asked).await;
        let value = answer.ok().and_then(Result::ok);
        value.and_then(|value| bool::try_from(value).ok()).unwrap_or(false)
    }

    /// The state of the whole system in the words of its first process, such as `running`; `None`: it says nothing.
    async fn system_state(&self) -> Option<String> {
        let (during, place) =
            ("tell whether the machine goes down", (SYSTEMD_PATH, PROPERTIES, "Get"));
        let property = (SYSTEMD_MANAGER, "SystemState");
        let state: OwnedVariant =
            self.call_service(SYSTEMD, during, place, &property).await.ok()?;
        String::try_from(state).ok()
    }

    /// The version of its first process in its own words, such as `257.9-1~deb13u1`; `None`: it says nothing.
    async fn systemd_version(&self) -> Option<String> {
        let place = (SYSTEMD_PATH, PROPERTIES, "Get");
        let property = (SYSTEMD_MANAGER, "Version");
        let version: OwnedVariant =
            self.call_service(SYSTEMD, "tell its version", place, &property).await.ok()?;
        String::try_from(version).ok()
    }

    /// Tells whether a session is a person's and still there: greeters, and the managers of users' services, are nobody.
    async fn is_a_persons(&self, path: &str) -> bool {
        let during = "look at a session";
        let text = |value: Result<OwnedVariant, HostError>| {
            value.ok().and_then(|value| String::try_from(value).ok())
        };
        let class = text(self.read_property(during, (path, SESSION, "Class")).await);
        if !class.is_some_and(|class| class.starts_with("user")) {
            return false;
        }
        text(self.read_property(during, (path, SESSION, "State")).await)
            .is_none_or(|state| state != "closing")
    }
}

/// Calls a service, which the bus starts where it does not run.
async fn call_owner<B>(
    calls: &Calls,
    service: &str,
    method: Method<'_>,
    body: &B,
) -> Result<Message, CallError>
where
    B: Serialize + DynamicType + Sync,
{
    let absent = || CallError::Absent(service.to_owned());
    let owner = if let Some(owner) = calls.owner_of(service).await? {
        owner
    } else {
        calls.start(service).await?;
        calls.owner_of(service).await?.ok_or_else(absent)?
    };
    calls.call_method(&owner, method, body).await
}

#[async_trait]
impl HostPower for SystemdHost {
    fn boot_id(&self) -> String {
        identity::boot_id()
    }

    async fn userspace_id(&self) -> Option<String> {
        // Every service needs `sysinit.target`: when that has another run, all of them were stopped, whatever else has survived.
        let place = (SYSINIT_PATH, PROPERTIES, "Get");
        let property = (SYSTEMD_UNIT, "InvocationID");
        let asked = self.call_service(SYSTEMD, "tell its boot", place, &property);
        let answer: OwnedVariant =
            muster_runtime::timeout(SHUTDOWN_WORD_LIMIT, asked).await.ok()?.ok()?;
        let id = <[u8; 16]>::try_from(Vec::<u8>::try_from(answer).ok()?).ok()?;
        // All zeros: it has not been reached.
        let id = Some(u128::from_be_bytes(id)).filter(|id| *id != 0)?;
        Some(format!("{id:032x}"))
    }

    fn up_millis(&self) -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
        seconds.saturating_mul(1000).saturating_add(millis)
    }

    async fn shutdown_inhibitors(&self) -> Result<Vec<Inhibitor>, HostError> {
        let during = "list inhibitors";
        let rows: Vec<InhibitorRow> =
            self.call_logind(during, (PATH, MANAGER, "ListInhibitors"), &()).await?;
        // `block-weak` is what `block` was before systemd 257: root may ignore it. An unattended reboot does not.
        let blocks = rows.into_iter().filter(|(what, _, _, mode, _, _)| {
            what.split(':').any(|what| what == "shutdown")
                && matches!(mode.as_str(), "block" | "block-weak")
        });
        Ok(blocks.map(|(_, who, why, ..)| Inhibitor { who, why }).collect())
    }

    async fn user_sessions(&self) -> Result<u64, HostError> {
        let rows: Vec<SessionRow> =
            self.call_logind("list sessions", (PATH, MANAGER, "ListSessions"), &()).await?;
        let mut people = 0;
        for (.., path) in rows {
            people += u64::from(self.is_a_persons(path.as_str()).await);
        }
        Ok(people)
    }

    async fn is_stopping(&self) -> bool {
        // systemd's word comes last on the way down, and also where nobody asked logind.
        if self.system_state().await.as_deref() == Some("stopping") {
            return true;
        }
        self.is_preparing().await
    }

    async fn goes_softly(&self) -> bool {
        // systemd's own word: whoever starts the target without logind goes softly as well.
        let during = "tell whether only userspace goes down";
        let place = (SOFT_REBOOT_PATH, PROPERTIES, "Get");
        let job = self.call_service(SYSTEMD, during, place, &(SYSTEMD_UNIT, "Job"));
        let answer: Result<OwnedVariant, _> =
            match muster_runtime::timeout(SHUTDOWN_WORD_LIMIT, job).await {
                Ok(answer) => answer,
                Err(_) => return false,
            };
        let job = answer.ok().and_then(|job| <(u32, OwnedObjectPath)>::try_from(job).ok());
        job.is_some_and(|(id, _)| id != 0)
    }

    async fn wait_for_shutdown(&self, known: bool) -> bool {
        loop {
            match self.next_announcement().await {
                Ok(goes) if goes != known => return goes,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "logind cannot be listened to");
                    muster_runtime::sleep(LISTEN_AGAIN).await;
                }
            }
        }
    }

    async fn wait_for_wake(&self) {
        let timer = self.wakes.get_or_init(async || {
            let opened = WakeTimer::open().map_err(|error| {
                tracing::warn!(%error, "cannot tell when this machine has slept");
            });
            opened.ok()
        });
        let told = match timer.await {
            Some(timer) => timer.wait_for_wake().await,
            None => std::future::pending().await,
        };
        if let Err(error) = told {
            tracing::warn!(%error, "cannot tell when this machine has slept");
            std::future::pending::<()>().await;
        }
    }

    async fn tell_users(&self, text: &str) -> Result<(), HostError> {
        let tell = |source| HostError::Tell { source };
        let mut wall = Command::new("wall")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(tell)?;
        if let Some(mut words) = wall.stdin.take() {
            words.write_all(text.as_bytes()).await.map_err(tell)?;
        }
        // A terminal that does not take it must not hold a reboot up: `wall` goes on without us.
        let _ = muster_runtime::timeout(ANSWER_LIMIT, wall.wait()).await;
        Ok(())
    }

    async fn check_reboot(&self, method: RebootMethod) -> Result<(), HostError> {
        let answer = match method {
            RebootMethod::Reboot => Ok(()),
            RebootMethod::SoftReboot => check_soft_reboot(self.systemd_version().await.as_deref()),
            RebootMethod::Kexec => {
                check_kexec(std::fs::read_to_string(KEXEC_LOADED).ok().as_deref())
            }
            _ => Err("this version of musterd does not know that way".to_owned()),
        };
        answer.map_err(HostError::Impossible)
    }

    async fn reboot(&self, method: RebootMethod) -> Result<(), HostError> {
        self.check_reboot(method).await?;
        let during = "reboot";
        // Shown to those who are logged in as it goes down; a logind that does not take it still reboots.
        let words = ("musterd reboots this machine", true);
        let _ = self.call_logind::<_, ()>(during, (PATH, MANAGER, "SetWallMessage"), &words).await;
        let flags = match method {
            RebootMethod::SoftReboot => SOFT_REBOOT,
            RebootMethod::Kexec => VIA_KEXEC,
            // Without flags: a machine that was asked for as a whole does not go softly because a root lies ready in /run/nextroot.
            _ => return self.call_logind(during, (PATH, MANAGER, "Reboot"), &false).await,
        };
        self.call_logind(during, (PATH, MANAGER, "RebootWithFlags"), &flags).await
    }
}

#[cfg(test)]
#[path = "systemd_host_tests.rs"]
mod tests;
