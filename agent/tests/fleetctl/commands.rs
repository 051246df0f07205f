//! fleetctl's commands, with the requests and the waiting of fleetctl 1.0.0.
//!
//! Owns the order of requests, what each command waits for, what it prints, and its exit code. What it does on its own
//! machine only (ssh, tunnels, tables) is left out.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use muster_common::api::fleet::FleetUnit;
use muster_common::unit::UnitFile;
use serde_json::{Value, json};

use super::client::Client;
use super::wire::{Endpoint, Failure};

/// Between two looks of a wait; the first comes after it, too.
const TICK: Duration = Duration::from_millis(250);
/// One attempt of a wait, as `--block-attempts` counts them.
const ATTEMPT: Duration = Duration::from_secs(2);
/// fleetctl without `--block-attempts` waits for ever. By then a test has seen enough.
const FOR_EVER: Duration = Duration::from_secs(60);

/// The types fleetctl knows; to any other name it appends `.service`.
const TYPES: [&str; 7] = ["service", "socket", "timer", "path", "device", "mount", "automount"];

/// One run of fleetctl.
pub struct Fleetctl<'a> {
    pub client: Client,
    /// Where files are looked for.
    pub directory: &'a Path,
    pub replace: bool,
    pub no_block: bool,
    /// 0: for ever.
    pub block_attempts: u32,
    out: Mutex<Vec<String>>,
    err: Mutex<Vec<String>>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub exit: u8,
    pub out: Vec<String>,
    pub err: Vec<String>,
    pub sent: Vec<String>,
}

/// A command that gave up, with what it says.
struct Gave(String);

impl From<Failure> for Gave {
    fn from(failure: Failure) -> Self {
        Self(format!("{failure:?}"))
    }
}

type Run<T = ()> = Result<T, Gave>;

impl<'a> Fleetctl<'a> {
    pub fn new(endpoint: Endpoint, directory: &'a Path) -> Self {
        Self {
            client: Client { wire: endpoint },
            directory,
            replace: false,
            no_block: false,
            block_attempts: 0,
            out: Mutex::default(),
            err: Mutex::default(),
        }
    }

    /// Runs a command line.
    pub fn run(mut self, words: &[&str]) -> Ended {
        let mut units = Vec::new();
        for word in &words[1..] {
            match word.strip_prefix("--") {
                Some("replace") => self.replace = true,
                Some("no-block") => self.no_block = true,
                Some(flag) => {
                    let attempts = flag.strip_prefix("block-attempts=").expect("a known flag");
                    self.block_attempts = attempts.parse().unwrap();
                }
                None => units.push(*word),
            }
        }
        let run = match words[0] {
            "submit" => self.create("submit", &units),
            "load" => self.load(&units),
            "start" => self.start(&units),
            "stop" => self.stop(&units),
            "unload" => self.unload(&units),
            "restart" => self.restart(&units),
            "destroy" => self.destroy(&units),
            "cat" => self.cat(units[0]),
            "status" => self.status(&units),
            "list-units" => self.list_units(),
            "list-unit-files" => self.list_unit_files(),
            "list-machines" => self.list_machines(),
            other => panic!("fleetctl has no {other}"),
        };
        if let Err(Gave(message)) = &run {
            self.complain(message.clone());
        }
        Ended {
            exit: u8::from(run.is_err()),
            sent: self.client.wire.sent(),
            out: self.out.into_inner().unwrap(),
            err: self.err.into_inner().unwrap(),
        }
    }

    fn say(&self, text: String) {
        self.out.lock().unwrap().push(text);
    }

    fn complain(&self, text: String) {
        self.err.lock().unwrap().push(text);
    }

    fn attempts(&self) -> Option<u32> {
        if self.no_block { None } else { Some(self.block_attempts) }
    }

    /// The units among those named that the cluster has.
    fn find(&self, names: &[&str]) -> Run<Vec<FleetUnit>> {
        let all = self.client.units()?;
        let wanted = names.iter().map(|name| mangle(name));
        Ok(wanted.filter_map(|name| all.iter().find(|unit| unit.name == name).cloned()).collect())
    }

