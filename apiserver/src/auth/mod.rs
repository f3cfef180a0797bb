//! Who asks, and whether they may.

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name, such as `system:serviceaccount:default:builder`.
    pub name: String,
    /// A unique id; may be empty.
    pub uid: String,
    /// The groups, such as `system:authenticated`.
    pub groups: Vec<String>,
    /// More about them, by key.
    pub extra: Vec<(String, Vec<String>)>,
}

/// What somebody wants to do, as authorisers see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the
    /// lower-case method for paths that are no resource.
    pub verb: String,
    /// Whether it is about a resource; else `path` counts.
    pub is_resource: bool,
    /// The API group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural name.
    pub resource: String,
    /// The part of it; empty for the thing itself.
    pub subresource: String,
    /// The namespace; empty for all or none.
    pub namespace: String,
    /// The object's name; empty for all.
    pub name: String,
    /// The path of the request.
    pub path: String,
}
