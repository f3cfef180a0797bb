//! Answers about members, endpoints, alarms and upkeep.

use std::time::Duration;

use kstore_proto::etcdserverpb::{
    AlarmResponse, AlarmType, DowngradeResponse, HashKvResponse, Member, MemberAddResponse,
    MemberListResponse, MemberPromoteResponse, MemberRemoveResponse, MemberUpdateResponse,
    MoveLeaderResponse, ResponseHeader, StatusResponse,
};
use prost::Message;

use super::kv::header;
use super::{Answer, Fields, Json, Page, Style, Table};
use crate::client::notation::{show_duration, show_size};

fn member(member: &Member) -> Json {
    Json::sparse([
        ("ID", member.id.into()),
        ("name", member.name.as_str().into()),
        ("peerURLs", (&member.peer_ur_ls).into()),
        ("clientURLs", (&member.client_ur_ls).into()),
        ("isLearner", member.is_learner.into()),
    ])
}

fn members(members: &[Member]) -> Json {
    Json::list(members.iter().map(member))
}

fn hex(id: u64) -> Json {
    Json::Text(format!("{id:x}"))
}

impl Answer for MemberListResponse {
    fn simple(&self, page: &mut Page) {
        for line in member_table(self).lines() {
            page.line(line);
        }
    }

    fn json(&self, style: Style) -> Option<Json> {
        if !style.hex {
            return Some(Json::sparse([
                ("header", header(self.header.as_ref())),
                ("members", members(&self.members)),
            ]));
        }
        let head = self.header.unwrap_or_default();
        let members = self.members.iter().map(|member| {
            Json::whole([
                ("ID", hex(member.id)),
                ("name", member.name.as_str().into()),
                ("peerURLs", Json::list_or_null(texts(&member.peer_ur_ls))),
                ("clientURLs", Json::list_or_null(texts(&member.client_ur_ls))),
            ])
        });
        let head = Json::whole([
            ("cluster_id", hex(head.cluster_id)),
            ("member_id", hex(head.member_id)),
            ("raft_term", head.raft_term.into()),
        ]);
        Some(Json::sparse([("header", head), ("members", Json::list(members))]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::headed(style, self.header.as_ref());
        for member in &self.members {
            fields.id("ID", member.id);
            fields.quoted("Name", &member.name);
            for url in &member.peer_ur_ls {
                fields.quoted("PeerURL", url);
            }
            for url in &member.client_ur_ls {
                fields.quoted("ClientURL", url);
            }
            fields.value("IsLearner", member.is_learner);
            fields.line("");
        }
        Some(fields)
    }

    fn table(&self) -> Option<Table> {
        Some(member_table(self))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

fn texts(texts: &[String]) -> impl Iterator<Item = Json> {
    texts.iter().map(|text| text.as_str().into())
}

fn member_table(list: &MemberListResponse) -> Table {
    let row = |member: &Member| {
        // A member that was added but has not started yet has no name.
        let status = if member.name.is_empty() { "unstarted" } else { "started" };
        vec![
            format!("{:x}", member.id),
            status.to_owned(),
            member.name.clone(),
            member.peer_ur_ls.join(","),
            member.client_ur_ls.join(","),
            member.is_learner.to_string(),
        ]
    };
    Table {
        headings: vec!["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"],
        rows: list.members.iter().map(row).collect(),
    }
}

/// A member that was added, and the name it will have.
#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) name: String,
    pub(crate) peer_urls: String,
    pub(crate) answer: MemberAddResponse,
}

impl Answer for Added {
    fn simple(&self, page: &mut Page) {
        let added = self.answer.member.clone().unwrap_or_default();
        let learner = if added.is_learner { " as learner " } else { " " };
        page.line(format!(
            "Member {:16x} added{learner}to cluster {:16x}",
            added.id,
            cluster(self.answer.header.as_ref())
        ));
        let cluster: Vec<String> = self
            .answer
            .members
            .iter()
            .flat_map(|member| {
                let name = if member.id == added.id { &self.name } else { &member.name };
                member.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
            })
            .collect();
        page.line("");
        page.line(format!("ETCD_NAME=\"{}\"", self.name));
        page.line(format!("ETCD_INITIAL_CLUSTER=\"{}\"", cluster.join(",")));
        page.line(format!("ETCD_INITIAL_ADVERTISE_PEER_URLS=\"{}\"", self.peer_urls));
        page.line("ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.answer.header.as_ref())),
            ("member", self.answer.member.as_ref().map(member).into()),
            ("members", members(&self.answer.members)),
        ]))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

fn cluster(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| header.cluster_id)
}

/// A change of a member that was there already: all such answers look alike.
#[derive(Debug)]
pub(crate) struct Changed {
    id: u64,
    /// `removed from`, `updated in`, `promoted in`.
    how: &'static str,
    header: Option<ResponseHeader>,
    members: Vec<Member>,
    encoded: Vec<u8>,
}

impl Changed {
    pub(crate) fn removed(id: u64, answer: MemberRemoveResponse) -> Self {
        let encoded = answer.encode_to_vec();
        Self { id, how: "removed from", header: answer.header, members: answer.members, encoded }
    }

    pub(crate) fn updated(id: u64, answer: MemberUpdateResponse) -> Self {
        let encoded = answer.encode_to_vec();
        Self { id, how: "updated in", header: answer.header, members: answer.members, encoded }
    }

    pub(crate) fn promoted(id: u64, answer: MemberPromoteResponse) -> Self {
        let encoded = answer.encode_to_vec();
        Self { id, how: "promoted in", header: answer.header, members: answer.members, encoded }
    }
}

impl Answer for Changed {
    fn simple(&self, page: &mut Page) {
        let cluster = cluster(self.header.as_ref());
        page.line(format!("Member {:16x} {} cluster {cluster:16x}", self.id, self.how));
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("members", members(&self.members)),
        ]))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encoded.clone())
    }
}

