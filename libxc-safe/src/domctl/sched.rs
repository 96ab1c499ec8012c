//! Scheduler parameters of a domain.

use xen_sys::domctl::{
    XEN_DOMCTL_SCHEDOP_getinfo, XEN_DOMCTL_SCHEDOP_getvcpuinfo, XEN_DOMCTL_SCHEDOP_putinfo,
    XEN_DOMCTL_SCHEDOP_putvcpuinfo, XEN_DOMCTL_SCHEDRT_extra, XEN_DOMCTL_scheduler_op,
    xen_domctl_sched_credit, xen_domctl_sched_credit2, xen_domctl_sched_rtds,
    xen_domctl_schedparam_vcpu, xen_domctl_scheduler_op, xen_domctl_scheduler_op_v,
};
use xen_sys::types::Domid;

use super::{PAYLOAD_BYTES, Payload};
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::sysctl::Scheduler;
use crate::xen::Xen;

const OPERATION: &str = "XEN_DOMCTL_scheduler_op";
/// Where the scheduler's own part of the argument starts.
const UNION: usize = std::mem::offset_of!(xen_domctl_scheduler_op, u);

/// How a scheduler treats a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulerParameters {
    /// The credit scheduler.
    Credit {
        /// Share, 1 to 65535.
        weight: u16,
        /// Most it may use, percent of one CPU; 0 no limit.
        cap: u16,
    },
    /// The credit2 scheduler.
    Credit2 {
        /// Share, 1 to 65535.
        weight: u16,
        /// Most it may use, percent of one CPU; 0 no limit.
        cap: u16,
    },
    /// The real-time deferrable server; for all vCPUs at once.
    Rtds(RtdsParameters),
}

/// Real-time parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtdsParameters {
    /// Period, microseconds.
    pub period_us: u32,
    /// CPU time per period, microseconds.
    pub budget_us: u32,
    /// May use time that is left over.
    pub extra: bool,
}

/// Real-time parameters of one vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuRtdsParameters {
    /// The vCPU.
    pub vcpu: u32,
    /// Its parameters.
    pub parameters: RtdsParameters,
}

impl SchedulerParameters {
    /// The scheduler that they are for.
    #[must_use]
    pub fn scheduler(self) -> Scheduler {
        match self {
            Self::Credit { .. } => Scheduler::Credit,
            Self::Credit2 { .. } => Scheduler::Credit2,
            Self::Rtds(_) => Scheduler::Rtds,
        }
    }

    fn encode(self) -> Payload {
        let mut bytes = [0; PAYLOAD_BYTES];
        put!(
            bytes,
            xen_domctl_scheduler_op {
                sched_id: self.scheduler().id(),
                cmd: XEN_DOMCTL_SCHEDOP_putinfo,
            }
        );
        match self {
            Self::Credit { weight, cap } => {
                put!(bytes[UNION..], xen_domctl_sched_credit { weight: weight, cap: cap });
            }
            Self::Credit2 { weight, cap } => {
                put!(bytes[UNION..], xen_domctl_sched_credit2 { weight: weight, cap: cap });
            }
            Self::Rtds(parameters) => parameters.put(&mut bytes[UNION..]),
        }
        bytes
    }

    fn decode(scheduler: Scheduler, bytes: &Payload) -> Option<Self> {
        let bytes = &bytes[UNION..];
        match scheduler {
            Scheduler::Credit => Some(Self::Credit {
                weight: get!(bytes, xen_domctl_sched_credit, weight),
                cap: get!(bytes, xen_domctl_sched_credit, cap),
            }),
            Scheduler::Credit2 => Some(Self::Credit2 {
                weight: get!(bytes, xen_domctl_sched_credit2, weight),
                cap: get!(bytes, xen_domctl_sched_credit2, cap),
            }),
            Scheduler::Rtds => Some(Self::Rtds(RtdsParameters::get(bytes))),
            Scheduler::Arinc653 | Scheduler::Null | Scheduler::Other(_) => None,
        }
    }
}

impl RtdsParameters {
    fn put(self, bytes: &mut [u8]) {
        put!(
            bytes,
            xen_domctl_sched_rtds {
                period: self.period_us,
                budget: self.budget_us,
                flags: if self.extra { XEN_DOMCTL_SCHEDRT_extra } else { 0 },
            }
        );
    }

    fn get(bytes: &[u8]) -> Self {
        Self {
            period_us: get!(bytes, xen_domctl_sched_rtds, period),
            budget_us: get!(bytes, xen_domctl_sched_rtds, budget),
            extra: get!(bytes, xen_domctl_sched_rtds, flags) & XEN_DOMCTL_SCHEDRT_extra != 0,
        }
    }
}

