//! As much of DNS messages (RFC 1035) as a forwarder with a policy must read. Nothing here trusts a length or a pointer.

use std::net::Ipv4Addr;

/// Kinds of records.
pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;
const OPT: u16 = 41;
const INTERNET: u16 = 1;
/// Codes of answers.
pub(crate) const NO_ERROR: u8 = 0;
pub(crate) const FORMAT_ERROR: u8 = 1;
pub(crate) const SERVER_FAILURE: u8 = 2;
pub(crate) const NO_SUCH_NAME: u8 = 3;
const HEADER_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 253;
/// The most records that are looked at in a message, and the most pointers in a name.
const RECORDS_MAX: usize = 512;
const POINTERS_MAX: usize = 32;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// In lower case, without the last dot.
    pub(crate) name: String,
    pub(crate) kind: u16,
    class: u16,
    /// Where it ends in the message.
    end: usize,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    owner: String,
    kind: u16,
    class: u16,
    seconds: u32,
    /// Where its time to live is in the message.
    seconds_at: usize,
    data: std::ops::Range<usize>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

/// The number by which the asker knows the answer.
pub(crate) fn id(bytes: &[u8]) -> Option<u16> {
    u16_at(bytes, 0)
}

/// Gives a message another number.
pub(crate) fn set_id(bytes: &mut [u8], id: u16) {
    if let Some(place) = bytes.first_chunk_mut() {
        *place = id.to_be_bytes();
    }
}

/// The question of a query, or of an answer to one; `None` for what is no such message.
pub(crate) fn question(bytes: &[u8], answer: bool) -> Option<Question> {
    let flags = u16_at(bytes, 2)?;
    let (is_answer, operation) = (flags & 0x8000 != 0, flags >> 11 & 15);
    if is_answer != answer || operation != 0 || u16_at(bytes, 4)? != 1 {
        return None;
    }
    let (name, end) = name(bytes, HEADER_BYTES)?;
    let (kind, class) = (u16_at(bytes, end)?, u16_at(bytes, end + 2)?);
    Some(Question { name, kind, class, end: end + 4 })
}

impl Question {
    /// Whether the other one asks the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.kind == other.kind && self.class == other.class
    }
}

/// An answer without records.
pub(crate) fn reply(query: &[u8], question: Option<&Question>, code: u8) -> Vec<u8> {
    let mut bytes = query.get(..HEADER_BYTES).map_or_else(|| vec![0; HEADER_BYTES], <[u8]>::to_vec);
    let recursion_desired = bytes[2] & 1;
    bytes[2] = 0x80 | recursion_desired;
    bytes[3] = 0x80 | code & 15;
    bytes[4..].fill(0);
    if let Some(asked) = question.and_then(|question| query.get(HEADER_BYTES..question.end)) {
        bytes[5] = 1;
        bytes.extend(asked);
    }
    bytes
}

/// The addresses that an answer has for a name, over its aliases, each with its time to live in seconds.
pub(crate) fn addresses(bytes: &[u8], name: &str) -> Vec<(Ipv4Addr, u32)> {
    let records = records(bytes);
    let mut aliases = vec![name.to_owned()];
    // aliases come in their order from every resolver, but need not
    for _ in 0..8 {
        let before = aliases.len();
        for record in records.iter().filter(|record| record.kind == CNAME) {
            if aliases.contains(&record.owner)
                && let Some((alias, _)) = self::name(bytes, record.data.start)
                && !aliases.contains(&alias)
            {
                aliases.push(alias);
            }
        }
        if aliases.len() == before {
            break;
        }
    }
    let own = records.iter().filter(|record| record.kind == A && record.class == INTERNET);
    let own = own.filter(|record| aliases.contains(&record.owner));
    own.filter_map(|record| {
        let octets: [u8; 4] = bytes.get(record.data.clone())?.try_into().ok()?;
        Some((Ipv4Addr::from(octets), record.seconds))
    })
    .collect()
}

/// Lets no record of an answer live longer than this.
pub(crate) fn shorten(bytes: &mut [u8], seconds_max: u32) {
    for record in records(bytes) {
        if record.kind != OPT
            && record.seconds > seconds_max
            && let Some(place) = bytes.get_mut(record.seconds_at..record.seconds_at + 4)
        {
            place.copy_from_slice(&seconds_max.to_be_bytes());
        }
    }
}

/// All records that can be read, up to the first that cannot.
fn records(bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let Some(Question { end: mut at, .. }) = question(bytes, true) else { return records };
    let counts = [6, 8, 10].map(|at| u16_at(bytes, at).map_or(0, usize::from));
    for _ in 0..counts.into_iter().sum::<usize>().min(RECORDS_MAX) {
        let Some(record) = record(bytes, at) else { break };
        at = record.data.end;
        records.push(record);
    }
    records
}

