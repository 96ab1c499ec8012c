//! CPU pools: sets of CPUs with a scheduler each.

use rustix::io::Errno;
use xen_sys::sysctl::{
    XEN_SYSCTL_CPUPOOL_OP_ADDCPU, XEN_SYSCTL_CPUPOOL_OP_CREATE, XEN_SYSCTL_CPUPOOL_OP_DESTROY,
    XEN_SYSCTL_CPUPOOL_OP_FREEINFO, XEN_SYSCTL_CPUPOOL_OP_INFO, XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN,
    XEN_SYSCTL_CPUPOOL_OP_RMCPU, XEN_SYSCTL_CPUPOOL_PAR_ANY, XEN_SYSCTL_SCHEDOP_getinfo,
    XEN_SYSCTL_SCHEDOP_putinfo, XEN_SYSCTL_cpupool_op, XEN_SYSCTL_scheduler_op,
    xen_sysctl_cpupool_op, xen_sysctl_credit_schedule, xen_sysctl_credit2_schedule,
    xen_sysctl_scheduler_op,
};
use xen_sys::types::Domid;

use super::Scheduler;
use crate::bitmap;
use crate::domctl::{PAYLOAD_BYTES, Payload};
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

type Raw = xen_sysctl_cpupool_op;
const OPERATION: &str = "XEN_SYSCTL_cpupool_op";

/// One CPU pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuPool {
    /// Its number.
    pub id: u32,
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// How many domains it has.
    pub domains: u32,
    /// Its CPUs.
    pub cpus: Vec<u32>,
}

/// What concerns all domains of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolSchedulerParameters {
    /// The credit scheduler.
    Credit {
        /// Time slice, milliseconds.
        tslice_ms: u32,
        /// Least time that a vCPU runs, microseconds.
        ratelimit_us: u32,
        /// How long a vCPU counts as cache-hot, microseconds.
        migration_delay_us: u32,
    },
    /// The credit2 scheduler.
    Credit2 {
        /// Least time that a vCPU runs, microseconds.
        ratelimit_us: u32,
    },
}

