//! What the fields of the served kinds are: names, types, numbers on the wire, patch keys.
//!
//! One table, read from upstream's struct tags by a program in `apiserver/facts/`, serves the strict
//! decoder, the protobuf transcoder, the strategic merge patch and the OpenAPI document.
//!
//! ```text
//!   facts.txt ──table──► Types ──┬── json, yaml   text to trees, duplicate fields noted
//!                                ├── decode       trees checked and brought into the form of Go
//!                                ├── proto        trees to protobuf and back
//!                                └── patch        lists merged by their keys
//!   quantity, time: scalars that have a form of their own
//! ```
//!
//! Invariant: a tree that `decode` or `proto` gave is what Go's JSON encoder would write for the
//! same object: members in the order of the struct, maps sorted, zeroes left out or filled in.

pub mod complaint;
pub(crate) mod conversion;
pub mod decode;
pub mod json;
pub mod proto;
pub mod quantity;
mod settle;
mod table;
pub mod time;
pub mod yaml;

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A type's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub(crate) u16);

/// What a value is, with the name that Go gives to its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// What it is.
    pub form: Form,
    /// The name of its Go type where that does not follow from the form, such as `v1.Protocol`;
    /// else empty.
    pub named: &'static str,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Yes or no.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number with a fraction.
    Double,
    /// A text.
    Text,
    /// Bytes; base64 in JSON.
    Bytes,
    /// An object of a type of the table.
    Message(TypeId),
    /// A list.
    List(Box<Shape>),
    /// A list that on the wire is a message with the items as its field 1.
    WrappedList(Box<Shape>),
    /// A map from texts.
    Map(Box<Shape>),
    /// An amount: see [`quantity`].
    Quantity,
    /// A number or a text.
    IntOrString,
    /// A time to the second.
    Time,
    /// A time to the microsecond.
    MicroTime,
    /// A span of time, as Go writes it.
    Duration,
    /// An object of any kind.
    RawExtension,
    /// A set of fields, of which only its owner knows the inside.
    FieldsV1,
    /// Any JSON value.
    Json,
    /// A JSON schema or yes or no.
    SchemaOrBool,
    /// A JSON schema or a list of them.
    SchemaOrArray,
    /// A JSON schema or a list of texts.
    SchemaOrTexts,
}

/// A field of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in JSON; empty for a field whose members stand among those of its owner.
    pub name: &'static str,
    /// Its number on the wire; 0 if it is not there.
    pub number: u16,
    /// What it holds.
    pub shape: Shape,
    /// Whether a zero is left out of the text.
    pub omit_empty: bool,
    /// Whether a zero is left out even if it is a struct.
    pub omit_zero: bool,
    /// Whether Go has a pointer here: absence differs from zero.
    pub pointer: bool,
    /// Whether its members stand among those of its owner.
    pub inline: bool,
    /// The words of `patchStrategy`, such as `merge,retainKeys`; empty if there are none.
    pub patch_strategy: &'static str,
    /// `patchMergeKey`: the member that tells the items of a list apart; may be empty.
    pub patch_merge_key: &'static str,
}

impl Field {
    /// Whether lists here are merged by patches instead of replaced.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.patch_strategy.split(',').any(|word| word == "merge")
    }
}

/// A member of an object in JSON: a field of the type or of one that is inlined in it.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// The type whose field it is.
    pub owner: TypeId,
    field: u16,
    /// Whether it is written even if nobody sets it.
    filled: bool,
}

/// A type of the table.
#[derive(Debug, Clone)]
pub struct Type {
    /// Its name in the table, such as `core.v1.PodSpec`.
    pub name: &'static str,
    /// The OpenAPI name of its package, such as `io.k8s.api.core.v1`.
    pub package: &'static str,
    /// Its fields in the order of the struct.
    pub fields: Vec<Field>,
    /// Its members in JSON in the order of the struct, those of inlined fields among them.
    pub members: Vec<Member>,
    /// For each field the place of its first member.
    first_members: Vec<u16>,
    /// How many members are written even if nobody sets them.
    filled: usize,
    /// Places of members, sorted by name.
    by_name: Vec<u16>,
    /// Places of fields that are on the wire, by number.
    by_number: Vec<u16>,
}

impl Type {
    /// The name behind the package: `PodSpec`.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// The name in OpenAPI documents: `io.k8s.api.core.v1.PodSpec`.
    #[must_use]
    pub fn model_name(&self) -> String {
        format!("{}.{}", self.package, self.short_name())
    }

    /// The name in Go's error texts: `v1.PodSpec`.
    #[must_use]
    pub fn go_name(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, rest)| rest)
    }

    /// The place of a member among the members.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        let found =
            self.by_name.binary_search_by(|at| self.members[usize::from(*at)].name.cmp(name));
        found.ok().map(|at| usize::from(self.by_name[at]))
    }

    /// The same for one that is looked for at `hint` first: most objects have their members in the
    /// order of the struct.
    fn position_near(&self, name: &str, hint: usize) -> Option<usize> {
        match self.members.get(hint) {
            Some(member) if member.name == name => Some(hint),
            _ => self.position(name),
        }
    }
}

