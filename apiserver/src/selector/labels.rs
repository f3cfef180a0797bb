//! Label selectors: `app=web,tier in (a,b),!old`, and the objects that say the same.

use std::fmt;

use serde_json::Value;

use super::names::{key_faults, value_faults};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::schema::json::quote;

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `a=b`
    Equals,
    /// `a==b`
    DoubleEquals,
    /// `a!=b`
    NotEquals,
    /// `a in (b,c)`
    In,
    /// `a notin (b,c)`
    NotIn,
    /// `a`
    Exists,
    /// `!a`
    DoesNotExist,
    /// `a>5`
    GreaterThan,
    /// `a<5`
    LessThan,
}

/// What one label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// What with.
    pub values: Vec<String>,
}

/// Which labels objects must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// No object is selected.
    Nothing,
    /// All of these must hold; sorted by key. None: every object is selected.
    All(Vec<Requirement>),
}

impl Selector {
    /// Selects every object.
    #[must_use]
    pub fn everything() -> Self {
        Self::All(Vec::new())
    }

    /// Parses a selector; empty selects everything.
    ///
    /// # Errors
    ///
    /// Fails with upstream's text if it is malformed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Parser { tokens: tokens(text), at: 0 }.parse()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self::All(requirements))
    }

    /// The selector that a `LabelSelector` says: none selects nothing, an empty one everything.
    ///
    /// # Errors
    ///
    /// Fails with upstream's text if it is malformed.
    pub fn from_object(selector: Option<&Value>) -> Result<Self, String> {
        let Some(selector) = selector.and_then(Value::as_object) else { return Ok(Self::Nothing) };
        let mut requirements = Vec::new();
        for (key, value) in object::map(selector, &["matchLabels"]).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(requirement(key.clone(), Operator::Equals, Some(vec![value]))?);
        }
        for expression in object::list(selector, &["matchExpressions"]) {
            let text =
                |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or_default();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(format!("{} is not a valid label selector operator", quote(other)));
                }
            };
            let values = expression.get("values").and_then(Value::as_array);
            let values: Option<Vec<String>> =
                values.filter(|values| !values.is_empty()).map(|values| {
                    values
                        .iter()
                        .map(|value| value.as_str().unwrap_or_default().to_owned())
                        .collect()
                });
            requirements.push(requirement(text("key").to_owned(), operator, values)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self::All(requirements))
    }

    /// The selector of a plain map, such as a service's `spec.selector`.
    #[must_use]
    pub fn from_map(labels: &Object) -> Self {
        let mut requirements: Vec<Requirement> = labels
            .iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::Equals,
                values: vec![value.as_str().unwrap_or_default().to_owned()],
            })
            .collect();
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self::All(requirements)
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::All(requirements) if requirements.is_empty())
    }

    /// What must hold; nothing for a selector that selects nothing.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        match self {
            Self::Nothing => &[],
            Self::All(requirements) => requirements,
        }
    }

    /// Whether labels are selected.
    #[must_use]
    pub fn matches(&self, labels: Option<&Object>) -> bool {
        match self {
            Self::Nothing => false,
            Self::All(requirements) => requirements.iter().all(|one| one.matches(labels)),
        }
    }

    /// Whether an object is selected.
    #[must_use]
    pub fn selects(&self, object: &Object) -> bool {
        self.is_empty() || self.matches(object::map(object, &["metadata", "labels"]))
    }
}

impl Requirement {
    fn matches(&self, labels: Option<&Object>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key)?.as_str());
        let is_listed = |value: &str| self.values.iter().any(|one| one == value);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => {
                value.is_some_and(is_listed)
            }
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(is_listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let limit = self.values.first().map(|value| value.parse::<i64>());
                match (value.map(str::parse::<i64>), limit) {
                    (Some(Ok(value)), Some(Ok(limit))) if self.operator == Operator::LessThan => {
                        value < limit
                    }
                    (Some(Ok(value)), Some(Ok(limit))) => value > limit,
                    _ => false,
                }
            }
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, one) in self.requirements().iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{one}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = self.values.clone();
        values.sort_unstable();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// A requirement that was checked. No values at all print as `null` where they are wrong.
fn requirement(
    key: String,
    operator: Operator,
    values: Option<Vec<String>>,
) -> Result<Requirement, String> {
    let mut errors = FieldErrors::default();
    let faults = key_faults(&key);
    if !faults.is_empty() {
        errors.invalid(&Path::new("key"), key.clone(), faults.join("; "));
    }
    let path = Path::new("values");
    let shown = values.clone().map_or(Value::Null, Value::from);
    let values = values.unwrap_or_default();
    let complaint = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            Some("for 'in', 'notin' operators, values set can't be empty")
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
            Some("exact-match compatibility requires one single value")
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            Some("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
            Some("for 'Gt', 'Lt' operators, exactly one value is required")
        }
        _ => None,
    };
    if let Some(complaint) = complaint {
        errors.invalid(&path, shown, complaint);
    }
    for (at, value) in values.iter().enumerate() {
        let compares = matches!(operator, Operator::GreaterThan | Operator::LessThan);
        if compares && value.parse::<i64>().is_err() {
            let text = "for 'Gt', 'Lt' operators, the value must be an integer";
            errors.invalid(&path.index(at), value.clone(), text);
        }
    }
    for (at, value) in values.iter().enumerate() {
        let faults = value_faults(value);
        if !faults.is_empty() {
            errors.invalid(&path.index(at).key(&key), value.clone(), faults.join("; "));
        }
    }
    let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [] => Ok(Requirement { key, operator, values }),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Less,
    NotEquals,
    Open,
    In,
    NotIn,
    Word,
}

