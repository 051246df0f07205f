//! HTTP as fleetctl 1.0.0 puts it on the wire: Go's `net/http` under Google's generated client.
//!
//! Owns each byte of a request: `alt=json` in every query, `User-Agent: google-api-go-client/0.5`, a content type with
//! `PUT` alone, no body and no content type with `DELETE`, names escaped but for `A-Z a-z 0-9 - . _ ~`, connections kept,
//! two of them while idle.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

/// Connections that Go keeps to one host.
const IDLE: usize = 2;

/// Where fleetctl is pointed at with `--endpoint`, or several such places behind one name, one request each in turn.
pub struct Endpoint {
    sockets: Vec<PathBuf>,
    idle: Vec<Mutex<Vec<BufReader<UnixStream>>>>,
    turn: Mutex<usize>,
    /// Every request sent, as `METHOD target`.
    sent: Arc<watch::Sender<Vec<String>>>,
}

/// What a server answered.
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

/// What Go's client makes of an answer that is not 2xx, or of none.
#[derive(Debug, Clone)]
pub enum Failure {
    Status(u16, String),
    Line(String),
}

impl Endpoint {
    pub fn unix(sockets: &[&Path]) -> Self {
        Self {
            sockets: sockets.iter().map(|path| path.to_path_buf()).collect(),
            idle: sockets.iter().map(|_| Mutex::default()).collect(),
            turn: Mutex::new(0),
            sent: Arc::default(),
        }
    }

    pub fn sent(&self) -> Vec<String> {
        self.sent.borrow().clone()
    }

    /// For whoever waits until something is sent.
    pub fn follow(&self) -> watch::Receiver<Vec<String>> {
        self.sent.subscribe()
    }

    /// `GET`, and the JSON of the answer.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let answer = self.send("GET", path, query, None)?;
        serde_json::from_slice(&answer.body).map_err(|error| Failure::Line(error.to_string()))
    }

    /// `PUT` of a JSON body; whatever is answered is not read.
    pub fn put(&self, path: &str, body: &Value) -> Result<(), Failure> {
        // Go's encoder ends what it writes with a new line.
        self.send("PUT", path, &[], Some(&format!("{body}\n"))).map(drop)
    }

    pub fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send("DELETE", path, &[], None).map(drop)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut target = format!("/fleet/v1/{path}?alt=json");
        for (name, value) in query {
            target.push_str(&format!("&{name}={}", escape(value)));
        }
        self.sent.send_modify(|sent| sent.push(format!("{method} {target}")));
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: domain-sock\r\nUser-Agent: google-api-go-client/0.5\r\n"
        );
        if let Some(body) = body {
            request.push_str(&format!(
                "Content-Length: {}\r\nContent-Type: application/json\r\n",
                body.len()
            ));
        }
        request.push_str("Accept-Encoding: gzip\r\n\r\n");
        request.push_str(body.unwrap_or_default());

        let which = {
            let mut turn = self.turn.lock().unwrap();
            *turn += 1;
            *turn % self.sockets.len()
        };
        let answer = self.exchange(which, &request).map_err(|e| Failure::Line(e.to_string()))?;
        if !(200..300).contains(&answer.status) {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(Failure::Status(answer.status, text));
        }
        Ok(answer)
    }

    fn exchange(&self, which: usize, request: &str) -> std::io::Result<Answer> {
        // A kept connection that the server has closed meanwhile is no failure: Go dials anew.
        loop {
            let kept = self.idle[which].lock().unwrap().pop();
            let (mut line, fresh) = match kept {
                Some(line) => (line, false),
                None => (dial(&self.sockets[which])?, true),
            };
            match line.get_mut().write_all(request.as_bytes()).and_then(|()| read(&mut line)) {
                Ok((answer, keep)) => {
                    let mut idle = self.idle[which].lock().unwrap();
                    if keep && idle.len() < IDLE {
                        idle.push(line);
                    }
                    return Ok(answer);
                }
                Err(error) if fresh => return Err(error),
                Err(_) => {}
            }
        }
    }
}

fn dial(socket: &Path) -> std::io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(socket)?;
    // Go waits for ever; a test would rather fail.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(BufReader::new(stream))
}

fn read(line: &mut BufReader<UnixStream>) -> std::io::Result<(Answer, bool)> {
    let mut head = Vec::new();
    loop {
        let mut text = String::new();
        if line.read_line(&mut text)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match text.trim_end() {
            "" => break,
            text => head.push(text.to_owned()),
        }
    }
    let status = head[0].split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
    let header = |name: &str| {
        head.iter()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    assert_eq!(header("transfer-encoding"), None, "answers of this API are of known length");
    assert_eq!(header("content-encoding"), None, "nothing is compressed");
    let length = header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    line.read_exact(&mut body)?;
    let keep = header("connection").is_none_or(|c| !c.eq_ignore_ascii_case("close"));
    Ok((Answer { status, content_type: header("content-type"), body }, keep))
}

/// As Google's client escapes a name in a path, and Go a value in a query.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
