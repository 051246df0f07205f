//! The story of a roll: three hosts want to reboot at once, and do so one after the other, under a service that goes on.
//! Who holds the slot is read from the store and what answers is asked all the time, from outside; Muster's word is shown,
//! not believed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use muster_tests::lab::{Host, Lab, Process, Samples, wait_until};
use muster_tests::reboots::{DEFAULT, Reboots, SlotRecord};

use crate::shell;
use crate::story::{Story, format_time};

/// The options of the daemons beside their defaults: a story is shorter than the minute for which all has to be well.
pub(super) const CONFIGURATION: &str = "[reboot]\nsettle = \"5s\"\n";

const TEMPLATE: &str = "web@.service";

/// The replicas, and where each answers, whatever host it is on.
const REPLICAS: [(&str, u16); 3] = [("web@1", 8001), ("web@2", 8002), ("web@3", 8003)];

/// Longer than hosts take that do nothing but boot.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Tells all of it. An error is something the story cannot go on without.
pub(super) fn play_reboots(story: &mut Story, lab: &Lab) -> Result<()> {
    start_service(story, lab)?;
    let before: BTreeMap<&str, Option<Process>> =
        lab.hosts().iter().map(|host| (host.name(), host.init_process())).collect();
    let homes = unit_homes(lab)?;
    let ports = REPLICAS.map(|(_, port)| port);
    let (roll, samples) = lab.sample_while(&ports, || {
        request_reboots(story, lab)?;
        watch_roll(story, lab)
    })?;
    check_after_reboots(story, lab, &before, &homes)?;
    check_sums(story, &homes, &roll, &samples);
    Ok(())
}

