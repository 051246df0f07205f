//! The reminder of a wait that has no news.
//!
//! Owns when it speaks and what it says: each thing that is waited for, where it is, what it lacks, and what the daemon
//! knows of the machines and of itself. Standard error carries it, so that no script's input changes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use muster_client::{Client, ClientError};
use muster_common::api::v1::Machines;
use muster_common::errors::error_chain;
use muster_common::machine::MachineId;
use tokio::time::Instant;

use crate::error::Error;
use crate::output::console::Console;
use crate::output::table;

/// Most things that are named; the rest is counted. Whoever waits for a thousand units wants to know of which kind the trouble is.
const MOST_SHOWN: usize = 5;

/// Longest pause between two words. They come twice as far apart each time: a wait that lasts is no news, and a log that is
/// kept of it is not to be filled.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Shortest pause between two words, however early the first one came.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Time in which the daemon has to say how the machines are.
const MACHINES_TIMEOUT: Duration = Duration::from_secs(5);

/// Something that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// One sentence: the thing, where it is and what it lacks.
    pub(crate) sentence: String,
    /// The machine that has to do something.
    pub(crate) machine: Option<MachineId>,
}

/// The times at which a wait speaks.
#[derive(Debug)]
pub(super) struct Reminder {
    /// Longest time without news; `None`: nothing is ever said.
    first: Option<Duration>,
    since: Instant,
    /// Time after the last news at which it speaks next.
    next: Duration,
}

impl Reminder {
    /// Speaks when there was no news for `first`, and then ever more seldom.
    pub(super) fn new(first: Option<Duration>, now: Instant) -> Self {
        Self { first, since: now, next: first.unwrap_or_default() }
    }

    /// There is news, and it can be seen.
    pub(super) fn on_news(&mut self, now: Instant) {
        self.since = now;
        self.next = self.first.unwrap_or_default();
    }

    /// Returns whether it is time to speak.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.first.is_some() && now.duration_since(self.since) >= self.next
    }

    /// Comes back when it is time to speak.
    pub(super) async fn wait_until_due(&self) {
        match self.first {
            Some(_) => tokio::time::sleep_until(self.since + self.next).await,
            None => std::future::pending().await,
        }
    }

    /// Says what is waited for and how its machines are.
    pub(super) async fn remind_with_machines(
        &mut self,
        client: &Client,
        console: &Console,
        awaited: &[Awaited],
    ) {
        let asked = client.get::<Machines>("/v1/machines");
        let limit = MACHINES_TIMEOUT.min(client.request_limits().request);
        let troubles = match tokio::time::timeout(limit, asked).await {
            Ok(Ok(machines)) => find_troubles(awaited, &machines),
            Ok(Err(error)) => vec![unknown_machines_text(&error)],
            Err(_) => vec![format!(
                "the daemon did not say within {} how the machines are",
                humantime::format_duration(limit)
            )],
        };
        self.print_reminder(console, awaited, &troubles);
    }

    /// Says what is waited for while there is no daemon to ask.
    pub(super) fn remind_without_daemon(
        &mut self,
        console: &Console,
        awaited: &[Awaited],
        why: &Error,
    ) {
        self.print_reminder(
            console,
            awaited,
            &[format!("the daemon that is asked is away: {}", error_chain(why))],
        );
    }

    fn print_reminder(&mut self, console: &Console, awaited: &[Awaited], troubles: &[String]) {
        let quiet = Instant::now().duration_since(self.since);
        console.print_waiting(reminder_text(quiet, awaited, troubles));
        self.next = quiet + quiet.max(SHORTEST_PAUSE).min(LONGEST_PAUSE);
    }
}

