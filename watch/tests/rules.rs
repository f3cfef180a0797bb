//! The hub's rules, one test each.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::task::Poll;

use bytes::Bytes;
use common::{Bell, Change, Log};
use kstore_watch::{Hub, HubOptions, Keys, Next, Start, StreamId, SubscriptionId};

fn hub(log: &Log) -> Hub<Change> {
    let options = HubOptions { window_weight: 1000, queue_weight: 100, page_weight: 100 };
    Hub::new(options, log.current(), log.compacted)
}

fn key(key: &str) -> Keys {
    Keys::single(Bytes::copy_from_slice(key.as_bytes()))
}

fn between(start: &str, end: &str) -> Keys {
    Keys::between(Bytes::copy_from_slice(start.as_bytes()), Bytes::copy_from_slice(end.as_bytes()))
}

/// Polls and answers questions until there is nothing; one line for each thing that was given.
fn drain(hub: &mut Hub<Change>, stream: StreamId, log: &Log) -> Vec<String> {
    let (_, waker) = Bell::new();
    let mut told = Vec::new();
    while let Poll::Ready((_, next)) = hub.poll(stream, &waker) {
        match next {
            Next::Events(events) => told.push(line(&events)),
            Next::History(question) => {
                told.push(format!("history from {}", question.from));
                hub.answer(question.run(log)).wake();
            }
            Next::Compacted { revision } => told.push(format!("compacted {revision}")),
            Next::Failed { why } => told.push(format!("failed: {why}")),
        }
    }
    told
}

fn line(events: &[Change]) -> String {
    let events: Vec<String> = events
        .iter()
        .map(|event| {
            format!("{}@{}.{}", String::from_utf8_lossy(&event.key), event.revision, event.sub)
        })
        .collect();
    events.join(" ")
}

fn open(hub: &mut Hub<Change>, keys: Keys, start: Start) -> (StreamId, SubscriptionId) {
    let stream = hub.open();
    let subscription = hub.subscribe(stream, keys, start).expect("the stream is open");
    (stream, subscription)
}

#[test]
fn a_subscription_from_now_is_given_what_is_published_later_and_nothing_else() {
    let mut log = Log::new();
    log.write(&["a"]);
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::Now);
    assert!(drain(&mut hub, stream, &log).is_empty());
    hub.publish(log.write(&["b"])).wake();
    assert!(drain(&mut hub, stream, &log).is_empty());
    hub.publish(log.write(&["a", "b"])).wake();
    assert_eq!(drain(&mut hub, stream, &log), ["a@4.0"]);
}

#[test]
fn a_start_in_the_past_is_served_from_history_and_goes_on_live() {
    let mut log = Log::new();
    log.write(&["a"]);
    log.write(&["b"]);
    log.write(&["a"]);
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::At(2));
    assert_eq!(drain(&mut hub, stream, &log), ["history from 2", "a@2.0 a@4.0"]);
    hub.publish(log.write(&["a"])).wake();
    assert_eq!(drain(&mut hub, stream, &log), ["a@5.0"]);
}

#[test]
fn a_start_in_the_near_past_is_served_from_the_window() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    hub.publish(log.write(&["a"])).wake();
    hub.publish(log.write(&["b", "a"])).wake();
    let (stream, _) = open(&mut hub, between("a", "c"), Start::At(2));
    assert_eq!(drain(&mut hub, stream, &log), ["a@2.0 b@3.0 a@3.1"]);
}

#[test]
fn a_start_in_the_future_gets_neither_events_nor_progress_before_it() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (stream, subscription) = open(&mut hub, key("a"), Start::At(4));
    hub.publish(log.write(&["a"])).wake();
    hub.publish(log.write(&["a"])).wake();
    assert!(drain(&mut hub, stream, &log).is_empty());
    assert_eq!(hub.progress(subscription), None);
    hub.publish(log.write(&["a"])).wake();
    assert_eq!(hub.progress(subscription), None, "something is queued");
    assert_eq!(drain(&mut hub, stream, &log), ["a@4.0"]);
    assert_eq!(hub.progress(subscription), Some(4));
}

#[test]
fn progress_follows_revisions_that_the_subscription_does_not_match() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (_, subscription) = open(&mut hub, key("a"), Start::Now);
    assert_eq!(hub.progress(subscription), Some(1));
    hub.publish(log.write(&["b"])).wake();
    assert_eq!(hub.progress(subscription), Some(2));
}

