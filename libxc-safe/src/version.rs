//! Which hypervisor runs: release, build, features. Open to every domain, not versioned.

use rustix::io::Errno;
use xen_sys::version::{
    XENVER_build_id, XENVER_capabilities, XENVER_changeset, XENVER_commandline,
    XENVER_compile_info, XENVER_extraversion, XENVER_get_features, XENVER_pagesize,
    XENVER_platform_parameters, XENVER_version, xen_build_id, xen_capabilities_info_t,
    xen_changeset_info_t, xen_commandline_t, xen_compile_info, xen_extraversion_t,
    xen_feature_info, xen_platform_parameters,
};
use xen_sys::xen::__HYPERVISOR_xen_version;

use crate::error::{Error, Result};
use crate::layout::{Field, get, put};
use crate::xen::Xen;

/// The hypervisor's version and how it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XenVersion {
    /// 4 for a long time.
    pub major: u16,
    /// The release.
    pub minor: u16,
    /// What follows it, as `.6` or `-rc1`.
    pub extra: String,
    /// The commit it was built from, if its builder recorded it.
    pub changeset: String,
    /// The guest kinds that it runs, as `xen-3.0-x86_64`.
    pub capabilities: Vec<String>,
    /// The compiler.
    pub compiler: String,
    /// Who built it.
    pub compiled_by: String,
    /// Where.
    pub compile_domain: String,
    /// When.
    pub compile_date: String,
    /// Its command line.
    pub command_line: String,
    /// The linker's build id, empty where it has none.
    pub build_id: Vec<u8>,
    /// Bytes per page.
    pub page_bytes: u32,
    /// First virtual address that belongs to the hypervisor.
    pub virt_start: u64,
}

impl std::fmt::Display for XenVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}{}", self.major, self.minor, self.extra)
    }
}

