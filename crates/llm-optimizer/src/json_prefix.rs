//! Reading a JSON object while its text arrives.

use serde_json::Value;

/// Bytes of text at the most.
const MAX_BYTES: usize = 1 << 20;
/// Objects and arrays within one another at the most.
const MAX_DEPTH: usize = 32;
/// Members of the object at the most.
const MAX_MEMBERS: usize = 256;

const FENCE: &[u8] = b"```";
const OPENING_FENCE: &[u8] = b"```json";

/// Reads a JSON object from text that comes in pieces, and has its members as soon as each is complete.
///
/// A member is there once nothing that may follow can change it: a number not before what comes after it. Space around
/// the object is passed over, and so is a code fence that begins with ```` ```json ````; anything else around it, a name
/// that comes twice and what is no JSON break the reader at once and for good. So do more than 1 MiB of text,
/// 256 members, or 32 objects and arrays within one another.
///
/// ```
/// use llm_optimizer::{JsonPrefix, PrefixState};
///
/// let mut prefix = JsonPrefix::new();
/// prefix.push(r#"{"category": "GENERAL", "confidence": 0.9"#);
/// assert_eq!(prefix.get("category").and_then(|value| value.as_str()), Some("GENERAL"));
/// assert_eq!(prefix.get("confidence"), None, "it may go on");
/// assert_eq!(prefix.push("5}"), PrefixState::Complete);
/// assert_eq!(prefix.get("confidence").and_then(|value| value.as_f64()), Some(0.95));
/// ```
#[derive(Debug, Clone)]
pub struct JsonPrefix {
    place: Place,
    /// What the containers around this place are, outermost first.
    around: Vec<Container>,
    /// The text of the string, number or word that is being read.
    token: Vec<u8>,
    /// The name of the member that is being read.
    name: String,
    members: Vec<(String, Value)>,
    is_fenced: bool,
    n_bytes: usize,
}

/// How far a [`JsonPrefix`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrefixState {
    /// The object has not ended yet.
    Reading,
    /// The object has ended.
    Complete,
    /// What came is not one JSON object. Members that were there before stay.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// So much of the opening fence has been read.
    OpeningFence(usize),
    NameOrEnd,
    Name,
    Colon,
    Value,
    ValueOrEnd,
    CommaOrEnd,
    String {
        is_name: bool,
        is_escaped: bool,
    },
    Number,
    Word,
    /// So much of the closing fence has been read.
    End(usize),
    Broken,
}

/// What came is not what may come.
struct Break;

