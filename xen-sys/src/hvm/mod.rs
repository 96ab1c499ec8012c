//! What HVM and PVH guests add.

pub mod e820;
pub mod hvm_op;
pub mod params;
pub mod start_info;
