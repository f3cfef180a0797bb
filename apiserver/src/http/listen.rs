//! Connections: TLS, HTTP/1.1 and HTTP/2, and who a certificate says is there.
//!
//! Invariant: a connection that says nothing costs bounded time, and its end is only its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::{Service as _, service_fn};

use super::pipeline;
use crate::auth::authentication::{PeerUser, peer_user};
use crate::server::Server;

/// How long a client may take for its TLS handshake, and for its first request.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a connection of HTTP/1.1 may rest until the headers of the next request are there
/// (upstream's number). Clients keep connections for that long, and a write that goes into one that
/// is closed at that moment is lost.
const REST: Duration = Duration::from_secs(90);

/// What somebody is told who speaks HTTP without TLS (upstream's text).
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// How long connections have to end by themselves once the server stops.
const DRAIN: Duration = Duration::from_millis(300);

/// How long to wait after accepting failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Streams of one connection: a client has all its watches on one.
const STREAMS: u32 = 10_000;

/// A socket that waits for clients.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Arc<ServerConfig>,
}

/// Who a connection's certificate says is there.
#[derive(Debug, Clone, Default)]
pub struct PeerChain(Option<Arc<PeerUser>>);

impl Listener {
    /// Serves TLS on a socket.
    #[must_use]
    pub fn new(socket: TcpListener, tls: Arc<ServerConfig>) -> Self {
        Self { socket, tls }
    }

    /// Serves until `stop` says true; then lets connections end, but not for long.
    pub async fn serve(self, server: Arc<Server>, mut stop: watch::Receiver<bool>) {
        let app = Router::new().fallback(handle).with_state(server);
        let acceptor = TlsAcceptor::from(self.tls);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((socket, _)) => {
                        let (acceptor, app) = (acceptor.clone(), app.clone());
                        connections.spawn(connection(socket, acceptor, app, stop.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        sleep(PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = stopped(&mut stop) => break,
            }
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        // What is still open then is closed by dropping it.
        drop(timeout(DRAIN, drained).await);
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say it.
    drop(stop.wait_for(|stop| *stop).await);
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let peer = request.extensions().get::<PeerChain>().cloned().unwrap_or_default();
    pipeline::answer(&server, peer.0.as_deref(), request).await
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(REST);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    builder
}

async fn connection(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    app: Router,
    mut stop: watch::Receiver<bool>,
) {
    drop(socket.set_nodelay(true));
    let Ok(Some(stream)) = timeout(HANDSHAKE, handshake(socket, acceptor)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = PeerChain(certificate.and_then(|one| peer_user(one)).map(Arc::new));
    let first = Arc::new(Notify::new());
    let asked = Arc::clone(&first);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        asked.notify_one();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let mut app = app.clone();
        async move { Ok::<Response, Infallible>(app.call(request).await.unwrap_or_default()) }
    });
    let http = http();
    let served = http
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(served);
    tokio::select! {
        // How a connection ends is its client's affair.
        ended = served.as_mut() => drop(ended),
        // Until the protocol is known hyper waits for it without a bound.
        () = silent(&first) => {}
        () = stopped(&mut stop) => {
            served.as_mut().graceful_shutdown();
            drop(served.await);
        }
    }
}

/// Says that a client has let the time for its first request pass; never if it has asked.
async fn silent(first: &Notify) {
    if timeout(HANDSHAKE, first.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// TLS, if that is what the client speaks.
async fn handshake(mut socket: TcpStream, acceptor: TlsAcceptor) -> Option<TlsStream<TcpStream>> {
    let mut start = [0; 4];
    let length = socket.peek(&mut start).await.ok()?;
    // A handshake starts with 22; a request with the name of its method.
    if matches!(
        &start[..length],
        b"GET " | b"HEAD" | b"POST" | b"PUT " | b"PATC" | b"DELE" | b"OPTI"
    ) {
        drop(socket.write_all(NOT_TLS).await);
        drop(socket.shutdown().await);
        // Closing with something unread would take the text away from the client again.
        let mut unread = [0; 16 << 10];
        drop(socket.read(&mut unread).await);
        return None;
    }
    acceptor.accept(socket).await.ok()
}
