//! The feed without a store: changes in, batches out.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::{Bucket, Feed, QUEUE, Subscription, WINDOW_EVENTS};
use crate::kinds;
use crate::storage::Change;

fn feed() -> Arc<Feed> {
    let pods = kinds::all().iter().find(|kind| kind.resource == "pods").unwrap();
    let feed = Arc::new(Feed::new(pods));
    feed.begin(10);
    feed
}

fn pod(name: &str, node: &str) -> Bytes {
    let object = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "a"}, "spec": {"nodeName": node},
    });
    Bytes::from(object.to_string())
}

fn change(revision: u64, name: &str, previous: Option<Bytes>, value: Option<Bytes>) -> Change {
    let key = Bytes::from(format!("/registry/pods/a/{name}"));
    Change { key, value, previous, revision }
}

fn tell(feed: &Feed, revision: u64, name: &str) {
    feed.tell(vec![change(revision, name, None, Some(pod(name, "")))]);
}

/// The revisions that are there to be taken, and whether the watcher was left behind.
async fn told(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut revisions = Vec::new();
    while revisions.len() < count {
        let Some(batch) = subscription.next().await else { break };
        revisions.extend(batch.iter().map(|event| event.revision));
    }
    revisions
}

#[tokio::test]
async fn who_joins_late_is_told_what_came_after_his_revision() {
    let feed = feed();
    tell(&feed, 11, "x");
    tell(&feed, 12, "y");
    let mut subscription = feed.join(11, Bucket::All).unwrap();
    tell(&feed, 13, "z");
    assert_eq!(told(&mut subscription, 2).await, [12, 13]);
}

#[tokio::test]
async fn who_joins_ahead_of_the_feed_is_not_told_what_he_knows() {
    let feed = feed();
    let mut subscription = feed.join(12, Bucket::All).unwrap();
    for revision in 11..=13 {
        tell(&feed, revision, "x");
    }
    assert_eq!(told(&mut subscription, 1).await, [13]);
}

#[test]
fn a_feed_does_not_reach_back_behind_its_beginning() {
    assert!(feed().join(9, Bucket::All).is_none());
    assert!(feed().join(10, Bucket::All).is_some());
}

#[test]
fn a_full_window_forgets_its_oldest() {
    let feed = feed();
    for revision in 11..11 + WINDOW_EVENTS as u64 + 5 {
        tell(&feed, revision, "x");
    }
    assert!(feed.join(14, Bucket::All).is_none());
    assert!(feed.join(15, Bucket::All).is_some());
    assert_eq!(feed.state().latest.len(), 1);
}

#[tokio::test]
async fn each_bucket_is_told_its_own() {
    let feed = feed();
    let buckets = [
        (Bucket::All, vec![11, 12, 13]),
        (Bucket::Namespace("a".to_owned()), vec![11, 12, 13]),
        (Bucket::Namespace("b".to_owned()), vec![]),
        (Bucket::Object("a".to_owned(), "x".to_owned()), vec![11, 12]),
        (Bucket::Object("b".to_owned(), "x".to_owned()), vec![]),
        // The pod comes to one and leaves it for two, which is news for both.
        (Bucket::Indexed("one".to_owned()), vec![11, 12]),
        (Bucket::Indexed("two".to_owned()), vec![12]),
        (Bucket::Indexed(String::new()), vec![13]),
    ];
    let mut early: Vec<_> =
        buckets.iter().map(|(bucket, _)| feed.join(10, bucket.clone()).unwrap()).collect();
    let (one, two) = (pod("x", "one"), pod("x", "two"));
    feed.tell(vec![change(11, "x", None, Some(one.clone()))]);
    feed.tell(vec![change(12, "x", Some(one), Some(two))]);
    feed.tell(vec![change(13, "y", None, Some(pod("y", "")))]);
    for ((bucket, wanted), early) in buckets.iter().zip(&mut early) {
        let mut late = feed.join(10, bucket.clone()).unwrap();
        // Everything was told: without the feed the queue ends.
        assert_eq!(told(&mut late, wanted.len()).await, *wanted, "{bucket:?}, late");
        assert_eq!(told(early, wanted.len()).await, *wanted, "{bucket:?}");
        assert!(early.queue.is_empty(), "{bucket:?}");
    }
}

#[tokio::test]
async fn who_is_slow_is_left_behind_after_what_he_was_given() {
    let feed = feed();
    let mut slow = feed.join(10, Bucket::All).unwrap();
    let count = QUEUE as u64 + 3;
    for revision in 11..11 + count {
        tell(&feed, revision, "x");
    }
    assert_eq!(slow.told(), None);
    let given: Vec<u64> = (11..11 + QUEUE as u64).collect();
    assert_eq!(told(&mut slow, usize::MAX).await, given);
    assert!(feed.state().watchers.is_empty() && feed.state().buckets.is_empty());
}

#[tokio::test]
async fn a_bookmark_waits_for_what_is_in_the_queue() {
    let feed = feed();
    let mut subscription = feed.join(10, Bucket::All).unwrap();
    assert_eq!(told(&mut subscription, 0).await, [0; 0]);
    tell(&feed, 11, "x");
    assert_eq!(subscription.told(), None);
    assert_eq!(told(&mut subscription, 1).await, [11]);
    assert_eq!(subscription.told(), Some(11));
}

#[tokio::test]
async fn what_an_object_held_is_not_looked_at_twice() {
    let feed = feed();
    let mut subscription = feed.join(10, Bucket::All).unwrap();
    let (first, second) = (pod("x", "one"), pod("x", "two"));
    feed.tell(vec![change(11, "x", None, Some(first.clone()))]);
    feed.tell(vec![change(12, "x", Some(Bytes::from(first.to_vec())), Some(second))]);
    let [first, second] = [subscription.next().await.unwrap(), subscription.next().await.unwrap()];
    let (now, before) = (first[0].now.as_ref().unwrap(), second[0].before.as_ref().unwrap());
    assert!(Arc::ptr_eq(now, before));
}

#[test]
fn who_goes_is_forgotten() {
    let feed = feed();
    drop(feed.join(10, Bucket::Namespace("a".to_owned())));
    assert!(feed.state().watchers.is_empty() && feed.state().buckets.is_empty());
}
