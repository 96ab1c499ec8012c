//! `list`: the domains of this host.

use super::domain::{self, Named};
use super::error::{CommandError, chain};
use super::{print, print_json, tell};
use crate::cli::ListArgs;
use crate::output::domains::{Columns, Row, table};
use libxc_safe::Xen;
use xenstore::client::{Client, Nodes};

/// Runs the command.
pub fn run(arguments: &ListArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let mut store = Client::connect()?;
    let all = domain::all(&xen, &mut store)?;
    let (chosen, missing) = choose(all, &arguments.domains);
    let rows: Vec<Row> =
        chosen.into_iter().map(|domain| Row::new(&domain.info, domain.name)).collect();
    // Of several domains the ones that exist are shown, as under xl.
    if arguments.json {
        print_json(&serde_json::to_value(&rows).unwrap_or_default())?;
    } else if missing.is_empty() || !rows.is_empty() {
        let columns = Columns { verbose: arguments.verbose, cpupool: arguments.cpupool };
        let pools = if arguments.cpupool { pool_names(&xen, &mut store)? } else { Vec::new() };
        let pool_name = |id: u32| {
            let found = pools.iter().find(|(_, known)| *known == id);
            found.map_or_else(|| id.to_string(), |(name, _)| name.clone())
        };
        print(table(&rows, columns, pool_name).as_bytes())?;
    }
    let failed = missing.len();
    let mut missing = missing.into_iter();
    match (missing.next(), failed) {
        (None, _) => Ok(()),
        (Some(error), 1) => Err(error),
        (Some(error), _) => {
            for error in std::iter::once(error).chain(missing) {
                tell(format_args!("xlr: {}", chain(&error)));
            }
            Err(CommandError::Some { failed, total: arguments.domains.len(), done: "listed" })
        }
    }
}

/// The domains that were asked for, in that order, and an error for each that is not there.
fn choose(all: Vec<Named>, wanted: &[String]) -> (Vec<Named>, Vec<CommandError>) {
    if wanted.is_empty() {
        return (all, Vec::new());
    }
    let mut chosen = Vec::new();
    let mut missing = Vec::new();
    for given in wanted {
        let found = match given.parse::<u16>() {
            Ok(domid) => all
                .iter()
                .find(|domain| domain.info.domid.0 == domid)
                .ok_or(CommandError::NoSuchDomid { domid }),
            Err(_) => all
                .iter()
                .find(|domain| domain.name.as_ref() == Some(given))
                .ok_or_else(|| CommandError::NoSuchName { given: given.clone() }),
        };
        match found {
            Ok(domain) => chosen.push(domain.clone()),
            Err(error) => missing.push(error),
        }
    }
    (chosen, missing)
}

/// The name and number of every CPU pool. Names are kept in xenstore; a pool without one goes by
/// `Pool-N`, which is also how the first one is called.
pub fn pool_names(xen: &Xen, store: &mut Client) -> Result<Vec<(String, u32)>, CommandError> {
    let mut names = Vec::new();
    for pool in xen.cpupools()? {
        let name = store.read_text_optional(format!("/local/pool/{}/name", pool.id))?;
        names.push((name.unwrap_or_else(|| format!("Pool-{}", pool.id)), pool.id));
    }
    Ok(names)
}
