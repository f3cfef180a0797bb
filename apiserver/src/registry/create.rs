//! Create: a new object, if there is none of its name.

use bytes::Bytes;

use super::{ATTEMPTS, Call, DryRun, Registry, failure, metadata, stored};
use crate::admission::Operation;
use crate::auth::lookup::Answer;
use crate::field::FieldErrors;
use crate::kinds::{Kind, meta};
use crate::object::{self, Object};
use crate::status::{Resource, Status};
use crate::storage::{Freshness, Guarded, Written};

/// How often a generated name is made anew when it is taken (upstream's number).
const NAMES: usize = 8;

impl Registry {
    /// Creates an object; the answer is it.
    pub(crate) async fn create(&self, call: &Call<'_>, object: Object) -> Answer<Object> {
        if !object::text(&object, &["metadata", "resourceVersion"]).is_empty() {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Box::new(Status::new(500, "", why)));
        }
        let prefix = object::text(&object, &["metadata", "generateName"]).to_owned();
        if !object::name(&object).is_empty() || prefix.is_empty() {
            return self.create_named(call, object).await;
        }
        let mut taken = None;
        for _ in 0..NAMES {
            let mut named = object.clone();
            let name = metadata::generate_name(&prefix, &*self.random);
            object::set(&mut named, &["metadata", "name"], name);
            match self.create_named(call, named).await {
                Err(status) if status.reason == "AlreadyExists" => taken = Some(status),
                answer => return answer,
            }
        }
        Err(taken.unwrap_or_else(|| Box::new(Status::internal("no name was tried"))))
    }

    async fn create_named(&self, call: &Call<'_>, new: Object) -> Answer<Object> {
        for _ in 0..ATTEMPTS {
            if let Some(made) = self.try_create(call, new.clone()).await? {
                return Ok(made);
            }
        }
        Err(again(call.kind, object::name(&new)))
    }

    /// One try; `None` if what it depends on has changed meanwhile.
    async fn try_create(&self, call: &Call<'_>, mut new: Object) -> Answer<Option<Object>> {
        let kind = call.kind;
        (kind.default)(&mut new);
        self.admit_change(call, Operation::Create, &mut new, None).await?;
        (kind.default)(&mut new);
        (kind.prepare_create)(&mut new);
        metadata::fill_new(&mut new, kind, self.now(), self.uuid());
        let reserved = self.reserve(call, &mut new, None).await?;
        check_new(kind, &new)?;
        (kind.warnings)(&new, None).into_iter().for_each(|text| call.warn(text));
        let more = self.admit_final(call, Operation::Create, &new, None).await?;
        let key = stored::key(kind, call.namespace, object::name(&new));
        if call.dry_run == DryRun::Yes {
            return self.pretend_create(kind, key, new).await.map(Some);
        }
        let lease = self.lease_of(kind, &new).await?;
        let mut writes =
            vec![Guarded { key, expected: 0, value: Some(bytes_of(kind, new.clone())?), lease }];
        writes.extend(reserved);
        writes.extend(more);
        match self.storage.write(writes).await.map_err(failure)? {
            Written::Done { revision } => {
                object::set(&mut new, &["metadata", "resourceVersion"], revision.to_string());
                Ok(Some(new))
            }
            Written::Refused { current } if current.first().is_some_and(Option::is_some) => {
                Err(already_exists(kind, object::name(&new)))
            }
            // What was reserved or counted has changed meanwhile.
            Written::Refused { .. } => Ok(None),
        }
    }

    /// A dry run refuses what the real one would.
    async fn pretend_create(&self, kind: &Kind, key: Bytes, new: Object) -> Answer<Object> {
        let got = self.storage.get(key, Freshness::Latest).await.map_err(failure)?;
        match got.stored {
            Some(_) => Err(already_exists(kind, object::name(&new))),
            None => Ok(new),
        }
    }
}

/// What is wrong with a new object.
fn check_new(kind: &Kind, new: &Object) -> Answer<()> {
    let mut errors = FieldErrors::default();
    meta::validate(new, kind, &mut errors);
    (kind.validate)(new, &mut errors);
    (kind.validate_create)(new, &mut errors);
    invalid_if(kind, new, &errors)
}

/// 422 if something is wrong.
pub(super) fn invalid_if(kind: &Kind, object: &Object, errors: &FieldErrors) -> Answer<()> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Box::new(Status::invalid(kind.group, kind.kind, object::name(object), errors)))
}

/// The bytes to store.
pub(super) fn bytes_of(kind: &Kind, mut object: Object) -> Answer<Bytes> {
    (kind.to_stored)(&mut object);
    stored::encode(object)
}

fn already_exists(kind: &Kind, name: &str) -> Box<Status> {
    Box::new(Status::already_exists(kind.named(), name))
}

/// Somebody else was faster with something that this write depends on; clients try again.
pub(super) fn again(kind: &Kind, name: &str) -> Box<Status> {
    let Resource { group, name: resource } = kind.named();
    let resource = Resource { group, name: resource };
    let why = "what the write depends on has changed meanwhile; please try again";
    Box::new(Status::conflict(resource, name, why))
}
