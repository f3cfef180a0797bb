//! The connection of one run of the command line: endpoints, retries, time limits, login.
//!
//! ```text
//!   command ─ call(request, rpc) ─► endpoint 1 ──► cannot be reached ─► endpoint 2 ──► answer
//!                                       └─ refused by the API ─► failure
//! ```
//!
//! Connections are made when they are first used. A request goes to the endpoint that worked last.
//! When that one cannot be reached, the next is tried, round after round with a pause between,
//! until the command's time is over.
//!
//! Invariant: a request that changes something is sent again only if it never left this process;
//! one that only reads, also if the server says that it is unavailable.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kstore_proto::etcdserverpb::AuthenticateRequest;
use kstore_proto::etcdserverpb::auth_client::AuthClient;
use kstore_proto::etcdserverpb::cluster_client::ClusterClient;
use kstore_proto::etcdserverpb::kv_client::KvClient;
use kstore_proto::etcdserverpb::lease_client::LeaseClient;
use kstore_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use kstore_proto::etcdserverpb::watch_client::WatchClient;
use kstore_proto::failure::{is_interrupted, never_sent};
use kstore_proto::v3electionpb::election_client::ElectionClient;
use kstore_proto::v3lockpb::lock_client::LockClient;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use super::failure::{Exit, Failure};
use super::output::{Json, complain};
use super::settings::Settings;
use super::tls;

/// The pause after every endpoint was tried in vain.
const PAUSE: Duration = Duration::from_millis(50);

/// Servers cut clients that ping more often than every five seconds.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(10);

/// What may be done with a request whose fate is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing: send it again.
    Reads,
    /// It may have been done: tell the user.
    Changes,
}

/// Until when a command may go on. `None`: as long as it takes.
pub(crate) type Deadline = Option<Instant>;

/// The endpoints and how to use them.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) settings: Settings,
    /// One for each endpoint; at least one.
    wires: Vec<Wire>,
    /// Index into `wires` of the endpoint that worked last.
    preferred: AtomicUsize,
    login: Login,
}

impl Session {
    /// Reads certificates, takes endpoints apart, logs in if a user was named.
    pub(crate) async fn open(settings: Settings) -> Result<Self, Failure> {
        let login = Login::default();
        let wire = |address: &String| Wire::new(address, &settings, &login);
        let wires: Vec<Wire> = settings.endpoints.iter().map(wire).collect::<Result<_, _>>()?;
        let session = Self { settings, wires, preferred: AtomicUsize::new(0), login };
        session.authenticate().await?;
        Ok(session)
    }

    /// The same session with other endpoints.
    pub(crate) async fn at(&self, endpoint: &str) -> Result<Self, Failure> {
        let endpoints = vec![endpoint.to_owned()];
        Self::open(Settings { endpoints, ..self.settings.clone() }).await
    }

