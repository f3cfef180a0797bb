//! Patch: an object becomes what a patch makes of its newest state.

use serde_json::Value;

use super::create::invalid_if;
use super::update::Part;
use super::{Call, Registry};
use crate::auth::lookup::Answer;
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::patch::{self, JsonPatch};
use crate::schema::conversion::{Kinded, convertible};
use crate::schema::{self, TypeId};
use crate::status::Status;

/// A patch, parsed.
pub(crate) enum Patch {
    /// RFC 6902.
    Json(JsonPatch),
    /// RFC 7386.
    Merge(Object),
    /// Kubernetes' own, which knows lists of things with names.
    Strategic(Object),
}

impl Patch {
    /// What it makes of an object of a type.
    pub(crate) fn apply(&self, id: TypeId, old: &Object) -> Answer<Object> {
        match self {
            Self::Json(patch) => match patch.apply(old.clone())? {
                Value::Object(object) => Ok(object),
                _ => Err(Box::new(Status::bad_request("the patch makes no object"))),
            },
            Self::Merge(patch) => {
                let mut new = old.clone();
                patch::merge_patch(&mut new, patch.clone());
                Ok(new)
            }
            Self::Strategic(patch) => patch::strategic_merge_patch(id, old.clone(), patch.clone()),
        }
    }
}

impl Patch {
    /// 422: what the patch makes is no object of the kind.
    fn does_not_fit(&self, mut made: Object, why: String) -> Box<Status> {
        let value = match self {
            Self::Strategic(patch) => patch::go_print(&Value::Object(patch.clone())),
            Self::Json(_) => {
                made.sort_keys();
                Value::Object(made).to_string()
            }
            Self::Merge(patch) => {
                sort_along(&mut made, patch);
                Value::Object(made).to_string()
            }
        };
        let mut errors = FieldErrors::default();
        errors.invalid(&Path::new("patch"), value, why);
        Box::new(Status::invalid("", "", "", &errors))
    }
}

/// Brings what a patch made into the order in which upstream's library leaves it: sorted where it
/// was taken apart.
fn sort_along(made: &mut Object, patch: &Object) {
    made.sort_keys();
    for (name, value) in patch {
        if let (Some(Value::Object(inner)), Value::Object(patch)) = (made.get_mut(name), value) {
            sort_along(inner, patch);
        }
    }
}

impl Registry {
    /// Applies a patch; `judge` is shown what is unknown in what it made.
    pub(crate) async fn patch(
        &self,
        call: &Call<'_>,
        part: Part,
        patch: &Patch,
        judge: &(dyn Fn(Vec<String>) -> Result<(), String> + Sync),
    ) -> Answer<Object> {
        let row = call.kind;
        let wanted = Kinded { group: row.group, version: row.version, kind: row.kind };
        let id = schema::types().kind(row.group, row.version, row.kind);
        let id = id.ok_or_else(|| Status::internal("the kind has no schema"))?;
        self.change(call, part, |old| {
            let mut new = patch.apply(id, old)?;
            let checked = match patch {
                Patch::Strategic(_) => schema::decode::check_patched(id, &mut new),
                Patch::Json(_) | Patch::Merge(_) => {
                    let said = |name: &str| object::text(&new, &[name]);
                    convertible(said("apiVersion"), said("kind"), wanted)
                        .and_then(|()| schema::decode::check(id, &mut new))
                }
            };
            let judged = checked
                .map(|unknown| schema::decode::complaints(Vec::new(), unknown))
                .and_then(judge);
            if let Err(why) = judged {
                // The text shows what the patch made, of which the check has taken parts away.
                return Err(patch.does_not_fit(patch.apply(id, old)?, why));
            }
            check_same(call, &new, old)?;
            schema::proto::name_kind(&mut new, &row.api_version(), row.kind);
            Ok(new)
        })
        .await
    }
}

/// A patch must not turn an object into another of its kind.
fn check_same(call: &Call<'_>, new: &Object, old: &Object) -> Answer<()> {
    let bad = |why: String| Box::new(Status::bad_request(why));
    if object::name(new) != object::name(old) {
        return Err(bad(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            object::name(new),
            call.name
        )));
    }
    let uid = object::uid(new);
    if !uid.is_empty() && uid != object::uid(old) {
        let mut errors = FieldErrors::default();
        // Upstream checks it twice, and says so in the causes.
        for _ in 0..2 {
            errors.invalid(&Path::new("metadata.uid"), uid, "field is immutable");
        }
        return invalid_if(call.kind, new, &errors);
    }
    if object::namespace(new) != object::namespace(old) {
        return Err(bad(
            "the namespace of the provided object does not match the namespace sent on the request"
                .to_owned(),
        ));
    }
    Ok(())
}
