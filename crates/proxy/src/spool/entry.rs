//! The bytes of a segment: a header, then entries of length, checksum, kind and fields.
//!
//! `length: u32 LE` counts kind and payload, `checksum: u32 LE` is over both. Strings are `length: u32 LE` and UTF-8.
//! A tail that was torn by a crash fails the length or the checksum, and ends the segment.

use triplane_model::ActivationId;
use triplane_model::activation::ActivationEntry;

/// The first bytes of a segment; the last one is the version of the format.
pub(super) const MAGIC: [u8; 8] = *b"TPSPOOL\x01";
/// Length and checksum.
pub(super) const HEAD_BYTES: usize = 8;

const SENT: u8 = 1;
const RECORD: u8 = 2;
const VOID: u8 = 3;

/// A note that a call is about to be sent: what its record says if nothing more is heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The activation.
    pub id: ActivationId,
    /// When it started, epoch milliseconds.
    pub start_ms: u64,
    /// The namespace of the caller.
    pub namespace: &'a str,
    /// `action` or `pkg/action`.
    pub name: &'a str,
    /// The JSON of the record up to `"start":`.
    pub head: &'a str,
    /// The JSON array of its annotations.
    pub annotations: &'a str,
}

/// A record, borrowed: see [`ActivationEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The activation.
    pub id: ActivationId,
    /// When it started, epoch milliseconds.
    pub start_ms: u64,
    /// The namespace of the caller.
    pub namespace: &'a str,
    /// `action` or `pkg/action`.
    pub name: &'a str,
    /// The JSON of the record, with empty logs.
    pub record: &'a str,
    /// The logs as a JSON array.
    pub logs: &'a str,
}

impl<'a> From<&'a ActivationEntry> for Record<'a> {
    fn from(entry: &'a ActivationEntry) -> Self {
        Self {
            id: entry.id,
            start_ms: entry.start_ms,
            namespace: entry.namespace.as_str(),
            name: &entry.name,
            record: &entry.record,
            logs: &entry.logs,
        }
    }
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// A call is about to be sent.
    Sent(Sent<'a>),
    /// A call has its record.
    Record(Record<'a>),
    /// A call was not sent after all.
    Void(ActivationId),
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded<'a> {
    /// An entry, and its length in bytes.
    Entry(Entry<'a>, usize),
    /// The start of an entry that is this long in all.
    Partial(usize),
    /// Nothing that was written whole.
    Torn,
}

/// Puts an entry at the end of `out`.
pub(super) fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    match entry {
        Entry::Sent(sent) => {
            put_start(out, SENT, sent.id, sent.start_ms);
            put_texts(out, [sent.namespace, sent.name, sent.head, sent.annotations]);
        }
        Entry::Record(record) => {
            put_start(out, RECORD, record.id, record.start_ms);
            put_texts(out, [record.namespace, record.name, record.record, record.logs]);
        }
        Entry::Void(id) => put_start(out, VOID, *id, 0),
    }
    let body = out.len() - start - HEAD_BYTES;
    let sum = checksum(&out[start + HEAD_BYTES..]);
    out[start..start + 4].copy_from_slice(&length(body).to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}

/// Reads the entry at the start of `bytes`; `bytes_max` is how much the segment has left.
pub(super) fn decode(bytes: &[u8], bytes_max: u64) -> Decoded<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return if bytes_max < HEAD_BYTES as u64 { Decoded::Torn } else { Decoded::Partial(HEAD_BYTES) };
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let body = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if (HEAD_BYTES + body) as u64 > bytes_max || body == 0 {
        return Decoded::Torn;
    }
    let Some(body) = rest.get(..body) else { return Decoded::Partial(HEAD_BYTES + body) };
    if checksum(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Decoded::Torn;
    }
    match decode_body(body) {
        Some(entry) => Decoded::Entry(entry, HEAD_BYTES + body.len()),
        None => Decoded::Torn,
    }
}

fn decode_body(body: &[u8]) -> Option<Entry<'_>> {
    let (&[kind], rest) = body.split_first_chunk::<1>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (start_ms, mut rest) = rest.split_first_chunk::<8>()?;
    let id = ActivationId::from_bits(u128::from_le_bytes(*id));
    let start_ms = u64::from_le_bytes(*start_ms);
    match kind {
        SENT => {
            let [namespace, name, head, annotations] = take_texts(&mut rest)?;
            Some(Entry::Sent(Sent { id, start_ms, namespace, name, head, annotations }))
        }
        RECORD => {
            let [namespace, name, record, logs] = take_texts(&mut rest)?;
            Some(Entry::Record(Record { id, start_ms, namespace, name, record, logs }))
        }
        VOID => Some(Entry::Void(id)),
        _ => None,
    }
}

