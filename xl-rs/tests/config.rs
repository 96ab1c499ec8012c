//! xl.cfg from text to the builder's specification, through the public door.

use domain_builder::spec::{CpuSet, DomainSpec, EndAction, TscMode, VcpuAffinity};
use uuid::Uuid;
use xl_rs::config::diagnostic::{Severity, render};
use xl_rs::config::load;
use xl_rs::config::resolve::Host;
use xl_rs::config::source::Sources;

/// Four CPUs on two nodes, two pools.
fn host() -> Host {
    Host {
        node_of_cpu: vec![Some(0), Some(0), Some(1), Some(1)],
        pools: vec![(String::from("Pool-0"), 0), (String::from("batch"), 3)],
        utc_offset_seconds: 3600,
    }
}

/// The specification, or every error in order, and every warning in order.
fn read(texts: &[&str]) -> (Result<DomainSpec, Vec<String>>, Vec<String>) {
    let mut sources = Sources::default();
    for (index, text) in texts.iter().enumerate() {
        sources.add(["f.cfg", "command line"][index.min(1)], *text);
    }
    let loaded = load(sources);
    let of = |severity| {
        let chosen = loaded.problems.iter().filter(move |problem| problem.severity == severity);
        chosen.map(|problem| problem.message.clone()).collect::<Vec<_>>()
    };
    let warnings = of(Severity::Warning);
    let spec = match loaded.config {
        None => Err(of(Severity::Error)),
        Some(config) => config
            .resolve(&host(), Uuid::from_bytes([7; 16]))
            .map_err(|problems| problems.into_iter().map(|problem| problem.message).collect()),
    };
    (spec, warnings)
}

const BASE: &str = "name='n'\nkernel='/k'\nmemory=64\n";

/// `BASE` and more, expected to pass without a warning.
fn good(more: &str) -> DomainSpec {
    let (spec, warnings) = read(&[BASE, more]);
    assert_eq!(warnings, [""; 0], "{more:?}");
    spec.unwrap_or_else(|errors| panic!("{more:?}: {errors:?}"))
}

/// `BASE` and more, expected to be refused with exactly these words.
fn bad(more: &str, expected: &str) {
    let (spec, _) = read(&[BASE, more]);
    assert_eq!(spec.expect_err(more), [expected], "{more:?}");
}

/// `BASE` and more, expected to pass with exactly this warning.
fn warned(more: &str, expected: &str) {
    let (spec, warnings) = read(&[BASE, more]);
    assert!(spec.is_ok(), "{more:?}: {spec:?}");
    assert_eq!(warnings, [expected], "{more:?}");
}

#[test]
fn defaults_are_xls() {
    let spec = good("");
    assert_eq!(spec.name, "n");
    assert_eq!(spec.uuid, [7; 16]);
    assert_eq!((spec.memory_kib, spec.max_memory_kib), (64 << 10, 64 << 10));
    assert_eq!((spec.vcpus, spec.max_vcpus), (1, 1));
    assert_eq!((spec.affinity.len(), spec.cpupool, spec.cmdline.as_str()), (0, 0, ""));
    assert_eq!(spec.on_end.poweroff, EndAction::Destroy);
    assert_eq!(spec.on_end.reboot, EndAction::Restart);
    assert_eq!(spec.on_end.soft_reset, EndAction::SoftReset);
    assert_eq!(spec.max_event_channels, None);
}

