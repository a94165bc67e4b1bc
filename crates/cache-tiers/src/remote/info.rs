//! What a server says of itself, for operators.

/// A server's version and memory, so that settings that do not suit a cache can be pointed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its name and version, as `redis 7.0.15` or `valkey 8.0.1`; empty where it does not say.
    pub version: String,
    /// Bytes in use.
    pub used_memory: u64,
    /// The most bytes it may use; 0 for no bound.
    pub max_memory: u64,
    /// What it does when full, such as `allkeys-lru` or `noeviction`; empty where it does not say.
    pub eviction_policy: String,
}

impl ServerInfo {
    /// Reads the answer to `INFO`.
    pub(super) fn read(text: &str) -> Self {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(|value| value.trim().to_owned())
        };
        let number = |name| field(name).and_then(|value| value.parse().ok()).unwrap_or_default();
        let version = field("valkey_version").map(|version| format!("valkey {version}"));
        let version = version.or_else(|| field("redis_version").map(|version| format!("redis {version}")));
        Self {
            version: version.unwrap_or_default(),
            used_memory: number("used_memory"),
            max_memory: number("maxmemory"),
            eviction_policy: field("maxmemory_policy").unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let text = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\n\
                    used_memory_human:1M\r\nused_memory:1024\r\nmaxmemory:2048\r\nmaxmemory_policy:noeviction\r\n";
        let expected = ServerInfo {
            version: "valkey 8.0.1".to_owned(),
            used_memory: 1024,
            max_memory: 2048,
            eviction_policy: "noeviction".to_owned(),
        };
        assert_eq!(ServerInfo::read(text), expected);
        assert_eq!(ServerInfo::read("redis_version:6.2.0\r\n").version, "redis 6.2.0");
        assert_eq!(ServerInfo::read("nonsense").version, "");
    }
}
