//! The JSON Schema of configurations: what it says of a document is what reading the text says.

use jsonschema::Validator;
use serde_json::Value;
use xl_rs::config::diagnostic::Severity;
use xl_rs::config::keys::{Fate, Form, KEYS};
use xl_rs::config::schema::{document, schema};
use xl_rs::config::source::Sources;
use xl_rs::config::{Loaded, load};

const BASE: &str = "name='n'\nkernel='/k'\nmemory=64\n";

fn read(text: &str) -> Loaded {
    let mut sources = Sources::default();
    sources.add("guest.cfg", BASE);
    // The command line may say a thing again.
    sources.add("more.cfg", text);
    load(sources)
}

fn validator() -> Validator {
    let schema = schema();
    jsonschema::meta::validate(&schema).expect("a schema");
    jsonschema::validator_for(&schema).expect("a schema")
}

/// A text and whether it is accepted: by the schema, and when it is read.
fn check(schema: &Validator, text: &str, accepted: bool) {
    let loaded = read(text);
    let json = document(&loaded.settings);
    let errors: Vec<String> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
    assert_eq!(errors.is_empty(), accepted, "the schema on {text:?}: {errors:?}");
    assert_eq!(loaded.config.is_some(), accepted, "{text:?}: {:?}", loaded.problems);
}

/// An interface of which nothing is said is one.
#[test]
fn an_empty_interface_is_one() {
    let schema = validator();
    check(&schema, "vif = ['']", true);
    check(&schema, "vif = ['', 'bridge=xenbr0']", true);
    check(&schema, "vif = ''", true);
    check(&schema, "vif = 'bridge=xenbr0'", false);
    check(&schema, "vif = 1", false);
    check(&schema, "disk = ['']", false);
}

/// What each form accepts and refuses, for every key that has it.
#[test]
fn every_honoured_key_is_held_to_its_form() {
    let schema = validator();
    // What the form alone cannot say: the key's own syntax, and other keys.
    let own = ["cpus", "cpus_soft", "cpuid", "uuid", "disk", "vif", "channel", "pci", "irqs"];
    let own_items = ["rdma", "ioports", "iomem", "xenstore_quota"];
    let honoured: Vec<_> = KEYS.iter().filter(|key| key.fate == Fate::Honoured).collect();
    assert!(honoured.len() > 40);
    for key in honoured {
        let name = key.name;
        let by_form = !own.contains(&name) && !own_items.contains(&name);
        let with = |value: String| format!("{name} = {value}");
        check(&schema, &with(String::from("[[]]")), false);
        match key.form {
            Form::Text => check(&schema, &with(String::from("''")), true),
            Form::Filled => check(&schema, &with(String::from("''")), false),
            Form::OneOf(words) => {
                for word in words {
                    check(&schema, &with(format!("'{word}'")), true);
                }
                check(&schema, &with(String::from("'no-such-word'")), false);
            }
            Form::Number(range) => {
                let (low, high) = (*range.start(), *range.end());
                // vcpus is below maxvcpus, which it is not told of here.
                check(&schema, &with(format!("'{low}'")), true);
                check(&schema, &with(format!("'{high}'")), true);
                check(&schema, &with(high.to_string()), true);
                check(&schema, &with((high + 1).to_string()), false);
                if low > 0 {
                    check(&schema, &with((low - 1).to_string()), false);
                }
                check(&schema, &with(String::from("'many'")), false);
            }
            Form::Flag => {
                check(&schema, &with(String::from("1")), true);
                check(&schema, &with(String::from("'0x0'")), true);
                check(&schema, &with(String::from("'yes'")), false);
            }
            Form::Memory(_) => {
                for (value, accepted) in [
                    ("64", true),
                    ("'1G'", true),
                    ("' 0x40 '", true),
                    ("'512 MiB'", true),
                    ("'1.5G'", false),
                    ("'lots'", false),
                    ("0", false),
                    ("16777217", false),
                ] {
                    check(&schema, &with(String::from(value)), accepted);
                }
            }
            Form::TextOrTexts if by_form => check(&schema, &with(String::from("''")), true),
            Form::Texts => {
                check(&schema, &with(String::from("[]")), true);
                check(&schema, &with(String::from("''")), true);
                check(&schema, &with(String::from("'x'")), false);
            }
            Form::Items => {
                check(&schema, &with(String::from("[]")), true);
                check(&schema, &with(String::from("''")), false);
            }
            Form::TextOrTexts => {}
            Form::Any => panic!("{name} is honoured, and its form is not known"),
        }
        assert!(!key.what.is_empty(), "{name} is not described");
    }
}

