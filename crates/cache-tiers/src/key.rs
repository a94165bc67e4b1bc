//! Keys: 128 bits of a keyed BLAKE3 hash, and the spaces that keep the keys of different worlds apart.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The name of a cached value: 128 bits.
///
/// Made by a [`KeySpace`]; prints and parses as 32 hexadecimal digits, and sorts as they do.
///
/// ```
/// use cache_tiers::Key;
///
/// let key = Key::from_bytes([0xab; 16]);
/// assert_eq!(key.to_string(), "abababababababababababababababab");
/// assert_eq!(key.to_string().parse(), Ok(key));
/// assert_eq!("abab".parse::<Key>().unwrap_err().to_string(), "a key has 32 hexadecimal digits, this has 4 characters");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 16]);

/// A text is not a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseKeyError(String);

/// Where keys come from: one world (an application, a tenant, a revision) in which equal parts make
/// equal keys, and outside of which they make others.
///
/// The space is identified by its context and its named parts, from which BLAKE3 derives 32 bytes; a key is
/// BLAKE3 keyed with these, over the length-prefixed parts of the key, cut to 128 bits. Both encodings are
/// injective: no two different lists meet, whatever is moved over a boundary. Keys are the same in every
/// process, on every machine and in every version of this crate.
///
/// ```
/// use cache_tiers::KeySpace;
///
/// let space = KeySpace::builder("example.org answers 2025-01")
///     .part("tenant", b"acme")
///     .part("revision", b"17")
///     .build();
/// let key = space.key([b"what is a metabolite".as_slice()]);
/// assert_ne!(key, space.key([b"what is a metabolite".as_slice(), b""]));
///
/// let next = KeySpace::builder("example.org answers 2025-01")
///     .part("tenant", b"acme")
///     .part("revision", b"18")
///     .build();
/// assert_ne!(key, next.key([b"what is a metabolite".as_slice()]));
/// ```
#[derive(Clone)]
pub struct KeySpace {
    derived: [u8; blake3::KEY_LEN],
}

/// Collects the parts of a [`KeySpace`].
pub struct KeySpaceBuilder {
    hasher: blake3::Hasher,
}

impl Key {
    /// The key with these bytes, the first being the first two digits.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key, the first being the first two digits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key as one number, for hashers that want it whole.
    #[inline]
    pub(crate) const fn as_u128(&self) -> u128 {
        u128::from_le_bytes(self.0)
    }
}

impl KeySpace {
    /// Starts a space. The context should be a constant of the program that no other program uses, such as
    /// `"example.org answers 2025-01"`.
    #[must_use]
    pub fn builder(context: &str) -> KeySpaceBuilder {
        KeySpaceBuilder { hasher: blake3::Hasher::new_derive_key(context) }
    }

    /// The key of a list of parts, in about 200 ns for a short query.
    ///
    /// The list is what counts: `["ab", "c"]`, `["a", "bc"]` and `["ab", "c", ""]` have three keys.
    #[must_use]
    pub fn key<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
        let mut message = Message::new(&self.derived);
        for part in parts {
            message.push_length(part.len());
            message.push(part);
        }
        let hash = message.finish();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        Key(bytes)
    }
}

impl KeySpaceBuilder {
    /// Adds a named part that every key of the space depends on. Names, values and their order all count.
    #[must_use]
    pub fn part(mut self, name: &str, value: &[u8]) -> Self {
        for field in [name.as_bytes(), value] {
            self.hasher.update(&(field.len() as u64).to_le_bytes());
            self.hasher.update(field);
        }
        self
    }

    /// The finished space.
    #[must_use]
    pub fn build(self) -> KeySpace {
        KeySpace { derived: *self.hasher.finalize().as_bytes() }
    }
}

/// Bytes of a message that are gathered before hashing begins.
const ON_STACK: usize = 512;

/// What is hashed: gathered on the stack, since hashing at one go is faster than the incremental hasher, which
/// takes over when the stack is full.
struct Message<'k> {
    key: &'k [u8; blake3::KEY_LEN],
    buffer: [u8; ON_STACK],
    len: usize,
    spilled: Option<blake3::Hasher>,
}

impl<'k> Message<'k> {
    fn new(key: &'k [u8; blake3::KEY_LEN]) -> Self {
        Self { key, buffer: [0; ON_STACK], len: 0, spilled: None }
    }

    /// A length as LEB128: prefix-free, and one byte for most parts.
    #[inline]
    fn push_length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.push(&[(length & 0x7f) as u8 | 0x80]);
            length >>= 7;
        }
        self.push(&[length as u8]);
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.buffer.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len = end;
            }
            None => self.spill(bytes),
        }
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        let key = self.key;
        let hasher = self.spilled.get_or_insert_with(|| blake3::Hasher::new_keyed(key));
        hasher.update(&self.buffer[..self.len]);
        hasher.update(bytes);
        self.len = 0;
    }

    fn finish(&mut self) -> blake3::Hash {
        match &mut self.spilled {
            None => blake3::keyed_hash(self.key, &self.buffer[..self.len]),
            Some(hasher) => hasher.update(&self.buffer[..self.len]).finalize(),
        }
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.as_u128());
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl FromStr for Key {
    type Err = ParseKeyError;

    /// Reads 32 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let n_chars = text.chars().count();
        if n_chars != 32 {
            let message = format!("a key has 32 hexadecimal digits, this has {n_chars} characters");
            return Err(ParseKeyError(message));
        }
        // Checked by hand because `from_str_radix` would take a leading plus sign.
        match text.chars().find(|c| !c.is_ascii_hexdigit()) {
            Some(wrong) => Err(ParseKeyError(format!("a key has hexadecimal digits only, not {wrong:?}"))),
            None => u128::from_str_radix(text, 16)
                .map(|number| Self(number.to_be_bytes()))
                .map_err(|error| ParseKeyError(error.to_string())),
        }
    }
}

impl fmt::Debug for KeySpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySpace").finish_non_exhaustive()
    }
}

impl fmt::Debug for KeySpaceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySpaceBuilder").finish_non_exhaustive()
    }
}