fn start_service(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("A service with a replica on each of three machines");
    let n1 = lab.host(0)?;
    let file = shell::checkout_root().join("examples").join(TEMPLATE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    n1.write_file(&format!("/root/{TEMPLATE}"), &text)?;
    let begin = Instant::now();
    story.claim_within(begin, WAIT_LIMIT, "every machine has registered", || {
        wait_for_machines(n1, 3)
    });
    story.run_succeeding(n1, "grep ^Conflicts= web@.service")?;
    story.run_succeeding(n1, "musterctl submit web@.service")?;
    story.run_succeeding(n1, "musterctl start web@1 web@2 web@3")?;
    story.run_succeeding(n1, "musterctl list-units")?;
    let begin = Instant::now();
    story.claim_within(begin, WAIT_LIMIT, "each answers over HTTP", || {
        for (name, port) in REPLICAS {
            let homes = lab.active_on(&format!("{name}.service"));
            let home = homes.first().with_context(|| format!("{name} runs nowhere"))?;
            lab.http_get(home, port, "/")?;
        }
        anyhow::Ok(())
    });
    Ok(())
}

fn request_reboots(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("An update: each machine asks for a reboot, all at the same time");
    story.run_succeeding(lab.host(0)?, "grep --after-context=1 reboot /etc/muster/muster.toml")?;
    let line = "musterctl reboot request --because 'new kernel'";
    story.tell_event(&format!("{line}, on every host"), || {
        lab.for_each_host(|_, host| host.exec(&["sh", "-c", line])?.ensure_success()).map(|_| ())
    })?;
    let reboots = Reboots::for_lab(lab);
    let begin = Instant::now();
    let mut holder = None;
    story.claim_within(begin, WAIT_LIMIT, "one of them has taken the slot", || {
        holder = reboots.list_holders(DEFAULT)?.pop_first();
        holder.as_ref().map(|_| ()).context("nobody has")
    });
    let holder = holder.context("nobody takes the slot")?;
    let waiting = lab.hosts().iter().filter(|host| host.name() != holder);
    for host in waiting.clone() {
        reboots.wait_for_reason(host, "slots-taken")?;
    }
    let another = waiting.clone().next().context("no other host")?;
    let status = story.run_succeeding(another, "musterctl reboot status")?;
    let id = lab.host_named(&holder)?.machine_id();
    let named = id.get(..8).is_some_and(|short| status.stdout.contains(short));
    story
        .check_claim(named, &format!("it says who holds the slot ({holder}), and why others wait"));
    Ok(())
}

fn watch_roll(story: &mut Story, lab: &Lab) -> Result<SlotRecord> {
    story.begin_chapter("They reboot one after the other");
    println!();
    let begin = Instant::now();
    let reboots = Reboots::for_lab(lab);
    let roll = reboots
        .watch(DEFAULT, 3, |what| println!("[{:>7}] {what}", format_time(begin.elapsed())))?;
    story.check_claim(roll.most == 1, &format!("at most {} slot was held at a time", roll.most));
    Ok(roll)
}

fn check_after_reboots(
    story: &mut Story,
    lab: &Lab,
    before: &BTreeMap<&str, Option<Process>>,
    homes: &BTreeMap<&str, String>,
) -> Result<()> {
    story.begin_chapter("All are back, and so is every replica");
    let n1 = lab.host(0)?;
    let begin = Instant::now();
    story.claim_within(begin, WAIT_LIMIT, "three machines again", || wait_for_machines(n1, 3));
    story.run_succeeding(n1, "musterctl reboot status")?;
    story.run_succeeding(n1, "musterctl reboot history")?;
    story.run_succeeding(n1, "musterctl list-units")?;
    for host in lab.hosts() {
        let another =
            host.init_process().is_some() && before.get(host.name()) != Some(&host.init_process());
        story.check_claim(another, &format!("{} has rebooted", host.name()));
    }
    let back = wait_until("the replicas", WAIT_LIMIT, || {
        let now = self::unit_homes(lab)?;
        if now == *homes { Ok(()) } else { Err(anyhow!("{now:?} and not {homes:?}")) }
    });
    story.check_claim(back.is_ok(), "every replica runs where it ran");
    let history = Reboots::for_lab(lab).read_history(DEFAULT)?;
    let well = history.len() == 3 && history.iter().all(|entry| entry.outcome == "rebooted");
    story.check_claim(well, "the history has three reboots that ended well");
    let left = n1.exec(&["sh", "-c", "musterctl list-machines --fields=cordon --no-legend"])?;
    let free = left.ensure_success()?.stdout.lines().all(|line| line.trim() == "-");
    story.check_claim(free, "no machine is cordoned");
    Ok(())
}

/// The time it took, and what a client of the service saw of it.
fn check_sums(
    story: &mut Story,
    homes: &BTreeMap<&str, String>,
    roll: &SlotRecord,
    samples: &Samples,
) {
    story.begin_chapter("What it took");
    println!();
    println!("HOST  SLOT TAKEN TO FREED  REPLICA  AWAY");
    for held in &roll.held {
        let took =
            held.freed.map_or_else(|| "-".to_owned(), |freed| format_time(freed - held.taken));
        let own = REPLICAS
            .iter()
            .enumerate()
            .find(|(_, (name, _))| homes.get(name).is_some_and(|home| *home == held.holder));
        let (replica, away) = match own {
            Some((at, (name, _))) => (*name, format_time(samples.time_away(at))),
            None => ("-", "-".to_owned()),
        };
        println!("{:<4}  {took:<19}  {replica:<7}  {away}", held.holder);
    }
    println!(
        "\nThe service, of which each replica was asked {} times, never more than {} apart:",
        samples.0.len(),
        format_time(samples.longest_gap())
    );
    let (fewest, silent) = (samples.fewest_answering(), samples.time_silent());
    story.check_claim(
        fewest >= 2,
        &format!("at every time at least two replicas answered ({fewest})"),
    );
    story.check_claim(
        silent.is_zero() && !samples.0.is_empty(),
        &format!("its downtime, for a client that tries all replicas: {}", none_or(silent)),
    );
    story.check_claim(samples.doubled_samples().is_empty(), "no replica ever ran twice");
}

fn none_or(duration: Duration) -> String {
    if duration.is_zero() { "none".to_owned() } else { format_time(duration) }
}

/// True when the daemon of this host sees so many machines.
fn wait_for_machines(host: &Host, wanted: usize) -> Result<()> {
    let list = host.exec(&["musterctl", "list-machines", "--no-legend"])?.ensure_success()?;
    let count = list.stdout.lines().count();
    if count == wanted { Ok(()) } else { Err(anyhow!("{count} machines")) }
}

/// The host of each replica.
fn unit_homes(lab: &Lab) -> Result<BTreeMap<&'static str, String>> {
    REPLICAS
        .iter()
        .map(|(name, _)| match lab.active_on(&format!("{name}.service")).as_slice() {
            [host] => Ok((*name, host.name().to_owned())),
            hosts => Err(anyhow!("{name} runs on {} hosts", hosts.len())),
        })
        .collect()
}
