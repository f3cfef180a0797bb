//! Delete: at once, after a grace, or when finalizers let go.

use serde_json::Value;

use super::create::bytes_of;
use super::{ATTEMPTS, Call, DryRun, Registry, failure, metadata, object_of};
use crate::admission::Operation;
use crate::auth::lookup::Answer;
use crate::object::{self, Object};
use crate::status::{Resource, Status};
use crate::storage::{Guarded, Stored, Written};

/// What happens to what the object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// It loses its owner.
    Orphan,
    /// It goes afterwards.
    Background,
    /// It goes first.
    Foreground,
}

/// What a client says about a deletion.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    /// How many seconds the object has to end by itself.
    pub(crate) grace: Option<i64>,
    /// The uid that it must have.
    pub(crate) uid: Option<String>,
    /// The resourceVersion that it must have.
    pub(crate) resource_version: Option<String>,
    /// What happens to what it owns; the kind's default if not said.
    pub(crate) propagation: Option<Propagation>,
}

/// What a deletion came to.
pub(crate) enum Deleted {
    /// It is gone; this is what it was.
    Gone(Object),
    /// It is on its way out, and this.
    Leaving(Object),
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

impl Registry {
    /// Deletes an object.
    pub(crate) async fn delete(&self, call: &Call<'_>, options: &DeleteOptions) -> Answer<Deleted> {
        let mut current = self.stored(call).await?;
        for _ in 0..ATTEMPTS {
            let old = object_of(call.kind, &current.value, current.mod_revision)?;
            check_meant(call, options, &old)?;
            self.admit_delete(call, &old).await?;
            let next = self.fate(call, options, &old);
            match self.carry_out(call, &current, old, next).await? {
                Some(deleted) => return Ok(deleted),
                None => current = self.stored(call).await?,
            }
        }
        Err(call.modified())
    }

    /// What becomes of the object: `None` if it goes, else what it is until then.
    fn fate(&self, call: &Call<'_>, options: &DeleteOptions, old: &Object) -> Option<Object> {
        let mut new = old.clone();
        apply_propagation(&mut new, options.propagation);
        let grace = grace_of(call, options, old);
        let held = !metadata::finalizers(&new).is_empty() || is_held_namespace(call, &new);
        if grace == 0 && !held {
            return None;
        }
        let grace = if held && !is_graceful(call, old) { 0 } else { grace };
        self.mark(call, &mut new, old, grace);
        Some(new)
    }

    /// Notes that the object is being deleted, and until when. A grace only ever gets shorter.
    fn mark(&self, call: &Call<'_>, new: &mut Object, old: &Object, grace: i64) {
        let told = object::number(old, &["metadata", "deletionGracePeriodSeconds"]);
        let shorter = told.is_none_or(|told| grace < told);
        if !object::is_deleting(old) {
            let until = metadata::timestamp(self.now().saturating_add(grace));
            object::set(new, &["metadata", "deletionTimestamp"], until);
            if call.kind.has_generation {
                metadata::next_generation(new, old);
            }
            object::set(new, &["metadata", "deletionGracePeriodSeconds"], grace);
        } else if shorter {
            let until = metadata::timestamp(self.now().saturating_add(grace));
            object::set(new, &["metadata", "deletionTimestamp"], until);
            object::set(new, &["metadata", "deletionGracePeriodSeconds"], grace);
        }
        if call.kind.resource == "namespaces" {
            object::set(new, &["status", "phase"], "Terminating");
            object::remove(new, &["metadata", "deletionGracePeriodSeconds"]);
        }
    }

    /// Writes it; `None` if somebody else was faster.
    async fn carry_out(
        &self,
        call: &Call<'_>,
        current: &Stored,
        old: Object,
        next: Option<Object>,
    ) -> Answer<Option<Deleted>> {
        if next.as_ref() == Some(&old) {
            return Ok(Some(Deleted::Leaving(old)));
        }
        if call.dry_run == DryRun::Yes {
            return Ok(Some(next.map_or(Deleted::Gone(old), Deleted::Leaving)));
        }
        let value = next.clone().map(|object| bytes_of(call.kind, object)).transpose()?;
        let mut writes = vec![Guarded {
            key: current.key.clone(),
            expected: current.mod_revision,
            value,
            lease: current.lease,
        }];
        if next.is_none() {
            writes.extend(self.release(call, &old).await?);
        }
        let written = self.storage.write(writes).await.map_err(failure)?;
        let Written::Done { revision } = written else { return Ok(None) };
        Ok(Some(match next {
            None => Deleted::Gone(old),
            Some(mut object) => {
                object::set(&mut object, &["metadata", "resourceVersion"], revision.to_string());
                Deleted::Leaving(object)
            }
        }))
    }

    async fn admit_delete(&self, call: &Call<'_>, old: &Object) -> Answer<()> {
        self.admit_final(call, Operation::Delete, old, Some(old)).await.map(drop)
    }
}

/// Whether the object is the one that is meant.
fn check_meant(call: &Call<'_>, options: &DeleteOptions, old: &Object) -> Answer<()> {
    // Upstream names the kind here, where all others name the resource.
    let named = Resource { group: call.kind.group, name: call.kind.kind };
    let conflict = |why: String| Box::new(Status::conflict(named, call.name, &why));
    let uid = object::uid(old);
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        return Err(conflict(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). \
             The object might have been deleted and then recreated"
        )));
    }
    let version = object::text(old, &["metadata", "resourceVersion"]);
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != version) {
        return Err(conflict(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the \
             ResourceVersion in record ({version}). The object might have been modified"
        )));
    }
    Ok(())
}

/// Whether this deletion waits for somebody who ends the object: a kubelet its pod.
fn is_graceful(call: &Call<'_>, old: &Object) -> bool {
    let phase = object::text(old, &["status", "phase"]);
    call.kind.resource == "pods"
        && !object::text(old, &["spec", "nodeName"]).is_empty()
        && !matches!(phase, "Succeeded" | "Failed")
}

/// How many seconds the object has.
fn grace_of(call: &Call<'_>, options: &DeleteOptions, old: &Object) -> i64 {
    if !is_graceful(call, old) {
        return 0;
    }
    let own = object::number(old, &["spec", "terminationGracePeriodSeconds"]);
    let asked = options.grace.or(own).unwrap_or(0);
    let asked = if asked < 0 { 1 } else { asked };
    let told = object::number(old, &["metadata", "deletionGracePeriodSeconds"]);
    match told {
        Some(told) if object::is_deleting(old) => {
            if options.grace.is_some() {
                asked.min(told)
            } else {
                told
            }
        }
        _ => asked,
    }
}

/// A namespace stays until its content is gone.
fn is_held_namespace(call: &Call<'_>, object: &Object) -> bool {
    call.kind.resource == "namespaces" && !object::list(object, &["spec", "finalizers"]).is_empty()
}

/// The finalizers that tell the garbage collector what to do with what the object owns.
fn apply_propagation(object: &mut Object, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let mut finalizers = metadata::finalizers(object);
    let before = finalizers.clone();
    finalizers.retain(|name| name != ORPHAN && name != FOREGROUND);
    match propagation {
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Background => {}
    }
    if finalizers == before {
        return;
    }
    if finalizers.is_empty() {
        object::remove(object, &["metadata", "finalizers"]);
    } else {
        let list = finalizers.into_iter().map(Value::from).collect::<Vec<_>>();
        object::set(object, &["metadata", "finalizers"], list);
    }
}
