//! The ends of a wait though it is not over, whatever it is for: streams that fall silent or break off, and the time.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use muster_client::{ApiRequest, Endpoint, Limits};
use tokio::signal::unix::{SignalKind, signal};

use super::*;
use crate::output::console::Format;

/// Far beyond what anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The beginning of a stream of events, with one of a kind that no client knows.
const BEGUN: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"event\":\"hello\"}\n\n";

/// A daemon that gives every request the same answer, and then says nothing more.
struct Daemon {
    folder: tempfile::TempDir,
}

impl Daemon {
    /// It keeps the connection, or closes it.
    fn new(answer: &'static str, keeps: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = BufReader::new(stream.try_clone().unwrap()).lines();
                let _ = head.map_while(Result::ok).find(String::is_empty);
                // A client that has gone is no fault.
                let _ = stream.write_all(answer.as_bytes());
                if keeps {
                    open.push(stream);
                }
            }
        });
        Self { folder }
    }

    fn client(&self, silence: Duration) -> Client {
        let socket: PathBuf = self.folder.path().join("s");
        Client::new([Endpoint::Unix(socket).into()], Limits::default().with_silence(silence))
    }
}

/// Something else's events. It stops the clock once it has heard one: from then on time passes when nothing is left
/// to be done, and not before.
struct StopsClock<F>(F);

impl<F: Followable> ResumableRequest for StopsClock<F> {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        self.0.resume_request()
    }

    fn give_up_after(&self, limits: &Limits) -> Option<Duration> {
        self.0.give_up_after(limits)
    }
}

impl<F: Followable> Followable for StopsClock<F> {
    fn handle_event(&mut self, console: &mut Console, data: &str) -> Result<(), Error> {
        tokio::time::pause();
        self.0.handle_event(console, data)
    }

    fn is_over(&self) -> bool {
        self.0.is_over()
    }

    fn progress_line(&self) -> String {
        self.0.progress_line()
    }

    fn list_awaited(&self) -> Vec<Awaited> {
        self.0.list_awaited()
    }
}

/// Follows something; a wait that hangs is a failure with a name.
async fn followed(
    client: &Client,
    mut followable: impl Followable,
    limit: Option<Duration>,
) -> Result<FollowEnd, Error> {
    let mut console = Console::new(Format::Table);
    let mut interrupts = signal(SignalKind::interrupt()).unwrap();
    let followed = follow_until_over(client, &mut console, &mut followable, limit, &mut interrupts);
    tokio::time::timeout(2 * NEVER, followed).await.expect("it went on for ever")
}

/// Follows something on a daemon that falls silent; what came of it.
pub(crate) async fn on_a_silent_stream(followable: impl Followable) -> String {
    let daemon = Daemon::new(BEGUN, true);
    let client = daemon.client(Duration::from_secs(35));
    followed(&client, StopsClock(followable), None).await.unwrap_err().to_string()
}

/// Something that never happens.
#[derive(Default)]
struct ForEver {
    opened: Cell<u32>,
    /// The number of streams after which it has no patience any more; absent: it has that of every wait.
    most: Option<u32>,
}

impl ResumableRequest for ForEver {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        self.opened.set(self.opened.get() + 1);
        Ok(ApiRequest::get("/v1/anything"))
    }

    fn give_up_after(&self, limits: &Limits) -> Option<Duration> {
        Some(match self.most {
            Some(most) if self.opened.get() < most => NEVER,
            Some(_) => Duration::ZERO,
            None => limits.request,
        })
    }
}

impl Followable for ForEver {
    fn handle_event(&mut self, _: &mut Console, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }

    fn progress_line(&self) -> String {
        String::new()
    }

    fn list_awaited(&self) -> Vec<Awaited> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_the_wait() {
    let problem = on_a_silent_stream(ForEver::default()).await;
    assert!(problem.ends_with("has said nothing for 35s"), "{problem}");
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_up() {
    let daemon = Daemon::new(BEGUN, true);
    let client = daemon.client(2 * NEVER);
    let ended = followed(&client, StopsClock(ForEver::default()), Some(NEVER)).await;
    assert_eq!(ended.unwrap(), FollowEnd::TimeUp);
}

#[tokio::test]
async fn a_daemon_that_never_goes_through_with_a_wait_is_given_up_with_what_it_did_last() {
    let hangs_up = "broke off";
    let ends_at_once = "the daemon ended the wait before it was over";
    for (answer, said) in [("", hangs_up), (BEGUN, ends_at_once)] {
        let daemon = Daemon::new(answer, false);
        let impatient = ForEver { most: Some(3), ..ForEver::default() };
        let client = daemon.client(NEVER);
        let ended = followed(&client, impatient, None);
        let ended = tokio::time::timeout(LIMIT, ended).await.expect("it went on for ever");
        let problem = ended.unwrap_err().to_string();
        assert!(problem.ends_with(said), "{problem}");
    }
}
