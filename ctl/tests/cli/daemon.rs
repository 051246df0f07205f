//! A daemon with scripted answers, and the real binary asking it.
//!
//! The server speaks just enough HTTP/1.1: one request a connection, recorded, answered by the first rule that matches
//! its method and path. A request without a rule gets what a daemon gives for a path it does not know.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

/// A scripted daemon at a socket of its own. It lives as long as the test's process.
pub(crate) struct Daemon {
    folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A request the daemon got.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    /// `METHOD /path?query`.
    pub(crate) line: String,
    /// Its body; null when there was none.
    pub(crate) body: Value,
}

/// An answer of the script.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A status and any other body.
    Text(u16, String),
    /// A stream of events that then ends.
    Events(Vec<Value>),
    /// A stream of events that stays open.
    OpenEvents(Vec<Value>),
    /// A stream of these events, again and again, with 20 ms between them.
    EndlessEvents(Vec<Value>),
    /// The connection is closed without a word.
    Hangup,
    /// The request is read and never answered.
    Silence,
}

impl Answer {
    pub(crate) fn json(body: impl Serialize) -> Self {
        Self::Json(200, serde_json::to_value(body).unwrap())
    }

    pub(crate) fn error(code: u16, message: &str) -> Self {
        Self::Json(code, serde_json::json!({ "error": { "code": code, "message": message } }))
    }

    pub(crate) fn events(events: impl Serialize) -> Self {
        let Value::Array(events) = serde_json::to_value(events).unwrap() else { panic!("a list") };
        Self::Events(events)
    }
}

impl Daemon {
    /// A daemon with rules `("METHOD /path", answer)`. Several rules for one request are answers to be given in turn,
    /// the last one for ever.
    pub(crate) fn new<const N: usize>(rules: [(&str, Answer); N]) -> Self {
        Self::with_rules(rules.into())
    }

    /// The same with any number of rules.
    pub(crate) fn with_rules(rules: Vec<(&str, Answer)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("muster.sock")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut rules: Vec<(String, Answer)> =
            rules.into_iter().map(|(line, answer)| (line.to_owned(), answer)).collect();
        let record = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&stream) else { continue };
                let path = request.line.split('?').next().unwrap_or_default().to_owned();
                let matching: Vec<usize> = (0..rules.len())
                    .filter(|&i| rules[i].0 == request.line || rules[i].0 == path)
                    .collect();
                record.lock().unwrap().push(request);
                let answer = match matching[..] {
                    [] => Answer::error(404, "no such path"),
                    [only] => rules[only].1.clone(),
                    [first, ..] => rules.remove(first).1,
                };
                // Answers that stay open must not keep the next request waiting; a client that has gone is no fault.
                thread::spawn(move || drop(answer.write(&mut stream)));
            }
        });
        Self { folder, requests }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("muster.sock")
    }

    /// What it was asked, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The lines of what it was asked.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|r| r.line).collect()
    }

    /// Runs a command line against it.
    pub(crate) fn run(&self, arguments: &str) -> String {
        self.run_in(Path::new("/"), arguments)
    }

    /// Runs a command line against it in a folder.
    pub(crate) fn run_in(&self, folder: &Path, arguments: &str) -> String {
        let output = self.command(arguments).current_dir(folder).output().unwrap();
        output_text(&output).replace(self.socket().to_str().unwrap(), "[SOCKET]")
    }

    /// The command, to be run otherwise.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = musterctl(arguments);
        // All the patience it needs: a test that is about little of it says how much.
        command.env("MUSTERCTL_ENDPOINT", self.socket()).env("MUSTERCTL_REQUEST_TIMEOUT", "60");
        // On a busy machine a server of ssh may take longer to say its first word than the ten seconds a person gives it.
        command.env("MUSTERCTL_SSH_TIMEOUT", "60");
        command
    }
}

/// The real binary with arguments, nothing of the caller's environment deciding how it behaves.
pub(crate) fn musterctl(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_musterctl"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| {
        name.to_str()
            .is_some_and(|name| name.starts_with("FLEETCTL_") || name.starts_with("MUSTERCTL_"))
    }) {
        command.env_remove(name);
    }
    command.env_remove("SUDO_USER").env("USER", "ann").env("TZ", "UTC");
    command
}

/// What a user sees: both streams and the exit code.
pub(crate) fn output_text(output: &Output) -> String {
    let mut text =
        format!("exit {}\n", output.status.code().map_or("signal".into(), |c| c.to_string()));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            let _ = write!(text, "--- {name}\n{}", String::from_utf8(bytes.clone()).unwrap());
        }
    }
    text
}

/// Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

/// Waits for something another process is about to do.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed().as_secs() < 60, "{what} did not happen");
        thread::yield_now();
    }
}

fn read_request(stream: &UnixStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? <= 2 {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let line = line.trim_end().strip_suffix(" HTTP/1.1")?.to_owned();
    Some(Request { line, body })
}

impl Answer {
    fn write(self, stream: &mut UnixStream) -> std::io::Result<()> {
        let (status, kind, body) = match &self {
            Self::Json(status, body) => (*status, "application/json", body.to_string()),
            Self::Text(status, body) => (*status, "text/plain", body.clone()),
            Self::Events(events) | Self::OpenEvents(events) => {
                let events = events.iter().map(|event| format!("data: {event}\n\n"));
                (200, "text/event-stream", events.collect())
            }
            Self::EndlessEvents(_) => (200, "text/event-stream", String::new()),
            Self::Hangup => return Ok(()),
            Self::Silence => return wait_for_hangup(stream),
        };
        write!(
            stream,
            "HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{body}"
        )?;
        stream.flush()?;
        if let Self::EndlessEvents(events) = &self {
            for event in events.iter().cycle() {
                write!(stream, "data: {event}\n\n")?;
                // Its pace is what it is known by; nobody unparks this thread.
                thread::park_timeout(std::time::Duration::from_millis(20));
            }
        }
        if matches!(self, Self::OpenEvents(_)) { wait_for_hangup(stream) } else { Ok(()) }
    }
}

fn wait_for_hangup(stream: &mut UnixStream) -> std::io::Result<()> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).map(drop)
}
