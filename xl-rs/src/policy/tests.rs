use super::merge::{Merged, merge};
use super::*;
use crate::config::cpulist::{Range, Term};
use crate::config::diagnostic::Severity;
use crate::config::lower::{Affinity, DomainConfig};
use crate::config::reader::At;
use crate::config::resolve::Host;
use crate::config::source::Sources;
use crate::config::{cpulist, load};
use domain_builder::spec::{CpuSet, DomainSpec};
use proptest::prelude::*;
use std::path::Path;
use uuid::Uuid;

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn read(texts: &[&str]) -> Option<DomainConfig> {
    let mut sources = Sources::default();
    for text in texts {
        sources.add("text", *text);
    }
    let loaded = load(sources);
    let is_error = |severity| severity == Severity::Error;
    let errors: Vec<_> =
        loaded.problems.iter().filter(|problem| is_error(problem.severity)).collect();
    assert_eq!(errors.is_empty(), loaded.config.is_some(), "{errors:?}");
    loaded.config
}

fn assignments(merged: &Merged) -> String {
    merged.overrides.iter().map(|one| format!("{} = {}\n", one.key, one.becomes)).collect()
}

/// What a policy makes of a configuration: the assignments, and what is refused.
fn check(policy: &str, config: &str, overrides: &str, refusals: &[&str]) {
    let rules = parse::parse(policy).expect(policy).rules;
    let base = "name = 'n'\nkernel = '/k'\nmemory = 64\n";
    let config = read(&[base, config]).expect(config);
    let facts = Facts::from([
        (Path::new("/k").into(), FileFacts { sha256: Some(Ok(HASH.into())), changeable: None }),
        (
            Path::new("/open").into(),
            FileFacts { sha256: Some(Ok(HASH.into())), changeable: Some("/tmp".into()) },
        ),
        (
            Path::new("/gone").into(),
            FileFacts { sha256: Some(Err("no such file".into())), changeable: None },
        ),
    ]);
    let merged = merge(&rules, &config, &facts);
    assert_eq!(assignments(&merged), overrides, "{policy}");
    let found: Vec<&str> = merged.refusals.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(found.len(), refusals.len(), "{policy}: {found:?}");
    for (found, words) in found.iter().zip(refusals) {
        assert!(found.contains(words), "{policy}: {found:?}");
    }
}

#[test]
fn limits() {
    check("", "vcpus = 8\nmaxmem = 4096", "", &[]);
    check("[memory]\nmax = 64", "", "", &[]);
    check("[memory]\nmax = 63", "", "", &["memory, 64M, is more than 63M"]);
    check("[memory]\nmax = '1G'", "maxmem = 4096", "maxmem = \"1G\"\n", &[]);
    check("[vcpus]\nmax = 2", "vcpus = 2", "", &[]);
    check("[vcpus]\nmax = 2", "vcpus = 3", "", &["3 vcpus are more than 2"]);
    check("[vcpus]\nmax = 2", "maxvcpus = 9", "maxvcpus = 2\n", &[]);
}

#[test]
fn files_by_their_hash() {
    let kernel = format!("[kernel]\nsha256 = ['{HASH}']");
    check(&kernel, "", "", &[]);
    check(&kernel, "kernel = '/open'", "", &["can be exchanged"]);
    check(&kernel, "kernel = '/gone'", "", &["could not be hashed: no such file"]);
    check(&kernel, "kernel = '/other'", "", &["was not hashed"]);
    let other = format!("[kernel]\nsha256 = ['{}']", HASH.replace('0', "f"));
    check(&other, "", "", &["not among the files"]);
    check(&kernel.replace("kernel", "ramdisk"), "", "", &[]);
    check(&kernel.replace("kernel", "ramdisk"), "ramdisk = '/k'", "", &[]);
    check(&other.replace("kernel", "ramdisk"), "ramdisk = '/k'", "", &["not among the files"]);
    let image = format!("[image]\nsha256 = ['{HASH}']\nwritable = ['/scratch/*']");
    check(&image, "disk = ['/k,raw,xvda,ro', '/scratch/a,raw,xvdb,rw']", "", &[]);
    check(&image, "disk = ['/k,raw,xvda,rw']", "", &["may write to"]);
    check(&image, "disk = ['/scratch/../k,raw,xvda,rw']", "", &["may write to"]);
    check(&image, "disk = ['/open,raw,xvda,ro']", "", &["can be exchanged"]);
}

