//! The configuration that a toolstack saved for a domain, in libxl's JSON: `xl list -l` shows it, and
//! so does ours.
//!
//! What may have changed since the domain was made (its name, its memory, its vcpus) is taken from
//! xenstore and the hypervisor, as libxl does. Reads only.

use super::domain::Named;
use super::error::CommandError;
use crate::state::StateError;
use domain_builder::nodes::uuid_text;
use libxc_safe::{DomainInfo, Scheduler, SchedulerParameters, Xen};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use xenstore::client::{Client, Nodes};

/// Where libxl keeps what belongs to a domain.
const FOLDER: &str = "/var/lib/xen";
/// No configuration is longer.
const MAX_BYTES: u64 = 1 << 20;

/// What is saved for a domain; none where nothing is.
pub fn read(info: &DomainInfo) -> Result<Option<Value>, StateError> {
    let uuid = uuid_text(&info.uuid);
    let path = PathBuf::from(format!("{FOLDER}/userdata-d.{}.{uuid}.libxl-json", info.domid));
    let failed = |source| StateError::io("read", &path, source);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(failed)?;
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    serde_json::from_slice(&text[..end]).map(Some).map_err(|error| failed(error.into()))
}

/// One element of `list -l`; none for a domain nothing is saved for.
pub fn current(
    xen: &Xen,
    store: &mut Client,
    domain: &Named,
) -> Result<Option<Value>, CommandError> {
    let Some(mut config) = read(&domain.info)? else { return Ok(None) };
    let max_vcpus = config["b_info"]["max_vcpus"].as_u64().unwrap_or(0);
    let now = Now {
        target_kib: memory(store, &domain.info, "target")?,
        max_kib: memory(store, &domain.info, "static-max")?,
        online: online(store, &domain.info, max_vcpus)?,
        scheduler: scheduler(xen, &domain.info)?,
    };
    update(&mut config, domain, now);
    Ok(Some(json!({ "domid": domain.info.domid.0, "config": config })))
}

/// What may have changed since the configuration was saved.
#[derive(Clone, Debug, Default, PartialEq)]
struct Now {
    target_kib: Option<u64>,
    max_kib: Option<u64>,
    /// Vcpus that the guest is told to have online.
    online: Vec<u64>,
    /// The scheduler's name, with weight and cap.
    scheduler: Option<(&'static str, u16, u16)>,
}

fn memory(store: &mut Client, info: &DomainInfo, node: &str) -> Result<Option<u64>, CommandError> {
    let text = store.read_text_optional(format!("/local/domain/{}/memory/{node}", info.domid))?;
    Ok(text.and_then(|text| text.parse().ok()))
}

fn online(store: &mut Client, info: &DomainInfo, count: u64) -> Result<Vec<u64>, CommandError> {
    let mut online = Vec::new();
    // What is saved may claim any number; the hypervisor knows how many there are.
    for vcpu in 0..count.min(info.max_vcpu_id.map_or(0, |highest| u64::from(highest) + 1)) {
        let node = format!("/local/domain/{}/cpu/{vcpu}/availability", info.domid);
        if store.read_optional(node)?.as_deref() == Some(b"online") {
            online.push(vcpu);
        }
    }
    Ok(online)
}

fn scheduler(
    xen: &Xen,
    info: &DomainInfo,
) -> Result<Option<(&'static str, u16, u16)>, CommandError> {
    let pools = xen.cpupools()?;
    let Some(pool) = pools.iter().find(|pool| pool.id == info.cpupool) else { return Ok(None) };
    Ok(match pool.scheduler {
        kind @ (Scheduler::Credit | Scheduler::Credit2) => {
            match xen.scheduler_parameters(info.domid, kind)? {
                SchedulerParameters::Credit { weight, cap }
                | SchedulerParameters::Credit2 { weight, cap } => Some((kind.name(), weight, cap)),
                SchedulerParameters::Rtds(_) => None,
            }
        }
        // The others have no weight; what was saved stays.
        _ => None,
    })
}

fn update(config: &mut Value, domain: &Named, now: Now) {
    let mut set = |part: &str, key: &str, value: Value| {
        let Some(config) = config.as_object_mut() else { return };
        let part = config.entry(part).or_insert_with(|| Value::Object(Map::new()));
        if let Some(part) = part.as_object_mut() {
            part.insert(String::from(key), value);
        }
    };
    if let Some(name) = &domain.name {
        set("c_info", "name", json!(name));
    }
    // libxl leaves out what is empty.
    if domain.info.uuid != [0; 16] {
        set("c_info", "uuid", json!(uuid_text(&domain.info.uuid)));
    }
    if !now.online.is_empty() {
        set("b_info", "avail_vcpus", json!(now.online));
    }
    if let Some(kib) = now.target_kib {
        set("b_info", "target_memkb", json!(kib));
    }
    if let Some(kib) = now.max_kib {
        set("b_info", "max_memkb", json!(kib));
    }
    if let Some((name, weight, cap)) = now.scheduler {
        set("b_info", "sched_params", json!({ "sched": name, "weight": weight, "cap": cap }));
    }
}
