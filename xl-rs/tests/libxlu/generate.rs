//! Texts in the language of xl.cfg, sound and broken, and which rules of it each one uses.

use crate::random::Random;
use std::collections::BTreeMap;

/// Everything that sound texts are made of. Each has to occur in some hundred texts.
pub const PRODUCTIONS: &[&str] = &[
    "blank line",
    "comment line",
    "comment after a value",
    "comment in a list",
    "blanks around tokens",
    "tabs around tokens",
    "semicolon",
    "empty statement",
    "no newline at the end",
    "nothing but blanks",
    "=",
    "+= on a string",
    "+= on a list",
    "+= on nothing",
    "key set again",
    "key with . _ and digits",
    "string in double quotes",
    "string in single quotes",
    "empty string",
    "other quote in a string",
    "# in a string",
    "control characters in a string",
    "8-bit text in a string",
    "decimal number",
    "octal number",
    "hexadecimal number",
    "digits that are no number",
    "quoted number",
    "empty list",
    "list",
    "trailing comma",
    "nested list",
    "deeply nested list",
    "newline after [",
    "newline after an item",
    "newline after a comma",
    "escape \\\"",
    "escape \\'",
    "escape \\\\",
    "escape \\a",
    "escape \\b",
    "escape \\f",
    "escape \\n",
    "escape \\r",
    "escape \\t",
    "escape \\v",
];

/// Everything that breaks a text: the class, and statements of it.
pub const ERRORS: &[(&str, &[&str])] = &[
    ("key in upper case", &["Name = 1", "NAME='x'", "vCPUs=2"]),
    ("no key", &["= 1", "'x'", "12", "[1]", "_a=1", ".a=1"]),
    ("no operator", &["a", "a 'x'", "a 1", "a [1]", "a : 1"]),
    ("half an operator", &["a + 1", "a + = 1", "a -= 1", "a == 1", "a += = 1"]),
    ("no value", &["a =", "a +=", "a = # 1", "a = ;"]),
    ("bare word", &["a = foo", "a = true", "a = [foo]", "a = foo()"]),
    ("sign", &["a = -1", "a = +1", "a = [-1]"]),
    ("unit", &["a = 4G", "a = 512M", "a = 0X10", "a = [1G]"]),
    ("two values", &["a = 1 2", "a = 'x' 'y'", "a = 'x' b = 1", "a = [1] [2]", "a = 1 b"]),
    ("two items without comma", &["a = [1 2]", "a = ['x' 'y']", "a = [[1] [2]]", "a = [1\n 2]"]),
    ("empty item", &["a = [,]", "a = [1,,2]", "a = [,1]", "a = [[],,]"]),
    ("assignment in a list", &["a = [b = 1]", "a = [1\nb = 2", "a = [1,\nb = 2"]),
    ("semicolon in a list", &["a = [1;2]", "a = [1;]", "a = [;1]"]),
    ("] without [", &["a = ]", "a = 1]", "a = [1]]", "]"]),
    ("list that does not end", &["a = [", "a = [1", "a = [1,", "a = [[1]", "a = [ # ]"]),
    ("string that does not end", &["a = 'x", "a = \"x", "a = 'x\"", "a = ['x]", "a = 'x\\'"]),
    ("string over two lines", &["a = 'x\ny'", "a = \"x\\\ny\"", "a = \"\"\"\nx\n\"\"\""]),
    ("unknown escape", &["a = '\\q'", "a = \"\\ \"", "a = '\\8'", "a = '\\N'", "a = '\\$'"]),
    ("hexadecimal escape", &["a = '\\x41'", "a = \"\\x\"", "a = '\\x4'", "a = '\\x414'"]),
    ("octal escape that is too short", &["a = '\\1'", "a = '\\0x'", "a = \"\\7\"", "a = '\\12'"]),
    ("octal escape", &["a = '\\101'", "a = \"\\0123\"", "a = 'x\\377y'", "a = ['\\000']"]),
    ("carriage return", &["a = 1\r", "\r", "a = 'x'\r\nb = 2\r", "a = [1,\r\n2]"]),
    ("control character", &["\u{1}", "a = 1\u{7}", "a\u{b}= 1", "a = 1 \u{c}"]),
    ("8-bit text outside of strings", &["\u{e9} = 1", "a = \u{e9}", "a\u{a0}= 1", "a = 1\u{fe0f}"]),
    ("punctuation", &["a @ 1", "a = 1 @", "a = (1)", "a = {}", "a = 1 !", "a - b = 1", "$a = 1"]),
    ("+= of list and string", &["s = 'x'; s += [1]", "s = [1]\ns += 'x'", "s = 1; s += []"]),
];

