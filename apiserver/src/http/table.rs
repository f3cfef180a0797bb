//! Tables: objects as rows with cells, for `kubectl get`.

use serde_json::{Value, json};

use crate::kinds::{CellType, Kind};
use crate::object::Object;

/// What a row says about its object besides the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "None" => Self::None,
            "Object" => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// Whether a table says what its columns are. In a watch only the first does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headings {
    Shown,
    Left,
}

/// A table of objects.
pub(crate) struct Table<'a> {
    pub(crate) kind: &'a Kind,
    /// `v1` or `v1beta1`.
    pub(crate) version: &'a str,
    pub(crate) include: Include,
    pub(crate) headings: Headings,
    /// Seconds since 1970, for ages.
    pub(crate) now: i64,
}

impl Table<'_> {
    /// The table of some objects, with the metadata of their list.
    pub(crate) fn of(&self, objects: Vec<Object>, metadata: Value) -> Value {
        let rows: Vec<Value> = objects.into_iter().map(|object| self.row(object)).collect();
        let columns = match self.headings {
            Headings::Shown => self.columns(),
            Headings::Left => Value::Array(Vec::new()),
        };
        json!({
            "kind": "Table",
            "apiVersion": format!("meta.k8s.io/{}", self.version),
            "metadata": metadata,
            "columnDefinitions": columns,
            "rows": rows,
        })
    }

    fn columns(&self) -> Value {
        let columns = self.kind.columns.iter().map(|column| {
            let cell = match column.cell {
                CellType::Text => "string",
                CellType::Date => "date",
                CellType::Integer => "integer",
                CellType::Boolean => "boolean",
            };
            json!({
                "name": column.name,
                "type": cell,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        });
        Value::Array(columns.collect())
    }

    fn row(&self, object: Object) -> Value {
        let mut row = Object::new();
        row.insert("cells".to_owned(), Value::Array((self.kind.cells)(&object, self.now)));
        let conditions = (self.kind.row_conditions)(&object);
        if !conditions.is_empty() {
            row.insert("conditions".to_owned(), conditions.into());
        }
        let shown = match self.include {
            Include::None => None,
            Include::Metadata => Some(partial(&object, self.version)),
            Include::Object => Some(Value::Object(object)),
        };
        if let Some(shown) = shown {
            row.insert("object".to_owned(), shown);
        }
        Value::Object(row)
    }
}

/// An object's metadata by itself.
pub(crate) fn partial(object: &Object, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata"),
    })
}
