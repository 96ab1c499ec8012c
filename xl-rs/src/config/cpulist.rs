//! CPU lists (`0-3,^1`, `nodes:0-1,^node:1`, `all`): text → terms → set of CPUs.
//!
//! Terms apply from left to right, starting from the empty set. Which CPUs and nodes exist is
//! handed in; nothing here asks the host.

use domain_builder::spec::CpuSet;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, space0};
use nom::combinator::{all_consuming, map, map_opt, opt, value};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};
use std::collections::BTreeSet;

/// No host has more; a larger number is a slip.
const HIGHEST: u32 = 0xffff;

/// One term of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// `^`: takes away instead of adding.
    pub exclude: bool,
    /// What it covers.
    pub range: Range,
}

/// What a term covers; bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Every CPU of the host.
    All,
    /// These CPUs.
    Cpus(u32, u32),
    /// The CPUs of these NUMA nodes.
    Nodes(u32, u32),
}

/// The CPUs of a host: index is the CPU's number, the value its NUMA node; `None` is a CPU that is
/// not there.
pub type NodeOfCpu = [Option<u32>];

/// Reads a list. The error is the offset of the first byte that does not fit.
pub fn parse(text: &str) -> Result<Vec<Term>, usize> {
    let item = delimited(space0, term, space0);
    match all_consuming(separated_list1(char(','), item)).parse(text) {
        Ok((_, terms)) => Ok(terms),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => {
            // A term that fails after a comma is reported at the comma; the term is what is wrong.
            Err(text.len() - error.input.trim_start_matches([',', ' ']).len())
        }
        Err(nom::Err::Incomplete(_)) => Err(text.len()),
    }
}

fn term(input: &str) -> IResult<&str, Term> {
    let range = alt((
        value(Range::All, (opt(nodes_prefix), tag("all"))),
        map(preceded(nodes_prefix, bounds), |(low, high)| Range::Nodes(low, high)),
        map(bounds, |(low, high)| Range::Cpus(low, high)),
    ));
    map((opt(char('^')), space0, range), |(caret, _, range)| Term {
        exclude: caret.is_some(),
        range,
    })
    .parse(input)
}

fn nodes_prefix(input: &str) -> IResult<&str, &str> {
    alt((tag("nodes:"), tag("node:"))).parse(input)
}

fn bounds(input: &str) -> IResult<&str, (u32, u32)> {
    let pair = (number, opt(preceded(char('-'), number)));
    map_opt(pair, |(low, high)| {
        let high = high.unwrap_or(low);
        (low <= high).then_some((low, high))
    })
    .parse(input)
}

fn number(input: &str) -> IResult<&str, u32> {
    let digits = take_while1(|character: char| character.is_ascii_digit());
    map_opt(digits, |text: &str| text.parse().ok().filter(|&number| number <= HIGHEST)).parse(input)
}

/// The CPUs a list names on this host, or what is wrong with it there.
pub fn resolve(terms: &[Term], host: &NodeOfCpu) -> Result<CpuSet, String> {
    let mut set = BTreeSet::new();
    for term in terms {
        if term.exclude {
            let node = |cpu: u32| host.get(cpu as usize).copied().flatten();
            set.retain(|&cpu| !takes_away(term.range, cpu, node(cpu)));
        } else {
            set.extend(covered(term.range, host)?);
        }
    }
    if set.is_empty() {
        return Err(String::from("no CPU is left in this list"));
    }
    Ok(CpuSet(set.into_iter().collect()))
}

/// Whether a CPU is among those that a range takes away, which need not all be there.
fn takes_away(range: Range, cpu: u32, node: Option<u32>) -> bool {
    match range {
        Range::All => true,
        Range::Cpus(low, high) => (low..=high).contains(&cpu),
        Range::Nodes(low, high) => node.is_some_and(|node| (low..=high).contains(&node)),
    }
}

fn covered(range: Range, host: &NodeOfCpu) -> Result<Vec<u32>, String> {
    let present = (0..).zip(host).filter_map(|(cpu, node)| node.map(|node| (cpu, node)));
    let cpus: Vec<u32> = match range {
        Range::All => present.map(|(cpu, _)| cpu).collect(),
        Range::Cpus(low, high) => {
            let exists = |cpu: u32| host.get(cpu as usize).is_some_and(Option::is_some);
            if let Some(absent) = (low..=high).find(|&cpu| !exists(cpu)) {
                return Err(format!("this host has no CPU {absent}"));
            }
            (low..=high).collect()
        }
        Range::Nodes(low, high) => {
            let nodes: BTreeSet<u32> = host.iter().flatten().copied().collect();
            if let Some(absent) = (low..=high).find(|node| !nodes.contains(node)) {
                return Err(format!("this host has no CPU on NUMA node {absent}"));
            }
            present.filter(|(_, node)| (low..=high).contains(node)).map(|(cpu, _)| cpu).collect()
        }
    };
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight CPUs on two nodes; CPU 6 is not there.
    const HOST: &NodeOfCpu = &[Some(0), Some(0), Some(0), Some(0), Some(1), Some(1), None, Some(1)];

    fn check(text: &str, expected: Result<&[u32], &str>) {
        let terms = parse(text).unwrap_or_else(|at| panic!("{text:?} breaks at {at}"));
        let found = resolve(&terms, HOST);
        assert_eq!(
            found,
            expected.map(|cpus| CpuSet(cpus.to_vec())).map_err(String::from),
            "{text:?}"
        );
    }

    #[test]
    fn terms_apply_from_left_to_right() {
        check("0", Ok(&[0]));
        check("3,1,3", Ok(&[1, 3]));
        check("0-3,5,^1", Ok(&[0, 2, 3, 5]));
        check("^1,0-3", Ok(&[0, 1, 2, 3]));
        check("all", Ok(&[0, 1, 2, 3, 4, 5, 7]));
        check("all,^7", Ok(&[0, 1, 2, 3, 4, 5]));
        check("nodes:0-1,^node:1", Ok(&[0, 1, 2, 3]));
        check("1,node:1,^5", Ok(&[1, 4, 7]));
        check(" 0 , ^ 1 , 2 ", Ok(&[0, 2]));
        check("all,^nodes:all", Err("no CPU is left in this list"));
        check("^1", Err("no CPU is left in this list"));
        check("all,^5-65535", Ok(&[0, 1, 2, 3, 4]));
        check("all,^6,^nodes:1-9", Ok(&[0, 1, 2, 3]));
        check("8", Err("this host has no CPU 8"));
        check("5-7", Err("this host has no CPU 6"));
        check("node:2", Err("this host has no CPU on NUMA node 2"));
    }

    #[test]
    fn what_is_no_list_is_refused_where_it_breaks() {
        for (text, at) in [
            ("", 0),
            ("x", 0),
            ("0,", 2),
            ("0-", 1),
            ("3-1", 0),
            ("0,x", 2),
            ("0 1", 2),
            ("65536", 0),
            ("-1", 0),
            ("99999999999", 0),
        ] {
            assert_eq!(parse(text), Err(at), "{text:?}");
        }
        assert_eq!(parse("65535").map(|terms| terms.len()), Ok(1));
    }
}
