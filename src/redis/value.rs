//! Answers of a Redis.
//!
//! Owns the few shapes that scripts and plain commands return. Refuses none: an answer of any other
//! shape is [`Value::Nil`], because every caller must handle a missing answer anyway.

use bytes::Bytes;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: no such key, `false` or `nil` in a script.
    Nil,
    /// A number; scripts drop fractions.
    Integer(i64),
    /// A string of bytes.
    Bytes(Bytes),
    /// A list, such as a script's table.
    List(Vec<Value>),
}

impl Value {
    /// The number, even if it was sent as text.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::Nil | Self::List(_) => None,
        }
    }

    /// The numbers of a list; `None` if it is not a list or an element is not a number.
    #[must_use]
    pub fn integers(&self) -> Option<Vec<i64>> {
        match self {
            Self::List(values) => values.iter().map(Self::integer).collect(),
            Self::Nil | Self::Integer(_) | Self::Bytes(_) => None,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Nil | Self::Integer(_) | Self::List(_) => None,
        }
    }
}

impl From<::redis::Value> for Value {
    fn from(value: ::redis::Value) -> Self {
        use ::redis::Value as Wire;
        match value {
            Wire::Int(number) => Self::Integer(number),
            Wire::BulkString(bytes) => Self::Bytes(bytes.into()),
            Wire::SimpleString(text) => Self::Bytes(text.into()),
            Wire::Okay => Self::Bytes(Bytes::from_static(b"OK")),
            Wire::Array(values) | Wire::Set(values) => {
                Self::List(values.into_iter().map(Self::from).collect())
            }
            Wire::Boolean(truth) => Self::Integer(i64::from(truth)),
            // All others belong to commands and protocols that are not used here.
            _ => Self::Nil,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_both_spellings() {
        let list = Value::List(vec![Value::Integer(3), Value::Bytes("-4".into())]);
        assert_eq!(list.integers(), Some(vec![3, -4]));
        assert_eq!(Value::List(vec![Value::Nil]).integers(), None);
        assert_eq!(Value::Bytes("x".into()).integer(), None);
        assert_eq!(Value::Nil.integers(), None);
    }
}
