//! A unit's file as the model of systemd reads it.
//!
//! Owns the options that the model knows (systemd.unit(5), systemd.service(5), systemd.timer(5), systemd.socket(5)) and the words of
//! the one program there is in the simulated world, `/sim/run`. Options that it does not know change nothing, as with systemd.
//!
//! | word | meaning |
//! | --- | --- |
//! | `takes=300ms` | time until the start is done, or until a oneshot has run; `takes=1ms..2s` is drawn anew for each run |
//! | `fails=1` | it ends with this exit status once that time is over |
//! | `fails-per-mille=100` | so many of a thousand runs do, with status 1 |
//! | `hangs` | the start is never done |
//! | `slow-per-mille=50` | so many of a thousand starts and stops take the time of `slow=1s..9s` in the place of their own |
//! | `runs=5s` | once it is up it ends by itself after this time, with status `exit=0` |
//! | `stops=2s` | time until it has ended after it was asked to stop |
//! | `stays=10s` | a process of it is left for so long after it has stopped |
//! | `every=7s` | of a socket, in `ListenStream=`: somebody connects this often |
//!
//! Words with dashes before them, and all others, say nothing: `--version=3` tells two files apart.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_common::unit::{FileHash, UnitFile, UnitName, UnitType};

/// A length of time, or a range to draw one from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
}

/// The behaviour of the program that a service runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) takes: Span,
    pub(super) fails: Option<i64>,
    pub(super) fails_per_mille: u64,
    pub(super) hangs: bool,
    pub(super) slow_per_mille: u64,
    pub(super) slow: Span,
    pub(super) runs: Option<Span>,
    pub(super) exit: i64,
    pub(super) stops: Span,
    pub(super) stays: Option<Span>,
}

/// When a service is started again by systemd (`Restart=`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum RestartRule {
    #[default]
    No,
    Always,
    OnFailure,
    OnSuccess,
}

/// When a service is up (`Type=`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ServiceKind {
    /// As soon as it was begun.
    #[default]
    Simple,
    /// When it says so.
    Notify,
    /// When it has run to its end.
    Oneshot,
}

/// A service's section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServicePart {
    pub(super) kind: ServiceKind,
    pub(super) remains: bool,
    pub(super) program: Program,
    pub(super) restart: RestartRule,
    pub(super) restart_after: Duration,
    pub(super) start_limit: Option<Duration>,
    pub(super) stop_limit: Option<Duration>,
    /// `SendSIGKILL=no`: what does not end is left.
    pub(super) spares: bool,
}

/// A timer's section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TimerPart {
    /// After the timer was started, or the machine was.
    pub(super) first: Option<Duration>,
    /// After its unit was last started.
    pub(super) after_start: Option<Duration>,
    /// After its unit last ended.
    pub(super) after_end: Option<Duration>,
}

/// The part that only units of one type have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypePart {
    Service(Box<ServicePart>),
    Timer(TimerPart),
    /// A socket, and how often somebody connects to it.
    Socket(Option<Duration>),
    /// A unit without anything of its own, such as a target.
    Plain,
}

/// The content of a unit's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// The file that this was read from.
    pub(super) file: FileHash,
    pub(super) part: TypePart,
    /// The unit that a timer or a socket starts.
    pub(super) triggers: Option<UnitName>,
    pub(super) after: BTreeSet<UnitName>,
    pub(super) before: BTreeSet<UnitName>,
    pub(super) wants: BTreeSet<UnitName>,
    pub(super) requires: BTreeSet<UnitName>,
    pub(super) part_of: BTreeSet<UnitName>,
    pub(super) conflicts: BTreeSet<UnitName>,
    pub(super) refuses_start: bool,
    pub(super) refuses_stop: bool,
    /// Starts within [`Self::limit_interval`] after which another one is refused.
    pub(super) limit_burst: usize,
    pub(super) limit_interval: Duration,
}

/// The file cannot be used; systemd's `LoadState` for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadSetting;

