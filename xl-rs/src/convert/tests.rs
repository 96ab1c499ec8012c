use super::*;
use crate::config::load;
use crate::config::lower::DomainConfig;
use crate::config::resolve::Host;
use crate::config::source::Sources;
use crate::state::userdata::libxl_json;
use proptest::prelude::*;
use uuid::Uuid;

fn read(text: &str) -> DomainConfig {
    let mut sources = Sources::default();
    sources.add("converted", text);
    let loaded = load(sources);
    let problems = loaded.problems;
    loaded.config.unwrap_or_else(|| panic!("{text}\n{problems:?}"))
}

fn left(converted: &Converted) -> Vec<&str> {
    converted.left.iter().map(|left| left.path.as_str()).collect()
}

const XML: &str = "<domain type='xen' id='3'>
  <name>web</name>
  <uuid>2c75fd12-8c60-48a5-acb0-6341ee1753f4</uuid>
  <title>a server</title>
  <memory unit='GiB'>2</memory>
  <currentMemory>1048576</currentMemory>
  <vcpu placement='static' current='2' cpuset='0-3'>4</vcpu>
  <cputune><vcpupin vcpu='1' cpuset='2'/><shares>512</shares></cputune>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>/boot/vmlinuz</kernel>
    <initrd>/boot/initrd</initrd>
    <cmdline>root=/dev/xvda quiet=\"a b\"</cmdline>
  </os>
  <clock offset='variable' adjustment='-60' basis='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>/usr/bin/qemu</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='/srv/a,b.img'/>
      <target dev='xvda' bus='xen'/>
      <readonly/>
    </disk>
    <disk type='network' device='disk'><target dev='xvdb'/></disk>
    <interface type='bridge'>
      <mac address='00:16:3e:01:02:03'/>
      <source bridge='xenbr0'/>
      <script path='vif-bridge'/>
      <target dev='vif3.0'/>
    </interface>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x03' slot='0x00' function='0x1'/></source>
    </hostdev>
    <channel type='pty'><target type='xen' name='agent'/></channel>
    <console type='pty' tty='/dev/pts/1'><source path='/dev/pts/1'/><target type='xen' port='0'/></console>
    <graphics type='vnc' port='-1'><listen type='address'/></graphics>
    <memballoon model='xen'/>
  </devices>
</domain>
";

#[test]
fn a_domain_of_libvirt() {
    let all = convert(XML).expect("domains");
    assert_eq!(all.len(), 1);
    let config = read(&all[0].text);
    assert_eq!((config.memory_kib, config.max_memory_kib), (1 << 20, 2 << 20));
    assert_eq!((config.vcpus, config.max_vcpus), (2, 4));
    assert_eq!(config.cmdline, "root=/dev/xvda quiet=\"a b\"");
    assert_eq!(config.time_offset_seconds, -60);
    assert_eq!(config.devices.disks[0].target, "/srv/a,b.img");
    assert!(config.devices.disks[0].read_only);
    assert_eq!(config.devices.vifs[0].bridge.as_deref(), Some("xenbr0"));
    assert_eq!((config.devices.pci.len(), config.channels.len()), (1, 1));
    // The vcpus behind the last one that has CPUs of its own are not free.
    let cpus = "cpus = [\"0-3\", \"2\", \"0-3\", \"0-3\"]";
    assert!(all[0].text.contains(cpus), "{}", all[0].text);
    assert_eq!(
        left(&all[0]),
        [
            "domain/title",
            "domain/cputune/shares",
            "domain/devices/emulator",
            "domain/devices/disk/driver/@cache",
            "domain/devices/disk",
            "domain/devices/disk/target",
            "domain/devices/graphics",
            "domain/devices/graphics/listen",
        ]
    );
    assert_eq!(all[0].left[0].line, Some(4));
}

