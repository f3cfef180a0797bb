//! Leases: who leads, and who is still alive.

use super::columns::{AGE, NAME, age, name, text};
use super::tree::have;
use super::{Kind, PLAIN};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

pub(super) const LEASES: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    resource: "leases",
    singular: "lease",
    stored_under: "leases",
    columns: &[NAME, text("Holder", "Who has it."), AGE],
    cells: |lease, now| {
        let holder = object::text(lease, &["spec", "holderIdentity"]);
        vec![name(lease), holder.into(), age(lease, now)]
    },
    default: |lease| {
        have(lease, "spec");
        // Leaders that the server elects are an alpha feature: what belongs to it is dropped.
        for field in ["strategy", "preferredHolder"] {
            object::remove(lease, &["spec", field]);
        }
    },
    validate,
    unconditional_update: false,
    create_on_update: true,
    ..PLAIN
};

fn validate(lease: &Object, errors: &mut FieldErrors) {
    let path = Path::new("spec");
    let number = |field| object::number(lease, &["spec", field]);
    if let Some(seconds) = number("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    if let Some(times) = number("leaseTransitions").filter(|times| *times < 0) {
        errors.invalid(&path.child("leaseTransitions"), times, super::NEGATIVE);
    }
}
