//! What the tier on a server is configured with, and how that becomes a client's configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fred::prelude::{Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig};
use fred::rustls::crypto::ring;
use fred::rustls::pki_types::CertificateDer;
use fred::rustls::pki_types::pem::PemObject;
use fred::rustls::{ClientConfig, RootCertStore};
use fred::types::config::{ServerConfig, TlsConnector, UnresponsiveConfig};
use hp_base::{BreakerConfig, Secret};

use crate::{CacheError, CacheErrorKind};

/// Where a [`RemoteTier`](super::RemoteTier) keeps its entries, and how long it waits for what.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteConfig {
    /// The server, as `redis://host:6379/0`; `rediss://` for TLS. A Cluster is `redis-cluster://host:7000`, with
    /// `?node=host:7001&node=host:7002` for further nodes to begin with; Sentinels are
    /// `redis-sentinel://host:26379?sentinelServiceName=name&node=host:26380`, with `sentinelUsername` and
    /// `sentinelPassword` where they want them; both with TLS as `rediss-cluster://` and `rediss-sentinel://`. User and
    /// password may stand before the host. `valkey` may be written for `redis`. Default: `redis://127.0.0.1:6379`.
    pub url: Secret,
    /// The ACL user; empty for the one in the URL, if there is one. Default: empty.
    pub username: String,
    /// The password; empty for the one in the URL, if there is one. Default: empty.
    pub password: Secret,
    /// A PEM file with the authorities to be trusted instead of the system's, for TLS. Default: none.
    pub ca_file: Option<PathBuf>,
    /// What the names of all keys and channels begin with; one prefix, one cache. Default: `hp`.
    pub prefix: String,
    /// Connections for commands. One carries 100,000 look-ups a second; the second goes on while the first is made
    /// anew. One more is used to listen. From 1 to 64. Default: 2.
    pub pool_size: usize,
    /// The longest a read or a write may take. Default: 20 ms.
    pub operation_timeout: Duration,
    /// The longest it may take to connect, to log in and to learn the shape of a Cluster. A connection on which
    /// nothing has been answered for this long is given up. Default: 2 s.
    pub connect_timeout: Duration,
    /// The longest time an entry is kept; an entry's own `ttl` counts if it is shorter. Default: 86,400 s.
    pub ttl: Duration,
    /// Values longer than this many bytes are compressed where that helps. Default: 1,024.
    pub compress_above: usize,
    /// How long a lease outlives the process that died with it; a living one renews it three times as often.
    /// Default: 5 s.
    pub lease_ttl: Duration,
    /// When reads, and when writes, are no longer tried: by the shares of failed and slow calls as ever, and also
    /// after `min_calls` failures in a row, or at once when the connection is lost. Requests are never the trials that
    /// end this: a task makes them, waiting from `open_for` up to `open_for_most` between them, until `n_trials` in a
    /// row have gone well. Default: a window of 1 s, 3 calls, half of them failed, slow from 20 ms, 25 ms to 1 s, 2.
    pub breaker: BreakerConfig,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("redis://127.0.0.1:6379"),
            username: String::new(),
            password: Secret::default(),
            ca_file: None,
            prefix: "hp".to_owned(),
            pool_size: 2,
            operation_timeout: Duration::from_millis(20),
            connect_timeout: Duration::from_secs(2),
            ttl: Duration::from_secs(86_400),
            compress_above: 1024,
            lease_ttl: Duration::from_secs(5),
            breaker: BreakerConfig {
                window: Duration::from_secs(1),
                min_calls: 3,
                slow_call: Duration::from_millis(20),
                open_for: Duration::from_millis(25),
                open_for_most: Duration::from_secs(1),
                ..BreakerConfig::default()
            },
        }
    }
}

