//! `scale`: the number of replicas, by itself, so that autoscalers need to know nothing else.

use serde_json::{Value, json};

use super::update::Part;
use super::{Call, Registry};
use crate::auth::lookup::Answer;
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::selector::labels;
use crate::status::Status;

impl Registry {
    /// The Scale of an object.
    pub(crate) async fn scale(&self, call: &Call<'_>) -> Answer<Object> {
        Ok(scale_of(&self.get(call).await?))
    }

    /// Changes the number of replicas by what `make` makes of the Scale.
    pub(crate) async fn change_scale(
        &self,
        call: &Call<'_>,
        mut make: impl FnMut(&Object) -> Answer<Object> + Send,
    ) -> Answer<Object> {
        let changed = self
            .change(call, Part::Main, |old| {
                let scale = make(&scale_of(old))?;
                check(call, &scale)?;
                let mut new = old.clone();
                let version = object::text(&scale, &["metadata", "resourceVersion"]).to_owned();
                if version.is_empty() {
                    object::remove(&mut new, &["metadata", "resourceVersion"]);
                } else {
                    object::set(&mut new, &["metadata", "resourceVersion"], version);
                }
                let replicas = object::number(&scale, &["spec", "replicas"]).unwrap_or(0);
                object::set(&mut new, &["spec", "replicas"], replicas);
                Ok(new)
            })
            .await?;
        Ok(scale_of(&changed))
    }
}

fn check(call: &Call<'_>, scale: &Object) -> Answer<()> {
    let replicas = object::number(scale, &["spec", "replicas"]).unwrap_or(0);
    if replicas >= 0 {
        return Ok(());
    }
    let mut errors = FieldErrors::default();
    let path = Path::new("spec.replicas");
    errors.invalid(&path, replicas, "must be greater than or equal to 0");
    Err(Box::new(Status::invalid("autoscaling", "Scale", call.name, &errors)))
}

fn scale_of(object: &Object) -> Object {
    let mut metadata = Object::new();
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object::at(object, &["metadata", name]) {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    let mut spec = Object::new();
    if let Some(replicas) = object::number(object, &["spec", "replicas"]).filter(|n| *n != 0) {
        spec.insert("replicas".to_owned(), Value::from(replicas));
    }
    let mut status = Object::new();
    let replicas = object::number(object, &["status", "replicas"]).unwrap_or(0);
    status.insert("replicas".to_owned(), Value::from(replicas));
    let wanted = object::at(object, &["spec", "selector"]);
    if let Ok(selector) = labels::Selector::from_object(wanted) {
        status.insert("selector".to_owned(), Value::from(selector.to_string()));
    }
    let mut scale = Object::new();
    scale.insert("kind".to_owned(), json!("Scale"));
    scale.insert("apiVersion".to_owned(), json!("autoscaling/v1"));
    scale.insert("metadata".to_owned(), Value::Object(metadata));
    scale.insert("spec".to_owned(), Value::Object(spec));
    scale.insert("status".to_owned(), Value::Object(status));
    scale
}