#[test]
fn memory_and_vcpus() {
    let spec = good("memory='1G';maxmem=2048;vcpus=2;maxvcpus=4");
    assert_eq!((spec.memory_kib, spec.max_memory_kib), (1 << 20, 2 << 20));
    assert_eq!((spec.vcpus, spec.max_vcpus), (2, 4));
    assert_eq!(good("maxmem=64;vcpus=2;maxvcpus=2").max_memory_kib, 64 << 10);
    assert_eq!(good("vcpus=010").max_vcpus, 8);
    assert_eq!(good("vcpus='0x3'").vcpus, 3);
    bad("maxmem=32", "maxmem is less than memory, 64 MiB");
    bad("vcpus=4;maxvcpus=2", "maxvcpus is less than vcpus, 4");
    bad("vcpus=0", "vcpus is out of range");
    bad("vcpus=8193", "vcpus is out of range");
    bad("vcpus='two'", "vcpus is not a number");
    bad("vcpus=09", "vcpus is not a number");
    bad("vcpus=[1]", "vcpus is not a number");
    bad("memory='lots'", "memory is not an amount of memory");
    bad("memory=0", "memory is too small");
    bad("memory='17T'", "memory is too large");
    bad("memory='-1'", "memory is negative");
    bad("memory=-1", "a number without quotes has no sign, found '-'");
    bad("memory='4X'", "memory has an unknown unit");
    assert_eq!(good("memory='2GiB'").memory_kib, 2 << 20);
    assert_eq!(good("memory='512M'").memory_kib, 512 << 10);
}

#[test]
fn memory_that_is_not_set_is_said() {
    let (spec, warnings) = read(&["name='n'\nkernel='/k'"]);
    assert_eq!(spec.expect("a specification").memory_kib, 32 << 10);
    assert!(warnings[0].contains("32 MiB"), "{warnings:?}");
}

#[test]
fn pinning() {
    let set = |cpus: &[u32]| Some(CpuSet(cpus.to_vec()));
    let spec = good("vcpus=2;cpus='0-3,^1'");
    let every = VcpuAffinity { hard: set(&[0, 2, 3]), soft: None };
    assert_eq!(spec.affinity, [every.clone(), every]);
    let spec = good("vcpus=3;cpus=['2','nodes:0'];cpus_soft=[3]");
    assert_eq!(
        spec.affinity,
        [
            VcpuAffinity { hard: set(&[2]), soft: set(&[3]) },
            VcpuAffinity { hard: set(&[0, 1]), soft: None },
        ]
    );
    assert_eq!(good("cpus=1").affinity[0].hard, set(&[1]));
    assert_eq!(good("cpus=[]").affinity, []);
    bad("cpus='4'", "the guest cannot be pinned like this");
    bad("cpus='node:2'", "the guest cannot be pinned like this");
    bad("cpus='0-'", "cpus is not a list of CPUs");
    bad("cpus=['0',['1']]", "an item of cpus must be a string, not a list");
    warned("cpus=['0','1']", "cpus has 2 entries for 1 vcpu");
}

#[test]
fn channels() {
    let spec = good("channel=['name=a,connection=pty','name=b,connection=socket,path=/run/b']");
    let names: Vec<&str> = spec.channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(good("channel=[]").channels, []);
    bad("channel='name=a,connection=pty'", "channel must be a list");
    bad("channel=['connection=pty']", "channel: a channel has no name");
    bad("channel=[['x']]", "an item of channel must be a string, not a list");
    bad(
        "channel=['name=a,connection=pty','name=a,connection=pty']",
        "two channels have the same name",
    );
    let same = "connection=socket,path=/run/b";
    bad(&format!("channel=['name=a,{same}','name=b,{same}']"), "two channels have the same path");
}

#[test]
fn scheduling_and_limits() {
    let spec = good("cpu_weight=512;cap=50;pool='batch';tsc_mode='native'");
    assert_eq!((spec.sched.weight, spec.sched.cap), (Some(512), Some(50)));
    assert_eq!((spec.cpupool, spec.tsc_mode), (3, TscMode::Native));
    assert_eq!(good("pool='3'").cpupool, 3);
    let spec = good("max_grant_frames=64;max_maptrack_frames=0;max_event_channels=127");
    assert_eq!(spec.max_grant_frames, Some(64));
    assert_eq!(spec.max_maptrack_frames, Some(0));
    assert_eq!(spec.max_event_channels, Some(127));
    bad("cpu_weight=0", "cpu_weight is out of range");
    bad("cap=-1", "a number without quotes has no sign, found '-'");
    bad("cap='-1'", "cap is out of range");
    bad("pool='none'", "there is no cpupool \"none\"");
    bad("tsc_mode='fast'", "tsc_mode is not known");
}

