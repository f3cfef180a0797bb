//! The hub against a naive log, over random interleavings of everything that can happen to it.
//!
//! Streams are polled only after their waker was called (or after they subscribed), so a lost wake
//! shows as lost events.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use common::{Bell, Change, Log};
use kstore_watch::{
    Hub, HubOptions, Keys, KeysEnd, Next, Question, Start, StreamId, SubscriptionId,
};

/// Enough randomness for tests, the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let place = self.below(from.len().max(1) as u64);
        from.get(usize::try_from(place).unwrap()).copied()
    }
}

struct Watcher {
    keys: Keys,
    /// The first revision that it must be given.
    from: u64,
    /// Whether it asked for the future, of which it hears nothing, not even progress.
    future: bool,
    given: Vec<Change>,
    progress: u64,
    compacted: bool,
}

struct Consumer {
    bell: Arc<Bell>,
    waker: Waker,
    watchers: BTreeMap<SubscriptionId, Watcher>,
    questions: Vec<Question>,
}

struct World {
    dice: Dice,
    log: Log,
    hub: Hub<Change>,
    /// Revisions up to here were published to the hub; the log may be ahead.
    published: u64,
    consumers: BTreeMap<StreamId, Consumer>,
    names: [&'static str; 6],
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut log = Log::new();
        log.page_revisions = 1 + dice.below(20);
        let options = HubOptions {
            window_weight: usize::try_from(dice.below(1500)).unwrap(),
            queue_weight: usize::try_from(dice.below(120)).unwrap(),
            page_weight: usize::try_from(dice.below(200)).unwrap(),
        };
        let names = ["a", "aa", "b", "c", "d", "e"];
        let mut world = Self {
            dice,
            hub: Hub::new(options, 1, 0),
            log,
            published: 1,
            consumers: BTreeMap::new(),
            names,
        };
        for _ in 0..world.dice.below(30) {
            world.write();
        }
        world.published = world.log.current();
        world.hub = Hub::new(options, world.published, 0);
        world
    }

    fn write(&mut self) {
        let count = if self.dice.below(8) == 0 { 25 } else { 1 + self.dice.below(3) };
        let keys: Vec<&str> = (0..count).filter_map(|_| self.dice.pick(&self.names)).collect();
        self.log.write(&keys);
    }

    fn publish_one(&mut self) {
        if self.published < self.log.current() {
            self.published += 1;
            let batch = match self.dice.below(6) {
                0 => self.log.named(self.published),
                _ => self.log.batch(self.published),
            };
            self.hub.publish(batch).wake();
        }
    }

    fn random_keys(&mut self) -> Keys {
        let start = Bytes::from(self.dice.pick(&self.names).unwrap());
        let end = match self.dice.below(4) {
            0 => KeysEnd::Unbounded,
            1 => KeysEnd::Before(Bytes::from(self.dice.pick(&self.names).unwrap())),
            _ => KeysEnd::Single,
        };
        Keys { start, end }
    }

    fn subscribe(&mut self) {
        let streams: Vec<StreamId> = self.consumers.keys().copied().collect();
        let stream = match self.dice.below(2) {
            0 => self.dice.pick(&streams),
            _ => None,
        };
        let stream = stream.unwrap_or_else(|| {
            let stream = self.hub.open();
            let (bell, waker) = Bell::new();
            let (watchers, questions) = (BTreeMap::new(), Vec::new());
            self.consumers.insert(stream, Consumer { bell, waker, watchers, questions });
            stream
        });
        let keys = self.random_keys();
        let (start, from) = match self.dice.below(4) {
            0 => (Start::Now, self.published + 1),
            1 => {
                let future = self.published + self.dice.below(10);
                (Start::At(future), future)
            }
            _ => {
                let past = 1 + self.dice.below(self.published);
                (Start::At(past), past)
            }
        };
        let id = self.hub.subscribe(stream, keys.clone(), start).expect("the stream is open");
        let consumer = self.consumers.get_mut(&stream).expect("just found");
        let future = start != Start::Now;
        let watcher =
            Watcher { keys, from, future, given: Vec::new(), progress: 0, compacted: false };
        consumer.watchers.insert(id, watcher);
        consumer.bell.ring();
    }

    /// Polls one stream, if it was woken.
    fn poll(&mut self, stream: StreamId) {
        let Some(consumer) = self.consumers.get_mut(&stream) else { return };
        if !consumer.bell.rang() {
            return;
        }
        for _ in 0..=self.dice.below(4) {
            match self.hub.poll(stream, &consumer.waker) {
                Poll::Pending => return,
                Poll::Ready((id, next)) => {
                    // Not drained: it polls again without being woken.
                    consumer.bell.ring();
                    take(consumer, id, next, &self.log);
                }
            }
        }
    }

    fn answer(&mut self, stream: StreamId) {
        let Some(consumer) = self.consumers.get_mut(&stream) else { return };
        if consumer.questions.is_empty() {
            return;
        }
        let place = self.dice.below(consumer.questions.len() as u64);
        let question = consumer.questions.swap_remove(usize::try_from(place).unwrap());
        self.hub.answer(question.run(&self.log)).wake();
    }