    // Submitting what is not there yet.

    fn create(&self, command: &str, args: &[&str]) -> Run {
        let mut created = Vec::new();
        for arg in args {
            let name = mangle(arg);
            if !self.is_to_be_created(command, arg, &name)? {
                continue;
            }
            let options = match self.file(arg) {
                Some(options) => options,
                None => self.of_template(arg, &name)?,
            };
            self.client.create_unit(&name, &options)?;
            created.push(name);
        }
        // Here fleetctl looks at --block-attempts alone.
        self.wait_for_all(&created, "inactive", self.block_attempts)
    }

    fn is_to_be_created(&self, command: &str, arg: &str, name: &str) -> Run<bool> {
        let Some(unit) = self.client.unit(name)? else { return Ok(true) };
        let local = self.file(arg).or_else(|| {
            let template = template(name)?;
            self.file(&template)
        });
        let different = local.map(|local| local != options(&unit));
        if !self.replace {
            if different == Some(true) {
                self.complain(format!("WARNING: Unit {name} in registry differs from local"));
            }
            return Ok(false);
        }
        match different {
            None => Err(Gave(format!("no file for {name}"))),
            Some(false) => Ok(false),
            Some(true) => {
                let allowed: &[&str] = match command {
                    "submit" => &["inactive"],
                    "load" => &["inactive", "loaded"],
                    _ => &["inactive", "loaded", "launched"],
                };
                let state = unit.desired_state;
                if !allowed.contains(&state.as_str()) {
                    self.complain(format!(
                        "Warning: can not replace Unit({name}) in state {state}"
                    ));
                }
                Ok(allowed.contains(&state.as_str()))
            }
        }
    }

    fn file(&self, arg: &str) -> Option<Value> {
        let text = std::fs::read(self.directory.join(arg)).ok()?;
        let file = UnitFile::parse(&text).unwrap();
        Some(serde_json::to_value(file.options()).unwrap())
    }

    fn of_template(&self, arg: &str, name: &str) -> Run<Value> {
        let Some(template) = template(name) else {
            return Err(Gave(format!("unable to find Unit({name}) in Registry or on filesystem")));
        };
        if let Some(unit) = self.client.unit(&template)? {
            return Ok(options(&unit));
        }
        let beside = Path::new(arg).with_file_name(&template);
        self.file(beside.to_str().unwrap())
            .ok_or_else(|| Gave(format!("unable to find template Unit({template})")))
    }

    // Commands that wait.

    /// Asks for a state; the units of which it had to be asked.
    fn set_targets(&self, args: &[&str], state: &str, verb: &str) -> Run<Vec<String>> {
        let mut waited = Vec::new();
        for arg in args {
            let name = mangle(arg);
            let unit = self.client.unit(&name)?.ok_or_else(|| Gave(format!("no unit {name}")))?;
            if unit.desired_state == state {
                continue;
            }
            self.client.set_target(&name, state)?;
            if is_global(&unit) {
                self.say(format!("Triggered global unit {name} {verb}"));
            } else {
                waited.push(name);
            }
        }
        Ok(waited)
    }

    fn load(&self, args: &[&str]) -> Run {
        self.create("load", args)?;
        let loading = self.set_targets(args, "loaded", "load")?;
        self.wait("load", &loading, "loaded")
    }

    fn start(&self, args: &[&str]) -> Run {
        self.create("start", args)?;
        let starting = self.set_targets(args, "launched", "start")?;
        self.wait("start", &starting, "launched")?;
        if self.no_block {
            return Ok(());
        }
        for name in &starting {
            let active = attempt(|| {
                let state = self.client.unit_state(name).ok()?;
                let up = (state.systemd_active_state.as_str(), state.systemd_load_state.as_str());
                (up == ("active", "loaded")).then_some(())
            });
            // fleetctl reports its first failure and ends, whatever --block-attempts says.
            active.ok_or_else(|| Gave(format!("Failed to find an active unit {name}")))?;
        }
        Ok(())
    }

