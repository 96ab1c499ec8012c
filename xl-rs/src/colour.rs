//! Whether there may be colours.

use std::io::IsTerminal as _;

/// Whether what goes to standard error may be in colour: a terminal shows it, and its user did not
/// ask for none.
#[must_use]
pub fn on_stderr() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && std::io::stderr().is_terminal()
}
