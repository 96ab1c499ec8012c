//! `top`: what domains use now, on a screen or as text for programs.
//!
//! In: a look at the domains every so often, and keys. Out: a screen, or with `-b` lines in xentop's
//! columns. The terminal is put back however it ends.

use super::error::CommandError;
use super::print;
use crate::cli::TopArgs;
use crate::measure::Sample;
use crate::top::screen::{Key, Screen};
use crate::top::{Look, text};
use libxc_safe::Xen;
use ratatui::Terminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::prelude::CrosstermBackend;
use std::io::{self, Stdout};
use std::time::{Duration, Instant};

/// Runs the command.
pub fn run(arguments: &TopArgs) -> Result<(), CommandError> {
    let xen = Xen::open()?;
    let look = Look {
        full_names: arguments.full_name,
        dom0_first: arguments.dom0_first,
        vcpus: arguments.vcpus,
        networks: arguments.networks,
        disks: arguments.vbds,
        repeat_header: arguments.repeat_header,
    };
    let delay = Duration::from_secs_f64(arguments.delay);
    let rounds = arguments.iterations.unwrap_or(u64::MAX);
    match arguments.batch {
        true => batch(&xen, look, delay, rounds),
        false => {
            let version = xen.version()?.to_string();
            live(&xen, Screen::new(look, version), delay, rounds)
        }
    }
}

fn batch(xen: &Xen, look: Look, delay: Duration, rounds: u64) -> Result<(), CommandError> {
    let mut before = None;
    for round in 0..rounds {
        if round > 0 {
            std::thread::sleep(delay);
        }
        let now = Sample::take(xen)?;
        print(text(&now, before.as_ref(), None, look).as_bytes())?;
        before = Some(now);
    }
    Ok(())
}

fn failed(source: io::Error) -> CommandError {
    CommandError::Write { what: String::from("the terminal"), source }
}

/// A terminal that shows a screen, until it is dropped.
struct Shown(Terminal<CrosstermBackend<Stdout>>);

impl Shown {
    fn new() -> io::Result<Self> {
        enable_raw_mode()?;
        let entered = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        if entered.is_err() {
            let _ = disable_raw_mode();
        }
        Ok(Self(entered?))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = execute!(io::stdout(), LeaveAlternateScreen);
        let _ = self.0.show_cursor();
        let _ = disable_raw_mode();
    }
}

fn live(xen: &Xen, mut screen: Screen, delay: Duration, rounds: u64) -> Result<(), CommandError> {
    screen.take(Sample::take(xen)?);
    let mut shown = Shown::new().map_err(failed)?;
    let mut left = rounds;
    let mut next = Instant::now() + delay;
    loop {
        shown.0.draw(|frame| screen.draw(frame)).map_err(failed)?;
        let wait = next.saturating_duration_since(Instant::now());
        if event::poll(wait).map_err(failed)? {
            if let Some(key) = key(&event::read().map_err(failed)?)
                && !screen.press(key)
            {
                return Ok(());
            }
            continue;
        }
        left = left.saturating_sub(1);
        if left == 0 {
            return Ok(());
        }
        screen.take(Sample::take(xen)?);
        next = Instant::now() + delay;
    }
}

/// What a key asks for; Ctrl-C and Escape end it, as raw terminals send no signals.
fn key(event: &Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
            Some(Key::Letter('q'))
        }
        KeyCode::Esc => Some(Key::Letter('q')),
        KeyCode::Char(letter) => Some(Key::Letter(letter)),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::Left => Some(Key::Left),
        KeyCode::Right => Some(Key::Right),
        _ => None,
    }
}
