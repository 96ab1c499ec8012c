//! Broken xl.cfg texts: whatever comes in, loading ends, and every problem can be shown.
//!
//! Seeded by a constant; `XLR_FUZZ_ITERS` sets how many texts are tried.

#[path = "support/random.rs"]
mod random;

use random::Random;
use uuid::Uuid;
use xl_rs::config::diagnostic::render;
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

#[test]
fn fuzz_cfg() {
    let iterations = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
    let mut random = Random(0x5eed_0f0c_0ff1_ce01);
    let host = Host {
        node_of_cpu: vec![Some(0); 4],
        pools: vec![(String::from("Pool-0"), 0)],
        utc_offset_seconds: 0,
    };
    let mut configurations = 0u64;
    for _ in 0..iterations.unwrap_or(DEFAULT_ITERATIONS) {
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
