//! The nemesis: each seed draws which classes of faults strike, and when.

use std::fmt::{Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use kstore_testkit::Prng;
use kstore_testkit::disk::{CrashPolicy, Sector};
use kstore_testkit::sim::{HARNESS, Latency, LinkOptions, now, sleep};

use super::cluster::{APPLY, CHECKPOINT, Cluster};
use super::tally::ImageStage;

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
    /// One member is away for so long that only an image brings it back; often the power goes again
    /// as the image is taken in.
    Away,
}

/// Every class.
pub(super) const CLASSES: [FaultClass; 11] = [
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
    FaultClass::Away,
];

/// How many classes there are.
pub const CLASS_COUNT: usize = CLASSES.len();

impl FaultClass {
    /// Whether it takes several members.
    fn is_of_the_net(self) -> bool {
        match self {
            Self::Partition | Self::OneWay | Self::Loss | Self::Delay | Self::Away => true,
            Self::PowerCut | Self::PowerCutAll | Self::Kill | Self::LeaderBounce => false,
            Self::Pause | Self::DiskStall => false,
        }
    }
}

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
            Self::Away => "away",
        })
    }
}

/// Starts the nemesis; it strikes no more from `end` on, and leaves to the harness to heal what is
/// broken then.
pub(super) fn spawn(cluster: &Arc<Cluster>, seed: u64, end: Duration) {
    let mut prng = cluster.world.prng(seed ^ 0xfa17_0000);
    // Two thirds of the classes, so that their combinations differ from seed to seed.
    let alone = cluster.numbers().len() == 1;
    let mut classes: Vec<FaultClass> = CLASSES.into_iter().filter(|_| prng.below(3) > 0).collect();
    classes.retain(|class| !(alone && class.is_of_the_net()));
    let nemesis = Nemesis { cluster: Arc::clone(cluster), prng, classes, deck: Vec::new(), end };
    cluster.world.spawn_on(HARNESS, nemesis.run());
}

/// How long the nemesis waits for a checkpoint, or for an image, to strike at it.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(3);

struct Nemesis {
    cluster: Arc<Cluster>,
    prng: Prng,
    /// Those that strike in this run.
    classes: Vec<FaultClass>,
    /// What strikes next, from the end: each class once before any strikes again.
    deck: Vec<FaultClass>,
    end: Duration,
}

impl Nemesis {
    async fn run(mut self) {
        let end = self.end;
        // Let the first leader be elected.
        sleep(Duration::from_millis(2500)).await;
        while now() < end {
            let pause = self.prng.between(200, 2500);
            sleep(Duration::from_millis(pause)).await;
            if now() >= end {
                return;
            }
            if self.deck.is_empty() {
                self.deck.clone_from(&self.classes);
                self.prng.shuffle(&mut self.deck);
            }
            let Some(class) = self.deck.pop() else { return };
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

    /// Cuts a member's power amid a job of this lane, if one is in progress. Not when all was healed
    /// as this strike took its time.
    fn cut(&mut self, number: u64, lane: &str) {
        let policy = self.policy();
        if now() < self.end {
            self.cluster.cut_power(number, lane, policy);
        }
    }

    /// Most times waits until a member is writing a checkpoint, for a cut that finds it half done.
    async fn await_checkpoint(&mut self, numbers: &[u64]) {
        if self.prng.one_in(3) {
            return;
        }
        let until = now() + CHECKPOINT_WAIT;
        while now() < until && !numbers.iter().any(|n| self.cluster.is_checkpointing(*n)) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// One member is down until the others have purged what it lacks.
    async fn strike_away(&mut self) {
        let number = self.somebody();
        self.cut(number, CHECKPOINT);
        self.wait(2000, 5000).await;
        self.cluster.start(number);
        for _ in 0..self.prng.below(4) {
            self.cut_at_the_image(number).await;
        }
    }

    /// Cuts a member's power as it takes an image in, or as it goes on from it.
    async fn cut_at_the_image(&mut self, number: u64) {
        // The pieces take a few milliseconds; a whole image waits for its turn to be installed.
        let moments = [
            (ImageStage::Arriving, 15_000),
            (ImageStage::Announced, 2_000),
            (ImageStage::Installed, 0),
        ];
        let (least, most) = *self.prng.pick(&moments);
        let until = now() + CHECKPOINT_WAIT;
        while self.cluster.image_stage(number) < least {
            if now() >= until {
                return;
            }
            sleep(Duration::from_micros(50)).await;
        }
        let time = self.prng.below(most + 1);
        sleep(Duration::from_micros(time)).await;
        self.cut(number, APPLY);
        self.wait(1, 500).await;
        self.cluster.start(number);
    }

    async fn wait(&mut self, least: u64, most: u64) {
        let time = self.prng.between(least, most);
        sleep(Duration::from_millis(time)).await;
    }

    async fn strike(&mut self, class: FaultClass) {
        match class {
            FaultClass::PowerCut => {
                let number = self.somebody();
                self.await_checkpoint(&[number]).await;
                self.cut(number, CHECKPOINT);
                self.wait(1, 3000).await;
                self.cluster.start(number);
            }
            FaultClass::PowerCutAll => {
                let numbers = self.cluster.numbers();
                self.await_checkpoint(&numbers).await;
                for number in self.cluster.numbers() {
                    self.cut(number, CHECKPOINT);
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
                self.await_checkpoint(&[number]).await;
                self.cut(number, CHECKPOINT);
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
            FaultClass::Away => self.strike_away().await,
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