#[test]
fn options_of_a_guest_without_devices() {
    let spec = good("");
    assert_eq!((spec.max_grant_version, spec.time_offset_seconds), (None, 0));
    assert!(!spec.no_migrate && !spec.msr_relaxed && !spec.driver_domain && !spec.no_suspend_node);
    assert_eq!(good("max_grant_version=1").max_grant_version, Some(1));
    assert!(good("nomigrate=1").no_migrate && !good("nomigrate=0").no_migrate);
    // Any number but 0 is true, as under xl.
    assert!(good("msr_relaxed=7").msr_relaxed);
    assert!(good("driver_domain='1'").driver_domain);
    assert!(good("xend_suspend_evtchn_compat=1").no_suspend_node);
    assert_eq!(good("rtc_timeoffset='-60'").time_offset_seconds, -60);
    // The host of these tests is an hour ahead of UTC.
    assert_eq!(good("localtime=1").time_offset_seconds, 3600);
    assert_eq!(good("localtime=1;rtc_timeoffset=30").time_offset_seconds, 3630);
    bad("max_grant_version=0", "max_grant_version is out of range");
    bad("max_grant_version=3", "max_grant_version is out of range");
    bad("nomigrate='yes'", "nomigrate is not a number");
    bad("rtc_timeoffset=2147483648", "rtc_timeoffset is out of range");
}

#[test]
fn kernel_and_command_line() {
    assert_eq!(good("root='/dev/xvda'").cmdline, "root=/dev/xvda");
    assert_eq!(good("extra='a'\nextra+=' b'").cmdline, "a b");
    assert_eq!(good("root='/dev/xvda';extra='quiet'").cmdline, "root=/dev/xvda quiet");
    assert_eq!(good("cmdline='whole'").cmdline, "whole");
    warned("cmdline='whole';extra='quiet'", "extra has no effect beside cmdline");
    assert_eq!(good("ramdisk='/r'").ramdisk.as_deref(), Some("/r".as_ref()));
    assert_eq!(good("ramdisk=''").ramdisk, None);
    bad("kernel=''", "kernel is empty");
    bad("kernel=[]", "kernel must be a string, not a list");
}

#[test]
fn names_and_uuids() {
    let (spec, _) = read(&["memory=64"]);
    assert_eq!(spec.expect_err("no name, no kernel"), ["name is not set", "kernel is not set"]);
    assert_eq!(good("name='test~pv64'").name, "test~pv64");
    assert_eq!(good("uuid='01020304-0506-0708-090a-0b0c0d0e0f10'").uuid[..3], [1, 2, 3]);
    bad("uuid='01020304'", "uuid is not a UUID");
    bad("name='a/b'", "this name cannot be used");
    bad("name=\"a\\nb\"", "this name cannot be used");
    bad(&format!("name='{}'", "x".repeat(201)), "this name cannot be used");
    assert_eq!(good(&format!("name='{}'", "x".repeat(200))).name.len(), 200);
    warned("name='17'", "a name of digits only is taken for a domid by every command");
}

#[test]
fn types_match_by_prefix_as_under_xl() {
    for text in
        ["type='pv'", "type='p'", "builder='generic'", "builder='linux'", "type='pv';builder='gen'"]
    {
        good(text);
    }
    bad("type='pvh'", "PVH guests are not supported by this version");
    bad("type='h'", "HVM guests are not supported by this version");
    bad("builder='hvm'", "HVM guests are not supported by this version");
    bad("type='pv';builder='hvm'", "HVM guests are not supported by this version");
    bad("type='pvx'", "type \"pvx\" is not known");
}

