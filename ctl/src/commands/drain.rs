//! `drain`: a machine is emptied, and what becomes of each unit on it.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use muster_common::api::drain::{DrainEvent, DrainRequest, Draining};
use muster_common::cordon::{AtDeadline, DrainEnd};
use muster_common::drain::{Course, Progress};
use muster_common::machine::MachineId;
use muster_common::text::clean;
use muster_common::unit::UnitName;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::DrainArgs;
use crate::client::{Client, escape};
use crate::error::Error;
use crate::machines::find;
use crate::output::console::Console;
use crate::output::{json, table};
use crate::sse::Decoder;

use super::{exit_code, user};

/// Pause before a stream that broke is taken up again.
const PAUSE: Duration = Duration::from_millis(100);

/// A drain that is followed.
struct Drain<'a> {
    client: &'a Client,
    machine: MachineId,
    /// What is left is stopped at the deadline, so that it is waited for.
    forces: bool,
    progress: Progress,
    /// How far it had come when it was still going on: why units did not move is known from then.
    last: Progress,
    /// Units that have left; each is told once.
    left: BTreeSet<UnitName>,
    trouble_told: Option<String>,
}

/// Moves the units of a machine elsewhere, and waits for that.
pub(crate) async fn run(
    client: &Client,
    console: &mut Console,
    args: &DrainArgs,
) -> Result<ExitCode, Error> {
    let machine = find(client, &args.machine).await?;
    let request = DrainRequest {
        by: user(),
        reason: args.reason.clone().unwrap_or_default(),
        deadline: args.deadline.map(|limit| limit.as_secs() + u64::from(limit.subsec_nanos() > 0)),
        then: if args.force { AtDeadline::Force } else { AtDeadline::GiveUp },
        dry_run: args.dry_run,
    };
    let path = format!("/v1/machines/{}/drain", escape(machine.as_str()));
    let Draining { progress, revision } = client.post(&path, &request).await?;
    if args.dry_run {
        return rehearsed(console, &progress);
    }
    if args.no_block {
        if console.is_json() {
            console.data(&json::pretty(&progress)?)?;
        } else {
            let text = format!("{}... is being drained\n", machine.short());
            console.text(&text)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let forces = args.force;
    let left = BTreeSet::new();
    let last = progress.clone();
    let mut drain = Drain { client, machine, forces, progress, last, left, trouble_told: None };
    let mut interrupts = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let followed = tokio::select! {
        followed = drain.follow(console, revision) => Some(followed),
        _ = interrupts.recv() => None,
    };
    console.end_progress();
    match followed {
        Some(followed) => followed?,
        None => return Err(Error::DrainInterrupted(drain.machine.short().to_owned())),
    }
    drain.tell(console)
}

/// What would become of each unit.
fn rehearsed(console: &Console, progress: &Progress) -> Result<ExitCode, Error> {
    let movable = progress.stuck().next().is_none();
    if console.is_json() {
        console.data(&json::pretty(progress)?)?;
        return Ok(exit_code(movable));
    }
    let mut text = String::new();
    for (name, course) in &progress.units {
        let line = match course {
            Course::Global => format!("{name} stays: it is global"),
            course if course.is_on_its_way() => format!("{name} {course}"),
            course => format!("{name} cannot move: {}", indented(course)),
        };
        text.push_str(&line);
        text.push('\n');
    }
    console.text(&text)?;
    Ok(exit_code(movable))
}

impl Drain<'_> {
    /// Follows the daemon's events until nothing is to be waited for any more. A daemon that goes away is given as long to
    /// come back as a request may take.
    async fn follow(&mut self, console: &mut Console, revision: u64) -> Result<(), Error> {
        let mut heard = Instant::now();
        while !self.is_over() {
            let ended = match self.events(console, revision, &mut heard).await {
                Ok(()) if self.is_over() => return Ok(()),
                Ok(()) => Error::WaitEnded,
                Err(Error::Client(error)) if error.is_passing() => Error::Client(error),
                Err(error) => return Err(error),
            };
            if heard.elapsed() >= self.client.timeout() {
                return Err(ended);
            }
            console.progress("lost the daemon; asking again".to_owned());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn events(
        &mut self,
        console: &mut Console,
        revision: u64,
        heard: &mut Instant,
    ) -> Result<(), Error> {
        let machine = escape(self.machine.as_str());
        let path = format!("/v1/machines/{machine}/drain/events?revision={revision}");
        let mut pieces = self.client.get_pieces(&path).await?;
        let mut decoder = Decoder::default();
        console.progress(self.summary());
        while let Some(piece) = pieces.next().await? {
            *heard = Instant::now();
            for data in decoder.push(&piece)? {
                self.take(console, &data)?;
            }
            if self.is_over() {
                return Ok(());
            }
            console.progress(self.summary());
        }
        Ok(())
    }

    fn take(&mut self, console: &Console, data: &str) -> Result<(), Error> {
        // A later daemon may have events that this client does not know; they are not for it.
        let Ok(event) = serde_json::from_str::<DrainEvent>(data) else { return Ok(()) };
        match event {
            DrainEvent::Progress { progress } => {
                if progress.is_draining() {
                    self.last.clone_from(&progress);
                }
                let before = std::mem::replace(&mut self.progress, progress);
                for (name, course) in before.units {
                    // It left while nobody was there to tell of it.
                    if !self.progress.units.contains_key(&name) && !self.left.contains(&name) {
                        let to = match course {
                            Course::Moving { to } => format!("moved to {}...", to.short()),
                            _ => "left".to_owned(),
                        };
                        self.moved(console, name, &to)?;
                    }
                }
            }
            DrainEvent::Left { name, to } => {
                let to = match to {
                    Some(to) => {
                        format!("moved to {}", table::machine(&to.id, &to.address, false))
                    }
                    None => "stopped, and is on no machine now".to_owned(),
                };
                self.moved(console, name, &to)?;
            }
            DrainEvent::Degraded { message } if self.trouble_told.as_ref() != Some(&message) => {
                console.warning(format_args!("{}; still waiting", clean(&message)));
                self.trouble_told = Some(message);
            }
            _ => {}
        }
        Ok(())
    }

    fn moved(&mut self, console: &Console, name: UnitName, to: &str) -> Result<(), Error> {
        if !console.is_json() {
            console.text(&format!("{name} {to}\n"))?;
        }
        self.left.insert(name);
        Ok(())
    }

    /// Whether nothing moves any more, or will by itself.
    fn is_over(&self) -> bool {
        if self.progress.is_done() {
            return true;
        }
        let waits_for_force = self.forces && self.progress.is_draining();
        self.progress.is_at_rest() && !waits_for_force
    }

    fn summary(&self) -> String {
        let left = self.progress.units.values().filter(|course| course.is_left()).count();
        let moved = self.left.len();
        let next = self.progress.units.iter().find(|(_, course)| course.is_on_its_way());
        let next = next.map(|(name, course)| format!(": {name} {course}")).unwrap_or_default();
        format!("{moved}/{}{next}", moved + left)
    }

    /// What has become of it in the end.
    fn tell(&self, console: &Console) -> Result<ExitCode, Error> {
        let short = self.machine.short();
        if console.is_json() {
            console.data(&json::pretty(&self.progress)?)?;
        }
        if self.progress.is_done() {
            if !console.is_json() {
                console.text(&format!("{short}... is drained\n"))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let ended = self.progress.ended();
        for (name, course) in self.progress.stuck() {
            match (course, self.last.units.get(name)) {
                (Course::Stays, Some(last)) if last.is_on_its_way() && ended.is_some() => {
                    console.error(format_args!("{name} was not up elsewhere in time"));
                }
                (Course::Stays, Some(last)) if last.is_left() && !last.is_on_its_way() => {
                    console.error(format_args!("{name} cannot move: {}", indented(last)));
                }
                (Course::Stays, _) => {}
                (course, _) => {
                    console.error(format_args!("{name} cannot move: {}", indented(course)));
                }
            }
        }
        match ended {
            Some(DrainEnd::GaveUp) => {
                console.error(format_args!("the drain of {short}... was given up at its deadline"));
            }
            _ if !self.progress.is_draining() => {
                console.error(format_args!("the drain of {short}... was called off"));
            }
            _ => console.hint(format_args!(
                "{short}... goes on being drained, should that change; `musterctl uncordon` calls it off"
            )),
        }
        Ok(ExitCode::FAILURE)
    }
}

/// One line as it is, several below.
fn indented(course: &Course) -> String {
    let text = course.to_string();
    if matches!(course, Course::Stuck { refusal } if refusal.unit.is_none()) {
        return format!("no other machine takes it\n  {}", text.replace('\n', "\n  "));
    }
    text
}
