//! The units for systemd are what systemd understands, and what they start is what xlr understands.

use std::path::{Path, PathBuf};
use std::process::Command;
use xl_rs::cli::definition;

/// Where the units expect the program.
const PROGRAM: &str = "/usr/sbin/xlr";

fn units() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/systemd");
    let entries = std::fs::read_dir(&folder).expect("the units");
    let mut units: Vec<PathBuf> = entries.map(|entry| entry.expect("a unit").path()).collect();
    units.sort();
    assert_eq!(units.len(), 3, "{units:?}");
    units
}

fn text(unit: &Path) -> String {
    std::fs::read_to_string(unit).expect("a unit is text")
}

#[test]
fn what_a_unit_starts_is_a_command_of_xlr() {
    for unit in units() {
        let text = text(&unit);
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let words: Vec<&str> = line.expect("it starts something").split(' ').collect();
        assert_eq!(words[0], PROGRAM, "{}", unit.display());
        let read = definition().try_get_matches_from(&words);
        assert!(read.is_ok(), "{}: {words:?}: {:?}", unit.display(), read.err());
    }
}

/// Whether `systemd-analyze verify` is content with a unit whose program is this build's, and what it
/// says. None where it is not installed.
fn verify(folder: &Path, name: &str, text: &str) -> Option<(bool, String)> {
    std::fs::write(folder.join(name), text.replace(PROGRAM, env!("CARGO_BIN_EXE_xlr")))
        .expect("a unit to verify");
    let mut command = Command::new("systemd-analyze");
    // The pages are made by `xlr`, not installed. Errors of the host's own units are not ours.
    command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(format!("./{name}"));
    match command.current_dir(folder).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        out => {
            let out = out.expect("systemd-analyze runs");
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            Some((out.status.success() && said.is_empty(), said))
        }
    }
}

#[test]
fn systemd_understands_the_units() {
    let folder = std::env::temp_dir().join(format!("xlr-units-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for unit in units() {
        let name = unit.file_name().and_then(|name| name.to_str()).expect("a name");
        let whole = text(&unit);
        let Some((good, said)) = verify(&folder, name, &whole) else {
            eprintln!("systemd-analyze is not installed: nothing was verified");
            break;
        };
        assert!(good, "{name}: {said}");
        // It tells what it does not understand.
        for (from, to) in [("Restart=", "Restrat="), ("Type=notify", "Type=notiffy")] {
            assert!(whole.contains(from), "{name} has no {from}");
            let (good, said) = verify(&folder, name, &whole.replace(from, to)).expect("as above");
            assert!(!good, "{name} with {to}: {said:?}");
        }
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
