//! A guest that does what a case tells it: lines for its shell go to its console, what they print comes
//! back, with the code that the last command ended with.
//!
//! ```no_run
//! let mut guest = Guest::create("g", "disk = [\"/tmp/d.img,raw,xvda,rw\"]\n")?;
//! guest.sh("mount /dev/xvda /mnt && echo hello >/mnt/f && umount /mnt")?;   // fails unless 0
//! let (code, text) = guest.try_sh("cat /sys/block/xvda/size")?;             // whatever it ended with
//! guest.begin("dd if=/dev/xvda of=/dev/null")?;  …  let (code, text) = guest.end()?;
//! guest.destroy()?;
//! ```
//!
//! It is the small guest (`configs/guest`) with `xlr.after=serve`, on the small kernel where there is
//! one. Lines go to the terminal that xenconsoled names in xenstore, answers are read from its log, so
//! that nothing is lost while nobody looks. A case that wants another kernel, or xl, writes the
//! configuration itself, with [`EXTRA`] in its command line, and then calls [`Guest::attach`].

use crate::dom0::follow::Follow;
use crate::dom0::host::{Stop, Verdict, argv, await_node, await_text, config, console, domid, run};
use crate::{ensure, fail};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// What the command line of such a guest has.
pub const EXTRA: &str = "console=hvc0 xlr.after=serve";

/// What a line that was carried out ends with.
const DONE: &str = "xlr-guest: done ";

/// Limit of a start, and of a line; the emulator is slow.
const LIMIT_SECONDS: u64 = 90;

/// A guest that serves.
pub struct Guest {
    /// Its name.
    pub name: String,
    /// Its domid.
    pub domid: u32,
    console: Follow,
    terminal: File,
    /// How much of what it printed was given back already.
    read: usize,
}

/// The configuration of such a guest, 96 MiB and one vcpu; `more` may say otherwise. Returns the file.
pub fn configuration(name: &str, more: &str) -> Result<String, Stop> {
    config(
        name,
        &format!(
            "name = \"{name}\"\ntype = \"pv\"\nkernel = \"/guest/vmlinuz\"\n\
             ramdisk = \"/guest/initramfs.gz\"\nextra = \"{EXTRA}\"\nmemory = 96\nvcpus = 1\n{more}"
        ),
    )
}

impl Guest {
    /// Creates one with xlr, and waits until it serves. `more` is text for its configuration.
    pub fn create(name: &str, more: &str) -> Result<Guest, Stop> {
        let path = configuration(name, more)?;
        let console = console(name)?;
        argv(&["/bin/xlr", "create", &path])?.success()?;
        Guest::attach(name, console)
    }

    /// One that was started in another way; its console was followed ([`console`]) from before that.
    pub fn attach(name: &str, mut console: Follow) -> Result<Guest, Stop> {
        let begun = Instant::now();
        await_text(&mut console, "xlr-guest: serving", LIMIT_SECONDS)?;
        eprintln!("{name} serves after {:.1} s", begun.elapsed().as_secs_f64());
        let Some(domid) = domid(name)? else { fail!("{name} is gone") };
        let terminal = await_node(&format!("/local/domain/{domid}/console/tty"), 20)?;
        let terminal = OpenOptions::new().read(true).write(true).open(terminal)?;
        let read = console.text.len();
        Ok(Guest { name: name.into(), domid, console, terminal, read })
    }

    /// Carries out a line; fails the case unless it ends with 0. Returns what it printed.
    pub fn sh(&mut self, line: &str) -> Result<String, Stop> {
        let (code, text) = self.try_sh(line)?;
        ensure!(code == 0, "«{line}» in {} ended with {code}: {text}", self.name);
        Ok(text)
    }

    /// Carries out a line; returns how it ended, and what it printed.
    pub fn try_sh(&mut self, line: &str) -> Result<(u8, String), Stop> {
        self.begin(line)?;
        self.end()
    }

    /// Waits until the guest has a file: a device that was attached has come when dom0 says so, and its
    /// file in the guest a little later. The guest has nothing that would wake it.
    pub fn await_file(&mut self, path: &str) -> Verdict {
        self.sh(&format!(
            "n=0; until [ -e {path} ]; do n=$((n+1)); [ $n -lt 300 ] && sleep 0.1 || exit 1; done"
        ))?;
        Ok(())
    }

    /// Waits until the guest has let go of a device, by the name that its bus has for it. One that came
    /// in its place before that, Linux takes for the old one, and waits for the end of that.
    pub fn await_gone(&mut self, device: &str) -> Verdict {
        // The bus forgets a device before its driver has let go of it; its own directory goes last.
        self.sh(&format!("while [ -e /sys/devices/{device} ]; do sleep 0.05; done"))?;
        Ok(())
    }

    /// Begins a line, and waits for nothing.
    pub fn begin(&mut self, line: &str) -> Verdict {
        eprintln!("{}> {line}", self.name);
        self.terminal.write_all(line.as_bytes())?;
        Ok(self.terminal.write_all(b"\n")?)
    }

    /// Waits for the end of the line that was begun.
    pub fn end(&mut self) -> Result<(u8, String), Stop> {
        self.end_within(LIMIT_SECONDS)
    }

    /// The same with another limit.
    pub fn end_within(&mut self, seconds: u64) -> Result<(u8, String), Stop> {
        let from = self.read;
        let (limit, begun) = (Duration::from_secs(seconds), Instant::now());
        let mut found = None;
        while found.is_none() {
            found = ending(&self.console.text[from..]);
            // A line's end: the digits before it are all there.
            if found.is_none() && !self.console.more(limit)? {
                let said = String::from_utf8_lossy(&self.console.text[from..]).into_owned();
                fail!("{} has not ended its line within {seconds} s: {said}", self.name);
            }
        }
        let Some((text, code, used)) = found else { fail!("no ending") };
        self.read = from + used;
        eprintln!("{text}[{code}] {:.1} s", begun.elapsed().as_secs_f64());
        Ok((code, text))
    }

    /// Ends it, at once.
    pub fn destroy(self) -> Verdict {
        run(&format!("/bin/xlr destroy {}", self.name))?.success()?;
        Ok(())
    }
}

/// What a line printed, its code, and how many bytes that were; none while it has not ended.
fn ending(said: &[u8]) -> Option<(String, u8, usize)> {
    let at = said.windows(DONE.len()).position(|window| window == DONE.as_bytes())?;
    let rest = &said[at + DONE.len()..];
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let code = String::from_utf8_lossy(&rest[..end]).trim().parse().ok()?;
    let printed = String::from_utf8_lossy(&said[..at]).replace('\r', "");
    Some((printed, code, at + DONE.len() + end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_their_code() {
        assert_eq!(ending(b"a\r\nb\r\nxlr-guest: done 0\r\nnext"), Some(("a\nb\n".into(), 0, 25)));
        assert_eq!(ending(b"xlr-guest: done 127\n"), Some((String::new(), 127, 20)));
        assert_eq!(
            ending(b"a\xffb xlr-guest: done 1\n").map(|(_, code, used)| (code, used)),
            Some((1, 22))
        );
        for unfinished in [&b""[..], b"a\nxlr-guest: do", b"xlr-guest: done 12"] {
            assert_eq!(ending(unfinished), None);
        }
    }
}
