//! Times of a load, as people write them: counted from its begin.

use std::fmt;
use std::str::FromStr;

/// A time of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) ms: u64,
}

/// The longest load, days.
const DAYS_MAX: f64 = 10_000.0;
/// Milliseconds of each unit; the longer name of two that end alike first.
const UNITS: [(&str, f64); 5] =
    [("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0), ("h", 3_600_000.0), ("d", 86_400_000.0)];

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = match text.contains(':') {
            true => of_clock(text),
            false => UNITS.iter().find_map(|(unit, ms)| Some(number(text.strip_suffix(unit)?)? * ms)),
        };
        let ms = ms.filter(|ms| (0.0..=DAYS_MAX * 86_400_000.0).contains(ms)).ok_or_else(|| {
            format!(
                "'{text}' is no time of a load: hours:minutes:seconds since its begin, such as 09:30 or 09:30:15.250, or a number \
                 with its unit, such as 34.5h, 90s or 1500ms"
            )
        })?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is within the bounds above"
        )]
        let ms = ms.round() as u64;
        Ok(Self { ms })
    }
}

/// Hours and minutes, and seconds if they are said.
fn of_clock(text: &str) -> Option<f64> {
    let mut parts = text.split(':').map(number);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0.0))?);
    let is_clock = parts.next().is_none() && hours.fract() == 0.0 && minutes.fract() == 0.0;
    (is_clock && minutes < 60.0 && seconds < 60.0)
        .then_some(((hours * 60.0 + minutes) * 60.0 + seconds) * 1_000.0)
}

/// A number of digits and at most one point: no sign, no exponent.
fn number(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|it| it.is_ascii_digit() || it == '.');
    text.parse().ok().filter(|_| is_plain)
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, ms) = (self.ms / 1_000, self.ms % 1_000);
        write!(out, "{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)?;
        if ms > 0 { write!(out, ".{ms:03}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_clocks_and_with_units() {
        let read = |text: &str| text.parse::<Moment>().map(|moment| moment.ms).unwrap();
        let texts = ["00:00", "09:30", "09:30:15.25", "100:00:01", "34.5h", "2d", "90s", "3m", "1500ms"];
        let expected =
            [0, 34_200_000, 34_215_250, 360_001_000, 124_200_000, 172_800_000, 90_000, 180_000, 1_500];
        assert_eq!(texts.map(read), expected);
    }

    #[test]
    fn times_without_a_unit_and_other_nonsense_are_refused() {
        for text in [
            "", "90", "h", "9:60", "9:30:60", "1:2:3:4", "1.5:00", "-1h", "1e3s", "+5s", "nanh", "noon",
            "10001d",
        ] {
            let said = text.parse::<Moment>().unwrap_err();
            assert!(said.starts_with(&format!("'{text}' is no time of a load")), "{said}");
        }
    }

    #[test]
    fn times_are_shown_as_clocks() {
        assert_eq!(
            [0, 34_215_250, 360_001_000].map(|ms| Moment { ms }.to_string()),
            ["00:00:00", "09:30:15.250", "100:00:01"]
        );
    }
}
