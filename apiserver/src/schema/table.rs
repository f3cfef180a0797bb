//! Reads `facts.txt`.
//!
//! ```text
//!   PACKAGE <alias> <OpenAPI name of the package>
//!   TYPE <alias>.<name>
//!   <JSON name or -> <number> <flags or -> <shape> [<patch strategy> [<merge key>]]
//!   KIND <group or -> <version> <kind> <type>
//! ```
//!
//! Flags: `o` omitempty, `z` omitzero, `i` inlined, `p` pointer. A shape is a word (`text`, `int32`,
//! `Time` …), the name of a type, or `[`, `<`, `{` (list, list that is a message, map) before the
//! shape of the items; behind a word or a bracket the name of the Go type may stand in brackets.
//! The file is part of the program, so what is malformed in it is a bug and ends the program.

use std::collections::BTreeMap;

use super::{Field, Form, Member, Shape, Type, TypeId, Types, settle};

pub(super) fn read(text: &'static str) -> Types {
    let mut types = Types { all: Vec::new(), by_name: names(text), kinds: BTreeMap::new() };
    let mut packages = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&'static str> = line.split(' ').collect();
        match *words.as_slice() {
            ["#", ..] => {}
            ["PACKAGE", alias, name] => {
                packages.insert(alias, name);
            }
            ["TYPE", name] => {
                let alias = name.rsplit_once('.').map_or("", |(alias, _)| alias);
                types.all.push(Type {
                    name,
                    package: packages[alias],
                    fields: Vec::new(),
                    members: Vec::new(),
                    first_members: Vec::new(),
                    filled: 0,
                    by_name: Vec::new(),
                    by_number: Vec::new(),
                });
            }
            ["KIND", group, version, kind, of] => {
                let group = if group == "-" { "" } else { group };
                types.kinds.insert((group, version, kind), types.by_name[of]);
            }
            [name, number, flags, shape, ref patch @ ..] => {
                let field = field(&types.by_name, [name, number, flags, shape], patch);
                types.all.last_mut().expect("fields stand below their type").fields.push(field);
            }
            _ => unreachable!("a line of facts.txt reads {line:?}"),
        }
    }
    index(&mut types);
    types
}

fn names(text: &'static str) -> BTreeMap<&'static str, TypeId> {
    let names = text.lines().filter_map(|line| line.strip_prefix("TYPE "));
    names.zip(0..).map(|(name, at)| (name, TypeId(at))).collect()
}

fn field(
    types: &BTreeMap<&'static str, TypeId>,
    [name, number, flags, word]: [&'static str; 4],
    patch: &[&'static str],
) -> Field {
    let inline = flags.contains('i');
    Field {
        name: if inline { "" } else { name },
        number: number.parse().expect("numbers on the wire are numbers"),
        shape: shape(types, word),
        omit_empty: flags.contains('o'),
        omit_zero: flags.contains('z'),
        pointer: flags.contains('p'),
        inline,
        patch_strategy: patch.first().copied().unwrap_or(""),
        patch_merge_key: patch.get(1).copied().unwrap_or(""),
    }
}

fn shape(types: &BTreeMap<&'static str, TypeId>, word: &'static str) -> Shape {
    for (bracket, list) in
        [("[", Form::List as fn(Box<Shape>) -> Form), ("<", Form::WrappedList), ("{", Form::Map)]
    {
        if let Some(rest) = word.strip_prefix(bracket) {
            let (named, item) =
                rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).unwrap_or(("", rest));
            return Shape { form: list(Box::new(shape(types, item))), named };
        }
    }
    let (word, named) =
        word.strip_suffix(')').and_then(|rest| rest.split_once('(')).unwrap_or((word, ""));
    let form = match word {
        "bool" => Form::Bool,
        "int32" => Form::Int32,
        "int64" => Form::Int64,
        "double" => Form::Double,
        "text" => Form::Text,
        "bytes" => Form::Bytes,
        "Quantity" => Form::Quantity,
        "IntOrString" => Form::IntOrString,
        "Time" => Form::Time,
        "MicroTime" => Form::MicroTime,
        "Duration" => Form::Duration,
        "RawExtension" => Form::RawExtension,
        "FieldsV1" => Form::FieldsV1,
        "JSON" => Form::Json,
        "SchemaOrBool" => Form::SchemaOrBool,
        "SchemaOrArray" => Form::SchemaOrArray,
        "SchemaOrTexts" => Form::SchemaOrTexts,
        of => Form::Message(types[of]),
    };
    Shape { form, named }
}

/// Fills in what is looked up: members, and the orders by name and by number.
fn index(types: &mut Types) {
    for at in 0..types.all.len() {
        let mut members = Vec::new();
        let mut first_members = Vec::new();
        collect(types, TypeId(small(at)), &mut members, &mut first_members);
        let mut by_name: Vec<u16> = (0..small(members.len())).collect();
        by_name.sort_by_key(|at| members[usize::from(*at)].name);
        let of = &mut types.all[at];
        let mut by_number: Vec<u16> = (0..small(of.fields.len()))
            .filter(|at| of.fields[usize::from(*at)].number > 0)
            .collect();
        by_number.sort_by_key(|at| of.fields[usize::from(*at)].number);
        of.filled = members.iter().filter(|member| member.filled).count();
        (of.members, of.first_members) = (members, first_members);
        (of.by_name, of.by_number) = (by_name, by_number);
    }
}

fn collect(types: &Types, owner: TypeId, members: &mut Vec<Member>, firsts: &mut Vec<u16>) {
    for (at, field) in types.get(owner).fields.iter().enumerate() {
        firsts.push(small(members.len()));
        match &field.shape.form {
            Form::Message(inner) if field.inline => {
                collect(types, *inner, members, &mut Vec::new())
            }
            _ => {
                let filled = settle::is_filled(field);
                members.push(Member { name: field.name, owner, field: small(at), filled });
            }
        }
    }
}

fn small(number: usize) -> u16 {
    u16::try_from(number).expect("the table has fewer than 65,536 of anything")
}
