//! One emulator process: its command line and its end.
//!
//! QEMU comes from Debian's backports, unpacked, and runs under its own loader with its own
//! libraries. It is started through `lab warden`, which asks the kernel to kill it when the lab
//! goes away, however that happens.

use crate::error::{Context as _, Error, Result};
use crate::slot::Slot;
use crate::xenstored::Xenstored;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The running lab itself, also after a newer build has taken its place.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// How the emulated machine measures time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clock {
    /// As the host's clock goes.
    Wall,
    /// One nanosecond per instruction: repeated runs agree whatever else the host does.
    Instructions,
}

/// The shape of a machine: cases that want the same shape share a boot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// Xen's version, as in the names of its packages.
    pub xen: String,
    /// Memory of the whole machine.
    pub memory_mib: u32,
    /// Memory of dom0.
    pub dom0_memory_mib: u32,
    /// The clock.
    pub clock: Clock,
    /// NUMA nodes, each with one CPU and an equal share of the memory.
    pub numa_nodes: u32,
    /// What Xen's command line has beside the lab's own.
    pub xen_options: String,
    /// An AMD IOMMU, and network cards to be passed through.
    pub passthrough: bool,
    /// What InfiniBand needs in dom0 and in guests.
    pub rdma: bool,
    /// gdb in dom0.
    pub debugger: bool,
    /// Who serves the store.
    pub xenstored: Xenstored,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine {
            xen: "4.17".into(),
            memory_mib: 2048,
            dom0_memory_mib: 512,
            clock: Clock::Wall,
            numa_nodes: 1,
            xen_options: String::new(),
            passthrough: false,
            rdma: false,
            debugger: false,
            xenstored: Xenstored::C,
        }
    }
}

impl Machine {
    /// A short name for logs and tables.
    pub fn name(&self) -> String {
        let clock = match self.clock {
            Clock::Wall => "",
            Clock::Instructions => ", instruction clock",
        };
        let nodes = match self.numa_nodes {
            1 => String::new(),
            more => format!(", {more} NUMA nodes"),
        };
        let options = match &self.xen_options[..] {
            "" => String::new(),
            some => format!(", {some}"),
        };
        let cards = if self.passthrough { ", network cards behind an IOMMU" } else { "" };
        let rdma = if self.rdma { ", InfiniBand" } else { "" };
        let gdb = if self.debugger { ", gdb" } else { "" };
        let store = match self.xenstored {
            Xenstored::C => String::new(),
            other => format!(", xenstored {other}"),
        };
        format!(
            "Xen {}, {} MiB{nodes}{cards}{rdma}{gdb}{store}{options}{clock}",
            self.xen, self.memory_mib
        )
    }

    /// Xen's command line. `spec-ctrl=eager-fpu`: under emulation lazy FPU switching corrupts
    /// registers of dom0 and guests.
    fn xen_arguments(&self) -> String {
        // A second vcpu of dom0 only costs time.
        let vcpus = if self.numa_nodes > 1 { " dom0_max_vcpus=1" } else { "" };
        format!(
            "console=com1 com1=115200,8n1 dom0_mem={0}M,max:{0}M loglvl=warning \
             guest_loglvl=warning reboot=acpi bootscrub=0 spec-ctrl=eager-fpu{vcpus} {1}",
            self.dom0_memory_mib, self.xen_options
        )
    }

    /// The CPU, without what emulation cannot do or measures wrongly.
    ///
    /// With SMAP or SMEP a PV dom0 dies of an early page fault under emulation. QEMU 10 reads the
    /// clock in x2APIC register accesses without ending its block first, and gives up with "Bad icount
    /// read".
    ///
    /// ERMS and FSRM promise that `rep movsb` and `rep stosb` are the fastest way to copy and to clear,
    /// and kernel and libc believe them. Hardware moves 32 or 64 bytes a cycle by them; the emulator
    /// moves one byte at a time and counts an instruction for each, eight times as many as `rep movsq`
    /// would be. Instructions would then tell how a copy is written, not how long it is. Without the
    /// two bits everybody, xl and xlr alike, moves words or vectors.
    fn cpu(&self) -> &'static str {
        match self.clock {
            Clock::Instructions => "max,-smap,-smep,-x2apic,-erms,-fsrm",
            Clock::Wall => "max,-smap,-smep,-erms,-fsrm",
        }
    }

    fn kernel_arguments(&self) -> String {
        let more = if self.clock == Clock::Instructions { " norandmaps" } else { "" };
        let store = self.xenstored.argument();
        format!(
            "console=hvc0 earlyprintk=xen loglevel=4 panic=1 rodata=off mitigations=off nokaslr \
             {store}{more}"
        )
    }

    fn qemu_arguments(&self, root: &Path, socket: &Path) -> Vec<String> {
        let thread = if self.clock == Clock::Instructions { "single" } else { "multi" };
        let share = root.join("usr/share");
        let mut args: Vec<String> = vec![
            "-L".into(),
            share.join("qemu").display().to_string(),
            "-L".into(),
            share.join("seabios").display().to_string(),
            "-machine".into(),
            "q35".into(),
            "-accel".into(),
            format!("tcg,thread={thread}"),
            "-cpu".into(),
            self.cpu().into(),
            "-smp".into(),
            self.numa_nodes.to_string(),
            "-m".into(),
            self.memory_mib.to_string(),
            "-kernel".into(),
            "xen".into(),
            "-append".into(),
            self.xen_arguments(),
            "-initrd".into(),
            format!("vmlinux {},initramfs", self.kernel_arguments().replace(',', ",,")),
            "-chardev".into(),
            "file,id=console,path=console.log".into(),
            "-serial".into(),
            "chardev:console".into(),
            "-chardev".into(),
            format!("socket,id=agent,path={}", socket.display()),
            "-device".into(),
            "virtio-serial-pci".into(),
            "-device".into(),
            "virtserialport,chardev=agent,name=lab".into(),
        ];
        let fixed =
            ["-net", "none", "-display", "none", "-vga", "none", "-monitor", "none", "-no-reboot"];
        args.extend(fixed.map(String::from));
        args.extend(self.numa_arguments());
        if self.passthrough {
            args.extend(PASSTHROUGH.map(String::from));
        }
        if self.clock == Clock::Instructions {
            let clock = ["-icount", "shift=0,sleep=off", "-seed", "42"];
            args.extend(clock.map(String::from));
            args.extend(["-rtc", "base=2026-01-01,clock=vm"].map(String::from));
        }
        args
    }

    fn numa_arguments(&self) -> Vec<String> {
        if self.numa_nodes < 2 {
            return Vec::new();
        }
        let share_mib = self.memory_mib / self.numa_nodes;
        let node = |n: u32| {
            [
                "-object".into(),
                format!("memory-backend-ram,id=node{n},size={share_mib}M"),
                "-numa".into(),
                format!("node,nodeid={n},memdev=node{n},cpus={n}"),
            ]
        };
        (0..self.numa_nodes).flat_map(node).collect()
    }
}

