//! The cache of decoded kernels: found, bounded, safe when many want it and when someone dies.

mod image_support;

use domain_builder::image::{CacheError, CacheOptions, KernelImage, Origin, load};
use image_support::{Elf, Random, Scratch, bzimage, bzimage_of, chain, pack};
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

const MIB: u64 = 1 << 20;

/// A kernel file of long ago: its stat can be trusted.
fn settled_kernel() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/image/kernel.xz")
}

fn options(directory: &Path, max_bytes: u64) -> CacheOptions {
    CacheOptions {
        directory: Some(directory.to_owned()),
        max_bytes: Some(max_bytes),
        max_image_bytes: 16 * MIB,
    }
}

/// The first byte of the text segment, in which the variants of the kernel differ.
fn seed_of(image: &KernelImage) -> u8 {
    let mut byte = [0];
    image.read_segment_at(&image.segments[0], 0, &mut byte).unwrap();
    byte[0]
}

/// Loads and checks that it is the variant `seed`, with all its bytes.
fn check(path: &Path, options: &CacheOptions, seed: u8) -> KernelImage {
    let image = load(path, options).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let want = Elf::variant(seed);
    for (segment, load) in image.segments.iter().zip(&want.loads) {
        let mut bytes = vec![1; load.mem_len as usize];
        image.read_segment_at(segment, 0, &mut bytes).unwrap();
        assert_eq!(bytes[..load.bytes.len()], load.bytes);
        assert!(bytes[load.bytes.len()..].iter().all(|&byte| byte == 0));
    }
    image
}

/// The bytes that a decoded kernel takes in the cache: pages that are not all zeros.
fn stored_bytes(elf: &[u8]) -> u64 {
    elf.chunks(4096).filter(|page| page.iter().any(|&b| b != 0)).map(|page| page.len() as u64).sum()
}

fn variant_file(scratch: &Scratch, seed: u8) -> PathBuf {
    let name = format!("vmlinuz-{seed}");
    scratch.file(&name, &bzimage("gzip", &Elf::variant(seed).build()))
}

/// Names in the cache's directory that end in `suffix`.
fn names(directory: &Path, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(suffix));
    names.sort();
    names
}

fn entry_file(directory: &Path) -> PathBuf {
    let [name] = &names(directory, ".elf")[..] else { panic!("not one entry") };
    directory.join(name)
}

fn origin_name(image: &KernelImage) -> &'static str {
    match image.origin {
        Origin::Direct => "direct",
        Origin::CacheHit if image.decode_time == Duration::ZERO => "found by stat",
        Origin::CacheHit => "found by hash",
        Origin::CacheStored => "stored",
        Origin::CacheOff => "off",
        Origin::CacheUnavailable(_) => "unavailable",
    }
}

#[test]
fn a_kernel_is_decoded_once() {
    let scratch = Scratch::new();
    let cache = options(&scratch.join("a/b/cache"), MIB);
    let first = check(&settled_kernel(), &cache, 0xe8);
    assert_eq!(origin_name(&first), "stored");
    let second = check(&settled_kernel(), &cache, 0xe8);
    assert_eq!(origin_name(&second), "found by stat");
    assert_eq!((first.hash, first.compression), (second.hash, second.compression));
    assert_eq!((&first.segments, &first.notes), (&second.segments, &second.notes));
    assert_eq!(first.decoded_bytes, second.decoded_bytes);
    // The same content elsewhere.
    let copy = scratch.file("copy", &fs::read(settled_kernel()).unwrap());
    assert_eq!(origin_name(&check(&copy, &cache, 0xe8)), "found by hash");
    let directory = scratch.join("a/b/cache");
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o700);
    let entry = fs::metadata(entry_file(&directory)).unwrap();
    assert_eq!(entry.mode() & 0o7777, 0o600);
    assert_eq!(entry.len(), Elf::linux().build().len() as u64);
}

/// A kernel that decodes to itself without the zeros takes less than its length.
#[test]
fn pages_of_zeros_take_no_room() {
    let scratch = Scratch::new();
    let elf = Elf::linux().build();
    let stored = stored_bytes(&elf);
    assert!(stored * 2 < elf.len() as u64);
    let path = variant_file(&scratch, 0xe8);
    let directory = scratch.join("cache");
    assert_eq!(origin_name(&check(&path, &options(&directory, stored), 0xe8)), "stored");
    let other = scratch.join("other");
    let image = check(&path, &options(&other, stored - 1), 0xe8);
    let Origin::CacheUnavailable(error @ CacheError::Full { .. }) = &image.origin else {
        panic!("{:?}", image.origin)
    };
    assert!(error.to_string().contains("takes more than the"), "{error}");
    assert!(names(&other, ".elf").is_empty() && names(&other, "new").is_empty());
}

