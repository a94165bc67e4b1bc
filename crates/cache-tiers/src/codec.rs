//! How values become bytes and bytes become values, for the tiers that keep bytes.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CacheError, CacheErrorKind};

/// Turns values into bytes for a disk or a server, and back.
pub trait Codec<V>: Debug + Send + Sync + 'static {
    /// The version of the form in which values are written. What was written in another is not read: it is a miss.
    fn version(&self) -> u16;

    /// Appends the bytes of the value.
    ///
    /// # Errors
    ///
    /// `Unsupported` if this value cannot be written.
    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CacheError>;

    /// Reads a value back.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the bytes are no value of this version.
    fn decode(&self, bytes: &[u8]) -> Result<V, CacheError>;
}

/// MessagePack with the names of fields: compact, and self-describing, so that fields can be added with a default.
///
/// Reading fails on bytes that are left over, so that a truncated or lengthened value is never taken for a whole one.
///
/// ```
/// use cache_tiers::{Codec, MessagePack};
///
/// let codec = MessagePack::version(1);
/// let mut bytes = Vec::new();
/// codec.encode(&vec![1_u32, 2, 3], &mut bytes)?;
/// let value: Vec<u32> = codec.decode(&bytes)?;
/// assert_eq!(value, [1, 2, 3]);
/// # Ok::<(), cache_tiers::CacheError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessagePack {
    version: u16,
}

impl MessagePack {
    /// The codec of a version of the value type; change the number whenever old bytes would be misread.
    #[must_use]
    pub const fn version(version: u16) -> Self {
        Self { version }
    }
}

impl<V: Serialize + DeserializeOwned> Codec<V> for MessagePack {
    fn version(&self) -> u16 {
        self.version
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CacheError> {
        value.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map()).map_err(|error| {
            CacheError::new(CacheErrorKind::Unsupported, "the value has no form in MessagePack")
                .with_source(error)
        })
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CacheError> {
        let corrupt = |message: &'static str| CacheError::new(CacheErrorKind::Corrupt, message);
        let mut reader = bytes;
        let mut deserializer = rmp_serde::Deserializer::new(&mut reader);
        let value = V::deserialize(&mut deserializer)
            .map_err(|error| corrupt("the bytes are no value of this type").with_source(error))?;
        if reader.is_empty() { Ok(value) } else { Err(corrupt("bytes are left over behind the value")) }
    }
}

const _: Option<&dyn Codec<String>> = None;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
    struct Value {
        text: String,
        numbers: Vec<f64>,
        choice: Option<bool>,
    }

    fn encoded(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        MessagePack::version(1).encode(value, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn values_come_back(
            text in ".*", numbers in prop::collection::vec(-1e9..1e9_f64, 0..9), choice: Option<bool>,
        ) {
            let value = Value { text, numbers, choice };
            let codec: &dyn Codec<Value> = &MessagePack::version(1);
            prop_assert_eq!(codec.decode(&encoded(&value)).unwrap(), value);
        }

        #[test]
        fn other_bytes_are_refused_or_read_and_never_panic(bytes: Vec<u8>) {
            let codec: &dyn Codec<Value> = &MessagePack::version(1);
            if let Err(error) = codec.decode(&bytes) {
                prop_assert_eq!(error.kind(), CacheErrorKind::Corrupt);
            }
        }
    }

    #[test]
    fn a_value_that_lost_or_gained_bytes_is_refused() {
        let codec: &dyn Codec<Value> = &MessagePack::version(1);
        let mut bytes = encoded(&Value { text: "abc".into(), numbers: vec![1.0], choice: None });
        assert!(codec.decode(&bytes[..bytes.len() - 1]).is_err());
        bytes.push(0);
        assert!(codec.decode(&bytes).is_err());
    }
}
