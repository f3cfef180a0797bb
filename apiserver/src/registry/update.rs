//! Update: an object becomes another, made from the newest state and written if that still stands.

use super::create::{bytes_of, invalid_if};
use super::{ATTEMPTS, Call, DryRun, Registry, failure, metadata, object_of, revision, stored};
use crate::admission::Operation;
use crate::auth::lookup::Answer;
use crate::field::{FieldErrors, Path};
use crate::kinds::{Kind, meta};
use crate::object::{self, Object};
use crate::status::{Resource, Status};
use crate::storage::{Freshness, Guarded, Stored, Written};

/// What an update came to.
pub(crate) enum Updated {
    /// The object is this now.
    Changed(Object),
    /// There was none; it was created.
    Created(Object),
}

/// Which part of an object an update may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status, where the status has a path of its own.
    Main,
    /// The status, labels and annotations.
    Status,
    /// Whatever the maker changed: it knows what it may.
    Whole,
}

/// The resourceVersion that a body names: none, or one that must be the newest.
fn wanted_revision(object: &Object) -> &str {
    match object::text(object, &["metadata", "resourceVersion"]) {
        "0" => "",
        wanted => wanted,
    }
}

impl Registry {
    /// Replaces an object (PUT).
    pub(crate) async fn update(
        &self,
        call: &Call<'_>,
        part: Part,
        body: Object,
    ) -> Answer<Updated> {
        let found = self.change(call, part, |_| Ok(body.clone())).await;
        match found {
            Ok(object) => Ok(Updated::Changed(object)),
            Err(status)
                if status.code == 404 && call.kind.create_on_update && part == Part::Main =>
            {
                let mut body = body;
                object::remove(&mut body, &["metadata", "resourceVersion"]);
                self.create(call, body).await.map(Updated::Created)
            }
            Err(status) => Err(status),
        }
    }

    /// Makes an object another: `make` says which, from the newest state, and is asked again when
    /// somebody else was faster. What names a state that has passed is refused then.
    pub(crate) async fn change(
        &self,
        call: &Call<'_>,
        part: Part,
        mut make: impl FnMut(&Object) -> Answer<Object> + Send,
    ) -> Answer<Object> {
        let mut current = self.stored(call).await?;
        for _ in 0..ATTEMPTS {
            let old = object_of(call.kind, &current.value, current.mod_revision)?;
            let new = make(&old)?;
            check_meant(call, &new, &old)?;
            match self.replace(call, part, &current, old, new).await? {
                Replaced::Done(object) => return Ok(object),
                Replaced::Gone => return Err(call.not_found()),
                Replaced::Outrun(newer) => current = newer,
            }
        }
        Err(call.modified())
    }

    /// Writes `new` where `current` stands.
    async fn replace(
        &self,
        call: &Call<'_>,
        part: Part,
        current: &Stored,
        old: Object,
        mut new: Object,
    ) -> Answer<Replaced> {
        let kind = call.kind;
        prepare(kind, part, &mut new, &old);
        self.admit_change(call, Operation::Update, &mut new, Some(&old)).await?;
        prepare(kind, part, &mut new, &old);
        let reserved = self.reserve(call, &mut new, Some(&old)).await?;
        check_change(kind, part, &new, &old)?;
        if part == Part::Main {
            (kind.warnings)(&new, Some(&old)).into_iter().for_each(|text| call.warn(text));
        }
        let more = self.admit_final(call, Operation::Update, &new, Some(&old)).await?;
        let goes = is_over(kind, &new);
        if new == old && !goes {
            return Ok(Replaced::Done(old));
        }
        if call.dry_run == DryRun::Yes {
            return Ok(Replaced::Done(new));
        }
        let value = if goes { None } else { Some(bytes_of(kind, new.clone())?) };
        let mut writes = vec![Guarded {
            key: current.key.clone(),
            expected: current.mod_revision,
            value,
            lease: current.lease,
        }];
        // What goes by losing its last finalizer lets go of all that it held.
        writes.extend(if goes { self.release(call, &old).await? } else { reserved });
        writes.extend(more);
        self.write_over(writes, new).await
    }

