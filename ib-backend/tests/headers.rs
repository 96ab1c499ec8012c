//! Compares what this crate knows of libibverbs and of the kernel's verbs interface with the C headers:
//! sizes, offsets, numbers.
//!
//! Run with `cargo test -p ib-backend --features header-check`, and in `VERBS_HEADERS` the directory that
//! holds `infiniband/verbs.h` (`/usr/include` unless it says otherwise), of Debian's `libibverbs-dev`. The
//! kernel's `rdma/` headers are taken from the compiler's own directories.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use ib_backend::verbs::{KERNEL_NUMBERS, LAYOUTS};

/// A C program that prints a name and a number on each line.
fn program() -> String {
    let mut text = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include <infiniband/verbs.h>\n\
         #include <rdma/rdma_user_ioctl_cmds.h>\n#include <rdma/ib_user_ioctl_cmds.h>\n\
         #include <rdma/ib_user_ioctl_verbs.h>\n\
         #define SHOW(name, value) printf(\"%s %zu\\n\", name, (size_t)(value))\n\
         int main(void) {\n",
    );
    for (name, size, fields) in LAYOUTS {
        if size.is_some() {
            writeln!(text, "SHOW(\"{name}\", sizeof(struct {name}));").expect("text");
        }
        for (field, ..) in fields.iter().filter(|(field, ..)| !field.is_empty()) {
            writeln!(
                text,
                "SHOW(\"{name}.{field}@\", offsetof(struct {name}, {field}));\n\
                 SHOW(\"{name}.{field}\", sizeof(((struct {name} *)0)->{field}));"
            )
            .expect("text");
        }
    }
    for (name, _) in KERNEL_NUMBERS {
        writeln!(text, "SHOW(\"{name}\", {name});").expect("text");
    }
    text + "return 0; }\n"
}

#[test]
fn structures_and_numbers_are_those_of_c() {
    let folder = std::env::temp_dir().join(format!("ib-backend-headers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("makes a folder");
    let (source, binary) = (folder.join("verbs.c"), folder.join("verbs"));
    std::fs::write(&source, program()).expect("writes the program");
    let headers = std::env::var("VERBS_HEADERS").unwrap_or_else(|_| "/usr/include".to_owned());
    let mut cc = Command::new("cc");
    cc.args(["-idirafter", &headers, "-o"]).arg(&binary).arg(&source);
    let compiled = cc.output().expect("cc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(&binary).output().expect("the program runs").stdout;
    let printed = String::from_utf8(printed).expect("text");
    let theirs: BTreeMap<&str, u64> = printed
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name, value.parse().expect("a number")))
        .collect();
    let check = |name: &str, ours: u64| assert_eq!(theirs.get(name), Some(&ours), "{name}");
    for (name, size, fields) in LAYOUTS {
        if let Some(size) = size {
            check(name, *size as u64);
        }
        for (field, offset, size) in fields.iter().filter(|(field, ..)| !field.is_empty()) {
            check(&format!("{name}.{field}@"), *offset as u64);
            check(&format!("{name}.{field}"), *size as u64);
        }
    }
    KERNEL_NUMBERS.iter().for_each(|(name, value)| check(name, *value));
    println!("{} numbers are those of C", theirs.len());
    std::fs::remove_dir_all(folder).expect("removes its folder");
}
