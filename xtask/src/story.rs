//! How a story is told: commands as a person types them, what they answered, how long they took, and whether that is what the
//! story says.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use muster_tests::lab::{Host, Output, wait_closely};

/// The pause between two looks of a wait of the story. Its times are shown to a tenth of a second.
const INTERVAL: Duration = Duration::from_millis(20);

/// Where commands are typed.
pub(crate) trait Place {
    /// Its name.
    fn name(&self) -> &str;

    /// Runs a command line there, as root in root's home.
    fn run_line(&self, line: &str) -> Result<Output>;
}

impl Place for Host {
    fn name(&self) -> &str {
        self.name()
    }

    fn run_line(&self, line: &str) -> Result<Output> {
        self.exec(&["sh", "-c", &format!("cd /root && {line}")])
    }
}

/// A story being told.
#[derive(Debug)]
pub(crate) struct Story {
    begin: Instant,
    chapters: usize,
    /// Commands and events.
    steps: usize,
    untrue: Vec<String>,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self { begin: Instant::now(), chapters: 0, steps: 0, untrue: Vec::new() }
    }

    pub(crate) fn begin_chapter(&mut self, title: &str) {
        self.chapters += 1;
        println!("\n== {}. {title}", self.chapters);
    }

    /// Runs a command line on a host as a person there would, in root's home, and shows it with its answer.
    pub(crate) fn run_command(&mut self, host: &impl Place, line: &str) -> Result<Output> {
        self.steps += 1;
        let output = host.run_line(line)?;
        println!("\n{} # {line}", host.name());
        print!("{}", output.stdout);
        print!("{}", output.stderr);
        let code =
            if output.code == 0 { String::new() } else { format!("exit code {}, ", output.code) };
        println!("[{code}{}]", format_time(output.took));
        Ok(output)
    }

    /// [`Story::command`] that the story says succeeds.
    pub(crate) fn run_succeeding(&mut self, host: &impl Place, line: &str) -> Result<Output> {
        let output = self.run_command(host, line)?;
        if output.code != 0 {
            self.check_claim(false, &format!("`{line}` succeeds"));
        }
        Ok(output)
    }

    /// Something done to a host that is no command on it.
    pub(crate) fn tell_event<T>(
        &mut self,
        what: &str,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.steps += 1;
        let begin = Instant::now();
        println!("\n** {what}");
        let result = act()?;
        println!("[{}]", format_time(begin.elapsed()));
        Ok(result)
    }

    /// States what the story says and whether it is so.
    pub(crate) fn check_claim(&mut self, holds: bool, sentence: &str) {
        if holds {
            println!("   ok: {sentence}");
        } else {
            println!("   UNTRUE: {sentence}");
            self.untrue.push(format!("{}. {sentence}", self.chapters));
        }
    }

    /// Waits for what the story says will be, counted from `since`, which may lie in the past.
    pub(crate) fn claim_within<E: Display>(
        &mut self,
        since: Instant,
        limit: Duration,
        sentence: &str,
        condition: impl FnMut() -> Result<(), E>,
    ) {
        // Looked at for longer than the limit, so that "too late" and "never" can be told apart.
        let allowed = limit.saturating_sub(since.elapsed()) + Duration::from_secs(30);
        match wait_closely(sentence, allowed, INTERVAL, condition) {
            Ok(_) => {
                let took = since.elapsed();
                self.check_claim(
                    took <= limit,
                    &format!(
                        "{sentence}, after {} (at most {})",
                        format_time(took),
                        format_time(limit)
                    ),
                );
            }
            Err(error) => self.check_claim(false, &format!("{sentence} ({error:#})")),
        }
    }

    /// The end; an error if anything was not as the story says.
    pub(crate) fn end(self) -> Result<()> {
        let took = format_time(self.begin.elapsed());
        if self.untrue.is_empty() {
            println!("\nThe story is true: {} steps, told in {took}.", self.steps);
            return Ok(());
        }
        println!("\nNot as the story says:");
        for sentence in &self.untrue {
            println!("  {sentence}");
        }
        bail!("{} sentences of the story are untrue (told in {took})", self.untrue.len())
    }
}

/// A length of time as the story tells it.
pub(crate) fn format_time(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
