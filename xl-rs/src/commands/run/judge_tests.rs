use super::*;
use proptest::prelude::*;

const COMMAND_LINE: &str = "console=hvc0 expect=PASS fail=BAD";

fn wants(expect: &[&str], fail_on: &[&str]) -> Wants {
    let patterns = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Patterns::new(&texts).unwrap()
    };
    Wants {
        expect: patterns(expect),
        fail_on: patterns(fail_on),
        end: None,
        code: false,
        timeout: Duration::from_secs(10),
        grace: Duration::from_secs(2),
    }
}

fn shut(reason: ShutdownReason) -> Event<'static> {
    Event::End(End::ShutDown(reason))
}

/// Hears these at these seconds, then the end of all; gives when the domain was to go.
fn run(wants: Wants, events: &[(u64, Event<'_>)]) -> (Option<u64>, Verdict) {
    let mut judge = Judge::new(wants, COMMAND_LINE);
    let mut left = None;
    for &(at, event) in events {
        let stage = judge.hear(Duration::from_secs(at), event);
        if stage != Stage::Watching {
            left.get_or_insert(at);
        }
        assert_eq!(judge.verdict(), None);
    }
    let last = events.last().map_or(0, |event| event.0);
    assert_eq!(judge.hear(Duration::from_secs(last), Event::Closed), Stage::Done);
    (left, judge.verdict().unwrap())
}

#[test]
fn verdicts() {
    use Event::{Code, End as Ended, Line, Time};
    use Outcome::{Fail, Pass, Timeout};
    use ShutdownReason::{Crash, Poweroff, Reboot, Suspend, Watchdog};
    let check = |wants: Wants, events: &[(u64, Event<'_>)], left, outcome, cause| {
        let (found_left, verdict) = run(wants, events);
        let found = (found_left, verdict.outcome, verdict.cause);
        assert_eq!(found, (left, outcome, cause), "{events:?}: {}", verdict.reason);
    };
    let pass = || wants(&["PASS"], &["BAD"]);
    let none = || wants(&[], &["BAD"]);

    // What is expected, and the grace after it.
    check(pass(), &[(1, Line("PASS")), (2, Time), (3, Time)], Some(3), Pass, Cause::Expect);
    check(pass(), &[(1, Line("PASS")), (2, shut(Poweroff))], Some(2), Pass, Cause::Expect);
    check(pass(), &[(9, Line("PASS")), (11, Time)], Some(11), Pass, Cause::Expect);
    check(pass(), &[(9, Line("x")), (10, Time)], Some(10), Timeout, Cause::Timeout);
    check(pass(), &[(10, Line("PASS"))], None, Pass, Cause::Expect);
    // The same time, and what came in it came too late.
    check(pass(), &[(10, Time), (10, Line("PASS"))], Some(10), Timeout, Cause::Timeout);
    check(pass(), &[(10, Time), (10, Line("BAD"))], Some(10), Timeout, Cause::Timeout);
    let two = || wants(&["one", "two"], &[]);
    check(two(), &[(1, Line("two")), (2, Line("one")), (4, Time)], Some(4), Pass, Cause::Expect);
    check(two(), &[(1, Line("two")), (10, Time)], Some(10), Timeout, Cause::Timeout);
    check(two(), &[(1, Line("two, one")), (3, Time)], Some(3), Pass, Cause::Expect);

    // What fails a run beats what passes it, in whatever order, also in the last words.
    check(pass(), &[(1, Line("BAD PASS")), (3, Time)], Some(3), Fail, Cause::FailOn);
    check(pass(), &[(1, Line("BAD")), (2, Line("PASS")), (3, Time)], Some(3), Fail, Cause::FailOn);
    check(pass(), &[(1, Line("PASS")), (2, Line("BAD")), (3, Time)], Some(3), Fail, Cause::FailOn);
    check(pass(), &[(1, Line("PASS")), (3, Time), (3, Line("BAD"))], Some(3), Fail, Cause::FailOn);
    check(pass(), &[(1, Line("PASS")), (2, shut(Crash))], Some(2), Fail, Cause::End);
    check(pass(), &[(2, shut(Crash)), (2, Line("PASS"))], Some(2), Fail, Cause::End);
    // A crash whose trace is still coming when the grace is over, or that is seen only after it.
    check(
        pass(),
        &[(1, Line("PASS")), (3, Line("x")), (3, shut(Crash))],
        Some(3),
        Fail,
        Cause::End,
    );
    check(pass(), &[(1, Line("PASS")), (3, Time), (3, shut(Crash))], Some(3), Fail, Cause::End);
    check(pass(), &[(9, shut(Crash)), (11, Line("x"))], Some(9), Fail, Cause::End);
    check(pass(), &[(10, Line("x")), (10, shut(Crash))], Some(10), Timeout, Cause::Timeout);
    check(pass(), &[(2, shut(Crash)), (2, Line("BAD"))], Some(2), Fail, Cause::FailOn);
    check(pass(), &[(1, Line("PASS")), (2, Code("1"))], None, Fail, Cause::ExitCode);

    // How it ends.
    check(pass(), &[(2, shut(Poweroff))], Some(2), Fail, Cause::Unseen);
    check(pass(), &[(2, shut(Poweroff)), (2, Line("PASS"))], Some(2), Pass, Cause::Expect);
    for reason in [Reboot, Crash, Watchdog, Suspend, ShutdownReason::Other(9)] {
        check(none(), &[(2, shut(reason))], Some(2), Fail, Cause::End);
    }
    check(none(), &[(2, Ended(End::Removed))], Some(2), Fail, Cause::End);
    check(none(), &[(2, shut(Poweroff))], Some(2), Pass, Cause::End);
    check(none(), &[(10, Time)], Some(10), Timeout, Cause::Timeout);
    let ending = |end| Wants { end: Some(end), ..pass() };
    let crash = || ending(Ending::Crash);
    check(
        crash(),
        &[(1, Line("PASS")), (9, Time), (9, shut(Watchdog))],
        Some(9),
        Pass,
        Cause::Expect,
    );
    check(crash(), &[(1, Line("PASS")), (10, Time)], Some(10), Timeout, Cause::Timeout);
    check(crash(), &[(1, Line("PASS")), (2, shut(Poweroff))], Some(2), Fail, Cause::End);
    check(crash(), &[(2, shut(Crash))], Some(2), Fail, Cause::Unseen);
    check(
        ending(Ending::Reboot),
        &[(1, Line("PASS")), (2, shut(Reboot))],
        Some(2),
        Pass,
        Cause::Expect,
    );

    // What it writes.
    check(none(), &[(1, Code("")), (1, Code("0")), (3, Time)], Some(3), Pass, Cause::ExitCode);
    check(none(), &[(1, Code("0")), (2, shut(Poweroff))], Some(2), Pass, Cause::ExitCode);
    check(none(), &[(1, Code("0")), (2, shut(Crash))], Some(2), Fail, Cause::End);
    check(none(), &[(1, Code(" 3\n")), (2, Code("0")), (3, Time)], Some(3), Fail, Cause::ExitCode);
    // One code that is not 0 is enough, whatever was written before and after it.
    check(none(), &[(1, Code("0")), (2, Code("3")), (3, Time)], Some(3), Fail, Cause::ExitCode);
    check(none(), &[(1, Code("0")), (2, Code("x")), (3, Time)], Some(3), Fail, Cause::ExitCode);
    for text in ["256", "-1", "none", "0x0", "\u{fffd}"] {
        check(none(), &[(1, Code(text)), (3, Time)], Some(3), Fail, Cause::ExitCode);
    }
    check(pass(), &[(1, Code("0")), (10, Time)], Some(10), Timeout, Cause::Timeout);
    let coded = || Wants { code: true, ..pass() };
    check(coded(), &[(1, Line("PASS")), (10, Time)], Some(10), Timeout, Cause::Timeout);
    check(coded(), &[(1, Line("PASS")), (2, Code("0")), (4, Time)], Some(4), Pass, Cause::Expect);
    check(coded(), &[(1, Line("PASS")), (2, shut(Poweroff))], Some(2), Fail, Cause::Unseen);

    // What echoes the command line.
    let echo = Line("Kernel command line: console=hvc0 expect=PASS fail=BAD");
    check(pass(), &[(1, echo), (10, Time)], Some(10), Timeout, Cause::Timeout);
    check(pass(), &[(1, echo), (2, Line("PASS")), (4, Time)], Some(4), Pass, Cause::Expect);
    check(wants(&["hvc0|Kernel"], &[]), &[(1, echo), (3, Time)], Some(3), Pass, Cause::Expect);
}

#[test]
fn what_is_missing_is_named() {
    let check = |wants: Wants, words: &str| {
        let reason = run(wants, &[(10, Event::Time)]).1.reason;
        assert!(reason.contains(words), "{reason}");
    };
    check(wants(&["a", "b"], &[]), "not within 10 s: \"a\", \"b\"");
    check(wants(&[], &[]), ": its end");
    check(Wants { code: true, ..wants(&[], &[]) }, ": an exit code");
    check(Wants { end: Some(Ending::Crash), ..wants(&["a"], &[]) }, ": \"a\", its end");
}

/// Its last words may be heard only after its end: the reason is the same.
#[test]
fn an_end_after_all_is_named() {
    let crash = (2, shut(ShutdownReason::Crash));
    for events in [[(2, Event::Line("PASS")), crash], [crash, (2, Event::Line("PASS"))]] {
        let reason = run(wants(&["PASS"], &[]), &events).1.reason;
        assert_eq!(reason, "ended by crash and not by poweroff, after all that was wanted");
    }
    let reason = run(wants(&["PASS"], &[]), &[crash]).1.reason;
    assert_eq!(reason, "ended by crash and not by poweroff");
}

/// Whatever bytes a guest prints, in whatever pieces: lines are bounded, and nothing passes by chance.
#[test]
fn fuzz_console() {
    use super::super::lines::{LONGEST, Lines, text};
    const PIECES: [&[u8]; 12] = [
        b"\n",
        b"\r\n",
        b"\x1b[31m",
        b"\x1b]0;",
        b"\x07",
        b"\xff\xfe",
        "größer".as_bytes(),
        b"\0",
        b"Command line: expect=PASS ",
        b"console=hvc0 expect=PASS",
        b"[    0.1] ",
        &[b'x'; 5000],
    ];
    let given = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
    let mut seed = 11_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    for _ in 0..given.unwrap_or(200) {
        let mut lines = Lines::default();
        let mut judge = Judge::new(wants(&["^PASS$"], &["^BAD$"]), COMMAND_LINE);
        for _ in 0..random(40) {
            let mut piece = PIECES[random(PIECES.len())].to_vec();
            if random(8) == 0 && !piece.is_empty() {
                let at = random(piece.len());
                piece[at] = random(256) as u8;
            }
            lines.push(&piece, |line| {
                assert!(line.len() <= LONGEST);
                judge.hear(Duration::ZERO, Event::Line(&text(line)));
            });
            assert!(lines.open().len() <= LONGEST);
        }
        judge.hear(Duration::ZERO, Event::Closed);
        assert_eq!(judge.verdict().map(|verdict| verdict.outcome), Some(Outcome::Fail));
    }
}

fn event() -> impl Strategy<Value = (u64, u8)> {
    (0_u64..4, 0_u8..9)
}

proptest! {
    /// Whatever comes in whatever order: it comes to an end in time, what fails it before that is never
    /// passed, and nothing passes without what was wanted.
    #[test]
    fn no_run_passes_that_should_not(
        steps in prop::collection::vec(event(), 0..20),
        has_expect: bool,
        code: bool,
        end in prop::option::of(prop::sample::select(vec![Ending::Poweroff, Ending::Crash])),
    ) {
        let expect: &[&str] = if has_expect { &["PASS"] } else { &[] };
        let wants = Wants { code, end, ..wants(expect, &["BAD"]) };
        let limit = wants.timeout + wants.grace;
        let mut judge = Judge::new(wants, COMMAND_LINE);
        let mut at = Duration::ZERO;
        let (mut passed, mut failed, mut ended, mut zero) = (false, false, None, None);
        let (mut left, mut in_time) = (false, false);
        for (seconds, what) in steps {
            at += Duration::from_secs(seconds);
            let event = match what {
                0 => Event::Line("PASS"),
                1 => Event::Line("BAD"),
                2 => Event::Line("Command line: console=hvc0 expect=PASS fail=BAD"),
                3 => Event::Code("0"),
                4 => Event::Code("7"),
                5 => shut(ShutdownReason::Poweroff),
                6 => shut(ShutdownReason::Crash),
                _ => Event::Time,
            };
            match event {
                Event::Line("PASS") => passed = true,
                Event::Line("BAD") => failed = true,
                Event::Code(text) => zero = Some(zero != Some(false) && text == "0"),
                Event::End(end) => {
                    ended = ended.or(Some(end));
                    in_time |= !left;
                }
                _ => {}
            }
            let before = left;
            left = judge.hear(at, event) != Stage::Watching;
            prop_assert!(left || !before, "it is watched again");
            prop_assert!(left || at <= limit, "it goes on for ever");
        }
        judge.hear(at, Event::Closed);
        let verdict = judge.verdict().unwrap();
        if verdict.outcome == Outcome::Pass {
            prop_assert!(!failed && zero != Some(false), "{verdict:?}");
            prop_assert!(passed || !has_expect, "{verdict:?}");
            prop_assert!(zero == Some(true) || !code, "{verdict:?}");
            let wanted = end.unwrap_or(Ending::Poweroff);
            prop_assert!(ended.is_none_or(|end| end.is(wanted)), "{verdict:?}");
            prop_assert!(ended.is_some() || end.is_none(), "{verdict:?}");
        }
        if verdict.outcome == Outcome::Timeout {
            prop_assert!(!in_time && at >= Duration::from_secs(10), "{verdict:?}");
        }
    }
}
