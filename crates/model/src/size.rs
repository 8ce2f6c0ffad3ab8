//! Sizes as OpenWhisk writes them: `1 MB`.

use std::fmt;
use std::str::FromStr;

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

const UNITS: [(&str, u64); 3] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];

/// A number of bytes, whose JSON is a text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("size '{0}' is no whole number with a unit: B, KB, MB or GB")]
pub struct BadSize(String);

impl fmt::Display for ByteSize {
    /// The largest unit that leaves a whole number.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&(_, size): &(&str, u64)| self.0 >= size && self.0.is_multiple_of(size);
        match UNITS.into_iter().find(fits) {
            Some((unit, size)) => write!(out, "{} {unit}", self.0 / size),
            None => write!(out, "{} B", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = BadSize;

    /// `1 MB`, `1MB`, `1 M`, `1m`; a unit there must be, as in OpenWhisk.
    fn from_str(text: &str) -> Result<Self, BadSize> {
        let refused = || BadSize(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        let factor = match unit.trim().to_ascii_uppercase().as_str() {
            "B" => 1,
            unit => {
                let is_named = |&(known, _): &(&str, u64)| known == unit || (known[..1] == *unit);
                UNITS.into_iter().find(is_named).map(|(_, size)| size).ok_or_else(refused)?
            }
        };
        let number: u64 = number.parse().map_err(|_| refused())?;
        number.checked_mul(factor).map(Self).ok_or_else(refused)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_printed_in_the_largest_whole_unit_and_read_back() {
        for (bytes, text) in [
            (0, "0 B"),
            (100, "100 B"),
            (1024, "1 KB"),
            (1536, "1536 B"),
            (1 << 20, "1 MB"),
            (3 << 30, "3 GB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
    }

    #[test]
    fn units_may_be_short_lower_case_and_without_a_space() {
        for text in ["1 MB", "1MB", "1 m", " 1024 kb ", "1048576B"] {
            assert_eq!(text.parse(), Ok(ByteSize(1 << 20)), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_or_is_too_large_is_no_size() {
        for text in ["", "1", "MB", "1.5 MB", "-1 MB", "1 TB", "1 MBB", "99999999999999 GB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
