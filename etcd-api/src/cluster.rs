//! The Cluster service: who the members are. Changing that comes with membership changes of a
//! running cluster; until then it is refused in so many words.

use kstore_proto::etcdserverpb::{self as etcd, cluster_server::Cluster};
use kstore_raft::MemberInfo;
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::error;

#[tonic::async_trait]
impl Cluster for Api {
    async fn member_add(
        &self,
        _request: Request<etcd::MemberAddRequest>,
    ) -> Result<Response<etcd::MemberAddResponse>, Status> {
        Err(error::MEMBERSHIP_UNSUPPORTED.into())
    }

    async fn member_remove(
        &self,
        _request: Request<etcd::MemberRemoveRequest>,
    ) -> Result<Response<etcd::MemberRemoveResponse>, Status> {
        Err(error::MEMBERSHIP_UNSUPPORTED.into())
    }

    async fn member_update(
        &self,
        _request: Request<etcd::MemberUpdateRequest>,
    ) -> Result<Response<etcd::MemberUpdateResponse>, Status> {
        Err(error::MEMBERSHIP_UNSUPPORTED.into())
    }

    async fn member_list(
        &self,
        request: Request<etcd::MemberListRequest>,
    ) -> Result<Response<etcd::MemberListResponse>, Status> {
        let request = self.admit(request)?;
        if request.linearizable {
            self.read_barrier().await?;
        }
        // Headers of this service carry no revision: membership has none.
        let header = etcd::ResponseHeader { revision: 0, ..self.header_now() };
        let members = self.member().members().into_iter().map(member).collect();
        Ok(Response::new(etcd::MemberListResponse { header: Some(header), members }))
    }

    async fn member_promote(
        &self,
        _request: Request<etcd::MemberPromoteRequest>,
    ) -> Result<Response<etcd::MemberPromoteResponse>, Status> {
        Err(error::MEMBERSHIP_UNSUPPORTED.into())
    }
}

fn member(info: MemberInfo) -> etcd::Member {
    etcd::Member {
        id: info.id.0,
        name: info.name,
        peer_ur_ls: info.peer_urls,
        client_ur_ls: info.client_urls,
        is_learner: info.is_learner,
    }
}
