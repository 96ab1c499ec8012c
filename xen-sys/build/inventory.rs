//! Lists every public structure, union, constant and alias of the crate, from its own sources.
//!
//! In: the sources, from `src/lib.rs` along its `mod` items. Out: `inventory.rs` in `OUT_DIR`, an
//! array of `Item` that names the Rust value or layout beside the C spelling and the releases
//! that have it. Nothing is listed by hand, so an item that is added is an item that is checked;
//! what cannot be listed (a file that says no header, a macro that makes items) stops the build.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use syn::{Attribute, Expr, Fields, Item, Lit, Meta, Visibility};

/// The releases that this crate describes, as minor numbers of Xen 4.
const FIRST: u32 = 14;
const LAST: u32 = 22;

/// Releases, both ends included.
#[derive(Clone, Copy)]
struct Releases {
    since: u32,
    until: u32,
}

/// Where a module's items come from.
#[derive(Clone)]
struct Header {
    path: String,
    linux: bool,
    releases: Releases,
}

struct Scan {
    out: String,
    seen: BTreeSet<PathBuf>,
}

/// Writes the inventory.
///
/// # Panics
///
/// With the file and the item that cannot be listed.
pub fn write() {
    let src = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src");
    let mut scan = Scan { out: String::from("&[\n"), seen: BTreeSet::new() };
    scan.file(&src.join("lib.rs"), &src, "xen_sys");
    scan.out.push_str("]\n");
    let mut all = BTreeSet::new();
    files(&src, &mut all);
    let unreached: Vec<_> = all.difference(&scan.seen).collect();
    assert!(unreached.is_empty(), "not reached from lib.rs: {unreached:?}");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("inventory.rs"), scan.out).expect("write the inventory");
}

fn files(dir: &Path, all: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).expect("read src") {
        let path = entry.expect("read src").path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            all.insert(path);
        }
    }
}

impl Scan {
    /// Scans one file; `dir` is where its child modules lie, `module` its public path.
    fn file(&mut self, path: &Path, dir: &Path, module: &str) {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.seen.insert(path.to_path_buf());
        let header = header(&docs(&file.attrs));
        for item in &file.items {
            if let Item::Mod(child) = item {
                if child.content.is_some() {
                    assert!(is_test(&child.attrs), "{}: inline module", path.display());
                    continue;
                }
                let name = child.ident.to_string();
                // Items of a private module are re-exported by its parent.
                let public = match child.vis {
                    Visibility::Public(_) => format!("{module}::{name}"),
                    _ => module.to_owned(),
                };
                let flat = dir.join(format!("{name}.rs"));
                let nested = dir.join(&name);
                let child = if flat.exists() { flat } else { nested.join("mod.rs") };
                self.file(&child, &nested, &public);
            } else {
                self.item(path, module, header.as_ref(), item);
            }
        }
    }

    fn item(&mut self, path: &Path, module: &str, header: Option<&Header>, item: &Item) {
        let (vis, attrs, name) = match item {
            Item::Const(it) => (&it.vis, &it.attrs, it.ident.to_string()),
            Item::Struct(it) => (&it.vis, &it.attrs, it.ident.to_string()),
            Item::Union(it) => (&it.vis, &it.attrs, it.ident.to_string()),
            Item::Type(it) => (&it.vis, &it.attrs, it.ident.to_string()),
            Item::Static(it) => (&it.vis, &it.attrs, it.ident.to_string()),
            Item::Enum(it) => (&it.vis, &it.attrs, it.ident.to_string()),
            Item::Macro(it) => {
                assert!(
                    header.is_none() || it.mac.path.is_ident("layout"),
                    "{}: a macro can hide items from the inventory",
                    path.display()
                );
                return;
            }
            _ => return,
        };
        if !matches!(vis, Visibility::Public(_)) {
            return;
        }
        let doc = docs(attrs);
        if doc.contains("No C counterpart") {
            return;
        }
        let header = header.unwrap_or_else(|| {
            panic!(
                "{}: {name} is public, but the file mirrors no header: say \"No C counterpart\" \
                 and why, or move it",
                path.display()
            )
        });
        let releases = releases(&doc, header.releases);
        let rust = format!("{module}::{name}");
        let (spelling, what) = match item {
            Item::Const(_) => (name.clone(), format!("What::Value({rust} as i64 as u64)")),
            Item::Type(_) => (name.clone(), format!("What::Size(size_of::<{rust}>())")),
            Item::Struct(it) => {
                let Fields::Named(fields) = &it.fields else { panic!("{rust}: tuple structure") };
                let plain = strip_layout(&name);
                (format!("struct {plain}"), layout(&rust, fields, releases, false))
            }
            Item::Union(it) => {
                let plain = strip_layout(&name);
                (format!("union {plain}"), layout(&rust, &it.fields, releases, true))
            }
            _ => panic!("{rust}: only structures, unions, constants and aliases can be checked"),
        };
        let spelling = in_c(&doc).unwrap_or(spelling);
        let spelling = match spelling.split_once("::") {
            Some((base, member)) => format!("__typeof__((({base} *)0)->{member})"),
            None => spelling,
        };
        writeln!(
            self.out,
            "Item {{ rust: {rust:?}, header: {:?}, linux: {}, c: {spelling:?}, since: {}, \
             until: {}, what: {what} }},",
            header.path, header.linux, releases.since, releases.until
        )
        .expect("write to a string");
    }
}

