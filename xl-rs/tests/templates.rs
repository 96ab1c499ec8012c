//! The templates that come with xlr: what they make is what `create` takes, without a word.

use std::collections::BTreeSet;
use std::path::Path;
use xl_rs::config::diagnostic::render as show;
use xl_rs::config::load;
use xl_rs::config::lower::DomainConfig;
use xl_rs::config::source::Sources;
use xl_rs::template::{render, values};

/// The configurations that a template makes of these values.
fn made(name: &str, values: &str) -> Vec<DomainConfig> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/templates").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let table = toml::from_str(values).expect(values);
    let made = render(name, &text, &values::of(&table));
    let made =
        made.unwrap_or_else(|(sources, problems)| panic!("{}", show(&problems, &sources, false)));
    made.iter()
        .map(|one| {
            let mut sources = Sources::default();
            one.add_to(&mut sources, name);
            let loaded = load(sources);
            assert_eq!(loaded.problems, [], "{}", one.text);
            loaded.config.expect("a configuration")
        })
        .collect()
}

#[test]
fn a_minimal_guest() {
    let made = made("minimal.cfg.j2", "kernel = '/k'");
    assert_eq!((made.len(), made[0].memory_kib), (1, 64 << 10));
}

#[test]
fn a_worker_for_a_job() {
    let base = "job = 4711\nkernel = '/k'\nramdisk = '/r'\n";
    let plain = made("ci-worker.cfg.j2", base);
    assert_eq!(plain[0].name.value, "ci-4711");
    assert!(plain[0].uuid.is_some() && plain[0].devices.is_empty());
    let full = format!(
        "{base}scratch = '/s.img'\nbridge = 'br0'\nextra = 'quiet'\nmemory = 96\nvcpus = 2\n"
    );
    let full = made("ci-worker.cfg.j2", &full);
    assert_eq!((full[0].devices.disks.len(), full[0].devices.vifs.len()), (1, 1));
    assert_eq!((full[0].uuid, full[0].vcpus, full[0].memory_kib), (plain[0].uuid, 2, 96 << 10));
    assert!(full[0].cmdline.ends_with(" quiet"));
}

#[test]
fn a_cluster() {
    let site = include_str!("../../configs/templates/site.toml");
    let of = |nodes: usize| {
        let job = format!("nodes = {nodes}\ncpus = 4\nkernel = '/k'\nramdisk = '/r'\n");
        made("mpi-cluster.cfg.j2", &format!("{site}{job}"))
    };
    // Three guests of four CPUs on each of the two nodes of 14.
    let all = of(6);
    let names: BTreeSet<_> = all.iter().map(|one| one.name.value.clone()).collect();
    let uuids: BTreeSet<_> = all.iter().map(|one| one.uuid).collect();
    let macs: BTreeSet<_> = all.iter().map(|one| one.devices.vifs[0].mac).collect();
    assert_eq!((names.len(), uuids.len(), macs.len()), (6, 6, 6));
    for (less, more) in of(3).iter().zip(&all) {
        assert_eq!((less.uuid, &less.devices.vifs), (more.uuid, &more.devices.vifs));
    }
}

/// The example of a policy is one.
#[test]
fn the_policy_that_is_an_example() {
    let policy = xl_rs::policy::parse::parse(include_str!("../../configs/policy.toml"));
    let policy = policy.expect("a policy");
    let pci = |name: &str| {
        let rules = policy.rules_for(&[name.to_owned()])?;
        Some(rules.devices["pci"].value.len())
    };
    assert_eq!((pci("bob"), pci("alice"), pci("root")), (Some(0), Some(1), None));
}
