//! The directories of stores: `<data-dir>/store-000001` and so on.
//!
//! An installed image becomes the home with the next number; the home before it is void as soon
//! as the new one has a root file, which is made last. Opening takes the highest home that has a
//! root and removes the others.

use std::io;
use std::path::{Path, PathBuf};

use kstore_host::Disk;

use crate::OpenError;

/// The name of the root file in a home.
pub(crate) const ROOT: &str = "root";

/// The number of the first home.
pub(crate) const FIRST: u64 = 1;

/// The directory of a home.
pub(crate) fn path(data_dir: &Path, number: u64) -> PathBuf {
    data_dir.join(format!("store-{number:06}"))
}

fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("store-")?.parse().ok()?;
    (format!("store-{number:06}") == name).then_some(number)
}

/// The numbers of the homes in a data directory, highest first.
pub(crate) fn list(disk: &dyn Disk, data_dir: &Path) -> Result<Vec<u64>, OpenError> {
    let entries = match disk.read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(OpenError::io("list", data_dir)(source)),
    };
    let mut numbers: Vec<u64> =
        entries.iter().filter(|e| e.is_dir).filter_map(|e| number_of(&e.name)).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// The names of the files in a home.
pub(crate) fn files(disk: &dyn Disk, home: &Path) -> Result<Vec<String>, OpenError> {
    let entries = disk.read_dir(home).map_err(OpenError::io("list", home))?;
    Ok(entries.into_iter().filter(|e| !e.is_dir).map(|e| e.name).collect())
}

/// Removes a home with all its files, its root file first, so that a crash in between leaves no
/// home that looks whole.
pub(crate) fn remove(disk: &dyn Disk, home: &Path) -> Result<(), OpenError> {
    let mut names = files(disk, home)?;
    names.sort_by_key(|name| name != ROOT);
    for name in names {
        let path = home.join(&name);
        disk.remove_file(&path).map_err(OpenError::io("remove", &path))?;
        if name == ROOT {
            disk.sync_dir(home).map_err(OpenError::io("sync", home))?;
        }
    }
    disk.remove_dir(home).map_err(OpenError::io("remove", home))
}
