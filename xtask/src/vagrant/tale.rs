//! The story of vagrant/README.md, as typed there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use muster_tests::lab::wait_until;

use super::machines::{Machine, Machines, NAMES};
use crate::shell;
use crate::story::{Place as _, Story, format_time};

const TEMPLATE: &str = "web@.service";

/// An emulated machine boots in a minute or two, and three at once take their time.
const WAIT_LIMIT: Duration = Duration::from_secs(1800);

/// Tells all of it. An error is something the story cannot go on without.
pub(super) fn play_tale(story: &mut Story, machines: &Machines<'_>) -> Result<()> {
    boot_machines(story, machines)?;
    start_units(story, machines)?;
    lose_one(story, machines)?;
    roll_reboots(story, machines)?;
    install_client(story, machines)?;
    story.begin_chapter("Nothing is left");
    let n1 = machines.machine_of("n1");
    story.run_succeeding(&n1, "musterctl destroy web@1 web@2 web@.service")?;
    Ok(())
}

fn install_client(story: &mut Story, machines: &Machines<'_>) -> Result<()> {
    story.begin_chapter("A fourth machine, with nothing but the client");
    story.tell_event("vagrant up client", || machines.boot_all(&["client"]))?;
    let client = machines.machine_of("client");
    let list =
        story.run_succeeding(&client, ". /etc/profile.d/musterctl.sh; musterctl list-machines")?;
    story.check_claim(
        list.stdout.lines().count() == 1 + NAMES.len(),
        "it sees the three, and is none",
    );
    story.run_command(&client, "systemctl is-enabled musterd.service")?;
    Ok(())
}

fn boot_machines(story: &mut Story, machines: &Machines<'_>) -> Result<()> {
    story.begin_chapter("vagrant up");
    story.tell_event("vagrant up", || machines.boot_all(&[]))?;
    for name in NAMES {
        let machine = machines.machine_of(name);
        let begin = Instant::now();
        story.claim_within(begin, WAIT_LIMIT, &format!("{name} knows of three machines"), || {
            wait_for_known(&machine, 3)
        });
        story.run_succeeding(&machine, "musterctl list-machines")?;
    }
    let n1 = machines.machine_of("n1");
    story.run_succeeding(
        &n1,
        "uname -a; systemctl is-active etcd docker musterd; musterd --version",
    )?;
    Ok(())
}

fn start_units(story: &mut Story, machines: &Machines<'_>) -> Result<()> {
    story.begin_chapter("Two instances, on different machines");
    let n1 = machines.machine_of("n1");
    let file = shell::checkout_root().join("examples").join(TEMPLATE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    let line = format!("cat > {TEMPLATE} <<'UNIT'\n{text}UNIT");
    let written = n1.run_line(&line)?;
    ensure!(written.code == 0, "cannot write {TEMPLATE}: {}", written.stderr);
    story.run_succeeding(&n1, "musterctl submit web@.service")?;
    story.run_succeeding(&n1, "musterctl start web@1 web@2")?;
    story.run_succeeding(&n1, "musterctl list-units")?;
    story.check_claim(
        home_of(machines, 1)? != home_of(machines, 2)?,
        "they run on different machines",
    );
    Ok(())
}

fn lose_one(story: &mut Story, machines: &Machines<'_>) -> Result<()> {
    // From another machine than the one that is asked; the first is as good as any.
    let instance = if home_of(machines, 1)? == "n1" { 2 } else { 1 };
    let lost = home_of(machines, instance)?;
    story.begin_chapter("One machine loses its power, and its instance moves");
    let n1 = machines.machine_of("n1");
    story.tell_event(&format!("vagrant halt --force {lost}"), || machines.power_off(&lost))?;
    let begin = Instant::now();
    story.claim_within(begin, WAIT_LIMIT, &format!("web@{instance} runs elsewhere"), || {
        match home_of(machines, instance) {
            Ok(now) if now != lost => Ok(()),
            Ok(_) => Err(anyhow!("it is still said to be on {lost}")),
            Err(error) => Err(error),
        }
    });
    story.run_succeeding(&n1, "musterctl list-machines")?;
    story.run_succeeding(&n1, "musterctl list-units")?;
    story.tell_event(&format!("vagrant up {lost}"), || machines.boot_all(&[&lost]))?;
    let begin = Instant::now();
    story.claim_within(begin, WAIT_LIMIT, "three machines again", || wait_for_known(&n1, 3));
    story.run_succeeding(&n1, "musterctl list-units")?;
    Ok(())
}

fn roll_reboots(story: &mut Story, machines: &Machines<'_>) -> Result<()> {
    story.begin_chapter("A reboot rolls through all three");
    let before = boot_ids(machines)?;
    let n1 = machines.machine_of("n1");
    story.run_succeeding(&n1, "musterctl reboot request --all --because 'new kernel'")?;
    // Whichever has its turn may be gone before it has answered.
    let mut count_told = false;
    for name in NAMES {
        count_told = count_told
            || story.run_command(&machines.machine_of(name), "musterctl reboot status")?.code == 0;
    }
    story.check_claim(count_told, "a machine that stays up says who has the slot");
    let begin = Instant::now();
    println!();
    let mut done: BTreeMap<String, Duration> = BTreeMap::new();
    wait_until("three reboots", WAIT_LIMIT * 2, || {
        for name in NAMES {
            // One that cannot be asked is on its way.
            let Ok(boot) = boot_id(&machines.machine_of(name)) else { continue };
            if before.get(name) != Some(&boot) && !done.contains_key(name) {
                println!("[{:>7}] {name} has booted anew", format_time(begin.elapsed()));
                done.insert(name.to_owned(), begin.elapsed());
            }
        }
        if done.len() == NAMES.len() { Ok(()) } else { Err(anyhow!("{} of them", done.len())) }
    })?;
    let freed = Instant::now();
    story.claim_within(freed, WAIT_LIMIT, "every slot is free again", || {
        let status = n1.run_line("musterctl reboot status")?;
        ensure!(status.stdout.contains("Available: 1"), "{}", status.stdout);
        Ok::<_, anyhow::Error>(())
    });
    let history = story.run_succeeding(&n1, "musterctl reboot history")?;
    let count_told = history.stdout.lines().filter(|line| line.contains("new kernel")).count();
    story.check_claim(count_told == NAMES.len(), "the history has all three");
    story.run_succeeding(&n1, "musterctl list-units")?;
    Ok(())
}

/// True when so many machines are known there.
fn wait_for_known(machine: &Machine<'_>, count: usize) -> Result<()> {
    let list = machine.run_line("musterctl list-machines --no-legend")?;
    let seen = list.stdout.lines().count();
    ensure!(list.code == 0 && seen == count, "{seen} machines: {}", list.stderr);
    Ok(())
}

/// The machine on which systemd runs an instance, asked of each that answers.
fn home_of(machines: &Machines<'_>, instance: u8) -> Result<String> {
    for name in NAMES {
        let line = format!("systemctl is-active web@{instance}.service");
        if machines
            .machine_of(name)
            .run_line(&line)
            .is_ok_and(|output| output.stdout.trim() == "active")
        {
            return Ok(name.to_owned());
        }
    }
    Err(anyhow!("web@{instance} runs nowhere"))
}

fn boot_ids(machines: &Machines<'_>) -> Result<BTreeMap<&'static str, String>> {
    NAMES.into_iter().map(|name| Ok((name, boot_id(&machines.machine_of(name))?))).collect()
}

fn boot_id(machine: &Machine<'_>) -> Result<String> {
    Ok(machine.run_line("cat /proc/sys/kernel/random/boot_id")?.ensure_success()?.stdout)
}
