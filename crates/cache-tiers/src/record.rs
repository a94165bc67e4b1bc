//! The record around an encoded value: version, checksum, expiry, epoch; the same on disk and on a server.
//!
//! ```text
//! 0      1       2                4              8            16        20
//! ┌──────┬───────┬────────────────┬──────────────┬────────────┬─────────┬──────────
//! │ form │ flags │ codec version  │ CRC-32       │ expires    │ epoch   │ body …
//! │ u8   │ u8    │ u16            │ u32          │ u64, ms    │ u32     │ (LZ4 if flag 0 is set)
//! └──────┴───────┴────────────────┴──────────────┴────────────┴─────────┴──────────
//! ```
//!
//! All numbers are little-endian. The checksum covers the key and every other byte, so that a value is neither read
//! when a bit of it has flipped nor found under a key that is not its own.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::{CacheError, CacheErrorKind, Key};

/// The form of record this crate writes; others read as misses.
const FORM: u8 = 1;
const COMPRESSED: u8 = 1;
const HEADER_LEN: usize = 20;
/// A compressed body says its length; a larger one than this is damage, not a value.
const MAX_BODY_LEN: usize = 256 << 20;

/// What goes into a record besides the value's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) codec_version: u16,
    /// Milliseconds since the Unix epoch.
    pub(crate) expires_ms: u64,
    /// The flush it was written after.
    pub(crate) epoch: u32,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) stamp: Stamp,
    pub(crate) body: Cow<'a, [u8]>,
}

/// Puts a value's bytes into a record; bodies longer than `compress_above` are compressed where that helps.
pub(crate) fn seal(key: &Key, stamp: Stamp, body: &[u8], compress_above: usize) -> Vec<u8> {
    let compressed = (body.len() > compress_above)
        .then(|| lz4_flex::compress_prepend_size(body))
        .filter(|compressed| compressed.len() < body.len());
    let flags = if compressed.is_some() { COMPRESSED } else { 0 };
    let body = compressed.as_deref().unwrap_or(body);
    let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
    bytes.extend([FORM, flags]);
    bytes.extend(stamp.codec_version.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(stamp.expires_ms.to_le_bytes());
    bytes.extend(stamp.epoch.to_le_bytes());
    bytes.extend(body);
    let checksum = checksum(key, &bytes);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads a record; `None` for one of another form or codec version.
pub(crate) fn open<'a>(
    key: &Key,
    codec_version: u16,
    bytes: &'a [u8],
) -> Result<Option<Record<'a>>, CacheError> {
    let corrupt = |message: &'static str| CacheError::new(CacheErrorKind::Corrupt, message);
    if bytes.first().is_some_and(|&form| form != FORM) {
        return Ok(None);
    }
    let Some((header, body)) = bytes.split_at_checked(HEADER_LEN) else {
        return Err(corrupt("the record is cut short"));
    };
    let at = |from: usize, to: usize| header.get(from..to).unwrap_or_default();
    if number(at(4, 8)) != u64::from(checksum(key, bytes)) {
        return Err(corrupt("the record does not have its checksum"));
    }
    let stamp = Stamp {
        codec_version: number(at(2, 4)) as u16,
        expires_ms: number(at(8, 16)),
        epoch: number(at(16, 20)) as u32,
    };
    if stamp.codec_version != codec_version {
        return Ok(None);
    }
    if header[1] & COMPRESSED == 0 {
        return Ok(Some(Record { stamp, body: Cow::Borrowed(body) }));
    }
    if body.len() < 4 || number(&body[..4]) > MAX_BODY_LEN as u64 {
        return Err(corrupt("the record names an impossible length"));
    }
    let body = lz4_flex::decompress_size_prepended(body)
        .map_err(|error| corrupt("the record cannot be decompressed").with_source(error))?;
    Ok(Some(Record { stamp, body: Cow::Owned(body) }))
}

/// When something that has `ttl` left expires.
pub(crate) fn expiry_ms(now: SystemTime, ttl: Duration) -> u64 {
    unix_ms(now).saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

/// What is left of the time until `expires_ms`, if anything is.
pub(crate) fn time_left(now: SystemTime, expires_ms: u64) -> Option<Duration> {
    expires_ms.checked_sub(unix_ms(now)).filter(|&left| left > 0).map(Duration::from_millis)
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn checksum(key: &Key, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(&record[..4]);
    hasher.update(&record[8..]);
    hasher.finalize()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key::from_bytes([7; 16]);

    fn stamp() -> Stamp {
        Stamp { codec_version: 3, expires_ms: 1_700_000_000_123, epoch: 9 }
    }

    proptest! {
        #[test]
        fn records_come_back(
            body: Vec<u8>, expires_ms: u64, epoch: u32, codec_version: u16, compress_above in 0..64_usize,
        ) {
            let stamp = Stamp { codec_version, expires_ms, epoch };
            let bytes = seal(&KEY, stamp, &body, compress_above);
            let record = open(&KEY, codec_version, &bytes).unwrap().unwrap();
            prop_assert_eq!(record, Record { stamp, body: body.into() });
        }

        #[test]
        fn one_flipped_bit_is_noticed(body in prop::collection::vec(0..4_u8, 0..200), at: usize, bit in 0..8) {
            let mut bytes = seal(&KEY, stamp(), &body, 32);
            let at = at % bytes.len();
            bytes[at] ^= 1_u8 << bit;
            // A flipped form is another form, which is a miss.
            let found = open(&KEY, 3, &bytes);
            let is_noticed = if at == 0 { matches!(found, Ok(None)) } else { found.is_err() };
            prop_assert!(is_noticed);
        }

        #[test]
        fn strange_bytes_never_panic(bytes: Vec<u8>) {
            let _ = open(&KEY, 3, &bytes);
        }
    }

    #[test]
    fn a_record_under_the_key_of_another_is_noticed() {
        let bytes = seal(&KEY, stamp(), b"value", usize::MAX);
        assert!(open(&Key::from_bytes([8; 16]), 3, &bytes).is_err());
    }

    #[test]
    fn other_versions_are_misses_and_short_records_are_damage() {
        let bytes = seal(&KEY, stamp(), b"value", usize::MAX);
        assert_eq!(open(&KEY, 4, &bytes).unwrap(), None);
        assert!(open(&KEY, 3, &bytes[..HEADER_LEN - 1]).is_err());
        assert!(open(&KEY, 3, &bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn only_what_gets_shorter_is_compressed() {
        let long = [1; 1000];
        assert!(seal(&KEY, stamp(), &long, 100).len() < 100);
        assert!(seal(&KEY, stamp(), &long, 1000).len() > 1000);
        assert_eq!(seal(&KEY, stamp(), b"abc", 0).len(), HEADER_LEN + 3);
    }

    #[test]
    fn time_is_left_until_the_very_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        let expires = expiry_ms(now, Duration::from_secs(2));
        assert_eq!(time_left(now, expires), Some(Duration::from_secs(2)));
        assert_eq!(time_left(now + Duration::from_secs(2), expires), None);
        assert_eq!(expiry_ms(now, Duration::MAX), u64::MAX);
    }
}
