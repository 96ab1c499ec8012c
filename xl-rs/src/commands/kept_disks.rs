//! The disks that a domain has by now, kept with its configuration: a reboot makes it with these.
//!
//! In: a disk that came or went while its domain was there. Out: the kept configuration with it, or
//! without. What xl made has none, and stays as it is: xl keeps its own.

use super::error::CommandError;
use crate::config::load;
use crate::config::source::Sources;
use crate::device::disk::DiskSpec;
use crate::state::{State, StateError, userdata};
use uuid::Uuid;
use xen_sys::types::Domid;

/// What the text is called that says it.
const NAME: &str = "the disks as they were";

/// Notes, for either tool, that a disk was attached.
pub fn add(domid: Domid, uuid: Uuid, disk: &DiskSpec, state: &State) -> Result<(), CommandError> {
    userdata::add_disk(domid, uuid, disk)?;
    change(domid, uuid, disk.devid, Some(disk), state)
}

/// Notes, for either tool, that a disk was detached.
pub fn remove(domid: Domid, uuid: Uuid, devid: u32, state: &State) -> Result<(), CommandError> {
    userdata::remove_disk(domid, uuid, devid)?;
    change(domid, uuid, devid, None, state)
}

fn change(
    domid: Domid,
    uuid: Uuid,
    devid: u32,
    disk: Option<&DiskSpec>,
    state: &State,
) -> Result<(), CommandError> {
    let saved = match state.saved(domid.0, uuid) {
        Ok(saved) => saved,
        Err(StateError::NotSaved { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match changed(&saved.sources(), devid, disk) {
        Some(text) => Ok(state.save(domid.0, &saved.with(NAME, text))?),
        None => Ok(()),
    }
}

/// The line of xl.cfg that makes the disks of a configuration those that there are now; none where
/// they are that already, or nothing can be said of it.
fn changed(sources: &Sources, devid: u32, disk: Option<&DiskSpec>) -> Option<String> {
    let before = load(sources.clone()).config?.devices.disks;
    let mut now: Vec<&DiskSpec> = before.iter().filter(|disk| disk.devid != devid).collect();
    now.extend(disk);
    let same = now.len() == before.len() && now.iter().all(|disk| before.contains(disk));
    let texts: Vec<String> = now.iter().map(|disk| quoted(&disk.text())).collect();
    (!same).then(|| format!("disk = [ {} ]\n", texts.join(", ")))
}

/// A string of xl.cfg.
pub fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_come_and_go() {
        let of = |lines: &str| {
            let mut sources = Sources::default();
            let base = "name = \"a\"\nkernel = \"/k\"\nmemory = 8\n";
            sources.add("a.cfg", format!("{base}{lines}"));
            sources
        };
        let disks = |sources: &Sources| {
            let loaded = load(sources.clone());
            assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
            loaded.config.unwrap().devices.disks
        };
        let one = of("disk = [\"/a,raw,xvda,rw\"]\n");
        let mut later = disks(&of("disk = ['/b \"x\",raw,xvdb,r']\n")).remove(0);
        later.trusted = false;
        let mut both = one.clone();
        both.add(NAME, changed(&one, later.devid, Some(&later)).unwrap());
        assert_eq!(disks(&both), [disks(&one), vec![later.clone()]].concat());
        // The same once more changes nothing.
        assert_eq!(changed(&both, later.devid, Some(&later)), None);
        assert_eq!(changed(&one, later.devid, None), None);
        let mut none = one.clone();
        none.add(NAME, changed(&one, disks(&one)[0].devid, None).unwrap());
        assert_eq!(disks(&none), []);
    }
}