    fn stop(&self, args: &[&str]) -> Run {
        let mut stopping = Vec::new();
        for unit in self.find(args)? {
            let global = is_global(&unit);
            if !global && unit.current_state == "inactive" {
                return Err(Gave(format!("Unable to stop unit {} in state inactive", unit.name)));
            }
            if !global && unit.current_state == "loaded" {
                continue;
            }
            // An answer that is a refusal passes unseen.
            let _ = self.client.set_target(&unit.name, "loaded");
            if global {
                self.say(format!("Triggered global unit {} stop", unit.name));
            } else {
                stopping.push(unit.name);
            }
        }
        self.wait("stop", &stopping, "loaded")
    }

    fn unload(&self, args: &[&str]) -> Run {
        let mut unloading = Vec::new();
        for unit in self.find(args)? {
            let global = is_global(&unit);
            if !global && unit.current_state == "inactive" {
                continue;
            }
            let _ = self.client.set_target(&unit.name, "inactive");
            if !global {
                unloading.push(unit.name);
            }
        }
        self.wait("unload", &unloading, "inactive")
    }

    fn restart(&self, args: &[&str]) -> Run {
        let units = self.find(args)?;
        self.create("restart", args)?;
        for unit in units.into_iter().filter(|unit| !is_global(unit)) {
            match unit.current_state.as_str() {
                "inactive" => {
                    self.complain(format!(
                        "Unable to restart unit {} in state inactive",
                        unit.name
                    ));
                }
                "loaded" => self.set_and_wait(&unit.name, "launched")?,
                _ => {
                    self.set_and_wait(&unit.name, "loaded")?;
                    self.set_and_wait(&unit.name, "launched")?;
                }
            }
        }
        Ok(())
    }

    /// Whatever it asks for, it waits for `launched`.
    fn set_and_wait(&self, name: &str, target: &str) -> Run {
        self.client.set_target(name, target)?;
        self.wait("restart", &[name.to_owned()], "launched")
    }

    fn destroy(&self, args: &[&str]) -> Run {
        let mut failed = Ok(());
        for unit in self.find(args)? {
            match self.client.destroy(&unit.name) {
                Ok(()) => self.say(format!("Destroyed {}", unit.name)),
                Err(Failure::Status(404, _)) => {}
                Err(failure) => failed = Err(failure.into()),
            }
        }
        failed
    }

    // Waiting.

    fn wait(&self, verb: &str, units: &[String], state: &str) -> Run {
        let Some(attempts) = self.attempts() else {
            for name in units {
                self.say(format!("Triggered unit {name} {verb}"));
            }
            return Ok(());
        };
        self.wait_for_all(units, state, attempts)
    }

    /// All at once, each by itself.
    fn wait_for_all(&self, units: &[String], state: &str, attempts: u32) -> Run {
        std::thread::scope(|scope| {
            let waits: Vec<_> = units
                .iter()
                .map(|name| scope.spawn(move || self.wait_for(name, state, attempts)))
                .collect();
            waits.into_iter().try_for_each(|wait| wait.join().unwrap())
        })
    }

    fn wait_for(&self, name: &str, state: &str, attempts: u32) -> Run {
        let began = Instant::now();
        let mut tried = 0;
        while attempts == 0 || tried < attempts {
            tried += 1;
            if attempt(|| self.is_in(name, state)).is_some() {
                return Ok(());
            }
            assert!(
                began.elapsed() < FOR_EVER,
                "fleetctl hangs: it waits for {name} to be {state}, and the last it saw is {:?}",
                self.client.unit(name)
            );
        }
        Err(Gave(format!("timed out waiting for unit {name} to report state {state}")))
    }

