//! `PROTOCOL.md` says what the code does: every record and every list of numbers stands there as the
//! code has it, to the offset and the meaning.

use std::fmt::Write as _;
use std::path::Path;

use ib_protocol::{Number, Table, kind, opcode, status, tables};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md");
    std::fs::read_to_string(path).expect("PROTOCOL.md")
}

fn record(table: &Table) -> String {
    let mut text = format!("### {} ({} bytes)\n\n", table.name, table.size);
    text += "| Offset | Size | Field | Meaning |\n|---|---|---|---|\n";
    for field in table.fields {
        let meaning = field.meaning.replace("(crate::MAGIC)", "");
        writeln!(text, "| {:#x} | {} | {} | {meaning} |", field.offset, field.size, field.name)
            .expect("text");
    }
    text
}

fn numbers(title: &str, numbers: &[Number]) -> String {
    let mut text = format!("### {title}\n\n| Number | Name | Meaning |\n|---|---|---|\n");
    for number in numbers {
        writeln!(text, "| {} | {} | {} |", number.value, number.name, number.meaning)
            .expect("text");
    }
    text
}

#[test]
fn the_document_has_what_the_code_has() {
    let document = document();
    let check = |text: String| {
        assert!(document.contains(&text), "PROTOCOL.md lacks this, to the letter:\n\n{text}");
    };
    tables().iter().for_each(|table| check(record(table)));
    check(numbers("status", status::ALL));
    check(numbers("kind", kind::ALL));
    check(numbers("opcode", opcode::ALL));
}

#[test]
fn the_document_has_nothing_else() {
    let titles = document().lines().filter(|line| line.starts_with("### ")).count();
    assert_eq!(titles, tables().len() + 3, "records and lists of numbers");
}
