//! The peers' network, over simulated links: requests are encoded, delayed, lost and decoded as
//! they would be over TCP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kstore_proto::peer::{CallRequest, CallResponse};
use kstore_raft::peer::{Channel, PeerError, PeerNet};
use kstore_raft::{BoxFuture, Member, PeerAddress};
use kstore_testkit::sim::{CallError, Channel as LinkChannel, SimNet};
use prost::Message;

/// One member's way to the others.
pub(super) struct SimPeerNet {
    pub(super) net: SimNet,
    pub(super) from: u64,
    /// Which member listens at which URL.
    pub(super) numbers: Arc<BTreeMap<String, u64>>,
}

fn link(channel: Channel) -> LinkChannel {
    LinkChannel(match channel {
        Channel::Append => 0,
        Channel::Heartbeat => 1,
        Channel::Image => 2,
        Channel::Forward => 3,
    })
}

impl PeerNet for SimPeerNet {
    fn call(
        &self,
        address: &PeerAddress,
        channel: Channel,
        request: CallRequest,
        limit: Duration,
    ) -> BoxFuture<'static, Result<CallResponse, PeerError>> {
        let to = address.urls.first().and_then(|url| self.numbers.get(url)).copied();
        let (net, from) = (self.net.clone(), self.from);
        Box::pin(async move {
            let to = to.ok_or_else(|| PeerError::Unreachable("nobody listens there".to_owned()))?;
            let bytes = Bytes::from(request.encode_to_vec());
            match net.call(from, to, link(channel), bytes, limit).await {
                Ok(answer) => CallResponse::decode(answer)
                    .map_err(|error| PeerError::Refused(error.to_string())),
                Err(CallError::Refused) => Err(PeerError::Unreachable("refused".to_owned())),
                Err(CallError::TimedOut | CallError::Reset) => Err(PeerError::TimedOut),
            }
        })
    }
}

/// Lets `member`, which is number `number`, answer its peers.
pub(super) fn serve(net: &SimNet, number: u64, member: Member) {
    let handler = move |_from: u64, _channel: LinkChannel, bytes: Bytes| {
        let member = member.clone();
        let answer: BoxFuture<'static, Bytes> = Box::pin(async move {
            let response = match CallRequest::decode(bytes) {
                Ok(request) => member.serve_peer(request).await,
                Err(error) => {
                    CallResponse { refusal: error.to_string(), ..CallResponse::default() }
                }
            };
            response.encode_to_vec().into()
        });
        answer
    };
    net.serve(number, Arc::new(handler));
}
