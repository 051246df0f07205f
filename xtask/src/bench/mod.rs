//! `cargo xtask bench`: each figure beside the raw limit taken in the same run, median and spread; also as JSON.

mod cluster;
mod containers;
mod counting;
mod failover;
mod figure;
mod idle;
mod launch;
mod lists;
mod plan;
mod podman;
mod scale;
mod swarm;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use muster_tests::lab::{Lab, Options};

use crate::install::{self, Purpose};
use crate::lab::DebianChoice;
use crate::{build, dist};
use failover::Victim;
use figure::Figure;

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// What to measure; everything but `scale` without.
    scenarios: Vec<Scenario>,
    /// Fewer repetitions.
    #[arg(long)]
    quick: bool,
    /// Take musterd and musterctl from here instead of building them.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Measure the musterd and musterctl in this directory as well, by turns with ours in the same run.
    #[arg(long, value_name = "DIR")]
    beside: Option<PathBuf>,
    #[command(flatten)]
    debian: DebianChoice,
}

/// Numbers of containers that are started at once, each with its repetitions of a quick run and of a full one.
const CONTAINERS: [(usize, usize, usize); 3] = [(1, 5, 20), (30, 3, 7), (100, 2, 5)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Decisions in process, without hosts.
    Plan,
    /// One unit, from the command to active.
    LaunchOne,
    /// 100 instances.
    #[value(name = "launch-100")]
    Launch100,
    /// 300 instances, and the cluster idle with them.
    #[value(name = "launch-300")]
    Launch300,
    /// 1,000 instances, the cluster idle with them, and lists of them.
    #[value(name = "launch-1000")]
    Launch1000,
    /// Power cuts at a TTL of 5 s.
    Failover,
    /// Power cuts at the default TTL.
    FailoverDefault,
    /// 1, 30 and 100 containers, beside Docker Swarm; the same with Podman, beside systemd.
    Containers,
    /// Of `containers` what is Podman's.
    ContainersPodman,
    /// Power cuts with containers.
    ContainersFailover,
    /// 1,000 agents and 10,000 units on this machine: only when it is named.
    Scale,
}

impl Scenario {
    /// True if it is measured without hosts of the lab.
    fn is_in_process(self) -> bool {
        matches!(self, Self::Plan | Self::Scale)
    }
}

pub(crate) fn run_bench(arguments: &BenchArguments) -> Result<()> {
    install::ensure_tools(Purpose::Lab)?;
    let mut bench = Bench {
        arguments,
        figures: Vec::new(),
        beside: Vec::new(),
        beside_package: None,
        failures: Vec::new(),
    };
    if bench.is_wanted(Scenario::Plan) {
        if arguments.beside.is_some() {
            eprintln!(
                "bench: plan is measured of this checkout only; it is no part of the programs"
            );
        }
        bench.collect_figures("plan", plan::measure_plan());
    }
    if arguments.scenarios.contains(&Scenario::Scale) {
        let binaries = match &arguments.binaries {
            Some(binaries) => binaries.clone(),
            None => build::build_release()?,
        };
        bench.collect_figures("scale", scale::measure_scale(&binaries, arguments.quick));
    }
    if Scenario::value_variants().iter().any(|one| !one.is_in_process() && bench.is_wanted(*one)) {
        let binaries = match &arguments.binaries {
            Some(binaries) => binaries.clone(),
            None => build::build_release()?,
        };
        // The packages have one name, so the other one is put aside before ours is made.
        if let Some(beside) = &arguments.beside {
            let made = dist::make_package(beside)?;
            let aside = build::target_directory()?.join("packages").join("beside");
            std::fs::create_dir_all(&aside)?;
            let aside = aside.join(made.file_name().context("a package has a name")?);
            std::fs::rename(&made, &aside)?;
            bench.beside_package = Some(aside);
        }
        let package = Some(dist::make_package(&binaries)?);
        let release = arguments.debian.chosen_release();
        let options = Options { package, release, ..Options::default() };
        bench.on_hosts(&options);
        bench.on_engines(&options);
    }
    bench.print_report()
}

struct Bench<'a> {
    arguments: &'a BenchArguments,
    figures: Vec<Figure>,
    /// Those of the other programs.
    beside: Vec<Figure>,
    beside_package: Option<PathBuf>,
    failures: Vec<String>,
}

