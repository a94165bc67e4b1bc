//! Parameters of the caches that outlive the process, on disk and on a server, and of what goes on between the caches.

use std::time::Duration;

use hp_base::Secret;

use super::{Kind, Parameter, Value, boolean, integer, number, path, path_value, text};
use crate::config::redacted;

/// A year, in seconds.
const YEAR: f64 = 31_536_000.0;

/// In the order they are shown.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "l2_cache_enabled",
        kind: Kind::Boolean,
        about: "Whether answers are kept on disk, so that the next start of the program has them. On, because a disk \
                that fails costs nothing but its help.",
        get: |config| Value::Boolean(config.l2.enabled),
        set: |config, value| config.l2.enabled = boolean(&value),
    },
    Parameter {
        name: "l2_cache_path",
        kind: Kind::Text { may_be_empty: true },
        about: "The folder of the cache on disk, which one process at a time can use. Empty for hp-classify/l2 in the \
                user's cache folder ($XDG_CACHE_HOME, else ~/.cache); where there is none, nothing is kept on disk. \
                It holds answers, and the texts of the questions asked most.",
        get: |config| path_value(config.l2.path.as_deref()),
        set: |config, value| config.l2.path = path(value),
    },
    Parameter {
        name: "l2_cache_size_mb",
        // With less the database has no room to work, and the tier would take 16 all the same.
        kind: Kind::Integer { min: 16, max: 16_777_216 },
        about: "MiB the cache on disk takes at the most. 1000 holds some two million answers.",
        get: |config| Value::Integer((config.l2.max_bytes >> 20) as i64),
        set: |config, value| config.l2.max_bytes = (integer(&value) as u64) << 20,
    },
    Parameter {
        name: "l2_cache_ttl",
        kind: Kind::Number { min: 0.001, max: YEAR },
        about: "Seconds an answer stays on disk. 3600 is what a restart or a quiet hour should not lose.",
        get: |config| Value::Number(config.l2.ttl.as_secs_f64()),
        set: |config, value| config.l2.ttl = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "l2_block_cache_mb",
        kind: Kind::Integer { min: 1, max: 1_048_576 },
        about: "MiB of memory, filled as it is needed, in which parts of the cache on disk are kept, so that most of \
                its reads need no disk. 64 holds the answers of more questions than the memory cache does.",
        get: |config| Value::Integer((config.l2.block_cache_bytes >> 20) as i64),
        set: |config, value| config.l2.block_cache_bytes = (integer(&value) as u64) << 20,
    },
    Parameter {
        name: "l3_cache_enabled",
        kind: Kind::Boolean,
        about: "Whether answers are shared through the Redis that redis_url names; without one it has no effect. On, so \
                that naming a Redis is enough.",
        get: |config| Value::Boolean(config.l3.enabled),
        set: |config, value| config.l3.enabled = boolean(&value),
    },
    Parameter {
        name: "redis_url",
        kind: Kind::Secret,
        about: "Where Redis or Valkey is: redis://, rediss:// with TLS, redis-sentinel:// or redis-cluster://, then \
                HOST:PORT. Empty for none, which needs no server. A password in it is never shown.",
        get: |config| Value::Secret(redacted::url(config.l3.url.expose())),
        set: |config, value| config.l3.url = Secret::new(text(value)),
    },
    Parameter {
        name: "redis_username",
        kind: Kind::Text { may_be_empty: true },
        about: "The user of Redis's access control list; empty for the one in redis_url or, without one there, for \
                Redis's default user.",
        get: |config| Value::Text(config.l3.username.clone()),
        set: |config, value| config.l3.username = text(value),
    },
    Parameter {
        name: "redis_password",
        kind: Kind::Secret,
        about: "The password of that user; empty for the one in redis_url, or none. It is never shown, but other users \
                of the machine may see flags and variables: redis_password_file is safer.",
        get: |config| Value::Secret(redacted::whole(&config.l3.password)),
        set: |config, value| config.l3.password = Secret::new(text(value)),
    },
    Parameter {
        name: "redis_password_file",
        kind: Kind::Text { may_be_empty: true },
        about: "A file with that password, without the line's end; it wins over redis_password. Empty for none.",
        get: |config| path_value(config.l3.password_file.as_deref()),
        set: |config, value| config.l3.password_file = path(value),
    },
    Parameter {
        name: "redis_ca_file",
        kind: Kind::Text { may_be_empty: true },
        about: "A file of certificates (PEM) that vouch for the server of a rediss:// address. Empty for the \
                certificates the machine trusts.",
        get: |config| path_value(config.l3.ca_file.as_deref()),
        set: |config, value| config.l3.ca_file = path(value),
    },
    Parameter {
        name: "redis_prefix",
        kind: Kind::Text { may_be_empty: false },
        about: "What every name in Redis begins with, to keep the entries apart from those of other programs. `hp` is \
                short, and short names are memory saved.",
        get: |config| Value::Text(config.l3.prefix.clone()),
        set: |config, value| config.l3.prefix = text(value),
    },
    Parameter {
        name: "redis_pool_size",
        kind: Kind::Integer { min: 1, max: 64 },
        about: "Connections to Redis, each of which carries many requests at once. 2 keeps reads from waiting behind a \
                batch of writes.",
        get: |config| Value::Integer(config.l3.pool_size as i64),
        set: |config, value| config.l3.pool_size = integer(&value) as usize,
    },
    Parameter {
        name: "redis_timeout_ms",
        kind: Kind::Number { min: 1.0, max: 60_000.0 },
        about: "Milliseconds after which a read of Redis is given up and the question is classified anew. 20 is a \
                hundred times what Redis needs in the same rack.",
        get: |config| Value::Number(config.l3.timeout.as_nanos() as f64 / 1e6),
        set: |config, value| config.l3.timeout = Duration::from_secs_f64(number(&value) / 1e3),
    },
    Parameter {
        name: "l3_cache_ttl",
        kind: Kind::Number { min: 0.001, max: YEAR },
        about: "Seconds an answer stays in Redis. 86400 is a day: what was asked yesterday is asked today.",
        get: |config| Value::Number(config.l3.ttl.as_secs_f64()),
        set: |config, value| config.l3.ttl = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "l3_compress_above_bytes",
        kind: Kind::Integer { min: 0, max: 1_073_741_824 },
        about: "Values longer than this are compressed (LZ4) for Redis. 1024 leaves the usual answer as it is, which \
                compression would hardly shorten.",
        get: |config| Value::Integer(config.l3.compress_above as i64),
        set: |config, value| config.l3.compress_above = integer(&value) as usize,
    },
    Parameter {
        name: "stale_while_revalidate_seconds",
        kind: Kind::Number { min: 0.0, max: YEAR },
        about: "For so many seconds after its time an answer is still given at once while it is renewed in the \
                background. 0 gives no answer after its time; the embedded classifier is not worth a stale answer.",
        get: |config| Value::Number(config.stale_while_revalidate.as_secs_f64()),
        set: |config, value| config.stale_while_revalidate = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "cache_write_queue",
        kind: Kind::Integer { min: 1, max: 10_000_000 },
        about: "Writes that wait for the disk, and as many for Redis, at the most; then the oldest are dropped and \
                counted, since no answer waits for a write. 4096 are a few MB and a second of a busy disk.",
        get: |config| Value::Integer(config.write_queue as i64),
        set: |config, value| config.write_queue = integer(&value) as usize,
    },
];
