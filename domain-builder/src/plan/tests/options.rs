//! Options of a domain: each reaches the step that it is for, and what this Xen does not have is
//! refused before anything is done.

use super::*;
use crate::plan::steps::{CreateParams, Step};
use crate::plan::{Plan, PlanError, plan_facts};

fn made(host: &HostFacts, change: impl FnOnce(&mut DomainSpec)) -> Result<Plan, PlanError> {
    let mut spec = spec(64 << 10, 1);
    change(&mut spec);
    plan_facts(&spec, &linux(5 << 20), None, host)
}

fn on(version: (u16, u16)) -> HostFacts {
    HostFacts { xen_version: version, ..host() }
}

fn params(plan: &Plan) -> &CreateParams {
    let found = plan.steps.iter().find_map(|step| match step {
        Step::CreateDomain(params) => Some(params),
        _ => None,
    });
    found.expect("a create")
}

fn has(plan: &Plan, name: &str) -> bool {
    plan.steps.iter().any(|step| step.name() == name)
}

#[test]
fn the_grant_table_version_is_the_highest_unless_one_is_named() {
    let check = |host: &HostFacts, version: Option<u8>, expected: Result<u8, &str>| {
        let plan = made(host, |spec| spec.max_grant_version = version);
        match (plan, expected) {
            (Ok(plan), Ok(expected)) => assert_eq!(params(&plan).max_grant_version, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    };
    check(&on((4, 16)), None, Ok(2));
    check(&on((4, 16)), Some(1), Ok(1));
    check(&on((4, 16)), Some(2), Ok(2));
    check(&on((4, 15)), None, Ok(2));
    check(&on((4, 15)), Some(1), Err("Xen 4.15 chooses the version for all domains alike"));
    let old = HostFacts { max_grant_version: 1, ..host() };
    check(&old, Some(1), Ok(1));
    check(&old, Some(2), Err("Xen 4.17 offers versions up to 1"));
}

#[test]
fn relaxed_msrs_need_a_xen_that_knows_them() {
    assert!(!params(&made(&host(), |_| {}).expect("a plan")).msr_relaxed);
    let plan = made(&on((4, 15)), |spec| spec.msr_relaxed = true).expect("a plan");
    assert!(params(&plan).msr_relaxed);
    assert!(plan.to_string().contains(" msr_relaxed\n"));
    let error = made(&on((4, 14)), |spec| spec.msr_relaxed = true).expect_err("too old");
    assert_eq!(error.to_string(), "msr_relaxed needs Xen 4.15, this is 4.14; remove msr_relaxed");
}

/// A domain that stays may see the invariant time stamp counter; Xen 4.14 wants to be told, too.
#[test]
fn a_domain_that_never_moves() {
    assert!(!has(&made(&host(), |_| {}).expect("a plan"), "cpu-policy"));
    for (version, told) in [((4, 14), true), ((4, 15), false), ((4, 17), false)] {
        let plan = made(&on(version), |spec| spec.no_migrate = true).expect("a plan");
        assert!(has(&plan, "cpu-policy"));
        assert_eq!(has(&plan, "disable-migrate"), told, "{version:?}");
    }
}

#[test]
fn the_wall_clock_is_shifted_if_it_differs() {
    assert!(!has(&made(&host(), |_| {}).expect("a plan"), "time-offset"));
    let plan = made(&host(), |spec| spec.time_offset_seconds = -3600).expect("a plan");
    assert!(plan.steps.contains(&Step::TimeOffset { seconds: -3600 }));
}

#[test]
fn nodes_follow_the_options() {
    let plain = made(&host(), |_| {}).expect("a plan").to_string();
    assert!(plain.contains("device/suspend/event-channel") && !plain.contains("D/device-model"));
    let plan = made(&host(), |spec| {
        spec.driver_domain = true;
        spec.no_suspend_node = true;
    });
    let text = plan.expect("a plan").to_string();
    assert!(!text.contains("device/suspend/event-channel") && text.contains("D/device-model"));
}
