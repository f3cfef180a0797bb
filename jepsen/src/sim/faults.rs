//! The nemesis: each seed draws which classes of faults strike, and when.

use std::fmt::{Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use kstore_testkit::Prng;
use kstore_testkit::disk::{CrashPolicy, Sector};
use kstore_testkit::sim::{HARNESS, Latency, LinkOptions, now, sleep};

use super::cluster::Cluster;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// One member loses power; unsynced writes are lost, torn or reordered.
    PowerCut,
    /// All members lose power at once.
    PowerCutAll,
    /// One member's process is killed.
    Kill,
    /// The leader loses power and is started again at once.
    LeaderBounce,
    /// One member stands still for a while and then goes on.
    Pause,
    /// Some members cannot reach the others, nor be reached.
    Partition,
    /// One member can be reached but reaches nobody, or the other way round.
    OneWay,
    /// Messages are lost.
    Loss,
    /// Messages take long.
    Delay,
    /// One member's disk answers nothing for a while.
    DiskStall,
}

/// Every class.
pub(super) const CLASSES: [FaultClass; 10] = [
    FaultClass::PowerCut,
    FaultClass::PowerCutAll,
    FaultClass::Kill,
    FaultClass::LeaderBounce,
    FaultClass::Pause,
    FaultClass::Partition,
    FaultClass::OneWay,
    FaultClass::Loss,
    FaultClass::Delay,
    FaultClass::DiskStall,
];

impl Display for FaultClass {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PowerCut => "power-cut",
            Self::PowerCutAll => "power-cut-all",
            Self::Kill => "kill",
            Self::LeaderBounce => "leader-bounce",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::DiskStall => "disk-stall",
        })
    }
}

/// Starts the nemesis; it strikes no more from `end` on, and leaves to the harness to heal what is
/// broken then.
pub(super) fn spawn(cluster: &Arc<Cluster>, seed: u64, end: Duration) {
    let mut prng = cluster.world.prng(seed ^ 0xfa17_0000);
    // Two thirds of the classes, so that their combinations differ from seed to seed.
    let classes: Vec<FaultClass> = CLASSES.into_iter().filter(|_| prng.below(3) > 0).collect();
    let nemesis = Nemesis { cluster: Arc::clone(cluster), prng, classes };
    cluster.world.spawn_on(HARNESS, nemesis.run(end));
}

struct Nemesis {
    cluster: Arc<Cluster>,
    prng: Prng,
    classes: Vec<FaultClass>,
}

impl Nemesis {
    async fn run(mut self, end: Duration) {
        // Let the first leader be elected.
        sleep(Duration::from_millis(2500)).await;
        while now() < end && !self.classes.is_empty() {
            let pause = self.prng.between(200, 2500);
            sleep(Duration::from_millis(pause)).await;
            if now() >= end {
                return;
            }
            let class = self.classes[self.prng.index(self.classes.len())];
            self.cluster.count(class);
            self.strike(class).await;
        }
    }

    fn somebody(&mut self) -> u64 {
        let numbers = self.cluster.numbers();
        numbers[self.prng.index(numbers.len())]
    }

    fn leader(&mut self) -> u64 {
        let leads = |number: &u64| {
            let status = self.cluster.member(*number).map(|member| member.status());
            status.is_some_and(|s| s.role == kstore_raft::Role::Leader)
        };
        let leader = self.cluster.numbers().into_iter().find(leads);
        leader.unwrap_or_else(|| self.somebody())
    }

    fn policy(&mut self) -> CrashPolicy {
        match self.prng.below(5) {
            0 => CrashPolicy::LoseAll,
            1 => CrashPolicy::Prefix,
            2 => CrashPolicy::RandomSubset { tear: Sector::Bytes4096 },
            _ => CrashPolicy::RandomSubset { tear: Sector::Bytes512 },
        }
    }

    async fn wait(&mut self, least: u64, most: u64) {
        let time = self.prng.between(least, most);
        sleep(Duration::from_millis(time)).await;
    }

    async fn strike(&mut self, class: FaultClass) {
        match class {
            FaultClass::PowerCut => {
                let number = self.somebody();
                let policy = self.policy();
                self.cluster.cut_power(number, policy);
                self.wait(1, 3000).await;
                self.cluster.start(number);
            }
            FaultClass::PowerCutAll => {
                for number in self.cluster.numbers() {
                    let policy = self.policy();
                    self.cluster.cut_power(number, policy);
                }
                self.wait(1, 500).await;
                self.cluster.start_all();
            }
            FaultClass::Kill => {
                let number = self.somebody();
                self.cluster.kill(number);
                self.wait(1, 2000).await;
                self.cluster.start(number);
            }
            FaultClass::LeaderBounce => {
                let number = self.leader();
                let policy = self.policy();
                self.cluster.cut_power(number, policy);
                self.wait(1, 20).await;
                self.cluster.start(number);
            }
            FaultClass::Pause => {
                let number = self.somebody();
                self.cluster.world.pause(number);
                self.wait(100, 4000).await;
                self.cluster.world.resume(number);
            }
            FaultClass::DiskStall => {
                let number = self.somebody();
                let stall = Duration::from_millis(self.prng.between(100, 3000));
                self.cluster.stall_disk(number, now() + stall);
            }
            _ => self.strike_network(class).await,
        }
    }

    async fn strike_network(&mut self, class: FaultClass) {
        match class {
            FaultClass::Partition => {
                let mut numbers = self.cluster.numbers();
                self.prng.shuffle(&mut numbers);
                let cut = 1 + self.prng.index(numbers.len() - 1);
                let (one, other) = numbers.split_at(cut);
                self.cluster.net.part(one, other);
                self.wait(200, 4000).await;
                self.cluster.net.heal();
            }
            FaultClass::OneWay => {
                let number = self.somebody();
                let inward = self.prng.one_in(2);
                for other in self.cluster.numbers() {
                    match inward {
                        _ if other == number => {}
                        true => self.cluster.net.cut(other, number),
                        false => self.cluster.net.cut(number, other),
                    }
                }
                self.wait(200, 4000).await;
                self.cluster.net.heal();
            }
            FaultClass::Loss => {
                let loss_one_in = self.prng.between(3, 30);
                let options = LinkOptions { loss_one_in, ..LinkOptions::default() };
                self.cluster.net.set_options(options);
                self.wait(500, 4000).await;
                self.cluster.net.set_options(LinkOptions::default());
            }
            _ => {
                let most = Duration::from_millis(self.prng.between(5, 200));
                let delay = Latency::between(Duration::from_micros(50), most);
                let options = LinkOptions { delay, ..LinkOptions::default() };
                self.cluster.net.set_options(options);
                self.wait(500, 4000).await;
                self.cluster.net.set_options(LinkOptions::default());
            }
        }
    }
}
