//! What the simulated world promises.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kstore_host::{Clock, Disk, Job, Jobs, OpenMode, Overloaded, Random};
use openraft_rt::testing::Suite;
use openraft_rt::{AsyncRuntime, Instant, Mpsc, MpscReceiver, MpscSender};

use super::*;
use crate::SimDisk;
use crate::disk::CrashPolicy;

const MS: Duration = Duration::from_millis(1);

fn world(seed: u64) -> World {
    World::new(seed, WorldOptions::default())
}

/// A list that tasks write to and the test reads.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn the_runtime_passes_openrafts_own_suite() {
    Suite::<SimRuntime>::test_all();
}

/// Tasks of three members that talk, sleep and draw; returns the trace and what they said.
fn busy_run(seed: u64) -> (u64, Vec<String>) {
    let world = world(seed);
    let notes = Notes::default();
    for member in 1..=3 {
        let notes = notes.clone();
        world.spawn_on(member, async move {
            let (sender, mut receiver) = <SimRuntime as AsyncRuntime>::Mpsc::channel::<u64>(4);
            for task in 0..5 {
                let sender = sender.clone();
                SimRuntime::spawn(async move {
                    for _ in 0..10 {
                        let wait = rand::Rng::next_u64(&mut SimRuntime::thread_rng()) % 1000;
                        SimRuntime::sleep(Duration::from_micros(wait)).await;
                        sender.send(task).await.unwrap();
                    }
                });
            }
            drop(sender);
            while let Some(task) = receiver.recv().await {
                notes.note(format!("{member}: {task} at {:?}", now()));
            }
        });
    }
    world.run_for(Duration::from_secs(1));
    (world.trace_hash(), notes.take())
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let (trace, notes) = busy_run(1);
    assert_eq!(notes.len(), 150);
    assert_eq!(busy_run(1), (trace, notes));
    assert_ne!(busy_run(2).0, trace);
}

#[test]
fn every_order_of_ready_tasks_turns_up() {
    let orders: std::collections::BTreeSet<Vec<String>> = (0..100)
        .map(|seed| {
            let world = world(seed);
            let notes = Notes::default();
            for task in 0..3 {
                let notes = notes.clone();
                world.spawn_on(1, async move { notes.note(task.to_string()) });
            }
            world.run_for(MS);
            notes.take()
        })
        .collect();
    assert_eq!(orders.len(), 6);
}

#[test]
fn time_jumps_to_the_next_timer_and_runs_to_the_deadline_when_idle() {
    let world = world(1);
    world.spawn_on(1, async { SimRuntime::sleep(Duration::from_secs(3600)).await });
    let begun = world.now();
    assert!(!world.run_until(Duration::from_secs(7200), || false));
    assert_eq!(begun, Duration::ZERO);
    assert_eq!(world.now(), Duration::from_secs(7200));
    assert!(world.polls() < 5);
    assert_eq!(world.tasks_of(1), 0);
}

#[test]
fn a_task_that_never_waits_cannot_stop_the_clock() {
    let world = world(1);
    world.spawn_on(1, async {
        loop {
            world::yield_now().await;
        }
    });
    world.run_for(MS);
    assert!(world.now() >= MS);
    world.shut_down();
}

#[test]
fn killing_a_member_drops_its_tasks_and_those_alone() {
    let world = world(1);
    let notes = Notes::default();
    for member in 1..=2 {
        let notes = notes.clone();
        world.spawn_on(member, async move {
            SimRuntime::spawn(async move {
                loop {
                    SimRuntime::sleep(MS).await;
                    notes.note(member.to_string());
                }
            });
        });
    }
    world.run_for(MS * 3);
    notes.take();
    world.kill(1);
    assert_eq!(world.tasks_of(1), 0);
    world.run_for(MS * 3);
    let said = notes.take();
    assert!(said.len() >= 2 && said.iter().all(|text| text == "2"), "{said:?}");
    world.shut_down();
}