    fn is_in(&self, name: &str, state: &str) -> Option<()> {
        let unit = self.client.unit(name).ok()??;
        let reached = if is_global(&unit) { &unit.desired_state } else { &unit.current_state };
        if reached != state {
            return None;
        }
        let mut line = format!("Unit {name} {}", unit.current_state);
        if !unit.machine_id.is_empty()
            && let Ok(machines) = self.client.machines()
            && let Some(machine) = machines.iter().find(|m| m.id == unit.machine_id)
        {
            line.push_str(&format!(" on {:.8}.../{}", machine.id, machine.primary_ip));
        }
        self.say(line);
        Some(())
    }

    // Commands that only look.

    fn cat(&self, arg: &str) -> Run {
        let name = mangle(arg);
        let unit =
            self.client.unit(&name)?.ok_or_else(|| Gave(format!("Unit {name} not found")))?;
        let mut section = String::new();
        for option in &unit.options {
            if option.section != section {
                if !section.is_empty() {
                    self.say(String::new());
                }
                self.say(format!("[{}]", option.section));
                section.clone_from(&option.section);
            }
            self.say(format!("{}={}", option.name, option.value));
        }
        Ok(())
    }

    /// What it asks before it opens an ssh.
    fn status(&self, args: &[&str]) -> Run {
        for arg in args {
            let name = mangle(arg);
            let unit = self.client.unit(&name)?;
            let unit = unit.ok_or_else(|| Gave(format!("Unit {name} does not exist.")))?;
            if !is_global(&unit) && unit.current_state == "inactive" {
                return Err(Gave(format!("Unit {name} does not appear to be loaded.")));
            }
            let machines = self.client.machines()?;
            let machine = machines.into_iter().find(|machine| machine.id == unit.machine_id);
            let machine = machine.ok_or_else(|| Gave(format!("no machine for {name}")))?;
            self.say(format!("ssh {} systemctl status -l {name}", machine.primary_ip));
        }
        Ok(())
    }

    fn list_units(&self) -> Run {
        for state in self.client.unit_states()? {
            // fleetctl cuts the hash without looking at its length.
            assert!(state.hash.is_empty() || state.hash.len() == 40, "fleetctl crashes: {state:?}");
            let (active, sub) = (&state.systemd_active_state, &state.systemd_sub_state);
            self.say(format!("{}\t{}\t{active}\t{sub}", state.name, state.machine_id));
        }
        Ok(())
    }

    fn list_unit_files(&self) -> Run {
        for unit in self.client.units()? {
            let (desired, current) = (&unit.desired_state, &unit.current_state);
            self.say(format!("{}\t{desired}\t{current}\t{}", unit.name, unit.machine_id));
        }
        Ok(())
    }

    fn list_machines(&self) -> Run {
        for machine in self.client.machines()? {
            self.say(format!("{}\t{}", machine.id, machine.primary_ip));
        }
        Ok(())
    }
}

/// Looks again and again, until one attempt is over.
fn attempt<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    let over = Instant::now() + ATTEMPT;
    let mut next = Instant::now() + TICK;
    while next < over {
        // The pace of its looks is what fleetctl is known by; nobody unparks this thread.
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        if let Some(found) = look() {
            return Some(found);
        }
        // Go's ticker drops the ticks that nobody was there to take.
        while next <= Instant::now() {
            next += TICK;
        }
    }
    None
}

/// The template an instance is made of.
fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, kind) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{kind}"))
}

/// The name that is meant: without directories, with a type.
fn mangle(arg: &str) -> String {
    let name = arg.rsplit('/').next().unwrap();
    let known = name.rsplit_once('.').is_some_and(|(_, kind)| TYPES.contains(&kind));
    if known { name.to_owned() } else { format!("{name}.service") }
}

fn options(unit: &FleetUnit) -> Value {
    json!(unit.options)
}

fn is_global(unit: &FleetUnit) -> bool {
    let mut given = unit.options.iter().filter(|o| o.section == "X-Fleet" && o.name == "Global");
    let last = given.next_back().map(|option| option.value.to_ascii_lowercase());
    last.is_some_and(|value| ["true", "yes", "1", "on", "t"].contains(&value.as_str()))
}
