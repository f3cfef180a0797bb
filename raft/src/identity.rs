//! Who a member is, as its data directory remembers it.
//!
//! ```text
//!   data-dir/identity      format "KSID" | version u32 | cluster u64 | member u64 |
//!                          lineage u128 | crc32 of all before
//! ```
//!
//! Written once, when the directory is new, before anything else that other members could see.
//! All numbers are little-endian. Drawn in `docs/formats/identity.md`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use kstore_host::{Disk, OpenMode, Random};

use crate::start::StartError;
use crate::types::{ClusterId, MemberId};

const FILE: &str = "identity";
const TEMPORARY: &str = "identity.new";
const MAGIC: &[u8; 4] = b"KSID";
const VERSION: u32 = 1;
const LENGTH: usize = 4 + 4 + 8 + 8 + 16 + 4;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) member: MemberId,
    /// Kept by images and restores; marks files that may be used in place of one another.
    pub(crate) lineage: u128,
}

impl Identity {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.cluster.0.to_le_bytes());
        bytes.extend_from_slice(&self.member.0.to_le_bytes());
        bytes.extend_from_slice(&self.lineage.to_le_bytes());
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LENGTH]) -> Result<Self, String> {
        let (content, checksum) = bytes.split_at(LENGTH - 4);
        if &content[..4] != MAGIC {
            return Err("this is no kstore data directory".to_owned());
        }
        let version = u32::from_le_bytes(content[4..8].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(format!(
                "identity has format version {version}; this kstore reads version {VERSION} only"
            ));
        }
        if crc32fast::hash(content).to_le_bytes() != checksum {
            return Err("identity is damaged: checksum mismatch".to_owned());
        }
        let number =
            |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().expect("eight bytes"));
        let lineage = u128::from_le_bytes(content[24..40].try_into().expect("sixteen bytes"));
        Ok(Self { cluster: ClusterId(number(8)), member: MemberId(number(16)), lineage })
    }

    /// Reads the identity of a data directory, or gives it `fresh`'s when it has none.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        data_dir: &Path,
        cluster: ClusterId,
        member: MemberId,
        random: &dyn Random,
    ) -> Result<Self, StartError> {
        if let Some(identity) = Self::read(&**disk, data_dir)? {
            return Ok(identity);
        }
        let lineage = crate::apply::random_u128(random);
        let identity = Self { cluster, member, lineage };
        identity
            .write(disk, data_dir)
            .map_err(|e| StartError::io("write identity", &data_dir.join(FILE), e))?;
        Ok(identity)
    }

    /// The identity of a data directory, if it has one.
    pub(crate) fn read(disk: &dyn Disk, data_dir: &Path) -> Result<Option<Self>, StartError> {
        let path = data_dir.join(FILE);
        let file = match disk.open(&path, OpenMode::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| StartError::io("open identity", &path, e))?,
        };
        let mut bytes = [0; LENGTH];
        match file.read_exact_at(&mut bytes, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                let why = "identity is damaged: the file ends too early".to_owned();
                return Err(StartError::Damaged { path, why });
            }
            read => read.map_err(|e| StartError::io("read identity", &path, e))?,
        }
        let identity = Self::decode(&bytes);
        identity.map(Some).map_err(|why| StartError::Damaged { path, why })
    }

    /// Writes beside and renames, so that a crash leaves all of it or nothing.
    fn write(&self, disk: &Arc<dyn Disk>, data_dir: &Path) -> io::Result<()> {
        let temporary = data_dir.join(TEMPORARY);
        match disk.remove_file(&temporary) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let file = disk.open(&temporary, OpenMode::CreateNew)?;
        file.write_at(&self.encode(), 0)?;
        file.sync()?;
        disk.rename(&temporary, &data_dir.join(FILE))?;
        disk.sync_dir(data_dir)
    }
}