/// Whether one endpoint answered.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) endpoint: String,
    pub(crate) took: Duration,
    /// Empty: it is well.
    pub(crate) error: String,
}

impl Answer for Vec<Health> {
    fn simple(&self, page: &mut Page) {
        for health in self {
            let endpoint = &health.endpoint;
            if health.error.is_empty() {
                let took = show_duration(health.took);
                page.line(format!(
                    "{endpoint} is healthy: successfully committed proposal: took = {took}"
                ));
            } else {
                let error = &health.error;
                page.complaints +=
                    &format!("{endpoint} is unhealthy: failed to commit proposal: {error}\n");
            }
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::list_or_null(self.iter().map(|health| {
            let whole = Json::whole([
                ("endpoint", health.endpoint.as_str().into()),
                ("health", health.error.is_empty().into()),
                ("took", show_duration(health.took).as_str().into()),
            ]);
            match health.error.as_str() {
                "" => whole,
                error => whole.then([("error", error.into())]),
            }
        })))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::new(style);
        for health in self {
            fields.quoted("Endpoint", &health.endpoint);
            fields.value("Health", health.error.is_empty());
            fields.value("Took", show_duration(health.took));
            fields.value("Error", &health.error);
            fields.line("");
        }
        Some(fields)
    }

    fn table(&self) -> Option<Table> {
        let row = |health: &Health| {
            vec![
                health.endpoint.clone(),
                health.error.is_empty().to_string(),
                show_duration(health.took),
                health.error.clone(),
            ]
        };
        let headings = vec!["endpoint", "health", "took", "error"];
        Some(Table { headings, rows: self.iter().map(row).collect() })
    }
}

/// What one endpoint says of itself.
#[derive(Debug)]
pub(crate) struct EndpointStatus {
    pub(crate) endpoint: String,
    pub(crate) status: StatusResponse,
}

fn status(status: &StatusResponse) -> Json {
    let downgrade = status.downgrade_info.as_ref().map(|info| {
        Json::sparse([
            ("enabled", info.enabled.into()),
            ("targetVersion", info.target_version.as_str().into()),
        ])
    });
    Json::sparse([
        ("header", header(status.header.as_ref())),
        ("version", status.version.as_str().into()),
        ("dbSize", status.db_size.into()),
        ("leader", status.leader.into()),
        ("raftIndex", status.raft_index.into()),
        ("raftTerm", status.raft_term.into()),
        ("raftAppliedIndex", status.raft_applied_index.into()),
        ("errors", (&status.errors).into()),
        ("dbSizeInUse", status.db_size_in_use.into()),
        ("isLearner", status.is_learner.into()),
        ("storageVersion", status.storage_version.as_str().into()),
        ("dbSizeQuota", status.db_size_quota.into()),
        ("downgradeInfo", downgrade.into()),
    ])
}

fn status_row(endpoint: &EndpointStatus) -> Vec<String> {
    let status = &endpoint.status;
    let member = status.header.map_or(0, |header| header.member_id);
    let downgrade = status.downgrade_info.clone().unwrap_or_default();
    let size = |bytes: i64| show_size(u64::try_from(bytes).unwrap_or(0));
    let unused = 100 - (status.db_size_in_use * 100).checked_div(status.db_size).unwrap_or(100);
    vec![
        endpoint.endpoint.clone(),
        format!("{member:x}"),
        status.version.clone(),
        status.storage_version.clone(),
        size(status.db_size),
        size(status.db_size_in_use),
        format!("{unused}%"),
        size(status.db_size_quota),
        (status.leader == member).to_string(),
        status.is_learner.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        status.errors.join(", "),
        downgrade.target_version,
        downgrade.enabled.to_string(),
    ]
}

