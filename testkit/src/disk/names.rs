//! The names of a simulated disk: directories, and what of them is durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::state::{Body, FileBody, Inode, InodeId, ROOT, State, error};

#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    pub(super) durable: BTreeMap<String, InodeId>,
    pub(super) current: BTreeMap<String, InodeId>,
    pub(super) pending: Vec<(u64, NameChange)>,
}

/// An unsynced change to a directory. A rename inside one directory is one change.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add { name: String, inode: InodeId },
    Remove { name: String },
    Rename { from: String, to: String, inode: InodeId },
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, InodeId>) {
        match self {
            Self::Add { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    pub(super) fn inode(&self) -> Option<InodeId> {
        match self {
            Self::Add { inode, .. } | Self::Rename { inode, .. } => Some(*inode),
            Self::Remove { .. } => None,
        }
    }
}

impl Directory {
    fn change(&mut self, sequence: u64, change: NameChange) {
        change.apply(&mut self.current);
        self.pending.push((sequence, change));
    }
}

/// The names on the way from the root; `/a/./b` and `a/b` are the same.
fn parts(path: &Path) -> Vec<&str> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect()
}

impl State {
    pub(super) fn directory(&self, id: InodeId) -> io::Result<&Directory> {
        match self.inodes.get(&id).map(|inode| &inode.body) {
            Some(Body::Directory(directory)) => Ok(directory),
            _ => Err(error(io::ErrorKind::NotADirectory)),
        }
    }

    fn directory_mut(&mut self, id: InodeId) -> io::Result<&mut Directory> {
        match self.inodes.get_mut(&id).map(|inode| &mut inode.body) {
            Some(Body::Directory(directory)) => Ok(directory),
            _ => Err(error(io::ErrorKind::NotADirectory)),
        }
    }

    fn walk(&self, names: &[&str]) -> io::Result<InodeId> {
        let mut at = ROOT;
        for name in names {
            let next = self.directory(at)?.current.get(*name);
            at = *next.ok_or_else(|| error(io::ErrorKind::NotFound))?;
        }
        Ok(at)
    }

    /// What `path` names now.
    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        self.walk(&parts(path))
    }

    /// The directory that holds `path`'s last name, and that name.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(InodeId, &'a str)> {
        let names = parts(path);
        let (name, above) = names.split_last().ok_or_else(|| error(io::ErrorKind::InvalidInput))?;
        let directory = self.walk(above)?;
        self.directory(directory)?;
        Ok((directory, name))
    }

    fn change_names(&mut self, directory: InodeId, change: NameChange) -> io::Result<()> {
        let sequence = self.next_sequence();
        self.directory_mut(directory)?.change(sequence, change);
        Ok(())
    }

    fn make(&mut self, directory: InodeId, name: &str, body: Body) -> io::Result<InodeId> {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode { open: 0, body });
        self.change_names(directory, NameChange::Add { name: name.to_owned(), inode })?;
        Ok(inode)
    }

    pub(super) fn open(&mut self, path: &Path) -> io::Result<InodeId> {
        let id = self.find(path)?;
        let inode = self.inodes.get_mut(&id).ok_or_else(|| error(io::ErrorKind::NotFound))?;
        if matches!(inode.body, Body::Directory(_)) {
            return Err(error(io::ErrorKind::IsADirectory));
        }
        inode.open += 1;
        Ok(id)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<InodeId> {
        let (directory, name) = self.parent(path)?;
        if self.directory(directory)?.current.contains_key(name) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        self.room_for(1)?;
        self.make(directory, name, Body::File(FileBody::default()))?;
        self.open(path)
    }

    pub(super) fn close(&mut self, boot: u64, id: InodeId) {
        if boot == self.boot
            && let Some(inode) = self.inodes.get_mut(&id)
        {
            inode.open = inode.open.saturating_sub(1);
        }
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<kstore_host::Entry>> {
        let directory = self.directory(self.find(path)?)?;
        let entries = directory.current.iter().map(|(name, inode)| kstore_host::Entry {
            name: name.clone(),
            is_dir: self.directory(*inode).is_ok(),
        });
        Ok(entries.collect())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in parts(path) {
            at = match self.directory(at)?.current.get(name) {
                Some(next) => *next,
                None => self.make(at, name, Body::Directory(Directory::default()))?,
            };
        }
        self.directory(at).map(|_| ()).map_err(|_| error(io::ErrorKind::AlreadyExists))
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        if self.directory(self.find(path)?).is_ok() {
            return Err(error(io::ErrorKind::IsADirectory));
        }
        let (directory, name) = self.parent(path)?;
        self.change_names(directory, NameChange::Remove { name: name.to_owned() })
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        if !self.directory(self.find(path)?)?.current.is_empty() {
            return Err(error(io::ErrorKind::DirectoryNotEmpty));
        }
        let (directory, name) = self.parent(path)?;
        self.change_names(directory, NameChange::Remove { name: name.to_owned() })
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (old, old_name) = self.parent(from)?;
        let (new, new_name) = self.parent(to)?;
        let inode = self.find(from)?;
        if parts(to).starts_with(&parts(from)) && parts(to) != parts(from) {
            // A directory cannot move into itself.
            return Err(error(io::ErrorKind::InvalidInput));
        }
        if parts(from).starts_with(&parts(to)) && parts(to) != parts(from) {
            // Nor can anything take the place of a directory that holds it.
            return Err(error(io::ErrorKind::DirectoryNotEmpty));
        }
        if let Ok(target) = self.find(to) {
            if target == inode {
                return Ok(());
            }
            match (self.directory(inode), self.directory(target)) {
                (Err(_), Err(_)) => {}
                (Ok(_), Ok(there)) if there.current.is_empty() => {}
                (Ok(_), Ok(_)) => return Err(error(io::ErrorKind::DirectoryNotEmpty)),
                (Ok(_), Err(_)) => return Err(error(io::ErrorKind::NotADirectory)),
                (Err(_), Ok(_)) => return Err(error(io::ErrorKind::IsADirectory)),
            }
        }
        let (from, to) = (old_name.to_owned(), new_name.to_owned());
        if old == new {
            return self.change_names(old, NameChange::Rename { from, to, inode });
        }
        self.change_names(new, NameChange::Add { name: to, inode })?;
        self.change_names(old, NameChange::Remove { name: from })
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (directory, name) = self.parent(to)?;
        if self.directory(directory)?.current.contains_key(name) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        if self.directory(inode).is_ok() {
            return Err(error(io::ErrorKind::PermissionDenied));
        }
        self.change_names(directory, NameChange::Add { name: name.to_owned(), inode })
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        let directory = self.directory_mut(id)?;
        for (_, change) in std::mem::take(&mut directory.pending) {
            change.apply(&mut directory.durable);
        }
        self.sweep();
        Ok(())
    }

    /// A failed sync of a directory: the changes may be thrown away, though the names still show.
    pub(super) fn fail_sync_dir(&mut self, path: &Path) {
        let forgets = self.prng.one_in(2);
        let Ok(id) = self.find(path) else { return };
        if let (true, Ok(directory)) = (forgets, self.directory_mut(id)) {
            directory.pending.clear();
        }
    }

    pub(super) fn lock(&mut self, path: &Path) -> io::Result<(InodeId, u64)> {
        let directory = self.find(path)?;
        if !self.directory(directory)?.current.contains_key("LOCK") {
            self.make(directory, "LOCK", Body::File(FileBody::default()))?;
        }
        if self.locks.contains_key(&directory) {
            return Err(error(io::ErrorKind::WouldBlock));
        }
        self.next_lock += 1;
        self.locks.insert(directory, self.next_lock);
        Ok((directory, self.next_lock))
    }

    pub(super) fn unlock(&mut self, directory: InodeId, lock: u64) {
        if self.locks.get(&directory) == Some(&lock) {
            self.locks.remove(&directory);
        }
    }
}
