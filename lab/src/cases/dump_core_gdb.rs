//! gdb opens a core of a guest, and prints its registers and its memory by the names of its kernel's
//! symbols.

use crate::case::{Case, Group};
use crate::dom0::dump;
use crate::dom0::host::{Stop, Verdict, argv, await_text, config, console, domid, run};
use crate::{ensure, fail};
use std::collections::BTreeMap;

/// The cases of this topic.
pub const CASES: &[Case] =
    &[Case { ci: false, debugger: true, ..Case::new("dump-core/gdb", Group::Toolstack, gdb) }];

const KERNEL: &str = "/guest/xtf/idle";
const CORE: &str = "/tmp/debugged.core";

/// What both gdb and xenctx print.
const REGISTERS: [&str; 17] = [
    "rip", "rsp", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12",
    "r13", "r14", "r15",
];

/// What gdb prints for these commands, with the kernel's symbols.
fn asked(commands: &[&str]) -> Result<String, Stop> {
    let mut words = vec!["/bin/gdb", "-nx", "-batch"];
    words.extend(commands.iter().flat_map(|command| ["-ex", *command]));
    words.extend([KERNEL, CORE]);
    Ok(argv(&words)?.success()?.out)
}

/// Registers as xenctx prints them, with a colon behind each name, several in a line.
fn of_xenctx(text: &str) -> BTreeMap<&str, u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let pairs = words.windows(2).filter_map(|pair| {
        let name = pair[0].strip_suffix(':')?;
        Some((name, u64::from_str_radix(pair[1], 16).ok()?))
    });
    pairs.collect()
}

/// Registers as gdb prints them, one in a line.
fn of_gdb(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, value) = (words.next()?, words.next()?.strip_prefix("0x")?);
        Some((name, u64::from_str_radix(value, 16).ok()?))
    });
    lines.collect()
}

/// The bytes of gdb's `x/NxB`, without addresses.
fn bytes(text: &str) -> Vec<u8> {
    let cells = text.lines().filter_map(|line| line.split_once(":\t")).flat_map(|(_, cells)| {
        cells
            .split_whitespace()
            .filter_map(|cell| u8::from_str_radix(cell.strip_prefix("0x")?, 16).ok())
    });
    cells.collect()
}

fn gdb() -> Verdict {
    let before = dump::take()?;
    let path = config(
        "debugged",
        &format!(
            "name = \"debugged\"\ntype = \"pv\"\nkernel = \"{KERNEL}\"\nmemory = 8\nvcpus = 1\n"
        ),
    )?;
    let mut log = console("debugged")?;
    run(&format!("/bin/xlr create -q {path}"))?.success()?;
    await_text(&mut log, "xtf: idle", 30)?;
    run("/bin/xlr pause debugged")?.success()?;
    run(&format!("/bin/xlr dump-core debugged {CORE}"))?.success()?;
    let Some(id) = domid("debugged")? else { fail!("there is no debugged") };

    let hypervisors = argv(&["/xen/bin/xenctx", &id.to_string(), "0"])?.success()?.out;
    let hypervisors = of_xenctx(&hypervisors);
    let said = asked(&[&format!("info registers {}", REGISTERS.join(" "))])?;
    let ours = of_gdb(&said);
    for name in REGISTERS {
        let (found, wanted) = (ours.get(name), hypervisors.get(name));
        ensure!(found.is_some() && found == wanted, "{name}: gdb {found:x?}, xenctx {wanted:x?}");
    }

    // It waits for the store, on its stack.
    let said = asked(&["info symbol $rip", "info symbol $rsp", "info threads"])?;
    ensure!(
        said.contains("xtf::store::Ring::wait") && said.contains(" in section .text"),
        "{said}"
    );
    ensure!(said.contains("xtf_stack + ") && said.matches("LWP 1 ").count() == 1, "{said}");

    // The hypervisor filled this page, which is empty in the kernel's file: push %rcx; push %r11;
    // mov $0,%eax; syscall; pop %r11; pop %rcx; ret.
    let said = asked(&["x/14xb &hypercall_page"])?;
    let entry = [0x51, 0x41, 0x53, 0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3];
    ensure!(bytes(&said) == entry, "the hypercall page is {said}");

    std::fs::remove_file(CORE)?;
    run("/bin/xlr destroy debugged")?.success()?;
    dump::unchanged(&before, "gdb on a core")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_and_bytes_are_read_from_what_is_printed() {
        let xenctx =
            "rip: ffffffff801033aa <x> \nflags: 00000246 i z p\nrax: 0000000000000001\trcx: 02\n";
        let found = of_xenctx(xenctx);
        assert_eq!((found["rip"], found["rax"], found["rcx"]), (0xffff_ffff_8010_33aa, 1, 2));
        let gdb =
            "rip            0xffffffff801033aa  0xffffffff801033aa <a+1>\nrax            0x1  1\n";
        let found = of_gdb(gdb);
        assert_eq!((found["rip"], found["rax"]), (0xffff_ffff_8010_33aa, 1));
        let memory = "0x1000 <hypercall_page>:\t0x51\t0x41\n0x1008 <hypercall_page+8>:\t0x0f\n";
        assert_eq!(bytes(memory), [0x51, 0x41, 0x0f]);
    }
}
