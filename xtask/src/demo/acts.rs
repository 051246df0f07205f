//! The story itself. Where a unit runs is read from outside, in the cgroups of the hosts; Muster's word is shown, not
//! believed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use muster_tests::lab::{Host, Lab, wait_until};

use super::hosts::{another_host, one_of};
use super::podman;
use crate::shell;
use crate::story::Story;

const TEMPLATE: &str = "web@.service";

/// The daemons run with the default lease: 10 s. A machine's units run elsewhere a second later at the latest.
const FAILOVER_LIMIT: Duration = Duration::from_secs(11);

/// Longer than the default lease, so that everything that could happen in an outage has happened.
const OUTAGE_LIMIT: Duration = Duration::from_secs(15);

/// The time that is "promptly" to a person at a terminal.
const PROMPT_LIMIT: Duration = Duration::from_secs(3);

/// The two instances of the template that the story goes on with.
#[derive(Debug, Clone, Copy)]
struct InstancePair {
    /// The one that is never touched.
    kept: u8,
    /// The one whose host loses power.
    moved: u8,
}

/// Tells all of it, with the chapters about Podman where the hosts have it. An error is something the story cannot go on without.
pub(super) fn play_acts(story: &mut Story, lab: &Lab, podman: bool) -> Result<()> {
    show_machines(story, lab)?;
    submit_units(story, lab)?;
    start_units(story, lab)?;
    show_refusal(story, lab)?;
    show_status(story, lab)?;
    run_containers(story, lab)?;
    if podman {
        podman::run_pod(story, lab)?;
    } else {
        println!("\n(No pods: the Podman of these hosts is older than Quadlet.)");
    }
    let pair = power_cut(story, lab, podman)?;
    cut_the_store(story, lab, pair)?;
    destroy_units(story, lab, podman)
}

fn show_machines(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("Three machines");
    let n1 = lab.host(0)?;
    let begin = Instant::now();
    story.claim_within(begin, PROMPT_LIMIT, "every machine has registered", || three_machines(n1));
    story.run_succeeding(n1, "musterctl list-machines")?;
    Ok(())
}