#[test]
fn a_changed_file_is_another_kernel() {
    let scratch = Scratch::new();
    let cache = options(&scratch.join("cache"), MIB);
    // Not packed inside, so that all variants have one length.
    let kernel = |seed| bzimage_of(&Elf::variant(seed).build());
    let path = scratch.file("kernel", &kernel(1));
    let settled = SystemTime::now() + Duration::from_millis(2100);
    check(&path, &cache, 1);
    while let Ok(left) = settled.duration_since(SystemTime::now()) {
        std::thread::sleep(left);
    }
    // By its hash, unless this machine was too busy for the first look to be an early one.
    assert!(origin_name(&check(&path, &cache, 1)).starts_with("found"));
    assert_eq!(origin_name(&check(&path, &cache, 1)), "found by stat");
    // As many bytes, and the old time of modification: only ctime tells.
    let times = fs::metadata(&path).unwrap();
    assert_eq!(kernel(2).len() as u64, times.len());
    fs::write(&path, kernel(2)).unwrap();
    let old = FileTimes::new().set_modified(times.modified().unwrap());
    File::options().write(true).open(&path).unwrap().set_times(old).unwrap();
    assert_eq!(origin_name(&check(&path, &cache, 2)), "stored");
    // And a rename over it.
    fs::rename(variant_file(&scratch, 3), &path).unwrap();
    assert_eq!(origin_name(&check(&path, &cache, 3)), "stored");
}

/// A file that is written again within one tick of the clock keeps its stat.
#[test]
fn a_file_written_again_at_once_is_read_again() {
    let scratch = Scratch::new();
    let cache = options(&scratch.join("cache"), MIB);
    let kernels: Vec<_> = (0..4).map(|seed| pack("gzip", &Elf::variant(seed).build())).collect();
    let path = scratch.file("kernel", &kernels[0]);
    for round in 0..100 {
        let seed = round % 4;
        fs::write(&path, &kernels[seed]).unwrap();
        assert_eq!(usize::from(seed_of(&load(&path, &cache).unwrap())), seed);
    }
}

#[test]
fn the_least_recently_used_goes() {
    let scratch = Scratch::new();
    let stored = stored_bytes(&Elf::variant(1).build());
    let directory = scratch.join("cache");
    let cache = options(&directory, 3 * stored);
    let paths: Vec<_> = (0..5).map(|seed| variant_file(&scratch, seed)).collect();
    let load = |seed: u8, want| {
        let image = check(&paths[usize::from(seed)], &cache, seed);
        let origin = origin_name(&image);
        assert!(origin.starts_with(want), "kernel {seed}: {origin}, want {want}");
        // Uses in an order that the clock's ticks do not blur.
        static ORDER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let second = ORDER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let used = directory.join(format!("{}.used", image.hash.unwrap()));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let times = FileTimes::new().set_modified(time);
        File::options().write(true).open(used).unwrap().set_times(times).unwrap();
    };
    load(0, "stored");
    load(1, "stored");
    load(2, "stored");
    assert_eq!(names(&directory, ".elf").len(), 3);
    load(0, "found");
    load(3, "stored");
    assert_eq!((names(&directory, ".elf").len(), names(&directory, ".used").len()), (3, 3));
    load(0, "found");
    load(2, "found");
    load(1, "stored");
    load(3, "stored");
    load(2, "found");
    // One byte less, and only two fit.
    let tighter = options(&directory, 3 * stored - 1);
    check(&paths[4], &tighter, 4);
    assert_eq!(names(&directory, ".elf").len(), 2);
}