/// A class of its own: a sound text with some bytes changed, sound or broken afterwards.
pub const MUTATED: &str = "bytes changed";

/// Keys of the sound statements. Few, so that they meet again.
const KEYS: &[&str] =
    &["name", "memory", "extra", "vcpus", "disk", "on_crash", "a", "b", "x.y_2", "k9"];

/// A text and what it is made of.
pub struct Generated {
    /// The text.
    pub text: Vec<u8>,
    /// Rules it uses.
    pub classes: Vec<&'static str>,
}

/// What stands at a key, as far as `+=` needs to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalar,
    List,
}

struct Writer<'a> {
    random: &'a mut Random,
    out: Vec<u8>,
    classes: Vec<&'static str>,
    kinds: BTreeMap<&'static str, Kind>,
}

/// The next text of a seeded sequence.
pub fn text(random: &mut Random) -> Generated {
    let kind = random.below(20);
    let statements = 1 + random.below(6);
    let broken_at = (kind >= 12).then(|| random.below(statements));
    let mut writer =
        Writer { random, out: Vec::new(), classes: Vec::new(), kinds: BTreeMap::new() };
    if kind == 0 && writer.random.one_in(4) {
        writer.note("nothing but blanks");
        writer.put(b" \t");
    } else {
        for at in 0..statements {
            let last = at + 1 == statements;
            match broken_at {
                Some(broken_at) if at == broken_at && kind < 19 => writer.broken(),
                _ => writer.statement(),
            }
            writer.end(last);
        }
    }
    if kind == 19 {
        writer.change_bytes();
    }
    Generated { text: writer.out, classes: writer.classes }
}