#[test]
fn pinning() {
    let required = "[pinning]\nrequired = true";
    check(required, "", "", &["not pinned"]);
    check(required, "cpus = '0-3'", "", &[]);
    check(required, "cpus = 'all'", "", &["not pinned"]);
    check(required, "vcpus = 2\ncpus = ['0', '0,all']", "", &["not pinned"]);
    check(required, "cpus = 'all,^0'", "", &[]);
    check(required, "vcpus = 2\ncpus = ['0']", "", &["not pinned"]);
    check(required, "vcpus = 2\ncpus = ['0', '1']", "", &[]);
    let within = "[pinning]\ncpus = '2-5'";
    check(within, "", "cpus = \"2-5\"\n", &[]);
    check(within, "cpus = '2-3'", "", &[]);
    check(within, "cpus = '0-3'", "cpus = \"2-3\"\n", &[]);
    check(within, "cpus = '0-1'", "", &["none of these CPUs is allowed"]);
    check(within, "vcpus = 2\ncpus = ['3', '0-9']", "cpus = [\"3\", \"2-5\"]\n", &[]);
    check(within, "vcpus = 2\ncpus = ['3']", "cpus = [\"3\", \"2-5\"]\n", &[]);
    check(within, "cpus = 'all'", "cpus = \"all,^0-1,^6-65535\"\n", &[]);
}

/// Root runs them, so whoever may write one is held to no rule: every policy refuses them.
#[test]
fn scripts_of_ones_own() {
    let disk = "disk = ['/x,raw,xvda,w,script=/home/alice/x']";
    for policy in
        ["", "[memory]\nmax = 64", "[devices]\nvif = ['*']", "[pinning]\ncpus = '0-65535'"]
    {
        let pinned = "cpus = '0'\n";
        check(policy, &format!("{pinned}{disk}"), "", &["script of one's own"]);
        check(policy, &format!("{pinned}disk = ['/x,raw,xvda,w,script=block']"), "", &[]);
    }
    for policy in ["", "[memory]\nmax = 64", "[devices]\ndisk = ['*']"] {
        let vif = "vif = ['', 'script=/home/alice/x']";
        check(policy, vif, "", &["script of one's own"]);
        check(policy, "vif = ['script=vif-route,ip=10.0.0.1', 'script=vif-bridge']", "", &[]);
    }
}

#[test]
fn ends_that_are_forced() {
    check("[force]\non_crash = 'destroy'", "", "", &[]);
    check(
        "[force]\non_crash = 'destroy'",
        "on_crash = 'preserve'",
        "on_crash = \"destroy\"\n",
        &[],
    );
    check("[force]\non_reboot = 'preserve'", "", "on_reboot = \"preserve\"\n", &[]);
}

#[test]
fn devices_that_are_allowed() {
    let disks = "[devices]\ndisk = ['/srv/*']";
    check(disks, "disk = ['/srv/a.img,raw,xvda,rw']", "", &[]);
    check(disks, "disk = ['/srv/../etc/x,raw,xvda,rw']", "", &["cannot be held"]);
    check(disks, "disk = ['srv/x,raw,xvda,rw']", "", &["cannot be held"]);
    check(disks, "disk = ['/dev/sda,raw,xvda,rw']", "", &["/dev/sda is not allowed"]);
    check(disks, "disk = ['/srv/x,raw,xvda,rw,script=/tmp/x']", "", &["script of one's own"]);
    let own = "disk = ['/srv/x,raw,xvda,rw,script=/tmp/scripts/block']";
    check(disks, own, "", &["script of one's own"]);
    check(disks, "disk = ['/srv/x,raw,xvda,rw,script=block']", "", &[]);
    let nets = "[devices]\nvif = ['xenbr*']";
    check(nets, "vif = ['', 'bridge=xenbr1']", "", &[]);
    check(
        nets,
        "vif = ['bridge=br0', 'script=/tmp/x', 'script=vif-route,ip=10.0.0.1']",
        "",
        &["br0 is not allowed", "cannot be held", "cannot be held"],
    );
    let cards = "[devices]\npci = ['0000:03:00.*']";
    check(cards, "pci = ['03:00.1', '0000:03:00.*']", "", &[]);
    check(cards, "pci = ['04:00.0', 'name=fast']", "", &["0000:04:00.0 is not", "cannot be held"]);
    check("[devices]\npci = ['0000:03:00.0']", "pci = ['03:00.*']", "", &["is not allowed as pci"]);
    check(
        "[devices]\nraw = false",
        "irqs = [4]\niomem = ['fed9f,1']",
        "",
        &["iomem is", "irqs is"],
    );
    check("[devices]\nrdma = []", "rdma = ['backend-device=rxe0']", "", &["rxe0 is not allowed"]);
    check("[devices]\nchannel = ['pty']", "channel = ['name=a,connection=pty']", "", &[]);
    let socket = "channel = ['name=a,connection=socket,path=/run/a']";
    check("[devices]\nchannel = ['pty']", socket, "", &["/run/a is not allowed"]);
    check(&format!("{disks}\n{}", nets.replace("[devices]\n", "")), "", "", &[]);
}

