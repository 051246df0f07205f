//! A simulated node has the time that it is given, and does everything in one order.

#![allow(clippy::unwrap_used, reason = "a lock that is poisoned belongs to a test that has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_runtime::simulated::Node;
use muster_runtime::{Elapsed, Instant, TaskSet, sleep, spawn, timeout};
use tokio::sync::{mpsc, oneshot, watch};

const SECOND: Duration = Duration::from_secs(1);

/// What tasks have noted, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn time_stands_still_until_it_is_moved() {
    let (node, notes) = (Node::new(Duration::ZERO), Notes::default());
    let noted = notes.clone();
    node.spawn(async move {
        let began = Instant::now();
        for _ in 0..3 {
            sleep(SECOND).await;
            noted.add(format!("{:?}", began.elapsed()));
        }
    });
    node.run_at(Duration::ZERO);
    assert_eq!(node.next_deadline(), Some(SECOND));
    node.run_at(SECOND);
    assert_eq!(notes.take(), ["1s"]);
    // Paused for long: what is due is due at once, and the next wait counts from now.
    node.run_at(10 * SECOND);
    assert_eq!(notes.take(), ["10s"]);
    assert_eq!(node.next_deadline(), Some(11 * SECOND));
    node.run_at(5 * SECOND);
    assert_eq!(node.now(), 10 * SECOND, "the clock never goes back");
    node.run_at(11 * SECOND);
    assert_eq!(notes.take(), ["11s"]);
    assert_eq!((node.next_deadline(), node.count_tasks()), (None, 0));
}

#[test]
fn tasks_run_in_the_order_in_which_they_were_woken() {
    let (node, notes) = (Node::new(Duration::ZERO), Notes::default());
    let (sender, mut receiver) = mpsc::unbounded_channel::<&'static str>();
    let noted = notes.clone();
    node.spawn(async move {
        while let Some(word) = receiver.recv().await {
            noted.add(word);
        }
    });
    for (after, word) in [(2, "second"), (1, "first"), (2, "third")] {
        let sender = sender.clone();
        node.spawn(async move {
            sleep(SECOND * after).await;
            sender.send(word).unwrap();
        });
    }
    drop(sender);
    node.run_at(Duration::ZERO);
    node.run_at(3 * SECOND);
    assert_eq!(notes.take(), ["first", "second", "third"]);
    assert_eq!(node.count_tasks(), 0);
}

#[test]
fn work_that_is_ready_is_in_time_and_work_that_is_not_is_dropped() {
    let (node, notes) = (Node::new(Duration::ZERO), Notes::default());
    let (answer, asked) = oneshot::channel::<u8>();
    let noted = notes.clone();
    node.spawn(async move {
        noted.add(format!("{:?}", timeout(SECOND, asked).await.unwrap()));
        let never = timeout(SECOND, std::future::pending::<()>()).await;
        assert_eq!(never, Err(Elapsed));
        noted.add("given up");
    });
    node.run_at(Duration::ZERO);
    answer.send(7).unwrap();
    node.run_at(5 * SECOND);
    assert_eq!(notes.take(), ["Ok(7)"]);
    node.run_at(6 * SECOND);
    assert_eq!(notes.take(), ["given up"]);
}

#[test]
fn a_task_returns_its_value_or_is_aborted() {
    let (node, notes) = (Node::new(Duration::ZERO), Notes::default());
    let noted = notes.clone();
    node.spawn(async move {
        let worker = spawn(async { 7 });
        noted.add(format!("{:?}", worker.await));
        let idle = spawn(std::future::pending::<u8>());
        idle.abort();
        noted.add(format!("{:?}", idle.await));
    });
    node.run_at(Duration::ZERO);
    assert_eq!(notes.take(), ["Ok(7)", "Err(TaskLost)"]);
    assert_eq!(node.count_tasks(), 0);
}

