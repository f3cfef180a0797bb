//! Listening: sockets, TLS, and HTTP connections to one door.
//!
//! Invariant: the accept loop ends only when it is told to stop. An error of one connection ends
//! that connection; an error of accepting (no file descriptors left) is waited out.
//!
//! Invariant: a connection that says nothing costs bounded time: a TLS handshake has ten seconds,
//! and the first request's headers as long.
//!
//! How many connections there may be is the operating system's to bound (`ulimit -n`): at that
//! bound new ones wait in the kernel until others end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use kstore_proto::peer::peer_server::PeerServer;
use kstore_raft::peer::tonic_net::PeerService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;

use crate::api::Api;
use crate::door::{self, Door};
use crate::pages;
use crate::tls::Tls;

/// How long a client may take for its TLS handshake, and for the headers of its first request.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How long connections have to end by themselves once the server stops.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// How long to wait after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request's headers.
const HEADER_BYTES: u32 = 64 * 1024;

/// What a client may send on one stream before it is read. Larger than a small request, so that
/// one needs no answer from us on its way.
const STREAM_WINDOW: u32 = 1 << 20;

/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Requests that a client may call off before they are looked at. Clients whose deadlines are
/// short do this in bulk and are no attackers.
const PENDING_RESETS: usize = 4096;

/// When a silent connection is asked whether it is still there, and how long it may take to
/// answer (etcd's numbers).
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(2 * 3600), Duration::from_secs(20));

/// A socket that waits for clients.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
}

/// What is served on a listener.
#[derive(Debug, Clone)]
pub enum Serves {
    /// Everything.
    Clients(Arc<Door>),
    /// The messages of other members, and nothing else.
    Peers(Arc<PeerServer<PeerService>>),
    /// Health, version and metrics only.
    Pages(Api),
}

impl Listener {
    /// Serves TLS on `socket` if given, else plain text.
    #[must_use]
    pub fn new(socket: TcpListener, tls: Option<Arc<Tls>>) -> Self {
        Self { socket, tls }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop` says true; then lets connections end, but not for long.
    pub async fn serve(self, serves: Serves, mut stop: watch::Receiver<bool>) {
        let http = http();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((socket, _)) => {
                        let tls = self.tls.clone();
                        let connection =
                            connection(socket, tls, http.clone(), serves.clone(), stop.clone());
                        connections.spawn(connection);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = stopped(&mut stop) => break,
            }
        }
        drop(self.socket);
        let drained = async { while connections.join_next().await.is_some() {} };
        // What is still open then is closed by dropping it.
        drop(timeout(DRAIN_LIMIT, drained).await);
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say it.
    drop(stop.wait_for(|stop| *stop).await);
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_LIMIT)
        .max_buf_size(HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES)
        .auto_date_header(false)
        .max_concurrent_streams(u32::MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1);
    builder
}

async fn connection(
    socket: TcpStream,
    tls: Option<Arc<Tls>>,
    http: Builder<TokioExecutor>,
    serves: Serves,
    stop: watch::Receiver<bool>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        // The client is gone already.
        tracing::debug!(%error, "set nodelay");
        return;
    }
    let Some(tls) = tls else { return talk(socket, http, serves, stop).await };
    let handshake = TlsAcceptor::from(tls.config()).accept(socket);
    match timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(Ok(socket)) => talk(socket, http, serves, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "tls handshake failed"),
        Err(_) => tracing::debug!("tls handshake took too long"),
    }
}

async fn talk<S>(
    socket: S,
    http: Builder<TokioExecutor>,
    serves: Serves,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let api = match &serves {
        Serves::Clients(door) => Some(door.api().clone()),
        Serves::Peers(_) | Serves::Pages(_) => None,
    };
    if let Some(api) = &api {
        api.metrics().connections.up();
    }
    let service = service_fn(move |request| {
        let serves = serves.clone();
        async move { Ok::<_, Infallible>(answer(&serves, request).await) }
    });
    let connection = http.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "connection ended");
    }
    if let Some(api) = api {
        api.metrics().connections.down();
    }
}

async fn answer(serves: &Serves, request: Request<Incoming>) -> Response<Body> {
    match serves {
        Serves::Clients(door) => door.answer(request).await,
        Serves::Peers(peers) => door::call(&**peers, request).await,
        Serves::Pages(api) => pages::answer(api, &request).await,
    }
}
