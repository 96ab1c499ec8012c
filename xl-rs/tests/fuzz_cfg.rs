//! Broken xl.cfg texts, known keys with strange values, broken descriptions of devices: whatever
//! comes in, reading ends, and every problem can be shown where it is.
//!
//! Seeded by constants; `XLR_FUZZ_ITERS` sets how many texts are tried. What was found stands in the
//! tables of the modules concerned.

#[path = "support/random.rs"]
mod random;

use random::Random;
use uuid::Uuid;
use xl_rs::config::device;
use xl_rs::config::diagnostic::render;
use xl_rs::config::keys::KEYS;
use xl_rs::config::load;
use xl_rs::config::parse::parse;
use xl_rs::config::resolve::Host;
use xl_rs::config::source::Sources;

const DEFAULT_ITERATIONS: u64 = 1_000;

const CORPUS: &[&str] = &[
    include_str!("../../configs/hpc.cfg"),
    "name='n'\nkernel='/k'\nmemory='4G'\nvcpus=2\ncpus=[\"0-3,^1\", 'nodes:0']\n",
    "a=[[1,['x',[]]],0x1f,010,]\nb+='y'\nb+=\"\\\"\\a\\v\"\n#c\n;;\n",
    "disk=['/dev/x,raw,xvda,rw']\nvif=['']\nextra='a'\nextra+=' b'\nuuid='01020304-0506-0708-090a-0b0c0d0e0f10'",
    "on_crash='preserve';tsc_mode='native';pool='Pool-0';cap=5;cpu_weight=256",
];

/// Pieces that mean something to the grammar.
const PIECES: &[&[u8]] = &[
    b"=",
    b"+=",
    b"[",
    b"]",
    b",",
    b";",
    b"\n",
    b"'",
    b"\"",
    b"\\",
    b"#",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"0x",
    b"^",
    b"-",
    b"node:",
    b"all",
    b"99999999999999999999",
    b"[[[[[[[[",
    b"name",
];

fn mutate(random: &mut Random) -> Vec<u8> {
    let mut text = CORPUS[random.below(CORPUS.len())].as_bytes().to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(text.len());
        match random.below(5) {
            0 => {
                text.truncate(at);
            }
            1 => {
                let end = (at + random.below(16)).min(text.len());
                text.drain(at..end);
            }
            2 => {
                let piece = PIECES[random.below(PIECES.len())];
                text.splice(at..at, piece.iter().copied());
            }
            3 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
            _ => {
                let other = CORPUS[random.below(CORPUS.len())].as_bytes();
                text.splice(at..at, other[random.below(other.len())..].iter().copied());
            }
        }
    }
    text
}

fn iterations() -> u64 {
    let given = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(DEFAULT_ITERATIONS)
}

#[test]
fn fuzz_cfg() {
    let mut random = Random(0x5eed_0f0c_0ff1_ce01);
    let host = Host {
        node_of_cpu: vec![Some(0); 4],
        pools: vec![(String::from("Pool-0"), 0)],
        utc_offset_seconds: 0,
    };
    let mut configurations = 0u64;
    for _ in 0..iterations() {
        let text = mutate(&mut random);
        let (tree, problems) = parse(&text, 0);
        if problems.is_empty() {
            let (again, problems) = parse(&tree.to_text(), 0);
            assert_eq!(problems, []);
            assert_eq!(again.without_spans(), tree.without_spans());
        }
        let mut sources = Sources::default();
        sources.add("fuzz.cfg", text);
        sources.add("command line", mutate(&mut random));
        let loaded = load(sources);
        let shown = render(&loaded.problems, &loaded.sources, false);
        for problem in &loaded.problems {
            assert!(!shown.is_empty(), "{problem:?}");
        }
        if let Some(config) = loaded.config {
            configurations += 1;
            if let Err(problems) = config.resolve(&host, Uuid::nil()) {
                assert!(!render(&problems, &loaded.sources, true).is_empty());
            }
        }
    }
    assert!(configurations > 0, "some texts stay whole");
}

