//! What pbjson's code needs to be exact ProtoJSON: integers and enums as the specification reads and prints them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// An `int32` in any of its JSON spellings: `10`, `10.0`, `1e1`, `"10"`. Fractions and other ranges are refused.
pub struct Int32(pub i32);

impl<'de> Deserialize<'de> for Int32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Int32Visitor).map(Self)
    }
}

struct Int32Visitor;

impl Visitor<'_> for Int32Visitor {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 32-bit integer")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<i32, E> {
        i32::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<i32, E> {
        i32::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<i32, E> {
        let integral = value.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value);
        #[expect(clippy::cast_possible_truncation, reason = "the value is integral and in range")]
        if integral { Ok(value as i32) } else { Err(E::invalid_value(Unexpected::Float(value), &self)) }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<i32, E> {
        match value.parse::<i32>() {
            Ok(value) => Ok(value),
            Err(_) => match value.parse::<f64>() {
                Ok(value) => self.visit_f64(value),
                Err(_) => Err(E::invalid_value(Unexpected::Str(value), &self)),
            },
        }
    }
}

/// A proto3 enum `E` as it travels: a name when the number is known, else the number itself.
///
/// An unknown name is an error; an unknown number is kept, for a newer peer may know it.
pub struct OpenEnum<E> {
    /// The number on the wire.
    pub number: i32,
    names: PhantomData<E>,
}

impl<E> OpenEnum<E> {
    /// Wraps a number, known or not.
    pub const fn new(number: i32) -> Self {
        Self { number, names: PhantomData }
    }
}

impl<E: TryFrom<i32> + Serialize> Serialize for OpenEnum<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match E::try_from(self.number) {
            Ok(known) => known.serialize(serializer),
            Err(_) => serializer.serialize_i32(self.number),
        }
    }
}

impl<'de, E: Deserialize<'de> + Into<i32>> Deserialize<'de> for OpenEnum<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OpenEnumVisitor::<E>(PhantomData)).map(Self::new)
    }
}

struct OpenEnumVisitor<E>(PhantomData<E>);

impl<'de, E: Deserialize<'de> + Into<i32>> Visitor<'de> for OpenEnumVisitor<E> {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name or the number of an enum value")
    }

    fn visit_i64<F: Error>(self, value: i64) -> Result<i32, F> {
        Int32Visitor.visit_i64(value)
    }

    fn visit_u64<F: Error>(self, value: u64) -> Result<i32, F> {
        Int32Visitor.visit_u64(value)
    }

    fn visit_f64<F: Error>(self, value: f64) -> Result<i32, F> {
        Int32Visitor.visit_f64(value)
    }

    fn visit_str<F: Error>(self, value: &str) -> Result<i32, F> {
        E::deserialize(StrDeserializer::new(value)).map(Into::into)
    }
}
