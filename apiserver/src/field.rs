//! Where in an object something is wrong, and what: the causes of an `Invalid` answer.
//!
//! The texts are upstream's (apimachinery `util/validation/field`), because people grep for them
//! and tests compare them.

use std::fmt;

use serde_json::Value;

/// A place in an object, such as `spec.containers[0].env[key]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(String);

impl Path {
    /// The place of a top-level member, or one that is written out (`spec.template`).
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The member `name` below it.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The item `index` of it.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The entry `key` of it.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A value is missing.
    Required,
    /// A value is malformed.
    Invalid,
    /// A value is none of those that there are.
    NotSupported,
    /// A value stands twice where it must be unique.
    Duplicate,
    /// A value is well formed and not allowed here.
    Forbidden,
    /// A text is too long.
    TooLong,
    /// A list is too long.
    TooMany,
    /// What is referred to is not there.
    NotFound,
    /// A value is of another type.
    TypeInvalid,
    /// Checking failed.
    Internal,
}

impl Fault {
    /// The reason in a Status cause.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::TooLong | Self::Internal)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What.
    pub fault: Fault,
    /// Where.
    pub path: Path,
    /// The value that stands there, as upstream would print it (`%q` of a text, `%v` of a number).
    pub value: Value,
    /// Why; may be empty.
    pub detail: String,
}

impl FieldError {
    /// The text behind the field: `Invalid value: -1: must be greater than or equal to 0`.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = self.fault.text().to_owned();
        if self.fault.shows_value() {
            text.push_str(": ");
            match &self.value {
                Value::Null => text.push_str("null"),
                value => text.push_str(&value.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// The most faults that one answer tells. A body of 3 MiB can have half a million, and each of them
/// would be told twice.
const MOST: usize = 1_000;

/// Collects what is wrong, as far as one answer tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// Notes a fault.
    pub fn add(
        &mut self,
        fault: Fault,
        path: &Path,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) {
        if self.0.len() >= MOST {
            return;
        }
        let (path, value, detail) = (path.clone(), value.into(), detail.into());
        self.0.push(FieldError { fault, path, value, detail });
    }

    /// Notes that a value is missing.
    pub fn required(&mut self, path: &Path, detail: impl Into<String>) {
        self.add(Fault::Required, path, Value::Null, detail);
    }

    /// Notes that a value is malformed.
    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl Into<String>) {
        self.add(Fault::Invalid, path, value, detail);
    }

    /// Notes that a value is not allowed here.
    pub fn forbidden(&mut self, path: &Path, detail: impl Into<String>) {
        self.add(Fault::Forbidden, path, Value::Null, detail);
    }

    /// Notes that a value stands there twice.
    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.add(Fault::Duplicate, path, value, "");
    }

    /// Notes that a value is none of `supported`.
    pub fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let quoted: Vec<String> = supported.iter().map(|text| format!("\"{text}\"")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        self.add(Fault::NotSupported, path, value, detail);
    }

    /// Notes that what a value names is not there.
    pub fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        self.add(Fault::NotFound, path, value, "");
    }

    /// Notes that a value is longer than `most` bytes.
    pub fn too_long(&mut self, path: &Path, most: usize) {
        let unit = if most == 1 { "byte" } else { "bytes" };
        self.add(Fault::TooLong, path, Value::Null, format!("may not be more than {most} {unit}"));
    }

    /// Notes that a list has more than `most` items.
    pub fn too_many(&mut self, path: &Path, actual: usize, most: usize) {
        let unit = if most == 1 { "item" } else { "items" };
        self.add(Fault::TooMany, path, actual, format!("must have at most {most} {unit}"));
    }

    /// All of it in one text, each fault once.
    #[must_use]
    pub fn joined(&self) -> String {
        let mut texts: Vec<String> = Vec::new();
        for error in &self.0 {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_as_upstream_writes_them() {
        let mut errors = FieldErrors::default();
        let spec = Path::new("spec");
        errors.invalid(&spec.child("replicas"), -1, "must be greater than or equal to 0");
        errors.required(&spec.child("containers").index(0).child("name"), "");
        errors.not_supported(&spec.child("type"), "x", &["A", "B"]);
        errors.forbidden(&spec, "updates to it are forbidden");
        errors.forbidden(&spec, "updates to it are forbidden");
        let joined = "[spec.replicas: Invalid value: -1: must be greater than or equal to 0, \
                      spec.containers[0].name: Required value, spec.type: Unsupported value: \
                      \"x\": supported values: \"A\", \"B\", spec: Forbidden: updates to it are \
                      forbidden]";
        assert_eq!(errors.joined(), joined);
        let texts: Vec<String> = errors.0[..4].iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.containers[0].name: Required value",
                "spec.type: Unsupported value: \"x\": supported values: \"A\", \"B\"",
                "spec: Forbidden: updates to it are forbidden",
            ]
        );
    }
}