/// Returns a line for each thing and each trouble.
fn reminder_text(quiet: Duration, awaited: &[Awaited], troubles: &[String]) -> String {
    let quiet = Duration::from_secs(quiet.as_secs());
    let mut text = match quiet.as_secs() {
        0 => "no news yet".to_owned(),
        _ => format!("no news for {}", humantime::format_duration(quiet)),
    };
    for awaited in awaited.iter().take(MOST_SHOWN) {
        let _ = write!(text, "\n  {}", awaited.sentence);
    }
    let rest = awaited.len().saturating_sub(MOST_SHOWN);
    if rest > 0 {
        let _ = write!(text, "\n  and {rest} more");
    }
    for trouble in troubles {
        let _ = write!(text, "\n  {trouble}");
    }
    text
}

fn unknown_machines_text(error: &ClientError) -> String {
    format!("the daemon cannot say how the machines are: {}", error_chain(error))
}

/// Returns the problems of the machines that have to do something, and of the cluster.
fn find_troubles(awaited: &[Awaited], known: &Machines) -> Vec<String> {
    let concerned: BTreeSet<&MachineId> =
        awaited.iter().filter_map(|awaited| awaited.machine.as_ref()).collect();
    let mut troubles = Vec::new();
    for id in concerned {
        let Some(machine) = known.machines.iter().find(|machine| machine.id == *id) else {
            troubles.push(format!(
                "{} is not registered now: it is down, or its daemon does not reach the store",
                table::machine_id(id, false)
            ));
            continue;
        };
        if let Some(problem) = &machine.containers_lost {
            let shown = table::machine_name(id, &machine.address, false);
            troubles.push(format!("the container engine of {shown} does not answer: {problem}"));
        }
    }
    if known.leader.is_none() {
        troubles.push("no machine leads the cluster now, so nothing is placed or moved".to_owned());
    }
    troubles
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn awaited(sentence: &str, machine: &str) -> Awaited {
        Awaited { sentence: sentence.to_owned(), machine: machine.parse().ok() }
    }

    #[tokio::test(start_paused = true)]
    async fn it_speaks_after_ten_seconds_without_news_and_then_ever_more_seldom() {
        let begun = Instant::now();
        let mut reminder = Reminder::new(Some(Duration::from_secs(10)), begun);
        let console = Console::new(crate::output::console::Format::Table);
        let mut spoke = Vec::new();
        while spoke.len() < 8 {
            reminder.wait_until_due().await;
            assert!(reminder.is_due(Instant::now()));
            spoke.push(begun.elapsed().as_secs());
            reminder.print_reminder(&console, &[], &[]);
            assert!(!reminder.is_due(Instant::now()));
        }
        assert_eq!(spoke, [10, 20, 40, 80, 160, 320, 620, 920]);
        reminder.on_news(Instant::now());
        reminder.wait_until_due().await;
        assert_eq!(begun.elapsed().as_secs(), 930, "news begins it anew");
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_speaks_where_nobody_wants_to_hear() {
        let reminder = Reminder::new(None, Instant::now());
        let due =
            tokio::time::timeout(Duration::from_secs(1_000_000), reminder.wait_until_due()).await;
        assert!(due.is_err() && !reminder.is_due(Instant::now()));
    }

    #[test]
    fn it_names_what_is_waited_for_and_what_is_wrong_with_whom() {
        let id = |n: u8| n.to_string().repeat(32);
        let mut units: Vec<Awaited> =
            (1..=7).map(|n| awaited(&format!("web@{n}.service is to be gone"), &id(1))).collect();
        units.insert(0, awaited("a.service is to be gone: deactivating/stop on 2222", &id(2)));
        let known = Machines { machines: Vec::new(), ..Machines::default() };
        let troubles = find_troubles(&units, &known);
        assert_snapshot!(reminder_text(Duration::from_millis(40_300), &units, &troubles), @r"
        no news for 40s
          a.service is to be gone: deactivating/stop on 2222
          web@1.service is to be gone
          web@2.service is to be gone
          web@3.service is to be gone
          web@4.service is to be gone
          and 3 more
          11111111... is not registered now: it is down, or its daemon does not reach the store
          22222222... is not registered now: it is down, or its daemon does not reach the store
          no machine leads the cluster now, so nothing is placed or moved
        ");
    }
}
