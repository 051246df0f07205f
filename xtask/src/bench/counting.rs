//! Containers counted from outside, whoever starts them.
//!
//! Owns the look at the hosts' cgroups while a command runs. It knows neither Muster nor Docker.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use muster_tests::lab::{Host, Lab, wait_closely};

use super::cluster::{Launch, WAIT_LIMIT, run_command};

/// The exactness with which a moment is seen from outside; a look at a hundred cgroups takes a while itself.
const INTERVAL: Duration = Duration::from_millis(5);

/// Runs a command on a host that has so many containers started, and watches them from outside.
pub(crate) fn launch_with_command(lab: &Lab, count: usize, line: &str) -> Result<Launch> {
    let host = lab.host(0)?;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| run_command(host, line));
        let active = wait_for_containers(lab, count, begin);
        let returned = starting.join().map_err(|_| anyhow!("a thread panicked"))??;
        Ok(Launch { active: active?, returned: returned.took })
    })
}

fn count_running(lab: &Lab) -> usize {
    lab.hosts().iter().map(Host::count_containers).sum()
}

/// Waits until so many containers run on all hosts together; how long after `since`.
pub(crate) fn wait_for_containers(lab: &Lab, count: usize, since: Instant) -> Result<Duration> {
    wait_closely(&format!("{count} containers"), WAIT_LIMIT, INTERVAL, || {
        let running = count_running(lab);
        if running == count { Ok(()) } else { Err(anyhow!("{running} run")) }
    })?;
    Ok(since.elapsed())
}
