//! Code by the hash of its text.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use triplane_model::CodeHash;

/// SHA-256 of a code text as the client sent it. Takes a millisecond for every two megabytes: large texts are hashed off
/// the async threads.
pub(crate) fn hash(code: &str) -> CodeHash {
    let digest = Sha256::digest(code.as_bytes());
    let mut text = String::with_capacity(64);
    for byte in digest {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    CodeHash(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_lower_case_digits() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash("abc").to_string(), of_abc);
    }
}
