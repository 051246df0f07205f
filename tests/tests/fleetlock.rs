//! FleetLock over the network, against three daemons of which one is always being killed: crowds of clients get every slot
//! there is, and no more.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL, WAIT_LIMIT};
use muster_tests::lab::{API_PORT, Answer, Host, Request, Signal, wait_until};
use serde::Deserialize;

const CLIENTS: usize = 40;

const ROUNDS: usize = 20;

/// Of a group with a slot for each client.
const MANY: &str = "forty";

/// Of the group that always exists, with one slot.
const ONE: &str = "default";

/// A group's record, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Slots {
    holders: Vec<Holder>,
}

#[derive(Debug, Deserialize)]
struct Holder {
    id: String,
}

#[test]
fn crowds_get_every_slot_and_no_more_while_daemons_are_killed() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    let first = cluster.host(0)?;
    let record = format!(r#"{{"schema":1,"max":{CLIENTS},"holders":[]}}"#);
    cluster.run(first, &format!("etcdctl put /muster/v1/reboot/{MANY} '{record}'"))?;

    cluster.step("with curl, as an operator tries it out");
    let curl = |host: &Host, path: &str, id: &str| {
        let line = format!(
            "curl --silent --show-error --max-time 15 --write-out ' %{{http_code}}' --header 'fleet-lock-protocol: true' \
             --data '{{\"client_params\":{{\"id\":\"{id}\",\"group\":\"{ONE}\"}}}}' http://{}:{API_PORT}/fleetlock/v1/{path}",
            host.address()
        );
        cluster.run(first, &line).map(|output| output.stdout)
    };
    let (second, third) = (cluster.host(1)?, cluster.host(2)?);
    ensure!(curl(second, "pre-reboot", "a")?.ends_with(" 200"), "a free slot is refused");
    ensure!(curl(third, "pre-reboot", "a")?.ends_with(" 200"), "its holder is refused by another");
    let refused = curl(third, "pre-reboot", "b")?;
    ensure!(refused.ends_with(" 500") && refused.contains("failed_lock"), "{refused}");
    ensure!(curl(first, "steady-state", "a")?.ends_with(" 200"), "it cannot be given back");
    ensure!(curl(second, "steady-state", "a")?.ends_with(" 200"), "nor once more");
    ensure!(curl(third, "pre-reboot", "b")?.ends_with(" 200"), "the next one is refused");
    ensure!(curl(third, "steady-state", "b")?.ends_with(" 200"), "nor by the next one");

    cluster.step("crowds of clients, and a daemon killed in each round");
    let begin = Instant::now();
    for round in 0..ROUNDS {
        one_round(&cluster, round).with_context(|| format!("round {round}"))?;
    }
    cluster.report_duration(&format!("{ROUNDS} rounds"), begin.elapsed());
    cluster.tear_down()
}

/// Both crowds ask at once; when some are answered, a daemon is killed; then all give back what they have.
fn one_round(cluster: &Cluster, round: usize) -> Result<()> {
    let answered = AtomicUsize::new(0);
    // From the first answers to the last ones, so that the kill meets every part of the rush.
    let kill_after = round * 2 * CLIENTS / ROUNDS;
    let killed = cluster.host(round % 3)?;
    let granted: Vec<(&str, String)> = std::thread::scope(|scope| {
        let answered = &answered;
        let killing = scope.spawn(move || {
            wait_until("answers", WAIT_LIMIT, || match answered.load(Ordering::Relaxed) {
                count if count >= kill_after => Ok(()),
                count => Err(format!("{count}")),
            })?;
            killed.signal_unit("musterd.service", Signal::KILL)
        });
        let clients: Vec<_> = clients()
            .map(|(number, group, id)| {
                scope.spawn(move || {
                    let granted = pre_reboot(cluster, number, group, &id)?;
                    answered.fetch_add(1, Ordering::Relaxed);
                    anyhow::Ok(granted.then_some((group, id)))
                })
            })
            .collect();
        let mut granted = Vec::new();
        for client in clients {
            granted.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        killing.join().map_err(|_| anyhow!("the killer panicked"))??;
        anyhow::Ok(granted)
    })?;
    for (group, slots) in [(MANY, CLIENTS), (ONE, 1)] {
        let has: BTreeSet<&str> =
            granted.iter().filter(|(of, _)| *of == group).map(|(_, id)| id.as_str()).collect();
        ensure!(has.len() == slots, "{} of {CLIENTS} clients got one of {slots}", has.len());
        let held = holders(cluster, group)?;
        let held: BTreeSet<&str> = held.iter().map(String::as_str).collect();
        ensure!(has == held, "granted {has:?}, and held by {held:?}");
    }
    std::thread::scope(|scope| {
        let clients: Vec<_> = clients()
            .map(|(number, group, id)| scope.spawn(move || steady(cluster, number, group, &id)))
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    for group in [MANY, ONE] {
        let left = holders(cluster, group)?;
        ensure!(left.is_empty(), "given back, and held by {left:?}");
    }
    Ok(())
}

/// Each with a number, a group and an id.
fn clients() -> impl Iterator<Item = (usize, &'static str, String)> {
    (0..CLIENTS)
        .flat_map(|number| [MANY, ONE].map(|group| (number, group, format!("{number:032x}"))))
}

/// Asks for a slot until there is an answer; whether it was granted.
fn pre_reboot(cluster: &Cluster, number: usize, group: &str, id: &str) -> Result<bool> {
    let mut granted = false;
    wait_until(&format!("a slot of {group} for {number}"), WAIT_LIMIT, || {
        let answer = post(cluster, number, "/fleetlock/v1/pre-reboot", group, id)?;
        granted = match answer.status {
            200 => true,
            500 if answer.body.contains("failed_lock") => false,
            status => bail!("{status} {}", answer.body),
        };
        Ok(())
    })?;
    Ok(granted)
}

/// Gives a slot back until that is acknowledged.
fn steady(cluster: &Cluster, number: usize, group: &str, id: &str) -> Result<()> {
    wait_until(&format!("{number} to give back a slot of {group}"), WAIT_LIMIT, || {
        let answer = post(cluster, number, "/fleetlock/v1/steady-state", group, id)?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        Ok(())
    })?;
    Ok(())
}

/// One request, to the daemon that is this client's.
fn post(cluster: &Cluster, number: usize, path: &str, group: &str, id: &str) -> Result<Answer> {
    let body = format!(r#"{{"client_params":{{"id":"{id}","group":"{group}"}}}}"#);
    let request = Request {
        method: "POST",
        path,
        headers: &[("fleet-lock-protocol", "true")],
        body: &body,
        // Beyond what the daemon allows itself; Zincati waits half an hour.
        answer: Duration::from_secs(60),
        ..Request::get(path)
    };
    cluster.send_request(cluster.host(number % 3)?, API_PORT, request)
}

/// Who holds slots of a group, from the store.
fn holders(cluster: &Cluster, group: &str) -> Result<Vec<String>> {
    let line = format!("etcdctl get --print-value-only /muster/v1/reboot/{group}");
    let slots: Slots = cluster.json(cluster.host(0)?, &line)?;
    Ok(slots.holders.into_iter().map(|holder| holder.id).collect())
}
