//! Which xenstored serves a machine. The lab says so on the command line of dom0's kernel, dom0's
//! init reads it there.

use std::fmt;

/// A xenstored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Xenstored {
    /// The C daemon of the Xen release.
    #[default]
    C,
    /// `xlr xenstored`.
    Xlr,
    /// The OCaml daemon of the Xen release.
    Ocaml,
}

const KEY: &str = "lab.xenstored=";
const ALL: [Xenstored; 3] = [Xenstored::C, Xenstored::Xlr, Xenstored::Ocaml];

impl fmt::Display for Xenstored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::C => "c",
            Self::Xlr => "xlr",
            Self::Ocaml => "ocaml",
        })
    }
}

impl Xenstored {
    /// What the kernel's command line says of it.
    pub fn argument(self) -> String {
        format!("{KEY}{self}")
    }

    /// The one that a kernel's command line asks for.
    pub fn of(command_line: &str) -> Self {
        let word = command_line.split_whitespace().find_map(|word| word.strip_prefix(KEY));
        let named = |xenstored: &Self| word == Some(&xenstored.to_string());
        ALL.into_iter().find(named).unwrap_or_default()
    }

    /// The program and its arguments. It goes into the background when it is ready to serve.
    pub fn command(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::C => ("/xen/bin/xenstored", &["--pid-file", "/run/xen/xenstored.pid"]),
            Self::Xlr => ("/bin/xlr", &["xenstored", "--pid-file", "/run/xen/xenstored.pid"]),
            Self::Ocaml => ("/xen/bin/oxenstored", &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for xenstored in ALL {
            let line = format!("console=hvc0 {} panic=1\n", xenstored.argument());
            assert_eq!(Xenstored::of(&line), xenstored);
        }
        assert_eq!(Xenstored::of("console=hvc0"), Xenstored::C);
    }
}
