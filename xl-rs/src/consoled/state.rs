//! What to do about a console, from what both ends say of themselves. Pure.
//!
//! ```text
//!            the guest has its ring ready
//!   offered ────────────────────────────▶ connected
//!      ▲  ▲                                   │ the guest closes, or lies
//!      │  └────────── begins anew ─────── closed ◀┘
//!   (new)                                     ▲ the toolstack takes the device away
//! ```

#![expect(non_upper_case_globals, reason = "names of Xen's headers in patterns")]

use xen_sys::io::xenbus::{
    XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitWait,
    XenbusStateInitialised, XenbusStateInitialising, XenbusStateUnknown,
};

/// What is known of a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The backend's state, as its node has it.
    pub backend: u32,
    /// Whether the toolstack wants the device.
    pub online: bool,
    /// What the guest says is its state.
    pub frontend: u32,
    /// Whether there is an endpoint already.
    pub open: bool,
    /// Whether the ring is mapped.
    pub connected: bool,
    /// Whether the guest has lied since it connected.
    pub broken: bool,
    /// Whether dom0's side cannot be opened.
    pub failed: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open the endpoint and tell its name.
    Open,
    /// Wait for the guest, in this state.
    Offer,
    /// Map the ring.
    Connect,
    /// Let go of the ring, in state Closed.
    Close,
    /// Say Closed.
    SayClosed,
    /// Forget that the guest has lied: it begins anew.
    Forgive,
    /// Nothing.
    Rest,
}

/// The next step; after each the sight is another.
#[must_use]
pub fn next(sight: Sight) -> Step {
    let ready = matches!(sight.frontend, XenbusStateInitialised | XenbusStateConnected);
    let begins = matches!(sight.frontend, XenbusStateUnknown | XenbusStateInitialising);
    let leaving = !sight.online || sight.failed || sight.backend == XenbusStateClosing;
    if leaving {
        return match (sight.connected, sight.backend) {
            (true, _) => Step::Close,
            (false, XenbusStateClosed) => Step::Rest,
            (false, _) => Step::SayClosed,
        };
    }
    if sight.broken {
        return match (sight.connected, begins) {
            (true, _) => Step::Close,
            (false, true) => Step::Forgive,
            (false, false) => Step::Rest,
        };
    }
    match sight.backend {
        _ if !sight.open => Step::Open,
        _ if sight.connected && !ready => Step::Close,
        _ if sight.connected => Step::Rest,
        XenbusStateInitWait | XenbusStateConnected if ready => Step::Connect,
        XenbusStateInitWait => Step::Rest,
        // The guest went while nobody served it.
        XenbusStateConnected => Step::SayClosed,
        XenbusStateClosed if !begins => Step::Rest,
        _ => Step::Offer,
    }
}

/// More steps than a guest needs that stays with what it says.
const STEPS: usize = 8;

