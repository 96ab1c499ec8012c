//! What the program is called: `xlr`, or `xl` when it is started under that name.
//!
//! Only texts for people depend on it; what is done never does.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

static NAME: OnceLock<&'static str> = OnceLock::new();

/// The name that a first argument stands for.
#[must_use]
pub fn of(argument: Option<&OsStr>) -> &'static str {
    let file = argument.and_then(|path| Path::new(path).file_name());
    if file.is_some_and(|name| name == "xl") { "xl" } else { "xlr" }
}

/// Takes the name from the first argument. Only the first call counts.
pub fn set(argument: Option<&OsStr>) {
    // A second call could only come from a second command line in one process.
    let _ = NAME.set(of(argument));
}

/// The name for messages.
#[must_use]
pub fn name() -> &'static str {
    NAME.get().copied().unwrap_or("xlr")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_files() {
        for (argument, name) in [
            (Some("/usr/sbin/xl"), "xl"),
            (Some("xl"), "xl"),
            (Some("./xlr"), "xlr"),
            (Some("/xl/other"), "xlr"),
            (Some(""), "xlr"),
            (None, "xlr"),
        ] {
            assert_eq!(of(argument.map(OsStr::new)), name, "{argument:?}");
        }
    }
}