impl Writer<'_> {
    fn note(&mut self, class: &'static str) {
        self.classes.push(class);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn blanks(&mut self) {
        match self.random.below(6) {
            0 => {
                self.note("blanks around tokens");
                self.put(b"  ");
            }
            1 => {
                self.note("tabs around tokens");
                self.put(b"\t");
            }
            2 | 3 => self.put(b" "),
            _ => {}
        }
    }

    fn broken(&mut self) {
        let (class, texts) = self.random.pick(ERRORS);
        self.note(class);
        let text = self.random.pick(texts);
        self.put(text.as_bytes());
    }

    /// Ends a statement.
    fn end(&mut self, last: bool) {
        self.blanks();
        match self.random.below(8) {
            0 if last => {
                self.note("no newline at the end");
                if self.random.one_in(40) {
                    self.put(b" # the last word");
                }
                return;
            }
            1 => {
                self.note("semicolon");
                return self.put(b";");
            }
            2 => {
                self.note("comment after a value");
                self.put(b"# it's \"a\" [comment] \xff");
            }
            _ => {}
        }
        self.put(b"\n");
        match self.random.below(12) {
            0 => {
                self.note("blank line");
                self.put(b" \n");
            }
            1 => {
                self.note("comment line");
                self.put(b"# a = [\n");
            }
            2 => {
                self.note("empty statement");
                self.put(b";;");
            }
            _ => {}
        }
    }

    fn statement(&mut self) {
        self.blanks();
        let key = self.random.pick(KEYS);
        if key == "x.y_2" {
            self.note("key with . _ and digits");
        }
        self.put(key.as_bytes());
        self.blanks();
        let before = self.kinds.get(key).copied();
        if self.random.one_in(3) {
            self.put(b"+=");
            self.note(match before {
                None => "+= on nothing",
                Some(Kind::Scalar) => "+= on a string",
                Some(Kind::List) => "+= on a list",
            });
            let kind = before.unwrap_or(Kind::Scalar);
            self.blanks();
            self.value(kind);
            self.kinds.insert(key, kind);
        } else {
            self.put(b"=");
            self.note(if before.is_some() { "key set again" } else { "=" });
            let kind = if self.random.one_in(3) { Kind::List } else { Kind::Scalar };
            self.blanks();
            self.value(kind);
            self.kinds.insert(key, kind);
        }
    }

    fn value(&mut self, kind: Kind) {
        match kind {
            Kind::List => self.list(0),
            Kind::Scalar if self.random.one_in(3) => self.number(),
            Kind::Scalar => self.string(),
        }
    }

    fn number(&mut self) {
        let (class, texts): (_, &[&str]) = self.random.pick(&[
            (
                "decimal number",
                &["0", "1", "512", "9223372036854775807", "9223372036854775808"][..],
            ),
            ("octal number", &["010", "0777", "00", "01000000000000000000000"]),
            ("hexadecimal number", &["0x10", "0xff", "0x7fffffffffffffff", "0x8000000000000000"]),
            ("digits that are no number", &["1x2f", "09", "0x", "1a", "0xx", "12e5"]),
        ]);
        self.note(class);
        let text = self.random.pick(texts);
        self.put(text.as_bytes());
    }

    fn string(&mut self) {
        let (quote, other, class) = self.random.pick(&[
            (b'"', b'\'', "string in double quotes"),
            (b'\'', b'"', "string in single quotes"),
        ]);
        self.note(class);
        self.put(&[quote]);
        let pieces = self.random.below(5);
        if pieces == 0 {
            self.note("empty string");
        }
        for _ in 0..pieces {
            match self.random.below(9) {
                0 | 1 => self.escape(),
                2 => {
                    self.note("other quote in a string");
                    self.put(&[other]);
                }
                3 => {
                    self.note("# in a string");
                    self.put(b" # ; [ = ");
                }
                4 => {
                    self.note("control characters in a string");
                    let byte = self.random.pick(b"\x01\t\r\x0b\x1b\x7f");
                    self.put(&[byte]);
                }
                5 => {
                    self.note("8-bit text in a string");
                    let text: &[u8] = self.random.pick(&[&b"\xc3\xa9"[..], b"\xff", b"\x80\xfe"]);
                    self.put(text);
                }
                6 => {
                    self.note("quoted number");
                    let texts =
                        ["-1", "+7", " 7", "7 ", "0X1F", "0x-1", "--1", "4G", "-0x10", "1 2"];
                    let text = self.random.pick(&texts);
                    self.put(text.as_bytes());
                }
                _ => self.put(b"word"),
            }
        }
        self.put(&[quote]);
    }

    fn escape(&mut self) {
        let (class, text) = self.random.pick(&[
            ("escape \\\"", "\\\""),
            ("escape \\'", "\\'"),
            ("escape \\\\", "\\\\"),
            ("escape \\a", "\\a"),
            ("escape \\b", "\\b"),
            ("escape \\f", "\\f"),
            ("escape \\n", "\\n"),
            ("escape \\r", "\\r"),
            ("escape \\t", "\\t"),
            ("escape \\v", "\\v"),
        ]);
        self.note(class);
        self.put(text.as_bytes());
    }

    fn newlines(&mut self, class: &'static str) {
        self.blanks();
        if self.random.one_in(5) {
            self.note(class);
            if self.random.one_in(2) {
                self.note("comment in a list");
                self.put(b"# ] , 'x");
            }
            self.put(b"\n");
            self.blanks();
        }
    }

    fn list(&mut self, depth: usize) {
        self.put(b"[");
        self.newlines("newline after [");
        let items = self.random.below(4);
        self.note(match (depth, items) {
            (_, 0) => "empty list",
            (0, _) => "list",
            (3, _) => "deeply nested list",
            _ => "nested list",
        });
        for at in 0..items {
            match self.random.below(4) {
                0 | 1 if depth < 4 => self.list(depth + 1),
                2 => self.number(),
                _ => self.string(),
            }
            self.newlines("newline after an item");
            if at + 1 < items {
                self.put(b",");
                self.newlines("newline after a comma");
            } else if self.random.one_in(4) {
                self.note("trailing comma");
                self.put(b",");
                self.newlines("newline after a comma");
            }
        }
        self.put(b"]");
    }

    /// Changes some bytes of the text; never to NUL, at which the library fails an assertion.
    fn change_bytes(&mut self) {
        self.note(MUTATED);
        const PIECES: &[&[u8]] = &[
            b"=", b"+=", b"[", b"]", b",", b";", b"\n", b"'", b"\"", b"\\", b"#", b"\r", b"0x",
            b"a", b" ", b"-", b"\\1", b"\xff",
        ];
        for _ in 0..=self.random.below(3) {
            let at = self.random.below(self.out.len());
            match self.random.below(4) {
                0 => self.out.truncate(at),
                1 if at < self.out.len() => {
                    self.out.remove(at);
                }
                2 if at < self.out.len() => self.out[at] = 1 + self.random.below(255) as u8,
                _ => {
                    let piece = self.random.pick(PIECES);
                    self.out.splice(at..at, piece.iter().copied());
                }
            }
        }
    }
}