#[test]
fn each_use_is_noted() {
    let scratch = Scratch::new();
    let directory = scratch.join("cache");
    let cache = options(&directory, MIB);
    let hash = check(&settled_kernel(), &cache, 0xe8).hash.unwrap();
    let used = directory.join(format!("{hash}.used"));
    for want in ["found by stat", "found by hash"] {
        if want == "found by hash" {
            edit_index(&directory, |index| index["sources"] = serde_json::json!([]));
        }
        let long_ago = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        File::options().write(true).open(&used).unwrap().set_times(long_ago).unwrap();
        assert_eq!(origin_name(&check(&settled_kernel(), &cache, 0xe8)), want);
        let age = fs::metadata(&used).unwrap().modified().unwrap().elapsed().unwrap();
        assert!(age < Duration::from_secs(600), "{want}: {age:?}");
    }
}

#[test]
fn an_evicted_kernel_stays_readable() {
    let scratch = Scratch::new();
    let cache = options(&scratch.join("cache"), stored_bytes(&Elf::variant(1).build()));
    let first = check(&variant_file(&scratch, 1), &cache, 1);
    check(&variant_file(&scratch, 2), &cache, 2);
    assert_eq!(names(&scratch.join("cache"), ".elf").len(), 1);
    assert_eq!(seed_of(&first), 1);
}

/// Damages the cache that holds the settled kernel and checks that the kernel is right.
fn check_damage(name: &str, want: &str, damage: impl Fn(&Path)) {
    let scratch = Scratch::new();
    let directory = scratch.join("cache");
    let cache = options(&directory, MIB);
    check(&settled_kernel(), &cache, 0xe8);
    damage(&directory);
    assert_eq!(origin_name(&check(&settled_kernel(), &cache, 0xe8)), want, "{name}");
    assert_eq!(origin_name(&check(&settled_kernel(), &cache, 0xe8)), "found by stat", "{name}");
    assert_eq!(names(&directory, ".elf").len(), 1, "{name}");
}

/// Rewrites the index by a change of its text.
fn edit_index(directory: &Path, edit: impl Fn(&mut serde_json::Value)) {
    let path = directory.join("index.json");
    let mut index = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut index);
    fs::write(path, index.to_string()).unwrap();
}

#[test]
fn damage_is_noticed() {
    let overwrite = |path: &Path| {
        use std::os::unix::fs::FileExt;
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0xff; 64], 5000).unwrap();
    };
    check_damage("nothing", "found by stat", |_| {});
    check_damage("entry written", "stored", |dir| overwrite(&entry_file(dir)));
    check_damage("entry removed", "stored", |dir| fs::remove_file(entry_file(dir)).unwrap());
    check_damage("entry cut", "stored", |dir| {
        File::options().write(true).open(entry_file(dir)).unwrap().set_len(4096).unwrap();
    });
    check_damage("entry copied", "stored", |dir| {
        let bytes = fs::read(entry_file(dir)).unwrap();
        fs::remove_file(entry_file(dir)).unwrap_or(());
        fs::write(dir.join("copy.elf"), bytes).unwrap();
        fs::rename(dir.join("copy.elf"), dir.join(index_hash(dir) + ".elf")).unwrap();
    });
    check_damage("entry writable by others", "stored", |dir| {
        fs::set_permissions(entry_file(dir), Permissions::from_mode(0o666)).unwrap();
    });
    check_damage("entry a link", "stored", |dir| {
        let target = dir.parent().unwrap().join("target");
        fs::rename(entry_file(dir), &target).unwrap();
        symlink(&target, dir.join(index_hash(dir) + ".elf")).unwrap();
    });
    check_damage("index removed", "stored", |dir| {
        fs::remove_file(dir.join("index.json")).unwrap();
    });
    check_damage("index of text", "stored", |dir| {
        fs::write(dir.join("index.json"), "{\"version\":1,").unwrap();
    });
    check_damage("index too long", "stored", |dir| {
        edit_index(dir, |index| index["pad"] = " ".repeat(200_000).into());
    });
    check_damage("index of another version", "stored", |dir| {
        edit_index(dir, |index| index["version"] = 1.into());
    });
    check_damage("compression unknown", "stored", |dir| {
        edit_index(dir, |index| index["entries"][0]["compression"] = "lzop".into());
    });
    check_damage("sources forgotten", "found by hash", |dir| {
        edit_index(dir, |index| index["sources"] = serde_json::json!([]));
    });
    check_damage("last use forgotten", "found by stat", |dir| {
        let [name] = &names(dir, ".used")[..] else { panic!() };
        fs::remove_file(dir.join(name)).unwrap();
    });
    check_damage("device renumbered", "found by stat", |dir| {
        edit_index(dir, |index| index["entries"][0]["file"]["dev"] = 99.into());
    });
    // In another boot the whole content is compared, once.
    let other_boot = |index: &mut serde_json::Value| {
        index["entries"][0]["verified_boot"] = "another".into();
    };
    check_damage("rebooted", "found by hash", |dir| edit_index(dir, other_boot));
    check_damage("rebooted, content lost", "stored", |dir| {
        overwrite(&entry_file(dir));
        forgive(dir);
        edit_index(dir, other_boot);
    });
    // Each check by itself, where the entry's stat is said to be as it was written.
    check_damage("forgiven", "found by stat", |dir| {
        fs::set_permissions(entry_file(dir), Permissions::from_mode(0o400)).unwrap();
        forgive(dir);
    });
    for mode in [0o620, 0o602] {
        check_damage("writable by others, forgiven", "stored", |dir| {
            fs::set_permissions(entry_file(dir), Permissions::from_mode(mode)).unwrap();
            forgive(dir);
        });
    }
    check_damage("a link, forgiven", "stored", |dir| {
        let target = dir.parent().unwrap().join("target");
        fs::rename(entry_file(dir), &target).unwrap();
        symlink(&target, dir.join(index_hash(dir) + ".elf")).unwrap();
        forgive(dir);
    });
}