/// Every element of a document is either carried or named: whatever is added is named.
#[test]
fn nothing_is_left_in_silence() {
    let before = convert(XML).expect("a domain")[0].left.len();
    let tags: Vec<usize> = XML.match_indices('>').map(|(at, _)| at + 1).collect();
    let (mut tried, end) = (0, XML.rfind("</domain>").expect("an end"));
    for at in tags.into_iter().filter(|at| *at <= end) {
        let text = format!("{}<strange/>{}", &XML[..at], &XML[at..]);
        let Ok(after) = convert(&text) else { continue };
        tried += 1;
        // What it displaces may be told as well.
        assert!(after[0].left.len() > before, "{text}");
        assert!(left(&after[0]).iter().any(|path| path.ends_with("strange")), "{text}");
    }
    assert!(tried > 50, "only {tried}");
}

/// A document with this in place of something: what its configuration has, and what is told.
fn check_change(from: &str, to: &str, has: &[&str], told: &[&str]) {
    assert!(XML.contains(from), "{from}");
    let before = left(&convert(XML).expect("a domain")[0]).len();
    let all = convert(&XML.replace(from, to)).expect(to);
    assert_eq!(all.len(), 1, "{to}");
    for has in has {
        assert!(all[0].text.contains(has), "{to}: {has:?} is missing in {}", all[0].text);
    }
    let found = left(&all[0]);
    assert_eq!(found.len(), before + told.len(), "{to}: {found:?}");
    assert!(told.iter().all(|told| found.contains(told)), "{to}: {found:?}");
}

#[test]
fn texts_of_libvirt_are_whole() {
    let cmdline = "<cmdline>root=/dev/xvda quiet=\"a b\"</cmdline>";
    check_change(
        cmdline,
        "<cmdline>root=/dev/xvda <!-- old: ro --> rw</cmdline>",
        &["cmdline = \"root=/dev/xvda  rw\""],
        &[],
    );
    check_change(cmdline, "<cmdline><!-- x -->quiet</cmdline>", &["cmdline = \"quiet\""], &[]);
    check_change(">2</memory>", "><!-- GiB -->2</memory>", &["maxmem = 2048"], &[]);
}

#[test]
fn numbers_of_libvirt_that_are_none_are_told() {
    check_change(
        ">4</vcpu>",
        ">four</vcpu>",
        &["vcpus = 2\n", "[\"0-3\", \"2\"]"],
        &["domain/vcpu"],
    );
    check_change("current='2'", "current='two'", &["vcpus = 4\n"], &["domain/vcpu"]);
    check_change(
        "<target dev='vif3.0'/>",
        "<target dev='vif3.0'/><mtu size='70000'/>",
        &["bridge=xenbr0"],
        &["domain/devices/interface/mtu"],
    );
}

/// What others have put into a domain is neither a domain nor taken for what libvirt says.
#[test]
fn elements_of_others_are_told() {
    check_change(
        "<title>",
        "<metadata><site:domain xmlns:site='x'>example.org</site:domain><domain/></metadata><title>",
        &["name = \"web\""],
        &["domain/metadata", "domain/metadata/domain", "domain/metadata/domain"],
    );
    check_change(
        "<name>web</name>",
        "<site:name xmlns:site='x'>other</site:name><name>web</name>",
        &["name = \"web\""],
        &["domain/name"],
    );
}

#[test]
fn what_is_no_domain_is_refused() {
    for (text, words) in [
        ("", "neither"),
        ("name = 'x'", "neither"),
        ("<domain", "line 1"),
        ("<network/>", "no <domain>"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><domain/>", "DTD"),
        ("{", "EOF"),
        ("[1]", "no domain"),
        ("{\"domid\": 1}", "no domain"),
    ] {
        let error = convert(text).expect_err(text).to_string();
        assert!(error.contains(words), "{text:?}: {error}");
    }
    assert_eq!(convert("[{\"domid\": 0, \"config\": {\"c_info\": {}}}]"), Ok(Vec::new()));
}

/// What libxl writes that has no place in xl.cfg is named with its path.
#[test]
fn values_of_libxl_that_stay_are_named() {
    let text = r#"[{ "domid": 3, "config": {
        "c_info": { "type": "pv", "name": "a", "ssidref": 7 },
        "b_info": { "kernel": "/k", "target_memkb": 65536, "blkdev_start": "xvda", "type.pv": { "slack": 1 } },
        "disks": [ { "vdev": "xvda", "pdev_path": "/a", "readwrite": 1, "backend": "qdisk" } ],
        "vtpms": [ { "devid": 0 } ] } }]"#;
    let all = convert(text).expect("a domain");
    let mut found = left(&all[0]);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "[0].config.b_info.blkdev_start",
            "[0].config.b_info.type.pv.slack",
            "[0].config.c_info.ssidref",
            "[0].config.disks[0].backend",
            "[0].config.vtpms[0].devid",
        ]
    );
    assert_eq!(read(&all[0].text).memory_kib, 64 << 10);
}

