//! Which objects a request is about: by labels and by fields.
//!
//! ```text
//!   ?labelSelector=app=web,tier in (a,b)   ─► labels::Selector ─┐
//!   spec.selector of many kinds            ─►                   ├─ matches(object)
//!   ?fieldSelector=spec.nodeName=n1        ─► fields::Selector ─┘
//! ```
//!
//! Texts of complaints and the canonical form are those of apimachinery's `labels` and `fields`.

pub mod fields;
pub mod labels;
mod names;
