//! Who asks: from the certificate of the connection, from a token, or nobody in particular.
//!
//! ```text
//!   certificate with a name ─► that user
//!   else a token            ─► its user, or 401
//!   else                    ─► system:anonymous, or 401
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::lookup::{Answer, Lookup, core};
use super::text::{aggregate, quote_list};
use super::token::{self, Bound, Claims, LEEWAY, Unverified};
use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User, service_account_user};
use crate::object::{self, Object};
use crate::pki::{Certificate, PublicKey, SigningKey};
use crate::schema::time;
use crate::status::Status;

/// Under this key a user's extra names what it proved itself with.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Which issuer tokens name if nobody says otherwise.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A user and until when its certificate counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerUser {
    /// The user, with the group of all who said who they are.
    pub user: User,
    /// When the certificate ends, in seconds since 1970: connections may outlive it.
    pub expires: i64,
}

/// The user whose certificate (DER) the other side of a connection has shown. TLS has checked that
/// our authority signed it; it is enough to ask once for each connection.
#[must_use]
pub fn peer_user(der: &[u8]) -> Option<PeerUser> {
    let certificate = Certificate::parse(der)?;
    // Several ids, or an empty one, are nobody's.
    let uid = match certificate.user_ids.as_slice() {
        [] => String::new(),
        [one] if !one.is_empty() => one.clone(),
        _ => return None,
    };
    let fingerprint = format!("X509SHA256={}", hex(digest(&SHA256, der).as_ref()));
    let mut user = User {
        name: certificate.common_name,
        uid,
        groups: certificate.organisations,
        extra: vec![(CREDENTIAL_ID.to_owned(), vec![fingerprint])],
    };
    if user.name.is_empty() {
        return None;
    }
    add_authenticated(&mut user);
    Some(PeerUser { user, expires: certificate.not_after })
}

/// Somebody who did not say who they are.
#[must_use]
pub fn anonymous() -> User {
    User { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..User::default() }
}

/// The user that a service account is, without what a token adds.
#[must_use]
pub fn service_account(namespace: &str, name: &str, uid: &str) -> User {
    User {
        name: service_account_user(namespace, name),
        uid: uid.to_owned(),
        groups: service_account_groups(namespace),
        extra: Vec::new(),
    }
}

/// The groups of every service account of a namespace.
#[must_use]
pub fn service_account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

