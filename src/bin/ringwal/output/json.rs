//! Numbers in the command's JSON, written so that every reader recovers the exact value.
//!
//! 1. An integer up to 2^53 - 1 is a number. A larger one is a string of decimal digits, because
//!    `jq` and JavaScript would silently round it to floating point.
//! 2. A weight is the shortest decimal that yields the same 32 bits, even if parsed as a 64-bit
//!    float. It has a point or an exponent, so no reader takes it for an integer and loses the sign
//!    of -0.0.
//! 3. Values without a JSON number are strings: `inf`, `-inf`, `NaN`, and a NaN with other bits as
//!    `NaN:0xffc00001`.

use std::fmt;

use serde_json::Value;

/// The largest integer that every JSON reader represents exactly.
const EXACT_MAX: u64 = (1 << 53) - 1;
/// The bits of the usual NaN.
const NAN_BITS: u32 = 0x7fc0_0000;

/// An integer as JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer(pub(crate) u64);

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Integer(number) = self;
        if *number <= EXACT_MAX { write!(f, "{number}") } else { write!(f, "\"{number}\"") }
    }
}

/// A 32-bit float as JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight(pub(crate) f32);

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weight(weight) = *self;
        if weight.is_nan() {
            return match weight.to_bits() {
                NAN_BITS => f.write_str("\"NaN\""),
                bits => write!(f, "\"NaN:{bits:#010x}\""),
            };
        }
        if weight.is_infinite() {
            return write!(f, "\"{weight}\"");
        }
        let short = format!("{weight:?}");
        let is_exact = |text: &str| {
            text.parse::<f64>().is_ok_and(|read| (read as f32).to_bits() == weight.to_bits())
        };
        if is_exact(&short) { f.write_str(&short) } else { write!(f, "{:?}", f64::from(weight)) }
    }
}

/// Replaces every integer that some JSON readers would round by a string.
pub(crate) fn exact(value: Value) -> Value {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(large), _) if large > EXACT_MAX => Value::String(large.to_string()),
            (None, Some(low)) if low.unsigned_abs() > EXACT_MAX => Value::String(low.to_string()),
            _ => Value::Number(number),
        },
        Value::Array(values) => values.into_iter().map(exact).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, exact(value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Reads a number as `jq` and JavaScript do: as a 64-bit float.
    fn read_integer(text: &str) -> u64 {
        match text.strip_prefix('"') {
            Some(digits) => digits.trim_end_matches('"').parse().unwrap(),
            None => text.parse::<f64>().unwrap() as u64,
        }
    }

    fn read_weight(text: &str) -> f32 {
        match text.trim_matches('"').strip_prefix("NaN:0x") {
            Some(bits) => f32::from_bits(u32::from_str_radix(bits, 16).unwrap()),
            None => text.trim_matches('"').parse::<f64>().unwrap() as f32,
        }
    }

    #[test]
    fn integers_come_back_exactly_also_through_floating_point() {
        for number in [0, 1, EXACT_MAX - 1, EXACT_MAX, 1 << 53, (1 << 53) + 1, u64::MAX] {
            assert_eq!(read_integer(&Integer(number).to_string()), number);
            let value = exact(json!({ "a": [number] }));
            assert_eq!(read_integer(&value["a"][0].to_string()), number);
        }
        assert_eq!(exact(json!(i64::MIN)), json!(i64::MIN.to_string()));
        assert_eq!(exact(json!([-1, 1.5, null])), json!([-1, 1.5, null]));
        assert_eq!(Integer(EXACT_MAX).to_string(), "9007199254740991");
    }

    #[test]
    fn weights_come_back_bit_for_bit() {
        let mut bits = 1_u32;
        let drawn = std::iter::from_fn(|| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(f32::from_bits(bits))
        });
        let special = [0.0, -0.0, f32::MIN_POSITIVE, f32::MAX, f32::MIN, 0.1, 1e16, 1.0e-45];
        let not_finite = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::from_bits(0xffc0_0001)];
        for weight in drawn.take(20_000).chain(special).chain(not_finite) {
            let text = Weight(weight).to_string();
            assert_eq!(read_weight(&text).to_bits(), weight.to_bits(), "{text}");
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
            // An integer would lose the sign of zero.
            assert!(text.contains(['.', 'e', '"']), "{text}");
        }
        assert_eq!(Weight(-0.0).to_string(), "-0.0");
        assert_eq!(Weight(0.1).to_string(), "0.1");
    }
}