/// Values that mean something to one key or another, in other keys' places.
const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "64",
    "8192",
    "8193",
    "65536",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "0x7fffffffffffffff",
    "'-1'",
    "'-9223372036854775808'",
    "'1T'",
    "'16T'",
    "'18014398509481984K'",
    "'9007199254740991G'",
    "'0x1f'",
    "''",
    "' '",
    "'x'",
    "'pv'",
    "'hvm'",
    "'destroy'",
    "'native'",
    "'a/b'",
    "'\\n'",
    "'\u{e9}'",
    "'0-3,^1'",
    "'all'",
    "'nodes:0'",
    "'65535'",
    "'0-65535'",
    "[]",
    "['0']",
    "['0','1-2',3]",
    "[[]]",
    "['all',]",
    "'Pool-0'",
    "'3'",
    "'01020304-0506-0708-090a-0b0c0d0e0f10'",
    "['/x,raw,xvda,rw']",
    "['bridge=b,rate=1Gb/s']",
    "'host,sse3=0,family=23,model=x,proccount=255'",
    "['1:ecx=01xks01xks01xks01xks01xks01xks01', '7,0:ebx=1']",
    "['03:00.0@1f']",
    "['2f8-2ff']",
    "['a,1@2']",
    "['phy:x', 'mac=0:0:0:0:0:0']",
];

/// Known keys with each other's values: from text to the specification.
#[test]
fn fuzz_lower() {
    let mut random = Random(0x5eed_10e4_0000_0001);
    let host = Host {
        node_of_cpu: vec![Some(0), None, Some(1)],
        pools: vec![(String::from("Pool-0"), 0)],
        utc_offset_seconds: -3600,
    };
    let mut specifications = 0u64;
    for _ in 0..iterations() {
        let mut text = String::from("name='n'\nkernel='/k'\n");
        for _ in 0..random.below(5) {
            let key = random.pick(KEYS).name.replace('*', "x");
            let operator = if random.one_in(4) { "+=" } else { "=" };
            text.push_str(&format!("{key} {operator} {}\n", random.pick(VALUES)));
        }
        let mut sources = Sources::default();
        sources.add("fuzz.cfg", text.as_str());
        let loaded = load(sources);
        for problem in &loaded.problems {
            if let Some(span) = problem.span {
                assert!(span.start <= span.end && span.end <= text.len(), "{problem:?} in {text}");
            }
        }
        assert!(
            loaded.problems.is_empty()
                || !render(&loaded.problems, &loaded.sources, false).is_empty()
        );
        let Some(config) = loaded.config else { continue };
        if let Ok(spec) = config.resolve(&host, Uuid::nil()) {
            specifications += 1;
            assert!(spec.vcpus >= 1 && spec.vcpus <= spec.max_vcpus, "{text}");
            assert!(spec.memory_kib >= 1024 && spec.memory_kib <= spec.max_memory_kib, "{text}");
            assert!(spec.affinity.len() <= spec.max_vcpus as usize, "{text}");
        }
    }
    assert!(specifications > iterations() / 20, "only {specifications} pass");
}

/// Broken descriptions of devices.
#[test]
fn fuzz_devices() {
    const CORPUS: &[(&str, &str)] = &[
        ("disk", "qcow2:/dev/x,xvda:cdrom,r,backendtype=qdisk,script=s,target=/a,b"),
        ("disk", " /x, raw, xvda, rw, discard, colo-port=1"),
        ("vif", "mac=00:16:3e:12:34:56, bridge=xenbr0,rate=10Mb/s@20ms,mtu=1500,untrusted"),
        ("pci", "0000:03:00.*@1f,seize=1,permissive=0,rdm_policy=strict,name=x"),
        ("ioports", "2f8-2ff"),
        ("iomem", "0xfed9f,1@a0"),
        ("irqs", "4294967295"),
    ];
    let mut random = Random(0x5eed_dec1_0000_0001);
    let mut sound = 0u64;
    for _ in 0..iterations() {
        let (key, text) = random.pick(CORPUS);
        let mut letters: Vec<char> = text.chars().collect();
        for _ in 0..random.below(4) {
            let at = random.below(letters.len());
            match random.below(3) {
                0 if !letters.is_empty() => _ = letters.remove(at),
                1 => letters.truncate(at),
                _ => {
                    let piece =
                        random.pick(&[',', '=', ':', '@', ' ', '\t', '0', 'x', '\u{85}', '\u{e9}']);
                    letters.insert(at, piece);
                }
            }
        }
        let text: String = letters.into_iter().collect();
        match device::check(key, &text) {
            Some(Ok(())) => sound += 1,
            Some(Err(error)) => {
                assert!(text.get(error.range.clone()).is_some(), "{text:?} {error:?}")
            }
            None => panic!("{key} has a parser"),
        }
    }
    assert!(sound > iterations() / 20, "only {sound} pass");
}
