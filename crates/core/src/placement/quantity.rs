//! Quantities as Kubernetes writes them: `500m`, `1.5`, `2e3`, `1Gi`
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>). They are exact; what is smaller than
//! the unit that is asked for is rounded up, as there.

/// Digits that a number may have: more than any amount needs.
const DIGITS_MAX: usize = 18;

/// Powers of ten that an exponent may have.
const EXPONENT_MAX: i32 = 18;

/// A number of units, exactly: `mantissa * 10^decimal * 2^binary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    mantissa: u64,
    decimal: i32,
    binary: u32,
}

impl Quantity {
    /// Reads one; nothing when it is none, or is negative.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (mantissa, decimal) = mantissa(number)?;
        let (power, binary) = scale(suffix)?;
        Some(Self { mantissa, decimal: decimal + power, binary })
    }

    /// How many times `unit` it is, rounded up. Nothing when it is more than the type holds.
    pub(super) fn in_units(self, unit: Unit) -> Option<u64> {
        let ten = |power: i32| 10_u128.checked_pow(power.unsigned_abs());
        let (unit_up, unit_down) = unit.ratio();
        let mut up = u128::from(self.mantissa).checked_mul(unit_down)?;
        let mut down = unit_up;
        match self.decimal >= 0 {
            true => up = up.checked_mul(ten(self.decimal)?)?,
            false => down = down.checked_mul(ten(self.decimal)?)?,
        }
        up = up.checked_mul(1_u128.checked_shl(self.binary)?)?;
        u64::try_from(up.div_ceil(down)).ok()
    }
}

/// What an amount is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Single ones.
    One,
    /// Thousandths.
    Milli,
    /// Millions.
    Mega,
    /// 2^20, such as bytes of a MB in OpenWhisk's limits.
    Mebi,
}

impl Unit {
    /// As a fraction of ones.
    fn ratio(self) -> (u128, u128) {
        match self {
            Self::One => (1, 1),
            Self::Milli => (1, 1000),
            Self::Mega => (1_000_000, 1),
            Self::Mebi => (1 << 20, 1),
        }
    }
}

/// The digits of a number, and the power of ten that they are to be taken times.
fn mantissa(number: &str) -> Option<(u64, i32)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || digits.len() > DIGITS_MAX || fraction.contains('.') {
        return None;
    }
    Some((digits.parse().ok()?, -i32::try_from(fraction.len()).ok()?))
}

/// The powers of ten and of two that a suffix stands for.
fn scale(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (exponent(suffix)?, 0),
    })
}

fn exponent(suffix: &str) -> Option<i32> {
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-EXPONENT_MAX..=EXPONENT_MAX).contains(&power).then_some(power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_and_rounded_up_to_the_unit() {
        let table = [
            ("1", Unit::Milli, 1000),
            ("500m", Unit::Milli, 500),
            ("0.5", Unit::Milli, 500),
            (".5", Unit::Milli, 500),
            ("1.", Unit::Milli, 1000),
            ("1500u", Unit::Milli, 2),
            ("1n", Unit::Milli, 1),
            ("2e3", Unit::One, 2000),
            ("1500E-3", Unit::One, 2),
            ("1k", Unit::One, 1000),
            ("1Gi", Unit::Mebi, 1024),
            ("1.5Gi", Unit::Mebi, 1536),
            ("1G", Unit::Mebi, 954),
            ("1", Unit::Mebi, 1),
            ("0", Unit::Mebi, 0),
            ("100M", Unit::Mega, 100),
            ("1.5G", Unit::Mega, 1500),
        ];
        for (text, unit, expected) in table {
            let quantity = Quantity::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(quantity.in_units(unit), Some(expected), "{text} {unit:?}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in [
            "",
            ".",
            "m",
            "-1",
            "+1",
            "1 Gi",
            "1gi",
            "1K",
            "1.2.3",
            "1e",
            "1e99",
            "0x10",
            "1000000000000000000000",
        ] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_more_than_can_be_counted_is_none() {
        assert_eq!(Quantity::parse("999999Ei").unwrap().in_units(Unit::Milli), None);
        assert_eq!(Quantity::parse("16Ei").unwrap().in_units(Unit::One), None);
        assert_eq!(Quantity::parse("15Ei").unwrap().in_units(Unit::One), Some(15 << 60));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[0-9.]{0,20}[a-zA-Z0-9+-]{0,5}") {
            for unit in [Unit::One, Unit::Milli, Unit::Mega, Unit::Mebi] {
                let _ = Quantity::parse(&text).and_then(|quantity| quantity.in_units(unit));
            }
        }

        #[test]
        fn a_number_of_units_is_that_number(amount in 0_u64..1_000_000_000) {
            let parsed = |text: String, unit| Quantity::parse(&text).and_then(|quantity| quantity.in_units(unit));
            prop_assert_eq!(parsed(format!("{amount}m"), Unit::Milli), Some(amount));
            prop_assert_eq!(parsed(format!("{amount}Mi"), Unit::Mebi), Some(amount));
            prop_assert_eq!(parsed(format!("{amount}M"), Unit::Mega), Some(amount));
        }
    }
}