#[test]
fn progress_of_a_stream_waits_for_all_its_subscriptions() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::Now);
    hub.subscribe(stream, key("b"), Start::Now);
    assert_eq!(hub.progress_of_all(stream), Some(1));
    hub.publish(log.write(&["b"])).wake();
    assert_eq!(hub.progress_of_all(stream), None);
    drain(&mut hub, stream, &log);
    assert_eq!(hub.progress_of_all(stream), Some(2));
}

#[test]
fn a_write_that_matches_nobody_wakes_nobody() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (bell, waker) = Bell::new();
    for number in 0..10_000 {
        let (stream, _) = open(&mut hub, key(&format!("key-{number}")), Start::Now);
        assert!(hub.poll(stream, &waker).is_pending());
    }
    hub.publish(log.write(&["other"])).wake();
    assert!(!bell.rang());
    hub.publish(log.write(&["key-77"])).wake();
    assert!(bell.rang());
}

#[test]
fn a_slow_subscription_falls_behind_alone_and_loses_nothing() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (slow, _) = open(&mut hub, key("a"), Start::Now);
    let (quick, _) = open(&mut hub, key("a"), Start::Now);
    for revision in 2..=40 {
        hub.publish(log.write(&["a"])).wake();
        assert_eq!(drain(&mut hub, quick, &log), [format!("a@{revision}.0")]);
    }
    let mut told = drain(&mut hub, slow, &log);
    told.retain(|line| !line.starts_with("history"));
    let expected: Vec<String> = (2..=40).map(|revision| format!("a@{revision}.0")).collect();
    assert_eq!(told.join(" "), expected.join(" "));
}

#[test]
fn a_revision_larger_than_the_queue_is_given_whole() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::Now);
    hub.publish(log.write(&["a"; 30])).wake();
    let told = drain(&mut hub, stream, &log);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].split(' ').count(), 30);
}

#[test]
fn a_batch_that_is_only_named_sends_those_it_touches_to_history() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (inside, _) = open(&mut hub, between("b", "c"), Start::Now);
    let (outside, _) = open(&mut hub, between("x", "z"), Start::Now);
    log.write(&["a", "b", "c"]);
    hub.publish(log.named(2)).wake();
    hub.publish(log.write(&["b", "x"])).wake();
    assert_eq!(drain(&mut hub, inside, &log), ["history from 2", "b@2.1 b@3.0"]);
    assert_eq!(drain(&mut hub, outside, &log), ["x@3.1"]);
    let (late, _) = open(&mut hub, between("b", "c"), Start::At(2));
    assert_eq!(drain(&mut hub, late, &log), ["history from 2", "b@2.1 b@3.0"]);
}

#[test]
fn a_start_below_the_compacted_revision_is_refused_and_one_at_it_is_not() {
    let mut log = Log::new();
    for _ in 0..5 {
        log.write(&["a"]);
    }
    log.compacted = 4;
    let mut hub = hub(&log);
    let (below, _) = open(&mut hub, key("a"), Start::At(3));
    assert_eq!(drain(&mut hub, below, &log), ["compacted 4"]);
    let (at, _) = open(&mut hub, key("a"), Start::At(4));
    assert_eq!(drain(&mut hub, at, &log), ["history from 4", "a@4.0 a@5.0 a@6.0"]);
    assert_eq!(hub.subscriptions(), 1, "the refused one has ended");
}

#[test]
fn compaction_reaches_a_subscription_that_is_behind_after_what_it_had_queued() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::Now);
    for _ in 0..20 {
        hub.publish(log.write(&["a"])).wake();
    }
    log.compacted = 20;
    hub.compact(20);
    let told = drain(&mut hub, stream, &log);
    assert_eq!(told.len(), 2);
    assert!(told[0].ends_with("a@11.0"), "{told:?}");
    assert_eq!(told[1], "compacted 20");
}

#[test]
fn a_live_subscription_survives_any_compaction() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::Now);
    for _ in 0..5 {
        hub.publish(log.write(&["b"])).wake();
    }
    hub.compact(6);
    hub.publish(log.write(&["a"])).wake();
    assert_eq!(drain(&mut hub, stream, &log), ["a@7.0"]);
}