    fn compact(&mut self) {
        let to = 1 + self.dice.below(self.published);
        if to > self.log.compacted {
            self.log.compacted = to;
            self.hub.compact(to);
        }
    }

    fn check_progress(&mut self) {
        for (stream, consumer) in &mut self.consumers {
            for (id, watcher) in &mut consumer.watchers {
                let Some(progress) = self.hub.progress(*id) else { continue };
                assert!(progress >= watcher.progress, "progress goes back");
                assert!(progress >= watcher.from.saturating_sub(1), "progress before the start");
                let due = self.log.matching(&watcher.keys, watcher.from);
                let due = due.iter().filter(|event| event.revision <= progress).count();
                assert_eq!(watcher.given.len(), due, "progress {progress} tells of more or less");
                watcher.progress = progress;
            }
            if let Some(all) = self.hub.progress_of_all(*stream) {
                let each = consumer.watchers.iter().filter(|(_, watcher)| !watcher.compacted);
                each.for_each(|(_, watcher)| assert!(watcher.progress >= all));
            }
        }
    }

    fn step(&mut self) {
        let streams: Vec<StreamId> = self.consumers.keys().copied().collect();
        let stream = self.dice.pick(&streams);
        match (self.dice.below(100), stream) {
            (0..20, _) => self.write(),
            (20..45, _) => self.publish_one(),
            (45..53, _) => self.subscribe(),
            (53..75, Some(stream)) => self.poll(stream),
            (75..90, Some(stream)) => self.answer(stream),
            (90..92, _) => self.compact(),
            (92..94, Some(stream)) => {
                let consumer = self.consumers.get_mut(&stream).expect("just found");
                if let Some((id, _)) = consumer.watchers.pop_first() {
                    self.hub.cancel(id);
                }
            }
            (94, Some(stream)) => {
                self.hub.close(stream);
                self.consumers.remove(&stream);
            }
            (95, _) => {
                self.published = self.log.current();
                self.hub.reset(self.published, self.log.compacted).wake();
            }
            _ => self.check_progress(),
        }
    }

    /// Lets everything come to rest; then every watcher must have everything.
    fn settle(&mut self) {
        while self.published < self.log.current() {
            self.publish_one();
        }
        let streams: Vec<StreamId> = self.consumers.keys().copied().collect();
        let mut rounds = 0;
        while self.consumers.values().any(|known| known.bell.rings() || !known.questions.is_empty())
        {
            rounds += 1;
            assert!(rounds < 20_000, "the hub does not come to rest");
            for stream in &streams {
                self.poll(*stream);
                self.answer(*stream);
            }
        }
        self.check_progress();
        for watcher in self.consumers.values().flat_map(|consumer| consumer.watchers.values()) {
            if watcher.compacted {
                continue;
            }
            let due = self.log.matching(&watcher.keys, watcher.from);
            assert_eq!(watcher.given, due, "not everything was given");
        }
        let watchers = self.consumers.values().flat_map(|consumer| consumer.watchers.iter());
        for (id, watcher) in watchers.filter(|(_, watcher)| !watcher.compacted) {
            let synced = self.hub.progress(*id);
            let future = watcher.future && watcher.from > self.published;
            assert_eq!(synced.is_none(), future, "{:?} at rest", watcher.from);
        }
    }
}

/// Checks what a watcher is given against the log.
fn take(consumer: &mut Consumer, id: SubscriptionId, next: Next<Change>, log: &Log) {
    let watcher = consumer.watchers.get_mut(&id).expect("only known subscriptions are served");
    match next {
        Next::History(question) => consumer.questions.push(question),
        Next::Failed { why } => panic!("failed: {why}"),
        Next::Compacted { revision } => {
            assert!(revision <= log.compacted, "compacted beyond what was compacted");
            assert!(watcher.from < revision, "it starts at or after the compacted revision");
            assert!(watcher.progress + 1 < revision, "it was told of this revision");
            watcher.compacted = true;
        }
        Next::Events(events) => {
            assert!(!events.is_empty(), "events without an event");
            assert!(!watcher.compacted, "events after the end");
            let before = watcher.given.len();
            watcher.given.extend(events);
            let due = log.matching(&watcher.keys, watcher.from);
            assert!(due.len() >= watcher.given.len(), "invented or repeated events");
            assert_eq!(watcher.given[before..], due[before..watcher.given.len()]);
            let rest = due.get(watcher.given.len());
            let last = watcher.given.last().map(|event| event.revision);
            assert_ne!(rest.map(|event| event.revision), last, "a revision was split");
        }
    }
}

#[test]
fn every_watcher_is_given_all_its_events_in_order_once_and_whole() {
    let seeds = match std::env::var("KSTORE_TEST_SEED") {
        Ok(seed) => vec![seed.parse().expect("KSTORE_TEST_SEED is a number")],
        Err(_) => (0..3000).collect::<Vec<u64>>(),
    };
    for seed in seeds {
        println!("KSTORE_TEST_SEED={seed}");
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        world.settle();
    }
}