impl Xen {
    /// Sets how the scheduler treats a domain.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL when the domain's pool has another scheduler, or for values
    /// that it refuses.
    pub fn set_scheduler_parameters(
        &self,
        domid: Domid,
        parameters: SchedulerParameters,
    ) -> Result<()> {
        let mut payload = parameters.encode();
        // SAFETY: putinfo carries no address.
        unsafe { self.domctl(OPERATION, XEN_DOMCTL_scheduler_op, domid, &mut payload) }?;
        Ok(())
    }

    /// How `scheduler`, that of the domain's pool, treats a domain.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; [`Error::Invalid`] for a scheduler without parameters.
    pub fn scheduler_parameters(
        &self,
        domid: Domid,
        scheduler: Scheduler,
    ) -> Result<SchedulerParameters> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            xen_domctl_scheduler_op { sched_id: scheduler.id(), cmd: XEN_DOMCTL_SCHEDOP_getinfo }
        );
        // SAFETY: getinfo carries no address.
        unsafe { self.domctl(OPERATION, XEN_DOMCTL_scheduler_op, domid, &mut payload) }?;
        SchedulerParameters::decode(scheduler, &payload)
            .ok_or(Error::Invalid { operation: OPERATION, what: "no parameters per domain" })
    }

    /// Sets real-time parameters vCPU by vCPU.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn set_vcpu_rtds(&self, domid: Domid, vcpus: &[VcpuRtdsParameters]) -> Result<()> {
        self.vcpu_rtds_call(domid, XEN_DOMCTL_SCHEDOP_putvcpuinfo, vcpus)?;
        Ok(())
    }

    /// Real-time parameters of the given vCPUs.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn vcpu_rtds(&self, domid: Domid, vcpus: &[u32]) -> Result<Vec<VcpuRtdsParameters>> {
        let asked: Vec<_> = vcpus
            .iter()
            .map(|vcpu| VcpuRtdsParameters { vcpu: *vcpu, parameters: RtdsParameters::default() })
            .collect();
        self.vcpu_rtds_call(domid, XEN_DOMCTL_SCHEDOP_getvcpuinfo, &asked)
    }

    fn vcpu_rtds_call(
        &self,
        domid: Domid,
        command: u32,
        vcpus: &[VcpuRtdsParameters],
    ) -> Result<Vec<VcpuRtdsParameters>> {
        type Record = xen_domctl_schedparam_vcpu;
        const RECORD: usize = size_of::<Record>();
        let Ok(count) = u32::try_from(vcpus.len()) else {
            return Err(Error::Invalid { operation: OPERATION, what: "too many vCPUs" });
        };
        let mut buffer = self.pool().zeroed(vcpus.len() * RECORD)?;
        for (record, vcpu) in buffer.bytes_mut().chunks_exact_mut(RECORD).zip(vcpus) {
            put!(record, Record { vcpuid: vcpu.vcpu });
            vcpu.parameters.put(record);
        }
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_scheduler_op { sched_id: Scheduler::Rtds.id(), cmd: command });
        put!(
            payload[UNION..],
            xen_domctl_scheduler_op_v { vcpus: buffer.address(), nr_vcpus: count }
        );
        // SAFETY: Xen reads and writes nr_vcpus records at `vcpus`, the size of `buffer`.
        unsafe { self.domctl(OPERATION, XEN_DOMCTL_scheduler_op, domid, &mut payload) }?;
        let records = buffer.bytes().chunks_exact(RECORD);
        Ok(records
            .map(|record| VcpuRtdsParameters {
                vcpu: get!(record, Record, vcpuid),
                parameters: RtdsParameters::get(record),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_to_the_byte() {
        let check = |parameters: SchedulerParameters, expected: &[u8]| {
            let bytes = parameters.encode();
            assert_eq!(bytes[..expected.len()], *expected, "{parameters:?}");
            assert!(bytes[expected.len()..].iter().all(|byte| *byte == 0), "{parameters:?}");
            let back = SchedulerParameters::decode(parameters.scheduler(), &bytes);
            assert_eq!(back, Some(parameters));
        };
        check(
            SchedulerParameters::Credit { weight: 256, cap: 50 },
            &[5, 0, 0, 0, 0, 0, 0, 0, 0, 1, 50, 0],
        );
        check(
            SchedulerParameters::Credit2 { weight: 0x1234, cap: 0 },
            &[6, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12],
        );
        check(
            SchedulerParameters::Rtds(RtdsParameters {
                period_us: 10000,
                budget_us: 4000,
                extra: true,
            }),
            &[8, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x27, 0, 0, 0xA0, 0x0F, 0, 0, 1],
        );
    }
}
