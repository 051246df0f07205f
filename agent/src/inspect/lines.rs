//! Lines that a container engine keeps, in the forms of journalctl.
//!
//! Owns those of journalctl's output modes that make sense for a line of which nothing but its time is known.

use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::runner::docker::OutputLine;

/// The modes that there are.
pub(super) const MODES: [&str; 8] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-unix",
    "json",
    "cat",
];

/// The form in which lines of one container are printed.
#[derive(Debug, Clone)]
pub(super) struct LineFormat {
    mode: &'static str,
    host: String,
    /// The container's name.
    name: String,
    zone: TimeZone,
}

/// A line as journalctl's `json` has it.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: String,
    #[serde(rename = "_HOSTNAME")]
    host: &'a str,
    #[serde(rename = "CONTAINER_NAME")]
    name: &'a str,
    /// syslog's: 6 for what is printed on standard output, 3 for standard error, as Docker's journal driver has it.
    #[serde(rename = "PRIORITY")]
    priority: &'a str,
    #[serde(rename = "MESSAGE")]
    message: &'a str,
}

impl LineFormat {
    /// The form of a mode, if there is one.
    pub(super) fn of_mode(mode: &str, host: String, name: String, zone: TimeZone) -> Option<Self> {
        let mode = MODES.into_iter().find(|known| *known == mode)?;
        Some(Self { mode, host, name, zone })
    }

    /// A line, with its end.
    pub(super) fn line(&self, line: &OutputLine) -> Bytes {
        let mut out = BytesMut::with_capacity(line.text.len() + 64);
        match self.mode {
            "cat" => {}
            "json" => {
                let json = Json {
                    at: line
                        .at
                        .parse::<Timestamp>()
                        .map_or(0, Timestamp::as_microsecond)
                        .to_string(),
                    host: &self.host,
                    name: &self.name,
                    priority: if line.error { "3" } else { "6" },
                    message: &String::from_utf8_lossy(&line.text),
                };
                // No value of ours fails to serialize.
                let json = serde_json::to_vec(&json).unwrap_or_default();
                out.put_slice(&json);
                out.put_u8(b'\n');
                return out.freeze();
            }
            mode => {
                out.put_slice(self.format_time(mode, &line.at).as_bytes());
                out.put_slice(format!(" {} {}: ", self.host, self.name).as_bytes());
            }
        }
        out.put_slice(&line.text);
        out.put_u8(b'\n');
        out.freeze()
    }

    /// The line that stands where there will be no more.
    pub(super) fn end(problem: &str) -> Bytes {
        format!("-- {problem} --\n").into()
    }

    fn format_time(&self, mode: &str, at: &str) -> String {
        let Ok(time) = at.parse::<Timestamp>() else { return at.to_owned() };
        let format = match mode {
            "short-full" => "%a %Y-%m-%d %H:%M:%S %Z",
            "short-iso" => "%Y-%m-%dT%H:%M:%S%z",
            "short-iso-precise" => "%Y-%m-%dT%H:%M:%S.%6f%z",
            "short-precise" => "%b %d %H:%M:%S.%6f",
            "short-unix" => "%s.%6f",
            _ => "%b %d %H:%M:%S",
        };
        time.to_zoned(self.zone.clone()).strftime(format).to_string()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_line_in_every_mode() {
        let line = OutputLine {
            at: "2026-11-21T19:00:00.123456789Z".to_owned(),
            text: Bytes::from_static(b"GET / \"200\""),
            error: true,
        };
        let print = |mode: &str| {
            let zone = TimeZone::UTC;
            let form =
                LineFormat::of_mode(mode, "n1".to_owned(), "systemd-web".to_owned(), zone).unwrap();
            String::from_utf8(form.line(&line).to_vec()).unwrap()
        };
        assert_snapshot!(MODES.map(print).concat(), @r#"
        Nov 21 19:00:00 n1 systemd-web: GET / "200"
        Sat 2026-11-21 19:00:00 UTC n1 systemd-web: GET / "200"
        2026-11-21T19:00:00+0000 n1 systemd-web: GET / "200"
        2026-11-21T19:00:00.123456+0000 n1 systemd-web: GET / "200"
        Nov 21 19:00:00.123456 n1 systemd-web: GET / "200"
        1795287600.123456 n1 systemd-web: GET / "200"
        {"__REALTIME_TIMESTAMP":"1795287600123456","_HOSTNAME":"n1","CONTAINER_NAME":"systemd-web","PRIORITY":"3","MESSAGE":"GET / \"200\""}
        GET / "200"
        "#);
        assert!(
            LineFormat::of_mode("verbose", String::new(), String::new(), TimeZone::UTC).is_none()
        );
    }
}