#[test]
fn history_that_is_ahead_of_the_hub_makes_no_event_appear_twice() {
    let mut log = Log::new();
    log.write(&["a"]);
    let mut hub = hub(&log);
    let (stream, subscription) = open(&mut hub, key("a"), Start::At(2));
    let late = log.write(&["a"]);
    assert_eq!(drain(&mut hub, stream, &log), ["history from 2", "a@2.0 a@3.0"]);
    assert_eq!(hub.progress(subscription), Some(3), "progress never lies behind an event");
    hub.publish(late).wake();
    assert!(drain(&mut hub, stream, &log).is_empty());
}

#[test]
fn an_installed_image_sends_live_subscriptions_to_history_for_what_they_missed() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::Now);
    let (future, future_subscription) = open(&mut hub, key("a"), Start::At(9));
    for _ in 0..5 {
        log.write(&["a"]);
    }
    hub.reset(log.current(), 0).wake();
    assert_eq!(drain(&mut hub, stream, &log), ["history from 2", "a@2.0 a@3.0 a@4.0 a@5.0 a@6.0"]);
    assert!(drain(&mut hub, future, &log).is_empty());
    assert_eq!(hub.progress(future_subscription), None);
}

#[test]
fn an_answer_to_a_cancelled_subscription_is_dropped() {
    let mut log = Log::new();
    log.write(&["a"]);
    let mut hub = hub(&log);
    let (stream, subscription) = open(&mut hub, key("a"), Start::At(2));
    let (_, waker) = Bell::new();
    let Poll::Ready((_, Next::History(question))) = hub.poll(stream, &waker) else {
        panic!("a question is expected");
    };
    hub.cancel(subscription);
    hub.answer(question.run(&log)).wake();
    assert!(hub.poll(stream, &waker).is_pending());
    assert_eq!(hub.subscriptions(), 0);
}

#[test]
fn an_answer_wakes_the_stream_that_waits_for_it() {
    let mut log = Log::new();
    log.write(&["a"]);
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::At(2));
    let (bell, waker) = Bell::new();
    let Poll::Ready((_, Next::History(question))) = hub.poll(stream, &waker) else {
        panic!("a question is expected");
    };
    assert!(hub.poll(stream, &waker).is_pending());
    hub.answer(question.run(&log)).wake();
    assert!(bell.rang());
}

#[test]
fn history_that_cannot_be_read_ends_the_subscription_with_the_reason() {
    let mut log = Log::new();
    log.write(&["a"]);
    let mut hub = hub(&log);
    let (stream, _) = open(&mut hub, key("a"), Start::At(2));
    let (_, waker) = Bell::new();
    let Poll::Ready((_, Next::History(question))) = hub.poll(stream, &waker) else {
        panic!("a question is expected");
    };
    let failed = kstore_watch::HistoryError::Failed { why: "damaged".to_owned() };
    hub.answer(question.answered(Err(failed))).wake();
    assert_eq!(drain(&mut hub, stream, &log), ["failed: damaged"]);
}

#[test]
fn the_busy_subscription_of_a_stream_does_not_starve_the_others() {
    let mut log = Log::new();
    let mut hub = hub(&log);
    let (stream, busy) = open(&mut hub, key("a"), Start::Now);
    let calm = hub.subscribe(stream, key("b"), Start::Now);
    let (_, waker) = Bell::new();
    hub.publish(log.write(&["a"])).wake();
    hub.publish(log.write(&["b"])).wake();
    let Poll::Ready((first, _)) = hub.poll(stream, &waker) else { panic!("events are expected") };
    hub.publish(log.write(&["a"])).wake();
    let Poll::Ready((second, _)) = hub.poll(stream, &waker) else { panic!("events are expected") };
    assert_eq!((first, Some(second)), (busy, calm));
}

#[test]
fn opening_and_closing_many_streams_leaves_nothing_behind() {
    let mut hub = hub(&Log::new());
    for number in 0..100_000 {
        let stream = hub.open();
        hub.subscribe(stream, key(&format!("{}", number % 100)), Start::Now);
        hub.subscribe(stream, between("a", &format!("b{}", number % 100)), Start::At(1));
        hub.close(stream);
    }
    assert_eq!(hub.subscriptions(), 0);
    let closed = hub.open();
    hub.close(closed);
    assert_eq!(hub.subscribe(closed, key("a"), Start::Now), None);
}
