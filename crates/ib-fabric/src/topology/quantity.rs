//! The small quantities of a link as people write them: `5ms`, `1%`, `4x`, `EDR`.

use alloc::{
    format,
    string::{String, ToString},
};
use core::{fmt, str::FromStr, time::Duration};

use ib_wire::addr::{LinkSpeed, LinkWidth};

/// A probability in parts per billion, `0..=1_000_000_000`.
///
/// Read and shown as `1%`, `0.1%`; `ppm` and `ppb` are read too.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(u32);

impl Probability {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(Self::SCALE);
    const SCALE: u32 = 1_000_000_000;

    /// From parts per billion; more than a billion counts as [`Probability::ALWAYS`].
    pub const fn from_ppb(ppb: u32) -> Self {
        if ppb > Self::SCALE { Self::ALWAYS } else { Self(ppb) }
    }

    /// Parts per billion, at most a billion.
    pub const fn ppb(self) -> u32 {
        self.0
    }
}

/// As a percentage without superfluous digits.
impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", decimal(u64::from(self.0), 10_000_000))
    }
}

impl fmt::Debug for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probability({self})")
    }
}

/// The text is no quantity of the kind asked for; says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: write {example}")]
pub struct BadQuantity {
    /// What was read.
    pub text: String,
    /// What it should have been.
    pub what: &'static str,
    /// How such a thing is written.
    pub example: &'static str,
}

impl FromStr for Probability {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNITS: [(&str, u64); 3] = [("%", 10_000_000), ("ppm", 1000), ("ppb", 1)];
        scaled(text, &UNITS)
            .and_then(|ppb| u32::try_from(ppb).ok())
            .filter(|ppb| *ppb <= Self::SCALE)
            .map(Self)
            .ok_or_else(|| bad(text, "share of packets", "a percentage from 0% to 100%, such as 0.1%"))
    }
}

/// Reads `5ms`, `1.5us`, `100ns`, `2s`; a bare `0` needs no unit. At most about 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, BadQuantity> {
    const UNITS: [(&str, u64); 5] =
        [("ns", 1), ("us", 1000), ("µs", 1000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    scaled(text, &UNITS)
        .map(Duration::from_nanos)
        .ok_or_else(|| bad(text, "time", "a number with ns, us, ms or s, such as 5ms"))
}

/// A time as [`parse_duration`] reads it: in the largest unit that it fills, without superfluous digits.
pub fn format_duration(time: Duration) -> String {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    match nanos {
        0 => "0".into(),
        1..1000 => format!("{nanos}ns"),
        1000..1_000_000 => format!("{}us", decimal(nanos, 1000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => format!("{}s", decimal(nanos, 1_000_000_000)),
    }
}

/// Reads `1x`, `2x`, `4x`, `8x`, `12x`.
pub fn parse_width(text: &str) -> Result<LinkWidth, BadQuantity> {
    Ok(match text.trim().to_ascii_lowercase().as_str() {
        "1x" => LinkWidth::X1,
        "2x" => LinkWidth::X2,
        "4x" => LinkWidth::X4,
        "8x" => LinkWidth::X8,
        "12x" => LinkWidth::X12,
        _ => return Err(bad(text, "link width", "1x, 2x, 4x, 8x or 12x")),
    })
}

/// Reads the names of the speeds, `SDR` to `NDR`, in either case.
pub fn parse_speed(text: &str) -> Result<LinkSpeed, BadQuantity> {
    let wanted = text.trim();
    LinkSpeed::ALL
        .into_iter()
        .find(|speed| wanted.eq_ignore_ascii_case(&speed.to_string()))
        .ok_or_else(|| bad(text, "link speed", "SDR, DDR, QDR, FDR, EDR, HDR or NDR"))
}

/// `4x` for a width with lanes, else its number.
pub(super) fn width_name(width: LinkWidth) -> String {
    width.lanes().map_or_else(|| format!("?{}", width.0), |lanes| format!("{lanes}x"))
}

fn bad(text: &str, what: &'static str, example: &'static str) -> BadQuantity {
    BadQuantity { text: text.into(), what, example }
}

/// A decimal number with one of `units`, in the smallest unit; `None` when it has no such unit, more digits than
/// the smallest unit resolves, or is too large. A bare zero needs no unit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let scale = if unit.is_empty() {
        1
    } else {
        units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)?
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut value = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut step = scale;
    if fraction.is_empty() {
        return None;
    }
    for digit in fraction.bytes() {
        let digit = u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
        if digit != 0 && step < 10 {
            return None;
        }
        step /= 10;
        value = value.checked_add(digit * step)?;
    }
    (!unit.is_empty() || value == 0).then_some(value)
}

/// `value / scale` as a decimal number; `scale` is a power of ten.
fn decimal(value: u64, scale: u64) -> String {
    let mut rest = value % scale;
    let mut text = (value / scale).to_string();
    if rest != 0 {
        text.push('.');
    }
    let mut step = scale;
    while rest != 0 {
        step /= 10;
        text.push_str(&(rest / step).to_string());
        rest %= step;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_read_in_percent_and_shown_so() {
        assert_eq!("1%".parse(), Ok(Probability(10_000_000)));
        assert_eq!("0.1 %".parse(), Ok(Probability(1_000_000)));
        assert_eq!("3ppm".parse(), Ok(Probability(3000)));
        assert_eq!("0".parse(), Ok(Probability::NEVER));
        assert_eq!("100%".parse(), Ok(Probability::ALWAYS));
        assert_eq!(Probability(1).to_string(), "0.0000001%");
        assert_eq!(Probability(12_500_000).to_string(), "1.25%");
    }

    #[test]
    fn a_share_without_unit_or_above_all_is_refused() {
        for text in
            ["1", "0.5", "101%", "-1%", "%", "1.%", "0.00000001%", "1..2%", "x", "", "99999999999999999999%"]
        {
            assert!(text.parse::<Probability>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(parse_duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(parse_duration("1.5us"), Ok(Duration::from_nanos(1500)));
        assert_eq!(parse_duration("2 s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("1.00000000000s"), Ok(Duration::from_secs(1)));
        for text in ["0.0000000001s", "0.00000000001s", "1.05ns", "1.000000009999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_duration("5").unwrap_err().to_string(),
            "`5` is no time: write a number with ns, us, ms or s, such as 5ms"
        );
    }

    #[test]
    fn widths_and_speeds_are_read_by_name() {
        assert_eq!(parse_width("12X"), Ok(LinkWidth::X12));
        assert_eq!(parse_speed("hdr"), Ok(LinkSpeed::Hdr));
        assert!(parse_width("3x").is_err());
        assert!(parse_speed("fast").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(ppb in 0u32..=1_000_000_000, nanos: u64) {
            let share = Probability::from_ppb(ppb);
            prop_assert_eq!(share.to_string().parse(), Ok(share));
            let time = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&format_duration(time)), Ok(time));
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = text.parse::<Probability>();
            let _ = parse_duration(&text);
        }
    }
}