impl RemoteConfig {
    /// Refuses what cannot work, in words that never contain a secret.
    pub(super) fn validate(&self) -> Result<(), CacheError> {
        let is_share = |share: f64| share > 0.0 && share <= 1.0;
        let breaker = &self.breaker;
        let rules = [
            (!self.prefix.is_empty(), "prefix is empty, write a name such as hp"),
            (
                self.prefix.chars().all(|c| c.is_ascii_graphic() && !"{}".contains(c)),
                "prefix holds a brace, a space or what is not ASCII, write a name such as hp",
            ),
            ((1..=64).contains(&self.pool_size), "pool_size is not between 1 and 64"),
            (!self.operation_timeout.is_zero(), "operation_timeout is 0, write a time such as 20 ms"),
            (
                self.connect_timeout >= self.operation_timeout,
                "connect_timeout is shorter than operation_timeout, write a time such as 2 s",
            ),
            (self.ttl >= Duration::from_millis(1), "ttl is 0, write a time such as 86400 s"),
            (
                self.lease_ttl >= Duration::from_millis(100),
                "lease_ttl is shorter than 100 ms, write a time such as 5 s",
            ),
            (
                is_share(breaker.failure_rate) && is_share(breaker.slow_rate),
                "a rate of the breaker is not above 0 and up to 1",
            ),
            (
                breaker.min_calls > 0 && breaker.n_trials > 0,
                "min_calls or n_trials of the breaker is 0, write 1 or more",
            ),
            (
                !breaker.open_for.is_zero() && !breaker.window.is_zero(),
                "open_for or window of the breaker is 0, write a time such as 25 ms and 1 s",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(invalid(*message)),
            None => Ok(()),
        }
    }

    /// The client's configuration: where to connect, as whom and with which TLS.
    pub(super) fn client(&self) -> Result<Config, CacheError> {
        let url = self.url.expose();
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| invalid("url does not begin with a scheme such as redis://"))?;
        let (family, shape) = scheme.split_at(scheme.find('-').unwrap_or(scheme.len()));
        let is_tls = match family {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(invalid("url begins with a scheme that is not redis://, rediss:// or theirs")),
        };
        if !["", "-cluster", "-sentinel"].contains(&shape) {
            return Err(invalid(
                "url begins with a scheme that is not redis://, redis-cluster:// or redis-sentinel://",
            ));
        }
        // The client would read the system's authorities for a scheme with TLS, even where others are given.
        let mut config = Config::from_url(&format!("redis{shape}://{rest}"))
            .map_err(|_| invalid("url cannot be read, write it as redis://user:password@host:6379/0"))?;
        if !self.username.is_empty() {
            config.username = Some(self.username.clone());
        }
        if !self.password.is_empty() {
            config.password = Some(self.password.expose().to_owned());
        }
        config.tls = match (is_tls, &self.ca_file) {
            (false, Some(_)) => {
                return Err(invalid("ca_file is for TLS, write rediss:// in the url or drop it"));
            }
            (false, None) => None,
            (true, _) => Some(TlsConnector::from(self.tls()?).into()),
        };
        // An empty name of the service would be found out only by asking the Sentinels, for ever.
        if let ServerConfig::Sentinel { service_name, .. } = &config.server
            && service_name.is_empty()
        {
            return Err(invalid("url names no sentinelServiceName"));
        }
        config.fail_fast = false;
        Ok(config)
    }

