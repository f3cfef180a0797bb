//! The members as their clients see them: connections, and the questions that the judge asks.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use kstore_proto::etcdserverpb as etcd;
use kstore_proto::etcdserverpb::kv_client::KvClient;
use kstore_proto::etcdserverpb::lease_client::LeaseClient;
use kstore_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use kstore_proto::etcdserverpb::watch_client::WatchClient;
use kstore_proto::mvccpb::KeyValue;
use kstore_proto::mvccpb::event::EventType;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// No answer to these questions is longer; the default of four megabytes is too little.
const ANSWER_MAX: usize = 1 << 30;

/// How long a question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// One connection to each member, made when it is needed and again when it broke.
#[derive(Debug)]
pub(super) struct Members {
    channels: Vec<Channel>,
}

/// Which state a read must see.
#[derive(Debug, Clone, Copy)]
pub(super) enum Read {
    /// All that was acknowledged before.
    Linearizable,
    /// What the member itself has.
    Serializable,
}

/// What a member says about the cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) term: u64,
    /// Whether it is the leader, by its own account.
    pub(super) leads: bool,
}

/// A hash of the whole history up to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct History {
    hash: u32,
    compacted: i64,
}

impl Members {
    /// Connects to each of `endpoints`, which are URLs.
    pub(super) fn connect(endpoints: &[String]) -> Self {
        let channel = |url: &String| {
            let endpoint = Endpoint::from_shared(url.clone()).expect("Servers wrote the URL");
            endpoint.connect_timeout(Duration::from_secs(1)).connect_lazy()
        };
        Self { channels: endpoints.iter().map(channel).collect() }
    }

    pub(super) fn count(&self) -> usize {
        self.channels.len()
    }

    pub(super) fn channel(&self, member: usize) -> Channel {
        self.channels[member].clone()
    }

    pub(super) async fn view(&self, member: usize) -> Result<View, Status> {
        let mut client = MaintenanceClient::new(self.channel(member));
        let status = within(client.status(etcd::StatusRequest {})).await?;
        let own = status.header.map_or(0, |header| header.member_id);
        Ok(View { term: status.raft_term, leads: own != 0 && status.leader == own })
    }

    /// All keys, and the revision that they were read at.
    pub(super) async fn keys(
        &self,
        member: usize,
        read: Read,
    ) -> Result<(i64, Vec<KeyValue>), Status> {
        let answer = self.range(member, read, 0).await?;
        Ok((revision(answer.header.as_ref()), answer.kvs))
    }

    /// The revision that a read is answered at.
    pub(super) async fn revision(&self, member: usize, read: Read) -> Result<i64, Status> {
        let answer = self.range(member, read, 1).await?;
        Ok(revision(answer.header.as_ref()))
    }

    async fn range(
        &self,
        member: usize,
        read: Read,
        limit: i64,
    ) -> Result<etcd::RangeResponse, Status> {
        let request = etcd::RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            limit,
            serializable: matches!(read, Read::Serializable),
            ..etcd::RangeRequest::default()
        };
        within(kv(self.channel(member)).range(request)).await
    }

    /// The leases that the member knows.
    pub(super) async fn leases(&self, member: usize) -> Result<Vec<i64>, Status> {
        let mut client = lease(self.channel(member));
        let answer = within(client.lease_leases(etcd::LeaseLeasesRequest {})).await?;
        Ok(answer.leases.iter().map(|lease| lease.id).collect())
    }

    /// The hash of the history up to `revision`.
    pub(super) async fn history_hash(
        &self,
        member: usize,
        revision: i64,
    ) -> Result<History, Status> {
        let mut client = MaintenanceClient::new(self.channel(member));
        let answer = within(client.hash_kv(etcd::HashKvRequest { revision })).await?;
        Ok(History { hash: answer.hash, compacted: answer.compact_revision })
    }

    /// What each revision from `first` to `last` at least has put, from a watch on the member.
    pub(super) async fn history(
        &self,
        member: usize,
        first: i64,
        last: i64,
    ) -> Result<Vec<KeyValue>, Status> {
        let create = etcd::WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: first,
            ..etcd::WatchCreateRequest::default()
        };
        let create = etcd::watch_request::RequestUnion::CreateRequest(create);
        let request = etcd::WatchRequest { request_union: Some(create) };
        let requests = stream::iter([request]).chain(stream::pending());
        let mut client =
            WatchClient::new(self.channel(member)).max_decoding_message_size(ANSWER_MAX);
        let mut answers = within(client.watch(requests)).await?;
        let mut events = Vec::new();
        let mut reached = first - 1;
        while reached < last {
            let answer = tokio::time::timeout(ANSWER_WITHIN, answers.message()).await;
            let answer = answer.map_err(|_| Status::deadline_exceeded("no events"))??;
            let answer = answer.ok_or_else(|| Status::aborted("the watch ended"))?;
            if answer.canceled {
                return Err(Status::aborted(answer.cancel_reason));
            }
            for event in answer.events {
                if event.r#type() != EventType::Put {
                    return Err(Status::data_loss("an event that is no put"));
                }
                let kv = event.kv.ok_or_else(|| Status::data_loss("an event of no key"))?;
                reached = kv.mod_revision;
                events.push(kv);
            }
        }
        Ok(events)
    }
}

pub(super) fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(ANSWER_MAX)
}

pub(super) fn lease(channel: Channel) -> LeaseClient<Channel> {
    LeaseClient::new(channel).max_decoding_message_size(ANSWER_MAX)
}

/// The revision of an answer; every answer has one.
pub(super) fn revision(header: Option<&etcd::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

async fn within<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(ANSWER_WITHIN, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}
