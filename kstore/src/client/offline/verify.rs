//! `kstore verify`: looks at every byte that a stopped member keeps.
//!
//! ```text
//!   identity      is it whole
//!   store         every page, record and footer; do tree and log say the same
//!   wal           every group and record; does it reach as far as the store has applied
//! ```
//!
//! What is wrong is told on standard error, a line for each place, with file and offset; the exit
//! code is 0 only if all of it is sound.

use std::path::Path;
use std::sync::Arc;

use clap::{ArgMatches, Command};
use kstore_host::Disk;
use kstore_host::os::OsDisk;
use kstore_mvcc::{Position, VerifyReport, verify};
use kstore_raft::wal::Recovered;
use kstore_raft::{Inspected, inspect};

use super::super::arguments::{only_word, verb};
use super::super::failure::{Exit, Failure};
use super::super::notation::show_size;
use super::super::output::{Answer, Json, Page, Style, complain, print};
use super::super::settings::Settings;

pub(crate) fn verify_command() -> Command {
    verb("verify", "Looks at every byte of the data directory of a stopped member", "data-dir")
}

pub(crate) fn verify_directory(settings: &Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let name = only_word(flags, "verify requires exactly one argument")?;
    let (disk, data_dir): (Arc<dyn Disk>, _) = (Arc::new(OsDisk), Path::new(&name));
    let _lock = disk.lock(data_dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            Failure::error(format!("{name} is in use: stop the member first"))
        }
        _ => Failure::error(format!("{name}: {error}")),
    })?;
    let found = Found::of(&disk, data_dir);
    let damages = found.damages();
    // Without a store there is nothing else to say than what is wrong.
    if found.store.is_ok() {
        print(settings.style, &found)?;
    }
    for damage in &damages {
        complain(&format!("{damage}\n"));
    }
    match damages.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Error, format!("{name} is damaged in one place"))),
        many => Err(Failure::new(Exit::Error, format!("{name} is damaged in {many} places"))),
    }
}

/// What lies in a data directory.
struct Found {
    /// The store, or why none can be opened.
    store: Result<VerifyReport, String>,
    rest: Inspected,
}

impl Found {
    fn of(disk: &Arc<dyn Disk>, data_dir: &Path) -> Self {
        let store = verify(disk, data_dir).map_err(|error| error.to_string());
        let applied = store.as_ref().ok().and_then(|report| report.position);
        let rest = inspect(&**disk, data_dir, applied.map(|position| position.index));
        Self { store, rest }
    }

    /// What is wrong, a line for each place.
    fn damages(&self) -> Vec<String> {
        let mut damages: Vec<String> = match &self.store {
            Ok(report) => report.damages.iter().map(ToString::to_string).collect(),
            Err(why) => vec![why.clone()],
        };
        damages.extend(self.rest.identity.as_ref().err().map(ToString::to_string));
        damages.extend(self.rest.log.as_ref().err().map(ToString::to_string));
        damages
    }
}

fn show(position: Option<Position>) -> String {
    position.map_or_else(|| "none".to_owned(), |position| position.to_string())
}

fn log_line(log: &Recovered) -> String {
    let cut = log.cut.as_ref().map(|cut| {
        let file = cut.file.display();
        format!("; an unfinished write at its end ({file}, offset {})", cut.offset)
    });
    let (last, committed) = (show(log.last), show(log.committed));
    let purged = show(log.purged);
    let cut = cut.unwrap_or_default();
    format!("log: last entry {last}, committed {committed}, purged {purged}{cut}")
}

fn log_json(log: &Recovered) -> Json {
    Json::whole([
        ("last", show(log.last).as_str().into()),
        ("committed", show(log.committed).as_str().into()),
        ("purged", show(log.purged).as_str().into()),
        ("unfinishedEnd", log.cut.is_some().into()),
    ])
}

impl Answer for Found {
    fn simple(&self, page: &mut Page) {
        let Ok(store) = &self.store else { return };
        let bytes = show_size(store.record_bytes);
        page.line(format!("{}: revision {}", store.home.display(), store.revision));
        page.line(format!("{} records ({bytes}) in {} segments", store.records, store.segments));
        page.line(format!(
            "{} cells in {} pages on {} levels",
            store.cells, store.pages, store.height
        ));
        match &self.rest.log {
            Ok(Some(log)) => page.line(log_line(log)),
            Ok(None) => page.line("log: none yet"),
            Err(_) => page.line("log: damaged"),
        }
        page.line(if self.damages().is_empty() { "sound" } else { "DAMAGED" });
    }

    fn json(&self, _style: Style) -> Option<Json> {
        let store = self.store.as_ref().ok()?;
        let damages = self.damages();
        let mut members = vec![
            ("home", store.home.to_string_lossy().as_ref().into()),
            ("revision", store.revision.0.into()),
            ("compactRevision", store.compacted.0.into()),
            ("segments", store.segments.into()),
            ("records", store.records.into()),
            ("recordBytes", store.record_bytes.into()),
            ("cells", store.cells.into()),
            ("pages", store.pages.into()),
            ("height", u64::from(store.height).into()),
        ];
        if let Ok(Some(log)) = &self.rest.log {
            members.push(("log", log_json(log)));
        }
        members.push(("damages", Json::list(damages.iter().map(|line| line.as_str().into()))));
        Some(Json::whole(members))
    }
}
