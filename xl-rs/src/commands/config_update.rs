//! `config-update`: another configuration for a domain, from its next reboot on.
//!
//! It is kept where xl keeps it, so that either tool's reboot finds what the other one left. The
//! domain itself is not touched.

use super::error::CommandError;
use super::{build, create, domain, end, tell};
use crate::cli::ConfigUpdateArgs;
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
    let (sources, _) = build::configuration(sources, false)?;
    let mut text = Vec::new();
    for (_, source) in sources.iter() {
        text.extend_from_slice(&source.text);
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
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
    end::prune(&xen, &state)
}