fn submit_units(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("A template is submitted");
    let (n1, n2) = (lab.host(0)?, lab.host(1)?);
    let file = shell::checkout_root().join("examples").join(TEMPLATE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    n1.write_file(&format!("/root/{TEMPLATE}"), &text)?;
    story.run_succeeding(n1, "cat web@.service")?;
    story.run_succeeding(n1, "musterctl submit web@.service")?;
    let list = story.run_succeeding(n1, "musterctl list-unit-files")?;
    let row = row_of(&list.stdout, TEMPLATE);
    story.check_claim(row.contains(&"inactive"), "the template is listed and inactive");
    let keys = story.run_succeeding(n2, "etcdctl get --prefix /muster/v1/unit/ --keys-only")?;
    story.check_claim(keys.stdout.contains(TEMPLATE), "the store holds it");
    Ok(())
}

fn start_units(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("Two instances start, on different machines");
    let n1 = lab.host(0)?;
    story.run_succeeding(n1, "musterctl start web@1 web@2")?;
    story.run_succeeding(n1, "musterctl list-units")?;
    let (first, second) = (only_host(lab, 1)?, only_host(lab, 2)?);
    story.check_claim(first.name() != second.name(), "they run on different machines");
    for (instance, host) in [(1, first), (2, second)] {
        let line = format!(
            "curl --silent --max-time 5 --retry 5 --retry-connrefused http://{}:{}/",
            host.address(),
            8000 + instance
        );
        let answer = story.run_succeeding(n1, &line)?;
        let expected = format!("web@{instance}");
        let answered = answer.stdout.contains(&expected) && answer.stdout.contains(host.name());
        story.check_claim(answered, &format!("{expected} answers over HTTP from {}", host.name()));
    }
    Ok(())
}

fn show_refusal(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("A third fits, a fourth is refused, with reasons");
    let n1 = lab.host(0)?;
    let output = story.run_command(n1, "musterctl start web@3 web@4")?;
    story.check_claim(output.code == 1, "the command fails");
    story.check_claim(output.took < PROMPT_LIMIT, "and does so promptly");
    let third = only_host(lab, 3)?;
    let others = [only_host(lab, 1)?.name(), only_host(lab, 2)?.name()];
    story.check_claim(!others.contains(&third.name()), "web@3 runs on the third machine");
    story.check_claim(lab.active_on("web@4.service").is_empty(), "web@4 runs nowhere");
    for host in lab.hosts() {
        // A machine is shown as the beginning of its id, as in every list.
        let id = host.machine_id().get(..8).unwrap_or_default();
        let named = output.stderr.contains(id);
        story.check_claim(named, &format!("the refusal names machine {id} ({})", host.name()));
    }
    let reasons = output.stderr.matches("web@").count() >= 3 && output.stderr.contains("onflict");
    story.check_claim(reasons, "and says of each what is in the way");
    Ok(())
}

fn show_status(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("The status of a unit, asked from another host");
    let home = only_host(lab, 1)?;
    let elsewhere = another_host(lab, &[home])?;
    let output = story.run_succeeding(elsewhere, "musterctl status web@1")?;
    story.check_claim(
        output.stdout.contains("web@1.service") && output.stdout.contains("active (running)"),
        &format!("{} shows what systemctl shows on {}", elsewhere.name(), home.name()),
    );
    Ok(())
}

fn run_containers(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("Containers are units like any other");
    let n1 = lab.host(0)?;
    for name in ["page@.container", "pages.volume"] {
        let file = shell::checkout_root().join("examples").join(name);
        let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        n1.write_file(&format!("/root/{name}"), &text)?;
    }
    story.run_succeeding(n1, "grep -v ^# page@.container")?;
    story.run_succeeding(n1, "musterctl submit pages.volume page@.container")?;
    story.run_succeeding(n1, "musterctl start page@1.container page@2.container")?;
    story.run_succeeding(n1, "musterctl list-units")?;
    let (first, second) = (one_of(lab, "page@1.container")?, one_of(lab, "page@2.container")?);
    story.check_claim(first.name() != second.name(), "they run on different machines");
    let line = format!("curl --silent --max-time 5 http://{}:9001/1.html", first.address());
    let answer = story.run_succeeding(n1, &line)?;
    let answered = answer.stdout.contains("page 1") && answer.stdout.contains(first.name());
    story.check_claim(answered, &format!("page@1 answers over HTTP from {}", first.name()));
    let elsewhere = another_host(lab, &[first])?;
    let output = story.run_succeeding(elsewhere, "musterctl status page@1.container")?;
    story.check_claim(
        output.stdout.contains("active (running)"),
        &format!("{} shows how it is on {}", elsewhere.name(), first.name()),
    );
    Ok(())
}

fn power_cut(story: &mut Story, lab: &Lab, podman: bool) -> Result<InstancePair> {
    story.begin_chapter("A host loses power and comes back");
    // Each host has one instance of web@. The one that is cut has the most to lose.
    let lost = if podman { podman::find_shop(lab)? } else { only_host(lab, 2)? };
    let pair = choose_pair(lab, lost)?;
    let InstancePair { kept, moved } = pair;
    let spare = 6 - kept - moved;
    story.run_succeeding(lab.host(0)?, &format!("musterctl destroy web@{spare}"))?;
    let (first, moved_unit) = (only_host(lab, kept)?, format!("web@{moved}.service"));
    let invocation = invocation_id(first, kept)?;
    let begin = Instant::now();
    let whose = if podman { "the host of the pod" } else { "the host" };
    let event = format!("power cut of {}, {whose} and of web@{moved}", lost.name());
    story.tell_event(&event, || lost.power_cut())?;
    story.claim_within(begin, FAILOVER_LIMIT, &format!("web@{moved} runs elsewhere"), || match lab
        .active_on(&moved_unit)
        .len()
    {
        0 => Err("it runs nowhere"),
        _ => Ok(()),
    });
    story.claim_within(begin, FAILOVER_LIMIT, "both containers of Docker's run", || {
        one_of(lab, "page@1.container").and(one_of(lab, "page@2.container")).map(|_| ())
    });
    if podman {
        podman::claim_move(story, lab, lost, begin);
    }
    story.run_succeeding(first, "musterctl list-machines")?;
    story.run_succeeding(first, "musterctl list-units")?;
    let new = only_host(lab, moved)?;
    let apart = new.name() != first.name();
    story.check_claim(
        apart,
        &format!("web@{moved} is not beside web@{kept}, which it conflicts with"),
    );
    if podman {
        podman::visit_shop(story, lab, podman::find_shop(lab)?)?;
    }

    let begin = Instant::now();
    story.tell_event(&format!("{} is switched on again", lost.name()), || lost.power_on())?;
    story.claim_within(begin, Duration::from_secs(30), "three machines again", || {
        three_machines(first)
    });
    story.run_succeeding(first, "musterctl list-machines")?;
    // Two rounds of the slowest loop there is: whatever was going to move would have moved.
    let stayed = holds_for(Duration::from_secs(5), || {
        !lost.is_active(&moved_unit)
            && new.is_active(&moved_unit)
            && first.is_active(&format!("web@{kept}.service"))
            && podman::is_gone(lost)
    });
    story.check_claim(stayed, "nothing moved");
    story.check_claim(
        self::invocation_id(first, kept)? == invocation,
        &format!("web@{kept} was never touched: same InvocationID"),
    );
    Ok(pair)
}

/// The instance on the host that is to be cut, and the first of the others.
fn choose_pair(lab: &Lab, lost: &Host) -> Result<InstancePair> {
    let is_there =
        |instance: u8| only_host(lab, instance).is_ok_and(|host| host.name() == lost.name());
    let moved = (1..=3).find(|instance| is_there(*instance));
    let moved = moved.with_context(|| format!("no instance on {}", lost.name()))?;
    Ok(InstancePair { kept: if moved == 1 { 2 } else { 1 }, moved })
}

fn cut_the_store(story: &mut Story, lab: &Lab, pair: InstancePair) -> Result<()> {
    story.begin_chapter("etcd is away for a while, on all hosts");
    let instances = [pair.kept, pair.moved];
    let hosts = [only_host(lab, pair.kept)?, only_host(lab, pair.moved)?];
    let ids = |story: &mut Story| -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for (instance, host) in instances.into_iter().zip(hosts) {
            let line = format!("systemctl show --property=InvocationID --value web@{instance}");
            ids.push(story.run_succeeding(host, &line)?.stdout);
        }
        Ok(ids)
    };
    let before = ids(story)?;
    story.tell_event("systemctl stop etcd, on every host", || {
        lab.for_each_host(|_, host| host.exec(&["systemctl", "stop", "etcd"])?.ensure_success())
            .map(|_| ())
    })?;
    let running = || {
        instances
            .into_iter()
            .zip(hosts)
            .all(|(instance, host)| host.is_active(&format!("web@{instance}.service")))
    };
    let passed = format!("{} s pass", OUTAGE_LIMIT.as_secs());
    let ran = story.tell_event(&passed, || Ok(holds_for(OUTAGE_LIMIT, running)))?;
    story.check_claim(ran, "nothing stopped, looked at all the time");
    story.tell_event("systemctl restart musterd, on every host", || {
        lab.for_each_host(|_, host| {
            host.exec(&["systemctl", "restart", "musterd"])?.ensure_success()
        })
        .map(|_| ())
    })?;
    let ran = holds_for(Duration::from_secs(5), running);
    story.check_claim(ran, "musterd restarted in the outage stops nothing either");
    let during = ids(story)?;
    story.check_claim(during == before, "and restarts nothing: same InvocationIDs");
    story.tell_event("systemctl start etcd, on every host", || {
        lab.for_each_host(|_, host| host.exec(&["systemctl", "start", "etcd"])?.ensure_success())?;
        lab.wait_for_etcd()
    })?;
    let begin = Instant::now();
    let sentence = "the cluster is complete again";
    story.claim_within(begin, Duration::from_secs(15), sentence, || three_machines(hosts[0]));
    story.run_succeeding(hosts[0], "musterctl list-units")?;
    let after = ids(story)?;
    story.check_claim(after == before, "still the same InvocationIDs");
    Ok(())
}