/// The text before the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Xen {
    /// Asks for something that needs no buffer.
    fn version_number(&self, operation: &'static str, command: u64) -> Result<u32> {
        // SAFETY: the callers' commands take no argument.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_xen_version, [command, 0, 0, 0, 0]) }
            .map_err(|errno| Error::hypercall(operation, None, errno))
    }

    /// Asks for something of fixed size, `bytes` long at most; `request` is where Xen starts from.
    fn version_bytes(
        &self,
        operation: &'static str,
        command: u64,
        request: &[u8],
    ) -> Result<Vec<u8>> {
        let mut buffer = self.pool().holding(request)?;
        let arguments = [command, buffer.address(), 0, 0, 0];
        // SAFETY: the callers give a request of the size that Xen reads and writes for `command`.
        unsafe { self.privcmd().hypercall(__HYPERVISOR_xen_version, arguments) }
            .map_err(|errno| Error::hypercall(operation, None, errno))?;
        Ok(buffer.bytes().to_vec())
    }

    /// Major and minor, with which everything else starts.
    pub(crate) fn read_release(&self) -> Result<(u16, u16)> {
        let version = self.version_number("XENVER_version", XENVER_version)?;
        let [minor_low, minor_high, major_low, major_high] = version.to_le_bytes();
        Ok((
            u16::from_le_bytes([major_low, major_high]),
            u16::from_le_bytes([minor_low, minor_high]),
        ))
    }

    /// The hypervisor's version and how it was built.
    ///
    /// # Errors
    /// [`Error::Hypercall`]; under XSM single parts can be refused.
    pub fn version(&self) -> Result<XenVersion> {
        type Compile = xen_compile_info;
        let (major, minor) = self.release();
        let get_text = |operation, command, size| {
            Ok::<_, Error>(text(&self.version_bytes(operation, command, &vec![0; size])?))
        };
        let compile = self.version_bytes(
            "XENVER_compile_info",
            XENVER_compile_info,
            &[0; size_of::<Compile>()],
        )?;
        let capabilities = get_text(
            "XENVER_capabilities",
            XENVER_capabilities,
            size_of::<xen_capabilities_info_t>(),
        )?;
        Ok(XenVersion {
            major,
            minor,
            extra: get_text(
                "XENVER_extraversion",
                XENVER_extraversion,
                size_of::<xen_extraversion_t>(),
            )?,
            changeset: get_text(
                "XENVER_changeset",
                XENVER_changeset,
                size_of::<xen_changeset_info_t>(),
            )?,
            capabilities: capabilities.split_whitespace().map(str::to_owned).collect(),
            compiler: text(&get!(compile, Compile, compiler)),
            compiled_by: text(&get!(compile, Compile, compile_by)),
            compile_domain: text(&get!(compile, Compile, compile_domain)),
            compile_date: text(&get!(compile, Compile, compile_date)),
            command_line: get_text(
                "XENVER_commandline",
                XENVER_commandline,
                size_of::<xen_commandline_t>(),
            )?,
            build_id: self.build_id()?,
            page_bytes: self.version_number("XENVER_pagesize", XENVER_pagesize)?,
            virt_start: u64::get(&self.version_bytes(
                "XENVER_platform_parameters",
                XENVER_platform_parameters,
                &[0; size_of::<xen_platform_parameters>()],
            )?),
        })
    }

    /// What a core's note tells of the hypervisor behind its release, as it answers: extraversion,
    /// compile_info, capabilities, changeset, platform_parameters and the page size in 8 bytes.
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn version_record(&self) -> Result<Vec<u8>> {
        let mut record = Vec::new();
        for (operation, command, size) in [
            ("XENVER_extraversion", XENVER_extraversion, size_of::<xen_extraversion_t>()),
            ("XENVER_compile_info", XENVER_compile_info, size_of::<xen_compile_info>()),
            ("XENVER_capabilities", XENVER_capabilities, size_of::<xen_capabilities_info_t>()),
            ("XENVER_changeset", XENVER_changeset, size_of::<xen_changeset_info_t>()),
            (
                "XENVER_platform_parameters",
                XENVER_platform_parameters,
                size_of::<xen_platform_parameters>(),
            ),
        ] {
            record.extend(self.version_bytes(operation, command, &vec![0; size])?);
        }
        let page_bytes = self.version_number("XENVER_pagesize", XENVER_pagesize)?;
        record.extend(u64::from(page_bytes).to_le_bytes());
        Ok(record)
    }

    /// The linker's build id; empty where the hypervisor has none.
    fn build_id(&self) -> Result<Vec<u8>> {
        const HEAD: usize = size_of::<xen_build_id>();
        const ROOM: u32 = 1020;
        let operation = "XENVER_build_id";
        let mut request = vec![0; HEAD + ROOM as usize];
        put!(request, xen_build_id { len: ROOM });
        let mut buffer = self.pool().holding(&request)?;
        let arguments = [XENVER_build_id, buffer.address(), 0, 0, 0];
        // SAFETY: Xen reads the head and writes at most `len` bytes after it, the buffer's size.
        match unsafe { self.privcmd().hypercall(__HYPERVISOR_xen_version, arguments) } {
            Ok(written) => {
                let bytes = &buffer.bytes()[HEAD..];
                Ok(bytes.get(..written as usize).unwrap_or(bytes).to_vec())
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Vec::new()),
            Err(errno) => Err(Error::hypercall(operation, None, errno)),
        }
    }

    /// One word of the features that the hypervisor offers to this domain (`XENFEAT_*`; word n
    /// holds features 32 n to 32 n + 31).
    ///
    /// # Errors
    /// [`Error::Hypercall`].
    pub fn features(&self, word: u32) -> Result<u32> {
        let mut request = [0; size_of::<xen_feature_info>()];
        put!(request, xen_feature_info { submap_idx: word });
        let answer = self.version_bytes("XENVER_get_features", XENVER_get_features, &request)?;
        Ok(get!(answer, xen_feature_info, submap))
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn texts_end_at_nul() {
        assert_eq!(text(b".7\0\0x"), ".7");
        assert_eq!(text(b""), "");
        assert_eq!(text(b"full"), "full");
        assert_eq!(text(b"\xFFa\0"), "\u{FFFD}a");
    }
}
