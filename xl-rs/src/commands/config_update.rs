//! `config-update`: another configuration for a domain, from its next reboot on.
//!
//! It is kept where xl keeps it, so that either tool's reboot finds what the other one left. The
//! domain itself is not touched.

use super::error::CommandError;
use super::{build, create, domain, remove, tell};
use crate::cli::ConfigUpdateArgs;
use crate::config::source::Sources;
use crate::state::State;
use crate::state::lock::Subject;
use crate::state::userdata::{self, Kind};
use libxc_safe::Xen;
use uuid::Uuid;
use xenstore::client::Client;

/// Runs the command.
pub fn run(arguments: &ConfigUpdateArgs) -> Result<(), CommandError> {
    let (file, assignments) = arguments.file_and_assignments();
    let sources = create::texts(file, assignments)?;
    // Refused now rather than when the domain is gone.
    let (sources, _) = build::definition(sources, false)?;
    let text = sources.joined();
    let mut whole = Sources::default();
    whole.add("file and assignments together", text.as_slice());
    build::configuration(whole, true)?;
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let info = domain::find(&xen, &mut store, &arguments.domain)?;
    if info.domid.0 == 0 {
        return Err(CommandError::Dom0 { hint: "; it has no configuration" });
    }
    let state = State::open()?;
    let _lock = state.lock(Subject::Domain(info.domid.0), |text| tell(text))?;
    if domain::again(&xen, &info)?.is_none() {
        return Err(CommandError::NoSuchDomid { domid: info.domid.0 });
    }
    tell(format_args!("setting dom{} configuration", info.domid));
    userdata::write(info.domid.0, Uuid::from_bytes(info.uuid), Kind::Text, &text)?;
    remove::prune(&xen, &state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::config::parse::MAX_LENGTH;

    /// Each text is within bounds; what they are together is what a reboot has to read.
    #[test]
    fn the_texts_are_checked_as_one() {
        let check = |padding: usize, fine: bool| {
            let mut sources = Sources::default();
            let head = "name = \"a\"\nkernel = \"/k\"\nmemory = 8\n#";
            sources.add("a.cfg", format!("{head}{}", "x".repeat(padding - head.len())));
            sources.add("command line", "vcpus = 2");
            let text = sources.joined();
            assert!(load(sources).config.is_some(), "{padding}: apart");
            let mut whole = Sources::default();
            whole.add("together", text);
            assert_eq!(load(whole).config.is_some(), fine, "{padding}: together");
        };
        check(1000, true);
        check(MAX_LENGTH - 11, true);
        check(MAX_LENGTH - 10, false);
        check(MAX_LENGTH, false);
    }
}