#[test]
fn what_happens_at_the_end() {
    let spec = good("on_reboot='rename-restart';on_crash='preserve';on_watchdog='restart'");
    assert_eq!(spec.on_end.reboot, EndAction::RenameRestart);
    assert_eq!(spec.on_end.crash, EndAction::Preserve);
    assert_eq!(spec.on_end.watchdog, EndAction::Restart);
    for (action, expected) in [
        ("coredump-destroy", EndAction::CoredumpDestroy),
        ("coredump-restart", EndAction::CoredumpRestart),
    ] {
        let (spec, warnings) = read(&[BASE, &format!("on_watchdog='{action}'")]);
        assert_eq!(spec.expect("a specification").on_end.watchdog, expected);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    bad("on_crash='reboot'", "on_crash is not an action");
}

/// Where an assignment of the command line cannot be read, what it was to replace is not the
/// matter; what it adds to is.
#[test]
fn an_assignment_that_cannot_be_read_is_the_only_problem_of_its_key() {
    let check = |file: &str, assignment: &str, expected: &[&str]| {
        let (spec, _) = read(&[&format!("name='n'\nkernel='/k'\n{file}\n"), assignment]);
        assert_eq!(spec.expect_err("broken"), expected, "{file} {assignment}");
    };
    let separator = "expected the end of the line, found 'G'";
    check("memory='x'", "memory=4G", &[separator]);
    check("vcpus=0;memory='x'", "memory=4G", &["vcpus is out of range", separator]);
    check("tsc_mode='x'", "tsc_mode=native", &["expected a value, found 'n'"]);
    check(
        "tsc_mode='x'",
        "tsc_mode+=native",
        &["tsc_mode is not known", "expected a value, found 'n'"],
    );
}

/// Only where a shell has been at the quotes is there talk of one.
#[test]
fn a_word_without_quotes_is_advised_where_it_stands() {
    for (name, shell) in [("f.cfg", false), ("command line", true)] {
        let mut sources = Sources::default();
        sources.add("base.cfg", BASE);
        sources.add(name, "name=web");
        let loaded = load(sources);
        let shown = render(&loaded.problems, &loaded.sources, false);
        assert!(shown.contains("put a word in quotes"), "{shown}");
        assert_eq!(shown.contains("the shell"), shell, "{shown}");
    }
}

#[test]
fn keys_without_effect_are_said() {
    warned("memmory=1", "memmory is not a key of xl.cfg");
    warned("hap=1", "hap has no effect: it concerns HVM and PVH guests only");
    bad(
        "vfb=['vnc=1']",
        "vfb cannot be honoured: devices of this kind are not supported by this version of xlr",
    );
    good("disk=[];vif=[];nestedhvm=0;bootloader=''");
    // A file made for the Xen test framework.
    warned(
        "builder='generic'\nloader='generic'  \n",
        "loader has no effect: nothing has used it for years",
    );
}

#[test]
fn the_command_line_overrides_without_a_word() {
    let (spec, warnings) = read(&[BASE, "memory=128", "extra='x'", "extra+='y'"]);
    let spec = spec.expect("a specification");
    assert_eq!((spec.memory_kib, spec.cmdline.as_str()), (128 << 10, "xy"));
    assert_eq!(warnings, [""; 0]);
    warned("vcpus=1\nvcpus=2", "vcpus is set twice; the last one holds");
}

#[test]
fn a_syntax_error_does_not_claim_that_keys_are_missing() {
    let (spec, _) = read(&["name=n\nkernel='/k'\nmemory=64\n"]);
    assert_eq!(spec.expect_err("broken"), ["expected a value, found 'n'"]);
}

#[test]
fn a_caret_points_into_the_list() {
    let mut sources = Sources::default();
    sources.add("f.cfg", format!("{BASE}cpus = \"0-3,x\"\n"));
    let loaded = load(sources);
    let text = render(&loaded.problems, &loaded.sources, false);
    assert!(text.contains("f.cfg:4:13"), "{text}");
}

/// What is shown for a text and for overrides of the command line.
fn shown(texts: &[&str]) -> String {
    let mut sources = Sources::default();
    for (index, text) in texts.iter().enumerate() {
        sources.add(["f.cfg", "command line"][index.min(1)], *text);
    }
    let loaded = load(sources);
    render(&loaded.problems, &loaded.sources, false)
}

#[test]
fn a_caret_points_into_the_description_of_a_device() {
    for (text, place, words) in [
        ("disk = ['/x,raw,xvda,bakend=d']", "f.cfg:4:22", "a disk has no parameter \"bakend\""),
        ("disk = [\n'/x,raw,xvda',\n'/y,rwa,xvdb']", "f.cfg:6:5", "\"rwa\" is no format"),
        ("vif = ['mac=1']", "f.cfg:4:13", "\"1\" is no MAC address"),
        ("pci = ['03:00.0,sieze=1']", "f.cfg:4:17", "no parameter \"sieze\""),
        ("ioports = ['2f8-']", "f.cfg:4:17", "\"\" is no I/O port"),
        ("iomem = ['fed9f']", "f.cfg:4:11", "names no I/O memory"),
        ("irqs = ['x']", "f.cfg:4:10", "is no interrupt"),
        ("disk = [[1]]", "f.cfg:4:9", "an item of disk must be a string, not a list"),
    ] {
        let shown = shown(&[&format!("{BASE}{text}\n")]);
        let flat = shown.replace("\n  \u{2502} ", " ");
        for part in [place, words] {
            assert!(flat.contains(part), "{part:?} is missing in:\n{shown}");
        }
    }
}

#[test]
fn cpuid_by_names_and_by_bits() {
    let spec = good("cpuid='host,sse3=0,invtsc=1'");
    assert_eq!((spec.cpuid.len(), spec.cpuid[0].clear, spec.cpuid[1].set), (2, 1, 256));
    let by_leaf = format!("cpuid=['0x1:ecx={}0']", "x".repeat(31));
    assert_eq!(good(&by_leaf).cpuid[0].clear, 1);
    assert_eq!(good("cpuid=''").cpuid, []);
    for (text, place, words) in [
        ("cpuid='host,sse9=1'", "f.cfg:4:13", "cpuid knows no flag \"sse9\""),
        ("cpuid=['1:eax=0']", "f.cfg:4:15", "a register has 32 bits"),
        ("cpuid='sse3=1'", "f.cfg:4:8", "cpuid begins with host"),
    ] {
        let shown = shown(&[&format!("{BASE}{text}\n")]);
        assert!(shown.contains(place) && shown.contains(words), "{shown}");
    }
}

#[test]
fn problems_of_the_command_line_name_it() {
    for (text, place) in [
        ("memory='x'", "command line:1:8"),
        ("memory=4G", "command line:1:9"),
        ("memroy=4", "command line:1:1"),
        ("disk=['/x,rwa']", "command line:1:11"),
    ] {
        let shown = shown(&[BASE, text]);
        assert!(shown.contains(place), "{place:?} is missing in:\n{shown}");
    }
}

/// A slip is what is wrong, not that something is missing: both are said, the slip first.
#[test]
fn a_misspelt_key_is_said_before_the_missing_one() {
    let text = shown(&["name='n'\nkernel='/k'\nmemroy=512\n"]);
    let slip = text.find("memroy is not a key of xl.cfg").expect(&text);
    let missing = text.find("memory is not set").expect(&text);
    assert!(slip < missing, "{text}");
    assert!(text.contains("did you mean memory?"), "{text}");
    assert!(text.contains("memroy looks like it: write memory = 512"), "{text}");
    let text = shown(&["nmae='n'\nkernel='/k'\nmemory=64\n"]);
    assert!(text.contains("nmae looks like it: write name"), "{text}");
}

#[test]
fn a_binary_file_is_named_and_not_shown() {
    let elf = b"\x7fELF\x02\x01\x01\0\0\0kernel\n".to_vec();
    let noise: Vec<u8> = (0..2000u32).map(|at| (at * 7 % 31) as u8 + 1).collect();
    let one_nul = [vec![b'x'; 200], b"\0\n".to_vec()].concat();
    for text in [elf, noise, one_nul] {
        let mut sources = Sources::default();
        sources.add("/boot/vmlinuz", text);
        let loaded = load(sources);
        assert!(loaded.config.is_none());
        let shown = render(&loaded.problems, &loaded.sources, false);
        assert!(shown.contains("/boot/vmlinuz is a binary file"), "{shown}");
        assert!(!shown.contains("ELF") && !shown.contains('?'), "{shown}");
    }
    // Text in any encoding, with tabs and DOS line ends, is text; so is one with a slip in it.
    for text in ["n\u{e9}\r\n\t# x\r\n".as_bytes(), b"# \xe9\xff\xfe\n", b"a=1\x01\n", &[8; 8]] {
        let mut sources = Sources::default();
        sources.add("f.cfg", text);
        assert!(!sources.get(0).expect("a source").is_binary());
    }
}

#[test]
fn numbers_are_not_joined() {
    bad("vcpus+=2", "vcpus is a number and cannot be joined with +=");
    bad("memory+=2", "memory is a number and cannot be joined with +=");
    assert_eq!(good("vcpus=010").vcpus, 8);
}

/// As the Xen test framework writes them.
#[test]
fn files_of_the_test_framework_pass() {
    let text = "name=\"test-pv64-example\"\t\nbuilder=\"generic\"\nloader=\"generic\"   \n\
                vcpus=2\n\nmaxmem=128\nkernel=\"/opt/xtf/tests/example/test-pv64-example~cfg\"\n\
                on_crash=\"destroy\"\nmemory=128\nmemory=64  # the last one holds\n";
    let (spec, warnings) = read(&[text]);
    let spec = spec.expect("a specification");
    assert_eq!((spec.name.as_str(), spec.vcpus), ("test-pv64-example", 2));
    assert_eq!((spec.memory_kib, spec.max_memory_kib), (64 << 10, 128 << 10));
    assert!(spec.kernel.ends_with("test-pv64-example~cfg"));
    assert_eq!(
        warnings,
        [
            "loader has no effect: nothing has used it for years",
            "memory is set twice; the last one holds"
        ]
    );
}

#[test]
fn memory_falls_back_to_maxmem() {
    let (spec, warnings) = read(&["name='n'\nkernel='/k'\nmaxmem=96"]);
    assert_eq!(spec.expect("a specification").memory_kib, 96 << 10);
    assert_eq!(warnings, ["memory is not set: the domain gets what maxmem says, 96 MiB"]);
}

#[test]
fn hpc_cfg_says_what_it_shows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/hpc.cfg");
    let text = std::fs::read_to_string(path).expect("configs/hpc.cfg");
    let (spec, warnings) = read(&[&text]);
    assert_eq!(warnings, [""; 0]);
    let spec = spec.expect("a specification");
    assert_eq!((spec.name.as_str(), spec.memory_kib, spec.vcpus), ("hpc", 256 << 10, 1));
    assert_eq!(spec.affinity[0].hard, Some(CpuSet(vec![0])));
    assert_eq!(spec.on_end.reboot, EndAction::Destroy);
}

#[test]
fn text_steers_no_terminal() {
    for stray in ['\x01', '\r', '\x1b', '\x7f', '\u{9b}'] {
        let refused = "must be a string, not text with a control character";
        bad(&format!("ramdisk='/r{stray}[2J'\n"), &format!("ramdisk {refused}"));
        bad(&format!("extra='a{stray}b'\n"), &format!("extra {refused}"));
    }
    assert_eq!(good(r#"extra="a\n\tb""#).cmdline, "a\n\tb");
    bad("name='a\u{202e}b'\n", "this name cannot be used");
}
