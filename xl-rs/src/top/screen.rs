//! The live screen: drawn from rows, steered by keys. Knows no terminal.

use super::{COLUMNS, Look, details, line, name_width, rows, sort};
use crate::measure::Sample;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// What is shown, and how.
#[derive(Clone, Debug)]
pub struct Screen {
    /// How rows are shown.
    pub look: Look,
    /// The column that is sorted by; none is by number.
    pub column: Option<usize>,
    /// How many lines are scrolled over.
    pub scrolled: usize,
    /// How many columns of letters are scrolled over, to the right.
    pub shifted: u16,
    /// What Xen calls itself.
    pub version: String,
    now: Option<Sample>,
    before: Option<Sample>,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A letter.
    Letter(char),
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow.
    Left,
    /// An arrow.
    Right,
}

impl Screen {
    /// Nothing yet.
    #[must_use]
    pub fn new(look: Look, version: String) -> Self {
        Self { look, column: None, scrolled: 0, shifted: 0, version, now: None, before: None }
    }

    /// Takes another look.
    pub fn take(&mut self, sample: Sample) {
        self.before = self.now.replace(sample);
    }

    /// Does what a key asks for; tells whether to go on.
    pub fn press(&mut self, key: Key) -> bool {
        let look = &mut self.look;
        match key {
            Key::Letter('q' | 'Q') => return false,
            Key::Letter('n' | 'N') => look.networks ^= true,
            Key::Letter('b' | 'B') => look.disks ^= true,
            Key::Letter('v' | 'V') => look.vcpus ^= true,
            Key::Letter('r' | 'R') => look.repeat_header ^= true,
            Key::Letter('f' | 'F') => look.full_names ^= true,
            Key::Letter('s') => {
                self.column = Some(self.column.map_or(0, |column| (column + 1) % COLUMNS.len()));
            }
            Key::Letter('S') => {
                let last = COLUMNS.len() - 1;
                self.column =
                    Some(self.column.map_or(last, |column| (column + last) % COLUMNS.len()));
            }
            Key::Letter(_) => {}
            Key::Up => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down => self.scrolled = self.scrolled.saturating_add(1),
            Key::Left => self.shifted = self.shifted.saturating_sub(8),
            Key::Right => self.shifted = self.shifted.saturating_add(8).min(160),
        }
        true
    }

    /// Draws it.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let Some(now) = &self.now else { return };
        let areas =
            Layout::vertical([Constraint::Length(3), Constraint::Min(1), Constraint::Length(1)])
                .split(frame.area());
        let [top, middle, bottom] = areas[..] else { return };
        let head: Vec<Line<'_>> = summary(now, &self.version).map(Line::raw).into();
        frame.render_widget(Paragraph::new(head), top);

        let mut rows = rows(now, self.before.as_ref());
        sort(&mut rows, self.column, self.look);
        let name_width = name_width(&rows, self.look);
        let mut lines = Vec::new();
        for row in &rows {
            if self.look.repeat_header && !lines.is_empty() {
                lines.push(self.titles(name_width));
            }
            lines.push(Line::raw(line(row, name_width)));
            let domain = now.domains.iter().find(|domain| domain.info.domid.0 == row.domid);
            let more = domain.map(|domain| details(domain, self.look)).unwrap_or_default();
            lines.extend(more.into_iter().map(Line::raw));
        }
        let room = usize::from(middle.height).saturating_sub(1);
        self.scrolled = self.scrolled.min(lines.len().saturating_sub(room.max(1)));
        let mut shown = vec![self.titles(name_width)];
        shown.extend(lines.into_iter().skip(self.scrolled).take(room));
        frame.render_widget(Paragraph::new(shown).scroll((0, self.shifted)), middle);
        let help = "N networks  B disks  V vcpus  F full names  R repeat header  S sort by the next \
                    column  arrows scroll  Q quit";
        let style = Style::new().add_modifier(Modifier::REVERSED);
        frame.render_widget(Paragraph::new(Line::styled(help, style)), bottom);
    }

    /// The headings; that of the column that is sorted by stands out.
    fn titles(&self, name_width: usize) -> Line<'static> {
        let mut at = 0;
        let header = super::header(name_width);
        let spans = COLUMNS.iter().enumerate().map(|(index, column)| {
            let end = (at + super::width_of(column, name_width) + 1).min(header.len());
            let text = header[at..end].to_owned();
            at = end;
            let style = match self.column == Some(index) {
                true => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
                false => Style::new().add_modifier(Modifier::REVERSED),
            };
            Span::styled(text, style)
        });
        Line::from(spans.collect::<Vec<_>>())
    }
}

