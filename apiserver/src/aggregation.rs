//! Keeps the cluster roles that collect others' rules: whoever installs something labels its roles,
//! and `admin`, `edit` and `view` have their rules from then on.
//!
//! ```text
//!   a cluster role changes ─► notice ─► all roles read ─► each that collects: its rules written
//!            ▲                                                            │
//!            └────────────────────── one feeds the next ──────────────────┘
//! ```
//!
//! Upstream has a controller for this; here the server does it, which follows these roles anyway.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::auth::lookup::{Answer, Lookup};
use crate::auth::rbac::stale_aggregate;
use crate::auth::{MASTERS, User};
use crate::kinds;
use crate::object::{self, Object};
use crate::registry::{Call, DryRun, Part};
use crate::server::Server;

/// How long changes are gathered, and how long a failure is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// Follows the notices for as long as it is polled.
pub(crate) async fn run(server: Arc<Server>) {
    loop {
        server.roles_changed.notified().await;
        if let Err(status) = collect(&server).await {
            tracing::warn!(why = %status, "roles that collect rules are not current; trying again");
            server.roles_changed.notify_one();
        }
        sleep(PAUSE).await;
    }
}

/// Writes the rules of every role that collects them and has others.
async fn collect(server: &Server) -> Answer<()> {
    let Some(kind) = kinds::by_resource("rbac.authorization.k8s.io", "v1", "clusterroles") else {
        return Ok(());
    };
    let stored = Lookup::list(server.registry.as_ref(), kind.named(), "").await?;
    let mut roles: Vec<Object> = stored.iter().map(|role| role.as_ref().clone()).collect();
    let user = User { groups: vec![MASTERS.to_owned()], ..User::default() };
    // One after the other, each with what the ones before have come to: roles that collect each
    // other's rules would swap them for ever otherwise.
    for place in 0..roles.len() {
        let Some(rules) = stale_aggregate(&roles[place], &roles) else { continue };
        let name = object::name(&roles[place]).to_owned();
        let call = Call {
            user: &user,
            kind,
            subresource: None,
            namespace: "",
            name: &name,
            dry_run: DryRun::No,
            warnings: std::sync::Mutex::default(),
        };
        let changed = server.registry.change(&call, Part::Main, |old| {
            let mut new = old.clone();
            // Whoever stopped collecting meanwhile keeps what it has.
            if new.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
                new.insert("rules".to_owned(), Value::from(rules.clone()));
            }
            Ok(new)
        });
        match changed.await {
            Ok(role) => roles[place] = role,
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    Ok(())
}