fn destroy_units(story: &mut Story, lab: &Lab, podman: bool) -> Result<()> {
    story.begin_chapter("Destroyed is gone, from every host and from the store");
    let n1 = lab.host(0)?;
    story.run_succeeding(n1, "musterctl destroy web@1 web@2 web@3 web@4 web@.service")?;
    story.run_succeeding(
        n1,
        "musterctl destroy page@1.container page@2.container page@.container pages.volume",
    )?;
    if podman {
        podman::destroy_pod(story, n1)?;
    }
    for host in lab.hosts() {
        let units = host.active_units(|name| name.starts_with("web@") || name.starts_with("page@"));
        let line = "ls -d /run/systemd/system/web@* /run/systemd/system/till@* \
                    /run/systemd/system/shop-pod.service 2>/dev/null; true";
        let files = host.exec(&["sh", "-c", line])?;
        let gone = units.is_empty() && files.stdout.is_empty() && podman::is_gone(host);
        story.check_claim(
            gone,
            &format!("{} runs none of them and has no file of them", host.name()),
        );
    }
    let list = story.run_succeeding(n1, "musterctl list-unit-files --no-legend")?;
    story.check_claim(list.stdout.trim().is_empty(), "the list is empty");
    let line = "etcdctl get --prefix /muster/v1/ --keys-only | grep -E '/(unit|file|place|state)/' || true";
    let keys = story.run_succeeding(n1, line)?;
    // A file's text stays until no unit names it, so none may be left either.
    let gone = wait_until("the store to forget", Duration::from_secs(5), || {
        let keys = n1.exec(&["sh", "-c", line])?;
        if keys.stdout.trim().is_empty() { Ok(()) } else { Err(anyhow!("{}", keys.stdout)) }
    });
    story.check_claim(gone.is_ok(), "the store has forgotten them");
    drop(keys);
    Ok(())
}

/// True when the daemon of this host sees three machines.
fn three_machines(host: &Host) -> Result<()> {
    let list = host.exec(&["musterctl", "list-machines", "--no-legend"])?.ensure_success()?;
    let count = list.stdout.lines().count();
    if count == 3 { Ok(()) } else { Err(anyhow!("{count} machines")) }
}

/// The one host an instance runs on.
fn only_host(lab: &Lab, instance: u8) -> Result<&Host> {
    one_of(lab, &format!("web@{instance}.service"))
}

fn invocation_id(host: &Host, instance: u8) -> Result<String> {
    let unit = format!("web@{instance}.service");
    let show = host.exec(&["systemctl", "show", "--property=InvocationID", "--value", &unit])?;
    Ok(show.ensure_success()?.stdout)
}

/// True when a state holds for a whole span of time, looked at again and again.
fn holds_for(span: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    let mut always = true;
    // Ends with a breach or with the span; its limit is never reached.
    let _ = wait_until("a breach", span * 2, || {
        always = always && holds();
        if always && begin.elapsed() < span { Err("none yet") } else { Ok(()) }
    });
    always
}

/// The columns of the row that begins with this name.
fn row_of<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(name));
    row.unwrap_or_default().split_whitespace().collect()
}
