//! A server of scripted bytes: it answers one connection after the other, and keeps what it was asked.
//!
//! It speaks no HTTP of its own, so that a script can break off anywhere.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use muster_client::Endpoint;

/// How a connection is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// With these bytes, and closed.
    Close(&'static str),
    /// With these bytes, and then it stays open and silent.
    Silence(&'static str),
}

/// A server on a port of its own. It lives as long as the test's process.
pub(crate) struct Server {
    endpoint: Endpoint,
    heads: Arc<Mutex<Vec<String>>>,
}

/// The head of a stream of events.
macro_rules! events {
    ($text:literal) => {
        concat!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", $text)
    };
}
pub(crate) use events;

impl Server {
    /// Starts a server that answers in turn, and with the last reply for ever.
    pub(crate) fn start(replies: &'static [Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().into();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&heads);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
                let length = head.to_ascii_lowercase();
                let length = length.split("content-length: ").nth(1).unwrap_or("0");
                let length = length.split('\r').next().unwrap().parse().unwrap();
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                head.push_str(&String::from_utf8(body).unwrap());
                record.lock().unwrap().push(head);
                let (bytes, keeps) = match replies.get(number).or(replies.last()).unwrap() {
                    Reply::Close(bytes) => (bytes, false),
                    Reply::Silence(bytes) => (bytes, true),
                };
                // A client that has gone is no fault.
                let _ = stream.write_all(bytes.as_bytes());
                if keeps {
                    open.push(stream);
                }
            }
        });
        Self { endpoint, heads }
    }

    /// Returns where it listens.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// Returns what it was asked, in order: each request's head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Returns the first lines of what it was asked, in order.
    pub(crate) fn request_lines(&self) -> Vec<String> {
        self.requests().iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    }
}