/// An IOMMU, a plain card at 00:04.0, and at 01:00.0 one with virtual functions, behind a port of its
/// own: only that makes the IOMMU's table cover functions that are not there yet. Both cards reach
/// the emulator's own network, which answers at 10.0.2.2 and goes nowhere.
const PASSTHROUGH: [&str; 12] = [
    "-device",
    "amd-iommu",
    "-netdev",
    "user,id=plain,restrict=on",
    "-device",
    "e1000e,netdev=plain,addr=4,mac=52:54:00:00:00:04,romfile=",
    "-device",
    "pcie-root-port,id=rp,chassis=1,addr=5",
    "-netdev",
    "user,id=virtual,restrict=on",
    "-device",
    "igb,netdev=virtual,bus=rp,mac=52:54:00:00:01:00,romfile=",
];

/// A running emulator. Dropping it kills it.
pub struct Qemu {
    child: Child,
    _slot: Slot,
}

impl Qemu {
    /// Starts `machine` in `dir`, which holds `xen`, `vmlinux` and `initramfs`. Must be called
    /// from a thread that lives as long as the emulator shall.
    pub fn start(
        slot: Slot,
        machine: &Machine,
        root: &Path,
        dir: &Path,
        socket: &Path,
    ) -> Result<Qemu> {
        let log = dir.join("qemu.log");
        let output = std::fs::File::create(&log).on("create", &log)?;
        let errors = output.try_clone().on("open", &log)?;
        let mut command = Command::new(OWN_PROGRAM);
        command.arg("warden").arg(std::process::id().to_string());
        command.args(loader(root)?).args(machine.qemu_arguments(root, socket));
        command.env("QEMU_MODULE_DIR", root.join("usr/lib/x86_64-linux-gnu/qemu"));
        command.stdin(Stdio::null()).stdout(output).stderr(errors).current_dir(dir);
        let child = command
            .spawn()
            .map_err(|source| Error::Start { program: OWN_PROGRAM.into(), source })?;
        Ok(Qemu { child, _slot: slot })
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Waits for its end; kills it after `limit`. Returns whether it ended by itself.
    pub fn wait(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < limit {
            if self.ended().is_some() {
                return true;
            }
            // No wait with a time limit for a child process in std.
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        false
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The words that start the unpacked QEMU under its own loader and libraries.
fn loader(root: &Path) -> Result<Vec<PathBuf>> {
    let found = |names: &[&str]| {
        names.iter().map(|name| root.join(name)).find(|path| path.exists()).ok_or_else(|| {
            Error::Missing(format!("{} lacks {}", root.display(), names.join(" or ")))
        })
    };
    let ld = found(&["lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"])?;
    let ld = std::fs::canonicalize(&ld).unwrap_or(ld);
    let mut libraries = root.join("lib/x86_64-linux-gnu").into_os_string();
    libraries.push(":");
    libraries.push(root.join("usr/lib/x86_64-linux-gnu"));
    let qemu = found(&["usr/bin/qemu-system-x86_64"])?;
    Ok(vec![ld, "--library-path".into(), libraries.into(), qemu])
}

/// `lab warden PARENT PROGRAM ARGS…`: becomes PROGRAM, to be killed when PARENT ends.
pub fn warden(args: &[String]) -> Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    use std::os::unix::process::CommandExt as _;
    let [parent, program, rest @ ..] = args else {
        return Err(Error::Missing("warden: PARENT PROGRAM ARGS".into()));
    };
    set_parent_process_death_signal(Some(Signal::KILL)).on("guard", program)?;
    // The parent may have gone before the request was made.
    let now = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if now.as_ref() != Some(parent) {
        return Err(Error::Machine("the lab is gone".into()));
    }
    let source = Command::new(program).args(rest).exec();
    Err(Error::Start { program: program.clone(), source })
}
