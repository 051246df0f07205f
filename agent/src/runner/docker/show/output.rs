//! The output of a unit's containers.
//!
//! Owns where it is to be found: in the machine's journal under the unit's name, or with the engine, which forgets it with the
//! container; and the following of the latter from one container to the next. It changes nothing.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use muster_common::unit::UnitName;
use muster_engine::container::{JOURNALD, LABEL_CLUSTER, LABEL_UNIT, journal_field};
use tokio::sync::{mpsc, watch};

use crate::runner::docker::api::engine::Engine;
use crate::runner::docker::client::{EngineError, OutputEntry};
use crate::runner::docker::runner::Docker;
use crate::runner::docker::show::inspect::Container;
use muster_engine::container::unit::UnitStatus;

/// Lines on their way to a slow reader.
const QUEUE: usize = 64;
/// Pause before a container that still runs is listened to again.
const READ_RETRY: Duration = Duration::from_millis(250);

/// Where a unit's output is.
pub enum Output {
    /// In the journal: the lines these matches of journalctl's find.
    Journal(Vec<String>),
    /// With the engine, by this driver.
    Engine {
        /// The driver.
        driver: String,
        /// The container's name, which is all there is to name a line's origin by.
        name: String,
        /// The lines, oldest first. An error is the last there is.
        lines: mpsc::Receiver<Result<Line, String>>,
    },
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was printed, as RFC 3339 has it, to the nanosecond.
    pub at: String,
    /// Without its end.
    pub text: Bytes,
    /// True if it was printed on standard error.
    pub error: bool,
}

/// Why there is no output to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The unit is not here.
    #[error("{0} is not on this machine")]
    Unknown(UnitName),
    /// It has no container.
    #[error("{0} has no container on this machine, and so no output: none has been made yet")]
    NoContainer(UnitName),
    /// Its driver keeps nothing.
    #[error("{unit} has LogDriver={driver}, which keeps no output on this machine")]
    NotKept {
        /// The unit.
        unit: UnitName,
        /// The driver.
        driver: String,
    },
    /// The engine does not answer, or will not say.
    #[error("{0}")]
    Engine(String),
}

impl Docker {
    /// Where a unit's output is. `tail` is a number of lines or `all`; with `follow` it goes on, from one container to the
    /// next.
    pub async fn open_output(
        &self,
        unit: &UnitName,
        tail: &str,
        follow: bool,
    ) -> Result<Output, OutputError> {
        let labels = || {
            let label = |label, value: &str| format!("{}={value}", journal_field(label));
            vec![label(LABEL_UNIT, unit.as_str()), label(LABEL_CLUSTER, &self.context.cluster)]
        };
        let Some(handle) = self.find_or_take_up(unit) else {
            // What is here no more may have left its lines.
            let journal = self.context.world.host.has_journal().then(|| Output::Journal(labels()));
            return journal.ok_or_else(|| OutputError::Unknown(unit.clone()));
        };
        let id = handle.status.borrow().container.clone();
        let container = self.inspect_container(id.as_deref()).await;
        let container = match container {
            Ok(Some(container)) => container,
            other => {
                // The last one's driver is not known any more; the next one's is.
                if self.context.world.host.has_journal()
                    && self.log_driver(unit).is_none_or(|driver| driver == JOURNALD)
                {
                    return Ok(Output::Journal(labels()));
                }
                return Err(match other {
                    Err(error) => OutputError::Engine(error.to_string()),
                    Ok(_) => OutputError::NoContainer(unit.clone()),
                });
            }
        };
        let Container { id, name, log_driver: driver, marked, .. } = container;
        match driver.as_str() {
            JOURNALD if marked => return Ok(Output::Journal(labels())),
            JOURNALD => return Ok(Output::Journal(vec![format!("CONTAINER_NAME={name}")])),
            "none" => return Err(OutputError::NotKept { unit: unit.clone(), driver }),
            _ => {}
        }
        let (sender, lines) = mpsc::channel(QUEUE);
        let reading = ContainerReader {
            context: std::sync::Arc::clone(&self.context),
            status: handle.status.clone(),
            tail: tail.to_owned(),
            follow,
            sender,
        };
        muster_runtime::spawn(reading.run(id));
        Ok(Output::Engine { driver, name, lines })
    }
}

/// The place up to which one container's lines have been read, over connections that broke. Times are of one form and length,
/// so that their order is that of time.
#[derive(Debug, Default)]
struct ReadPosition {
    /// The latest line that earlier connections brought.
    before: Option<String>,
    /// The latest line of all.
    latest: Option<String>,
}

