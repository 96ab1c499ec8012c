//! vCPUs of a domain: register context, where they may run, what they do.

use rustix::io::Errno;
use xen_sys::arch_x86::vcpu_guest_context;
use xen_sys::domctl::{
    XEN_DOMCTL_getvcpuaffinity, XEN_DOMCTL_getvcpucontext, XEN_DOMCTL_getvcpuinfo,
    XEN_DOMCTL_setvcpuaffinity, XEN_DOMCTL_setvcpucontext, XEN_VCPUAFFINITY_FORCE,
    XEN_VCPUAFFINITY_HARD, XEN_VCPUAFFINITY_SOFT, xen_domctl_getvcpuinfo, xen_domctl_vcpuaffinity,
    xen_domctl_vcpucontext,
};
use xen_sys::types::Domid;

use super::PAYLOAD_BYTES;
use crate::bitmap;
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::layout::{get, put};
use crate::xen::Xen;

/// What a vCPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuInfo {
    /// It is up.
    pub online: bool,
    /// It waits for an event.
    pub blocked: bool,
    /// It is on a CPU right now.
    pub running: bool,
    /// CPU time that it used, nanoseconds.
    pub cpu_time_ns: u64,
    /// The CPU that it runs or last ran on.
    pub cpu: u32,
}

/// Where a vCPU may run, and where it prefers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// CPUs that it may run on.
    pub hard: Vec<u32>,
    /// CPUs that it prefers.
    pub soft: Vec<u32>,
}