/// Writes the entry's present stat into the index.
fn forgive(directory: &Path) {
    let metadata = fs::metadata(entry_file(directory)).unwrap();
    edit_index(directory, |index| {
        let file = &mut index["entries"][0]["file"];
        file["ino"] = metadata.ino().into();
        file["size_bytes"] = metadata.size().into();
        file["mtime_ns"] = (metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()).into();
        file["ctime_ns"] = (metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec()).into();
    });
}

fn index_hash(directory: &Path) -> String {
    let index = fs::read(directory.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    index["entries"][0]["hash"].as_str().unwrap().to_owned()
}

/// Leftovers of the dead are removed, files of others are not.
#[test]
fn sweeping_spares_what_is_not_ours() {
    let scratch = Scratch::new();
    let directory = scratch.join("cache");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    let hash = "ab".repeat(32);
    for name in ["notes.txt", "vmlinux.elf", "new", "index.new"] {
        fs::write(directory.join(name), "x").unwrap();
    }
    fs::write(directory.join(format!("{hash}.elf")), "x").unwrap();
    fs::write(directory.join(format!("{hash}.used")), "x").unwrap();
    fs::create_dir(directory.join("folder")).unwrap();
    check(&settled_kernel(), &options(&directory, MIB), 0xe8);
    assert_eq!(names(&directory, "notes.txt").len(), 1);
    assert_eq!(names(&directory, "folder").len(), 1);
    assert_eq!(names(&directory, ".elf").len(), 2);
    assert!(names(&directory, "new").is_empty());
    assert!(!directory.join(format!("{hash}.elf")).exists());
}

/// Checks that a cache cannot be used, in words that contain `want`, and that the kernel can.
fn check_unavailable(directory: &Path, want: &str) {
    let image = check(&settled_kernel(), &options(directory, MIB), 0xe8);
    let Origin::CacheUnavailable(error) = &image.origin else {
        panic!("{want}: {:?}", image.origin)
    };
    let text = chain(error);
    let head = format!("kernel cache {}", directory.display());
    assert!(text.starts_with(&head) && text.contains(want), "{text}");
}

#[test]
fn an_unsafe_directory_is_refused() {
    let scratch = Scratch::new();
    let directory = scratch.join("cache");
    fs::create_dir(&directory).unwrap();
    let chmod = |mode| fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
    for mode in [0o777, 0o770, 0o720, 0o702, 0o1777] {
        chmod(mode);
        check_unavailable(&directory, &format!("mode {mode:04o} lets others write it"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
    for mode in [0o700, 0o755] {
        chmod(mode);
        check(&settled_kernel(), &options(&directory, MIB), 0xe8);
    }
    assert_eq!(names(&directory, ".elf").len(), 1);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&directory, Some(1), None).unwrap();
        check_unavailable(&directory, "owned by user 1, and this is user 0");
        std::os::unix::fs::chown(&directory, Some(0), None).unwrap();
    } else {
        check_unavailable(Path::new("/usr"), "owned by user 0");
    }
    symlink(&directory, scratch.join("link")).unwrap();
    check_unavailable(&scratch.join("link"), "cannot open the directory");
    check_unavailable(&scratch.file("file", b"x"), "cannot open the directory");
    check_unavailable(&scratch.join("file/below"), "cannot ");
    // A file system that takes no new files.
    check_unavailable(Path::new("/proc/no-cache-here"), "cannot make the directory");
}

/// What is packed soundly and holds no kernel leaves nothing behind.
#[test]
fn what_is_no_kernel_is_not_kept() {
    let scratch = Scratch::new();
    let directory = scratch.join("cache");
    let cache = options(&directory, MIB);
    let mut arm = Elf::linux().build();
    arm[18] = 183;
    let elf = Elf::linux().build();
    let mut cut = pack("xz", &elf);
    cut.truncate(cut.len() / 2);
    for (bytes, want) in [
        (pack("gzip", b"hello"), "not an ELF file"),
        (pack("gzip", b""), "not an ELF file"),
        (pack("zstd", &arm), "64-bit Arm"),
        (cut, "damaged or cut off"),
        (pack("gzip", &vec![0; 17 << 20]), "exceeds the limit"),
    ] {
        let path = scratch.file("kernel", &bytes);
        let text = chain(&load(&path, &cache).unwrap_err());
        assert!(text.contains(want), "{text}");
        assert!(names(&directory, ".elf").is_empty() && names(&directory, "new").is_empty());
    }
}

#[test]
fn many_at_once_decode_once() {
    let scratch = Scratch::new();
    let cache = options(&scratch.join("cache"), MIB);
    let start = Barrier::new(8);
    let origins: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    origin_name(&check(&settled_kernel(), &cache, 0xe8))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(origins.iter().filter(|origin| **origin == "stored").count(), 1, "{origins:?}");
    assert!(origins.iter().all(|o| *o == "stored" || o.starts_with("found")), "{origins:?}");
    assert_eq!(names(&scratch.join("cache"), ".elf").len(), 1);
}

#[test]
fn many_at_once_with_too_little_room() {
    let scratch = Scratch::new();
    let stored = stored_bytes(&Elf::variant(1).build());
    let cache = options(&scratch.join("cache"), 2 * stored);
    let paths: Vec<_> = (0..4).map(|seed| variant_file(&scratch, seed)).collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (paths, cache) = (&paths, &cache);
            scope.spawn(move || {
                let mut random = Random(thread + 1);
                for _ in 0..8 {
                    let seed = random.below(4);
                    let image = check(&paths[seed], cache, seed as u8);
                    assert!(!matches!(image.origin, Origin::CacheUnavailable(_)));
                }
            });
        }
    });
    assert!(names(&scratch.join("cache"), ".elf").len() <= 2);
}

