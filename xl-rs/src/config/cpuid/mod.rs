//! `cpuid`: `host,NAME=VALUE…`, or a list of `LEAF[,SUBLEAF]:eax=…` with a letter for each bit.
//!
//! Out: [`CpuidBits`], one for each flag or register. What a value does to a bit is the builder's
//! business; names of flags are libxl's.

use super::device::{Part, SpecError};
use super::reader::c_number;
use domain_builder::spec::{CpuidBits, Register};

mod names;

const HELP: &str =
    "write \"host,sse3=0,avx=x\": 0 and 1 set a flag, x is the default for guests, k the host's";

/// Reads the text form.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn parse(text: &str) -> Result<Vec<CpuidBits>, SpecError> {
    let mut words = Part::whole(text).split_commas();
    let first = words.next().unwrap_or(Part::whole(text));
    if first.text != "host" {
        return Err(first.error("cpuid begins with host", HELP));
    }
    let mut all = Vec::new();
    // Empty words are skipped, as under xl.
    for word in words.filter(|word| !word.text.is_empty()) {
        let Some((name, value)) = word.split_once('=') else {
            return Err(word.error(format!("{:?} is no flag=value", word.text), HELP));
        };
        let Some(field) = names::find(name.text) else {
            let message = format!("cpuid knows no flag {:?}", name.text);
            return Err(name.error(message, "see xl.cfg(5) for the names of flags"));
        };
        all.extend(field_bits(name.text, field, value)?);
    }
    Ok(all)
}

/// A field of a register.
#[derive(Clone, Copy, Debug)]
struct Field {
    leaf: u32,
    subleaf: Option<u32>,
    register: Register,
    bit: u32,
    bits: u32,
}

/// What becomes of a field's bits.
#[derive(Clone, Copy)]
enum Choice {
    Number(u32),
    Default,
    Host,
}

/// The bits of one flag; family and model lie in two places each.
fn field_bits(name: &str, field: Field, value: Part<'_>) -> Result<Vec<CpuidBits>, SpecError> {
    let most = match name {
        // 4 bits, and 8 more to be added to the highest number of those.
        "family" => 15 + 255,
        _ => ((1u64 << field.bits) - 1) as u32,
    };
    let choice = match value.text {
        "x" => Choice::Default,
        "k" | "s" => Choice::Host,
        text => {
            let number = c_number(text).and_then(|number| u32::try_from(number).ok());
            let wrong = || value.error(format!("{text:?} is no value from 0 to {most}"), HELP);
            Choice::Number(number.filter(|number| *number <= most).ok_or_else(wrong)?)
        }
    };
    let part = |bit, bits, of: fn(u32) -> u32| {
        let choice = match choice {
            Choice::Number(number) => Choice::Number(of(number)),
            other => other,
        };
        bits_of(Field { bit, bits, ..field }, choice)
    };
    Ok(match name {
        "family" => vec![
            part(8, 4, |family| family.min(15)),
            part(20, 8, |family| family.saturating_sub(15)),
        ],
        "model" => vec![part(4, 4, |model| model & 15), part(16, 4, |model| model >> 4)],
        _ => vec![bits_of(field, choice)],
    })
}

fn bits_of(field: Field, choice: Choice) -> CpuidBits {
    let mask = (u32::MAX >> (32 - field.bits)) << field.bit;
    let mut bits = CpuidBits::none(field.leaf, field.subleaf, field.register);
    match choice {
        Choice::Number(number) => {
            bits.set = (number << field.bit) & mask;
            bits.clear = mask & !bits.set;
        }
        Choice::Default => bits.default = mask,
        Choice::Host => bits.host = mask,
    }
    bits
}

const LEAF_HELP: &str =
    "write \"0x1:ecx=\" and 32 letters of 0, 1, x, k and s, the highest bit first";

/// Reads one item of the list form.
///
/// # Errors
/// [`SpecError`] with the part at fault.
pub fn parse_leaf(text: &str) -> Result<Vec<CpuidBits>, SpecError> {
    let whole = Part::whole(text);
    let Some((place, registers)) = whole.split_once(':') else {
        return Err(whole.error("no leaf and colon before the registers", LEAF_HELP));
    };
    let number = |part: Part<'_>| {
        let number = c_number(part.text).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| part.error(format!("{:?} is no leaf", part.text), LEAF_HELP))
    };
    let (leaf, subleaf) = match place.split_once(',') {
        Some((leaf, subleaf)) => (number(leaf)?, Some(number(subleaf)?)),
        None => (number(place)?, None),
    };
    let mut all = Vec::new();
    for part in registers.split_commas().map(Part::trim_start) {
        let Some((name, letters)) = part.split_once('=') else {
            return Err(part.error(format!("{:?} is no register=bits", part.text), LEAF_HELP));
        };
        let register = match name.text {
            "eax" => Register::Eax,
            "ebx" => Register::Ebx,
            "ecx" => Register::Ecx,
            "edx" => Register::Edx,
            _ => return Err(name.error(format!("{:?} is no register", name.text), LEAF_HELP)),
        };
        all.push(letter_bits(CpuidBits::none(leaf, subleaf, register), letters)?);
    }
    Ok(all)
}

