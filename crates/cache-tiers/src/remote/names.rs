//! The names of what the tier keeps on the server, and the scripts that touch more than one of them.
//!
//! | name | what |
//! | --- | --- |
//! | `hp:EPOCH:KEY` | an entry; those of an earlier epoch are not read any more, and die by their time |
//! | `hp:lease:KEY` | who works out a value |
//! | `{hp}:epoch` | the number of the epoch |
//! | `{hp}:forgotten` | a stream, and a channel that rings when it grows: what was forgotten |
//! | `{hp}:done` | a channel: the keys of leases that were let go |
//! | `{hp}:probe` | written to see whether writing works |
//!
//! The braces keep what one script touches in one slot of a Cluster; entries are spread over all.

use crate::Key;

/// About as many things forgotten are remembered; a replica that was away for longer forgets everything.
const HISTORY_LENGTH: &str = "10000";

/// Brings the server's epoch and the known one together, and returns a token with it, so that an answer to another
/// question is noticed.
///
/// A lost epoch, of a server that was emptied or had to evict it, begins with the milliseconds since 1970: later than
/// any that went before it as long as there is less than one flush a millisecond.
pub(super) const SYNC: &str = "\
local stored = tonumber(redis.call('GET', KEYS[1]) or '') or 0
local epoch = math.max(stored, tonumber(ARGV[1]))
if epoch == 0 then
  local time = redis.call('TIME')
  epoch = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
if epoch ~= stored then
  redis.call('SET', KEYS[1], string.format('%d', epoch))
  redis.call('PUBLISH', KEYS[2], string.format('%d', epoch))
end
return {ARGV[2], string.format('%d', epoch)}";

/// Begins a new epoch, and says so.
pub(super) const FLUSH: &str = "\
local epoch = math.max(tonumber(redis.call('GET', KEYS[1]) or '') or 0, tonumber(ARGV[1]))
if epoch == 0 then
  local time = redis.call('TIME')
  epoch = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
epoch = string.format('%d', epoch + 1)
redis.call('SET', KEYS[1], epoch)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'origin', ARGV[2], 'what', 'all')
redis.call('PUBLISH', KEYS[2], epoch)
return epoch";

/// Says that one key was forgotten.
pub(super) const ANNOUNCE: &str = "\
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'origin', ARGV[1], 'what', ARGV[2])
redis.call('PUBLISH', KEYS[1], '0')
return 'OK'";

/// The last entry of the history, which begins here if it has none: a position is always an entry that exists, so
/// that a history that was cut or lost is told from a quiet one.
pub(super) const PRESENT: &str = "\
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1')
if last[1] then return last[1][1] end
return redis.call('XADD', KEYS[1], '*', 'origin', ARGV[1], 'what', 'begin')";

/// Takes a lease, or returns the milliseconds the other's has left.
pub(super) const CLAIM: &str = "\
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return -1 end
return math.max(redis.call('PTTL', KEYS[1]), 0)";

/// Lengthens a lease that is still ours.
pub(super) const RENEW: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Lets go of a lease that is still ours.
pub(super) const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1";

/// The names under one prefix.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
    pub(super) epoch: String,
    pub(super) forgotten: String,
    pub(super) done: String,
    pub(super) probe: String,
}

impl Names {
    pub(super) const HISTORY_LENGTH: &'static str = HISTORY_LENGTH;

    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            epoch: format!("{{{prefix}}}:epoch"),
            forgotten: format!("{{{prefix}}}:forgotten"),
            done: format!("{{{prefix}}}:done"),
            probe: format!("{{{prefix}}}:probe"),
        }
    }

    /// The name of an entry. One allocation: it is on the way of every look-up.
    pub(super) fn entry(&self, epoch: u64, key: &Key) -> String {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        let mut rest = epoch;
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let digits = &digits[at.min(digits.len() - 1)..];
        let mut name = String::with_capacity(self.prefix.len() + digits.len() + 34);
        name.push_str(&self.prefix);
        name.push(':');
        name.extend(digits.iter().map(|&digit| char::from(digit)));
        name.push(':');
        push_hex(&mut name, key);
        name
    }

    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}:lease:{key}", self.prefix)
    }
}

fn push_hex(text: &mut String, key: &Key) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in key.as_bytes() {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_have_the_name_that_is_documented(epoch: u64, bytes: [u8; 16]) {
            let key = Key::from_bytes(bytes);
            prop_assert_eq!(Names::new("hp").entry(epoch, &key), format!("hp:{epoch}:{key}"));
        }
    }

    #[test]
    fn the_first_epoch_has_a_digit() {
        let name = Names::new("hp").entry(0, &Key::from_bytes([0xab; 16]));
        assert_eq!(name, format!("hp:0:{}", "ab".repeat(16)));
    }
}
