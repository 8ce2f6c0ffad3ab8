//! A fixed mix of bits, in place of randomness: the same call decides the same in every process and in every replay.

use std::hash::{BuildHasherDefault, Hasher};

use triplane_model::ActivationId;

/// Spreads the bits of a number (the finalizer of splitmix64).
pub(crate) fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Mixes a call and a number of something that happens to it.
pub(crate) fn mix_call(id: ActivationId, number: u64) -> u64 {
    let [high, low] = halves(id);
    mix(mix(mix(high) ^ low) ^ number)
}

/// The two halves of an id.
pub(crate) fn halves(id: ActivationId) -> [u64; 2] {
    let bytes = id.bits().to_be_bytes();
    let half = |from: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[from..from + 8]);
        u64::from_be_bytes(half)
    };
    [half(0), half(8)]
}

/// Hashes short keys in a few instructions for each word of them. It has no random key: equal tables behave equally, and whoever
/// chooses names can make some collide. It is for tables whose entries cost those who make them a container or a place in a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folding(u64);

/// Not zero, of which words of zeros would leave zero.
impl Default for Folding {
    fn default() -> Self {
        Self(0xBF58_476D_1CE4_E5B9)
    }
}

/// See [`Folding`].
pub(crate) type BuildFolding = BuildHasherDefault<Folding>;

impl Folding {
    fn fold(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.fold(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let word = match (rest.first_chunk(), rest.last_chunk()) {
                // the two overlap, and all bytes are in them
                (Some(first), Some(last)) => {
                    u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
                }
                _ => rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
            };
            // so that a zero at the end is not as good as none
            self.fold(word ^ (rest.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn keys_that_differ_in_one_place_have_hashes_that_differ() {
        let hash = |key: &(String, Option<String>, u64)| BuildFolding::default().hash_one(key);
        let name = |number: u64| format!("action{number}");
        let keys = (0..1_000).flat_map(|number| {
            [
                (name(number), None, 1),
                ("a".to_owned(), Some(name(number)), 1),
                ("a".to_owned(), None, number),
                ("\0".repeat(usize::try_from(number).unwrap_or(0)), None, 1),
            ]
        });
        let keys: BTreeSet<_> = keys.collect();
        let low_bits: BTreeSet<u64> = keys.iter().map(|key| hash(key) & 0xFFFF_FFFF).collect();
        assert_eq!(low_bits.len(), keys.len());
    }
}
