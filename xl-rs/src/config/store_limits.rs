//! `xenstore_feature_mask` and `xenstore_quota`: what xenstored grants this domain alone.
//!
//! Both came with Xen 4.21 and 4.22; whether the xenstored of the host knows them shows when it is
//! asked. The names of quotas are the store's own, so they are only checked for their form here.

use super::keys::FEATURE_MASK;
use super::reader::{At, Reader, c_number};
use super::tree::Span;
use domain_builder::spec::StoreLimits;

/// Reads both keys.
pub fn store_limits(reader: &mut Reader<'_>) -> StoreLimits {
    let mask = reader.number("xenstore_feature_mask", FEATURE_MASK);
    let feature_mask = mask.and_then(|mask| u32::try_from(mask.value).ok());
    StoreLimits { feature_mask, quotas: quotas(reader) }
}

fn quotas(reader: &mut Reader<'_>) -> Vec<(String, u32)> {
    let Some((is_list, items)) = reader.text_or_list("xenstore_quota") else { return Vec::new() };
    if !is_list {
        let span = items.first().map_or(Span::default(), |item| item.span);
        refuse(reader, span, "xenstore_quota must be a list");
        return Vec::new();
    }
    let mut quotas: Vec<(String, u32)> = Vec::new();
    for At { value, span } in items {
        match quota(&value) {
            Some((name, _)) if quotas.iter().any(|(other, _)| *other == name) => {
                refuse(reader, span, &format!("xenstore_quota names {name} twice"));
            }
            Some(quota) => quotas.push(quota),
            None => refuse(reader, span, "an item of xenstore_quota is no limit"),
        }
    }
    quotas
}

/// `name=limit`, with blanks around either.
fn quota(text: &str) -> Option<(String, u32)> {
    let (name, limit) = text.split_once('=')?;
    let name = name.trim();
    let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    let limit = u32::try_from(c_number(limit.trim())?).ok()?;
    (!name.is_empty() && name.bytes().all(word)).then(|| (name.to_owned(), limit))
}

fn refuse(reader: &mut Reader<'_>, span: Span, message: &str) {
    let help = String::from("write xenstore_quota = [ \"nodes=2000\", \"watches=256\" ]");
    reader.refuse(span, message.to_owned(), "NAME=LIMIT belongs here", Some(help));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_name_and_a_limit() {
        for (text, expected) in [
            ("nodes=2000", Some(("nodes", 2000))),
            (" transaction-nodes = 0x10 ", Some(("transaction-nodes", 16))),
            ("memory=0", Some(("memory", 0))),
            ("nodes", None),
            ("=7", None),
            ("nodes=", None),
            ("nodes=-1", None),
            ("nodes=4294967296", None),
            ("no/des=1", None),
            ("nodes=1=2", None),
        ] {
            let expected = expected.map(|(name, limit): (&str, u32)| (name.to_owned(), limit));
            assert_eq!(quota(text), expected, "{text:?}");
        }
    }
}
