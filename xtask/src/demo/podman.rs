//! The chapter of the story that Podman's hosts tell: a pod of two containers and instances of a template, started together, and where
//! they are after a power cut.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use muster_tests::lab::{Host, IMAGE, Lab};

use super::hosts::{another_host, one_of};
use crate::shell;
use crate::story::Story;

const FILES: [&str; 5] =
    ["shelf.volume", "shop.pod", "clerk.container", "window.container", "till@.container"];

/// The services that Podman makes of the pod, its containers and the instances.
const SERVICES: [&str; 5] =
    ["shop-pod.service", "clerk.service", "window.service", "till@1.service", "till@2.service"];

/// Where the pod answers.
const PORT: u16 = 8090;

/// A machine's units are given to another within 11 s; there Podman makes the pod first, and then the containers in it.
const FAILOVER_LIMIT: Duration = Duration::from_secs(16);

/// Has every Podman know the lab's image by the name that users have it under, so that the examples run as they are, without a registry.
pub(super) fn name_image(lab: &Lab) -> Result<()> {
    let line =
        ["podman", "tag", &format!("localhost/{IMAGE}"), &format!("docker.io/library/{IMAGE}")];
    lab.for_each_host(|_, host| host.exec(&line)?.ensure_success()).map(|_| ())
}

/// Starts them, and shows that they are one.
pub(super) fn run_pod(story: &mut Story, lab: &Lab) -> Result<()> {
    story.begin_chapter("A pod of two containers, and a template, run by Podman");
    let n1 = lab.host(0)?;
    for name in FILES {
        let file = shell::checkout_root().join("examples").join(name);
        let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        n1.write_file(&format!("/root/{name}"), &text)?;
    }
    story.run_succeeding(n1, "grep -hv ^# shop.pod clerk.container window.container")?;
    story.run_succeeding(n1, "grep -v ^# till@.container")?;
    story.run_succeeding(n1, "musterctl submit shelf.volume till@.container")?;
    story.run_succeeding(
        n1,
        "musterctl start shop.pod clerk.container window.container till@1.container till@2.container",
    )?;
    story.run_succeeding(n1, "musterctl list-units")?;
    let home = find_shop(lab)?;
    story.check_claim(true, &format!("all five are services on {}", home.name()));
    let line = "podman ps --filter pod=systemd-shop --format '{{.Names}}' | sort";
    let members = story.run_succeeding(home, line)?.stdout;
    let both = members.contains("systemd-clerk") && members.contains("systemd-window");
    story.check_claim(both, "its Podman has both containers in the pod");
    visit_shop(story, lab, home)?;
    let elsewhere = another_host(lab, &[home])?;
    let line = "musterctl journal till@2.container | grep opens";
    let journal = story.run_succeeding(elsewhere, line)?.stdout;
    let greeting = format!("till 2 opens on {}", home.name());
    story.check_claim(journal.contains(&greeting), "its journal is read from another host");
    Ok(())
}

/// The one host on which all of it runs.
pub(super) fn find_shop(lab: &Lab) -> Result<&Host> {
    let mut homes = SERVICES.into_iter().map(|service| one_of(lab, service));
    let home = homes.next().context("no services")??;
    for other in homes {
        let other = other?;
        ensure!(other.name() == home.name(), "it is on {} and {}", home.name(), other.name());
    }
    Ok(home)
}

/// Waits until all of it runs on another host than the one whose power was cut at `begin`.
pub(super) fn claim_move(story: &mut Story, lab: &Lab, lost: &Host, begin: Instant) {
    let sentence = "and so does the pod with both containers and both tills, on one machine";
    story.claim_within(begin, FAILOVER_LIMIT, sentence, || match find_shop(lab)? {
        home if home.name() == lost.name() => Err(anyhow!("it runs on {}", home.name())),
        _ => Ok(()),
    });
}

/// Shows that the pod answers from its host.
pub(super) fn visit_shop(story: &mut Story, lab: &Lab, home: &Host) -> Result<()> {
    let elsewhere = another_host(lab, &[home])?;
    let line = format!(
        "curl --silent --max-time 5 --retry 5 --retry-connrefused http://{}:{PORT}/",
        home.address()
    );
    let answer = story.run_succeeding(elsewhere, &line)?;
    let expected = format!("the shop is open on {}", home.name());
    let sentence = format!("one container shows what the other says, on {}", home.name());
    story.check_claim(answer.stdout.contains(&expected), &sentence);
    Ok(())
}

/// True when nothing of it runs on a host.
pub(super) fn is_gone(host: &Host) -> bool {
    SERVICES.iter().all(|service| !host.is_active(service))
}

/// Takes it all away.
pub(super) fn destroy_pod(story: &mut Story, host: &Host) -> Result<()> {
    story.run_succeeding(
        host,
        "musterctl destroy till@1.container till@2.container till@.container \
         clerk.container window.container shop.pod shelf.volume",
    )?;
    Ok(())
}