/// What a token is, and how it was written.
type Item<'a> = (Token, &'a str);

fn is_symbol(c: char) -> bool {
    "=!(),><".contains(c)
}

/// A zero byte ends the text, as it does upstream.
fn tokens(text: &str) -> Vec<Item<'_>> {
    let mut rest = text.split('\0').next().unwrap_or_default();
    let mut items = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            items.push((Token::End, ""));
            return items;
        };
        let (token, length) = match first {
            '=' if rest.starts_with("==") => (Token::DoubleEquals, 2),
            '!' if rest.starts_with("!=") => (Token::NotEquals, 2),
            '=' => (Token::Equals, 1),
            '!' => (Token::Not, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '>' => (Token::Greater, 1),
            '<' => (Token::Less, 1),
            _ => {
                let end = |c: char| is_symbol(c) || [' ', '\t', '\r', '\n'].contains(&c);
                let length = rest.find(end).unwrap_or(rest.len());
                let token = match &rest[..length] {
                    "in" => Token::In,
                    "notin" => Token::NotIn,
                    _ => Token::Word,
                };
                (token, length)
            }
        };
        items.push((token, &rest[..length]));
        rest = &rest[length..];
    }
}

struct Parser<'a> {
    tokens: Vec<Item<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    /// What comes next; where a key or a value may stand, `in` and `notin` are words.
    fn peek(&self) -> Item<'a> {
        let (token, text) = self.tokens.get(self.at).copied().unwrap_or((Token::End, ""));
        match token {
            Token::In | Token::NotIn => (Token::Word, text),
            token => (token, text),
        }
    }

    fn take(&mut self) -> Item<'a> {
        let item = self.peek();
        self.at += 1;
        item
    }

    fn parse(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                (Token::Word | Token::Not, _) => {
                    let one = self.requirement();
                    requirements
                        .push(one.map_err(|text| format!("unable to parse requirement: {text}"))?);
                    match self.take() {
                        (Token::End, _) => return Ok(requirements),
                        (Token::Comma, _) => match self.peek() {
                            (Token::Word | Token::Not, _) => {}
                            (_, text) => {
                                return Err(format!(
                                    "found '{text}', expected: identifier after ','"
                                ));
                            }
                        },
                        (_, text) => {
                            return Err(format!(
                                "found '{text}', expected: ',' or 'end of string'"
                            ));
                        }
                    }
                }
                (Token::End, _) => return Ok(requirements),
                (_, text) => {
                    return Err(format!(
                        "found '{text}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut absent = false;
        let (mut token, mut key) = self.take();
        if token == Token::Not {
            absent = true;
            (token, key) = self.take();
        }
        if token != Token::Word {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let faults = key_faults(key);
        if !faults.is_empty() {
            return Err(format!("<nil>: Invalid value: {}: {}", quote(key), faults.join("; ")));
        }
        let key = key.to_owned();
        if absent {
            return requirement(key, Operator::DoesNotExist, Some(Vec::new()));
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return requirement(key, Operator::Exists, Some(Vec::new()));
        }
        let operator = self.operator()?;
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.value()?],
        };
        values.sort_unstable();
        values.dedup();
        requirement(key, operator, Some(values))
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let item = self.tokens.get(self.at).copied().unwrap_or((Token::End, ""));
        self.at += 1;
        Ok(match item {
            (Token::In, _) => Operator::In,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (_, text) => {
                return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt"));
            }
        })
    }

    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take() {
            (Token::Word, text) => Ok(text.to_owned()),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let (token, text) = self.take();
        if token != Token::Open {
            return Err(format!("found '{text}' expected: '('"));
        }
        match self.peek() {
            (Token::Word | Token::Comma, _) => {
                let values = self.list()?;
                self.take(); // The list ends before the closing bracket.
                Ok(values)
            }
            (Token::Close, _) => {
                self.take();
                Ok(vec![String::new()])
            }
            (_, text) => Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
    }

    fn list(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            match self.take() {
                (Token::Word, text) => {
                    values.push(text.to_owned());
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek().0 {
                        Token::Close => {
                            values.push(String::new());
                            return Ok(values);
                        }
                        Token::Comma => values.push(String::new()),
                        _ => {}
                    }
                }
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
    }
}
