//! Pages and states that the ends of a split driver share.

pub mod console;
pub mod ring_index;
pub mod xenbus;
pub mod xs_wire;
