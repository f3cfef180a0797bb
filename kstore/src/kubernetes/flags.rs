//! The API server's flags as upstream's users write them: `--flag value`, `--flag=value`,
//! `--switch`, `-v 2`, underscores for hyphens.
//!
//! kube-apiserver has some two hundred flags. Those that mean something here are in the table; of the
//! others, a process started as `kube-apiserver` takes note and goes on, so that a script written
//! for upstream starts a server. A few would do harm if they were passed over (they encrypt, or
//! keep somebody out); they are refused.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// What is done with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It does something; each time it is given counts.
    Value,
    /// It asks for what is so anyway.
    Quiet,
    /// Passing it over would do harm.
    Refused,
}

const FLAGS: &[(&str, Use)] = &[
    ("advertise-address", Use::Value),
    ("allow-privileged", Use::Quiet),
    ("anonymous-auth", Use::Value),
    ("api-audiences", Use::Value),
    ("apiserver-names", Use::Value),
    ("authentication-config", Use::Refused),
    ("authorization-config", Use::Refused),
    ("authorization-mode", Use::Value),
    ("authorization-policy-file", Use::Refused),
    ("bind-address", Use::Value),
    ("cert-dir", Use::Value),
    ("client-ca-file", Use::Value),
    ("data-dir", Use::Value),
    ("disable-admission-plugins", Use::Value),
    ("encryption-provider-config", Use::Refused),
    ("etcd-cafile", Use::Value),
    ("etcd-certfile", Use::Value),
    ("etcd-keyfile", Use::Value),
    ("etcd-prefix", Use::Value),
    ("etcd-servers", Use::Value),
    ("external-hostname", Use::Value),
    ("kubeconfig", Use::Value),
    ("log-format", Use::Value),
    ("log-level", Use::Value),
    ("secure-port", Use::Value),
    ("service-account-issuer", Use::Value),
    ("service-account-key-file", Use::Value),
    ("service-account-max-token-expiration", Use::Value),
    ("service-account-signing-key-file", Use::Value),
    ("service-cluster-ip-range", Use::Value),
    ("storage-backend", Use::Quiet),
    ("tls-cert-file", Use::Value),
    ("tls-private-key-file", Use::Value),
    ("token-auth-file", Use::Value),
    ("v", Use::Value),
];

/// What becomes of flags that are not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They are mistakes.
    Refused,
    /// They are upstream's, and have no effect here.
    Noted,
}

/// What was given, by flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Given {
    values: BTreeMap<String, Vec<String>>,
    /// What is to be said about flags without effect.
    pub(crate) notes: Vec<String>,
    /// Whether `--help` or `--version` was given.
    pub(crate) help: bool,
    pub(crate) version: bool,
}

impl Given {
    /// Reads flags.
    pub(crate) fn read(words: &[OsString], unknown: Unknown) -> Result<Self, String> {
        let words = words.iter().map(|word| word.to_str().ok_or("a flag is no text"));
        let words: Vec<&str> = words.collect::<Result<_, _>>()?;
        let mut given = Self::default();
        let mut rest = words.as_slice();
        while let [word, after @ ..] = rest {
            let (flag, inline) = split(word)?;
            rest = after;
            match flag.as_str() {
                "help" | "h" => given.help = true,
                "version" => given.version = true,
                _ => {
                    let known = find(&flag);
                    let value = match (inline, known, after) {
                        (Some(value), _, _) => value,
                        // There are no words but flags and their values, so a word without a
                        // hyphen is the value of the flag before it, whatever that is.
                        (None, _, [value, after @ ..]) if !value.starts_with('-') => {
                            rest = after;
                            (*value).to_owned()
                        }
                        (None, _, _) => "true".to_owned(),
                    };
                    given.take(flag, value, known, unknown)?;
                }
            }
        }
        Ok(given)
    }