#[test]
fn who_waits_for_the_same_thing_goes_on_in_the_same_order_every_time() {
    for _ in 0..20 {
        let (node, notes) = (Node::new(Duration::ZERO), Notes::default());
        let news = watch::Sender::new(());
        for name in ["a", "b", "c", "d"] {
            let (mut heard, noted) = (news.subscribe(), notes.clone());
            node.spawn(async move {
                while heard.changed().await.is_ok() {
                    noted.add(name);
                }
            });
        }
        node.spawn(async move {
            sleep(SECOND).await;
            news.send_replace(());
        });
        node.run_at(Duration::ZERO);
        node.run_at(SECOND);
        assert_eq!(notes.take(), ["a", "b", "c", "d"]);
    }
}

/// Tasks that end in turn, one that does not end, and the end of their set.
async fn join_set(notes: Notes) {
    let (held, released) = oneshot::channel::<()>();
    let mut set = TaskSet::new();
    for after in [3, 1, 2] {
        set.spawn(async move {
            sleep(SECOND * after).await;
            after
        });
    }
    for _ in 0..3 {
        notes.add(format!("{:?}", set.join_next().await));
    }
    notes.add(format!("{:?}", set.join_next().await));
    set.spawn(async move {
        let _held = held;
        std::future::pending().await
    });
    assert!(timeout(SECOND, set.join_next()).await.is_err());
    drop(set);
    assert!(released.await.is_err());
    notes.add("ended with its set");
}

const JOINED: [&str; 5] =
    ["Some(Ok(1))", "Some(Ok(2))", "Some(Ok(3))", "None", "ended with its set"];

#[test]
fn tasks_of_a_set_end_with_it() {
    let (node, notes) = (Node::new(Duration::ZERO), Notes::default());
    node.spawn(join_set(notes.clone()));
    for second in 0..=4 {
        node.run_at(second * SECOND);
    }
    assert_eq!(notes.take(), JOINED);
    assert_eq!(node.count_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn on_a_machine_tasks_of_a_set_end_with_it_too() {
    let notes = Notes::default();
    join_set(notes.clone()).await;
    assert_eq!(notes.take(), JOINED);
}

#[test]
fn a_killed_node_does_nothing_more_and_drops_what_it_held() {
    let (node, notes) = (Node::new(Duration::ZERO), Notes::default());
    let (held, mut released) = oneshot::channel::<()>();
    let noted = notes.clone();
    node.spawn(async move {
        let _held = held;
        sleep(SECOND).await;
        noted.add("went on");
    });
    node.run_at(Duration::ZERO);
    node.kill_tasks();
    assert!(released.try_recv().is_err());
    node.run_at(2 * SECOND);
    assert_eq!(notes.take(), Vec::<String>::new());
    assert_eq!((node.next_deadline(), node.count_tasks()), (None, 0));
}

#[test]
fn nodes_have_clocks_of_their_own() {
    let (early, late) = (Node::new(Duration::ZERO), Node::new(100 * SECOND));
    let began = late.enter(Instant::now);
    late.run_at(103 * SECOND);
    assert_eq!(late.enter(|| began.elapsed()), 3 * SECOND);
    assert_eq!(early.now(), Duration::ZERO);
}

#[test]
#[should_panic(expected = "wake each other for ever")]
fn a_moment_that_never_ends_is_noticed() {
    let node = Node::new(Duration::ZERO);
    node.spawn(async {
        std::future::poll_fn::<(), _>(|task| {
            task.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    });
    node.run_at(SECOND);
}

#[tokio::test(start_paused = true)]
async fn on_a_machine_time_and_tasks_are_those_of_tokio() {
    let began = Instant::now();
    let work = spawn(async move {
        sleep(SECOND).await;
        began.elapsed()
    });
    assert_eq!(work.await, Ok(SECOND));
    assert_eq!(timeout(SECOND, std::future::pending::<()>()).await, Err(Elapsed));
    assert_eq!(began.elapsed(), 2 * SECOND);
}