#[test]
fn refused_and_ignored_keys_are_told() {
    let schema = validator();
    for key in KEYS {
        match key.fate {
            Fate::Refused(_) => {
                check(&schema, &format!("{} = 'x'", key.name), false);
                check(&schema, &format!("{} = 0", key.name), true);
            }
            Fate::Ignored(_) => check(&schema, &format!("{} = 'x'", key.name), true),
            Fate::Honoured | Fate::Part => {}
        }
    }
    // create only warns of these.
    let loaded = read("memmory = 64");
    assert!(loaded.config.is_some() && !schema.is_valid(&document(&loaded.settings)));
}

/// Whole configurations: the examples, and what lacks something.
#[test]
fn whole_configurations() {
    let schema = validator();
    let example = include_str!("../../configs/hpc.cfg");
    let mut sources = Sources::default();
    sources.add("hpc.cfg", example);
    let loaded = load(sources);
    assert!(loaded.problems.is_empty());
    assert!(schema.is_valid(&document(&loaded.settings)));
    for (text, valid) in [
        ("{}", false),
        (r#"{ "name": "a" }"#, false),
        (r#"{ "name": "a", "kernel": "/k" }"#, true),
        (r#"{ "name": "a", "kernel": "/k", "disk": ["/a,raw,xvda,rw"], "irqs": [4] }"#, true),
        (r#"{ "name": "a", "kernel": "/k", "disk": "/a,raw,xvda,rw" }"#, false),
        (r#"{ "name": "a", "kernel": "/k", "memory": true }"#, false),
        (r#"{ "name": "a", "kernel": "/k", "vcpu": 2 }"#, false),
    ] {
        let document: Value = serde_json::from_str(text).expect(text);
        assert_eq!(schema.is_valid(&document), valid, "{text}");
    }
}

/// Every change that is offered mends the problem that it is offered for.
#[test]
fn fixes_mend() {
    let check = |text: &str, fixes: usize, errors: usize| {
        let mut text = text.to_owned();
        for _ in 0..fixes {
            let mut sources = Sources::default();
            sources.add("a.cfg", text.as_str());
            let loaded = load(sources);
            let problem = loaded.problems.iter().find(|problem| problem.fix.is_some());
            let problem = problem.unwrap_or_else(|| panic!("no fix for {text:?}"));
            let fix = problem.fix.clone().expect("a fix");
            text.replace_range(fix.span.start..fix.span.end, &fix.text);
            let mut sources = Sources::default();
            sources.add("a.cfg", text.as_str());
            let again = load(sources).problems;
            assert!(!again.iter().any(|other| other.message == problem.message), "{text:?}");
        }
        let mut sources = Sources::default();
        sources.add("a.cfg", text.as_str());
        let left = load(sources).problems;
        let is_error = |severity| severity == Severity::Error;
        let left_errors = left.iter().filter(|problem| is_error(problem.severity)).count();
        assert!(left.iter().all(|problem| problem.fix.is_none()), "{text:?}: {left:?}");
        assert_eq!(left_errors, errors, "{text:?}: {left:?}");
    };
    check(BASE, 0, 0);
    check("name='n'\nkernel='/k'\nmemmory=64\n", 1, 0);
    check("name='n'\nkernel='/k'\nmemory=4G # much\n", 1, 0);
    check("name=web-1\nkernel=/boot/vmlinuz-6.1\nmemory=64", 2, 0);
    check("name='n'\nkernel='/k'\nmemory=64\nmemory=128\nnestedhvm = 1; vcpus=2", 2, 0);
    check("name='n'\nkernel='/k'\nmemory=64\non_crash='destory'\n", 1, 0);
    check("name='n'\nkernel='/k'\nmemory=64\nvcpus=1 cpus='0'\n", 0, 1);
    check("name='n'\nkernel='/k'\nmemory=64\nextra=a b\n", 0, 1);
}
