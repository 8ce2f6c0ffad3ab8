//! A fixed mix of bits, in place of randomness: the same call decides the same in every process and in every replay.

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
