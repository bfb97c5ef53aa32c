//! The JSON forms of `Struct`, `Value`, `ListValue`, `Timestamp` and `FieldMask`, which ProtoJSON defines one by one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{FieldMask, ListValue, NullValue, Struct, Timestamp, Value, value::Kind};

/// Doubles hold every integer up to here; beyond, an integral double is printed as the double that it is.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Seconds of 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range that ProtoJSON can spell.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

impl Serialize for Struct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.fields)
    }
}

impl<'de> Deserialize<'de> for Struct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)?.kind {
            Some(Kind::StructValue(value)) => Ok(value),
            _ => Err(D::Error::custom("invalid type, expected an object")),
        }
    }
}

impl Serialize for ListValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.values)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.kind {
            None | Some(Kind::NullValue(_)) => serializer.serialize_unit(),
            #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
            Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() <= EXACT_INTEGER_MAX => {
                serializer.serialize_i64(*number as i64)
            }
            Some(Kind::NumberValue(number)) if number.is_finite() => serializer.serialize_f64(*number),
            Some(Kind::NumberValue(_)) => Err(S::Error::custom("a number that JSON cannot spell")),
            Some(Kind::StringValue(text)) => serializer.serialize_str(text),
            Some(Kind::BoolValue(flag)) => serializer.serialize_bool(*flag),
            Some(Kind::StructValue(object)) => object.serialize(serializer),
            Some(Kind::ListValue(list)) => list.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(|kind| Self { kind: Some(kind) })
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::NullValue(NullValue::NullValue.into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::BoolValue(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "Value holds doubles; exact integers travel as raw bytes")]
    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::NumberValue(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "as above")]
    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::NumberValue(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::NumberValue(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::StringValue(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::StringValue(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Kind::ListValue(ListValue { values }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Kind, A::Error> {
        let mut fields = std::collections::BTreeMap::new();
        while let Some((name, value)) = object.next_entry()? {
            fields.insert(name, value);
        }
        Ok(Kind::StructValue(Struct { fields }))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = prost_types::Timestamp { seconds: self.seconds, nanos: self.nanos };
        if !is_time(self) {
            return Err(S::Error::custom("a timestamp outside the years 1 to 9999"));
        }
        serializer.collect_str(&time)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// Reads RFC 3339; a time without a zone is taken as UTC, since agents in use write such.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let time: prost_types::Timestamp =
            text.parse().map_err(|_| D::Error::custom("expected a time as in 2026-01-02T03:04:05Z"))?;
        if !TIMESTAMP_SECONDS.contains(&time.seconds) {
            return Err(D::Error::custom("a timestamp outside the years 1 to 9999"));
        }
        Ok(Self { seconds: time.seconds, nanos: time.nanos })
    }
}

/// Whether ProtoJSON can spell it.
pub fn is_time(time: &Timestamp) -> bool {
    TIMESTAMP_SECONDS.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos)
}

/// The time that RFC 3339 spells, in microseconds since 1970.
pub fn micros_of(text: &str) -> Option<i64> {
    text.parse::<prost_types::Timestamp>().ok().map(|time| micros(time.seconds, time.nanos))
}

/// Whether a time says its zone, as RFC 3339 requires.
pub fn has_zone(time: &str) -> bool {
    let offset = |tail: &[u8]| matches!(tail[0], b'+' | b'-') && tail[3] == b':';
    time.ends_with(['Z', 'z']) || time.as_bytes().last_chunk::<6>().is_some_and(|tail| offset(tail))
}

/// Microseconds since 1970 as a message has them.
pub fn time(micros: i64) -> Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000)).unwrap_or_default() * 1_000;
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// A time in microseconds since 1970; what is finer is cut off.
pub fn micros(seconds: i64, nanos: i32) -> i64 {
    seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanos / 1_000))
}

impl Serialize for FieldMask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let paths: Vec<String> = self.paths.iter().map(|path| camel_case(path)).collect();
        serializer.serialize_str(&paths.join(","))
    }
}

impl<'de> Deserialize<'de> for FieldMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let paths = text.split(',').filter(|path| !path.is_empty());
        Ok(Self { paths: paths.map(snake_case).collect() })
    }
}

/// A field's name as JSON has it.
pub fn camel_case(name: &str) -> String {
    let mut upper = false;
    let spelled = name.chars().filter_map(|c| {
        let shown = if upper { c.to_ascii_uppercase() } else { c };
        upper = c == '_';
        (c != '_').then_some(shown)
    });
    spelled.collect()
}

fn snake_case(name: &str) -> String {
    let spelled = name.chars().flat_map(|c| {
        let line = c.is_ascii_uppercase().then_some('_');
        line.into_iter().chain([c.to_ascii_lowercase()])
    });
    spelled.collect()
}
