//! What processes use: processor time and memory.

use std::collections::BTreeMap;

use crate::figures::print_figure;

/// What processes have used: processor time so far, memory now.
#[derive(Debug, Default)]
pub(crate) struct Usage(Vec<(&'static str, f64, f64)>);

impl Usage {
    pub(crate) fn add(&mut self, name: &'static str, processes: &[u32]) {
        let seconds: f64 = processes.iter().map(|id| processor_seconds(*id)).sum();
        let mebibytes: f64 = processes.iter().map(|id| resident_mebibytes(*id)).sum();
        self.0.push((name, seconds, mebibytes));
    }
}

/// Processor time of one thing that was done several times, in seconds each time, and the memory after it.
#[derive(Debug, Default)]
pub(crate) struct Spent(BTreeMap<&'static str, (Vec<f64>, Vec<f64>)>);

impl Spent {
    /// Adds what was used between two looks.
    pub(crate) fn add_round(&mut self, before: &Usage, after: &Usage) {
        for ((name, used, _), (_, by_now, memory)) in before.0.iter().zip(&after.0) {
            let (seconds, mebibytes) = self.0.entry(name).or_default();
            seconds.push((by_now - used).max(0.0));
            mebibytes.push(*memory);
        }
    }

    pub(crate) fn print(&self, when: &str) {
        for (name, (seconds, mebibytes)) in &self.0 {
            print_figure(&format!("{when}: processor time of {name}"), "s", seconds);
            print_figure(&format!("{when}: memory of {name}"), "MiB", mebibytes);
        }
    }
}

/// Clock ticks are hundredths of a second on Linux (`USER_HZ`).
fn processor_seconds(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // proc(5): utime and stime are fields 14 and 15; the name, which is field 2, is cut off here.
    (ticks(11) + ticks(12)) / 100.0
}

fn resident_mebibytes(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.unwrap_or(0.0) / 1024.0
}
