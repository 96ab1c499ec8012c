//! What `host check` prints.

use crate::host::judge::{Finding, Status};
use serde_json::{Value, json};
use std::fmt::Write;

/// A line per feature; below it what is wrong, and how to mend it.
#[must_use]
pub fn to_text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let (name, status) = (finding.feature.name(), finding.status().word());
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{name:<11} {status:<9} {}", finding.seen);
        for problem in &finding.problems {
            let _ = writeln!(out, "{:<12}{}", "", problem.what);
            let _ = writeln!(out, "{:<12}-> {}", "", problem.mend);
        }
    }
    out
}

/// One object: the worst status, and an array of features.
#[must_use]
pub fn to_json(findings: &[Finding]) -> Value {
    let worst = findings.iter().map(Finding::status).max().unwrap_or(Status::Ok);
    let features: Vec<Value> = findings.iter().map(feature).collect();
    json!({ "status": worst.word(), "features": features })
}

fn feature(finding: &Finding) -> Value {
    let problems: Vec<Value> = finding
        .problems
        .iter()
        .map(|problem| {
            json!({
                "status": problem.status.word(), "what": problem.what, "mend": problem.mend,
            })
        })
        .collect();
    json!({
        "feature": finding.feature.name(), "status": finding.status().word(),
        "seen": finding.seen, "problems": problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::judge::{Feature, Problem};

    #[test]
    fn a_page_of_findings() {
        let problem =
            Problem { status: Status::Missing, what: "no disk".into(), mend: "load it".into() };
        let findings = [
            Finding { feature: Feature::Xenstore, seen: "C".into(), problems: Vec::new() },
            Finding { feature: Feature::Disks, seen: "files".into(), problems: vec![problem] },
        ];
        assert_eq!(
            to_text(&findings),
            "xenstore    ok        C\n\
             disks       missing   files\n            no disk\n            -> load it\n"
        );
        let json = to_json(&findings);
        assert_eq!(json["status"], "missing");
        assert_eq!(json["features"][0]["problems"], json!([]));
        assert_eq!(json["features"][1]["problems"][0]["mend"], "load it");
        assert_eq!(to_json(&[])["status"], "ok");
    }
}
