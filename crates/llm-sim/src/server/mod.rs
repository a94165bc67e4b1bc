//! Accepting connections, and closing the port and opening it again.

mod body;
mod chat;
mod control;
mod delivery;
mod headers;
mod link;
mod route;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::random::{self, Purpose};
use crate::state::State;
use crate::{Fault, SimError};
use link::{Link, Socket};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Between two attempts at what the system refuses for now.
const AGAIN: Duration = Duration::from_millis(10);

/// A port on which connections are accepted.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, SimError> {
        let listening = socket(address).and_then(|socket| socket.listen(BACKLOG));
        let bound = listening.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| {
            SimError::io(format!("{address} cannot be listened on, choose another port: {error}"), error)
        })?;
        Ok(Self { listener, address })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves those who steer the simulator, whatever the providers do.
    pub(crate) async fn control(self, state: Arc<State>) {
        let mut connections = JoinSet::new();
        loop {
            if let Some(stream) = accept(&self.listener, &mut connections).await {
                connections.spawn(serve(Arc::clone(&state), stream, Arc::default()));
            }
        }
    }

    /// Serves providers, as long as the port is to be open.
    pub(crate) async fn providers(self, state: Arc<State>) {
        let mut closing = state.closing.subscribe();
        let mut connections = JoinSet::new();
        let mut listener = self.listener;
        let mut n_connections = 0;
        loop {
            if *closing.borrow_and_update() {
                drop(listener);
                state.n_closings.send_modify(|n_closings| *n_closings += 1);
                // The port stays ours, and connecting to it is refused, since nobody listens.
                let kept = until_ok(|| socket(self.address)).await;
                state.closed.send_replace(true);
                // OK to ignore: the sender lives as long as the state.
                let _ = closing.wait_for(|closing| !closing).await;
                listener = match kept.listen(BACKLOG) {
                    Ok(listener) => listener,
                    Err(_) => until_ok(|| socket(self.address)?.listen(BACKLOG)).await,
                };
                state.closed.send_replace(false);
            }
            let accepted = tokio::select! {
                accepted = accept(&listener, &mut connections) => accepted,
                _ = closing.changed() => continue,
            };
            let Some(stream) = accepted else { continue };
            state.journal.count_connection();
            let probability = state.settings().faults.probability(Fault::ConnectionRefused);
            n_connections += 1;
            let link = Arc::new(Link::default());
            if random::unit(state.seed, n_connections, Purpose::Refusal) < probability {
                state.journal.count_refused();
                link.mark_reset();
                drop(Socket::new(stream, link));
                continue;
            }
            let n_closings = state.n_closings.subscribe();
            connections.spawn(serve_until_closed(Arc::clone(&state), stream, link, n_closings));
        }
    }
}

/// The next connection; none where there was something else to do.
async fn accept(listener: &TcpListener, connections: &mut JoinSet<()>) -> Option<TcpStream> {
    tokio::select! {
        Some(_) = connections.join_next() => None,
        accepted = listener.accept() => match accepted {
            Ok((stream, _)) => Some(stream),
            Err(_) => {
                // Too many open files, as a rule; it passes.
                tokio::time::sleep(AGAIN).await;
                None
            }
        },
    }
}

/// Serves a connection until its end or the next time the port is closed.
async fn serve_until_closed(
    state: Arc<State>,
    stream: TcpStream,
    link: Arc<Link>,
    mut n_closings: watch::Receiver<u64>,
) {
    let closed = async {
        // OK to ignore: the sender lives as long as the state.
        let _ = n_closings.changed().await;
        if link.is_exempt() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = serve(Arc::clone(&state), stream, Arc::clone(&link)) => {}
        () = async { closed.await; link.mark_reset() } => {}
    }
}

/// Serves a connection to its end.
async fn serve(state: Arc<State>, stream: TcpStream, link: Arc<Link>) {
    // OK to ignore: it is slower without.
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream, Arc::clone(&link));
    let service = service_fn(|request| route::route(Arc::clone(&state), Arc::clone(&link), request));
    let builder = auto::Builder::new(TokioExecutor::new());
    tokio::select! {
        // OK to ignore: what goes wrong with a connection, its client sees.
        _ = builder.serve_connection(socket, service) => {}
        () = link.to_be_reset() => {}
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port that was just in use can be had at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn until_ok<T>(attempt: impl Fn() -> io::Result<T>) -> T {
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}