pub(super) fn add_authenticated(user: &mut User) {
    let settled =
        user.name == ANONYMOUS || user.is_in(AUTHENTICATED) || user.is_in(UNAUTHENTICATED);
    if !settled {
        user.groups.push(AUTHENTICATED.to_owned());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A user and the audiences that its token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The user.
    pub user: User,
    /// The audiences that were asked for and that the token names.
    pub audiences: Vec<String>,
}

/// Makes and checks tokens.
pub struct Tokens {
    /// Who makes them, first, and whose are taken too.
    pub issuers: Vec<String>,
    /// For whom they are if nobody says otherwise.
    pub audiences: Vec<String>,
    /// Checks them; the signing key's public half among them.
    pub keys: Vec<PublicKey>,
    /// Signs them; without it none are made.
    pub signing: Option<SigningKey>,
    /// The longest life of a token in seconds, if there is a limit.
    pub longest: Option<i64>,
    /// Users by the SHA-256 of their fixed tokens, for tests and small set-ups.
    fixed: BTreeMap<[u8; 32], User>,
    /// Claims of tokens whose signature was good, by the SHA-256 of the token.
    verified: Mutex<BTreeMap<[u8; 32], Arc<Claims>>>,
}

/// How many tokens are remembered. Checking a signature costs more than everything else about a
/// request for a token; what it claims is checked each time.
const REMEMBERED: usize = 4_096;

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("issuers", &self.issuers)
            .field("audiences", &self.audiences)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// Tokens of one issuer for itself, signed with one key; more keys check too.
    #[must_use]
    pub fn new(issuer: &str, signing: SigningKey, more: Vec<PublicKey>) -> Self {
        let mut keys = vec![signing.public().clone()];
        keys.extend(more.into_iter().filter(|key| key != signing.public()));
        Self {
            issuers: vec![issuer.to_owned()],
            audiences: vec![issuer.to_owned()],
            keys,
            signing: Some(signing),
            longest: None,
            fixed: BTreeMap::new(),
            verified: Mutex::default(),
        }
    }

    /// Takes a fixed token for a user.
    pub fn add_fixed(&mut self, token: &str, user: User) {
        self.fixed.insert(token_digest(token), user);
    }

    /// Whose token this is. `audiences` are those that the question is about; none: our own.
    ///
    /// # Errors
    ///
    /// [`NotKnown`] if it is nobody's.
    pub async fn know(
        &self,
        token: &str,
        audiences: &[String],
        now: i64,
        lookup: &dyn Lookup,
    ) -> Result<Known, NotKnown> {
        let audiences = if audiences.is_empty() { &self.audiences } else { audiences };
        let digest = token_digest(token);
        if let Some(user) = self.fixed.get(&digest) {
            let mut user = user.clone();
            add_authenticated(&mut user);
            let shared = shared(&self.audiences, audiences);
            return Ok(Known { user, audiences: shared });
        }
        let claims = self.verified(token, digest)?;
        let own = if claims.audiences.is_empty() { &self.audiences } else { &claims.audiences };
        let shared = shared(own, audiences);
        if shared.is_empty() {
            let (own, asked) = (quote_list(own), quote_list(audiences));
            let why = format!("token audiences {own} is invalid for the target audiences {asked}");
            return Err(NotKnown { why });
        }
        claims.check_time(now).map_err(NotKnown::because)?;
        check_bound(&claims, now, lookup).await?;
        Ok(Known { user: user_of(&claims), audiences: shared })
    }

    /// What a token of ours claims.
    fn verified(&self, token: &str, digest: [u8; 32]) -> Result<Arc<Claims>, NotKnown> {
        let poisoned = "nothing panics while it holds the lock";
        if let Some(claims) = self.verified.lock().expect(poisoned).get(&digest) {
            return Ok(Arc::clone(claims));
        }
        let claims = match token::verify(token, &self.issuers, &self.keys) {
            Ok(claims) => Arc::new(claims),
            Err(Unverified::Foreign) => return Err(NotKnown::default()),
            Err(Unverified::Wrong(why)) => return Err(NotKnown { why }),
        };
        let mut verified = self.verified.lock().expect(poisoned);
        if verified.len() >= REMEMBERED {
            // Forgetting all of them now and then is cheaper than knowing which is the oldest.
            verified.clear();
        }
        verified.insert(digest, Arc::clone(&claims));
        Ok(claims)
    }

    /// The document that tells others where our keys are.
    #[must_use]
    pub fn openid_configuration(&self, keys_url: &str) -> Value {
        let mut algorithms: Vec<&str> =
            self.keys.iter().map(|key| key.algorithm().name()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        json!({
            "issuer": self.issuers.first(),
            "jwks_uri": keys_url,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }

    /// The document that tells others our keys.
    #[must_use]
    pub fn key_set(&self) -> Value {
        json!({"keys": self.keys.iter().map(PublicKey::to_jwk).collect::<Vec<_>>()})
    }
}

fn token_digest(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

fn shared(own: &[String], asked: &[String]) -> Vec<String> {
    own.iter().filter(|text| asked.contains(text)).cloned().collect()
}

/// Nobody's token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotKnown {
    /// What is wrong with it, for a review; empty if it is none of ours at all.
    pub why: String,
}

impl NotKnown {
    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }

    /// As a TokenReview says it.
    #[must_use]
    pub fn message(&self) -> String {
        let mut texts = vec!["invalid bearer token".to_owned()];
        if !self.why.is_empty() {
            texts.push(self.why.clone());
        }
        aggregate(&texts)
    }
}

impl fmt::Display for NotKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

fn user_of(claims: &Claims) -> User {
    let mut user = service_account(&claims.namespace, &claims.account.name, &claims.account.uid);
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra
                .push((format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]));
        }
    };
    if !claims.id.is_empty() {
        add("credential-id", &format!("JTI={}", claims.id));
    }
    if let Some(node) = &claims.node {
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    if let Some(pod) = &claims.pod {
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    add_authenticated(&mut user);
    user
}

/// Whether the account is still there, and what the token is bound to.
async fn check_bound(claims: &Claims, now: i64, lookup: &dyn Lookup) -> Result<(), NotKnown> {
    let invalidated = "service account token has been invalidated";
    let (namespace, account) = (claims.namespace.as_str(), &claims.account);
    let found = read(lookup, "serviceaccounts", namespace, &account.name).await?;
    let found = found.ok_or_else(|| {
        NotKnown::because(format!("serviceaccounts \"{}\" not found", account.name))
    })?;
    if object::uid(&found) != account.uid {
        return Err(NotKnown::because(format!(
            "service account UID ({}) does not match claim ({})",
            object::uid(&found),
            account.uid
        )));
    }
    if is_gone(&found, now) {
        let why = format!("service account {namespace}/{} has been deleted", account.name);
        return Err(NotKnown { why });
    }
    // A node beside a pod is only told, not checked: the pod's end is the token's end.
    let node = claims.node.as_ref().filter(|_| claims.pod.is_none());
    let bound = [
        ("secrets", "secret", "Secret", namespace, claims.secret.as_ref()),
        ("pods", "pod", "Pod", namespace, claims.pod.as_ref()),
        ("nodes", "node", "Node", "", node),
    ];
    for (resource, word, title, namespace, claim) in bound {
        let Some(claim) = claim else { continue };
        let found = read(lookup, resource, namespace, &claim.name).await?;
        let found = found.ok_or_else(|| NotKnown::because(invalidated))?;
        if object::uid(&found) != claim.uid {
            return Err(mismatch(title, word, &found, claim));
        }
        if is_gone(&found, now) {
            return Err(NotKnown::because(invalidated));
        }
    }
    Ok(())
}

fn mismatch(title: &str, word: &str, found: &Object, claim: &Bound) -> NotKnown {
    let (own, claimed) = (object::uid(found), &claim.uid);
    NotKnown {
        why: format!(
            "{title} UID ({own}) does not match service account {word} ref claim ({claimed})"
        ),
    }
}

async fn read(
    lookup: &dyn Lookup,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Object>>, NotKnown> {
    lookup
        .get(core(resource), namespace, name)
        .await
        .map_err(|status| NotKnown { why: status.message })
}

/// Whether an object's deletion is past for good.
fn is_gone(found: &Object, now: i64) -> bool {
    time::parse(object::text(found, &["metadata", "deletionTimestamp"]))
        .is_some_and(|(time, _)| time < now.saturating_sub(LEEWAY))
}

/// Whether somebody who did not say who they are may ask at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// They are `system:anonymous`.
    Allowed,
    /// They are refused.
    Refused,
}

/// The token of an `Authorization` header.
#[must_use]
pub fn bearer(header: &str) -> Option<&str> {
    let mut parts = header.trim().splitn(3, ' ');
    let scheme = parts.next()?;
    let token = parts.next()?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Says who asks.
///
/// # Errors
///
/// 401 if a token is no good, or if nobody says who they are and that is not allowed.
pub async fn authenticate(
    peer: Option<&PeerUser>,
    header: Option<&str>,
    anonymous_users: Anonymous,
    tokens: &Tokens,
    now: i64,
    lookup: &dyn Lookup,
) -> Answer<User> {
    if let Some(peer) = peer {
        if peer.expires < now {
            return Err(Box::new(Status::unauthorized()));
        }
        return Ok(peer.user.clone());
    }
    if let Some(token) = header.and_then(bearer) {
        let known = tokens.know(token, &[], now, lookup).await;
        return known.map(|known| known.user).map_err(|why| {
            tracing::debug!(%why, "a token was refused");
            Box::new(Status::unauthorized())
        });
    }
    match anonymous_users {
        Anonymous::Allowed => Ok(anonymous()),
        Anonymous::Refused => Err(Box::new(Status::unauthorized())),
    }
}
