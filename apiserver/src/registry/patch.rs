//! Patch: an object becomes what a patch makes of its newest state.

use serde_json::Value;

use super::update::Part;
use super::{Call, Registry};
use crate::auth::lookup::Answer;
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::patch::{self, JsonPatch};
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
    fn does_not_fit(&self, call: &Call<'_>, why: String) -> Box<Status> {
        let value = match self {
            Self::Strategic(patch) => patch::go_print(&Value::Object(patch.clone())),
            Self::Json(_) | Self::Merge(_) => String::new(),
        };
        let mut errors = FieldErrors::default();
        errors.invalid(&Path::new("patch"), value, why);
        let row = call.kind;
        Box::new(Status::invalid(row.group, row.kind, call.name, &errors))
    }
}

impl Registry {
    /// Applies a patch; `judge` is shown what is unknown in what it made.
    pub(crate) async fn patch(
        &self,
        call: &Call<'_>,
        part: Part,
        patch: &Patch,
        judge: &(dyn Fn(Vec<String>) -> Answer<()> + Sync),
    ) -> Answer<Object> {
        let row = call.kind;
        let id = schema::types().kind(row.group, row.version, row.kind);
        let id = id.ok_or_else(|| Status::internal("the kind has no schema"))?;
        self.change(call, part, |old| {
            let mut new = patch.apply(id, old)?;
            check_same(call, &new, old)?;
            let checked = match patch {
                Patch::Strategic(_) => schema::decode::check_patched(id, &mut new),
                Patch::Json(_) | Patch::Merge(_) => schema::decode::check(id, &mut new),
            };
            judge(checked.map_err(|why| patch.does_not_fit(call, why))?)?;
            schema::proto::name_kind(&mut new, &row.api_version(), row.kind);
            Ok(new)
        })
        .await
    }
}

/// A patch must not turn an object into another kind or name.
fn check_same(call: &Call<'_>, new: &Object, old: &Object) -> Answer<()> {
    let bad = |why: String| Box::new(Status::bad_request(why));
    let kind = object::text(new, &["kind"]);
    let version = object::text(new, &["apiVersion"]);
    if kind != call.kind.kind || version != call.kind.api_version() {
        let own = call.kind.kind;
        return Err(bad(format!("{kind} in version \"{version}\" cannot be handled as a {own}")));
    }
    if object::name(new) != object::name(old) {
        return Err(bad(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            object::name(new),
            call.name
        )));
    }
    if object::namespace(new) != object::namespace(old) {
        return Err(bad(
            "the namespace of the provided object does not match the namespace sent on the request"
                .to_owned(),
        ));
    }
    Ok(())
}
