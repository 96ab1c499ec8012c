//! Prometheus' text format, version 0.0.4.
//!
//! In: families of samples. Out: text. Whatever is in a label's value comes out escaped; families come
//! out one after the other, each with its help and its kind before its samples.

use std::fmt::Write as _;

/// The type that goes with it over HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until what it counts for ends. Its name ends in `_total`.
    Counter,
}

/// The text so far.
#[derive(Clone, Debug, Default)]
pub struct Text {
    out: String,
}

/// A label and its value.
pub type Label<'a> = (&'static str, &'a str);

impl Text {
    /// Begins a family.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing into a String cannot fail.
        let _ = write!(self.out, "# HELP {name} {}\n# TYPE {name} {kind}\n", escape(help, false));
        Family { name, out: &mut self.out }
    }

    /// All of it.
    #[must_use]
    pub fn finish(self) -> String {
        self.out
    }
}

/// A family that samples are added to.
pub struct Family<'a> {
    name: &'static str,
    out: &'a mut String,
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[Label<'_>], value: f64) -> &mut Self {
        self.out.push_str(self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{label}=\"{}\"", escape(text, true));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
        self
    }
}

fn escape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            letter => out.push(letter),
        }
    }
    out
}

/// A strict reader of the format, for tests.
#[cfg(test)]
pub mod reader {
    use std::collections::BTreeMap;

    /// A sample: name, labels, value.
    pub type Sample = (String, BTreeMap<String, String>, f64);

    /// Reads a text, or says what is wrong with it.
    pub fn read(text: &str) -> Result<Vec<Sample>, String> {
        if !text.ends_with('\n') {
            return Err(String::from("the last line does not end"));
        }
        let (mut families, mut current) = (Vec::new(), (String::new(), String::new()));
        let mut samples: Vec<Sample> = Vec::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap_or_default().to_owned();
                if families.contains(&name) || !is_name(&name, true) {
                    return Err(format!("a second family, or a bad name: {line}"));
                }
                families.push(name.clone());
                current = (name, String::new());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').ok_or_else(|| line.to_owned())?;
                if name != current.0 || !["gauge", "counter"].contains(&kind) {
                    return Err(format!("a kind of its own: {line}"));
                }
                if (kind == "counter") != name.ends_with("_total") {
                    return Err(format!("its name and its kind disagree: {line}"));
                }
                current.1 = kind.to_owned();
            } else {
                let sample = sample(line).ok_or_else(|| format!("no sample: {line}"))?;
                if sample.0 != current.0 || current.1.is_empty() {
                    return Err(format!("a sample outside of its family: {line}"));
                }
                if samples.iter().any(|other| (&other.0, &other.1) == (&sample.0, &sample.1)) {
                    return Err(format!("twice: {line}"));
                }
                samples.push(sample);
            }
        }
        Ok(samples)
    }

    fn is_name(name: &str, colons: bool) -> bool {
        let good = |letter: char| {
            letter.is_ascii_alphanumeric() || letter == '_' || (colons && letter == ':')
        };
        !name.is_empty()
            && name.chars().all(good)
            && !name.starts_with(|l: char| l.is_ascii_digit())
    }

    fn sample(line: &str) -> Option<Sample> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, value) = rest.split_once("=\"")?;
                let (value, after) = quoted(value)?;
                if !is_name(label, false) || labels.insert(label.to_owned(), value).is_some() {
                    return None;
                }
                match after.split_at_checked(1)? {
                    (",", after) => rest = after,
                    ("}", after) => {
                        rest = after;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        let value = rest.strip_prefix(' ')?.parse().ok()?;
        is_name(name, true).then(|| (name.to_owned(), labels, value))
    }

    /// A value up to its quote, and what follows.
    fn quoted(text: &str) -> Option<(String, &str)> {
        let mut out = String::new();
        let mut letters = text.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => return Some((out, &text[at + 1..])),
                '\\' => out.push(match letters.next()?.1 {
                    'n' => '\n',
                    same @ ('"' | '\\') => same,
                    _ => return None,
                }),
                letter => out.push(letter),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::reader::read;
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "What \\ it\nis.").sample(&[], 3.0);
        let odd = "a\"b\\c\nd{,}= é";
        text.family("b", Kind::Gauge, "Another.")
            .sample(&[("one", odd), ("two", "")], 0.25)
            .sample(&[("one", "x")], 1e18);
        let text = text.finish();
        let samples = read(&text).unwrap_or_else(|why| panic!("{why}:\n{text}"));
        assert_eq!(samples.len(), 3);
        assert_eq!(samples[0], (String::from("a_total"), [].into(), 3.0));
        assert_eq!(samples[1].1["one"], odd);
        assert_eq!(samples[2].2, 1e18);
    }

    #[test]
    fn the_reader_is_strict() {
        let head = "# HELP a x\n# TYPE a gauge\n";
        for bad in [
            "a 1\n".to_owned(),
            format!("{head}a 1"),
            format!("{head}b 1\n"),
            format!("{head}a 1\na 1\n"),
            format!("{head}a{{l=\"x}} 1\n"),
            format!("{head}a{{9=\"x\"}} 1\n"),
            format!("{head}a{{l=\"x\"}}\n"),
            format!("{head}a one\n"),
            format!("{head}a 1\n{head}a 2\n"),
            String::from("# HELP a_total x\n# TYPE a_total gauge\na_total 1\n"),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
