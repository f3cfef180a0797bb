//! The schemas of a document: every type that its operations lead to, under upstream's names.
//!
//! ```text
//!   reference(type) ──► "#/components/schemas/<model>", and the type is written later, once
//!                                  │
//!   components() ◄── the types that are referred to, those that they refer to, and so on
//! ```
//!
//! Invariant: every reference that was given out has its schema in `components`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::facts::{Facts, Member};
use crate::object::Object;
use crate::schema::{Field, Form, Shape, TypeId, types};

/// Where schemas stand in a document.
const PLACE: &str = "#/components/schemas/";

/// Types whose text is not that of their fields: their names, and what they are.
const SPECIAL: &[(Special, &str)] = &[
    (Special::Quantity, "io.k8s.apimachinery.pkg.api.resource.Quantity"),
    (Special::IntOrString, "io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
    (Special::Time, "io.k8s.apimachinery.pkg.apis.meta.v1.Time"),
    (Special::MicroTime, "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"),
    (Special::Duration, "io.k8s.apimachinery.pkg.apis.meta.v1.Duration"),
    (Special::RawExtension, "io.k8s.apimachinery.pkg.runtime.RawExtension"),
    (Special::FieldsV1, "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"),
    (Special::Patch, "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"),
    (Special::Version, "io.k8s.apimachinery.pkg.version.Info"),
    (Special::Json, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"),
    (
        Special::SchemaOrBool,
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
    ),
    (
        Special::SchemaOrArray,
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
    ),
    (
        Special::SchemaOrTexts,
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
    ),
];

/// A type whose text is not that of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Duration,
    RawExtension,
    FieldsV1,
    Patch,
    Version,
    Json,
    SchemaOrBool,
    SchemaOrArray,
    SchemaOrTexts,
}

impl Special {
    fn name(self) -> &'static str {
        let found = SPECIAL.iter().find(|(own, _)| *own == self);
        found.map_or("", |(_, name)| name)
    }

    fn of(form: &Form) -> Option<Self> {
        Some(match form {
            Form::Quantity => Self::Quantity,
            Form::IntOrString => Self::IntOrString,
            Form::Time => Self::Time,
            Form::MicroTime => Self::MicroTime,
            Form::Duration => Self::Duration,
            Form::RawExtension => Self::RawExtension,
            Form::FieldsV1 => Self::FieldsV1,
            Form::Json => Self::Json,
            Form::SchemaOrBool => Self::SchemaOrBool,
            Form::SchemaOrArray => Self::SchemaOrArray,
            Form::SchemaOrTexts => Self::SchemaOrTexts,
            _ => return None,
        })
    }

    fn schema(self) -> Value {
        match self {
            Self::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            Self::IntOrString => json!({
                "format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}],
            }),
            Self::Time | Self::MicroTime => json!({"type": "string", "format": "date-time"}),
            Self::Duration => json!({"type": "string"}),
            Self::RawExtension | Self::FieldsV1 | Self::Patch => json!({"type": "object"}),
            Self::Version => version(),
            Self::Json | Self::SchemaOrBool | Self::SchemaOrArray | Self::SchemaOrTexts => {
                json!({})
            }
        }
    }
}

/// What `/version` says.
fn version() -> Value {
    let always = [
        "major",
        "minor",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
    ];
    let sometimes =
        ["emulationMajor", "emulationMinor", "minCompatibilityMajor", "minCompatibilityMinor"];
    let filled = always.iter().map(|name| (*name, json!({"type": "string", "default": ""})));
    let absent = sometimes.iter().map(|name| (*name, json!({"type": "string"})));
    let properties: BTreeMap<&str, Value> = filled.chain(absent).collect();
    json!({"type": "object", "required": always, "properties": properties})
}

#[derive(Debug, Clone, Copy)]
enum Model {
    Type(TypeId),
    Special(Special),
}

/// Gathers the schemas of a document.
#[derive(Debug)]
pub(super) struct Schemas<'a> {
    facts: &'a Facts,
    group: &'a str,
    version: &'a str,
    /// What is referred to, by its name.
    named: BTreeMap<String, Model>,
    /// What of it has to be written yet; never more than there are types.
    to_write: Vec<String>,
}

impl<'a> Schemas<'a> {
    /// For the document of a version of a group.
    pub(super) fn new(facts: &'a Facts, group: &'a str, version: &'a str) -> Self {
        Self { facts, group, version, named: BTreeMap::new(), to_write: Vec::new() }
    }

    /// A reference to the schema of a kind.
    pub(super) fn kind(&mut self, group: &str, version: &str, kind: &str) -> Value {
        match types().kind(group, version, kind) {
            Some(id) => self.reference(Model::Type(id)),
            None => json!({"type": "object"}),
        }
    }

    /// A reference to the schema of a special type.
    pub(super) fn special(&mut self, special: Special) -> Value {
        self.reference(Model::Special(special))
    }

    /// All schemas, by name.
    pub(super) fn components(mut self) -> Object {
        let mut written = BTreeMap::new();
        while let Some(name) = self.to_write.pop() {
            let schema = match self.named[&name] {
                Model::Type(id) => self.of_type(id),
                Model::Special(special) => special.schema(),
            };
            written.insert(name, schema);
        }
        written.into_iter().collect()
    }

    fn reference(&mut self, model: Model) -> Value {
        let name = match model {
            Model::Type(id) => types().get(id).model_name(),
            Model::Special(special) => special.name().to_owned(),
        };
        let place = format!("{PLACE}{name}");
        if !self.named.contains_key(&name) {
            self.to_write.push(name.clone());
            self.named.insert(name, model);
        }
        json!({"$ref": place})
    }

