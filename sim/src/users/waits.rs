//! A wait of a user for what was asked for: a stream of events that may be cut in the middle, and goes on at another daemon.

use std::time::Duration;

use muster_common::api::v1::{WaitEvent, WaitFor, WaitRequest};
use muster_runtime::{sleep, timeout};

use super::errand::{AGAIN, Errand};
use super::notes::{UserNote, WaitNote};
use crate::api_call::ApiRequest;
use crate::api_line::OpenAnswer;
use crate::invariants::waits::WaitEnd;

/// The silence after which a user takes a stream for dead: as `musterctl` does.
const SILENCE: Duration = Duration::from_secs(35);
/// Daemons that are asked before a user gives the wait up.
const STREAMS: usize = 40;

impl Errand {
    /// Waits until the wait is over, whichever daemons tell of it.
    pub(super) async fn wait_for_unit(&self, revision: u64, wait: WaitFor) {
        let request = WaitRequest { units: vec![wait.clone()], revision };
        let mut cut_after = self.manner.cut_after;
        for stream in 0..STREAMS {
            let machine = self.machine_at(stream + 1);
            let asked = ApiRequest::post_to("/v1/wait", &request);
            let answer = self.line.open_answer(machine, asked, SILENCE).await;
            if let Ok(mut answer) = answer {
                let status = answer.status;
                if (400..500).contains(&status) {
                    return self.note_wait(WaitNote::Over(WaitEnd::Refused));
                }
                if status == 200 {
                    let wait = wait.clone();
                    self.note_wait(WaitNote::Served { machine, revision, wait });
                    let end = match cut_after.take() {
                        Some(after) => {
                            timeout(after.to_duration(), follow_events(&mut answer)).await.ok()
                        }
                        None => Some(follow_events(&mut answer).await),
                    };
                    if let Some(end) = end.flatten() {
                        return self.note_wait(WaitNote::Over(end));
                    }
                    self.note_wait(WaitNote::Broken);
                }
                answer.hang_up().await;
            }
            sleep(AGAIN).await;
        }
    }

    fn note_wait(&self, note: WaitNote) {
        self.notes.add_note(UserNote::Wait { request: self.number, note });
    }
}

/// Follows a stream to the last event of its unit; `None` if it ends without, or falls silent.
async fn follow_events(answer: &mut OpenAnswer) -> Option<WaitEnd> {
    let mut text = String::new();
    while let Ok(Some(piece)) = timeout(SILENCE, answer.next_piece()).await {
        text.push_str(std::str::from_utf8(&piece).ok()?);
        while let Some((event, rest)) = text.split_once("\n\n") {
            let end = event.strip_prefix("data: ").and_then(read_event);
            if end.is_some() {
                return end;
            }
            text = rest.to_owned();
        }
    }
    None
}

/// The end that an event is, if it is the last one.
fn read_event(data: &str) -> Option<WaitEnd> {
    match serde_json::from_str(data).ok()? {
        WaitEvent::Done { .. } => Some(WaitEnd::Done),
        WaitEvent::Failed { .. } => Some(WaitEnd::Failed),
        WaitEvent::Overtaken { .. } => Some(WaitEnd::Overtaken),
        _ => None,
    }
}