impl Bench<'_> {
    fn is_wanted(&self, scenario: Scenario) -> bool {
        self.arguments.scenarios.is_empty() || self.arguments.scenarios.contains(&scenario)
    }

    fn repetitions_of(&self, quick: usize, full: usize) -> usize {
        if self.arguments.quick { quick } else { full }
    }

    /// Each scenario gets hosts of its own, so that none inherits another's load or its failure.
    fn on_hosts(&mut self, options: &Options) {
        let window = Duration::from_secs(if self.arguments.quick { 10 } else { 30 });
        if self.is_wanted(Scenario::LaunchOne) {
            let repetitions = self.repetitions_of(5, 20);
            self.run_scenario("launch-one", options, |lab| {
                Ok(vec![launch::measure_one(lab, repetitions)?])
            });
        }
        if self.is_wanted(Scenario::Launch100) {
            let repetitions = self.repetitions_of(2, 7);
            self.run_scenario("launch-100", options, |lab| {
                Ok(vec![launch::measure_many(lab, 100, repetitions, || Ok(()))?])
            });
        }
        if self.is_wanted(Scenario::Launch300) {
            let repetitions = self.repetitions_of(2, 5);
            self.run_scenario("launch-300", options, |lab| {
                let mut idle = Vec::new();
                let launch = launch::measure_many(lab, 300, repetitions, || {
                    idle = idle::measure_idle(lab, 300, window)?;
                    Ok(())
                })?;
                idle.insert(0, launch);
                Ok(idle)
            });
        }
        if self.is_wanted(Scenario::Launch1000) {
            let repetitions = self.repetitions_of(1, 3);
            let looks = self.repetitions_of(5, 20);
            self.run_scenario("launch-1000", options, |lab| {
                let mut more = Vec::new();
                let launch = launch::measure_many(lab, 1000, repetitions, || {
                    more = lists::measure_lists(lab, 1000, looks)?;
                    more.extend(idle::measure_idle(lab, 1000, window)?);
                    Ok(())
                })?;
                more.insert(0, launch);
                Ok(more)
            });
        }
        let victims = [Victim::Follower, Victim::Leader, Victim::EtcdLeader];
        if self.is_wanted(Scenario::Failover) {
            let repetitions = self.repetitions_of(1, 5);
            let ttl = ["--ttl", "5s"].map(ToOwned::to_owned).to_vec();
            let options = Options { provision: ttl, ..options.clone() };
            for victim in victims {
                self.run_scenario("failover", &options, |lab| {
                    Ok(vec![failover::measure_failover(lab, victim, 5.0, repetitions)?])
                });
            }
        }
        if self.is_wanted(Scenario::FailoverDefault) {
            let repetitions = self.repetitions_of(1, 3);
            for victim in victims {
                self.run_scenario("failover-default", options, |lab| {
                    Ok(vec![failover::measure_failover(lab, victim, 10.0, repetitions)?])
                });
            }
        }
    }

    /// With a container engine on each host.
    fn on_engines(&mut self, options: &Options) {
        let options = Options { containers: true, ..options.clone() };
        if self.is_wanted(Scenario::Containers) {
            for (count, quick, full) in CONTAINERS {
                let repetitions = self.repetitions_of(quick, full);
                self.run_scenario(&format!("containers, {count}"), &options, |lab| {
                    containers::prepare_images(lab)?;
                    Ok(vec![containers::measure_launch(lab, count, repetitions)?])
                });
            }
        }
        if self.is_wanted(Scenario::Containers) || self.is_wanted(Scenario::ContainersPodman) {
            // Hosts of their own: where both engines are, each would cost the other time.
            let options = Options { containers: false, podman: true, ..options.clone() };
            for (count, quick, full) in CONTAINERS {
                let repetitions = self.repetitions_of(quick, full);
                self.run_scenario(&format!("containers with Podman, {count}"), &options, |lab| {
                    podman::prepare_units(lab)?;
                    Ok(vec![podman::measure_launch(lab, count, repetitions)?])
                });
            }
        }
        if self.is_wanted(Scenario::ContainersFailover) {
            let repetitions = self.repetitions_of(1, 5);
            self.run_scenario("containers-failover", &options, |lab| {
                containers::prepare_images(lab)?;
                Ok(vec![containers::measure_failover(lab, repetitions)?])
            });
        }
    }

    fn run_scenario(
        &mut self,
        name: &str,
        options: &Options,
        measure: impl Fn(&Lab) -> Result<Vec<Figure>>,
    ) {
        eprintln!("bench: {name}");
        let measure_with = |package: Option<PathBuf>| {
            let lab = cluster::boot_cluster(&Options { package, ..options.clone() })?;
            let figures = measure(&lab);
            lab.tear_down()?;
            figures
        };
        let Some(other) = self.beside_package.clone() else {
            self.collect_figures(name, measure_with(options.package.clone()));
            return;
        };
        // Whoever is first in one round is last in the next: what the machine does meanwhile meets both alike.
        let order: &[bool] =
            if self.arguments.quick { &[true, false] } else { &[true, false, false, true] };
        let (mut ours, mut beside) = (Vec::new(), Vec::new());
        for is_other in order {
            let (package, rounds) = if *is_other {
                (Some(other.clone()), &mut beside)
            } else {
                (options.package.clone(), &mut ours)
            };
            match measure_with(package) {
                Ok(figures) => rounds.push(figures),
                Err(error) => return self.collect_figures(name, Err(error)),
            }
        }
        self.beside.extend(figure::pool_rounds(beside));
        self.collect_figures(name, Ok(figure::pool_rounds(ours)));
    }

    /// A scenario that fails does not take the others' figures with it; the run fails in the end.
    fn collect_figures(&mut self, name: &str, result: Result<Vec<Figure>>) {
        match result {
            Ok(figures) => {
                eprint!("{}", figure::format_table(&figures, &self.beside));
                self.figures.extend(figures);
            }
            Err(error) => {
                eprintln!("bench: {name} failed: {error:#}");
                self.failures.push(name.to_owned());
            }
        }
    }

    fn print_report(self) -> Result<()> {
        println!("{}", figure::format_table(&self.figures, &self.beside));
        let path = build::target_directory()?.join("bench.json");
        let text = serde_json::to_vec_pretty(&self.figures)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written to {}", path.display());
        if !self.beside.is_empty() {
            let path = path.with_file_name("bench-beside.json");
            std::fs::write(&path, serde_json::to_vec_pretty(&self.beside)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
            println!("those beside them to {}", path.display());
        }
        if self.failures.is_empty() {
            return Ok(());
        }
        bail!("not measured: {}", self.failures.join(", "))
    }
}