/// Numbers of libxl that xl.cfg cannot have: the value stays, and is named.
#[test]
fn numbers_of_libxl_that_do_not_fit_are_named() {
    let check = |more: &str, has: &str, told: &[&str]| {
        let text = format!(
            r#"[{{ "domid": 3, "config": {{ "c_info": {{ "type": "pv", "name": "a" }},
                "b_info": {{ "kernel": "/k", "target_memkb": 65536 {more} }} }}]"#
        );
        let all = convert(&text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        let mut found = left(&all[0]);
        found.sort_unstable();
        let told: Vec<String> = told.iter().map(|path| format!("[0].config.{path}")).collect();
        assert_eq!(found, told, "{text}");
        assert!(all[0].text.contains(has), "{text}: {}", all[0].text);
        read(&all[0].text);
    };
    let ports = |first: u64, count: u64| {
        format!(r#", "ioports": [{{ "first": {first}, "number": {count} }}] }}"#)
    };
    check(&ports(0x2f8, 8), "ioports = [\"2f8-2ff\"]", &[]);
    let told = ["b_info.ioports[0].first", "b_info.ioports[0].number"];
    check(&ports(u64::MAX, 2), "", &told);
    let card = |more: &str| format!(r#"}}, "pcidevs": [{{ "bus": 3, "func": {more} }}]"#);
    check(&card("1"), "pci = [\"0000:03:00.1\"]", &[]);
    check(&card(r#"1, "vfunc_mask": 2, "vdevfn": 17"#), "pci = [\"0000:03:00.1@02\"]", &[]);
    check(&card(r#"1, "vdevfn": 16"#), "pci = [\"0000:03:00.1@02\"]", &[]);
    check(&card(r#"1, "vdevfn": 18"#), "pci = [\"0000:03:00.1\"]", &["pcidevs[0].vdevfn"]);
    check(&card("64"), "", &["pcidevs[0].bus", "pcidevs[0].func"]);
    let disk =
        |more: &str| format!(r#"}}, "disks": [{{ "vdev": "xvda", "pdev_path": "/a", {more} }}]"#);
    check(&disk(r#""is_cdrom": 1, "removable": 1"#), "devtype=cdrom", &[]);
    check(&disk(r#""removable": 0"#), "target=/a", &[]);
    check(&disk(r#""removable": 1"#), "target=/a", &["disks[0].removable"]);
}

/// Leaves of CPUID, as Xen 4.16 and 4.17 write them.
#[test]
fn leaves_come_over_in_both_forms() {
    let leaves = r#"[ { "leaf": 7, "subleaf": 0, "ebx": "00000000000000000000000000000000" } ]"#;
    for form in [leaves.to_owned(), format!(r#"{{ "cpuid": {leaves} }}"#)] {
        let text = format!(
            r#"{{ "c_info": {{ "type": "pv", "name": "a" }},
                  "b_info": {{ "kernel": "/k", "target_memkb": 65536, "cpuid": {form} }} }}"#
        );
        let all = convert(&text).expect("a domain");
        assert_eq!(left(&all[0]), Vec::<&str>::new(), "{form}");
        assert!(!read(&all[0].text).cpuid.is_empty(), "{}", all[0].text);
    }
}

/// libxl's form of a configuration, as it is written for every domain.
fn json_of(text: &str) -> String {
    let host = Host { node_of_cpu: vec![Some(0); 8], ..Host::default() };
    let mut config = read(text);
    let devices = std::mem::take(&mut config.devices);
    let spec = config.resolve(&host, Uuid::nil()).expect("a specification");
    let bytes = libxl_json(&spec, false, &devices);
    String::from_utf8(bytes).expect("text").trim_end_matches('\0').to_owned()
}

fn configuration() -> impl Strategy<Value = String> {
    let lines: Vec<BoxedStrategy<String>> = vec![
        (1u32..9).prop_map(|n| format!("vcpus = {n}\nmaxvcpus = {}\n", n + 1)).boxed(),
        "[a-z \"'\\\\]{0,9}".prop_map(|text| {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("extra = \"{text}\"\n")
        })
        .boxed(),
        (1u64..9999).prop_map(|kib| format!("maxmem = \"{}K\"\n", 65536 + kib)).boxed(),
        Just("cpus = ['0-2', '3', 'all']\n".to_owned()).boxed(),
        Just("cpus = '1'\ncpus_soft = '2'\n".to_owned()).boxed(),
        (1u32..65536, 0u32..400).prop_map(|(w, c)| format!("cpu_weight = {w}\ncap = {c}\n")).boxed(),
        Just("nomigrate = 1\ntsc_mode = 'native'\nmsr_relaxed = 1\ndriver_domain = 1\n".to_owned()).boxed(),
        (-5000i32..5000).prop_map(|n| format!("rtc_timeoffset = '{n}'\n")).boxed(),
        Just("max_grant_frames = 9\nmax_maptrack_frames = 8\nmax_event_channels = 77\nmax_grant_version = 1\n".to_owned())
            .boxed(),
        Just("ioports = ['2f8-2ff', '3f8']\niomem = ['fed9f,2']\nirqs = [4, 7]\ne820_host = 1\n".to_owned()).boxed(),
        Just("disk = ['/a b,raw,xvda,rw', '/c,raw,xvdb,ro', 'vdev=xvdc,access=rw,no-discard,direct-io-safe,target=/d,e']\n".to_owned())
            .boxed(),
        Just("vif = ['', 'bridge=br0,mac=00:16:3e:01:02:03,rate=10Mb/s,vifname=v0', 'script=vif-route,ip=10.0.0.1']\n".to_owned())
            .boxed(),
        Just("channel = ['name=a,connection=pty', 'name=b,connection=socket,path=/run/b']\n".to_owned()).boxed(),
        Just("on_crash = 'preserve'\non_reboot = 'rename-restart'\non_poweroff = 'coredump-restart'\n".to_owned()).boxed(),
    ];
    let chosen: Vec<_> = lines.into_iter().map(proptest::option::of).collect();
    chosen.prop_map(|lines| {
        let base = "name = 'n'\nkernel = '/k'\nmemory = 64\nramdisk = '/r'\n";
        let text: String = lines.into_iter().flatten().collect();
        // One list of CPUs is enough.
        let once = text.find("cpus = '1'").filter(|_| text.contains("cpus = ['0"));
        let text = once.map_or(text.clone(), |_| text.replace("cpus = '1'\n", ""));
        format!("{base}{text}")
    })
}

proptest! {
    /// From a configuration to libxl's form, and back: the same domain, and nothing is left.
    #[test]
    fn what_libxl_has_comes_back(text in configuration()) {
        let json = json_of(&text);
        let all = convert(&json).expect("a domain");
        prop_assert_eq!(left(&all[0]), Vec::<&str>::new(), "{}", json);
        prop_assert_eq!(json_of(&all[0].text), json, "{}", all[0].text);
    }

    #[test]
    fn any_text_survives(text in prop_oneof![
        any::<String>(),
        "<domain>(<(name|os|memory|vcpu|devices|disk|clock)( (unit|type|offset)='[a-zA-Z0-9]{0,3}')?/?>|x|</os>|</devices>){0,9}</domain>",
        "\\[?\\{(\"(c_info|b_info|domid|config|disks)\":(1|\"a\"|\\{\\}|\\[\\{\\}\\]),?){0,5}\\}\\]?",
    ]) {
        if let Ok(all) = convert(&text) {
            for one in all {
                let mut sources = Sources::default();
                sources.add("converted", one.text);
                drop(load(sources));
            }
        }
    }
}
