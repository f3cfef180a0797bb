//! The manifest: what is in an image, in the order in which it comes.

use std::collections::BTreeSet;

use crate::codec::{Input, wide};
use crate::image::{ImageError, malformed};
use crate::log::segment::SegmentFile;
use crate::root::{Root, SLOT, SlotFault};
use crate::tree::FileNumber;

/// Raised with every change of the format; other versions are refused.
pub(crate) const IMAGE_FORMAT: u32 = 1;
/// Everything in the stream form begins at a multiple of this.
pub(crate) const UNIT: u64 = 512;
/// The bytes that say how long the manifest is.
pub(crate) const HEAD: usize = 16;

const MAGIC: [u8; 8] = *b"kstorimg";
/// A manifest that claims to be longer is refused before anything is allocated: 40 bytes a file
/// of 64 MiB, so this is a store of more than ten terabytes.
const LENGTH_MAX: usize = 8 << 20;

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFile {
    pub(crate) name: String,
    pub(crate) length: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) root: Root,
    pub(crate) files: Vec<ImageFile>,
}

/// The next border of a unit.
pub(crate) fn padded(length: u64) -> u64 {
    length.next_multiple_of(UNIT)
}

impl Manifest {
    /// The manifest's bytes, padded.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + SLOT + self.files.len() * 40);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&IMAGE_FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.root.encode());
        put(&mut out, self.files.len());
        for file in &self.files {
            put(&mut out, file.name.len());
            out.extend_from_slice(file.name.as_bytes());
            out.extend_from_slice(&file.length.to_le_bytes());
        }
        // Dead bitmaps of segments: none are written yet.
        put(&mut out, 0);
        let length = padded(wide(out.len()) + 4);
        let length = usize::try_from(length).expect("it is in memory already");
        let field = u32::try_from(length).expect("the number of files is bounded by the disk");
        out[12..16].copy_from_slice(&field.to_le_bytes());
        out.resize(length - 4, 0);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// How long the manifest is that begins with these bytes.
    pub(crate) fn length(head: &[u8; HEAD]) -> Result<usize, ImageError> {
        let mut input = Input::new(head);
        if input.take(8) != Some(&MAGIC) {
            return Err(malformed("it does not begin as an image does"));
        }
        let version = input.u32().unwrap_or_default();
        if version != IMAGE_FORMAT {
            return Err(ImageError::OtherFormat { found: version, expected: IMAGE_FORMAT });
        }
        let length = input.u32().and_then(|length| usize::try_from(length).ok());
        length
            .filter(|n| *n > HEAD + SLOT && *n <= LENGTH_MAX && padded(wide(*n)) == wide(*n))
            .ok_or_else(|| malformed("manifest length out of bounds"))
    }

    /// Checks and decodes a whole manifest.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let head = bytes.first_chunk().ok_or_else(|| malformed("manifest cut short"))?;
        if Self::length(head)? != bytes.len() {
            return Err(malformed("manifest cut short"));
        }
        let (content, checksum) = bytes.split_at(bytes.len() - 4);
        if Input::new(checksum).u32() != Some(crc32fast::hash(content)) {
            return Err(malformed("manifest checksum mismatch"));
        }
        let root = Root::decode(&content[HEAD..HEAD + SLOT]).map_err(|fault| match fault {
            SlotFault::OtherFormat(found) => {
                ImageError::OtherFormat { found, expected: crate::root::ROOT_FORMAT }
            }
            other => malformed(&format!("the root in the manifest is {other}")),
        })?;
        let files = Self::decode_files(Input::new(&content[HEAD + SLOT..]))
            .ok_or_else(|| malformed("manifest fields malformed"))?;
        check_names(&files, &root)?;
        Ok(Self { root, files })
    }

    fn decode_files(mut input: Input<'_>) -> Option<Vec<ImageFile>> {
        let count = input.u32()?;
        let mut files = Vec::new();
        for _ in 0..count {
            let length = usize::try_from(input.u32()?).ok()?;
            let name = String::from_utf8(input.take(length)?.to_vec()).ok()?;
            files.push(ImageFile { name, length: input.u64()? });
        }
        let bitmaps = input.u32()?;
        (bitmaps == 0).then_some(files)
    }

    /// The length of the whole stream form.
    pub(crate) fn stream_length(&self) -> u64 {
        let files: u64 = self.files.iter().map(|file| padded(file.length)).sum();
        wide(self.encode().len()) + files + 32
    }
}

/// Names come from elsewhere and become paths: only those that kstore makes are taken, once each.
fn check_names(files: &[ImageFile], root: &Root) -> Result<(), ImageError> {
    let mut seen = BTreeSet::new();
    for file in files {
        let page = FileNumber::of_name(&file.name).is_some();
        let known = page || SegmentFile::from_name(&file.name).is_some();
        if !known || !seen.insert(&file.name) {
            return Err(malformed("a file with a strange name"));
        }
    }
    if root.log.offset > 0 && !seen.contains(&root.log.file.name()) {
        return Err(malformed("the open segment is missing"));
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("files and their names are few and short");
    out.extend_from_slice(&number.to_le_bytes());
}
