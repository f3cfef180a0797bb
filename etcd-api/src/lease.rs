//! The Lease service. Time is not replicated: how long a lease has left is the leader's to know,
//! and the member asks it wherever the request came in.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use kstore_machine::command::{self, Command};
use kstore_machine::{self as machine, Body};
use kstore_mvcc::LeaseId;
use kstore_proto::etcdserverpb::{self as etcd, lease_server::Lease};
use tonic::{Request, Response, Status, Streaming};

use crate::api::{Api, requires_leader};
use crate::convert::signed;
use crate::error;

/// The answers of one keep-alive stream.
pub(crate) type KeepAlives =
    Pin<Box<dyn Stream<Item = Result<etcd::LeaseKeepAliveResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Lease for Api {
    async fn lease_grant(
        &self,
        request: Request<etcd::LeaseGrantRequest>,
    ) -> Result<Response<etcd::LeaseGrantResponse>, Status> {
        let request = self.admit(request)?;
        self.check_room_for_lease()?;
        let grant = self.lease_to_grant(&request)?;
        let (header, reply) = self.propose(Command::LeaseGrant(grant)).await?;
        let Body::LeaseGrant { id, ttl } = reply.body else { return Err(error::reply_mismatch()) };
        let error = String::new();
        Ok(Response::new(etcd::LeaseGrantResponse { header, id: id.0, ttl, error }))
    }

    async fn lease_revoke(
        &self,
        request: Request<etcd::LeaseRevokeRequest>,
    ) -> Result<Response<etcd::LeaseRevokeResponse>, Status> {
        let request = self.admit(request)?;
        let command = Command::LeaseRevoke(command::LeaseRevoke { ids: vec![request.id] });
        let (header, _) = self.propose(command).await?;
        Ok(Response::new(etcd::LeaseRevokeResponse { header }))
    }

    type LeaseKeepAliveStream = KeepAlives;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<etcd::LeaseKeepAliveRequest>>,
    ) -> Result<Response<KeepAlives>, Status> {
        let wants_leader = requires_leader(request.metadata());
        let answers = keep_alives(self.clone(), self.admit(request)?);
        if !wants_leader {
            return Ok(Response::new(Box::pin(answers)));
        }
        let mut lost = self.pulse().lost_leader();
        let lost = stream::once(async move {
            // The sender lives as long as the API, which this stream holds.
            drop(lost.changed().await);
            Err(error::NO_LEADER.into())
        });
        Ok(Response::new(Box::pin(until_error(stream::select(answers, lost)))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<etcd::LeaseTimeToLiveRequest>,
    ) -> Result<Response<etcd::LeaseTimeToLiveResponse>, Status> {
        let request = self.admit(request)?;
        let lease = LeaseId(request.id);
        let times = self.member().lease_times(lease).await.map_err(error::unavailable)?;
        let mut response = etcd::LeaseTimeToLiveResponse {
            header: Some(self.header_now()),
            id: request.id,
            ttl: -1,
            granted_ttl: 0,
            keys: Vec::new(),
        };
        if let Some(times) = times {
            response.ttl = times.remaining;
            response.granted_ttl = signed(times.granted);
            if request.keys {
                // The times are the leader's; the keys must not be older than they are.
                self.read_barrier().await?;
                response.header = Some(self.header_now());
                response.keys = self.lease_keys(lease).await?;
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<etcd::LeaseLeasesRequest>,
    ) -> Result<Response<etcd::LeaseLeasesResponse>, Status> {
        let etcd::LeaseLeasesRequest {} = self.admit(request)?;
        let snapshot = self.member().snapshot();
        let header = Some(self.header(snapshot.revision(), self.pulse().term()));
        let leases = self
            .member()
            .read_as_job(snapshot, machine::lease::all)
            .await
            .map_err(|why| error::read_failure(&why))?;
        let leases = leases.into_iter().map(|lease| etcd::LeaseStatus { id: lease.id.0 }).collect();
        Ok(Response::new(etcd::LeaseLeasesResponse { header, leases }))
    }
}

impl Api {
    /// The command for a client's wish: whatever the client left open is chosen here, so that
    /// every member applies the same.
    fn lease_to_grant(
        &self,
        request: &etcd::LeaseGrantRequest,
    ) -> Result<command::LeaseGrant, Status> {
        if request.ttl > machine::lease::TTL_MAX {
            return Err(error::LEASE_TTL_TOO_LARGE.into());
        }
        let ttl = request.ttl.max(self.settings().min_lease_ttl());
        let mut id = request.id;
        while id == 0 {
            let random = self.member().random_u64() >> 1;
            id = i64::try_from(random).expect("the highest bit was shifted out");
        }
        Ok(command::LeaseGrant { id, ttl })
    }

    async fn lease_keys(&self, lease: LeaseId) -> Result<Vec<bytes::Bytes>, Status> {
        let snapshot = self.member().snapshot();
        self.member()
            .read_as_job(snapshot, move |snapshot, access| {
                machine::lease::keys(snapshot, lease, access)
            })
            .await
            .map_err(|why| error::read_failure(&why))
    }

    /// Renews one lease; an unknown one is answered with no time left.
    async fn keep_alive(&self, id: i64) -> Result<etcd::LeaseKeepAliveResponse, Status> {
        let renewed = self.member().keep_alive(LeaseId(id)).await.map_err(error::unavailable)?;
        let ttl = renewed.map_or(0, signed);
        Ok(etcd::LeaseKeepAliveResponse { header: Some(self.header_now()), id, ttl })
    }
}

/// Answers a client's renewals one after the other, in their order.
fn keep_alives(
    api: Api,
    requests: Streaming<etcd::LeaseKeepAliveRequest>,
) -> impl Stream<Item = Result<etcd::LeaseKeepAliveResponse, Status>> + Send {
    let answers = requests.then(move |request| {
        let api = api.clone();
        async move { api.keep_alive(request?.id).await }
    });
    until_error(answers)
}

/// The stream up to and with its first error.
fn until_error<T: Send>(
    stream: impl Stream<Item = Result<T, Status>> + Send,
) -> impl Stream<Item = Result<T, Status>> + Send {
    stream.scan(false, |failed, item| {
        let ended = *failed;
        *failed = item.is_err();
        std::future::ready(if ended { None } else { Some(item) })
    })
}