fn record(bytes: &[u8], at: usize) -> Option<Record> {
    let (owner, at) = name(bytes, at)?;
    let (kind, class) = (u16_at(bytes, at)?, u16_at(bytes, at + 2)?);
    let seconds = u32::from_be_bytes(*bytes.get(at + 4..)?.first_chunk()?);
    let (start, length) = (at + 10, usize::from(u16_at(bytes, at + 8)?));
    bytes.get(start..start + length)?;
    Some(Record { owner, kind, class, seconds, seconds_at: at + 4, data: start..start + length })
}

/// The name at a place, in lower case, and where it ends there. A name with anything but plain characters is none.
fn name(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut text, mut at, mut end, mut pointers) = (String::new(), start, None, 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => return Some((text, end.unwrap_or(at + 1))),
            1..=63 => {
                if !text.is_empty() {
                    text.push('.');
                }
                let label = bytes.get(at + 1..at + 1 + length)?;
                if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.') {
                    return None;
                }
                text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                if text.len() > NAME_BYTES_MAX {
                    return None;
                }
                at += 1 + length;
            }
            192.. => {
                pointers += 1;
                let target = usize::from(u16_at(bytes, at)? & 0x3fff);
                // only backwards, as RFC 1035 says, so that it ends
                if target >= at || pointers > POINTERS_MAX {
                    return None;
                }
                end = end.or(Some(at + 2));
                at = target;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn push_name(bytes: &mut Vec<u8>, name: &str) {
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.bytes());
        }
        bytes.push(0);
    }

    fn message(answer: bool, name: &str, kind: u16) -> Vec<u8> {
        let flags = if answer { 0x81 } else { 0x01 };
        let mut bytes = vec![0xab, 0xcd, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        push_name(&mut bytes, name);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    fn push_record(bytes: &mut Vec<u8>, owner: &[u8], kind: u16, seconds: u32, data: &[u8]) {
        bytes.extend(owner);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(seconds.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
        bytes[7] += 1;
    }

    #[test]
    fn a_question_is_read_in_lower_case() {
        let query = message(false, "Www.Example.COM", A);
        let question = question(&query, false).unwrap();
        assert_eq!((question.name.as_str(), question.kind), ("www.example.com", A));
        assert_eq!(question.end, query.len());
        assert!(super::question(&query, true).is_none(), "it is no answer");
        let refusal = reply(&query, Some(&question), NO_SUCH_NAME);
        assert_eq!(refusal[..6], [0xab, 0xcd, 0x81, 0x83, 0, 1]);
        assert!(super::question(&refusal, true).unwrap().is(&question));
    }

    #[test]
    fn addresses_are_those_of_the_name_and_its_aliases() {
        let mut answer = message(true, "a.b", A);
        push_record(&mut answer, &[0xc0, 12], CNAME, 60, b"\x01x\x01y\0");
        push_record(&mut answer, b"\x01X\x01y\0", A, 7, &[192, 0, 2, 1]);
        push_record(&mut answer, b"\x01z\0", A, 9, &[192, 0, 2, 2]);
        push_record(&mut answer, &[0xc0, 12], A, 8, &[192, 0, 2, 3]);
        push_record(&mut answer, &[0xc0, 12], A, 8, &[192, 0, 2]);
        let expected = [(Ipv4Addr::new(192, 0, 2, 1), 7), (Ipv4Addr::new(192, 0, 2, 3), 8)];
        assert_eq!(addresses(&answer, "a.b"), expected);
        shorten(&mut answer, 7);
        assert_eq!(addresses(&answer, "a.b").iter().map(|(_, seconds)| *seconds).collect::<Vec<_>>(), [7, 7]);
    }

    #[test]
    fn pointers_that_go_round_or_forwards_are_no_name() {
        let mut bytes = message(false, "a", A);
        bytes[12] = 0xc0;
        bytes[13] = 12;
        assert!(question(&bytes, false).is_none());
        bytes[13] = 15;
        assert!(question(&bytes, false).is_none());
    }

    proptest! {
        #[test]
        fn garbage_is_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), header: bool) {
            if header && bytes.len() > 12 {
                bytes[2] &= 0x87;
                bytes[4..6].copy_from_slice(&[0, 1]);
            }
            for answer in [false, true] {
                let question = question(&bytes, answer);
                let reply = reply(&bytes, question.as_ref(), SERVER_FAILURE);
                prop_assert!(reply.len() >= 12);
            }
            let name = question(&bytes, true).map_or_else(String::new, |question| question.name);
            let _ = addresses(&bytes, &name);
            let before = bytes.len();
            shorten(&mut bytes, 5);
            prop_assert_eq!(bytes.len(), before);
        }

        #[test]
        fn a_damaged_answer_is_survived(at in 0_usize..70, value: u8, cut in 0_usize..70) {
            let mut answer = message(true, "a.b", A);
            push_record(&mut answer, &[0xc0, 12], CNAME, 60, b"\x01x\x01y\0");
            push_record(&mut answer, b"\x01x\x01y\0", A, 7, &[192, 0, 2, 1]);
            if let Some(byte) = answer.get_mut(at) {
                *byte = value;
            }
            answer.truncate(cut);
            let _ = addresses(&answer, "a.b");
            shorten(&mut answer, 5);
        }
    }
}
