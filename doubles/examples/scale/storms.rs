//! Machines that are lost, and all that happens at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::agents::machine_name;
use crate::figures::{print_figure, say};
use crate::leaders::LEADERS;
use crate::measure::Bench;
use crate::placements::Keys;
use crate::usage::Spent;

/// For which nothing may move after a storm that is to move nothing.
const AFTERMATH: Duration = Duration::from_secs(3);

impl Bench<'_> {
    /// One machine lost: the time until the last of its units is placed elsewhere.
    pub(crate) async fn measure_losses(&mut self) {
        let mut times = Vec::new();
        for n in 0..self.scale.repetitions.max(3) {
            say("one machine is lost");
            times.push(self.lose(n, n + 1).await);
            self.agents.tell("start", n, n + 1).await;
            self.await_machines().await;
        }
        let ttl = self.scale.ttl.as_secs();
        let what = format!("one machine lost, TTL {ttl} s: to its last unit placed elsewhere");
        print_figure(&what, "s", &times);
    }

    /// Loses machines, and waits until their units are elsewhere; returns how long that took, in seconds.
    async fn lose(&mut self, first: usize, end: usize) -> f64 {
        let lost: Vec<String> = (first..end).map(machine_name).collect();
        let units = self.scale.units;
        let began = Instant::now();
        self.agents.tell("lose", first, end).await;
        let moved = self.launcher.followed.wait_until("their units are elsewhere", |keys| {
            keys.places.len() == units && !lost.iter().any(|machine| keys.has_units(machine))
        });
        moved.await.duration_since(began).as_secs_f64()
    }

    pub(crate) async fn measure_storms(&mut self) {
        let machines = self.scale.machines;
        let ttl = self.scale.ttl.as_secs();

        let what = format!("a tenth of the machines lost at once, TTL {ttl} s");
        let (mut times, mut spent) = (Vec::new(), Spent::default());
        for _ in 0..self.scale.repetitions {
            say(&what);
            let before = self.usage();
            times.push(self.lose(0, machines / 10).await);
            spent.add_round(&before, &self.usage());
            self.agents.tell("start", 0, machines / 10).await;
            self.await_machines().await;
            self.await_states().await;
        }
        print_figure(&format!("{what}: to the last unit placed elsewhere"), "s", &times);
        spent.print(&what);

        let what = "more than half of the machines lost and back";
        let (mut frozen, mut times, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        let mut spent = Spent::default();
        for _ in 0..self.scale.repetitions {
            say(what);
            let (stood, before, began) = (self.placed_units(), self.usage(), Instant::now());
            // Those that may lead count as well; and a few leases last for seconds longer than the others, for etcd ends only so many
            // at a time.
            let half = (machines + LEADERS) * 11 / 20;
            self.agents.tell("lose", 0, half).await;
            let held = self.launcher.followed.wait_until("units are held", Keys::is_frozen).await;
            frozen.push(held.duration_since(began).as_secs_f64());
            self.agents.tell("start", 0, half).await;
            self.await_machines().await;
            let thawed = self.launcher.followed.wait_until("nothing is held", |k| !k.is_frozen());
            times.push(thawed.await.duration_since(held).as_secs_f64());
            self.await_states().await;
            spent.add_round(&before, &self.usage());
            moved.push(self.units_moved_since(&stood).await);
        }
        print_figure(&format!("{what}: from the loss to the freeze"), "s", &frozen);
        print_figure(&format!("{what}: from the return to the end of the freeze"), "s", &times);
        print_figure(&format!("{what}: units moved"), "", &moved);
        spent.print(what);

        let what = "every agent anew at once";
        let (mut times, mut moved, mut spent) = (Vec::new(), Vec::new(), Spent::default());
        for _ in 0..self.scale.repetitions {
            say(what);
            let (stood, before, began) = (self.placed_units(), self.usage(), Instant::now());
            self.agents.tell("start", 0, machines).await;
            self.agents.tell("settle", 0, machines).await;
            times.push(began.elapsed().as_secs_f64());
            spent.add_round(&before, &self.usage());
            moved.push(self.units_moved_since(&stood).await);
        }
        let last = "to the last machine registered and the last state published";
        print_figure(&format!("{what}: {last}"), "s", &times);
        print_figure(&format!("{what}: units moved"), "", &moved);
        spent.print(what);
    }

    fn placed_units(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.launcher.followed.look(|keys| keys.places.clone())
    }

    /// Units that are elsewhere than they stood, a moment later.
    async fn units_moved_since(&self, stood: &BTreeMap<String, BTreeSet<String>>) -> f64 {
        tokio::time::sleep(AFTERMATH).await;
        let now = self.placed_units();
        let moved = stood.iter().filter(|(unit, machines)| now.get(*unit) != Some(machines));
        f64::from(u32::try_from(moved.count()).unwrap())
    }
}