/// A host on which every list of the properties below can be resolved.
fn host() -> Host {
    let node_of_cpu = (0..12).map(|cpu| Some(u32::from(cpu > 5))).collect();
    Host { node_of_cpu, ..Host::default() }
}

/// The CPUs of each vcpu, all where it is free.
fn cpus_of(spec: &DomainSpec) -> Vec<CpuSet> {
    let all = || CpuSet((0..12).collect());
    let of = |vcpu: usize| spec.affinity.get(vcpu).and_then(|one| one.hard.clone());
    (0..spec.max_vcpus as usize).map(|vcpu| of(vcpu).unwrap_or_else(all)).collect()
}

/// Whether a domain keeps to the rules; written down apart from how they are brought about.
fn keeps_to(rules: &Rules, config: &DomainConfig, facts: &Facts) -> bool {
    let spec = config.clone().resolve(&host(), Uuid::nil()).expect("a specification");
    let within = |limit: &Option<Ruled<u64>>, found: u64| {
        limit.as_ref().is_none_or(|limit| found <= limit.value)
    };
    let known = |allowed: &Option<Ruled<Vec<String>>>, path: Option<&Path>| match (allowed, path) {
        (Some(allowed), Some(path)) => facts.get(path).is_some_and(|facts| {
            facts.changeable.is_none()
                && matches!(&facts.sha256, Some(Ok(hash)) if allowed.value.contains(hash))
        }),
        _ => true,
    };
    let vcpus = rules.vcpus_max.clone().map(|max| Ruled { value: max.value.into(), line: 1 });
    // As the property has them: what begins with all, and takes nothing away.
    let free = |list: &At<Vec<Term>>| {
        list.value[0].range == Range::All && list.value.iter().all(|term| !term.exclude)
    };
    let vcpus_of = config.max_vcpus as usize;
    let unpinned = match &config.hard_affinity {
        Affinity::Anywhere => true,
        Affinity::Every(list) => free(list),
        Affinity::Each(lists) => lists.len() < vcpus_of || lists[..vcpus_of].iter().any(free),
    };
    let ends = &config.on_end;
    within(&rules.memory_max_kib, spec.memory_kib.max(spec.max_memory_kib))
        && within(&vcpus, spec.max_vcpus.max(spec.vcpus).into())
        && known(&rules.kernel, Some(&spec.kernel))
        && known(&rules.ramdisk, spec.ramdisk.as_deref())
        && !(unpinned && rules.pinning.as_ref().is_some_and(|rule| rule.value))
        && rules.cpus.as_ref().is_none_or(|allowed| {
            cpus_of(&spec).iter().flat_map(|set| &set.0).all(|cpu| allowed.value.contains(cpu))
        })
        && rules
            .force
            .iter()
            .all(|(key, forced)| super::merge::action(ends, key) == Some(forced.value))
        && rules.devices.get("vif").is_none_or(|allowed| {
            config.devices.vifs.iter().all(|vif| {
                vif.script.is_none() && allowed.value.contains(vif.bridge.as_ref().unwrap())
            })
        })
}

