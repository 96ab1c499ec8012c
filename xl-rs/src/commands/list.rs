//! `list`: the domains of this host.

use super::domain::{self, Named};
use super::error::{CommandError, chain};
use super::{print, print_json, saved, tell};
use crate::cli::number::digits;
use crate::cli::{JsonArg, ListArgs, program};
use crate::exit::Exit;
use crate::output::domains::{Columns, Row, table, uuids};
use libxc_safe::Xen;
use xen_sys::types::Domid;
use xenstore::client::{Client, Nodes};

/// Runs the command.
pub fn run(arguments: &ListArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let (all, mut store) = match named(&xen) {
        Ok(named) => named,
        Err(error) => {
            if error.exit() == Exit::Store && needs_no_store(arguments) {
                print_nameless(&xen, arguments)?;
            }
            return Err(error);
        }
    };
    if arguments.names {
        return print(names(&all).as_bytes());
    }
    let (chosen, missing) = choose(all, &arguments.domains);
    if chosen.is_empty() && !missing.is_empty() {
        return report(missing, arguments.domains.len());
    }
    // Of several domains the ones that exist are shown, as under xl.
    if arguments.long {
        let failed = print_long(&xen, &mut store, &chosen)?;
        report(missing, arguments.domains.len())?;
        return match failed {
            0 => Ok(()),
            _ => Err(CommandError::Some { failed, total: chosen.len(), done: "listed" }),
        };
    }
    let mut rows = Vec::with_capacity(chosen.len());
    for domain in chosen {
        let mut row = Row::new(&domain.info, domain.name);
        if arguments.numa {
            match domain::unless_gone(xen.node_affinity(Domid(row.domid)))? {
                Some(nodes) => row.numa_nodes = Some(nodes),
                None => continue,
            }
        }
        rows.push(row);
    }
    if arguments.json {
        print_json(&serde_json::to_value(&rows).unwrap_or_default())?;
    } else {
        let nodes: Vec<u32> = match arguments.numa {
            true => xen.numa_nodes()?.into_iter().map(|node| node.id).collect(),
            false => Vec::new(),
        };
        let numa = arguments.numa.then_some(nodes.as_slice());
        let (verbose, context) = (arguments.verbose, arguments.context);
        let columns = Columns { verbose, context, claims: false, cpupool: arguments.cpupool, numa };
        let pools = if arguments.cpupool { pool_names(&xen, &mut store)? } else { Vec::new() };
        let pool_name = |id: u32| {
            let found = pools.iter().find(|(_, known)| *known == id);
            found.map_or_else(|| id.to_string(), |(name, _)| name.clone())
        };
        print(table(&rows, columns, pool_name).as_bytes())?;
    }
    report(missing, arguments.domains.len())
}

fn named(xen: &Xen) -> Result<(Vec<Named>, Client), CommandError> {
    let mut store = Client::connect()?;
    Ok((domain::all(xen, &mut store)?, store))
}

/// Whether only the names would be missing from what is asked for. A program that reads JSON or names
/// gets all or nothing.
fn needs_no_store(arguments: &ListArgs) -> bool {
    let ListArgs { domains, long, verbose: _, context: _, cpupool, numa, json, names } = arguments;
    !(*long || *cpupool || *numa || *json || *names)
        && domains.iter().all(|given| digits::<u16>(given).is_some())
}

/// The table without names: it shows the domids, by which domains can be destroyed.
fn print_nameless(xen: &Xen, arguments: &ListArgs) -> Result<(), CommandError> {
    let (chosen, _) = choose(domain::nameless(xen)?, &arguments.domains);
    let rows: Vec<Row> = chosen.iter().map(|domain| Row::new(&domain.info, None)).collect();
    let (verbose, context) = (arguments.verbose, arguments.context);
    let columns = Columns { verbose, context, ..Columns::default() };
    print(table(&rows, columns, |id| id.to_string()).as_bytes())
}