impl ReadPosition {
    /// The engine begins from the first line again.
    fn on_reconnected(&mut self) {
        self.before.clone_from(&self.latest);
    }

    /// True if a line has not been read yet. The engine writes the lines of the two outputs as they reach it, so that one may
    /// stand behind another that is later: only what an earlier connection had is known.
    fn is_new(&mut self, at: &str) -> bool {
        if self.latest.as_deref().is_none_or(|latest| at > latest) {
            self.latest = Some(at.to_owned());
        }
        self.before.as_deref().is_none_or(|before| at > before)
    }
}

/// Reads one container's lines after the other's.
struct ContainerReader {
    context: std::sync::Arc<crate::runner::docker::context::DockerContext>,
    status: watch::Receiver<UnitStatus>,
    tail: String,
    follow: bool,
    sender: mpsc::Sender<Result<Line, String>>,
}

impl ContainerReader {
    async fn run(mut self, mut id: String) {
        // Whoever has gone needs no more lines, and a container that prints none would never notice. That is first, and ends
        // the reading wherever it is.
        let sender = self.sender.clone();
        tokio::select! {
            biased;
            () = sender.closed() => {}
            () = async {
                let mut heard = ReadPosition::default();
                loop {
                    let read = self.read(&id, &mut heard).await;
                    match read {
                        Err(EngineError::Lost(_)) if self.follow => {}
                        Err(error) => {
                            let _ = self.sender.send(Err(error.to_string())).await;
                            return;
                        }
                        Ok(()) if !self.follow => return,
                        Ok(()) => {}
                    }
                    let Some(next) = self.next(&id).await else { return };
                    if next != id {
                        id = next;
                        heard = ReadPosition::default();
                    }
                    "all".clone_into(&mut self.tail);
                }
            } => {}
        }
    }

    /// Reads what a container prints behind what was heard of it, until it ends.
    async fn read(&self, id: &str, heard: &mut ReadPosition) -> Result<(), EngineError> {
        let engine: &Engine = &self.context.engine;
        let mut entries = engine.api_client().read_output(id, &self.tail, self.follow);
        heard.on_reconnected();
        while let Some(entry) = entries.next().await {
            let OutputEntry { text, is_error } = entry?;
            let Some(line) = line(&text, is_error) else { continue };
            if !heard.is_new(&line.at) {
                continue;
            }
            if self.sender.send(Ok(line)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for a container to read from: the next one, or this one if it runs on. `None`: there will be none.
    async fn next(&mut self, id: &str) -> Option<String> {
        muster_runtime::sleep(READ_RETRY).await;
        self.context.engine.wait_until_ready().await;
        let ready = |s: &UnitStatus| s.container.as_deref().is_some_and(|c| c != id || s.runs);
        let status = self.status.wait_for(ready).await.ok()?;
        status.container.clone()
    }
}

/// A line of the engine's, which puts the time before it.
fn line(entry: &Bytes, error: bool) -> Option<Line> {
    let end = entry.strip_suffix(b"\n").map_or(entry.len(), <[u8]>::len);
    let entry = entry.slice(..end);
    let space = entry.iter().position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(entry.get(..space)?).ok()?.to_owned();
    Some(Line { at, text: entry.slice(space + 1..), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_behind_a_later_one_is_read_and_none_twice() {
        let mut heard = ReadPosition::default();
        heard.on_reconnected();
        for at in ["2", "1", "2", "3"] {
            assert!(heard.is_new(at), "{at}");
        }
        heard.on_reconnected();
        for (at, new) in [("2", false), ("1", false), ("3", false), ("5", true), ("4", true)] {
            assert_eq!(heard.is_new(at), new, "{at}");
        }
    }

    #[test]
    fn a_line_begins_with_its_time() {
        let read = |text: &'static str| line(&Bytes::from_static(text.as_bytes()), false);
        let at = "2026-11-21T19:00:00.000000001Z";
        let expected =
            |text| Line { at: at.to_owned(), text: Bytes::from_static(text), error: false };
        assert_eq!(read("2026-11-21T19:00:00.000000001Z a b\n"), Some(expected(b"a b")));
        assert_eq!(read("2026-11-21T19:00:00.000000001Z \n"), Some(expected(b"")));
        assert_eq!(read("nonsense"), None);
    }
}
