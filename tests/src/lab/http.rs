//! The least of an HTTP client: one GET, one answer, connection closed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// Longer than any healthy answer takes; a service that stays silent must not hang a test.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: String,
}

pub(super) fn get(to: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream =
        TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("connect to {to}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Version 1.0: the server closes when it is done, and sends no chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {to}\r\nAccept: */*\r\n\r\n")?;
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
