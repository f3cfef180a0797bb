//! Answers of the auth service.

use kstore_proto::authpb::Permission;
use kstore_proto::authpb::permission::Type;
use kstore_proto::etcdserverpb::{
    AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserGetResponse,
    AuthUserListResponse, ResponseHeader,
};
use prost::Message;

use super::kv::header;
use super::{Answer, Fields, Json, Page, Style};
use crate::client::keys::prefix_end;

/// A change that only has to be confirmed.
#[derive(Debug)]
pub(crate) struct Done {
    /// The line for people.
    pub(crate) line: Vec<u8>,
    pub(crate) header: Option<ResponseHeader>,
}

impl Done {
    pub(crate) fn new(line: impl Into<Vec<u8>>, header: Option<ResponseHeader>) -> Self {
        Self { line: line.into(), header }
    }
}

impl Answer for Done {
    fn simple(&self, page: &mut Page) {
        page.line(&self.line);
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([("header", header(self.header.as_ref()))]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        Some(Fields::headed(style, self.header.as_ref()))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        let answer = kstore_proto::etcdserverpb::AuthEnableResponse { header: self.header };
        Some(answer.encode_to_vec())
    }
}

impl Answer for AuthStatusResponse {
    fn simple(&self, page: &mut Page) {
        page.line(format!("Authentication Status: {}", self.enabled));
        page.line(format!("AuthRevision: {}", self.auth_revision));
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("enabled", self.enabled.into()),
            ("authRevision", self.auth_revision.into()),
        ]))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

/// What a role may do.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) answer: AuthRoleGetResponse,
}

impl Role {
    fn permissions(&self, page: &mut Page, wanted: Type) {
        let granted = self.answer.perm.iter();
        for permission in
            granted.filter(|it| it.perm_type() == wanted || it.perm_type() == Type::Readwrite)
        {
            page.line(permission_line(permission));
        }
    }
}

fn permission_line(permission: &Permission) -> Vec<u8> {
    let (key, end) = (&permission.key[..], &permission.range_end[..]);
    let mut line = b"\t".to_vec();
    match end {
        b"" => return [b"\t", key].concat(),
        b"\0" => line.extend([b"[", key, b", <open ended>"].concat()),
        _ => line.extend([b"[", key, b", ", end, b")"].concat()),
    }
    if !key.is_empty() && prefix_end(key) == end {
        line.extend([b" (prefix ", key, b")"].concat());
    }
    line
}

impl Answer for Role {
    fn simple(&self, page: &mut Page) {
        page.line(format!("Role {}", self.name));
        let everything = self.name == "root" && self.answer.perm.is_empty();
        for (heading, wanted) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
            page.line(heading);
            if everything {
                page.line("\t[, <open ended>");
            } else {
                self.permissions(page, wanted);
            }
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        let permissions = self.answer.perm.iter().map(|permission| {
            Json::sparse([
                ("permType", i64::from(permission.perm_type).into()),
                ("key", (&permission.key).into()),
                ("range_end", (&permission.range_end).into()),
            ])
        });
        Some(Json::sparse([
            ("header", header(self.answer.header.as_ref())),
            ("perm", Json::list(permissions)),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::headed(style, self.answer.header.as_ref());
        for permission in &self.answer.perm {
            // With two spaces, as readers know it.
            let name = permission.perm_type().as_str_name();
            fields.line(&format!("\"PermType\" :  {name}"));
            fields.quoted("Key", &permission.key);
            fields.quoted("RangeEnd", &permission.range_end);
        }
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

impl Answer for AuthRoleListResponse {
    fn simple(&self, page: &mut Page) {
        for role in &self.roles {
            page.line(role);
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("roles", (&self.roles).into()),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::headed(style, self.header.as_ref());
        let quoted =
            |role: &String| format!(" {}", crate::client::notation::quote(role.as_bytes()));
        let roles: String = self.roles.iter().map(quoted).collect();
        fields.line(&format!("\"Roles\" :{roles}"));
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

/// Which roles a user has.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) answer: AuthUserGetResponse,
}

impl Answer for User {
    fn simple(&self, page: &mut Page) {
        page.line(format!("User: {}", self.name));
        let roles: String = self.answer.roles.iter().map(|role| format!(" {role}")).collect();
        page.line(format!("Roles:{roles}"));
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.answer.header.as_ref())),
            ("roles", (&self.answer.roles).into()),
        ]))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

impl Answer for AuthUserListResponse {
    fn simple(&self, page: &mut Page) {
        for user in &self.users {
            page.line(user);
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("users", (&self.users).into()),
        ]))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}