#[test]
fn waiting_for_a_killed_task_ends_with_an_error() {
    let world = world(1);
    let handle = world.enter(1, || SimRuntime::spawn(std::future::pending::<()>()));
    world.run_for(MS);
    world.kill(1);
    assert_eq!(world.block_on(handle), Err(Killed));
}

#[test]
fn what_a_dying_task_spawns_dies_with_it() {
    struct Spawner(Notes);
    impl Drop for Spawner {
        fn drop(&mut self) {
            let notes = self.0.clone();
            SimRuntime::spawn(async move { notes.note("alive") });
        }
    }
    let world = world(1);
    let notes = Notes::default();
    let spawner = Spawner(notes.clone());
    world.spawn_on(1, async move {
        let _spawner = spawner;
        std::future::pending::<()>().await;
    });
    let (own, inner) = (notes.clone(), world.clone());
    world.spawn_on(2, async move {
        SimRuntime::sleep(MS).await;
        inner.kill(2);
        SimRuntime::spawn(async move { own.note("alive") });
    });
    world.run_for(MS);
    world.kill(1);
    world.run_for(MS * 5);
    assert_eq!(notes.take(), Vec::<String>::new());
}

#[test]
fn a_paused_members_timers_pile_up_until_it_goes_on() {
    let world = world(1);
    let notes = Notes::default();
    for task in 0..3 {
        let notes = notes.clone();
        world.spawn_on(1, async move {
            SimRuntime::sleep(MS * (task + 1)).await;
            notes.note(task.to_string());
        });
    }
    world.run_for(MS / 2);
    world.pause(1);
    world.run_for(MS * 10);
    assert!(notes.take().is_empty());
    world.resume(1);
    world.run_for(MS / 2);
    assert_eq!(notes.take().len(), 3);
}

#[test]
fn each_members_clock_runs_at_its_own_rate() {
    let world = world(1);
    world.set_clock_rate(1, 2_000_000);
    let (fast, slow) = (world.clock(1), world.clock(2));
    let before = (fast.monotonic(), slow.monotonic());
    let notes = Notes::default();
    for member in 1..=2 {
        let notes = notes.clone();
        world.spawn_on(member, async move {
            let begun = SimInstant::now();
            SimRuntime::sleep(MS * 10).await;
            assert!(begun.elapsed() >= MS * 10);
            notes.note(member.to_string());
        });
    }
    world.run_for(MS * 6);
    assert_eq!(notes.take(), ["1"]);
    world.run_for(MS * 6);
    assert_eq!(notes.take(), ["2"]);
    assert_eq!(fast.monotonic() - before.0, 2 * (slow.monotonic() - before.1));
    let calendar = slow.wall();
    world.set_wall_offset(2, -1_000_000);
    assert_eq!(slow.wall() + MS, calendar);
}

#[test]
fn a_members_chance_is_one_stream_for_host_and_runtime() {
    let draws = |first_from_host: bool| {
        let world = world(5);
        let random = world.random(1);
        let mut drawn = Vec::new();
        for turn in 0..4 {
            drawn.push(if first_from_host == (turn % 2 == 0) {
                random.next_u64()
            } else {
                world.enter(1, || rand::Rng::next_u64(&mut SimRuntime::thread_rng()))
            });
        }
        drawn
    };
    assert_eq!(draws(true), draws(false));
}

fn noting(notes: &Notes, text: &str) -> Job {
    let (notes, text) = (notes.clone(), text.to_owned());
    Box::new(move || notes.note(text))
}

#[test]
fn a_lane_runs_its_jobs_in_order_and_in_virtual_time() {
    for seed in 0..20 {
        let world = world(seed);
        let jobs = SimJobs::new(&world, 1, seed, JobOptions::default());
        let lane = jobs.lane("wal");
        let notes = Notes::default();
        for job in 0..10 {
            lane.push(noting(&notes, &job.to_string()));
        }
        drop(lane);
        assert!(notes.take().is_empty());
        assert_eq!(jobs.unfinished(), 10);
        world.run_for(Duration::from_secs(1));
        let ordered: Vec<String> = (0..10).map(|job| job.to_string()).collect();
        assert_eq!(notes.take(), ordered);
        assert_eq!(jobs.unfinished(), 0);
    }
}

