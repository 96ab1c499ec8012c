//! Security modules of the hypervisor.

pub mod flask_op;
