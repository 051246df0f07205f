//! Children that must not outlive this program, even when a measurement breaks off.
//!
//! Released programs end at once in a panic, so that nothing is dropped; what is to end with them is ended here.

use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A process that is to end with this one.
pub(crate) fn remember(child: u32) {
    CHILDREN.lock().unwrap().push(child);
}

/// Ends them when this program panics, after it has said why.
pub(crate) fn end_with_a_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        let children = CHILDREN.lock().map(|children| children.clone()).unwrap_or_default();
        for child in children {
            if let Some(id) = i32::try_from(child).ok().and_then(Pid::from_raw) {
                let _ = kill_process(id, Signal::KILL);
            }
        }
    }));
}