impl Answer for Vec<EndpointStatus> {
    fn simple(&self, page: &mut Page) {
        for endpoint in self {
            page.line(status_row(endpoint).join(", "));
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::list_or_null(self.iter().map(|endpoint| {
            Json::whole([
                ("Endpoint", endpoint.endpoint.as_str().into()),
                ("Status", status(&endpoint.status)),
            ])
        })))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::new(style);
        for endpoint in self {
            let status = &endpoint.status;
            let downgrade = status.downgrade_info.clone().unwrap_or_default();
            fields.header(status.header.as_ref());
            fields.quoted("Version", &status.version);
            fields.quoted("StorageVersion", &status.storage_version);
            fields.value("DBSize", status.db_size);
            fields.value("DBSizeInUse", status.db_size_in_use);
            fields.value("DBSizeQuota", status.db_size_quota);
            fields.value("Leader", status.leader);
            fields.value("IsLearner", status.is_learner);
            fields.value("RaftIndex", status.raft_index);
            fields.value("RaftAppliedIndex", status.raft_applied_index);
            fields.value("Errors", format_args!("[{}]", status.errors.join(" ")));
            fields.quoted("Endpoint", &endpoint.endpoint);
            fields.quoted("DowngradeTargetVersion", &downgrade.target_version);
            fields.value("DowngradeEnabled", downgrade.enabled);
            fields.line("");
        }
        Some(fields)
    }

    fn table(&self) -> Option<Table> {
        let headings = vec![
            "endpoint",
            "ID",
            "version",
            "storage version",
            "db size",
            "in use",
            "percentage not in use",
            "quota",
            "is leader",
            "is learner",
            "raft term",
            "raft index",
            "raft applied index",
            "errors",
            "downgrade target version",
            "downgrade enabled",
        ];
        Some(Table { headings, rows: self.iter().map(status_row).collect() })
    }
}

/// The hash of one endpoint's history.
#[derive(Debug)]
pub(crate) struct EndpointHash {
    pub(crate) endpoint: String,
    pub(crate) hash: HashKvResponse,
}

fn hash_row(endpoint: &EndpointHash) -> Vec<String> {
    let hash = &endpoint.hash;
    vec![endpoint.endpoint.clone(), hash.hash.to_string(), hash.hash_revision.to_string()]
}

impl Answer for Vec<EndpointHash> {
    fn simple(&self, page: &mut Page) {
        for endpoint in self {
            page.line(hash_row(endpoint).join(", "));
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::list_or_null(self.iter().map(|endpoint| {
            let hash = &endpoint.hash;
            let hash = Json::sparse([
                ("header", header(hash.header.as_ref())),
                ("hash", u64::from(hash.hash).into()),
                ("compact_revision", hash.compact_revision.into()),
                ("hash_revision", hash.hash_revision.into()),
            ]);
            Json::whole([("Endpoint", endpoint.endpoint.as_str().into()), ("HashKV", hash)])
        })))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::new(style);
        for endpoint in self {
            fields.header(endpoint.hash.header.as_ref());
            fields.quoted("Endpoint", &endpoint.endpoint);
            fields.value("Hash", endpoint.hash.hash);
            fields.value("HashRevision", endpoint.hash.hash_revision);
            fields.line("");
        }
        Some(fields)
    }

    fn table(&self) -> Option<Table> {
        let headings = vec!["endpoint", "hash", "hash_revision"];
        Some(Table { headings, rows: self.iter().map(hash_row).collect() })
    }
}

impl Answer for AlarmResponse {
    fn simple(&self, page: &mut Page) {
        for alarm in &self.alarms {
            let name = alarm_name(alarm.alarm());
            page.line(format!("memberID:{} alarm:{name} ", alarm.member_id));
        }
    }

    fn json(&self, _style: Style) -> Option<Json> {
        let alarms = self.alarms.iter().map(|alarm| {
            Json::sparse([
                ("memberID", alarm.member_id.into()),
                ("alarm", i64::from(alarm.alarm).into()),
            ])
        });
        Some(Json::sparse([
            ("header", header(self.header.as_ref())),
            ("alarms", Json::list(alarms)),
        ]))
    }

    fn fields(&self, style: Style) -> Option<Fields> {
        let mut fields = Fields::headed(style, self.header.as_ref());
        for alarm in &self.alarms {
            fields.id("MemberID", alarm.member_id);
            fields.value("AlarmType", alarm_name(alarm.alarm()));
            fields.line("");
        }
        Some(fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

/// The name of an alarm.
pub(crate) fn alarm_name(alarm: AlarmType) -> &'static str {
    match alarm {
        AlarmType::None => "NONE",
        AlarmType::Nospace => "NOSPACE",
        AlarmType::Corrupt => "CORRUPT",
    }
}

/// Leadership that was handed over.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) answer: MoveLeaderResponse,
}

impl Answer for Moved {
    fn simple(&self, page: &mut Page) {
        page.line(format!("Leadership transferred from {:x} to {:x}", self.from, self.to));
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([("header", header(self.answer.header.as_ref()))]))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

/// A step of a downgrade.
#[derive(Debug)]
pub(crate) struct Downgraded {
    /// `validate`, `enable`, `cancel`.
    pub(crate) action: &'static str,
    pub(crate) answer: DowngradeResponse,
}

impl Answer for Downgraded {
    fn simple(&self, page: &mut Page) {
        let version = &self.answer.version;
        page.line(format!("Downgrade {} success, cluster version {version}", self.action));
    }

    fn json(&self, _style: Style) -> Option<Json> {
        Some(Json::sparse([
            ("header", header(self.answer.header.as_ref())),
            ("version", self.answer.version.as_str().into()),
        ]))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}
