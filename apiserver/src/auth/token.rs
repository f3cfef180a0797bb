//! Tokens of service accounts: signed claims (JWT) about who their bearer is.
//!
//! Invariant: no claim counts before the signature is checked, with a key that we hold and by the
//! algorithm of that key, whatever the token says of itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::pki::{PkiError, PublicKey, SigningKey};

/// Clocks differ by this much, in seconds.
pub(super) const LEEWAY: i64 = 60;
/// No token that we make comes near this; what is longer is not looked at.
const LONGEST: usize = 16 * 1024;

/// An object that a token speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its uid; may be empty for a node that was not there.
    pub uid: String,
}

impl Bound {
    fn read(claims: &Value, member: &str) -> Option<Self> {
        let claim = claims.get(member).filter(|claim| claim.is_object())?;
        let text =
            |name: &str| claim.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self { name: text("name"), uid: text("uid") })
    }

    fn to_value(&self) -> Value {
        let mut object = Map::new();
        for (name, text) in [("name", &self.name), ("uid", &self.uid)] {
            if !text.is_empty() {
                object.insert(name.to_owned(), text.as_str().into());
            }
        }
        Value::Object(object)
    }
}

/// What a token claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Who made it.
    pub issuer: String,
    /// As whom its bearer is known.
    pub subject: String,
    /// For whom it is.
    pub audiences: Vec<String>,
    /// Its own id; may be empty.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub issued: Option<i64>,
    /// From when on it counts.
    pub not_before: Option<i64>,
    /// Until when it counts.
    pub expires: Option<i64>,
    /// The service account's namespace.
    pub namespace: String,
    /// The service account.
    pub account: Bound,
    /// The pod that it ends with.
    pub pod: Option<Bound>,
    /// The secret that it ends with.
    pub secret: Option<Bound>,
    /// The node that it ends with, or that its pod is on.
    pub node: Option<Bound>,
    /// When its bearer should have asked for a new one.
    pub warn_after: Option<i64>,
}

impl Claims {
    fn read(value: &Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let private = value.get("kubernetes.io").unwrap_or(&Value::Null);
        let audiences = match value.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => {
                many.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        Self {
            issuer: text("iss").to_owned(),
            subject: text("sub").to_owned(),
            audiences,
            id: text("jti").to_owned(),
            issued: time(value.get("iat")),
            not_before: time(value.get("nbf")),
            expires: time(value.get("exp")),
            namespace: private["namespace"].as_str().unwrap_or_default().to_owned(),
            account: Bound::read(private, "serviceaccount").unwrap_or_default(),
            pod: Bound::read(private, "pod"),
            secret: Bound::read(private, "secret"),
            node: Bound::read(private, "node"),
            warn_after: time(private.get("warnafter")),
        }
    }

    /// The claims in the order of their names.
    fn to_value(&self) -> Value {
        let mut private = Map::new();
        private.insert("namespace".to_owned(), self.namespace.as_str().into());
        let bound = [("node", &self.node), ("pod", &self.pod), ("secret", &self.secret)];
        for (name, claim) in bound {
            if let Some(claim) = claim {
                private.insert(name.to_owned(), claim.to_value());
            }
        }
        private.insert("serviceaccount".to_owned(), self.account.to_value());
        if let Some(time) = self.warn_after {
            private.insert("warnafter".to_owned(), time.into());
        }
        json!({
            "aud": self.audiences,
            "exp": self.expires,
            "iat": self.issued,
            "iss": self.issuer,
            "jti": self.id,
            "kubernetes.io": private,
            "nbf": self.not_before,
            "sub": self.subject,
        })
    }

    /// Whether now is in the time of the token.
    pub(super) fn check_time(&self, now: i64) -> Result<(), &'static str> {
        if self.not_before.is_some_and(|time| now.saturating_add(LEEWAY) < time) {
            return Err("service account token is not valid yet");
        }
        if self.expires.is_some_and(|time| now.saturating_sub(LEEWAY) > time) {
            return Err("service account token has expired");
        }
        if self.issued.is_some_and(|time| now.saturating_add(LEEWAY) < time) {
            return Err("service account token is issued in the future");
        }
        Ok(())
    }
}

/// A time in whole seconds; others write fractions.
fn time(value: Option<&Value>) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float stops at the limits")]
    value.and_then(|value| value.as_i64().or_else(|| value.as_f64().map(|float| float as i64)))
}

/// Signs claims.
///
/// # Errors
///
/// If the machine gives no randomness.
pub fn sign(claims: &Claims, key: &SigningKey) -> Result<String, PkiError> {
    let head = json!({"alg": key.public().algorithm().name(), "kid": key.public().id()});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(&head), encode(&claims.to_value()));
    let signature = key.sign(message.as_bytes())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Why a token is no good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unverified {
    /// It is none of ours: of another form, or of another issuer.
    Foreign,
    /// It claims to be ours, and this is wrong with it.
    Wrong(String),
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a token of ours"),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

/// Checks the signature of a token of one of these issuers, and reads what it claims.
///
/// # Errors
///
/// If it is not ours, or no key of ours signed it.
pub fn verify(token: &str, issuers: &[String], keys: &[PublicKey]) -> Result<Claims, Unverified> {
    let foreign = || Unverified::Foreign;
    let wrong = |why: &str| Unverified::Wrong(why.to_owned());
    if token.len() > LONGEST {
        return Err(foreign());
    }
    let (message, signature) = token.rsplit_once('.').ok_or_else(foreign)?;
    let (head, body) = message.split_once('.').ok_or_else(foreign)?;
    let claims = decode(body).ok_or_else(foreign)?;
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    if !issuers.iter().any(|known| known == issuer) {
        return Err(foreign());
    }
    let head = decode(head).ok_or_else(foreign)?;
    let text = |name: &str| head.get(name).and_then(Value::as_str).unwrap_or_default();
    // A header that must be understood is one that we do not understand.
    if head.get("crit").is_some() {
        return Err(foreign());
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| foreign())?;
    let named = |key: &&PublicKey| text("kid").is_empty() || key.id() == text("kid");
    let mut candidates = keys.iter().filter(named).peekable();
    if candidates.peek().is_none() {
        return Err(wrong("invalid signature, no keys found"));
    }
    let good = candidates.any(|key| {
        key.algorithm().name() == text("alg") && key.verifies(message.as_bytes(), &signature)
    });
    if good { Ok(Claims::read(&claims)) } else { Err(wrong("invalid signature")) }
}

fn decode(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}