impl Definition {
    /// Reads a unit's file.
    pub(super) fn parse(unit: &UnitName, text: &str) -> Result<Self, BadSetting> {
        let file: UnitFile = text.parse().map_err(|_| BadSetting)?;
        let names = |section: &str, option: &str| -> BTreeSet<UnitName> {
            let values = values_of(&file, section, option);
            let words: Vec<&str> =
                values.iter().flat_map(|value| value.split_whitespace()).collect();
            words.into_iter().filter_map(|word| word.parse().ok()).collect()
        };
        let flag =
            |option: &str| last_of(&file, "Unit", option).is_some_and(|value| is_true(&value));
        let part = match unit.unit_type() {
            UnitType::Service => TypePart::Service(Box::new(ServicePart::parse(&file)?)),
            UnitType::Timer => TypePart::Timer(TimerPart::parse(&file)),
            UnitType::Socket => TypePart::Socket(connects_every(&file)),
            _ => TypePart::Plain,
        };
        let named = match part {
            TypePart::Timer(_) => last_of(&file, "Timer", "Unit"),
            TypePart::Socket(_) => last_of(&file, "Socket", "Service"),
            _ => None,
        };
        let same_stem = || format!("{}.service", unit.name_stem());
        let triggers = match part {
            TypePart::Timer(_) | TypePart::Socket(_) => {
                named.unwrap_or_else(same_stem).parse().ok()
            }
            _ => None,
        };
        let mut requires = names("Unit", "Requires");
        requires.extend(names("Unit", "BindsTo"));
        let number = |option: &str| last_of(&file, "Unit", option);
        Ok(Self {
            file: file.hash(),
            part,
            triggers,
            after: names("Unit", "After"),
            before: names("Unit", "Before"),
            wants: names("Unit", "Wants"),
            requires,
            part_of: names("Unit", "PartOf"),
            conflicts: names("Unit", "Conflicts"),
            refuses_start: flag("RefuseManualStart"),
            refuses_stop: flag("RefuseManualStop"),
            limit_burst: number("StartLimitBurst").and_then(|n| n.parse().ok()).unwrap_or(5),
            limit_interval: number("StartLimitIntervalSec")
                .and_then(|text| parse_span(&text))
                .unwrap_or(Duration::from_secs(10)),
        })
    }

    /// A unit that systemd has in itself, such as `multi-user.target`.
    pub(super) fn built_in() -> Self {
        Self {
            file: FileHash::of_text(""),
            part: TypePart::Plain,
            triggers: None,
            after: BTreeSet::new(),
            before: BTreeSet::new(),
            wants: BTreeSet::new(),
            requires: BTreeSet::new(),
            part_of: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            refuses_start: false,
            refuses_stop: false,
            limit_burst: 5,
            limit_interval: Duration::from_secs(10),
        }
    }

    /// Every unit that this one refers to, and so keeps in memory.
    pub(super) fn referenced_units(&self) -> impl Iterator<Item = &UnitName> {
        [&self.after, &self.before, &self.wants, &self.requires, &self.part_of, &self.conflicts]
            .into_iter()
            .flatten()
            .chain(&self.triggers)
    }

    pub(super) fn service_part(&self) -> Option<&ServicePart> {
        if let TypePart::Service(part) = &self.part { Some(part.as_ref()) } else { None }
    }
}

/// The units that an `[Install]` section hooks a unit into.
pub(super) fn parse_hooks(text: &str) -> Vec<UnitName> {
    let Ok(file) = text.parse::<UnitFile>() else { return Vec::new() };
    let mut hooks = Vec::new();
    for option in ["WantedBy", "RequiredBy"] {
        for value in values_of(&file, "Install", option) {
            hooks.extend(value.split_whitespace().filter_map(|word| word.parse().ok()));
        }
    }
    hooks
}

impl ServicePart {
    fn parse(file: &UnitFile) -> Result<Self, BadSetting> {
        let last = |option: &str| last_of(file, "Service", option);
        let kind = match last("Type").as_deref() {
            Some("oneshot") => ServiceKind::Oneshot,
            Some("notify") => ServiceKind::Notify,
            _ => ServiceKind::Simple,
        };
        let oneshot = kind == ServiceKind::Oneshot;
        let lines = values_of(file, "Service", "ExecStart");
        if lines.is_empty() || (lines.len() > 1 && !oneshot) {
            return Err(BadSetting);
        }
        let mut program = lines.last().map(|line| Program::parse(line)).unwrap_or_default();
        for line in values_of(file, "Service", "ExecStartPre") {
            let before = Program::parse(&line);
            program.takes = program.takes.plus(before.takes);
            program.fails = program.fails.or(before.fails);
            program.hangs |= before.hangs;
        }
        let limit = |option: &str, usual: Option<Duration>| match last(option) {
            Some(text) if text == "infinity" => None,
            Some(text) => parse_span(&text).or(usual),
            None => usual,
        };
        let usual = Some(Duration::from_secs(90));
        Ok(Self {
            kind,
            remains: last("RemainAfterExit").is_some_and(|value| is_true(&value)),
            program,
            restart: match last("Restart").as_deref() {
                Some("always") => RestartRule::Always,
                Some("on-failure" | "on-abnormal" | "on-abort") => RestartRule::OnFailure,
                Some("on-success") => RestartRule::OnSuccess,
                _ => RestartRule::No,
            },
            restart_after: last("RestartSec")
                .and_then(|text| parse_span(&text))
                .unwrap_or(Duration::from_millis(100)),
            start_limit: limit("TimeoutStartSec", usual.filter(|_| !oneshot)),
            stop_limit: limit("TimeoutStopSec", usual),
            spares: last("SendSIGKILL").is_some_and(|value| !is_true(&value)),
        })
    }
}