/// Takes steps until one tells that nothing is left to do; tells whether that was so. A guest that
/// answers each by another state has to wait for all others in between.
///
/// # Errors
/// The first of a step.
pub fn until_rest<E>(mut step: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
    for _ in 0..STEPS {
        if step()? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_an_end() {
        let mut taken = 0;
        let mut check = |rest_at: usize, expected: (bool, usize)| {
            taken = 0;
            let rested = until_rest(|| {
                taken += 1;
                Ok::<_, ()>(taken == rest_at)
            });
            assert_eq!((rested.expect("no error"), taken), expected, "{rest_at}");
        };
        check(1, (true, 1));
        check(STEPS, (true, STEPS));
        check(usize::MAX, (false, STEPS));
        assert_eq!(until_rest(|| Err::<bool, _>("lost")), Err("lost"));
    }

    const GOOD: Sight = Sight {
        backend: XenbusStateConnected,
        online: true,
        frontend: XenbusStateConnected,
        open: true,
        connected: true,
        broken: false,
        failed: false,
    };

    #[test]
    fn steps() {
        let (init, wait, connected) =
            (XenbusStateInitialising, XenbusStateInitWait, XenbusStateConnected);
        let (closing, closed) = (XenbusStateClosing, XenbusStateClosed);
        let unconnected = Sight { connected: false, ..GOOD };
        let new = Sight { backend: init, frontend: init, open: false, ..unconnected };
        for (name, sight, step) in [
            ("new", new, Step::Open),
            ("opened", Sight { open: true, ..new }, Step::Offer),
            ("offered", Sight { open: true, backend: wait, ..new }, Step::Rest),
            (
                "the guest is ready",
                Sight { backend: wait, frontend: 3, ..unconnected },
                Step::Connect,
            ),
            (
                "the guest says it is connected",
                Sight { backend: wait, ..unconnected },
                Step::Connect,
            ),
            ("connected", GOOD, Step::Rest),
            ("after our own death", Sight { open: false, ..unconnected }, Step::Open),
            ("after our own death, opened", unconnected, Step::Connect),
            ("the guest closes", Sight { frontend: closing, ..GOOD }, Step::Close),
            ("the guest is gone", Sight { frontend: 0, ..GOOD }, Step::Close),
            ("it went meanwhile", Sight { frontend: closed, ..unconnected }, Step::SayClosed),
            ("closed", Sight { backend: closed, frontend: closed, ..unconnected }, Step::Rest),
            ("begins anew", Sight { backend: closed, frontend: init, ..unconnected }, Step::Offer),
            ("taken away", Sight { online: false, backend: closing, ..GOOD }, Step::Close),
            ("taken away by its state alone", Sight { backend: closing, ..GOOD }, Step::Close),
            (
                "and closed",
                Sight { online: false, backend: closing, ..unconnected },
                Step::SayClosed,
            ),
            ("and gone", Sight { online: false, backend: closed, ..unconnected }, Step::Rest),
            ("lied", Sight { broken: true, ..GOOD }, Step::Close),
            (
                "lied and still says that it is connected",
                Sight { broken: true, backend: closed, ..unconnected },
                Step::Rest,
            ),
            (
                "lied, and begins anew",
                Sight { broken: true, backend: closed, frontend: init, ..unconnected },
                Step::Forgive,
            ),
            ("no endpoint", Sight { failed: true, open: false, ..new }, Step::SayClosed),
            (
                "no endpoint, and said so",
                Sight { failed: true, backend: closed, ..new },
                Step::Rest,
            ),
            ("no such state", Sight { frontend: 77, ..GOOD }, Step::Close),
            ("no such state of ours", Sight { backend: 77, connected: false, ..GOOD }, Step::Offer),
        ] {
            assert_eq!(next(sight), step, "{name}: {sight:?}");
        }
        assert_eq!(connected, 4);
    }

    /// From every sight it comes to rest, whatever the guest says, if it says the same all the time.
    #[test]
    fn it_comes_to_rest() {
        for bits in 0u32..32 {
            for (backend, frontend) in (0..9).flat_map(|b| (0..9).map(move |f| (b, f))) {
                let mut sight = Sight {
                    backend,
                    frontend,
                    online: bits & 1 != 0,
                    open: bits & 2 != 0,
                    connected: bits & 4 != 0,
                    broken: bits & 8 != 0,
                    failed: bits & 16 != 0,
                };
                let mut steps = 0;
                loop {
                    match next(sight) {
                        Step::Rest => break,
                        Step::Open => sight.open = true,
                        Step::Offer => sight.backend = XenbusStateInitWait,
                        Step::Connect => {
                            (sight.backend, sight.connected) = (XenbusStateConnected, true);
                        }
                        Step::Close => {
                            (sight.backend, sight.connected) = (XenbusStateClosed, false);
                        }
                        Step::SayClosed => sight.backend = XenbusStateClosed,
                        Step::Forgive => sight.broken = false,
                    }
                    steps += 1;
                    assert!(steps < STEPS, "{backend} {frontend} {bits}: {sight:?}");
                }
            }
        }
    }
}