    pub(super) fn connection(&self) -> ConnectionConfig {
        ConnectionConfig {
            connection_timeout: self.connect_timeout,
            internal_command_timeout: self.connect_timeout,
            max_command_attempts: 1,
            reconnect_on_auth_error: true,
            // Far more than fit through a connection within the timeout; beyond it, failing at once is kinder.
            max_command_buffer_len: 10_000,
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(self.connect_timeout),
                interval: self.connect_timeout / 4,
            },
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        }
    }

    pub(super) fn performance(&self) -> PerformanceConfig {
        PerformanceConfig {
            default_command_timeout: self.operation_timeout,
            broadcast_channel_capacity: 1024,
            ..PerformanceConfig::default()
        }
    }

    /// For ever, in steps from 20 ms to a second.
    pub(super) fn reconnecting() -> ReconnectPolicy {
        let mut policy = ReconnectPolicy::new_exponential(0, 20, 1000, 2);
        policy.set_jitter(20);
        policy
    }

    fn tls(&self) -> Result<ClientConfig, CacheError> {
        let mut authorities = RootCertStore::empty();
        if let Some(path) = &self.ca_file {
            let unusable = |reason: &str| invalid(format!("ca_file {} {reason}", path.display()));
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|error| unusable("cannot be read").with_source(error))?;
            for certificate in certificates {
                let certificate =
                    certificate.map_err(|error| unusable("is no PEM file").with_source(error))?;
                authorities
                    .add(certificate)
                    .map_err(|error| unusable("holds what is no authority").with_source(error))?;
            }
            if authorities.is_empty() {
                return Err(unusable("holds no certificate"));
            }
        } else {
            authorities.add_parsable_certificates(fred::rustls_native_certs::load_native_certs().certs);
            if authorities.is_empty() {
                return Err(invalid("the system trusts no authority, name one by ca_file"));
            }
        }
        // Named, because a program that links two providers has no default one.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("TLS cannot be set up").with_source(error))?;
        Ok(builder.with_root_certificates(authorities).with_no_client_auth())
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> CacheError {
    CacheError::new(CacheErrorKind::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(config: RemoteConfig, expected: Expect) {
        let result = config.validate().and_then(|()| config.client().map(|config| config.server));
        let text = match result {
            Ok(server) => server
                .hosts()
                .iter()
                .map(|host| format!("{host:?}"))
                .collect::<Vec<_>>()
                .join(" ")
                .replace('"', ""),
            Err(error) => error.to_string(),
        };
        assert!(!text.contains("hunter2"), "{text}");
        expected.assert_eq(&text);
    }

    fn url(url: &str) -> RemoteConfig {
        RemoteConfig { url: Secret::new(url), ..RemoteConfig::default() }
    }

    #[test]
    fn what_cannot_work_is_refused_without_a_secret() {
        check(
            url("localhost"),
            expect!["cache configuration invalid: url does not begin with a scheme such as redis://"],
        );
        check(
            url("http://u:hunter2@localhost"),
            expect![
                "cache configuration invalid: url begins with a scheme that is not redis://, rediss:// or theirs"
            ],
        );
        check(
            url("redis-ring://u:hunter2@localhost"),
            expect![
                "cache configuration invalid: url begins with a scheme that is not redis://, redis-cluster:// or redis-sentinel://"
            ],
        );
        check(
            url("redis://u:hunter2@localhost:port"),
            expect![
                "cache configuration invalid: url cannot be read, write it as redis://user:password@host:6379/0"
            ],
        );
        check(
            RemoteConfig { ca_file: Some("ca.pem".into()), ..url("redis://localhost") },
            expect!["cache configuration invalid: ca_file is for TLS, write rediss:// in the url or drop it"],
        );
        check(
            RemoteConfig { ca_file: Some("/nowhere/ca.pem".into()), ..url("rediss://u:hunter2@localhost") },
            expect!["cache configuration invalid: ca_file /nowhere/ca.pem cannot be read"],
        );
        check(
            RemoteConfig { prefix: "{hp}".into(), ..url("redis://localhost") },
            expect![
                "cache configuration invalid: prefix holds a brace, a space or what is not ASCII, write a name such as hp"
            ],
        );
        check(
            RemoteConfig { pool_size: 0, ..url("redis://localhost") },
            expect!["cache configuration invalid: pool_size is not between 1 and 64"],
        );
    }

    #[test]
    fn servers_of_all_shapes_are_read() {
        assert_eq!(url("redis://h").client().unwrap().server, ServerConfig::new_centralized("h", 6379));
        assert_eq!(url("valkey://u:hunter2@h:1/2").client().unwrap().database, Some(2));
        let cluster = url("redis-cluster://h:1?node=i:2").client().unwrap().server;
        assert!(cluster.is_clustered() && cluster.hosts().len() == 2);
        let sentinel = url("redis-sentinel://h:1?sentinelServiceName=main&node=i:2").client().unwrap().server;
        assert!(sentinel.is_sentinel() && sentinel.hosts().len() == 2);
    }

    #[test]
    fn user_and_password_take_the_place_of_those_in_the_url() {
        let config =
            RemoteConfig { username: "me".into(), password: Secret::new("b"), ..url("redis://u:a@h") };
        let client = config.client().unwrap();
        assert_eq!((client.username.as_deref(), client.password.as_deref()), (Some("me"), Some("b")));
        assert!(!format!("{:?}", url("redis://u:hunter2@h")).contains("hunter2"));
    }
}
