//! What strict decoding complains about, and in which order: that of the text.
//!
//! Whoever reads an inner value puts its own step before the paths that came out of it, so that a
//! clean text pays nothing for them.
//!
//! Invariant: what is noted of one body is bounded, whatever the body says: the complaints in their
//! number, and each of them in its length.

use std::fmt;

use super::json::quote;

/// The most complaints about one body; upstream has the same bound.
pub const MAX_COMPLAINTS: usize = 100;

/// The longest path that a complaint names, in bytes. Beyond it the outermost steps are left out:
/// with a hundred complaints below one name of a megabyte, paths would weigh more than the body.
const MAX_PATH: usize = 10_000;

/// Something that strict decoding does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    what: What,
    path: String,
    /// Where in the text: the number of the member or item at each level, the innermost first.
    place: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A member stands twice.
    Duplicate,
    /// No field has this name.
    Unknown,
    /// The path is a whole text.
    Text,
}

impl Complaint {
    /// A member that stands twice; so many others of its object stand before the second.
    pub(super) fn duplicate(name: &str, before: usize) -> Self {
        Self { what: What::Duplicate, path: name.to_owned(), place: vec![before] }
    }

    /// A member that no type knows.
    pub(super) fn unknown(name: &str, before: usize) -> Self {
        Self { what: What::Unknown, path: name.to_owned(), place: vec![before] }
    }

    /// What a reader says in its own words about a text as a whole.
    pub(super) fn text(text: String) -> Self {
        Self { what: What::Text, path: text, place: Vec::new() }
    }

    /// Notes that it is about something in a member.
    pub(super) fn within_member(&mut self, name: &str, at: usize) {
        self.step(name);
        self.place.push(at);
    }

    /// Notes that it is about something in an item.
    pub(super) fn within_item(&mut self, at: usize) {
        self.step(&format!("[{at}]"));
        self.place.push(at);
    }

    /// Puts a step before the path, if it is not too long already.
    fn step(&mut self, step: &str) {
        if self.path.len() + step.len() > MAX_PATH {
            return;
        }
        if !self.path.starts_with('[') {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, step);
    }

    /// Whether it says that this member of the innermost object stands twice.
    pub(super) fn is_duplicate_of(&self, name: &str) -> bool {
        self.what == What::Duplicate && self.path == name
    }

    /// Whether it is about something in what another one is about.
    fn is_inside(&self, other: &Self) -> bool {
        let rest = self.path.strip_prefix(&other.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    fn is_before(&self, other: &Self) -> std::cmp::Ordering {
        self.place.iter().rev().cmp(other.place.iter().rev()).then(self.what.cmp(&other.what))
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Duplicate => write!(f, "duplicate field {}", quote(&self.path)),
            What::Unknown => write!(f, "unknown field {}", quote(&self.path)),
            What::Text => f.write_str(&self.path),
        }
    }
}

/// Takes repetitions away.
pub(super) fn distinct(complaints: Vec<Complaint>) -> Vec<Complaint> {
    let mut all: Vec<Complaint> = Vec::new();
    for complaint in complaints {
        let known = |one: &Complaint| (one.what, &one.path) == (complaint.what, &complaint.path);
        if !all.iter().any(known) {
            all.push(complaint);
        }
    }
    all
}

/// All that strict decoding complains about: what the parser and the check found, in the order of
/// the text. A field that is not known is not also a duplicate of itself.
pub(super) fn merged(duplicates: Vec<Complaint>, unknown: Vec<Complaint>) -> Vec<Complaint> {
    let is_known = |one: &Complaint| {
        one.what == What::Text || !unknown.iter().any(|other| one.is_inside(other))
    };
    let mut all: Vec<Complaint> = duplicates.into_iter().filter(is_known).collect();
    // What a patch made has no text whose order could be followed.
    let in_text = unknown.iter().all(|one| !one.place.is_empty());
    all.extend(unknown);
    if in_text {
        all.sort_by(Complaint::is_before);
    }
    all.truncate(MAX_COMPLAINTS);
    all
}

/// In alphabetical order, and nowhere in a text.
pub(super) fn alphabetical(mut complaints: Vec<Complaint>) -> Vec<Complaint> {
    complaints.sort_by_cached_key(ToString::to_string);
    complaints.iter_mut().for_each(|one| one.place.clear());
    complaints
}
