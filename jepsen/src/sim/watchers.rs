//! Watches: each follows a prefix on one member, moves on to another when that one dies, resumes
//! behind the last revision it was given, and checks the rules as it goes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kstore_mvcc::{KeyRange, RangeEnd, Revision};
use kstore_raft::{Event, Member, WatchItem};
use kstore_testkit::Prng;
use kstore_testkit::sim::{HARNESS, now, sleep};

use super::cluster::{Cluster, told};
use super::history::{Told, Watched};

const WATCHERS: u64 = 4;

/// How long a watcher listens to one stream before it moves on.
const PATIENCE: Duration = Duration::from_secs(3);

/// Starts the watchers; they end at `end`.
pub(super) fn spawn(cluster: &Arc<Cluster>, seed: u64, end: Duration) {
    for number in 0..WATCHERS {
        let prng = cluster.world.prng(seed ^ 0x3a7c_0000 ^ number);
        let watcher = Watcher { cluster: Arc::clone(cluster), prng };
        cluster.world.spawn_on(HARNESS, watcher.run(end));
    }
}

struct Watcher {
    cluster: Arc<Cluster>,
    prng: Prng,
}

fn prefixed(prefix: &Bytes) -> KeyRange {
    let mut end = prefix.to_vec();
    let last = end.last_mut().expect("prefixes here are not empty");
    *last += 1;
    KeyRange { start: prefix.clone(), end: RangeEnd::Before(end.into()) }
}

/// What one stream gave: its events, how far it was told that it has everything, how it ended.
struct Given {
    events: Vec<Told>,
    upto: Option<u64>,
    compacted: Option<u64>,
    wrong: Option<String>,
}

impl Watcher {
    async fn run(mut self, end: Duration) {
        while now() < end {
            self.follow(end).await;
        }
    }

    /// Follows one prefix until it is compacted away or the run ends.
    async fn follow(&mut self, end: Duration) {
        let prefix = Bytes::from(match self.prng.below(3) {
            0 => "/registry/".to_owned(),
            1 => "/registry/pods/key-00".to_owned(),
            _ => format!("/registry/pods/key-{:03}", self.prng.below(24)),
        });
        let newest = self.cluster.history.seen().told_below;
        let from = match self.prng.below(3) {
            0 => newest.saturating_sub(self.prng.below(30)).max(2),
            1 => newest,
            _ => newest + self.prng.below(10),
        };
        let mut watched = Watched { prefix, from, upto: from - 1, events: Vec::new() };
        while now() < end {
            let numbers = self.cluster.numbers();
            let member = numbers[self.prng.index(numbers.len())];
            let Some(given) = self.listen(member, &watched).await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            if let Some(wrong) = given.wrong {
                self.cluster.history.violate(format!("watch on member {member}: {wrong}"));
            }
            watched.events.extend(given.events);
            let last = watched.events.last().map_or(0, |event| event.revision);
            watched.upto = watched.upto.max(given.upto.unwrap_or(0)).max(last);
            if let Some(compacted) = given.compacted {
                if compacted <= watched.upto + 1 && compacted != 0 {
                    self.cluster.history.violate(format!(
                        "watch from {} was told that {compacted} is compacted",
                        watched.upto + 1
                    ));
                }
                break;
            }
        }
        if watched.upto >= watched.from {
            self.cluster.history.seen().watched.push(watched);
        }
    }

    /// Listens to one stream on one member for a while.
    async fn listen(&mut self, member: u64, watched: &Watched) -> Option<Given> {
        let range = prefixed(&watched.prefix);
        let from = watched.upto + 1;
        let slow = self.prng.one_in(4);
        let limit = PATIENCE + Duration::from_secs(2);
        self.cluster
            .on(member, limit, move |member: Member| {
                Box::pin(async move { listen(member, range, from, slow).await })
            })
            .await
    }
}

async fn listen(member: Member, range: KeyRange, from: u64, slow: bool) -> Given {
    let mut given = Given { events: Vec::new(), upto: None, compacted: None, wrong: None };
    let mut stream = member.watch_stream();
    let Some(id) = stream.subscribe(range.clone(), Some(Revision(from))) else {
        given.wrong = Some("its range was taken for empty".to_owned());
        return given;
    };
    let until = now() + PATIENCE;
    let mut floor = from;
    while now() < until {
        let timer = sleep(until.saturating_sub(now()));
        futures_util::pin_mut!(timer);
        let next = stream.next();
        futures_util::pin_mut!(next);
        let item = match futures_util::future::select(next, timer).await {
            futures_util::future::Either::Left(((_, item), _)) => item,
            futures_util::future::Either::Right(_) => break,
        };
        match item {
            WatchItem::Events(events) => {
                given.wrong = check(&member, &range, floor, &events).or(given.wrong);
                floor = events.last().map_or(floor, |event| event.id.revision.0 + 1);
                given.events.extend(events.iter().map(|event| told(event)));
            }
            WatchItem::Compacted(revision) => {
                given.compacted = Some(revision.0);
                return given;
            }
            WatchItem::Failed(why) => {
                given.wrong = Some(why);
                return given;
            }
        }
        if slow {
            sleep(Duration::from_millis(200)).await;
        }
    }
    given.upto = stream.progress(id).map(|revision| revision.0);
    given
}

/// The rules that one delivery must keep: in order, in the range, whole revisions, readable here.
fn check(member: &Member, range: &KeyRange, floor: u64, events: &[Event]) -> Option<String> {
    let ordered = events.windows(2).all(|pair| pair[0].id < pair[1].id);
    if !ordered {
        return Some("events out of order".to_owned());
    }
    if let Some(stray) = events.iter().find(|event| !range.contains(&event.key)) {
        return Some(format!("an event of key {:?} outside of the range", stray.key));
    }
    if let Some(old) = events.iter().find(|event| event.id.revision.0 < floor) {
        return Some(format!("an event of revision {} after {}", old.id.revision, floor - 1));
    }
    let last = events.last()?.id.revision;
    let readable = member.snapshot().revision();
    (last > readable).then(|| format!("an event of revision {last} while {readable} is readable"))
}
