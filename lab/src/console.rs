//! Reads the console log of Xen and dom0: what must not be there.

/// Lines of Xen that are expected, with the reason; everything else that Xen prints while cases
/// run (its log level is «warning») is an error.
const EXPECTED: [(&str, &str); 4] = [
    ("'g' pressed", "the lab asks for the grant tables after each case"),
    ("'H' pressed", "benchmarks ask for the state of free memory"),
    ("*** Serial input to", "Xen says who owns the serial line"),
    ("no vcpu for d", "answer to a debug key"),
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

/// Lines of `text` (a part of the console log) that fail the case in which they appeared.
pub fn trouble(text: &str) -> Vec<String> {
    let grants = grant_dump(text);
    text.lines()
        .enumerate()
        .filter(|(at, line)| !grants.contains(at) && is_trouble(line))
        .map(|(_, line)| line.trim_end().to_string())
        .collect()
}

fn is_trouble(line: &str) -> bool {
    if let Some(text) = line.strip_prefix("(XEN) ") {
        return !text.trim().is_empty() && !EXPECTED.iter().any(|(sign, _)| text.contains(sign));
    }
    kernel_trouble(line)
}

/// Whether a line of dom0's kernel log tells of a crash.
pub fn kernel_trouble(line: &str) -> bool {
    KERNEL_TROUBLE.iter().any(|sign| line.contains(sign))
}

/// The line numbers of answers to the debug key `g`.
fn grant_dump(text: &str) -> std::ops::Range<usize> {
    let position = |sign: &str| text.lines().position(|line| line.contains(sign));
    match (position("gnttab_usage_print_all ["), last(text, "gnttab_usage_print_all ]")) {
        (Some(from), Some(to)) => from..to + 1,
        _ => 0..0,
    }
}

fn last(text: &str, sign: &str) -> Option<usize> {
    text.lines().enumerate().filter(|(_, line)| line.contains(sign)).map(|(at, _)| at).last()
}

/// Grants that are still mapped, from the answer to the debug key `g`.
pub fn mapped_grants(text: &str) -> Vec<String> {
    let range = grant_dump(text);
    let lines: Vec<&str> = text.lines().collect();
    lines[range]
        .iter()
        .map(|line| line.trim_start_matches("(XEN)").trim())
        .filter(|line| line.starts_with('[') || line.starts_with("mapped"))
        .map(String::from)
        .collect()
}