#[test]
fn a_job_pushed_by_a_job_of_the_same_lane_runs_too() {
    let world = world(1);
    let jobs = SimJobs::new(&world, 1, 1, JobOptions::default());
    let lane = jobs.lane("apply");
    let notes = Notes::default();
    let (again, said) = (Arc::clone(&lane), notes.clone());
    lane.push(Box::new(move || again.push(noting(&said, "second"))));
    world.run_for(Duration::from_secs(1));
    lane.push(noting(&notes, "third"));
    world.run_for(Duration::from_secs(1));
    assert_eq!(notes.take(), ["second", "third"]);
}

#[test]
fn loose_jobs_run_in_any_order_and_too_many_are_refused() {
    let options = JobOptions { loose_most: 3, ..JobOptions::default() };
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let world = world(seed);
        let jobs = SimJobs::new(&world, 1, seed, options.clone());
        let notes = Notes::default();
        for job in 0..3 {
            jobs.run(noting(&notes, &job.to_string())).unwrap();
        }
        assert_eq!(jobs.run(noting(&notes, "refused")), Err(Overloaded));
        world.run_for(Duration::from_secs(1));
        orders.insert(notes.take());
    }
    assert_eq!(orders.len(), 6);
}

#[test]
fn while_the_disk_stalls_no_job_ends() {
    let world = world(1);
    let jobs = SimJobs::new(&world, 1, 1, JobOptions::default());
    let notes = Notes::default();
    let lane = jobs.lane("wal");
    lane.push(noting(&notes, "done"));
    jobs.stall_until(Duration::from_secs(2));
    world.run_until(Duration::from_millis(1999), || false);
    assert!(notes.take().is_empty());
    world.run_for(MS * 10);
    assert_eq!(notes.take(), ["done"]);
}

