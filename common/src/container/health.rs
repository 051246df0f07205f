//! Health checks.

use std::time::Duration;

use super::quantity;
use super::reader::{ContainerError, Reader};

/// What is asked of a container to see whether it is well; what is `None` is as the image has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The check.
    pub check: Option<Check>,
    /// Time between two checks.
    pub interval: Option<Duration>,
    /// Time a check may take.
    pub timeout: Option<Duration>,
    /// How many have to fail in a row.
    pub retries: Option<u32>,
    /// How long failures do not count after the start.
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

/// What happens to a container that is not well, `HealthOnFailure=`.
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
    /// Whether anything is said about health.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, ContainerError> {
        Ok(Self {
            check: reader.last("HealthCmd", |value| Ok(check(value)))?,
            interval: reader.last("HealthInterval", |value| match value {
                "disable" => {
                    Err("Docker runs every check it knows; leave HealthCmd= out".to_owned())
                }
                _ => span(value),
            })?,
            timeout: reader.last("HealthTimeout", span)?,
            retries: reader.last("HealthRetries", quantity::number)?,
            start_period: reader.last("HealthStartPeriod", span)?,
        })
    }
}

fn check(value: &str) -> Check {
    if value == "none" {
        return Check::Disabled;
    }
    match serde_json::from_str::<Vec<String>>(value) {
        Ok(mut command) => match command.first().map(String::as_str) {
            Some("NONE") | None => Check::Disabled,
            Some("CMD") => Check::Command(command.split_off(1)),
            Some("CMD-SHELL") => Check::Shell(command.split_off(1).join(" ")),
            Some(_) => Check::Command(command),
        },
        Err(_) => Check::Shell(value.to_owned()),
    }
}

/// Docker refuses what is shorter than a millisecond, and takes nothing for "as the image has it".
fn span(value: &str) -> Result<Duration, String> {
    let span = quantity::duration(value)?;
    if span < Duration::from_millis(1) {
        return Err(format!("{value:?} is less than the millisecond Docker needs"));
    }
    Ok(span)
}

pub(super) fn on_failure(value: &str) -> Result<OnFailure, String> {
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

    #[test]
    fn a_check_is_a_shells_line_or_a_command() {
        assert_eq!(check("none"), Check::Disabled);
        assert_eq!(
            check("curl -f http://x || exit 1"),
            Check::Shell("curl -f http://x || exit 1".to_owned())
        );
        let command = Check::Command(vec!["/ok".to_owned(), "a b".to_owned()]);
        assert_eq!(check(r#"["/ok", "a b"]"#), command);
        assert_eq!(check(r#"["CMD", "/ok", "a b"]"#), command);
        assert_eq!(check(r#"["CMD-SHELL", "x | y"]"#), Check::Shell("x | y".to_owned()));
        assert_eq!(check(r#"["NONE"]"#), Check::Disabled);
    }
}
