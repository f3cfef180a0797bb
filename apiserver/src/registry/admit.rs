//! Where admission stands in a write.

use super::{Call, DryRun, Registry};
use crate::admission::{self, Operation, Request};
use crate::auth::escalation::{self, PolicyWrite};
use crate::auth::lookup::Answer;
use crate::auth::rbac::PolicyKind;
use crate::auth::{Attributes, Decision};
use crate::kinds::{self, Kind};
use crate::object::{self, Object};
use crate::registry::stored;
use crate::status::Status;
use crate::storage::Guarded;

impl Registry {
    /// What admission adds to an object, or refuses at once.
    pub(super) async fn admit_change(
        &self,
        call: &Call<'_>,
        operation: Operation,
        new: &mut Object,
        old: Option<&Object>,
    ) -> Answer<()> {
        let suffix = self.suffix();
        let authorise =
            |asked: &Attributes| -> Decision { self.access.authorise(call.user, asked) };
        let mut request = request(call, operation, Some(new), old, &suffix, self.now(), &authorise);
        admission::mutate_without(&mut request, self, &self.left_out).await
    }

    /// What admission refuses at the end, and what else is to be written with the object.
    pub(super) async fn admit_final(
        &self,
        call: &Call<'_>,
        operation: Operation,
        new: &Object,
        old: Option<&Object>,
    ) -> Answer<Vec<Guarded>> {
        let suffix = String::new();
        let authorise =
            |asked: &Attributes| -> Decision { self.access.authorise(call.user, asked) };
        let now = self.now();
        if operation == Operation::Delete {
            let mut request = request(call, operation, None, old, &suffix, now, &authorise);
            admission::mutate_without(&mut request, self, &self.left_out).await?;
            admission::validate_without(&request, self, &self.left_out).await?;
            return Ok(Vec::new());
        }
        self.check_escalation(call, new, old)?;
        let mut copy = new.clone();
        let request = request(call, operation, Some(&mut copy), old, &suffix, now, &authorise);
        let admitted = admission::validate_without(&request, self, &self.left_out).await?;
        for text in admitted.warnings {
            call.warn(text);
        }
        admitted.quotas.into_iter().map(quota_write).collect()
    }

    /// Nobody gives by roles what they do not have.
    fn check_escalation(&self, call: &Call<'_>, new: &Object, old: Option<&Object>) -> Answer<()> {
        if call.kind.group != "rbac.authorization.k8s.io" {
            return Ok(());
        }
        let Some(kind) = PolicyKind::of_resource(call.kind.resource) else { return Ok(()) };
        let (user, namespace) = (call.user, call.namespace);
        let write = PolicyWrite { user, kind, namespace, object: new, old };
        self.access.with_policy(|policy| {
            escalation::check(&write, policy, |asked| policy.authorise(user, asked))
        })
    }

    /// The lease that a new object hangs on: events go after an hour.
    pub(super) async fn lease_of(&self, kind: &Kind, _new: &Object) -> Answer<i64> {
        if kind.resource != "events" {
            return Ok(0);
        }
        self.event_leases.lease(self).await
    }
}

fn request<'a>(
    call: &'a Call<'_>,
    operation: Operation,
    object: Option<&'a mut Object>,
    old: Option<&'a Object>,
    suffix: &'a str,
    now: i64,
    authorise: &'a (dyn Fn(&Attributes) -> Decision + Send + Sync),
) -> Request<'a> {
    Request {
        user: call.user,
        operation,
        group: call.kind.group,
        resource: call.kind.resource,
        subresource: call.subresource.map_or("", |sub| sub.name),
        namespace: call.namespace,
        name: call.name,
        object,
        old,
        dry_run: match call.dry_run {
            DryRun::Yes => admission::DryRun::Only,
            DryRun::No => admission::DryRun::No,
        },
        now,
        suffix,
        authorise,
    }
}

/// A quota's new use is written together with what uses it.
fn quota_write(quota: Object) -> Answer<Guarded> {
    let kind = kinds::by_resource("", "v1", "resourcequotas")
        .ok_or_else(|| Box::new(Status::internal("there are no quotas")))?;
    let key = stored::key(kind, object::namespace(&quota), object::name(&quota));
    let version = object::text(&quota, &["metadata", "resourceVersion"]);
    let expected = version.parse().unwrap_or(0);
    Ok(Guarded { key, expected, value: Some(stored::encode(quota)?), lease: 0 })
}
