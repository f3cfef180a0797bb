//! How the tables of default roles are written: a line for a rule, words between spaces.

use serde_json::{Value, json};

use crate::auth::rules::Rule;
use crate::object::Object;

/// Verbs of those who look.
pub(super) const READ: &str = "get list watch";
/// Verbs of those who change.
pub(super) const WRITE: &str = "create delete deletecollection patch update";
/// Both.
pub(super) const ALL: &str = "create delete deletecollection get list patch update watch";
/// What it takes to tell of events, which almost every component does.
pub(super) const EVENTS: Line = on("create patch update", "core events.k8s.io", "events");

/// A rule: words in each place, `core` for the group without a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    verbs: &'static str,
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
    paths: &'static str,
}

/// A rule on resources.
pub(super) const fn on(verbs: &'static str, groups: &'static str, resources: &'static str) -> Line {
    Line { verbs, groups, resources, names: "", paths: "" }
}

/// A rule on paths.
pub(super) const fn at(verbs: &'static str, paths: &'static str) -> Line {
    Line { verbs, groups: "", resources: "", names: "", paths }
}

impl Line {
    /// Restricts it to objects of these names.
    pub(super) const fn only(self, names: &'static str) -> Self {
        Self { names, ..self }
    }

    fn rule(self) -> Rule {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let group = |word: &str| if word == "core" { String::new() } else { word.to_owned() };
        Rule {
            verbs: words(self.verbs),
            groups: self.groups.split_whitespace().map(group).collect(),
            resources: words(self.resources),
            names: words(self.names),
            paths: words(self.paths),
        }
    }
}

/// A role.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    rules: &'static [Line],
    feeds: &'static str,
    collects: &'static str,
}

/// A role of these rules.
pub(super) const fn row(name: &'static str, rules: &'static [Line]) -> Row {
    Row { name, rules, feeds: "", collects: "" }
}

impl Row {
    /// Its rules go into the role of this name as well.
    pub(super) const fn feeds(self, feeds: &'static str) -> Self {
        Self { feeds, ..self }
    }

    /// Its rules are those of the roles that feed this one.
    pub(super) const fn collects(self, collects: &'static str) -> Self {
        Self { collects, ..self }
    }

    pub(super) fn rules(&self) -> Vec<Rule> {
        self.rules.iter().map(|line| line.rule()).collect()
    }

    /// The role as an object; `place` has kind, prefix of the name and namespace.
    pub(super) fn object(&self, kind: &str, prefix: &str, namespace: &str) -> Object {
        let mut labels = Object::new();
        labels.insert("kubernetes.io/bootstrapping".to_owned(), "rbac-defaults".into());
        if !self.feeds.is_empty() {
            labels.insert(aggregation(self.feeds), "true".into());
        }
        let rules: Vec<Value> = self.rules().iter().map(Rule::to_value).collect();
        let mut object = head(kind, &format!("{prefix}{}", self.name), namespace, labels);
        object.insert("rules".to_owned(), rules.into());
        if !self.collects.is_empty() {
            let mut labels = Object::new();
            labels.insert(aggregation(self.collects), "true".into());
            let rule = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            object.insert("aggregationRule".to_owned(), rule);
        }
        object
    }
}

fn aggregation(role: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{role}")
}

/// Kind and metadata of a default role or binding.
pub(super) fn head(kind: &str, name: &str, namespace: &str, labels: Object) -> Object {
    let mut metadata = Object::new();
    metadata.insert("name".to_owned(), name.into());
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    metadata.insert("labels".to_owned(), labels.into());
    let keep = json!({"rbac.authorization.kubernetes.io/autoupdate": "true"});
    metadata.insert("annotations".to_owned(), keep);
    let mut object = Object::new();
    object.insert("kind".to_owned(), kind.into());
    object.insert("apiVersion".to_owned(), "rbac.authorization.k8s.io/v1".into());
    object.insert("metadata".to_owned(), metadata.into());
    object
}

/// A binding of a role to `User name`, `Group name` and `ServiceAccount namespace/name`.
pub(super) fn binding(name: &str, namespace: &str, role: (&str, &str), subjects: &str) -> Object {
    let mut labels = Object::new();
    labels.insert("kubernetes.io/bootstrapping".to_owned(), "rbac-defaults".into());
    let kind = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
    let mut object = head(kind, name, namespace, labels);
    let subjects: Vec<Value> = subjects
        .split(", ")
        .filter_map(|subject| subject.split_once(' '))
        .map(|(kind, name)| subject_value(kind, name))
        .collect();
    if !subjects.is_empty() {
        object.insert("subjects".to_owned(), subjects.into());
    }
    let group = "rbac.authorization.k8s.io";
    let reference = json!({"apiGroup": group, "kind": role.0, "name": role.1});
    object.insert("roleRef".to_owned(), reference);
    object
}

fn subject_value(kind: &str, name: &str) -> Value {
    match name.split_once('/') {
        Some((namespace, name)) => json!({"kind": kind, "name": name, "namespace": namespace}),
        None => json!({"kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": name}),
    }
}
