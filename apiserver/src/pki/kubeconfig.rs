//! The file that tells kubectl where the server is and who asks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Pair;

/// What a kubeconfig says.
#[derive(Debug, Clone, Copy)]
pub struct Kubeconfig<'a> {
    /// How the cluster and the context are called, such as `kstore`.
    pub cluster: &'a str,
    /// How the user is called in it.
    pub user: &'a str,
    /// Where the server is, such as `https://127.0.0.1:6443`.
    pub server: &'a str,
    /// The authority's certificate as PEM.
    pub authority: &'a str,
    /// What the user proves itself with.
    pub client: &'a Pair,
}

impl Kubeconfig<'_> {
    /// The file, with the certificates in it.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let encode = |text: &str| STANDARD.encode(text);
        // A text in JSON's quotes is one in YAML's.
        let quote = |text: &str| Value::from(text).to_string();
        let cluster = quote(self.cluster);
        let user = quote(self.user);
        let context = quote(&format!("{}@{}", self.user, self.cluster));
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: {cluster}\n\
             \x20 cluster:\n\
             \x20   server: {server}\n\
             \x20   certificate-authority-data: {authority}\n\
             users:\n\
             - name: {user}\n\
             \x20 user:\n\
             \x20   client-certificate-data: {certificate}\n\
             \x20   client-key-data: {key}\n\
             contexts:\n\
             - name: {context}\n\
             \x20 context:\n\
             \x20   cluster: {cluster}\n\
             \x20   user: {user}\n\
             current-context: {context}\n",
            server = quote(self.server),
            authority = encode(self.authority),
            certificate = encode(&self.client.certificate),
            key = encode(&self.client.key),
        )
    }
}
