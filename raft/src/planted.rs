//! Known bugs, put back on purpose behind the build feature `planted`, to prove that the simulator
//! finds them. None of this is in a normal build.

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    /// A bug that can be planted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[repr(u8)]
    pub enum Bug {
        /// A restarted leader resumes its term without an election.
        LeaderRestore = 1,
        /// The write-ahead log calls back before its sync.
        CallbackBeforeSync = 2,
        /// A checkpoint writes its root before its pages.
        RootBeforePages = 3,
        /// Events reach the hub before their view is published.
        EventBeforePublish = 4,
    }

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    impl Bug {
        /// The bug of this name.
        #[must_use]
        pub fn from_name(name: &str) -> Option<Self> {
            Some(match name {
                "leader-restore" => Self::LeaderRestore,
                "callback-before-sync" => Self::CallbackBeforeSync,
                "root-before-pages" => Self::RootBeforePages,
                "event-before-publish" => Self::EventBeforePublish,
                _ => return None,
            })
        }
    }

    /// Plants a bug in every member of this process from now on.
    pub fn plant(bug: Bug) {
        if bug == Bug::RootBeforePages {
            kstore_mvcc::planted::plant_root_before_pages();
        }
        PLANTED.store(bug as u8, Ordering::SeqCst);
    }

    /// Whether `bug` is planted.
    #[must_use]
    pub fn is_planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::SeqCst) == bug as u8
    }
}

#[cfg(feature = "planted")]
pub use switch::{Bug, is_planted, plant};

/// Whether a restarted leader resumes its term.
pub(crate) fn leader_restore() -> bool {
    #[cfg(feature = "planted")]
    return is_planted(Bug::LeaderRestore);
    #[cfg(not(feature = "planted"))]
    false
}

/// Whether the write-ahead log calls back before its sync.
pub(crate) fn callback_before_sync() -> bool {
    #[cfg(feature = "planted")]
    return is_planted(Bug::CallbackBeforeSync);
    #[cfg(not(feature = "planted"))]
    false
}

/// Whether events reach the hub before their view is published.
pub(crate) fn event_before_publish() -> bool {
    #[cfg(feature = "planted")]
    return is_planted(Bug::EventBeforePublish);
    #[cfg(not(feature = "planted"))]
    false
}
