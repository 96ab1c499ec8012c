//! Checks the two reserved grant entries, by which the daemons map the rings.

use super::{check, equal};
use xtf::{
    Guest, grant,
    xen_sys::{
        grant_table::{GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE, GTF_permit_access},
        types::GrantRef,
    },
};

pub fn check(guest: &mut Guest) {
    let table = match grant::first_frame() {
        Ok(table) => table,
        Err(error) => {
            check!(guest, false, "asking for the grant table: {error}");
            return;
        }
    };
    for (name, reference, (frame, _)) in [
        ("console", GNTTAB_RESERVED_CONSOLE, guest.boot.console()),
        ("store", GNTTAB_RESERVED_XENSTORE, guest.boot.store()),
    ] {
        match grant::entry(table, GrantRef(reference)) {
            Ok(entry) => {
                // Reading and writing bits are set while a daemon has the page mapped.
                let kind = entry.flags & xtf::xen_sys::grant_table::GTF_type_mask;
                equal!(guest, format_args!("{name}: grant type"), kind, GTF_permit_access);
                equal!(guest, format_args!("{name}: grantee"), entry.domid, 0);
                equal!(
                    guest,
                    format_args!("{name}: granted frame"),
                    u64::from(entry.frame),
                    frame.0
                );
            }
            Err(error) => check!(guest, false, "{name}: reading its grant: {error}"),
        }
    }
    for reference in 2..grant::ENTRIES {
        match grant::entry(table, GrantRef(reference)) {
            Ok(entry) => check!(guest, entry.flags == 0, "grant {reference} is in use"),
            Err(error) => check!(guest, false, "reading grant {reference}: {error}"),
        }
    }
}
