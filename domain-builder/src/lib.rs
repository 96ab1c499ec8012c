//! From a [`spec::DomainSpec`] to a running domain: decode the kernel, plan, apply.
#![forbid(unsafe_code)]

pub mod apply;
pub mod causes;
pub mod host;
pub mod image;
pub mod nodes;
pub mod plan;
pub mod spec;
pub mod undo;