const CHILD_VARIABLE: &str = "IMAGE_CACHE_TEST_CHILD";

/// The child of the next test: loads kernels until it is killed. Does nothing by itself.
#[test]
fn child_that_is_killed() {
    let Some(home) = std::env::var_os(CHILD_VARIABLE).map(PathBuf::from) else { return };
    let cache = options(&home.join("cache"), 2 * stored_bytes(&Elf::variant(1).build()));
    println!("\nready");
    for round in 0.. {
        let seed = round % 4;
        check(&home.join(format!("vmlinuz-{seed}")), &cache, seed as u8);
    }
}

#[test]
fn killed_at_any_moment_leaves_a_sound_cache() {
    let scratch = Scratch::new();
    let directory = scratch.join("cache");
    let cache = options(&directory, 2 * stored_bytes(&Elf::variant(1).build()));
    let paths: Vec<_> = (0..4).map(|seed| variant_file(&scratch, seed)).collect();
    let mut random = Random(7);
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_is_killed", "--exact", "--nocapture"])
            .env(CHILD_VARIABLE, scratch.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "round {round}");
        // Anywhere in the work of the child, which takes some milliseconds for each kernel.
        std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        for (seed, path) in paths.iter().enumerate() {
            let image = check(path, &cache, seed as u8);
            assert!(!matches!(image.origin, Origin::CacheUnavailable(_)), "round {round}");
        }
        assert_eq!(names(&directory, ".elf").len(), 2, "round {round}");
        assert!(names(&directory, "new").is_empty(), "round {round}");
    }
}
