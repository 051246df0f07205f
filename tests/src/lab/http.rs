//! The least of an HTTP client: one request, one answer, connection closed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// The method and the path.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// With the query, if any.
    pub path: &'a str,
    /// Names and values, beside those every request has.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; a request that sends nothing says no length either.
    pub body: &'a str,
    /// The time each of connecting and sending may take: the kernel's affair where somebody listens.
    pub timeout: Duration,
    /// The time the answer may take.
    pub answer: Duration,
}

impl<'a> Request<'a> {
    /// For what is there to be read.
    pub fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            headers: &[],
            body: "",
            timeout: WAIT_LIMIT,
            answer: ANSWER_TIMEOUT,
        }
    }
}

/// Where nobody is, nobody answers.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// Longer than any healthy answer takes on a machine that is busy; a service that stays silent must not hang a test.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks once.
pub(super) fn send_request(to: SocketAddr, request: Request<'_>) -> Result<Answer> {
    let Request { method, path, headers, body, timeout, answer } = request;
    let mut stream =
        TcpStream::connect_timeout(&to, timeout).with_context(|| format!("connect to {to}"))?;
    stream.set_read_timeout(Some(answer))?;
    stream.set_write_timeout(Some(timeout))?;
    // Version 1.0: the server closes when it is done, and sends no chunks.
    let mut sent = Vec::new();
    write!(sent, "{method} {path} HTTP/1.0\r\nHost: {to}\r\nAccept: */*\r\n")?;
    for (name, value) in headers {
        write!(sent, "{name}: {value}\r\n")?;
    }
    if !body.is_empty() {
        write!(sent, "Content-Length: {}\r\n", body.len())?;
    }
    write!(sent, "\r\n{body}")?;
    stream.write_all(&sent)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).with_context(|| format!("answer of {to}"))?;
    let text = String::from_utf8_lossy(&text);
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| anyhow!("{to} answered no HTTP: {text:?}"))?;
    let status = head
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| anyhow!("{to} answered no status: {head:?}"))?;
    Ok(Answer { status, body: body.to_owned() })
}