impl Default for JsonPrefix {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonPrefix {
    /// A reader that has read nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            place: Place::Start,
            around: Vec::new(),
            token: Vec::new(),
            name: String::new(),
            members: Vec::new(),
            is_fenced: false,
            n_bytes: 0,
        }
    }

    /// Reads the next piece, and says how far that went.
    pub fn push(&mut self, piece: &str) -> PrefixState {
        for byte in piece.bytes() {
            if self.place == Place::Broken {
                break;
            }
            self.n_bytes += 1;
            if self.n_bytes > MAX_BYTES || self.read(byte).is_err() {
                self.place = Place::Broken;
            }
        }
        self.state()
    }

    /// How far it has come.
    #[must_use]
    pub const fn state(&self) -> PrefixState {
        match self.place {
            Place::End(_) => PrefixState::Complete,
            Place::Broken => PrefixState::Broken,
            _ => PrefixState::Reading,
        }
    }

    /// The value of a member of the object itself, if it is complete, and is no object or array.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut members = self.members.iter();
        members.find(|(known, _)| known == name).map(|(_, value)| value).filter(|value| is_scalar(value))
    }

    /// The members that [`get`](Self::get) knows, in the order they came.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        let scalars = self.members.iter().filter(|(_, value)| is_scalar(value));
        scalars.map(|(name, value)| (name.as_str(), value))
    }

    fn read(&mut self, byte: u8) -> Result<(), Break> {
        let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match self.place {
            Place::String { is_name, is_escaped } => return self.read_string(byte, is_name, is_escaped),
            Place::Number if matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') => {
                self.token.push(byte);
                return Ok(());
            }
            Place::Number => self.end_scalar()?,
            Place::Word => return self.read_word(byte),
            _ => {}
        }
        match (self.place, byte) {
            (Place::OpeningFence(n), _) if n < OPENING_FENCE.len() => {
                self.expect(byte, OPENING_FENCE[n])?;
                self.place = Place::OpeningFence(n + 1);
            }
            (Place::End(n @ 1..3), _) => {
                self.expect(byte, FENCE[n])?;
                self.place = Place::End(n + 1);
            }
            _ if is_space => {}
            (Place::Start, b'`') => {
                self.is_fenced = true;
                self.place = Place::OpeningFence(1);
            }
            (Place::Start | Place::OpeningFence(_), b'{') => self.open(Container::Object)?,
            (Place::End(0), b'`') if self.is_fenced => self.place = Place::End(1),
            (Place::NameOrEnd | Place::Name, b'"') => self.begin_string(true),
            (Place::Colon, b':') => self.place = Place::Value,
            (Place::Value | Place::ValueOrEnd, _) if !matches!(byte, b']' | b'}') => {
                self.begin_value(byte)?;
            }
            (Place::CommaOrEnd, b',') => {
                self.place = match self.around.last() {
                    Some(Container::Object) => Place::Name,
                    Some(Container::Array) => Place::Value,
                    None => return Err(Break),
                };
            }
            (Place::NameOrEnd | Place::CommaOrEnd, b'}') => self.close(Container::Object)?,
            (Place::ValueOrEnd | Place::CommaOrEnd, b']') => self.close(Container::Array)?,
            _ => return Err(Break),
        }
        Ok(())
    }

    fn expect(&self, byte: u8, expected: u8) -> Result<(), Break> {
        if byte == expected { Ok(()) } else { Err(Break) }
    }

    fn begin_value(&mut self, byte: u8) -> Result<(), Break> {
        match byte {
            b'{' => self.open(Container::Object)?,
            b'[' => self.open(Container::Array)?,
            b'"' => self.begin_string(false),
            b'-' | b'0'..=b'9' => {
                self.token.push(byte);
                self.place = Place::Number;
            }
            b't' | b'f' | b'n' => {
                self.token.push(byte);
                self.place = Place::Word;
            }
            _ => return Err(Break),
        }
        Ok(())
    }

    fn begin_string(&mut self, is_name: bool) {
        self.token.push(b'"');
        self.place = Place::String { is_name, is_escaped: false };
    }

    fn read_string(&mut self, byte: u8, is_name: bool, is_escaped: bool) -> Result<(), Break> {
        if byte < b' ' {
            return Err(Break);
        }
        self.token.push(byte);
        match byte {
            b'"' if !is_escaped && is_name => self.end_name(),
            b'"' if !is_escaped => self.end_scalar(),
            _ => {
                self.place = Place::String { is_name, is_escaped: byte == b'\\' && !is_escaped };
                Ok(())
            }
        }
    }

    fn read_word(&mut self, byte: u8) -> Result<(), Break> {
        self.token.push(byte);
        let words: [&[u8]; 3] = [b"true", b"false", b"null"];
        match words.into_iter().find(|word| word.starts_with(&self.token)) {
            Some(word) if word == self.token => self.end_scalar(),
            Some(_) => Ok(()),
            None => Err(Break),
        }
    }

    fn end_name(&mut self) -> Result<(), Break> {
        let name: String = serde_json::from_slice(&self.token).map_err(|_| Break)?;
        self.token.clear();
        if self.around.len() == 1 {
            let is_known = self.members.iter().any(|(known, _)| *known == name);
            if is_known || self.members.len() == MAX_MEMBERS {
                return Err(Break);
            }
            self.name = name;
        }
        self.place = Place::Colon;
        Ok(())
    }

    fn end_scalar(&mut self) -> Result<(), Break> {
        let value = serde_json::from_slice(&self.token).map_err(|_| Break)?;
        self.token.clear();
        self.end_value(value);
        Ok(())
    }

    fn end_value(&mut self, value: Value) {
        if self.around.len() == 1 {
            self.members.push((std::mem::take(&mut self.name), value));
        }
        self.place = Place::CommaOrEnd;
    }

    fn open(&mut self, container: Container) -> Result<(), Break> {
        if self.around.len() == MAX_DEPTH {
            return Err(Break);
        }
        self.around.push(container);
        self.place = match container {
            Container::Object => Place::NameOrEnd,
            Container::Array => Place::ValueOrEnd,
        };
        Ok(())
    }

    fn close(&mut self, container: Container) -> Result<(), Break> {
        if self.around.pop() != Some(container) {
            return Err(Break);
        }
        if self.around.is_empty() {
            self.place = Place::End(0);
        } else {
            // What is in it is not kept; its name is, since it must not come again.
            self.end_value(Value::Array(Vec::new()));
        }
        Ok(())
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

#[cfg(test)]
mod tests;
