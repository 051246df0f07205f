//! The answers of the commands that a person has configured: the check and the hooks.
//!
//! Owns how long an answer holds and when a command may run anew. It runs none. Times are of one monotonic clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::phase::{CommandState, Hook, HookStates};

/// The check's answer holds this long at most, and so does the failure of a hook after the boot: it is run again then.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Shortest of these times, however soon a reboot is tried again: a command is not run in a circle.
const SHORTEST_HOLD: Duration = Duration::from_secs(1);

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// It ended with 0; the last line it printed.
    Succeeded(String),
    /// It ended with another code; the last line it printed, or how it ended.
    Refused(String),
    /// It could not be run, was killed, or took too long.
    Broken(String),
}

/// One of the commands that the phases ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandKind {
    /// The check before a reboot begins.
    Check,
    /// A hook of the attempt.
    Hook(Hook),
}

impl CommandKind {
    /// Its name, as configured.
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Hook(hook) => hook.as_str(),
        }
    }
}

/// The state of the check and of each hook in this attempt.
#[derive(Debug)]
pub struct CommandStates {
    holds: Duration,
    /// Each command that was begun, with the time of its beginning or of its end.
    states: BTreeMap<CommandKind, (CommandState, Duration)>,
}

impl CommandStates {
    /// States of commands none of which has run. `retry`: after which time a reboot is tried again.
    pub fn new(retry: Duration) -> Self {
        Self { holds: LONGEST_HOLD.min(retry.max(SHORTEST_HOLD)), states: BTreeMap::new() }
    }

    /// Notes that a command begins; `false`: it runs, or its answer still holds, and it is not to be begun.
    pub fn begin(&mut self, kind: CommandKind, now: Duration) -> bool {
        let begins = self.state_of(kind, now) == CommandState::No;
        if begins {
            self.states.insert(kind, (CommandState::Running, now));
        }
        begins
    }

    /// Notes the end of a command. One that was forgotten meanwhile stays so.
    pub fn on_ended(&mut self, kind: CommandKind, end: &CommandEnd, now: Duration) {
        debug_assert!(
            self.states.get(&kind).is_some_and(|(state, _)| *state == CommandState::Running),
            "only a command that was begun ends, and what is forgotten is taken down: {kind:?}"
        );
        let state = match end {
            CommandEnd::Succeeded(_) => CommandState::Well,
            CommandEnd::Refused(problem) | CommandEnd::Broken(problem) => {
                CommandState::Badly(problem.clone())
            }
        };
        self.states.insert(kind, (state, now));
    }

    /// Notes that whatever ran was taken down: it is run again.
    pub fn on_taken_down(&mut self) {
        self.states.retain(|_, (state, _)| *state != CommandState::Running);
    }

    /// The state of a command.
    pub fn state_of(&self, kind: CommandKind, now: Duration) -> CommandState {
        let Some((state, at)) = self.states.get(&kind) else { return CommandState::No };
        if is_passing(kind, state) && now.saturating_sub(*at) >= self.holds {
            return CommandState::No;
        }
        state.clone()
    }

    /// The states of all hooks.
    pub fn hook_states(&self, now: Duration) -> HookStates {
        let state = |hook| self.state_of(CommandKind::Hook(hook), now);
        HookStates {
            before_drain: state(Hook::BeforeDrain),
            before_reboot: state(Hook::BeforeReboot),
            after_boot: state(Hook::AfterBoot),
        }
    }

    /// The time until an answer that holds for a while no longer does. One that is over already waits for somebody who needs
    /// it.
    pub fn next_expiry(&self, now: Duration) -> Option<Duration> {
        let passing = self.states.iter().filter(|(kind, (state, _))| is_passing(**kind, state));
        passing.filter_map(|(_, (_, at))| self.holds.checked_sub(now.saturating_sub(*at))).min()
    }

    /// Forgets the hooks of an attempt that is over; they say nothing of the next. Returns whether there were any: then
    /// whatever runs is to be taken down.
    pub fn forget_hooks(&mut self) -> bool {
        let any = self.states.keys().any(|kind| matches!(kind, CommandKind::Hook(_)));
        if any {
            self.states.retain(|kind, (state, _)| {
                *kind == CommandKind::Check && *state != CommandState::Running
            });
        }
        any
    }
}

/// Tells whether an answer holds for a while only: a yes of an hour ago says nothing, and a no may have become a yes.
fn is_passing(kind: CommandKind, state: &CommandState) -> bool {
    match kind {
        CommandKind::Check => matches!(state, CommandState::Well | CommandState::Badly(_)),
        CommandKind::Hook(hook) => {
            hook == Hook::AfterBoot && matches!(state, CommandState::Badly(_))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: CommandKind = CommandKind::Check;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ended(states: &mut CommandStates, kind: CommandKind, well: bool, seconds: u64) {
        assert!(states.begin(kind, at(seconds)));
        let end = if well {
            CommandEnd::Succeeded("yes".to_owned())
        } else {
            CommandEnd::Refused("no".to_owned())
        };
        states.on_ended(kind, &end, at(seconds));
    }

    #[test]
    fn the_answer_of_the_check_holds_for_a_minute_and_is_asked_for_again() {
        let mut states = CommandStates::new(at(600));
        ended(&mut states, CHECK, true, 10);
        assert_eq!(states.state_of(CHECK, at(69)), CommandState::Well);
        assert!(!states.begin(CHECK, at(69)), "it still holds");
        assert_eq!(states.next_expiry(at(50)), Some(at(20)));
        assert_eq!(states.state_of(CHECK, at(70)), CommandState::No);
        assert_eq!(states.next_expiry(at(71)), None, "it waits for somebody who needs it");
        assert!(states.begin(CHECK, at(71)));
        assert!(!states.begin(CHECK, at(500)), "it runs");
    }

    #[test]
    fn who_tries_again_sooner_asks_sooner_but_not_in_a_circle() {
        let mut states = CommandStates::new(Duration::ZERO);
        ended(&mut states, CHECK, false, 1);
        assert_eq!(states.state_of(CHECK, at(1)), CommandState::Badly("no".to_owned()));
        assert_eq!(states.state_of(CHECK, at(2)), CommandState::No);
    }

    #[test]
    fn of_the_hooks_only_one_that_failed_after_the_boot_is_run_again() {
        let mut states = CommandStates::new(at(600));
        for (hook, well) in
            [(Hook::BeforeDrain, false), (Hook::BeforeReboot, true), (Hook::AfterBoot, false)]
        {
            ended(&mut states, CommandKind::Hook(hook), well, 0);
        }
        let later = states.hook_states(at(3600));
        assert_eq!(later.before_drain, CommandState::Badly("no".to_owned()));
        assert_eq!(later.before_reboot, CommandState::Well);
        assert_eq!(later.after_boot, CommandState::No);
    }

    #[test]
    fn another_attempt_begins_without_hooks_and_keeps_the_answer_of_the_check() {
        let mut states = CommandStates::new(at(600));
        ended(&mut states, CHECK, true, 0);
        assert!(!states.forget_hooks(), "nothing is to be taken down");
        assert!(states.begin(CommandKind::Hook(Hook::BeforeDrain), at(1)));
        assert!(states.forget_hooks());
        assert_eq!(states.state_of(CHECK, at(2)), CommandState::Well);
        assert_eq!(states.hook_states(at(2)), HookStates::default());
        assert!(states.begin(CommandKind::Hook(Hook::BeforeDrain), at(2)));
        states.on_taken_down();
        assert_eq!(states.hook_states(at(2)), HookStates::default());
    }
}
