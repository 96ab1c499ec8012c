//! Reads the console log of Xen and dom0: what must not be there while cases run.

/// Lines of Xen that are expected, with the reason; everything else that Xen prints while cases
/// run (its log level is «warning») is an error.
const EXPECTED: [(&str, &str); 5] = [
    ("'H' pressed", "benchmarks ask for the state of free memory"),
    ("'h' pressed", "a case asks for the list of debug keys"),
    (" (ascii '", "that list"),
    ("Initializing Credit2 scheduler", "said at every new CPU pool"),
    ("Latching HVM", "said once when the first HVM-capable guest starts"),
];

/// Signs of trouble in a kernel's own log.
const KERNEL_TROUBLE: [&str; 12] = [
    "Oops",
    "BUG:",
    "kernel BUG",
    "segfault at",
    "general protection",
    "WARNING: CPU",
    "Call Trace",
    "Out of memory",
    "blocked for more than",
    "Kernel panic",
    "trap invalid opcode",
    "traps: ",
];

/// Signs that Xen, or dom0's kernel, has come to its end.
const CRASH: [&str; 4] =
    ["(XEN) Panic on CPU", "(XEN) Hardware Dom0 crashed", "(XEN) Dom0 crashed", "Kernel panic"];

/// Whether one of the lines tells of the end of Xen or of dom0's kernel.
pub fn has_crash(text: &str) -> bool {
    text.lines().any(|line| CRASH.iter().any(|sign| line.contains(sign)))
}

/// The first and last line of Xen's answer to the debug key `g`.
const GRANTS_BEGIN: &str = "gnttab_usage_print_all [";
/// See [`GRANTS_BEGIN`].
pub const GRANTS_END: &str = "gnttab_usage_print_all ] done";

/// Lines of `text` (a part of the console log) that fail the case in which they appeared.
pub fn trouble(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        inside |= line.contains(GRANTS_BEGIN);
        if !inside && is_trouble(line) {
            found.push(line.trim_end().to_string());
        }
        inside &= !line.contains(GRANTS_END);
    }
    found
}

fn is_trouble(line: &str) -> bool {
    if let Some(text) = line.strip_prefix("(XEN)") {
        return !text.trim().is_empty() && !EXPECTED.iter().any(|(sign, _)| text.contains(sign));
    }
    kernel_trouble(line)
}

/// Whether a line of dom0's kernel log tells of a crash.
pub fn kernel_trouble(line: &str) -> bool {
    KERNEL_TROUBLE.iter().any(|sign| line.contains(sign))
}

/// Grants that are still in use, from the answer to the debug key `g`: only of domains other
/// than dom0 that are gone or dying would there be any, or of dom0's own.
pub fn grants(text: &str) -> Vec<String> {
    let mut owner = "";
    let mut found = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("(XEN) ")) {
        if let Some(of) = line.strip_prefix("grant-table for remote ") {
            owner = of.split_whitespace().next().unwrap_or_default();
        } else if line.starts_with("[0x") {
            found.push(format!("grant of {owner} in use: {}", line.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "(XEN) gnttab_usage_print_all [ key 'g' pressed\n\
        (XEN) [ref] localdom mfn      pin          localdom gmfn     flags\n\
        (XEN) grant-table for remote d1 (v1)\n\
        (XEN) [0x000]      0 0x7861a 0x00000002          0 0x07861a 0x19\n\
        (XEN) gnttab_usage_print_all ] done\n";

    #[test]
    fn grants_in_use_are_found_and_are_no_error_lines() {
        assert_eq!(grants(DUMP).len(), 1);
        assert!(grants(DUMP)[0].starts_with("grant of d1"));
        assert!(trouble(DUMP).is_empty());
    }

    #[test]
    fn a_crash_is_told_from_trouble() {
        for (text, crash) in [
            ("(XEN) mm.c:1234:d1v0 Bad type\n", false),
            ("[ 1.0] Oops: 0000\n", false),
            ("(XEN) ***\n(XEN) Panic on CPU 0:\n(XEN) FATAL TRAP\n", true),
            ("[ 1.0] Kernel panic - not syncing: sysrq\n", true),
            ("(XEN) Hardware Dom0 crashed: 'noreboot' set - not rebooting.\n", true),
        ] {
            assert_eq!(has_crash(text), crash, "{text}");
        }
    }

    #[test]
    fn trouble_is_found() {
        for (text, count) in [
            ("(XEN) mm.c:1234:d1v0 Bad type\n", 1),
            ("(XEN) Panic on CPU 0:\n(XEN) ***\n", 2),
            ("(XEN) \n[ 1.0] all is well\n", 0),
            ("[ 1.0] BUG: unable to handle page fault\n", 1),
            ("[ 1.0] xl[7]: segfault at 0 ip 0\n", 1),
        ] {
            assert_eq!(trouble(text).len(), count, "{text}");
        }
    }
}
