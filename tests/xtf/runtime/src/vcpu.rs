//! The domain's vCPUs (`xen/vcpu.h`).

use crate::hypercall::{self, Errno};

/// `VCPUOP_is_up`.
const VCPUOP_IS_UP: u64 = 3;

/// How many vCPUs Xen made for this domain, running or not.
pub fn count() -> Result<u32, Errno> {
    let mut count = 0;
    loop {
        match hypercall::vcpu_op(VCPUOP_IS_UP, count) {
            Ok(_) => count += 1,
            Err(Errno::NO_ENTRY) => return Ok(count),
            Err(error) => return Err(error),
        }
    }
}

/// Whether vCPU `vcpu` is up.
pub fn is_up(vcpu: u32) -> Result<bool, Errno> {
    Ok(hypercall::vcpu_op(VCPUOP_IS_UP, vcpu)? == 1)
}