fn letter_bits(mut bits: CpuidBits, letters: Part<'_>) -> Result<CpuidBits, SpecError> {
    if letters.text.chars().count() != 32 {
        return Err(letters.error("a register has 32 bits", LEAF_HELP));
    }
    for (at, letter) in letters.text.chars().enumerate() {
        let bit = 1 << (31 - at);
        match letter {
            '0' => bits.clear |= bit,
            '1' => bits.set |= bit,
            'x' => bits.default |= bit,
            'k' | 's' => bits.host |= bit,
            _ => return Err(letters.error(format!("{letter:?} says nothing of a bit"), LEAF_HELP)),
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(register: Register, change: impl FnOnce(&mut CpuidBits)) -> CpuidBits {
        let mut bits = CpuidBits::none(1, None, register);
        change(&mut bits);
        bits
    }

    #[test]
    fn flags_and_numbers() {
        for (text, expected) in [
            ("host", vec![]),
            ("host,", vec![]),
            ("host,sse3=0", vec![bits(Register::Ecx, |bits| bits.clear = 1)]),
            ("host,hypervisor=1", vec![bits(Register::Ecx, |bits| bits.set = 1 << 31)]),
            ("host,tm=x", vec![bits(Register::Edx, |bits| bits.default = 1 << 29)]),
            ("host,mmx=k", vec![bits(Register::Edx, |bits| bits.host = 1 << 23)]),
            ("host,mmx=s", vec![bits(Register::Edx, |bits| bits.host = 1 << 23)]),
            (
                "host,proccount=0x12",
                vec![bits(Register::Ebx, |bits| {
                    (bits.set, bits.clear) = (0x0012_0000, 0x00ed_0000);
                })],
            ),
            (
                "host,family=6",
                vec![
                    bits(Register::Eax, |bits| (bits.set, bits.clear) = (0x600, 0x900)),
                    bits(Register::Eax, |bits| bits.clear = 0xff << 20),
                ],
            ),
            (
                "host,family=23",
                vec![
                    bits(Register::Eax, |bits| bits.set = 0xf00),
                    bits(Register::Eax, |bits| (bits.set, bits.clear) = (8 << 20, 0xf7 << 20)),
                ],
            ),
            (
                "host,model=0x5e",
                vec![
                    bits(Register::Eax, |bits| (bits.set, bits.clear) = (0xe0, 0x10)),
                    bits(Register::Eax, |bits| (bits.set, bits.clear) = (5 << 16, 10 << 16)),
                ],
            ),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_letter_for_each_bit() {
        let found = parse_leaf(
            "0x1:ecx=xxxxxxxx11110000kkkkssss00001111, edx=0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1",
        );
        let ecx = bits(Register::Ecx, |bits| {
            bits.default = 0xff00_0000;
            (bits.set, bits.clear) = (0x00f0_000f, 0x000f_00f0);
            bits.host = 0xff00;
        });
        let edx = bits(Register::Edx, |bits| {
            (bits.set, bits.clear, bits.default) = (1, 1 << 31, 0x7fff_fffe);
        });
        assert_eq!(found, Ok(vec![ecx, edx]));
        let seven = parse_leaf(&format!("7,0:ebx={}", "0".repeat(32))).expect("a leaf");
        assert_eq!((seven[0].leaf, seven[0].subleaf, seven[0].clear), (7, Some(0), u32::MAX));
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, range, words) in [
            ("", 0..0, "begins with host"),
            ("sse3=0", 0..6, "begins with host"),
            ("host,sse3", 5..9, "no flag=value"),
            ("host,sse9=0", 5..9, "no flag \"sse9\""),
            ("host,sse3=2", 10..11, "no value from 0 to 1"),
            ("host,sse3=y", 10..11, "no value"),
            ("host,family=271", 12..15, "no value from 0 to 270"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert_eq!(error.range, range, "{text:?}");
        }
        for (text, range, words) in [
            ("1", 0..1, "no leaf and colon"),
            ("x:eax=0", 0..1, "is no leaf"),
            ("1,y:eax=0", 2..3, "is no leaf"),
            ("1:", 2..2, "no register=bits"),
            ("1:esx=0", 2..5, "is no register"),
            ("1:eax=0", 6..7, "32 bits"),
            ("1:eax=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx2", 6..38, "says nothing"),
        ] {
            let error = parse_leaf(text).expect_err(text);
            assert!(error.message.contains(words), "{text:?}: {error}");
            assert_eq!(error.range, range, "{text:?}");
        }
    }
}