/// The names of all domains but domain 0, one per line. One that would not be a line of its own is
/// left out.
fn names(all: &[Named]) -> String {
    let guests = all.iter().filter(|domain| domain.info.domid.0 != 0);
    let names = guests.filter_map(|domain| domain.name.as_deref());
    names
        .filter(|name| !name.is_empty() && !name.contains(char::is_control))
        .map(|name| format!("{name}\n"))
        .collect()
}

/// `vm-list`.
pub fn by_uuid(arguments: &JsonArg) -> Result<(), CommandError> {
    let rows = all_rows()?;
    match arguments.json {
        true => print_json(&serde_json::to_value(&rows).unwrap_or_default()),
        false => print(uuids(&rows).as_bytes()),
    }
}

/// `claims`.
pub fn claims(arguments: &JsonArg) -> Result<(), CommandError> {
    let rows = all_rows()?;
    if arguments.json {
        return print_json(&serde_json::to_value(&rows).unwrap_or_default());
    }
    let columns = Columns { claims: true, ..Columns::default() };
    print(table(&rows, columns, |id| id.to_string()).as_bytes())
}

fn all_rows() -> Result<Vec<Row>, CommandError> {
    let xen = Xen::open()?;
    let all = domain::all(&xen, &mut Client::connect()?)?;
    Ok(all.into_iter().map(|domain| Row::new(&domain.info, domain.name)).collect())
}

/// The saved configuration of each domain; one without is left out, with a word. Tells why others
/// could not be read, and gives their number.
fn print_long(xen: &Xen, store: &mut Client, chosen: &[Named]) -> Result<usize, CommandError> {
    let mut configurations = Vec::with_capacity(chosen.len());
    let mut failed = 0;
    for domain in chosen {
        match saved::current(xen, store, domain) {
            Ok(Some(configuration)) => configurations.push(configuration),
            Ok(None) => tell(format_args!(
                "{}: domain {} is left out: no configuration is saved for it",
                program::name(),
                domain.info.domid
            )),
            Err(error) => {
                tell(format_args!("{}: {}", program::name(), chain(&error)));
                failed += 1;
            }
        }
    }
    print_json(&configurations.into())?;
    Ok(failed)
}

/// Tells which of `total` domains are not there.
fn report(missing: Vec<CommandError>, total: usize) -> Result<(), CommandError> {
    let failed = missing.len();
    let mut missing = missing.into_iter();
    match (missing.next(), failed) {
        (None, _) => Ok(()),
        (Some(error), 1) => Err(error),
        (Some(error), _) => {
            for error in std::iter::once(error).chain(missing) {
                tell(format_args!("{}: {}", program::name(), chain(&error)));
            }
            Err(CommandError::Some { failed, total, done: "listed" })
        }
    }
}

/// The domains that were asked for, in that order, and an error for each that is not there.
pub fn choose(all: Vec<Named>, wanted: &[String]) -> (Vec<Named>, Vec<CommandError>) {
    if wanted.is_empty() {
        return (all, Vec::new());
    }
    let mut chosen = Vec::new();
    let mut missing = Vec::new();
    for given in wanted {
        let found = match digits(given) {
            Some(domid) => all
                .iter()
                .find(|domain| domain.info.domid.0 == domid)
                .ok_or(CommandError::NoSuchDomid { domid }),
            None => all
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Without xenstore a person gets a table without names, a program nothing that is half of it.
    #[test]
    fn only_a_table_does_without_names() {
        let arguments = || ListArgs { verbose: true, ..ListArgs::default() };
        let of = |domains: &[&str]| ListArgs {
            domains: domains.iter().map(|given| String::from(*given)).collect(),
            ..arguments()
        };
        for (arguments, expected) in [
            (arguments(), true),
            (of(&["7", "0"]), true),
            (of(&["7", "web"]), false),
            (ListArgs { json: true, ..arguments() }, false),
            (ListArgs { names: true, ..arguments() }, false),
            (ListArgs { long: true, ..arguments() }, false),
            (ListArgs { cpupool: true, ..arguments() }, false),
        ] {
            assert_eq!(needs_no_store(&arguments), expected, "{arguments:?}");
        }
    }
}