    /// The end of a short command that begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Some(Instant::now() + self.settings.command_timeout)
    }

    /// Asks something that changes nothing.
    pub(crate) async fn read<Q: Clone, A>(
        &self,
        request: Q,
        rpc: impl AsyncFn(Wire, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.call(self.deadline(), Effect::Reads, request, rpc).await
    }

    /// Asks for a change.
    pub(crate) async fn write<Q: Clone, A>(
        &self,
        request: Q,
        rpc: impl AsyncFn(Wire, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.call(self.deadline(), Effect::Changes, request, rpc).await
    }

    /// Sends a request to whichever endpoint answers.
    pub(crate) async fn call<Q: Clone, A>(
        &self,
        deadline: Deadline,
        effect: Effect,
        request: Q,
        rpc: impl AsyncFn(Wire, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let mut trouble = None;
        let outcome = self.attempts(deadline, effect, request, rpc, &mut trouble).await;
        if let (Err(failure), Some(trouble)) = (&outcome, trouble)
            && *failure == Failure::late()
        {
            // Why the time was not enough; a log line, since no program waits for it.
            let why = Json::whole([("level", "warn".into()), ("msg", trouble.as_str().into())]);
            complain(&format!("{why}\n"));
        }
        outcome
    }

    /// Sends a request again and again. `trouble` is what the last attempt met with.
    async fn attempts<Q: Clone, A>(
        &self,
        deadline: Deadline,
        effect: Effect,
        request: Q,
        rpc: impl AsyncFn(Wire, Q) -> Result<Response<A>, Status>,
        trouble: &mut Option<String>,
    ) -> Result<A, Failure> {
        let mut logged_in_again = false;
        let mut tried = 0;
        // Bounded by the deadline; without one, by the user's patience.
        loop {
            let index = self.preferred.load(Ordering::Relaxed) % self.wires.len();
            let answer = within(deadline, rpc(self.wires[index].clone(), request.clone())).await?;
            let status = match answer {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            if is_stale_login(&status) && self.settings.user.is_some() && !logged_in_again {
                logged_in_again = true;
                Box::pin(self.authenticate()).await?;
                continue;
            }
            let again = effect == Effect::Reads && is_interrupted(&status);
            if !again && !never_sent(&status) {
                return Err(status.into());
            }
            *trouble = Some(format!("{}: {}", self.settings.endpoints[index], root_cause(&status)));
            self.preferred.store(index + 1, Ordering::Relaxed);
            tried += 1;
            if tried % self.wires.len() == 0 {
                within(deadline, sleep(PAUSE)).await?;
            }
        }
    }

    /// Opens a stream at whichever endpoint can be reached.
    pub(crate) async fn stream<A>(
        &self,
        deadline: Deadline,
        rpc: impl AsyncFn(Wire, ()) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.call(deadline, Effect::Reads, (), rpc).await
    }

    /// Asks for a token, if there is a user. A server without authentication needs none.
    pub(crate) async fn authenticate(&self) -> Result<(), Failure> {
        let Some(user) = &self.settings.user else {
            return Ok(());
        };
        self.login.set(None);
        let request =
            AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
        let rpc = async |wire: Wire, request| wire.auth().authenticate(request).await;
        match Box::pin(self.call(self.deadline(), Effect::Reads, request, rpc)).await {
            Ok(answer) => {
                let token = answer.token.parse().map_err(|_| Failure::error("bad token"))?;
                self.login.set(Some(token));
                Ok(())
            }
            Err(failure) if failure.message == "etcdserver: authentication is not enabled" => {
                Ok(())
            }
            Err(failure) => Err(failure.exiting(Exit::BadConnection)),
        }
    }
}

/// Waits no longer than the deadline.
pub(crate) async fn within<T>(
    deadline: Deadline,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.map_err(|_| Failure::late()),
        None => Ok(work.await),
    }
}

/// What a status goes back to: the end of the chain tells most.
fn root_cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// Whether the token is one that the server does not know any more.
pub(crate) fn is_stale_login(status: &Status) -> bool {
    status.message() == "etcdserver: invalid auth token"
}

/// The token of the session, shared by all of its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    token: Arc<Mutex<Option<MetadataValue<Ascii>>>>,
}

impl Login {
    fn set(&self, token: Option<MetadataValue<Ascii>>) {
        let token = token.map(|mut token| {
            token.set_sensitive(true);
            token
        });
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

impl Interceptor for Login {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = token {
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }
}

type Carrier = InterceptedService<Channel, Login>;

/// One endpoint, for every service that it has.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    carrier: Carrier,
    sends_at_most: usize,
    takes_at_most: usize,
}

/// The client of a service, with the session's limits on messages.
macro_rules! service {
    ($(#[$about:meta])* $name:ident, $client:ident) => {
        $(#[$about])*
        pub(crate) fn $name(&self) -> $client<Carrier> {
            $client::new(self.carrier.clone())
                .max_encoding_message_size(self.sends_at_most)
                .max_decoding_message_size(self.takes_at_most)
        }
    };
}

impl Wire {
    service!(
        /// Keys and values.
        kv, KvClient
    );
    service!(
        /// Watches.
        watch, WatchClient
    );
    service!(
        /// Leases.
        lease, LeaseClient
    );
    service!(
        /// Members.
        cluster, ClusterClient
    );
    service!(
        /// Upkeep.
        maintenance, MaintenanceClient
    );
    service!(
        /// Users and roles.
        auth, AuthClient
    );
    service!(
        /// Locks.
        lock, LockClient
    );
    service!(
        /// Elections.
        election, ElectionClient
    );

    fn new(address: &str, settings: &Settings, login: &Login) -> Result<Self, Failure> {
        let (uri, encrypted) = uri(address, settings.tls.always)?;
        let bad = |error| Failure::arguments(format!("bad endpoint {address}: {error}"));
        let endpoint = Endpoint::from_shared(uri).map_err(bad)?;
        let endpoint = if encrypted { tls::secure(endpoint, &settings.tls)? } else { endpoint };
        let channel = endpoint
            .connect_timeout(settings.dial_timeout)
            .http2_keep_alive_interval(settings.keepalive_time.max(SHORTEST_KEEPALIVE))
            .keep_alive_timeout(settings.keepalive_timeout)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Self {
            carrier: InterceptedService::new(channel, login.clone()),
            sends_at_most: settings.max_request_bytes,
            takes_at_most: settings.max_receive_bytes,
        })
    }
}

/// The address as a URI, and whether the connection is encrypted. The scheme decides; without one,
/// the settings do.
fn uri(address: &str, secure: bool) -> Result<(String, bool), Failure> {
    if address.starts_with("unix:") {
        return Ok((address.to_owned(), false));
    }
    match address.split_once("://") {
        Some(("http", _)) => Ok((address.to_owned(), false)),
        Some(("https", _)) => Ok((address.to_owned(), true)),
        Some((scheme, _)) => {
            Err(Failure::arguments(format!("bad endpoint {address}: unknown scheme {scheme}")))
        }
        None if secure => Ok((format!("https://{address}"), true)),
        None => Ok((format!("http://{address}"), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_an_endpoint_decides_about_tls() {
        let of = |address, secure| uri(address, secure).unwrap();
        assert_eq!(of("a:1", false), ("http://a:1".to_owned(), false));
        assert_eq!(of("a:1", true), ("https://a:1".to_owned(), true));
        assert_eq!(of("http://a:1", true), ("http://a:1".to_owned(), false));
        assert_eq!(of("https://a:1", false), ("https://a:1".to_owned(), true));
        assert!(uri("ftp://a:1", false).is_err());
    }
}