    fn take(
        &mut self,
        flag: String,
        value: String,
        known: Option<Use>,
        unknown: Unknown,
    ) -> Result<(), String> {
        match (known, unknown) {
            (Some(Use::Value), _) => self.values.entry(flag).or_default().push(value),
            (Some(Use::Quiet), _) => {}
            (Some(Use::Refused), _) => {
                return Err(format!(
                    "--{flag} is not supported, and passing it over would do harm"
                ));
            }
            (None, Unknown::Refused) => return Err(format!("unknown flag: --{flag}")),
            (None, Unknown::Noted) => {
                self.notes.push(format!("--{flag} has no effect on this API server"));
            }
        }
        Ok(())
    }

    /// The value of a flag, the last one given; an empty one is none.
    pub(crate) fn value(&self, flag: &str) -> Option<&str> {
        let value = self.values.get(flag)?.last()?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of a flag that may be given more than once.
    pub(crate) fn all(&self, flag: &str) -> Vec<String> {
        self.values.get(flag).cloned().unwrap_or_default()
    }

    /// Every value of a flag that takes lists, too.
    pub(crate) fn list(&self, flag: &str) -> Vec<String> {
        let values = self.all(flag);
        let parts = values.iter().flat_map(|value| value.split(','));
        parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Whether a switch is on, if it is given.
    pub(crate) fn switch(&self, flag: &str) -> Result<Option<bool>, String> {
        match self.value(flag) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(other) => Err(format!("invalid value \"{other}\" for --{flag}")),
        }
    }
}

/// A flag's name, and its value if that is in the same word.
fn split(word: &str) -> Result<(String, Option<String>), String> {
    let named = word.strip_prefix("--").map(|flag| match flag.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (flag, None),
    });
    // A short flag may be followed by its value at once.
    let short = || {
        let flag = word.strip_prefix('-')?;
        let (flag, value) = flag.split_at_checked(1)?;
        let value = value.strip_prefix('=').unwrap_or(value);
        Some((flag, Some(value).filter(|value| !value.is_empty())))
    };
    match named.or_else(short) {
        Some((flag, value)) if !flag.is_empty() => {
            Ok((flag.replace('_', "-"), value.map(str::to_owned)))
        }
        _ => Err(format!("'{word}' is not a valid flag")),
    }
}

fn find(flag: &str) -> Option<Use> {
    FLAGS.binary_search_by(|(name, _)| (*name).cmp(flag)).ok().map(|place| FLAGS[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], unknown: Unknown) -> Result<Given, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Given::read(&words, unknown)
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(FLAGS.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn flags_come_in_all_of_upstreams_forms() {
        let words =
            ["--etcd-servers=a,b", "--secure_port", "1", "--anonymous-auth", "-v2", "--v", "3"];
        let given = read(&words, Unknown::Refused).unwrap();
        assert_eq!(given.list("etcd-servers"), ["a", "b"]);
        assert_eq!(given.value("secure-port"), Some("1"));
        assert_eq!(given.switch("anonymous-auth"), Ok(Some(true)));
        assert_eq!(given.all("v"), ["2", "3"]);
    }

    #[test]
    fn what_has_no_effect_is_noted_with_its_value() {
        let words = ["--profiling", "--max-requests-inflight", "400", "--runtime-config=api/all=1"];
        let given = read(&words, Unknown::Noted).unwrap();
        assert_eq!(given.notes.len(), 3);
        assert!(given.notes[1].contains("--max-requests-inflight"));
        assert_eq!(read(&words, Unknown::Refused), Err("unknown flag: --profiling".to_owned()));
    }

    #[test]
    fn what_keeps_somebody_out_is_not_passed_over() {
        let why = read(&["--authorization-config=x"], Unknown::Noted).unwrap_err();
        assert!(why.contains("do harm"), "{why}");
        assert!(read(&["word"], Unknown::Noted).unwrap_err().contains("not a valid flag"));
    }
}