/// Three lines about the host.
fn summary(now: &Sample, version: &str) -> [String; 3] {
    let states = rows(now, None);
    let count = |letter: char| states.iter().filter(|row| row.state.contains(letter)).count();
    let kib = |pages: u64| pages * 4;
    let host = &now.host;
    [
        format!("xlr top   Xen {version}"),
        format!(
            "{} domains: {} running, {} blocked, {} paused, {} crashed, {} dying, {} shutdown",
            states.len(),
            count('r'),
            count('b'),
            count('p'),
            count('c'),
            count('d'),
            count('s')
        ),
        format!(
            "Mem: {}k total, {}k used, {}k free    CPUs: {} @ {}MHz",
            kib(host.total_pages),
            kib(host.total_pages.saturating_sub(host.free_pages)),
            kib(host.free_pages),
            host.cpus,
            host.cpu_khz / 1000
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::sample;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(row).collect()
    }

    #[test]
    fn the_screen() {
        let mut screen = Screen::new(Look::default(), String::from("4.17.5"));
        assert!(drawn(&mut screen, 20, 4).iter().all(|line| line.trim().is_empty()));
        screen.take(sample());
        let lines = drawn(&mut screen, 170, 9);
        assert!(lines[0].starts_with("xlr top   Xen 4.17.5"), "{lines:#?}");
        assert!(lines[1].starts_with("3 domains: 1 running, 2 blocked, 0 paused"), "{lines:#?}");
        assert!(lines[2].starts_with("Mem: 4096k total, 2048k used, 2048k free"), "{lines:#?}");
        assert_eq!(lines[3].trim_end(), super::super::header(10));
        assert!(lines[4].starts_with("  Domain-0 -----r"), "{lines:#?}");
        assert!(lines[5].starts_with("a-very-lon --b---"), "{lines:#?}");
        assert!(lines[8].starts_with("N networks"), "{lines:#?}");
    }

    #[test]
    fn keys_steer_it() {
        let mut screen = Screen::new(Look::default(), String::new());
        screen.take(sample());
        // By the fifth column, memory.
        for _ in 0..5 {
            assert!(screen.press(Key::Letter('s')));
        }
        let lines = drawn(&mut screen, 170, 9);
        assert!(lines[4].starts_with("     third"), "{lines:#?}");
        assert!(screen.press(Key::Letter('S')) && screen.press(Key::Letter('V')));
        let lines = drawn(&mut screen, 170, 12);
        assert!(lines[5].starts_with("VCPUs(sec):"), "{lines:#?}");
        // No further than its end, which is not more than is there.
        for _ in 0..50 {
            assert!(screen.press(Key::Down));
        }
        let lines = drawn(&mut screen, 40, 7);
        assert!(lines[5].starts_with("VCPUs(sec):"), "{lines:#?}");
        screen.press(Key::Up);
        assert!(screen.press(Key::Right));
        assert!(drawn(&mut screen, 40, 7)[3].starts_with("ME  STATE"));
        assert!(!screen.press(Key::Letter('q')));
        // Hardly any room is no reason to fail.
        for (width, height) in [(1, 1), (3, 2), (80, 3), (1, 40)] {
            drawn(&mut screen, width, height);
        }
    }
}
