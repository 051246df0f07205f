//! A stream that falls silent ends every wait, whatever it is for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::*;
use crate::client::Patience;
use crate::endpoint::Endpoint;
use crate::output::console::Format;

/// A daemon that begins to answer each request with a stream of events, and then says nothing more.
pub(crate) struct SilentDaemon {
    folder: tempfile::TempDir,
}

impl SilentDaemon {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = BufReader::new(stream.try_clone().unwrap()).lines();
                let _ = head.map_while(Result::ok).find(String::is_empty);
                let answer =
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\n";
                stream.write_all(answer.as_bytes()).unwrap();
                open.push(stream);
            }
        });
        Self { folder }
    }

    /// A client that has little patience with it.
    pub(crate) fn client(&self) -> Client {
        let socket: PathBuf = self.folder.path().join("s");
        let patience = Patience::new(Duration::from_millis(50), None);
        let patience = patience.with_silence(Duration::from_millis(100));
        Client::new(vec![Endpoint::Unix(socket).into()], patience, false)
    }
}

/// Follows a course on a daemon that is silent; what came of it.
pub(crate) async fn on_a_silent_stream(mut course: impl Course) -> String {
    let daemon = SilentDaemon::new();
    let mut console = Console::new(Format::Table);
    let mut interrupts = signal(SignalKind::interrupt()).unwrap();
    let client = daemon.client();
    let followed = follow(&client, &mut console, &mut course, None, &mut interrupts);
    // Far beyond all patience: a wait that hangs is a failure with a name.
    let ended = tokio::time::timeout(Duration::from_secs(30), followed).await;
    ended.expect("it went on for ever").unwrap_err().to_string()
}

struct ForEver;

impl Course for ForEver {
    async fn open(&self, client: &Client) -> Result<Pieces, ClientError> {
        client.get_pieces("/v1/anything").await
    }

    fn take(&mut self, _: &mut Console, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }

    fn summary(&self) -> String {
        String::new()
    }

    fn awaited(&self) -> Vec<Awaited> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_the_wait() {
    let problem = on_a_silent_stream(ForEver).await;
    assert!(problem.ends_with("has said nothing for 100ms"), "{problem}");
}
