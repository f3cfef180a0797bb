//! The Maintenance service: how this member is, hashes, alarms, images, and who leads.

use std::pin::Pin;

use bytes::BytesMut;
use futures_util::{Stream, stream};
use kstore_machine::command::{self, AlarmKind, Command};
use kstore_machine::{self as machine, Body, RaisedAlarm};
use kstore_proto::etcdserverpb::{
    self as etcd, alarm_request::AlarmAction, downgrade_request::DowngradeAction,
    maintenance_server::Maintenance,
};
use kstore_raft::{ImageStream, MemberId, Role};
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::convert::{self, signed};
use crate::pulse::working_leader;
use crate::{error, version};

/// How much of an image one message holds (etcd's number).
const BLOB_BYTES: usize = 32 * 1024;

/// The digest at the end of an image.
const DIGEST_BYTES: usize = 32;

/// The parts of one image.
pub(crate) type SnapshotStream =
    Pin<Box<dyn Stream<Item = Result<etcd::SnapshotResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Maintenance for Api {
    async fn alarm(
        &self,
        request: Request<etcd::AlarmRequest>,
    ) -> Result<Response<etcd::AlarmResponse>, Status> {
        let request = self.admit(request)?;
        let action = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Activate) => command::AlarmAction::Activate,
            Ok(AlarmAction::Deactivate) => command::AlarmAction::Deactivate,
            Ok(AlarmAction::Get) | Err(_) => {
                let alarms = alarm_members(self.alarms().await?);
                return Ok(Response::new(etcd::AlarmResponse {
                    header: Some(self.header_now()),
                    alarms,
                }));
            }
        };
        let command = Command::Alarm(command::Alarm {
            action: action.into(),
            member: request.member_id,
            alarm: request.alarm,
        });
        let (header, reply) = self.propose(command).await?;
        let Body::Alarm { alarms } = reply.body else { return Err(error::reply_mismatch()) };
        Ok(Response::new(etcd::AlarmResponse { header, alarms: alarm_members(alarms) }))
    }

    async fn status(
        &self,
        request: Request<etcd::StatusRequest>,
    ) -> Result<Response<etcd::StatusResponse>, Status> {
        let etcd::StatusRequest {} = self.admit(request)?;
        let status = self.member().status();
        let mut errors = Vec::new();
        let leader = working_leader(&status);
        if leader.is_none() {
            errors.push(error::NO_LEADER.text().to_owned());
        }
        for alarm in self.alarms().await? {
            let name = alarm_type(alarm).as_str_name();
            errors.push(format!("memberID:{} alarm:{name} ", alarm.member));
        }
        Ok(Response::new(etcd::StatusResponse {
            header: Some(self.header(status.revision, status.term)),
            version: version::SERVER.to_owned(),
            db_size: signed(status.store_bytes),
            leader: leader.map_or(0, |leader| leader.0),
            raft_index: status.committed_index.map_or(0, |index| index.0),
            raft_term: status.term.0,
            raft_applied_index: status.applied_index.map_or(0, |index| index.0),
            errors,
            db_size_in_use: signed(status.store_bytes_in_use),
            is_learner: status.role == Role::Learner,
            storage_version: version::STORAGE.to_owned(),
            db_size_quota: self.settings().quota_bytes.map_or(0, signed),
            downgrade_info: Some(etcd::DowngradeInfo::default()),
        }))
    }

    async fn defragment(
        &self,
        request: Request<etcd::DefragmentRequest>,
    ) -> Result<Response<etcd::DefragmentResponse>, Status> {
        // The store gives space back while it serves: there is nothing to do, and it is done.
        let etcd::DefragmentRequest {} = self.admit(request)?;
        Ok(Response::new(etcd::DefragmentResponse { header: None }))
    }

    async fn hash(
        &self,
        request: Request<etcd::HashRequest>,
    ) -> Result<Response<etcd::HashResponse>, Status> {
        let etcd::HashRequest {} = self.admit(request)?;
        let (header, hash) = self.hash_at(0).await?;
        Ok(Response::new(etcd::HashResponse { header: Some(header), hash: hash.hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<etcd::HashKvRequest>,
    ) -> Result<Response<etcd::HashKvResponse>, Status> {
        let request = self.admit(request)?;
        let (header, hash) = self.hash_at(request.revision).await?;
        Ok(Response::new(etcd::HashKvResponse { header: Some(header), ..hash }))
    }

    type SnapshotStream = SnapshotStream;

    async fn snapshot(
        &self,
        request: Request<etcd::SnapshotRequest>,
    ) -> Result<Response<SnapshotStream>, Status> {
        let etcd::SnapshotRequest {} = self.admit(request)?;
        let image = self.member().image().await;
        let image = image.map_err(|why| Status::unavailable(format!("etcdserver: {why}")))?;
        Ok(Response::new(blobs(self.header_now(), image)))
    }

    async fn move_leader(
        &self,
        request: Request<etcd::MoveLeaderRequest>,
    ) -> Result<Response<etcd::MoveLeaderResponse>, Status> {
        let request = self.admit(request)?;
        let target = MemberId(request.target_id);
        self.member().move_leader(target).await.map_err(error::move_leader)?;
        Ok(Response::new(etcd::MoveLeaderResponse { header: None }))
    }

    async fn downgrade(
        &self,
        request: Request<etcd::DowngradeRequest>,
    ) -> Result<Response<etcd::DowngradeResponse>, Status> {
        let request = self.admit(request)?;
        if DowngradeAction::try_from(request.action) == Ok(DowngradeAction::Cancel) {
            // Calling off what is not under way is no error.
            return Ok(Response::new(etcd::DowngradeResponse {
                header: Some(self.header_now()),
                version: version::CLUSTER.to_owned(),
            }));
        }
        if !is_version(&request.version) {
            return Err(error::WRONG_DOWNGRADE_FORMAT.into());
        }
        Err(error::INVALID_DOWNGRADE_TARGET.into())
    }
}

impl Api {
    /// The alarms that are up, as this member knows them.
    pub(crate) async fn alarms(&self) -> Result<Vec<RaisedAlarm>, Status> {
        let snapshot = self.member().snapshot();
        let alarms = self.member().read(snapshot, machine::cluster::alarms).await;
        alarms.map_err(|why| error::read_failure(&why))
    }

    async fn hash_at(
        &self,
        revision: i64,
    ) -> Result<(etcd::ResponseHeader, etcd::HashKvResponse), Status> {
        let snapshot = self.member().snapshot();
        let header = self.header(snapshot.revision(), self.pulse().term());
        let at = convert::revision(revision);
        let hash_revision = signed(at.unwrap_or(snapshot.revision()).0);
        let compact_revision = signed(snapshot.compacted().0);
        let hash = self
            .member()
            .read_as_job(snapshot, move |snapshot, _| snapshot.hash_kv(at))
            .await
            .map_err(|why| error::read_failure(&why))?;
        let response = etcd::HashKvResponse { header: None, hash, compact_revision, hash_revision };
        Ok((header, response))
    }
}

fn alarm_type(alarm: RaisedAlarm) -> etcd::AlarmType {
    match alarm.alarm {
        AlarmKind::None => etcd::AlarmType::None,
        AlarmKind::NoSpace => etcd::AlarmType::Nospace,
        AlarmKind::Corrupt => etcd::AlarmType::Corrupt,
    }
}

fn alarm_members(alarms: Vec<RaisedAlarm>) -> Vec<etcd::AlarmMember> {
    let each = alarms.into_iter().map(|alarm| etcd::AlarmMember {
        member_id: alarm.member,
        alarm: alarm_type(alarm).into(),
    });
    each.collect()
}

/// `3.5` or `3.5.0`.
fn is_version(text: &str) -> bool {
    let parts = text.split('.').count();
    (2..=3).contains(&parts) && text.split('.').all(|part| part.parse::<u32>().is_ok())
}

/// What is left of an image to send.
struct Blobs {
    header: etcd::ResponseHeader,
    image: ImageStream,
    /// Bytes that came out of the image and were not sent yet; less than a blob and a piece.
    waiting: BytesMut,
    /// Bytes of the image that were not sent yet, without its digest.
    remaining: u64,
}

/// The image in messages of equal size, and after them its digest in a message of its own: that
/// is where clients look for it.
fn blobs(header: etcd::ResponseHeader, image: ImageStream) -> SnapshotStream {
    let remaining = image.total.saturating_sub(DIGEST_BYTES as u64);
    let blobs = Blobs { header, remaining, image, waiting: BytesMut::new() };
    Box::pin(stream::unfold(Some(blobs), |blobs| async {
        let mut blobs = blobs?;
        match blobs.next().await {
            Ok(message) if message.blob.is_empty() => None,
            Ok(message) => Some((Ok(message), Some(blobs))),
            Err(status) => Some((Err(status), None)),
        }
    }))
}

impl Blobs {
    async fn next(&mut self) -> Result<etcd::SnapshotResponse, Status> {
        let wanted = match self.remaining {
            0 => DIGEST_BYTES,
            rest => usize::try_from(rest).unwrap_or(BLOB_BYTES).min(BLOB_BYTES),
        };
        while self.waiting.len() < wanted {
            match self.image.next().await {
                Some(Ok(piece)) => self.waiting.extend_from_slice(&piece),
                Some(Err(why)) => {
                    return Err(Status::unknown(format!("etcdserver: read image: {why}")));
                }
                None => break,
            }
        }
        let blob = self.waiting.split_to(self.waiting.len().min(wanted)).freeze();
        self.remaining = self.remaining.saturating_sub(blob.len() as u64);
        Ok(etcd::SnapshotResponse {
            header: Some(self.header),
            remaining_bytes: self.remaining,
            blob,
            version: version::STORAGE.to_owned(),
        })
    }
}
