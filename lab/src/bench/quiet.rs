//! Waits until dom0 and the hypervisor have nothing left to do from what was before.
//!
//! Xen scrubs freed memory when it is idle, hands out clean memory first, and scrubs dirty memory
//! while a domain is being created where no clean memory is left: whoever ran before would decide
//! what the next sample costs. The hypervisor announces nothing when it is done; it answers the
//! debug key `H`, so this asks, a bounded number of times, with idle time between.

use crate::dom0::init;
use std::io;
use std::time::Duration;

/// Idle time before each question. xenstored, xenconsoled and a leaving `xl` end within it what a
/// destroyed domain gave them to do, which none of them reports; on a machine that counts
/// instructions idle time passes at once.
pub const PAUSE: Duration = Duration::from_millis(200);

/// Most questions: 20 s of idle time scrub far more memory than the machine has.
const QUESTIONS: u32 = 100;

/// Where the C tools stand.
const XL: &str = "/xen/bin/xl";

/// Returns when all free memory is scrubbed.
///
/// # Errors
/// When it is not after a long time, or Xen does not answer.
pub fn wait() -> io::Result<()> {
    let mut left = 0;
    for _ in 0..QUESTIONS {
        std::thread::sleep(PAUSE);
        left = unscrubbed_pages(&heap()?)
            .ok_or_else(|| io::Error::other("Xen did not answer the debug key H"))?;
        if left == 0 {
            return Ok(());
        }
    }
    Err(io::Error::other(format!("{left} free pages are still not scrubbed")))
}

/// Xen's description of its free memory.
fn heap() -> io::Result<String> {
    xl(&["dmesg", "-c"])?;
    xl(&["debug-keys", "H"])?;
    xl(&["dmesg"])
}

fn xl(args: &[&str]) -> io::Result<String> {
    let out = init::command(XL).args(args).output()?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(io::Error::other(format!("xl {}: {}", args.join(" "), said.trim())))
}

/// Pages that are free and not scrubbed, from Xen's answer to the debug key `H`; Xen names only
/// nodes that have some. `None` when there is no answer in the text.
fn unscrubbed_pages(log: &str) -> Option<u64> {
    let (_, answer) = log.rsplit_once("'H' pressed")?;
    answer.contains("heap[node=").then(|| {
        let count = |line: &str| -> Option<u64> {
            let (_, rest) = line.split_once("Node ")?;
            let (_, rest) = rest.split_once(" has ")?;
            rest.strip_suffix(" unscrubbed pages")?.parse().ok()
        };
        answer.lines().map(str::trim_end).filter_map(count).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "(XEN) 'H' pressed -> dumping heap info (now = 9351028750)\n\
        (XEN) heap[node=0][zone=0] -> 0 pages\n\
        (XEN) heap[node=0][zone=23] -> 262144 pages\n";

    #[test]
    fn only_the_last_answer_counts() {
        let dirty = format!("{CLEAN}(XEN) Node 0 has 65536 unscrubbed pages\r\n");
        let two = format!("{dirty}(XEN) Node 1 has 4 unscrubbed pages\n");
        for (log, pages) in [
            (CLEAN.to_owned(), Some(0)),
            (dirty.clone(), Some(65536)),
            (two, Some(65540)),
            (format!("{dirty}{CLEAN}"), Some(0)),
            (format!("{CLEAN}(XEN) 'H' pressed -> dumping"), None),
            ("(XEN) something else\n".to_owned(), None),
        ] {
            assert_eq!(unscrubbed_pages(&log), pages, "{log}");
        }
    }
}