fn take_texts<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<[&'a str; N]> {
    let mut texts = [""; N];
    for text in &mut texts {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *text = std::str::from_utf8(bytes).ok()?;
        *rest = after;
    }
    Some(texts)
}

fn put_start(out: &mut Vec<u8>, kind: u8, id: ActivationId, start_ms: u64) {
    out.push(kind);
    out.extend_from_slice(&id.bits().to_le_bytes());
    out.extend_from_slice(&start_ms.to_le_bytes());
}

fn put_texts(out: &mut Vec<u8>, texts: [&str; 4]) {
    for text in texts {
        out.extend_from_slice(&length(text.len()).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

/// Results and logs are bounded far below 4 GB; a longer text would only make its own entry unreadable.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Eight bytes a step: it is to catch torn writes, not forgers, on the way of every call.
fn checksum(bytes: &[u8]) -> u32 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, tail) = bytes.as_chunks::<8>();
    let mut sum =
        words.iter().fold(bytes.len() as u64 ^ PRIME, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    sum = mix(sum, u64::from_le_bytes(last));
    let [a, b, c, d, e, f, g, h] = mix(sum, 0).to_le_bytes();
    u32::from_le_bytes([a ^ e, b ^ f, c ^ g, d ^ h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry<'static>> {
        let id = ActivationId::from_bits(7);
        vec![
            Entry::Sent(Sent { id, start_ms: 5, namespace: "ns", name: "a", head: "{", annotations: "[]" }),
            Entry::Record(Record {
                id,
                start_ms: 5,
                namespace: "ns",
                name: "a",
                record: "{\"ü\":1}",
                logs: "[]",
            }),
            Entry::Void(id),
        ]
    }

    #[test]
    fn entries_read_what_was_written() {
        let mut bytes = Vec::new();
        entries().iter().for_each(|entry| encode(entry, &mut bytes));
        let mut at = 0;
        for expected in entries() {
            let Decoded::Entry(entry, length) = decode(&bytes[at..], (bytes.len() - at) as u64) else {
                panic!("no entry at {at}");
            };
            assert_eq!(entry, expected);
            at += length;
        }
        assert_eq!(at, bytes.len());
    }

    #[test]
    fn a_tail_that_was_torn_anywhere_is_never_an_entry() {
        let mut whole = Vec::new();
        encode(&entries()[1], &mut whole);
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut], cut as u64), Decoded::Torn, "cut at {cut}");
            let mut zeroed = whole.clone();
            zeroed[cut..].fill(0);
            if zeroed != whole {
                assert_eq!(decode(&zeroed, zeroed.len() as u64), Decoded::Torn, "zeros from {cut}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut bytes = Vec::new();
        encode(&entries()[0], &mut bytes);
        for at in 4..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(decode(&flipped, flipped.len() as u64), Decoded::Torn, "byte {at}");
        }
    }

    #[test]
    fn the_start_of_a_longer_entry_says_how_long_it_is() {
        let mut bytes = Vec::new();
        encode(&entries()[1], &mut bytes);
        assert_eq!(decode(&bytes[..20], bytes.len() as u64), Decoded::Partial(bytes.len()));
        assert_eq!(decode(&bytes[..3], bytes.len() as u64), Decoded::Partial(HEAD_BYTES));
    }
}
