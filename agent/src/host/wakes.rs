//! The kernel's word that the machine has slept.
//!
//! Owns a timer that is never due and is taken back whenever the time of day leaps, as it does at the end of each sleep. It costs nothing
//! while nothing happens, and needs nobody but the kernel: a machine may be put to sleep without a word to logind, and a virtual one is.
//! What follows from a sleep is others' to decide.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

/// The time of day at which the timer is due: after all others.
const NEVER: Timespec = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };

/// A leap by less than this is the time of day being set, or no sleep worth a word: no lease is as short.
const SHORTEST_SLEEP: Duration = Duration::from_millis(100);

/// Tells when the machine has slept.
#[derive(Debug)]
pub(super) struct WakeTimer {
    timer: AsyncFd<OwnedFd>,
    /// The time that it had slept since its boot when that was looked at last.
    slept: Mutex<Duration>,
}

impl WakeTimer {
    /// Begins to listen.
    pub(super) fn open() -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Realtime,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        set_timer(&timer)?;
        let slept = Mutex::new(time_slept());
        #[allow(
            deprecated,
            reason = "nobody but its owner closes an `OwnedFd`; what replaces it is unsafe"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { timer, slept })
    }

    /// Waits until it has slept since this was asked last, or since [`Self::open`].
    pub(super) async fn wait_for_wake(&self) -> io::Result<()> {
        let mut slept = self.slept.lock().await;
        loop {
            let before = std::mem::replace(&mut *slept, time_slept());
            if slept.saturating_sub(before) >= SHORTEST_SLEEP {
                return Ok(());
            }
            let mut ready = self.timer.readable().await?;
            let mut expired = [0; 8];
            let answer = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expired)?));
            match answer {
                // Somebody else took the word, or there was none.
                Err(_) => {}
                Ok(Err(error)) if Errno::from_io_error(&error) != Some(Errno::CANCELED) => {
                    return Err(error);
                }
                Ok(_) => set_timer(self.timer.get_ref())?,
            }
        }
    }
}

fn set_timer(timer: &OwnedFd) -> io::Result<()> {
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    let never = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: NEVER };
    timerfd_settime(timer, flags, &never)?;
    Ok(())
}

/// The time since the boot that the machine has slept: what one clock counts and the other does not.
fn time_slept() -> Duration {
    let awake = to_duration(clock_gettime(ClockId::Monotonic));
    to_duration(clock_gettime(ClockId::Boottime)).saturating_sub(awake)
}

fn to_duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