/// Whether a definition gives nothing that was not asked for.
fn is_no_looser(asked: &DomainConfig, found: &DomainConfig, rules: &Rules) -> bool {
    let resolve = |config: &DomainConfig| {
        config.clone().resolve(&host(), Uuid::nil()).expect("a specification")
    };
    let (asked_spec, found_spec) = (resolve(asked), resolve(found));
    let (before, after) = (cpus_of(&asked_spec), cpus_of(&found_spec));
    let ends = ["on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset"];
    found_spec.memory_kib == asked_spec.memory_kib
        && found_spec.max_memory_kib <= asked_spec.max_memory_kib
        && found_spec.vcpus == asked_spec.vcpus
        && found_spec.max_vcpus <= asked_spec.max_vcpus
        && before
            .iter()
            .zip(&after)
            .all(|(before, after)| after.0.iter().all(|cpu| before.0.contains(cpu)))
        && found.devices == asked.devices
        && found.channels == asked.channels
        && found.hardware == asked.hardware
        && (&found_spec.kernel, &found_spec.ramdisk) == (&asked_spec.kernel, &asked_spec.ramdisk)
        && ends.iter().all(|key| {
            let (asked, found) = (
                super::merge::action(&asked.on_end, key),
                super::merge::action(&found.on_end, key),
            );
            asked == found || rules.force.get(key).map(|rule| rule.value) == found
        })
}

fn actions() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("destroy"), Just("restart"), Just("preserve"), Just("rename-restart")]
}

fn policy() -> impl Strategy<Value = String> {
    let amount = proptest::option::of(32u32..512);
    let vcpus = proptest::option::of(1u32..6);
    let cpus = proptest::option::of(proptest::collection::btree_set(0u32..12, 1..10));
    let forced = proptest::option::of(actions());
    let bridges = proptest::option::of(proptest::collection::btree_set("br[0-2]", 0..3));
    (amount, vcpus, any::<bool>(), any::<bool>(), cpus, any::<bool>(), forced, bridges).prop_map(
        |(amount, vcpus, kernel, ramdisk, cpus, required, forced, bridges)| {
            let mut text = String::new();
            if let Some(amount) = amount {
                text += &format!("[memory]\nmax = {amount}\n");
            }
            if let Some(vcpus) = vcpus {
                text += &format!("[vcpus]\nmax = {vcpus}\n");
            }
            for (key, is_ruled) in [("kernel", kernel), ("ramdisk", ramdisk)] {
                if is_ruled {
                    text += &format!("[{key}]\nsha256 = ['{HASH}']\n");
                }
            }
            text += &format!("[pinning]\nrequired = {required}\n");
            if let Some(cpus) = cpus {
                let cpus: Vec<u32> = cpus.into_iter().collect();
                text += &format!("cpus = '{}'\n", crate::template::ranges::compact(&cpus));
            }
            if let Some(forced) = forced {
                text += &format!("[force]\non_crash = '{forced}'\non_reboot = '{forced}'\n");
            }
            if let Some(bridges) = bridges {
                let bridges: Vec<String> =
                    bridges.into_iter().map(|one| format!("'{one}'")).collect();
                text += &format!("[devices]\nvif = [{}]\n", bridges.join(", "));
            }
            text
        },
    )
}

fn config() -> impl Strategy<Value = String> {
    let list = "(all|node:[01]|[0-9]|[0-4]-[5-9])(,\\^?([0-9]|node:[01]|[0-4]-[5-9])){0,2}";
    let pinned = prop_oneof![
        Just(String::new()),
        list.prop_map(|list| format!("cpus = '{list}'\n")),
        proptest::collection::vec(list, 1..4)
            .prop_map(|lists| format!("cpus = ['{}']\n", lists.join("', '"))),
    ];
    let file = prop_oneof![Just("/good"), Just("/bad"), Just("/open"), Just("/gone")];
    (
        (32u64..600, proptest::option::of(0u64..600)),
        (1u32..8, proptest::option::of(0u32..4)),
        pinned,
        (file.clone(), proptest::option::of(file)),
        (proptest::option::of(actions()), proptest::option::of(actions())),
        proptest::collection::vec("br[0-2]", 0..3),
    )
        .prop_map(
            |(
                (memory, more),
                (vcpus, more_vcpus),
                pinned,
                (kernel, ramdisk),
                (crash, reboot),
                vifs,
            )| {
                let mut text = format!(
                    "name = 'n'\nkernel = '{kernel}'\nmemory = {memory}\nvcpus = {vcpus}\n{pinned}"
                );
                if let Some(more) = more {
                    text += &format!("maxmem = {}\n", memory + more);
                }
                if let Some(more) = more_vcpus {
                    text += &format!("maxvcpus = {}\n", vcpus + more);
                }
                if let Some(ramdisk) = ramdisk {
                    text += &format!("ramdisk = '{ramdisk}'\n");
                }
                for (key, action) in [("on_crash", crash), ("on_reboot", reboot)] {
                    if let Some(action) = action {
                        text += &format!("{key} = '{action}'\n");
                    }
                }
                let vifs: Vec<String> =
                    vifs.into_iter().map(|bridge| format!("'bridge={bridge}'")).collect();
                text + &format!("vif = [{}]\n", vifs.join(", "))
            },
        )
}

