//! Every method that is served, in one table: requests are routed by it and counted by it.

/// A service, and with it the code that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Kv,
    Watch,
    Lease,
    Cluster,
    Maintenance,
    Auth,
    Health,
}

/// How many messages go each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unary,
    ServerStream,
    BidiStream,
}

impl Kind {
    /// As metrics name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

/// One method.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    /// The path of its requests, which is its full name.
    pub(crate) path: &'static str,
    pub(crate) service: Service,
    pub(crate) kind: Kind,
}

impl Method {
    /// The service's name and the method's.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
        let path = self.path.strip_prefix('/').unwrap_or(self.path);
        path.split_once('/').unwrap_or((path, ""))
    }
}

const fn unary(service: Service, path: &'static str) -> Method {
    Method { path, service, kind: Kind::Unary }
}

const fn stream(service: Service, kind: Kind, path: &'static str) -> Method {
    Method { path, service, kind }
}

/// All methods, sorted by path.
pub(crate) const METHODS: [Method; 44] = [
    unary(Service::Auth, "/etcdserverpb.Auth/AuthDisable"),
    unary(Service::Auth, "/etcdserverpb.Auth/AuthEnable"),
    unary(Service::Auth, "/etcdserverpb.Auth/AuthStatus"),
    unary(Service::Auth, "/etcdserverpb.Auth/Authenticate"),
    unary(Service::Auth, "/etcdserverpb.Auth/RoleAdd"),
    unary(Service::Auth, "/etcdserverpb.Auth/RoleDelete"),
    unary(Service::Auth, "/etcdserverpb.Auth/RoleGet"),
    unary(Service::Auth, "/etcdserverpb.Auth/RoleGrantPermission"),
    unary(Service::Auth, "/etcdserverpb.Auth/RoleList"),
    unary(Service::Auth, "/etcdserverpb.Auth/RoleRevokePermission"),
    unary(Service::Auth, "/etcdserverpb.Auth/UserAdd"),
    unary(Service::Auth, "/etcdserverpb.Auth/UserChangePassword"),
    unary(Service::Auth, "/etcdserverpb.Auth/UserDelete"),
    unary(Service::Auth, "/etcdserverpb.Auth/UserGet"),
    unary(Service::Auth, "/etcdserverpb.Auth/UserGrantRole"),
    unary(Service::Auth, "/etcdserverpb.Auth/UserList"),
    unary(Service::Auth, "/etcdserverpb.Auth/UserRevokeRole"),
    unary(Service::Cluster, "/etcdserverpb.Cluster/MemberAdd"),
    unary(Service::Cluster, "/etcdserverpb.Cluster/MemberList"),
    unary(Service::Cluster, "/etcdserverpb.Cluster/MemberPromote"),
    unary(Service::Cluster, "/etcdserverpb.Cluster/MemberRemove"),
    unary(Service::Cluster, "/etcdserverpb.Cluster/MemberUpdate"),
    unary(Service::Kv, "/etcdserverpb.KV/Compact"),
    unary(Service::Kv, "/etcdserverpb.KV/DeleteRange"),
    unary(Service::Kv, "/etcdserverpb.KV/Put"),
    unary(Service::Kv, "/etcdserverpb.KV/Range"),
    stream(Service::Kv, Kind::ServerStream, "/etcdserverpb.KV/RangeStream"),
    unary(Service::Kv, "/etcdserverpb.KV/Txn"),
    unary(Service::Lease, "/etcdserverpb.Lease/LeaseGrant"),
    stream(Service::Lease, Kind::BidiStream, "/etcdserverpb.Lease/LeaseKeepAlive"),
    unary(Service::Lease, "/etcdserverpb.Lease/LeaseLeases"),
    unary(Service::Lease, "/etcdserverpb.Lease/LeaseRevoke"),
    unary(Service::Lease, "/etcdserverpb.Lease/LeaseTimeToLive"),
    unary(Service::Maintenance, "/etcdserverpb.Maintenance/Alarm"),
    unary(Service::Maintenance, "/etcdserverpb.Maintenance/Defragment"),
    unary(Service::Maintenance, "/etcdserverpb.Maintenance/Downgrade"),
    unary(Service::Maintenance, "/etcdserverpb.Maintenance/Hash"),
    unary(Service::Maintenance, "/etcdserverpb.Maintenance/HashKV"),
    unary(Service::Maintenance, "/etcdserverpb.Maintenance/MoveLeader"),
    stream(Service::Maintenance, Kind::ServerStream, "/etcdserverpb.Maintenance/Snapshot"),
    unary(Service::Maintenance, "/etcdserverpb.Maintenance/Status"),
    stream(Service::Watch, Kind::BidiStream, "/etcdserverpb.Watch/Watch"),
    unary(Service::Health, "/grpc.health.v1.Health/Check"),
    stream(Service::Health, Kind::ServerStream, "/grpc.health.v1.Health/Watch"),
];

/// The place of a method in [`METHODS`].
pub(crate) fn find(path: &str) -> Option<usize> {
    METHODS.binary_search_by(|method| method.path.cmp(path)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_method_is_found() {
        for (place, method) in METHODS.iter().enumerate() {
            assert_eq!(find(method.path), Some(place), "{}", method.path);
        }
        assert_eq!(find("/etcdserverpb.KV/Nothing"), None);
    }

    #[test]
    fn a_path_is_a_service_and_a_method() {
        let place = find("/etcdserverpb.KV/Put").unwrap();
        assert_eq!(METHODS[place].names(), ("etcdserverpb.KV", "Put"));
    }
}
