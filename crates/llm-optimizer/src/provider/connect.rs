//! The clients that requests are spread over, and their TLS.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Url, redirect};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::ProviderConfig;
use super::config::invalid;
use crate::LlmError;

/// How often an HTTP/2 connection is asked whether it is still there, used or not.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Several clients, each with connections of its own.
pub(super) struct Clients(Vec<Slot>);

struct Slot {
    client: Client,
    n_running: AtomicUsize,
    has_served: AtomicBool,
}

/// The use of a client, until it is dropped.
pub(super) struct Lease<'a>(&'a Slot);

impl Clients {
    pub(super) fn new(config: &ProviderConfig, base: &Url, headers: &HeaderMap) -> Result<Self, LlmError> {
        let tls = tls(base.scheme() == "https", config.ca_file.as_deref(), config.http2_prior_knowledge)?;
        let clients = (0..config.n_clients).map(|_| client(config, headers, tls.clone()));
        Ok(Self(clients.collect::<Result<_, _>>()?))
    }

    /// The client with the fewest requests under way, the first of them: what it has open is warm.
    pub(super) fn least_busy(&self) -> Option<Lease<'_>> {
        let slot = self.0.iter().min_by_key(|slot| slot.n_running.load(Ordering::Relaxed))?;
        Some(Lease::new(slot))
    }

    /// Each client once.
    pub(super) fn each(&self) -> impl Iterator<Item = Lease<'_>> {
        self.0.iter().map(Lease::new)
    }
}

impl<'a> Lease<'a> {
    fn new(slot: &'a Slot) -> Self {
        slot.n_running.fetch_add(1, Ordering::Relaxed);
        Self(slot)
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Whether the client may have a connection from an earlier request, which the other side may have closed since.
    pub(super) fn may_be_stale(&self) -> bool {
        self.0.has_served.load(Ordering::Relaxed)
    }

    pub(super) fn has_served(&self) {
        self.0.has_served.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.n_running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn client(config: &ProviderConfig, headers: &HeaderMap, tls: ClientConfig) -> Result<Slot, LlmError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .default_headers(headers.clone())
        .user_agent(concat!("llm-optimizer/", env!("CARGO_PKG_VERSION")))
        // A request that is sent on elsewhere would take the key along.
        .redirect(redirect::Policy::none())
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(config.keep_alive)
        .pool_max_idle_per_host(config.max_connections.div_ceil(config.n_clients))
        .tcp_nodelay(true)
        .tcp_keepalive(PING_EVERY)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(config.connect_timeout)
        .http2_keep_alive_while_idle(true);
    if config.http2_prior_knowledge {
        builder = builder.http2_prior_knowledge();
    }
    let client = builder
        .build()
        .map_err(|error| invalid("the HTTP client cannot be set up").with_source(error.without_url()))?;
    Ok(Slot { client, n_running: AtomicUsize::new(0), has_served: AtomicBool::new(false) })
}

fn tls(is_used: bool, ca_file: Option<&Path>, is_http2_only: bool) -> Result<ClientConfig, LlmError> {
    let mut authorities = if is_used { system_authorities().clone() } else { RootCertStore::empty() };
    if let Some(path) = ca_file {
        let unusable = |reason: &str| invalid(format!("ca_file {} {reason}", path.display()));
        let certificates = CertificateDer::pem_file_iter(path)
            .map_err(|error| unusable("cannot be read").with_source(error))?;
        let n_before = authorities.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unusable("is no PEM file").with_source(error))?;
            authorities
                .add(certificate)
                .map_err(|error| unusable("holds what is no authority").with_source(error))?;
        }
        if authorities.len() == n_before {
            return Err(unusable("holds no certificate"));
        }
    }
    if is_used && authorities.is_empty() {
        return Err(invalid("the system trusts no authority, name one by ca_file"));
    }
    // Named, because a program that links two providers of cryptography has no default one.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS cannot be set up").with_source(error))?;
    let mut config = builder.with_root_certificates(authorities).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    if !is_http2_only {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    Ok(config)
}

/// What the system trusts. Reading it takes milliseconds, and it does not change while a process runs.
fn system_authorities() -> &'static RootCertStore {
    static AUTHORITIES: OnceLock<RootCertStore> = OnceLock::new();
    AUTHORITIES.get_or_init(|| {
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        authorities
    })
}