fn facts() -> Facts {
    let file = |sha256, changeable: Option<&str>| FileFacts {
        sha256: Some(sha256),
        changeable: changeable.map(Into::into),
    };
    Facts::from([
        ("/good".into(), file(Ok(HASH.into()), None)),
        ("/bad".into(), file(Ok(HASH.replace('0', "1")), None)),
        ("/open".into(), file(Ok(HASH.into()), Some("/"))),
        ("/gone".into(), file(Err("no such file".into()), None)),
    ])
}

proptest! {
    /// The heart of it: what comes out keeps to the policy, and is no looser than what was asked for;
    /// a second time there is nothing to do.
    #[test]
    fn the_merged_definition_keeps_to_both(policy in policy(), text in config()) {
        let rules = parse::parse(&policy).expect("a policy").rules;
        let asked = read(&[&text]).expect("a configuration");
        // What names no CPU of the host, or leaves none, is refused when the host is known.
        if asked.clone().resolve(&host(), Uuid::nil()).is_err() {
            return Ok(());
        }
        let merged = merge(&rules, &asked, &facts());
        if !merged.refusals.is_empty() {
            return Ok(());
        }
        let found = read(&[&text, &assignments(&merged)]).expect("the merged configuration");
        if found.clone().resolve(&host(), Uuid::nil()).is_err() {
            // A node and the policy have no CPU in common: refused as well, at the policy's line.
            let asked = asked.resolve(&host(), Uuid::nil()).expect("a specification");
            let allowed = &rules.cpus.as_ref().expect("CPUs that are allowed").value;
            let none = |set: &CpuSet| set.0.iter().all(|cpu| !allowed.contains(cpu));
            prop_assert!(cpus_of(&asked).iter().any(none), "{}\n{}", policy, assignments(&merged));
            return Ok(());
        }
        prop_assert!(keeps_to(&rules, &found, &facts()), "{}\n{}", policy, assignments(&merged));
        prop_assert!(is_no_looser(&asked, &found, &rules), "{}\n{}", policy, assignments(&merged));
        prop_assert_eq!(merge(&rules, &found, &facts()), Merged::default());
        // Who keeps to the rules is left alone.
        if keeps_to(&rules, &asked, &facts()) && !text.contains("node") && !text.contains("all") {
            prop_assert_eq!(merged.overrides, vec![], "{}", policy);
        }
    }
}

/// The properties do find what they are for.
#[test]
fn the_properties_can_fail() {
    let rules = parse::parse("[pinning]\ncpus = '2-3'").expect("a policy").rules;
    let (asked, wide) =
        ("name = 'n'\nkernel = '/good'\nmemory = 64\ncpus = '2'\n", "cpus = '2-3'\n");
    let (asked, wide) = (read(&[asked]).unwrap(), read(&[asked, wide]).unwrap());
    assert!(keeps_to(&rules, &asked, &facts()) && is_no_looser(&asked, &asked, &rules));
    assert!(!is_no_looser(&asked, &wide, &rules));
    let free = Affinity::Anywhere;
    assert!(!keeps_to(&rules, &DomainConfig { hard_affinity: free, ..asked }, &facts()));
    assert!(cpulist::parse("2-3").is_ok());
}
