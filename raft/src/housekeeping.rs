//! What a member does by itself: gives up on requests whose time is over, keeps the lease clock
//! while it leads, writes checkpoints, puts the last sync of a quiet log on record, notices its
//! own end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kstore_machine::command::{Command, LeaseRevoke, Retain};
use kstore_mvcc::Term;

use crate::checkpointer;
use crate::member::Core;
use crate::tasks::within;
use crate::types::Unavailable;

/// Starts the tasks. They end with the member.
pub(crate) fn spawn(core: &Arc<Core>, interval: Duration) {
    core.tasks.spawn(Box::pin(clock(Arc::clone(core), interval)));
    core.tasks.spawn(Box::pin(leases(Arc::clone(core), interval)));
    core.tasks.spawn(Box::pin(retention(Arc::clone(core), interval)));
    core.tasks.spawn(Box::pin(checkpoints(Arc::clone(core), interval)));
    core.tasks.spawn(Box::pin(leadership(Arc::clone(core))));
}

/// Ends requests whose time is over, and idles the log.
async fn clock(core: Arc<Core>, interval: Duration) {
    while !core.has_ended() {
        core.tasks.sleep(interval).await;
        core.pending.expire(core.clock.monotonic(), Unavailable::TimedOut);
        core.wal.idle_tick();
        if let Some(refusal) = core.caller.estranged(core.engine.state().voters.len()) {
            core.end(&format!("this member belongs to another cluster than its peers: {refusal}"));
        }
    }
}

/// Proposes the end of leases whose time is over.
async fn leases(core: Arc<Core>, interval: Duration) {
    while !core.has_ended() {
        core.tasks.sleep(interval).await;
        while let Some((term, due)) = core.lessor.due(core.clock.monotonic()) {
            let ids = due.iter().map(|id| id.0).collect();
            let command = Command::LeaseRevoke(LeaseRevoke { ids });
            match core.propose(command, Some(term)).await {
                // They are gone, or were before; should one be unknown to the machine, the clock
                // must forget it, or it would be due for ever.
                Ok(_) => due.iter().for_each(|id| core.lessor.revoked(*id)),
                Err(_) => break,
            }
        }
    }
}

/// Lets the store forget what was compacted: while this member leads, the horizon below which
/// history may go follows the one below which clients may not read.
async fn retention(core: Arc<Core>, interval: Duration) {
    while !core.has_ended() {
        core.tasks.sleep(interval).await;
        let Some(term) = core.engine.leads() else { continue };
        let view = core.applier.view();
        if view.retained() >= view.compacted() {
            continue;
        }
        let to = i64::try_from(view.compacted().0).unwrap_or(i64::MAX);
        let command = Command::Retain(Retain { revision: to });
        // Another leader will propose it, or this one the next time round.
        drop(core.propose(command, Some(term)).await);
    }
}

/// Writes checkpoints when they are due.
async fn checkpoints(core: Arc<Core>, interval: Duration) {
    while !core.has_ended() {
        core.tasks.sleep(interval).await;
        if core.stopping.load(Ordering::SeqCst) {
            return;
        }
        if let Err(why) = checkpointer::checkpoint_if_due(&core).await {
            core.end(&format!("checkpoint: {why}"));
        }
    }
}

/// Follows who leads: takes the lease clock over and gives it up, and notices the engine's end.
async fn leadership(core: Arc<Core>) {
    let mut leading: Option<Term> = None;
    let mut leader = None;
    while !core.has_ended() {
        let changed = core.engine.changed();
        let state = core.engine.state();
        if let Some(fatal) = &state.fatal {
            // A stop ends the engine, too, and tells so itself.
            if !core.stopping.load(Ordering::SeqCst) {
                core.end(fatal);
            }
            return;
        }
        if state.leader.is_some() && state.leader != leader {
            leader = state.leader;
            core.leader_changes.fetch_add(1, Ordering::Relaxed);
        }
        let leads = core.engine.leads();
        if leads != leading {
            core.lessor.follow();
            leading = None;
            if let Some(term) = leads
                && take_over(&core, term).await
            {
                leading = Some(term);
            }
        }
        // A takeover that failed is tried again soon; an end shows without a change of leader.
        within(&*core.tasks, core.timing.heartbeat, changed).await;
    }
}

/// Takes the lease clock over once everything that earlier leaders committed is applied here.
async fn take_over(core: &Arc<Core>, term: Term) -> bool {
    let Ok(index) = core.engine.read_index().await else { return false };
    let reached = core.applied.reached(index);
    let reached = within(&*core.tasks, core.timing.election, reached).await;
    if !matches!(reached, Some(Ok(()))) || core.engine.leads() != Some(term) {
        return false;
    }
    core.lessor.lead(term);
    let leases = core.applier.leases();
    core.lessor.adopt(leases, core.clock.monotonic(), core.timing.election);
    true
}
