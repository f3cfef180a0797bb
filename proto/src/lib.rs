//! The wire: messages, clients and servers generated from the `.proto` files of this crate.
//!
//! ```text
//!   proto/kv.proto  auth.proto  rpc.proto  v3lock.proto  v3election.proto  health.proto   peer.proto
//!        │             │           │            │              │               │              │
//!      mvccpb        authpb   etcdserverpb   v3lockpb     v3electionpb       health          peer
//!        └─────────────┴───── etcd's names and numbers ────────┘         gRPC's own          ours
//! ```
//!
//! Each module is one protobuf package. For a service `X` there is `x_client::XClient` and
//! `x_server::{X, XServer}`. Every `bytes` field is a [`bytes::Bytes`]: a value that came in with
//! a request is shared, not copied, on its way to the log.
//!
//! Invariant: names, packages, field numbers and types of all modules but [`peer`] are those of the
//! public API; changing one breaks every client. The tests below nail some of them down by their
//! encoded bytes.
//!
//! Deliberately missing: etcd's peer protocol and its internal Raft messages (members here speak
//! [`peer`]), and reflection. Error texts are not here but with the services that say them.

pub mod codec;
pub mod failure;

/// Wraps generated code, whose style is not ours to judge.
macro_rules! generated {
    ($(#[$about:meta])* $module:ident, $package:literal) => {
        $(#[$about])*
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            clippy::restriction,
            reason = "generated code"
        )]
        pub mod $module {
            tonic::include_proto!($package);
        }
    };
}

generated!(
    /// Keys, values and events.
    mvccpb, "mvccpb"
);
generated!(
    /// Users, roles and permissions.
    authpb, "authpb"
);
generated!(
    /// The v3 client API: KV, Watch, Lease, Cluster, Maintenance and Auth.
    etcdserverpb, "etcdserverpb"
);
generated!(
    /// Server-side locks.
    v3lockpb, "v3lockpb"
);
generated!(
    /// Server-side elections.
    v3electionpb, "v3electionpb"
);
generated!(
    /// `grpc.health.v1`.
    health, "grpc.health.v1"
);
generated!(
    /// What members say to one another.
    peer, "kstore.peer.v1"
);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::{etcdserverpb as etcd, mvccpb, peer};

    #[test]
    fn a_key_value_is_encoded_with_the_public_numbers() {
        let kv = mvccpb::KeyValue {
            key: Bytes::from_static(b"k"),
            create_revision: 2,
            mod_revision: 3,
            version: 4,
            value: Bytes::from_static(b"v"),
            lease: 6,
        };
        assert_eq!(kv.encode_to_vec(), b"\x0a\x01k\x10\x02\x18\x03\x20\x04\x2a\x01v\x30\x06");
    }

    #[test]
    fn watch_events_are_field_eleven_and_compare_range_end_field_sixty_four() {
        let events = etcd::WatchResponse {
            events: vec![mvccpb::Event::default()],
            ..etcd::WatchResponse::default()
        };
        assert_eq!(events.encode_to_vec(), b"\x5a\x00");
        let compare =
            etcd::Compare { range_end: Bytes::from_static(b"z"), ..etcd::Compare::default() };
        assert_eq!(compare.encode_to_vec(), b"\x82\x04\x01z");
    }

    #[test]
    fn bytes_of_a_decoded_message_share_the_buffer_they_came_in() {
        let put = etcd::PutRequest {
            key: Bytes::from_static(b"key"),
            value: Bytes::from(vec![7; 1000]),
            ..etcd::PutRequest::default()
        };
        let wire = Bytes::from(put.encode_to_vec());
        let back = etcd::PutRequest::decode(wire.clone()).unwrap();
        let inside = wire.as_ptr_range().contains(&back.value.as_ptr());
        assert!(inside, "the value was copied");
        assert_eq!(back, put);
    }

    #[test]
    fn a_peer_call_has_ids_of_fixed_width() {
        let call = peer::CallRequest { cluster: 1, from: 2, to: 3, ..Default::default() };
        assert_eq!(call.encode_to_vec().len(), 27);
    }
}
