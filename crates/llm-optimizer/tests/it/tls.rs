//! TLS, and the one HTTP/2 connection that many calls share.

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hp_base::SystemClock;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use llm_optimizer::{ChatModel, Finish, LlmErrorKind, ProviderConfig, ProviderKind};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::server::{Keeping, openai_events, request};

/// A provider that speaks HTTP/2 alone, over TLS if it has a certificate.
struct Http2Server {
    address: String,
    n_connections: Arc<AtomicUsize>,
    /// Tells of every stream that ended before its end.
    cut: mpsc::UnboundedReceiver<()>,
    directory: TempDir,
}

/// An authority and a server's certificate under it, made by `openssl`.
fn certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let made =
            Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {curve} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(&format!("req {curve} -keyout server.key -out server.csr -subj /CN=server"));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    );
}

fn acceptor(directory: &Path) -> TlsAcceptor {
    certificates(directory);
    let chain = vec![CertificateDer::from_pem_file(directory.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

impl Http2Server {
    async fn start(is_tls: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let acceptor = is_tls.then(|| acceptor(directory.path()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let n_connections = Arc::new(AtomicUsize::new(0));
        let (sender, cut) = mpsc::unbounded_channel();
        let counter = Arc::clone(&n_connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, acceptor.clone(), sender.clone()));
            }
        });
        Self { address, n_connections, cut, directory }
    }

    fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn model(&self, scheme: &str, change: impl FnOnce(&mut ProviderConfig)) -> Arc<dyn ChatModel> {
        let mut config = ProviderConfig::new(ProviderKind::OpenAi, "m");
        config.base_url = format!("{scheme}://{}/v1", self.address);
        change(&mut config);
        config.build(Arc::new(SystemClock)).unwrap()
    }

    fn n_connections(&self) -> usize {
        self.n_connections.load(Ordering::Relaxed)
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, cut: mpsc::UnboundedSender<()>) {
    let service = service_fn(move |request| answer(request, cut.clone()));
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // OK to ignore: a client that goes away is what some tests are about.
    let _ = match acceptor {
        None => server.serve_connection(TokioIo::new(stream), service).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
            Err(_) => Ok(()),
        },
    };
}

type Body = Either<Full<Bytes>, Channel<Bytes, Infallible>>;

/// Streams a reply; to those who ask for it in the prompt, only its beginning.
async fn answer(
    request: Request<Incoming>,
    cut: mpsc::UnboundedSender<()>,
) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
    if request.method() == Method::GET {
        return Ok(Response::builder().status(404).body(Either::Left(Full::default()))?);
    }
    let body = request.into_body().collect().await?.to_bytes();
    let is_endless = String::from_utf8_lossy(&body).contains("endless");
    let (mut sender, channel) = Channel::new(4);
    let events = openai_events(&["It is ", "a sugar."]);
    tokio::spawn(async move {
        let n_sent = if is_endless { events.find("\n\n").unwrap() + 2 } else { events.len() };
        if sender.send_data(Bytes::from(events[..n_sent].to_owned())).await.is_ok() && !is_endless {
            return;
        }
        // Comments, until nobody takes them any more.
        while sender.send_data(Bytes::from_static(b": wait\n\n")).await.is_ok() {}
        let _ = cut.send(());
    });
    Ok(Response::builder().header("content-type", "text/event-stream").body(Either::Right(channel))?)
}

#[tokio::test]
async fn many_calls_share_the_connections_that_warming_has_opened() {
    let server = Http2Server::start(true).await;
    let model = server.model("https", |config| {
        config.ca_file = Some(server.ca_file());
        config.n_clients = 2;
    });
    model.warm().await.unwrap();
    assert_eq!(server.n_connections(), 2);
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let model = Arc::clone(&model);
            tokio::spawn(async move { model.chat(&request()).await.unwrap().text })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "It is a sugar.");
    }
    assert_eq!(server.n_connections(), 2);
}

#[tokio::test]
async fn a_call_that_is_cut_leaves_the_connection_to_the_others() {
    let mut server = Http2Server::start(false).await;
    let model = server.model("http", |config| {
        config.http2_prior_knowledge = true;
        config.n_clients = 1;
    });
    for _ in 0..3 {
        let (readers, _) = Keeping::starting(1);
        let mut request = request();
        request.messages[1].text = "endless".into();
        request.readers = Some(readers);
        let reply = model.chat(&request).await.unwrap();
        assert_eq!((&*reply.text, reply.finish), ("It is ", Finish::Enough));
        server.cut.recv().await.unwrap();
    }
    assert_eq!(model.chat(&request()).await.unwrap().text, "It is a sugar.");
    assert_eq!(server.n_connections(), 1);
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_not_talked_to() {
    let server = Http2Server::start(true).await;
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    let model = server.model("https", |config| config.ca_file = Some(other.path().join("ca.pem")));
    assert_eq!(model.chat(&request()).await.unwrap_err().kind(), LlmErrorKind::Unavailable);
    assert_eq!(model.warm().await.unwrap_err().kind(), LlmErrorKind::Unavailable);
}
