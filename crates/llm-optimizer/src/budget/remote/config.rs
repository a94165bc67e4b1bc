//! What a budget on a server is configured with, and how that becomes a client's configuration.

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

use crate::{LlmError, LlmErrorKind};

/// Where a [`RemoteLedger`](super::RemoteLedger) keeps its budget, and how long it waits for what.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteLedgerConfig {
    /// The server, as `redis://host:6379/0`; `rediss://` for TLS. A Cluster is `redis-cluster://host:7000`, with
    /// `?node=host:7001` for further nodes to begin with; Sentinels are
    /// `redis-sentinel://host:26379?sentinelServiceName=name&node=host:26380`. User and password may stand before the
    /// host. `valkey` may be written for `redis`. Default: `redis://127.0.0.1:6379`.
    pub url: Secret,
    /// The ACL user; empty for the one in the URL, if there is one. Default: empty.
    pub username: String,
    /// The password; empty for the one in the URL, if there is one. Default: empty.
    pub password: Secret,
    /// A PEM file with the authorities to be trusted instead of the system's, for TLS. Default: none.
    pub ca_file: Option<PathBuf>,
    /// What the budget's key begins with. Default: `hp`.
    pub prefix: String,
    /// Which budget it is: the key is `prefix:budget:name`, and whoever has the same spends the same. Default: `llm`.
    pub name: String,
    /// The longest a call waits for the server. Default: 50 ms.
    pub operation_timeout: Duration,
    /// The longest it may take to connect, to log in and to learn the shape of a Cluster; and the longest
    /// [`flush`](crate::Ledger::flush) takes. Default: 2 s.
    pub connect_timeout: Duration,
    /// When the server is no longer asked, and calls are refused at once. Default: a window of 1 s, 3 calls, half of
    /// them failed, slow from 50 ms, 25 ms to 1 s, 2 trials.
    pub breaker: BreakerConfig,
}

impl Default for RemoteLedgerConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("redis://127.0.0.1:6379"),
            username: String::new(),
            password: Secret::default(),
            ca_file: None,
            prefix: "hp".to_owned(),
            name: "llm".to_owned(),
            operation_timeout: Duration::from_millis(50),
            connect_timeout: Duration::from_secs(2),
            breaker: BreakerConfig {
                window: Duration::from_secs(1),
                min_calls: 3,
                slow_call: Duration::from_millis(50),
                open_for: Duration::from_millis(25),
                open_for_most: Duration::from_secs(1),
                ..BreakerConfig::default()
            },
        }
    }
}

impl RemoteLedgerConfig {
    /// The one key of the budget.
    pub(super) fn key(&self) -> String {
        format!("{}:budget:{}", self.prefix, self.name)
    }

    /// Refuses what cannot work, in words that never contain a secret.
    pub(super) fn validate(&self) -> Result<(), LlmError> {
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && !"{}".contains(c));
        let is_share = |share: f64| share > 0.0 && share <= 1.0;
        let breaker = &self.breaker;
        let rules = [
            (
                is_name(&self.prefix),
                "prefix is empty or holds a brace, a space or what is not ASCII, write hp",
            ),
            (is_name(&self.name), "name is empty or holds a brace, a space or what is not ASCII, write llm"),
            (!self.operation_timeout.is_zero(), "operation_timeout is 0, write a time such as 50 ms"),
            (
                self.connect_timeout >= self.operation_timeout,
                "connect_timeout is shorter than operation_timeout, write a time such as 2 s",
            ),
            (
                is_share(breaker.failure_rate) && is_share(breaker.slow_rate),
                "a rate of the breaker is not above 0 and up to 1",
            ),
            (breaker.n_trials > 0, "n_trials of the breaker is 0, write 1 or more"),
            (!breaker.window.is_zero(), "window of the breaker is 0, write a time such as 1 s"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(invalid(*message)),
            None => Ok(()),
        }
    }

    /// The client's configuration: where to connect, as whom and with which TLS.
    pub(super) fn client(&self) -> Result<Config, LlmError> {
        let (scheme, rest) = (self.url.expose().split_once("://"))
            .ok_or_else(|| invalid("url does not begin with a scheme such as redis://"))?;
        let (family, shape) = scheme.split_at(scheme.find('-').unwrap_or(scheme.len()));
        let is_tls = match (family, shape) {
            ("redis" | "valkey", "" | "-cluster" | "-sentinel") => false,
            ("rediss" | "valkeys", "" | "-cluster" | "-sentinel") => true,
            _ => {
                return Err(invalid(
                    "url begins with a scheme that is not redis://, redis-cluster:// or redis-sentinel://",
                ));
            }
        };
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
        PerformanceConfig { default_command_timeout: self.operation_timeout, ..PerformanceConfig::default() }
    }

    /// For ever, in steps from 20 ms to a second.
    pub(super) fn reconnecting() -> ReconnectPolicy {
        let mut policy = ReconnectPolicy::new_exponential(0, 20, 1000, 2);
        policy.set_jitter(20);
        policy
    }

    fn tls(&self) -> Result<ClientConfig, LlmError> {
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

pub(super) fn invalid(message: impl Into<String>) -> LlmError {
    LlmError::new(LlmErrorKind::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> RemoteLedgerConfig {
        RemoteLedgerConfig { url: Secret::new(url), ..RemoteLedgerConfig::default() }
    }

    #[test]
    fn what_cannot_work_is_refused_without_a_secret() {
        let refused = [
            url("localhost"),
            url("http://u:hunter2@localhost"),
            url("redis-ring://u:hunter2@localhost"),
            url("redis://u:hunter2@localhost:port"),
            RemoteLedgerConfig { ca_file: Some("ca.pem".into()), ..url("redis://u:hunter2@localhost") },
            RemoteLedgerConfig { ca_file: Some("/nowhere/ca.pem".into()), ..url("rediss://localhost") },
            RemoteLedgerConfig { name: "{llm}".into(), ..url("redis://localhost") },
            RemoteLedgerConfig { operation_timeout: Duration::ZERO, ..url("redis://localhost") },
        ];
        for config in refused {
            let error = config.validate().and_then(|()| config.client().map(|_| ())).unwrap_err();
            assert_eq!(error.kind(), LlmErrorKind::InvalidConfig);
            assert!(!format!("{error} {config:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn servers_of_all_shapes_are_read() {
        assert_eq!(url("valkey://u:hunter2@h:1/2").client().unwrap().database, Some(2));
        assert!(url("redis-cluster://h:1?node=i:2").client().unwrap().server.is_clustered());
        let sentinel = url("redis-sentinel://h:1?sentinelServiceName=main").client().unwrap().server;
        assert!(sentinel.is_sentinel());
    }
}