    fn of_type(&mut self, id: TypeId) -> Value {
        let of = types().get(id);
        let mut required = Vec::new();
        let mut properties = BTreeMap::new();
        for member in &of.members {
            let field = types().field(member);
            let facts = self.facts.member(of.name, member.name);
            if facts.required.unwrap_or(!may_be_absent(field)) {
                required.push(member.name);
            }
            properties.insert(member.name.to_owned(), self.property(field, &facts));
        }
        let mut schema = Object::new();
        schema.insert("type".to_owned(), "object".into());
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
        if !properties.is_empty() {
            let properties: Object = properties.into_iter().collect();
            schema.insert("properties".to_owned(), properties.into());
        }
        let kinds = self.kinds_of(id);
        if !kinds.is_empty() {
            schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
        }
        if let Some(map_type) = self.facts.map_type(of.name) {
            schema.insert("x-kubernetes-map-type".to_owned(), map_type.into());
        }
        schema.into()
    }

    /// The kinds that a type is. What every group has is named for the document's group, too.
    fn kinds_of(&self, id: TypeId) -> Vec<Value> {
        let named = |group: &str, version: &str, kind: &str| json!({"group": group, "kind": kind, "version": version});
        let mut kinds = Vec::new();
        for (group, version, kind, _) in types().kinds().filter(|(.., of)| *of == id) {
            kinds.push(named(group, version, kind));
            if matches!(kind, "DeleteOptions" | "WatchEvent") && !self.group.is_empty() {
                kinds.push(named(self.group, self.version, kind));
            }
        }
        kinds
    }

    fn property(&mut self, field: &Field, facts: &Member) -> Value {
        let default = match &facts.default {
            Some(default) => Some(default.clone()),
            None if field.pointer => None,
            None => match field.shape.form {
                Form::Message(_) => Some(json!({})),
                _ if may_be_absent(field) => None,
                _ => zero(&field.shape.form),
            },
        };
        let mut schema = self.of_shape(&field.shape, default, &facts.values);
        // A reference may have no neighbours, so it stands one level deeper, as in upstream's.
        if let Some(reference) = schema.shift_remove("$ref") {
            schema.insert("allOf".to_owned(), json!([{"$ref": reference}]));
        }
        let mut note = |name: &str, value: &str| {
            if !value.is_empty() {
                schema.insert(name.to_owned(), value.into());
            }
        };
        note("x-kubernetes-list-type", facts.list_type);
        note("x-kubernetes-map-type", facts.map_type);
        note("x-kubernetes-patch-merge-key", field.patch_merge_key);
        note("x-kubernetes-patch-strategy", field.patch_strategy);
        if !facts.list_keys.is_empty() {
            let keys = facts.list_keys.clone();
            schema.insert("x-kubernetes-list-map-keys".to_owned(), keys.into());
        }
        schema.into()
    }

    fn of_shape(
        &mut self,
        shape: &Shape,
        default: Option<Value>,
        values: &[&'static str],
    ) -> Object {
        let mut schema = match &shape.form {
            Form::Bool => plain("boolean", ""),
            Form::Int32 => plain("integer", "int32"),
            Form::Int64 => plain("integer", "int64"),
            Form::Double => plain("number", "double"),
            Form::Text => plain("string", ""),
            Form::Bytes => plain("string", "byte"),
            Form::List(item) | Form::WrappedList(item) => {
                let mut list = plain("array", "");
                list.insert("items".to_owned(), self.item(item, values));
                return list;
            }
            Form::Map(value) => {
                let mut map = plain("object", "");
                map.insert("additionalProperties".to_owned(), self.item(value, values));
                return map;
            }
            Form::Message(id) => referring(self.reference(Model::Type(*id))),
            form => {
                let special = Special::of(form).expect("all other forms are special types");
                referring(self.special(special))
            }
        };
        if let Some(default) = default {
            schema.insert("default".to_owned(), default);
        }
        if !values.is_empty() {
            schema.insert("enum".to_owned(), values.to_vec().into());
        }
        schema
    }

    /// What a list or a map holds.
    fn item(&mut self, shape: &Shape, values: &[&'static str]) -> Value {
        let mut schema = self.of_shape(shape, zero(&shape.form), values);
        if schema.contains_key("default")
            && let Some(reference) = schema.shift_remove("$ref")
        {
            schema.insert("allOf".to_owned(), json!([{"$ref": reference}]));
        }
        schema.into()
    }
}

/// Whether the tag alone says that it need not be there.
fn may_be_absent(field: &Field) -> bool {
    field.omit_empty || field.omit_zero
}

/// The default of what is not written otherwise, where it has one.
fn zero(form: &Form) -> Option<Value> {
    match form {
        Form::Bool => Some(false.into()),
        Form::Int32 | Form::Int64 | Form::Double => Some(0.into()),
        Form::Text => Some("".into()),
        Form::Message(_) => Some(json!({})),
        _ => None,
    }
}

fn plain(of: &str, format: &str) -> Object {
    let mut schema = Object::new();
    schema.insert("type".to_owned(), of.into());
    if !format.is_empty() {
        schema.insert("format".to_owned(), format.into());
    }
    schema
}

fn referring(reference: Value) -> Object {
    match reference {
        Value::Object(reference) => reference,
        _ => Object::new(),
    }
}