impl TimerPart {
    fn parse(file: &UnitFile) -> Self {
        let span = |option: &str| last_of(file, "Timer", option).and_then(|text| parse_span(&text));
        Self {
            first: span("OnActiveSec")
                .or_else(|| span("OnBootSec"))
                .or_else(|| span("OnStartupSec")),
            after_start: span("OnUnitActiveSec"),
            after_end: span("OnUnitInactiveSec"),
        }
    }
}

impl Program {
    fn parse(line: &str) -> Self {
        let mut program = Self::default();
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "takes" => program.takes = Span::parse(value).unwrap_or_default(),
                "fails" => program.fails = Some(value.parse().unwrap_or(1)),
                "fails-per-mille" => program.fails_per_mille = value.parse().unwrap_or(0),
                "hangs" => program.hangs = true,
                "slow-per-mille" => program.slow_per_mille = value.parse().unwrap_or(0),
                "slow" => program.slow = Span::parse(value).unwrap_or_default(),
                "runs" => program.runs = Span::parse(value),
                "exit" => program.exit = value.parse().unwrap_or(0),
                "stops" => program.stops = Span::parse(value).unwrap_or_default(),
                "stays" => program.stays = Span::parse(value),
                _ => {}
            }
        }
        program
    }
}

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let (shortest, longest) = text.split_once("..").unwrap_or((text, text));
        let (shortest, longest) = (parse_span(shortest)?, parse_span(longest)?);
        Some(Self { shortest, longest: longest.max(shortest) })
    }

    fn plus(self, other: Self) -> Self {
        Self { shortest: self.shortest + other.shortest, longest: self.longest + other.longest }
    }
}

fn connects_every(file: &UnitFile) -> Option<Duration> {
    let line = last_of(file, "Socket", "ListenStream")?;
    let word = line.split_whitespace().find_map(|word| word.strip_prefix("every="))?;
    parse_span(word)
}

/// All values of an option, after the last that is empty, which takes back those before it.
fn values_of(file: &UnitFile, section: &str, name: &str) -> Vec<String> {
    let mut values = Vec::new();
    for option in file.options().iter().filter(|o| o.section == section && o.name == name) {
        let value = option.joined_value();
        if value.trim().is_empty() {
            values.clear();
        } else {
            values.push(value.trim().to_owned());
        }
    }
    values
}

fn last_of(file: &UnitFile, section: &str, name: &str) -> Option<String> {
    values_of(file, section, name).pop()
}

fn is_true(value: &str) -> bool {
    matches!(value, "yes" | "true" | "on" | "1")
}

/// A length of time such as `300ms`, `5s`, `2min` or a number of seconds.
fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit.trim() {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "" | "s" | "sec" => Duration::from_secs(number),
        "m" | "min" => Duration::from_secs(number * 60),
        "h" => Duration::from_secs(number * 3600),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_how_its_unit_behaves() {
        let unit: UnitName = "a.service".parse().unwrap();
        let text = "[Unit]\nAfter=b.service c.service\nWants=b.service\n[Service]\nType=oneshot\n\
                    ExecStart=/sim/run --version=2 takes=1ms..2s fails=3 stays=4s\nTimeoutStopSec=5\n";
        let read = Definition::parse(&unit, text).unwrap();
        assert_eq!(read.referenced_units().count(), 3);
        let service = read.service_part().unwrap();
        assert_eq!(service.program.takes.longest, Duration::from_secs(2));
        assert_eq!(
            (service.program.fails, service.stop_limit),
            (Some(3), Some(Duration::from_secs(5)))
        );
        assert_eq!(service.start_limit, None, "a oneshot may take its time");
        assert_eq!(Definition::parse(&unit, "[Service]\nType=simple\n"), Err(BadSetting));
    }

    #[test]
    fn timers_and_sockets_start_the_service_of_their_name_or_another() {
        let triggers = |name: &str, text: &str| {
            Definition::parse(&name.parse().unwrap(), text).unwrap().triggers.unwrap().to_string()
        };
        assert_eq!(triggers("a.timer", "[Timer]\nOnActiveSec=5\n"), "a.service");
        assert_eq!(triggers("a.socket", "[Socket]\nService=b.service\n"), "b.service");
    }
}