#[test]
fn a_power_cut_runs_the_first_job_of_a_lane_in_part_and_no_other() {
    let path = std::path::Path::new("/file");
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let world = world(seed);
        let disk = SimDisk::new(seed);
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        disk.sync_dir(std::path::Path::new("/")).unwrap();
        let jobs = SimJobs::new(&world, 1, seed, JobOptions::default());
        let lane = jobs.lane("wal");
        for job in 0..2_u64 {
            let file = Arc::clone(&file);
            lane.push(Box::new(move || {
                for write in 0..5 {
                    if file.write_at(b"x", job * 5 + write).and_then(|()| file.sync()).is_err() {
                        return;
                    }
                }
            }));
        }
        jobs.cut_power(&disk);
        assert!(disk.is_cut());
        lane.push(Box::new(|| unreachable!("the member is dead")));
        world.run_for(Duration::from_secs(1));
        let disk = disk.crash(CrashPolicy::LoseAll);
        lengths.insert(disk.open(path, OpenMode::Read).unwrap().length().unwrap());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_power_cut_amid_a_lane_finds_that_lanes_job_half_done_and_no_other_begun() {
    let path = std::path::Path::new("/file");
    let mut halves = 0;
    for seed in 0..100 {
        let world = world(seed);
        let disk = SimDisk::new(seed);
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        disk.sync_dir(std::path::Path::new("/")).unwrap();
        let jobs = SimJobs::new(&world, 1, seed, JobOptions::default());
        let other = jobs.lane("other");
        other.push(Box::new(|| unreachable!("the other lane's job comes later")));
        let written = Arc::clone(&file);
        assert!(!jobs.is_busy("pages"));
        jobs.lane("pages").push(Box::new(move || {
            // More than any cut waits for.
            for byte in 0..20 {
                if written.write_at(b"x", byte).and_then(|()| written.sync()).is_err() {
                    return;
                }
            }
        }));
        assert!(jobs.is_busy("pages"));
        jobs.cut_power_amid(&disk, "pages");
        let disk = disk.crash(CrashPolicy::LoseAll);
        halves += u64::from(disk.open(path, OpenMode::Read).unwrap().length().unwrap() > 0);
    }
    assert!(halves > 30, "{halves}");
}

fn echo(notes: &Notes) -> Handler {
    let notes = notes.clone();
    Arc::new(move |from, _, bytes| {
        let notes = notes.clone();
        Box::pin(async move {
            notes.note(format!("{from} asks {}", String::from_utf8_lossy(&bytes)));
            bytes
        })
    })
}

fn net_of_two(seed: u64, options: LinkOptions) -> (World, SimNet, Notes) {
    let world = world(seed);
    let net = SimNet::new(&world, seed, options);
    let notes = Notes::default();
    net.serve(2, echo(&notes));
    (world, net, notes)
}

/// Member 1 calls member 2.
fn call(world: &World, net: &SimNet) -> Result<Bytes, CallError> {
    let net = net.clone();
    let handle = world.enter(1, || {
        SimRuntime::spawn(async move {
            net.call(1, 2, Channel(0), Bytes::from_static(b"hello"), MS * 100).await
        })
    });
    world.block_on(handle).unwrap()
}

#[test]
fn a_call_takes_time_there_and_back() {
    let (world, net, notes) = net_of_two(1, LinkOptions::default());
    assert_eq!(call(&world, &net), Ok(Bytes::from_static(b"hello")));
    assert!(world.now() >= Duration::from_micros(100));
    assert_eq!(notes.take(), ["1 asks hello"]);
    assert_eq!(net.counts(), (2, 0));
}

#[test]
fn a_cut_way_there_loses_the_request_and_a_cut_way_back_the_answer() {
    let (world, net, notes) = net_of_two(1, LinkOptions::default());
    net.cut(1, 2);
    assert_eq!(call(&world, &net), Err(CallError::TimedOut));
    assert!(notes.take().is_empty());
    net.mend(1, 2);
    net.cut(2, 1);
    assert_eq!(call(&world, &net), Err(CallError::TimedOut));
    assert_eq!(notes.take().len(), 1);
    net.part(&[1], &[1, 2]);
    assert!(net.is_cut(1, 2) && net.is_cut(2, 1));
    net.heal();
    assert!(call(&world, &net).is_ok());
}

#[test]
fn lossy_links_lose_about_as_much_as_asked() {
    let options = LinkOptions { loss_one_in: 4, ..LinkOptions::default() };
    let (_, net, _) = net_of_two(1, options);
    for _ in 0..1000 {
        net.fate(1, 2, Channel(0), 10);
    }
    let (_, lost) = net.counts();
    assert!((200..300).contains(&lost), "{lost}");
}

#[test]
fn a_channel_keeps_its_order() {
    let (_, net, _) = net_of_two(1, LinkOptions::default());
    let mut last = Duration::ZERO;
    for _ in 0..100 {
        let Fate::Arrives(at) = net.fate(1, 2, Channel(7), 10) else { panic!("lost") };
        assert!(at > last);
        last = at;
    }
}

#[test]
fn a_member_that_does_not_serve_refuses_and_one_that_dies_resets() {
    let (world, net, _) = net_of_two(1, LinkOptions::default());
    net.stop_serving(2);
    assert_eq!(call(&world, &net), Err(CallError::Refused));
    net.serve(2, Arc::new(|_, _, _| Box::pin(std::future::pending())));
    let killer = world.clone();
    world.spawn_on(HARNESS, async move {
        SimRuntime::sleep(MS * 20).await;
        killer.kill(2);
    });
    assert_eq!(call(&world, &net), Err(CallError::Reset));
}

#[test]
fn large_messages_take_longer_on_a_link_with_a_rate() {
    let options = LinkOptions { bytes_per_second: Some(1_000_000), ..LinkOptions::default() };
    let (_, net, _) = net_of_two(1, options);
    let Fate::Arrives(at) = net.fate(1, 2, Channel(0), 500_000) else { panic!("lost") };
    assert!(at >= Duration::from_millis(500));
}
