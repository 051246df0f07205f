//! Children and files that must not outlive this program, even when a measurement breaks off.
//!
//! Released programs end at once in a panic, and at a signal, so that nothing is dropped; what is to end with them is ended here. A
//! child is ended by the kernel besides when this program was killed.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A directory of our own, which ends with this program.
pub(crate) fn new_directory() -> PathBuf {
    let directory = tempfile::tempdir().unwrap().keep();
    DIRECTORIES.lock().unwrap().push(directory.clone());
    directory
}

/// A command that the kernel ends with the thread that runs it, which is the first one here.
pub(crate) fn bound_command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// A process that is to end with this one.
pub(crate) fn remember(child: u32) {
    CHILDREN.lock().unwrap().push(child);
}

/// Ends them when this program panics, after it has said why.
pub(crate) fn end_with_a_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        end_all();
    }));
}

/// Ends them and this program at the first signal that asks for it.
pub(crate) fn end_with_a_signal() {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind).unwrap();
        tokio::spawn(async move {
            signals.recv().await;
            end_all();
            // As a shell says it of a program that a signal has ended.
            std::process::exit(128 + kind.as_raw_value());
        });
    }
}

/// Ends and removes all that is remembered.
pub(crate) fn end_all() {
    for child in CHILDREN.lock().map(|children| children.clone()).unwrap_or_default() {
        if let Some(id) = i32::try_from(child).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, Signal::KILL);
        }
    }
    for directory in DIRECTORIES.lock().map(|paths| paths.clone()).unwrap_or_default() {
        let _ = std::fs::remove_dir_all(directory);
    }
}
