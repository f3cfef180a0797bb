//! openraft's own storage suite over the write-ahead log, the store and the machine, on the
//! simulated disk and real threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kstore_host::os::OsClock;
use kstore_host::threads::ThreadJobs;
use kstore_host::{Disk, Jobs};
use kstore_mvcc::{Lineage, Options};
use kstore_testkit::{SimDisk, SimRandom};
use kstore_watch::{Hub, HubOptions};
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{StorageError, TokioRuntime};

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::types::TypeConfig;
use crate::applied::Applied;
use crate::apply::{Applier, Home, Listeners, open_machine};
use crate::lessor::Lessor;
use crate::pending::Pending;
use crate::wal::{Wal, WalOptions};

type Config = TypeConfig<TokioRuntime>;

struct Builder;

impl StoreBuilder<Config, LogStore, StateMachine> for Builder {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<Config>> {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let data_dir = PathBuf::from("/data");
        disk.create_dir(&data_dir).unwrap();
        let jobs: Arc<dyn Jobs> = Arc::new(ThreadJobs::new(1, 64));
        let home = Home {
            disk: Arc::clone(&disk),
            data_dir: data_dir.clone(),
            options: Options::tiny(),
            lineage: Lineage(1),
        };
        let machine = open_machine(&home, &SimRandom::new(2)).unwrap();
        let listeners = Listeners {
            pending: Arc::new(Pending::new()),
            applied: Arc::new(Applied::new(None)),
            hub: Arc::new(Mutex::new(Hub::new(HubOptions::default(), 1, 0))),
            lessor: Arc::new(Lessor::new()),
            clock: Arc::new(OsClock::start()),
            origin: 1,
        };
        let (wal, _) = Wal::open(
            &disk,
            &data_dir.join("wal"),
            jobs.lane("wal"),
            &SimRandom::new(1),
            WalOptions::tiny(),
            None,
        )
        .unwrap();
        let random = Arc::new(SimRandom::new(3));
        let lane = jobs.lane("apply");
        let applier = Applier::new(lane, home, machine, listeners, random, wal.clone()).unwrap();
        let log = LogStore::new(wal, Arc::clone(&jobs));
        Ok(((), log, StateMachine::new(Arc::new(applier), jobs).that_checkpoints()))
    }
}

#[test]
fn the_storage_passes_the_suite_of_openraft() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}

// The suite's trait bounds, spelled out so that a change of openraft's shows here first.
const _: fn() = || {
    fn is_log<L: RaftLogStorage<Config>>() {}
    fn is_machine<M: RaftStateMachine<Config>>() {}
    is_log::<LogStore>();
    is_machine::<StateMachine>();
};