    /// Makes the writes; the first is the object's own.
    async fn write_over(&self, writes: Vec<Guarded>, mut new: Object) -> Answer<Replaced> {
        match self.storage.write(writes).await.map_err(failure)? {
            Written::Done { revision } => {
                object::set(&mut new, &["metadata", "resourceVersion"], revision.to_string());
                Ok(Replaced::Done(new))
            }
            Written::Refused { current } => {
                let own = current.into_iter().next().flatten();
                Ok(own.map_or(Replaced::Gone, Replaced::Outrun))
            }
        }
    }

    /// What the nearest member has of an object; for reads that only inform.
    pub(crate) async fn nearby(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Answer<Option<Object>> {
        let key = stored::key(kind, namespace, name);
        let got = self.storage.get(key, Freshness::NotOlderThan(0)).await.map_err(failure)?;
        got.stored.map(|stored| self.object_of(kind, &stored)).transpose()
    }
}

/// What became of a write.
enum Replaced {
    Done(Object),
    /// The object, or something that is written with it, has changed; the object is this now.
    Outrun(Stored),
    Gone,
}

/// Whether the body means the object that is there.
fn check_meant(call: &Call<'_>, new: &Object, old: &Object) -> Answer<()> {
    let wanted = wanted_revision(new);
    if wanted.is_empty() && !call.kind.unconditional_update {
        let mut errors = FieldErrors::default();
        let path = Path::new("metadata.resourceVersion");
        errors.invalid(&path, 0, "must be specified for an update");
        // Upstream names the resource where all others name the kind.
        let Resource { group, name } = call.kind.named();
        return Err(Box::new(Status::invalid(group, name, call.name, &errors)));
    }
    if !wanted.is_empty() {
        revision::number(wanted).map_err(|why| Box::new(Status::new(500, "", why)))?;
    }
    let (asked, real) = (object::uid(new), object::uid(old));
    if !asked.is_empty() && asked != real {
        return Err(call.of_another_uid(asked, real));
    }
    if !wanted.is_empty() && wanted != object::text(old, &["metadata", "resourceVersion"]) {
        return Err(call.modified());
    }
    Ok(())
}

/// Takes back what this part of the object's paths must not change, and fills in the rest.
fn prepare(kind: &Kind, part: Part, new: &mut Object, old: &Object) {
    metadata::keep(new, old);
    match part {
        Part::Main => {
            (kind.default)(new);
            (kind.prepare_update)(new, old);
        }
        Part::Status => {
            keep_all_but_status(new, old);
            (kind.default)(new);
            (kind.prepare_status_update)(new, old);
        }
        Part::Whole => (kind.default)(new),
    }
    if part != Part::Status && kind.has_generation && (kind.counts_change)(new, old) {
        metadata::next_generation(new, old);
    }
}

/// A write of the status leaves everything else as it is, but metadata.
fn keep_all_but_status(new: &mut Object, old: &Object) {
    let status = new.remove("status");
    let metadata = new.remove("metadata");
    *new = old.clone();
    if let Some(metadata) = metadata {
        new.insert("metadata".to_owned(), metadata);
    }
    match status {
        Some(status) => new.insert("status".to_owned(), status),
        None => new.remove("status"),
    };
}

/// What is wrong with a change.
fn check_change(kind: &Kind, part: Part, new: &Object, old: &Object) -> Answer<()> {
    let mut errors = FieldErrors::default();
    meta::validate_update(new, old, &mut errors);
    match part {
        Part::Status => (kind.validate_status_update)(new, old, &mut errors),
        // Who makes a whole object may change what updates must not: a binding sets the node.
        Part::Whole => (kind.validate)(new, &mut errors),
        Part::Main => {
            (kind.validate)(new, &mut errors);
            (kind.validate_update)(new, old, &mut errors);
        }
    }
    invalid_if(kind, new, &errors)
}

/// Whether an object that is being deleted has nothing left that holds it.
pub(super) fn is_over(kind: &Kind, object: &Object) -> bool {
    object::is_deleting(object)
        && metadata::finalizers(object).is_empty()
        && object::number(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0
        && (kind.resource != "namespaces"
            || object::list(object, &["spec", "finalizers"]).is_empty())
}