/// The table.
#[derive(Debug)]
pub struct Types {
    all: Vec<Type>,
    by_name: BTreeMap<&'static str, TypeId>,
    kinds: BTreeMap<(&'static str, &'static str, &'static str), TypeId>,
}

/// The table, read on first use.
#[must_use]
pub fn types() -> &'static Types {
    static TYPES: OnceLock<Types> = OnceLock::new();
    TYPES.get_or_init(|| table::read(include_str!("facts.txt")))
}

impl Types {
    /// The type of a kind. `DeleteOptions` and `WatchEvent` belong to every group.
    #[must_use]
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<TypeId> {
        let everywhere = matches!(kind, "DeleteOptions" | "WatchEvent");
        let key = if everywhere { ("", "v1", kind) } else { (group, version, kind) };
        self.kinds.get(&key).copied()
    }

    /// The type of a kind, by `apiVersion` as objects write it.
    #[must_use]
    pub fn kind_of(&self, api_version: &str, kind: &str) -> Option<TypeId> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        self.kind(group, version, kind)
    }

    /// All kinds: group, version, kind, type; sorted.
    pub fn kinds(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str, TypeId)> {
        self.kinds.iter().map(|((group, version, kind), id)| (*group, *version, *kind, *id))
    }

    /// A type by its name in the table, such as `core.v1.PodSpec`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// A type.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.all[usize::from(id.0)]
    }

    /// All types, by name.
    pub fn all(&self) -> impl Iterator<Item = &Type> {
        self.all.iter()
    }

    /// The field behind a member.
    #[must_use]
    pub fn field(&self, member: &Member) -> &Field {
        &self.get(member.owner).fields[usize::from(member.field)]
    }

    /// The field of this name in JSON, be it the type's own or of an inlined one.
    #[must_use]
    pub fn member(&self, id: TypeId, name: &str) -> Option<&Field> {
        let of = self.get(id);
        of.position(name).map(|at| self.field(&of.members[at]))
    }

    /// The name that Go's error texts give to a shape: `[]v1.Container`.
    #[must_use]
    pub fn go_type(&self, shape: &Shape) -> String {
        if !shape.named.is_empty() {
            return shape.named.to_owned();
        }
        let plain = match &shape.form {
            Form::Bool => "bool",
            Form::Int32 => "int32",
            Form::Int64 => "int64",
            Form::Double => "float64",
            Form::Text => "string",
            Form::Bytes => "[]uint8",
            Form::Message(id) => self.get(*id).go_name(),
            Form::List(item) | Form::WrappedList(item) => {
                return format!("[]{}", self.go_type(item));
            }
            Form::Map(value) => return format!("map[string]{}", self.go_type(value)),
            Form::Quantity => "resource.Quantity",
            Form::IntOrString => "intstr.IntOrString",
            Form::Time => "v1.Time",
            Form::MicroTime => "v1.MicroTime",
            Form::Duration => "v1.Duration",
            Form::RawExtension => "runtime.RawExtension",
            Form::FieldsV1 => "v1.FieldsV1",
            Form::Json => "v1.JSON",
            Form::SchemaOrBool => "v1.JSONSchemaPropsOrBool",
            Form::SchemaOrArray => "v1.JSONSchemaPropsOrArray",
            Form::SchemaOrTexts => "v1.JSONSchemaPropsOrStringArray",
        };
        plain.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_fields_with_their_shapes_numbers_and_patch_keys() {
        let pod = types().kind("", "v1", "Pod").expect("a pod is a kind");
        let spec = types().member(pod, "spec").expect("a pod has a spec");
        let Form::Message(spec) = spec.shape.form else { panic!("a spec is a message") };
        assert_eq!(types().get(spec).model_name(), "io.k8s.api.core.v1.PodSpec");
        let volumes = types().member(spec, "volumes").expect("a spec has volumes");
        assert_eq!((volumes.number, volumes.patch_merge_key), (1, "name"));
        assert!(volumes.merges() && volumes.omit_empty && !volumes.pointer);
        let policy = types().member(spec, "restartPolicy").expect("a spec has a restart policy");
        assert_eq!(types().go_type(&policy.shape), "v1.RestartPolicy");
        assert!(types().member(spec, "nosuch").is_none());
    }

    #[test]
    fn members_of_inlined_fields_stand_among_those_of_their_owner() {
        let volume = types().named("core.v1.Volume").expect("a volume is a type");
        let path = types().member(volume, "hostPath").expect("a volume has its source's members");
        assert_eq!(path.number, 1);
        assert!(types().get(volume).members.len() > 25);
        assert_eq!(types().get(volume).members[0].name, "name");
    }

    #[test]
    fn every_member_is_found_by_its_name() {
        for of in types().all() {
            for (at, member) in of.members.iter().enumerate() {
                assert_eq!(of.position(member.name), Some(at), "{} of {}", member.name, of.name);
            }
        }
        assert!(types().kinds().count() > 130);
        assert!(types().kind_of("apps/v1", "DeploymentList").is_some());
        assert_eq!(
            types().kind("apps", "v1", "DeleteOptions"),
            types().kind("", "v1", "DeleteOptions")
        );
    }
}