fn layout(rust: &str, fields: &syn::FieldsNamed, parent: Releases, union: bool) -> String {
    let mut out = format!("What::Layout {{ size: bound::<{rust}>(), fields: &[");
    for field in &fields.named {
        let name = field.ident.as_ref().expect("named field").to_string();
        if name.starts_with("_hole") {
            continue;
        }
        assert!(matches!(field.vis, Visibility::Public(_)), "{rust}.{name} is not public");
        let doc = docs(&field.attrs);
        let releases = releases(&doc, parent);
        let plain = name.trim_start_matches("r#");
        let spelling = in_c(&doc).unwrap_or_else(|| strip_layout(plain).to_owned());
        // A union's field cannot be read safely, but it can be written.
        let size = if union {
            format!("member(|value| {rust} {{ {name}: value }})")
        } else {
            format!("width(|value: {rust}| value.{name})")
        };
        write!(
            out,
            "Field {{ c: {spelling:?}, offset: core::mem::offset_of!({rust}, {name}), \
             size: {size}, \
             since: {}, until: {} }}, ",
            releases.since, releases.until
        )
        .expect("write to a string");
    }
    out.push_str("] }");
    out
}

/// `xen_domctl_createdomain_0x12` is C's `xen_domctl_createdomain`.
fn strip_layout(name: &str) -> &str {
    match name.rsplit_once("_0x") {
        Some((plain, hex)) if hex.len() == 2 => plain,
        _ => name,
    }
}

fn is_test(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| attr.path().is_ident("cfg"))
}

fn docs(attrs: &[Attribute]) -> String {
    let mut text = String::new();
    for attr in attrs {
        let Meta::NameValue(pair) = &attr.meta else { continue };
        if !pair.path.is_ident("doc") {
            continue;
        }
        let Expr::Lit(literal) = &pair.value else { continue };
        let Lit::Str(line) = &literal.lit else { continue };
        text.push_str(line.value().trim());
        text.push(' ');
    }
    text
}

fn quoted_after(text: &str, mark: &str) -> Option<String> {
    let (_, rest) = text.split_once(mark)?;
    rest.split_once('`').map(|(inside, _)| inside.to_owned())
}

fn in_c(doc: &str) -> Option<String> {
    quoted_after(doc, "In C: `")
}

fn header(doc: &str) -> Option<Header> {
    let all = releases(doc, Releases { since: FIRST, until: LAST });
    if let Some(path) = quoted_after(doc, "Mirrors Linux's `") {
        return Some(Header { path, linux: true, releases: all });
    }
    quoted_after(doc, "Mirrors `").map(|path| Header { path, linux: false, releases: all })
}

fn releases(doc: &str, outer: Releases) -> Releases {
    let lower = doc.to_lowercase();
    let minor = |mark: &str| {
        let (_, rest) = lower.split_once(mark)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    };
    Releases {
        since: minor("since xen 4.").unwrap_or(outer.since),
        until: minor("until xen 4.").unwrap_or(outer.until),
    }
}