impl Xen {
    /// Every CPU pool, by ascending number.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn cpupools(&self) -> Result<Vec<CpuPool>> {
        let mut pools = Vec::new();
        let mut next = Some(0);
        while let Some(id) = next {
            let Some(pool) = self.next_cpupool(id)? else { break };
            next = if pool.id >= id { pool.id.checked_add(1) } else { None };
            pools.push(pool);
        }
        Ok(pools)
    }

    /// The pool `id`, or the next one that exists.
    fn next_cpupool(&self, id: u32) -> Result<Option<CpuPool>> {
        let mut map = self.pool().zeroed(self.cpu_map_bytes()?)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, Raw {
            op: XEN_SYSCTL_CPUPOOL_OP_INFO,
            cpupool_id: id,
            cpumap.bitmap: map.address(),
            cpumap.nr_bits: bitmap::bits(map.bytes()),
        });
        // SAFETY: Xen writes at most nr_bits bits at `bitmap`, the size of `map`.
        match unsafe { self.sysctl(OPERATION, XEN_SYSCTL_cpupool_op, &mut payload) } {
            Ok(()) => Ok(Some(CpuPool {
                id: get!(payload, Raw, cpupool_id),
                scheduler: Scheduler::from_id(get!(payload, Raw, sched_id)),
                domains: get!(payload, Raw, n_dom),
                cpus: bitmap::decode(map.bytes()),
            })),
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// CPUs that belong to no pool.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn free_cpus(&self) -> Result<Vec<u32>> {
        let mut map = self.pool().zeroed(self.cpu_map_bytes()?)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, Raw {
            op: XEN_SYSCTL_CPUPOOL_OP_FREEINFO,
            cpumap.bitmap: map.address(),
            cpumap.nr_bits: bitmap::bits(map.bytes()),
        });
        // SAFETY: Xen writes at most nr_bits bits at `bitmap`, the size of `map`.
        unsafe { self.sysctl(OPERATION, XEN_SYSCTL_cpupool_op, &mut payload) }?;
        Ok(bitmap::decode(map.bytes()))
    }

    /// Makes an empty pool and returns its number.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn cpupool_create(&self, scheduler: Scheduler) -> Result<u32> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            Raw {
                op: XEN_SYSCTL_CPUPOOL_OP_CREATE,
                cpupool_id: XEN_SYSCTL_CPUPOOL_PAR_ANY,
                sched_id: scheduler.id(),
            }
        );
        self.cpupool_call(&mut payload)?;
        Ok(get!(payload, Raw, cpupool_id))
    }

    /// Removes a pool without domains.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EBUSY when it has domains.
    pub fn cpupool_destroy(&self, pool: u32) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, Raw { op: XEN_SYSCTL_CPUPOOL_OP_DESTROY, cpupool_id: pool });
        self.cpupool_call(&mut payload)
    }

    /// Adds a free CPU to a pool.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ENODEV when the CPU is not free.
    pub fn cpupool_add_cpu(&self, pool: u32, cpu: u32) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, Raw { op: XEN_SYSCTL_CPUPOOL_OP_ADDCPU, cpupool_id: pool, cpu: cpu });
        self.cpupool_call(&mut payload)
    }

    /// Takes a CPU out of a pool.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EAGAIN when the CPU is in use just now: ask again with the same
    /// arguments; EBUSY for the last CPU of a pool with domains.
    pub fn cpupool_remove_cpu(&self, pool: u32, cpu: u32) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, Raw { op: XEN_SYSCTL_CPUPOOL_OP_RMCPU, cpupool_id: pool, cpu: cpu });
        self.cpupool_call(&mut payload)
    }

    /// Moves a domain to a pool.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn cpupool_move_domain(&self, pool: u32, domid: Domid) -> Result<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            Raw {
                op: XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN,
                cpupool_id: pool,
                domid: u32::from(domid.0),
            }
        );
        self.cpupool_call(&mut payload)
    }

    /// A pool operation without a CPU map.
    fn cpupool_call(&self, payload: &mut Payload) -> Result<()> {
        // SAFETY: the operations that come here do not use the map: no address in the payload.
        unsafe { self.sysctl(OPERATION, XEN_SYSCTL_cpupool_op, payload) }
    }

    /// What concerns all domains of a pool with `scheduler`.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; [`Error::Invalid`] for a scheduler without such parameters.
    pub fn pool_scheduler_parameters(
        &self,
        pool: u32,
        scheduler: Scheduler,
    ) -> Result<PoolSchedulerParameters> {
        let operation = "XEN_SYSCTL_scheduler_op";
        const UNION: usize = std::mem::offset_of!(xen_sysctl_scheduler_op, u);
        if !matches!(scheduler, Scheduler::Credit | Scheduler::Credit2) {
            return Err(Error::Invalid { operation, what: "no parameters per pool" });
        }
        let mut payload = [0; PAYLOAD_BYTES];
        put!(
            payload,
            xen_sysctl_scheduler_op {
                cpupool_id: pool,
                sched_id: scheduler.id(),
                cmd: XEN_SYSCTL_SCHEDOP_getinfo,
            }
        );
        // SAFETY: for these two schedulers the argument carries no address.
        unsafe { self.sysctl(operation, XEN_SYSCTL_scheduler_op, &mut payload) }?;
        let bytes = &payload[UNION..];
        Ok(if scheduler == Scheduler::Credit {
            PoolSchedulerParameters::Credit {
                tslice_ms: get!(bytes, xen_sysctl_credit_schedule, tslice_ms),
                ratelimit_us: get!(bytes, xen_sysctl_credit_schedule, ratelimit_us),
                migration_delay_us: get!(bytes, xen_sysctl_credit_schedule, vcpu_migr_delay_us),
            }
        } else {
            PoolSchedulerParameters::Credit2 {
                ratelimit_us: get!(bytes, xen_sysctl_credit2_schedule, ratelimit_us),
            }
        })
    }

    /// Sets what concerns all domains of a pool.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL when the pool has another scheduler.
    pub fn set_pool_scheduler_parameters(
        &self,
        pool: u32,
        parameters: PoolSchedulerParameters,
    ) -> Result<()> {
        const UNION: usize = std::mem::offset_of!(xen_sysctl_scheduler_op, u);
        let mut payload = [0; PAYLOAD_BYTES];
        let scheduler = match parameters {
            PoolSchedulerParameters::Credit { tslice_ms, ratelimit_us, migration_delay_us } => {
                put!(
                    payload[UNION..],
                    xen_sysctl_credit_schedule {
                        tslice_ms: tslice_ms,
                        ratelimit_us: ratelimit_us,
                        vcpu_migr_delay_us: migration_delay_us,
                    }
                );
                Scheduler::Credit
            }
            PoolSchedulerParameters::Credit2 { ratelimit_us } => {
                put!(payload[UNION..], xen_sysctl_credit2_schedule { ratelimit_us: ratelimit_us });
                Scheduler::Credit2
            }
        };
        put!(
            payload,
            xen_sysctl_scheduler_op {
                cpupool_id: pool,
                sched_id: scheduler.id(),
                cmd: XEN_SYSCTL_SCHEDOP_putinfo,
            }
        );
        // SAFETY: for these two schedulers the argument carries no address.
        unsafe { self.sysctl("XEN_SYSCTL_scheduler_op", XEN_SYSCTL_scheduler_op, &mut payload) }
    }
}
