//! What a template can call beside Jinja's own: functions and filters.
//!
//! | | |
//! |---|---|
//! | `config(NAME)` | a configuration begins; its file is NAME.cfg |
//! | `cluster(count, name=…)` | the guests of a cluster ([`super::cluster`]) |
//! | `uuid(TEXT)` | a UUID derived from a text |
//! | `fail(TEXT)` | ends with this message |
//! | `\| mib`, `\| kib`, `\| size` | amounts of memory: numbers of MiB and KiB, and text with a unit |
//! | `\| expand`, `\| ranges` | a CPU list into numbers, and back |
//! | `\| part(INDEX, OF)` | one of several parts of a CPU list |
//! | `\| quote` | a literal of xl.cfg, with its quotes |

use super::cluster::{Cluster, Guest, guests, uuid};
use super::{format, marks, ranges};
use crate::device::vif::Mac;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};
use std::collections::BTreeMap;

/// Adds all of them.
pub fn add(environment: &mut Environment<'_>) {
    environment.add_function("config", |name: String| {
        if name.contains(marks::is_reserved) {
            return Err(refuse("a configuration's name holds no control characters"));
        }
        Ok(Value::from_safe_string(marks::separator(&name)))
    });
    environment.add_function("cluster", cluster);
    environment.add_function("uuid", |text: String| uuid(&text, u64::MAX).to_string());
    environment.add_function("fail", |text: String| -> Result<Value, Error> { Err(refuse(text)) });
    environment.add_filter("kib", |value: Value| kib(&value));
    environment.add_filter("mib", |value: Value| {
        let kib = kib(&value)?;
        if kib.is_multiple_of(1 << 10) {
            Ok(kib >> 10)
        } else {
            Err(refuse(format!("{kib} KiB are not a whole number of MiB")))
        }
    });
    environment
        .add_filter("size", |value: Value| Ok::<_, Error>(ranges::amount_text(kib(&value)?)));
    environment.add_filter("expand", |value: Value| numbers(&value));
    environment
        .add_filter("ranges", |value: Value| Ok::<_, Error>(ranges::compact(&numbers(&value)?)));
    environment.add_filter("part", |value: Value, index: usize, of: usize| {
        let part = ranges::part(&numbers(&value)?, index, of).map_err(refuse)?;
        Ok::<_, Error>(ranges::compact(&part))
    });
    environment.add_filter("quote", |value: Value| {
        let mut out = String::new();
        // A number in quotes is a text.
        match value.as_str() {
            None if value.is_number() => format::literal(&value.to_string().into(), &mut out)?,
            _ => format::literal(&value, &mut out)?,
        }
        Ok::<_, Error>(Value::from_safe_string(out))
    });
}

fn refuse(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}

/// A number of MiB or a text with a unit.
fn kib(value: &Value) -> Result<u64, Error> {
    defined(value)?;
    ranges::amount_kib(&value.to_string()).map_err(refuse)
}

/// Numbers of a text, of one number, or of a list of numbers.
fn numbers(value: &Value) -> Result<Vec<u32>, Error> {
    defined(value)?;
    if let Some(text) = value.as_str() {
        return ranges::expand(text).map_err(refuse);
    }
    let number = |value: &Value| {
        let number = value.as_i64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| refuse(format!("{value} is no number of a CPU")))
    };
    if value.is_number() {
        return Ok(vec![number(value)?]);
    }
    value.try_iter()?.map(|item| number(&item)).collect()
}

fn defined(value: &Value) -> Result<(), Error> {
    if value.is_undefined() { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(()) }
}

/// `cluster(count, name="mpi", first=0, cpus=2, numa=["2-15", "16-31"], nics=1, mac="…")`
fn cluster(count: u64, arguments: Kwargs) -> Result<Vec<Value>, Error> {
    let numa: Option<Value> = arguments.get("numa")?;
    let numa = match numa {
        None => Vec::new(),
        // One text is one NUMA node.
        Some(text) if text.as_str().is_some() => vec![numbers(&text)?],
        Some(list) => list.try_iter()?.map(|node| numbers(&node)).collect::<Result<_, _>>()?,
    };
    let mac: Option<String> = arguments.get("mac")?;
    let mac_base = match mac {
        None => None,
        Some(text) => {
            let unicast = |mac: &Mac| mac.0[0] & 1 == 0 && mac.0[0] < 0xff;
            let mac = Mac::parse(&text).filter(unicast);
            Some(mac.ok_or_else(|| refuse(format!("{text:?} is no address of an interface")))?)
        }
    };
    let cluster = Cluster {
        name: arguments.get("name")?,
        count,
        first: arguments.get::<Option<u64>>("first")?.unwrap_or(0),
        cpus: arguments.get::<Option<usize>>("cpus")?.unwrap_or(0),
        numa,
        nics: arguments.get::<Option<u64>>("nics")?.unwrap_or(1),
        mac_base,
    };
    arguments.assert_all_used()?;
    Ok(guests(&cluster).map_err(refuse)?.iter().map(value).collect())
}

/// A guest as the template sees it. What it has not got is not defined.
fn value(guest: &Guest) -> Value {
    let macs: Vec<String> = guest.macs.iter().map(ToString::to_string).collect();
    let mut fields = BTreeMap::from([
        ("index", Value::from(guest.index)),
        ("name", Value::from(guest.name.clone())),
        ("uuid", Value::from(guest.uuid.to_string())),
    ]);
    if let Some(first) = macs.first() {
        fields.insert("mac", Value::from(first.clone()));
    }
    fields.insert("macs", Value::from(macs));
    if let Some((cpus, node)) = &guest.cpus {
        fields.insert("cpus", Value::from(ranges::compact(cpus)));
        fields.insert("numa", Value::from(*node));
    }
    Value::from_pairs(fields)
}
