//! The ids of a new cluster: every first member works them out alike from the same flags.

use sha2::{Digest, Sha256};

use crate::types::{ClusterId, MemberId};

/// A member of `--initial-cluster`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name; several entries with one name are several URLs of one member.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
}

/// The id of a first member: a hash of the cluster's token and the member's sorted peer URLs.
#[must_use]
pub fn member_id(token: &str, member: &InitialMember) -> MemberId {
    let mut urls = member.peer_urls.clone();
    urls.sort();
    let mut hash = Sha256::new();
    hash.update(b"kstore member\0");
    hash.update(token.as_bytes());
    for url in &urls {
        hash.update([0]);
        hash.update(url.as_bytes());
    }
    MemberId(first_bytes(hash))
}

/// The id of a new cluster: a hash of the token and its members' sorted ids.
#[must_use]
pub fn cluster_id(token: &str, members: &[InitialMember]) -> ClusterId {
    let mut ids: Vec<u64> = members.iter().map(|member| member_id(token, member).0).collect();
    ids.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(b"kstore cluster\0");
    hash.update(token.as_bytes());
    for id in ids {
        hash.update(id.to_be_bytes());
    }
    ClusterId(first_bytes(hash))
}

fn first_bytes(hash: Sha256) -> u64 {
    let digest = hash.finalize();
    let bytes = digest[..8].try_into().expect("a digest has 32 bytes");
    // Zero is no id.
    u64::from_be_bytes(bytes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, urls: &[&str]) -> InitialMember {
        InitialMember {
            name: name.to_owned(),
            peer_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        }
    }

    #[test]
    fn ids_do_not_depend_on_the_order_of_flags() {
        let a = member("a", &["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        let reordered = member("a", &["http://127.0.0.1:2", "http://127.0.0.1:1"]);
        let b = member("b", &["http://127.0.0.1:3"]);
        assert_eq!(member_id("t", &a), member_id("t", &reordered));
        assert_eq!(cluster_id("t", &[a.clone(), b.clone()]), cluster_id("t", &[b, a]));
    }

    #[test]
    fn another_token_makes_another_cluster_of_other_members() {
        let a = member("a", &["http://127.0.0.1:1"]);
        assert_ne!(member_id("t", &a), member_id("u", &a));
        assert_ne!(cluster_id("t", std::slice::from_ref(&a)), cluster_id("u", &[a]));
    }
}