impl Xen {
    /// Loads the registers of a PV vCPU; it comes up when its flags say so.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL for values that Xen refuses.
    pub fn set_vcpu_context(
        &self,
        domid: Domid,
        vcpu: u32,
        context: &vcpu_guest_context,
    ) -> Result<()> {
        let mut buffer = self.pool().zeroed(size_of::<vcpu_guest_context>())?;
        buffer.write_context(context);
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_vcpucontext { vcpu: vcpu, ctxt: buffer.address() });
        let command = XEN_DOMCTL_setvcpucontext;
        // SAFETY: Xen reads a vcpu_guest_context at `ctxt`, the size of `buffer`.
        unsafe { self.domctl("XEN_DOMCTL_setvcpucontext", command, domid, &mut payload) }?;
        Ok(())
    }

    /// The registers of a vCPU.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn vcpu_context(&self, domid: Domid, vcpu: u32) -> Result<Box<vcpu_guest_context>> {
        Ok(self.context_buffer(domid, vcpu)?.read_context())
    }

    /// The same as bytes, in the layout of [`vcpu_guest_context`]; none for a vCPU that was never
    /// given any.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn vcpu_context_bytes(&self, domid: Domid, vcpu: u32) -> Result<Option<Vec<u8>>> {
        match self.context_buffer(domid, vcpu) {
            Ok(buffer) => Ok(Some(buffer.bytes().to_vec())),
            Err(error) if error.errno() == Some(Errno::NODATA) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A buffer that holds a [`vcpu_guest_context`].
    fn context_buffer(&self, domid: Domid, vcpu: u32) -> Result<Buffer<'_>> {
        let mut buffer = self.pool().zeroed(size_of::<vcpu_guest_context>())?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_vcpucontext { vcpu: vcpu, ctxt: buffer.address() });
        let command = XEN_DOMCTL_getvcpucontext;
        // SAFETY: Xen writes a vcpu_guest_context at `ctxt`, the size of `buffer`.
        unsafe { self.domctl("XEN_DOMCTL_getvcpucontext", command, domid, &mut payload) }?;
        Ok(buffer)
    }

    /// What a vCPU does.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; ESRCH or ENOENT when there is no such vCPU.
    pub fn vcpu_info(&self, domid: Domid, vcpu: u32) -> Result<VcpuInfo> {
        type Raw = xen_domctl_getvcpuinfo;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, Raw { vcpu: vcpu });
        // SAFETY: getvcpuinfo carries no address.
        unsafe {
            self.domctl("XEN_DOMCTL_getvcpuinfo", XEN_DOMCTL_getvcpuinfo, domid, &mut payload)
        }?;
        Ok(VcpuInfo {
            online: get!(payload, Raw, online) != 0,
            blocked: get!(payload, Raw, blocked) != 0,
            running: get!(payload, Raw, running) != 0,
            cpu_time_ns: get!(payload, Raw, cpu_time),
            cpu: get!(payload, Raw, cpu),
        })
    }

    /// Sets where a vCPU may run (`hard`) and prefers to (`soft`); none leaves as it is. Returns
    /// what took effect: the intersection with the CPUs of the domain's pool.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL when nothing is left of the set.
    pub fn set_vcpu_affinity(
        &self,
        domid: Domid,
        vcpu: u32,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Result<Affinity> {
        self.change_vcpu_affinity(domid, vcpu, hard, soft, 0)
    }

    /// The same, also where a guest that may (domain 0) has bound the vCPU to one CPU, which ends.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; EINVAL when nothing is left of the set.
    pub fn force_vcpu_affinity(
        &self,
        domid: Domid,
        vcpu: u32,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
    ) -> Result<Affinity> {
        self.change_vcpu_affinity(domid, vcpu, hard, soft, XEN_VCPUAFFINITY_FORCE)
    }

    fn change_vcpu_affinity(
        &self,
        domid: Domid,
        vcpu: u32,
        hard: Option<&[u32]>,
        soft: Option<&[u32]>,
        force: u32,
    ) -> Result<Affinity> {
        let operation = "XEN_DOMCTL_setvcpuaffinity";
        let flag = |set: Option<&[u32]>, flag| if set.is_some() { flag } else { 0 };
        let flags = flag(hard, XEN_VCPUAFFINITY_HARD) | flag(soft, XEN_VCPUAFFINITY_SOFT);
        if flags == 0 {
            return Err(Error::Invalid { operation, what: "neither hard nor soft affinity" });
        }
        let bytes = self.cpu_map_bytes()?;
        let encode = |set: Option<&[u32]>| {
            let mut map = bitmap::encode(operation, set.unwrap_or(&[]))?;
            map.resize(map.len().max(bytes), 0);
            Ok(map)
        };
        self.vcpu_affinity_call(
            operation,
            XEN_DOMCTL_setvcpuaffinity,
            domid,
            vcpu,
            flags | force,
            [encode(hard)?, encode(soft)?],
        )
    }

    /// Where a vCPU may run and prefers to, as it was set.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn vcpu_affinity(&self, domid: Domid, vcpu: u32) -> Result<Affinity> {
        let operation = "XEN_DOMCTL_getvcpuaffinity";
        let bytes = self.cpu_map_bytes()?;
        let flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
        self.vcpu_affinity_call(
            operation,
            XEN_DOMCTL_getvcpuaffinity,
            domid,
            vcpu,
            flags,
            [vec![0; bytes], vec![0; bytes]],
        )
    }

    fn vcpu_affinity_call(
        &self,
        operation: &'static str,
        command: u32,
        domid: Domid,
        vcpu: u32,
        flags: u32,
        [hard, soft]: [Vec<u8>; 2],
    ) -> Result<Affinity> {
        let mut hard = self.pool().holding(&hard)?;
        let mut soft = self.pool().holding(&soft)?;
        let mut payload = [0; PAYLOAD_BYTES];
        put!(payload, xen_domctl_vcpuaffinity {
            vcpu: vcpu,
            flags: flags,
            cpumap_hard.bitmap: hard.address(),
            cpumap_hard.nr_bits: bitmap::bits(hard.bytes()),
            cpumap_soft.bitmap: soft.address(),
            cpumap_soft.nr_bits: bitmap::bits(soft.bytes()),
        });
        // SAFETY: Xen reads and writes at most nr_bits bits of each map, the sizes of the buffers.
        unsafe { self.domctl(operation, command, domid, &mut payload) }?;
        Ok(Affinity { hard: bitmap::decode(hard.bytes()), soft: bitmap::decode(soft.bytes()) })
    }

    /// Bytes of a map that holds every CPU of the host.
    pub(crate) fn cpu_map_bytes(&self) -> Result<usize> {
        Ok((self.highest_cpu()? as usize / 64 + 1) * 8)
    }
}
