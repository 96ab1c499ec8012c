//! When a completion queue tells its channel.
//!
//! The guest counts how often it armed a queue, in steps of [`STEP`], with the kind in the low bits.
//! The backend keeps what it has fired for: one event per arming, whatever is polled meanwhile.

/// Between two armings of one queue.
const STEP: u32 = 4;
const KIND: u32 = STEP - 1;
const SOLICITED: u32 = 1;
const ANY: u32 = 2;

/// The word that a guest writes to `notify` to arm a queue that it armed with `last` before (0: never).
#[must_use]
pub const fn arm_after(last: u32, solicited_only: bool) -> u32 {
    (last & !KIND).wrapping_add(STEP) | if solicited_only { SOLICITED } else { ANY }
}

/// What a `notify` word asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Nothing.
    Nothing,
    /// An event for a solicited completion, or one that failed.
    Solicited,
    /// An event for any completion.
    Any,
}

impl Arm {
    /// What `notify` asks for, given the word that was `fired` for last.
    #[must_use]
    pub const fn of(notify: u32, fired: u32) -> Self {
        match notify & KIND {
            _ if notify == fired => Self::Nothing,
            SOLICITED => Self::Solicited,
            ANY => Self::Any,
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_per_arming() {
        let first = arm_after(0, false);
        assert_eq!(Arm::of(0, 0), Arm::Nothing, "never armed");
        assert_eq!(Arm::of(first, 0), Arm::Any);
        assert_eq!(Arm::of(first, first), Arm::Nothing, "fired for it");
        let second = arm_after(first, true);
        assert_eq!(Arm::of(second, first), Arm::Solicited);
        assert_eq!(Arm::of(arm_after(u32::MAX, false), u32::MAX), Arm::Any, "the count wraps");
        assert_eq!(Arm::of(3, 0), Arm::Nothing, "no such kind");
    }
}
