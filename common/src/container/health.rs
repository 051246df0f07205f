//! Health checks.

use std::time::Duration;

use super::quantity;
use super::reader::{ContainerError, Reader};

/// The question to a container whether it is well; a part that is `None` is as the image has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The check.
    pub check: Option<Check>,
    /// Time between two checks.
    pub interval: Option<Duration>,
    /// Time a check may take.
    pub timeout: Option<Duration>,
    /// The number that has to fail in a row.
    pub retries: Option<u32>,
    /// The time after the start in which failures do not count.
    pub start_period: Option<Duration>,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// None, whatever the image says.
    Disabled,
    /// A line for the container's shell.
    Shell(String),
    /// A command and its arguments.
    Command(Vec<String>),
}

/// The fate of a container that is not well, `HealthOnFailure=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing; it is shown.
    #[default]
    None,
    /// It is killed, and `Restart=` decides as after any death.
    Kill,
    /// It is stopped and started again, whatever `Restart=` says.
    Restart,
    /// It is stopped, and `Restart=` decides as if it had ended by itself.
    Stop,
}

impl Health {
    /// True when anything is said about health.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ContainerError> {
        let check = reader.last_value("HealthCmd", parse_check)?;
        // A check that is never made is none.
        let interval = reader.last_value("HealthInterval", |value| match value {
            "disable" => Ok(None),
            _ if quantity::parse_duration(value).is_ok_and(|span| span.is_zero()) => Ok(None),
            _ => parse_span(value).map(Some),
        })?;
        Ok(Self {
            check: if interval == Some(None) { Some(Check::Disabled) } else { check },
            interval: interval.flatten(),
            timeout: reader.last_value("HealthTimeout", parse_span)?,
            retries: reader.last_value("HealthRetries", |value| {
                match quantity::parse_number(value)? {
                    0 => Err("a check that may never fail is none; say HealthCmd=none".to_owned()),
                    retries => Ok(retries),
                }
            })?,
            start_period: reader.last_value("HealthStartPeriod", |value| {
                // Docker takes none for the image's.
                Ok(if quantity::parse_duration(value)?.is_zero() {
                    SHORTEST
                } else {
                    parse_span(value)?
                })
            })?,
        })
    }
}

/// A check as Podman reads one: an array in JSON, or a line. Either may begin with a keyword, in upper or lower case: `NONE`,
/// `CMD` before a command and its arguments, `CMD-SHELL` before a line for the shell. Without one an array is a command, unless it
/// has a single member, which is a line for the shell as any other line is.
fn parse_check(value: &str) -> Result<Check, String> {
    let array = serde_json::from_str::<Vec<String>>(value);
    let is_array = array.is_ok();
    // Podman splits a line at its first space, so that the shell has the rest as it stands.
    let words = array.unwrap_or_else(|_| value.splitn(2, ' ').map(str::to_owned).collect());
    let Some((first, rest)) = words.split_first() else {
        return Err("there is no command in it; say HealthCmd=none for no check".to_owned());
    };
    let empty = |what: &str| format!("nothing stands behind {what}");
    match first.to_ascii_uppercase().as_str() {
        "NONE" => Ok(Check::Disabled),
        "CMD" => {
            let command: Vec<String> = if is_array {
                rest.to_vec()
            } else {
                rest.iter().flat_map(|rest| rest.split_whitespace()).map(str::to_owned).collect()
            };
            match command.first().map(String::as_str) {
                None | Some("") => Err(empty("CMD")),
                Some(_) => Ok(Check::Command(command)),
            }
        }
        "CMD-SHELL" => {
            let line = rest.join(" ");
            if line.trim().is_empty() { Err(empty("CMD-SHELL")) } else { Ok(Check::Shell(line)) }
        }
        _ if is_array && !rest.is_empty() => Ok(Check::Command(words)),
        _ if is_array => Ok(Check::Shell(first.clone())),
        _ => Ok(Check::Shell(value.to_owned())),
    }
}

/// The shortest time Docker takes.
const SHORTEST: Duration = Duration::from_millis(1);

/// Docker refuses what is shorter than a millisecond, and takes nothing for "as the image has it".
fn parse_span(value: &str) -> Result<Duration, String> {
    let span = quantity::parse_duration(value)?;
    if span < SHORTEST {
        return Err(format!("{value:?} is less than the millisecond Docker needs"));
    }
    Ok(span)
}

pub(super) fn parse_on_failure(value: &str) -> Result<OnFailure, String> {
    match value {
        "none" => Ok(OnFailure::None),
        "kill" => Ok(OnFailure::Kill),
        "restart" => Ok(OnFailure::Restart),
        "stop" => Ok(OnFailure::Stop),
        _ => Err(format!("{value:?} is none of none, kill, restart and stop")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Check {
        Check::Shell(line.to_owned())
    }

    fn command(words: &[&str]) -> Check {
        Check::Command(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn a_line_may_begin_with_podmans_keywords() {
        assert_eq!(
            parse_check("CMD-SHELL test -d /bin || exit 1"),
            Ok(shell("test -d /bin || exit 1"))
        );
        assert_eq!(parse_check("cmd-shell  a  b"), Ok(shell(" a  b")));
        assert_eq!(parse_check("CMD curl  -f http://x"), Ok(command(&["curl", "-f", "http://x"])));
        assert_eq!(parse_check("cmd /ok"), Ok(command(&["/ok"])));
        for none in ["none", "NONE", "None", "NONE whatever"] {
            assert_eq!(parse_check(none), Ok(Check::Disabled), "{none}");
        }
        // What only looks like one.
        assert_eq!(parse_check("CMDX a"), Ok(shell("CMDX a")));
        assert_eq!(parse_check("/bin/CMD a"), Ok(shell("/bin/CMD a")));
        assert_eq!(
            parse_check("curl -f http://x || exit 1"),
            Ok(shell("curl -f http://x || exit 1"))
        );
    }

    #[test]
    fn an_array_is_a_command_with_or_without_them() {
        assert_eq!(parse_check(r#"["CMD", "/ok", "a b"]"#), Ok(command(&["/ok", "a b"])));
        assert_eq!(parse_check(r#"["cmd","/ok"]"#), Ok(command(&["/ok"])));
        assert_eq!(parse_check(r#"["CMD-SHELL", "x | y"]"#), Ok(shell("x | y")));
        assert_eq!(parse_check(r#"["CMD-SHELL", "x", "y"]"#), Ok(shell("x y")));
        assert_eq!(parse_check(r#"["/ok", "a b"]"#), Ok(command(&["/ok", "a b"])));
        assert_eq!(parse_check(r#"["x | y"]"#), Ok(shell("x | y")));
        assert_eq!(parse_check(r#"["NONE"]"#), Ok(Check::Disabled));
        // No array of words is a line.
        assert_eq!(parse_check("[ -d /bin ]"), Ok(shell("[ -d /bin ]")));
    }

    #[test]
    fn a_keyword_by_itself_checks_nothing() {
        for value in ["CMD", "CMD-SHELL", "CMD ", r#"["CMD"]"#, r#"["CMD", ""]"#, "[]"] {
            assert!(parse_check(value).is_err(), "{value}");
        }
    }
}
