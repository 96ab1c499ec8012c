//! What xl has: its verbs and their flags, so that a user of xl is told what xlr has not got, and
//! a shortened verb means what it means under xl.
//!
//! The command line is looked at here before clap reads it. Nothing here knows what a verb does.

/// xl's verbs, of all releases since 4.14.
pub const VERBS: &[&str] = &[
    "block-attach",
    "block-detach",
    "block-list",
    "button-press",
    "cd-eject",
    "cd-insert",
    "channel-list",
    "claims",
    "config-update",
    "console",
    "cpupool-cpu-add",
    "cpupool-cpu-remove",
    "cpupool-create",
    "cpupool-destroy",
    "cpupool-list",
    "cpupool-migrate",
    "cpupool-numa-split",
    "cpupool-rename",
    "create",
    "debug-keys",
    "destroy",
    "devd",
    "dmesg",
    "domid",
    "domname",
    "dt-overlay",
    "dump-core",
    "getenforce",
    "info",
    "list",
    "loadpolicy",
    "mem-max",
    "mem-set",
    "migrate",
    "migrate-receive",
    "network-attach",
    "network-detach",
    "network-list",
    "pause",
    "pci-assignable-add",
    "pci-assignable-list",
    "pci-assignable-remove",
    "pci-attach",
    "pci-detach",
    "pci-list",
    "psr-cat-set",
    "psr-cat-show",
    "psr-cmt-attach",
    "psr-cmt-detach",
    "psr-cmt-show",
    "psr-hwinfo",
    "psr-mba-set",
    "psr-mba-show",
    "qemu-monitor-command",
    "reboot",
    "remus",
    "rename",
    "restore",
    "resume",
    "save",
    "sched-credit",
    "sched-credit2",
    "sched-rtds",
    "set-parameters",
    "setenforce",
    "sharing",
    "shutdown",
    "suspend",
    "sysrq",
    "top",
    "trigger",
    "unpause",
    "uptime",
    "usb-list",
    "usbctrl-attach",
    "usbctrl-detach",
    "usbdev-attach",
    "usbdev-detach",
    "vcpu-list",
    "vcpu-pin",
    "vcpu-set",
    "vdispl-attach",
    "vdispl-detach",
    "vdispl-list",
    "vkb-attach",
    "vkb-detach",
    "vkb-list",
    "vm-list",
    "vncviewer",
    "vsnd-attach",
    "vsnd-detach",
    "vsnd-list",
    "vtpm-attach",
    "vtpm-detach",
    "vtpm-list",
    "xenstore-quota-get",
    "xenstore-quota-set",
];

/// xl's flags for the verbs that xlr has, or will have first; both forms of one flag in one row.
pub const FLAGS: &[(&str, &[&[&str]])] = &[
    (
        "create",
        &[
            &["-p"],
            &["-c"],
            &["-f", "--defconfig"],
            &["-q", "--quiet"],
            &["-n", "--dryrun"],
            &["-d"],
            &["-F"],
            &["-e"],
            &["-V", "--vncviewer"],
            &["-A", "--vncviewer-autopass"],
        ],
    ),
    ("config-update", &[&["-f", "--defconfig"], &["-d"]]),
    (
        "list",
        &[
            &["-l", "--long"],
            &["-v", "--verbose"],
            &["-Z", "--context"],
            &["-c", "--cpupool"],
            &["-n", "--numa"],
        ],
    ),
    ("destroy", &[&["-f"]]),
    ("shutdown", &[&["-a", "--all"], &["-F"], &["-w", "--wait"]]),
    ("reboot", &[&["-a", "--all"], &["-F"], &["-w", "--wait"]]),
    ("console", &[&["-t"], &["-n"], &["-e"]]),
    ("vcpu-pin", &[&["-f", "--force"]]),
    ("vcpu-set", &[&["-i", "--ignore-host"]]),
    ("block-detach", &[&["-f", "--force"]]),
    ("info", &[&["-n", "--numa"]]),
    ("pci-detach", &[&["-f"]]),
    ("pci-assignable-add", &[&["-n", "--name"]]),
    ("pci-assignable-remove", &[&["-r", "--rebind"]]),
    ("pci-assignable-list", &[&["-n", "--show-names"]]),
    ("dmesg", &[&["-c", "--clear"]]),
    ("uptime", &[&["-s"]]),
];

/// What a word in the verb's place means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant<'a> {
    /// A verb of xlr's, in full.
    Ours(&'a str),
    /// A verb of xl's that xlr has not got.
    Theirs(&'a str),
    /// The beginning of several verbs.
    Ambiguous(Vec<&'a str>),
    /// Nothing.
    Unknown,
}

/// Finds out which verb `word` means; `ours` are xlr's. A verb may be shortened as long as neither
/// xl nor xlr has another that begins so: what is short for one verb must not do another thing once
/// xlr has learnt that one.
#[must_use]
pub fn resolve<'a>(word: &str, ours: &[&'a str]) -> Meant<'a> {
    if let Some(exact) = ours.iter().find(|verb| **verb == word) {
        return Meant::Ours(exact);
    }
    if let Some(exact) = VERBS.iter().find(|verb| **verb == word) {
        return Meant::Theirs(exact);
    }
    let theirs = VERBS.iter().filter(|verb| !ours.contains(verb));
    let mut found: Vec<&str> =
        ours.iter().chain(theirs).copied().filter(|verb| verb.starts_with(word)).collect();
    found.sort_unstable();
    match found[..] {
        [] => Meant::Unknown,
        // A word of no letters is the beginning of everything.
        _ if word.is_empty() => Meant::Unknown,
        [only] if ours.contains(&only) => Meant::Ours(only),
        [only] => Meant::Theirs(only),
        _ => Meant::Ambiguous(found),
    }
}

/// Whether xl has this flag for this verb.
#[must_use]
pub fn has_flag(verb: &str, flag: &str) -> bool {
    FLAGS
        .iter()
        .filter(|(known, _)| *known == verb)
        .flat_map(|(_, flags)| flags.iter())
        .any(|forms| forms.contains(&flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &[&str] = &["bug-report", "console", "create", "domid", "domname", "list", "sysrq"];

    #[test]
    fn words_mean_verbs() {
        let check = |word: &str, meant: Meant<'_>| assert_eq!(resolve(word, OURS), meant, "{word}");
        check("list", Meant::Ours("list"));
        check("li", Meant::Ours("list"));
        check("cr", Meant::Ours("create"));
        check("sy", Meant::Ours("sysrq"));
        check("bug", Meant::Ours("bug-report"));
        check("domi", Meant::Ours("domid"));
        // Of these xlr has one only, but under xl they are not enough.
        check("co", Meant::Ambiguous(vec!["config-update", "console"]));
        check("l", Meant::Ambiguous(vec!["list", "loadpolicy"]));
        check("dom", Meant::Ambiguous(vec!["domid", "domname"]));
        check("migrate", Meant::Theirs("migrate"));
        check("vnc", Meant::Theirs("vncviewer"));
        check("nosuch", Meant::Unknown);
        check("lists", Meant::Unknown);
        check("LIST", Meant::Unknown);
        check("", Meant::Unknown);
    }

    #[test]
    fn flags_in_both_forms() {
        for (verb, flag, known) in [
            ("create", "-V", true),
            ("create", "--vncviewer", true),
            ("list", "-V", false),
            ("list", "-l", true),
            ("nosuch", "-l", false),
        ] {
            assert_eq!(has_flag(verb, flag), known, "{verb} {flag}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        assert!(VERBS.is_sorted(), "verbs in alphabetical order");
        for (verb, _) in FLAGS {
            assert!(VERBS.contains(verb), "{verb}");
        }
    }
}
