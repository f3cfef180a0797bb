//! Flags as etcd's users write them: `--flag value`, `--flag=value`, `-flag`, and `ETCD_FLAG`.
//!
//! Every flag of etcd is known. Those that name something that kstore does differently, or not
//! yet, are taken with a note, so that a unit file written for etcd starts a member. A few cannot
//! be passed over without harm (they keep somebody out, or force something); they are refused.
//! What no etcd knows is a mistake, and refused too.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// What is done with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It takes a value, and does something.
    Value,
    /// It is on or off, and does something.
    Switch,
    /// It takes a value, and has no effect here.
    NotedValue,
    /// It is on or off, and has no effect here.
    NotedSwitch,
    /// Passing it over would do harm.
    Refused,
}

const FLAGS: &[(&str, Use)] = &[
    ("advertise-client-urls", Use::Value),
    ("apiserver-names", Use::Value),
    ("auth-token", Use::NotedValue),
    ("auth-token-ttl", Use::NotedValue),
    ("auto-compaction-mode", Use::Value),
    ("auto-compaction-retention", Use::Value),
    ("auto-tls", Use::Refused),
    ("backend-batch-interval", Use::NotedValue),
    ("backend-batch-limit", Use::NotedValue),
    ("backend-bbolt-freelist-type", Use::NotedValue),
    ("bcrypt-cost", Use::NotedValue),
    ("bind-address", Use::Value),
    ("bootstrap-defrag-threshold-megabytes", Use::NotedValue),
    ("cert-file", Use::Value),
    ("cipher-suites", Use::NotedValue),
    ("client-cert-allowed-hostname", Use::Refused),
    ("client-cert-auth", Use::Switch),
    ("client-cert-file", Use::NotedValue),
    ("client-crl-file", Use::Refused),
    ("client-key-file", Use::NotedValue),
    ("compact-hash-check-enabled", Use::NotedSwitch),
    ("compact-hash-check-time", Use::NotedValue),
    ("compaction-batch-limit", Use::NotedValue),
    ("compaction-sleep-interval", Use::NotedValue),
    ("config-file", Use::Refused),
    ("corrupt-check-time", Use::NotedValue),
    ("cors", Use::NotedValue),
    ("data-dir", Use::Value),
    ("discovery", Use::Refused),
    ("discovery-endpoints", Use::Refused),
    ("discovery-fallback", Use::NotedValue),
    ("discovery-proxy", Use::NotedValue),
    ("discovery-srv", Use::Refused),
    ("discovery-srv-name", Use::Refused),
    ("discovery-token", Use::Refused),
    ("distributed-tracing-address", Use::NotedValue),
    ("distributed-tracing-instance-id", Use::NotedValue),
    ("distributed-tracing-sampling-rate", Use::NotedValue),
    ("distributed-tracing-service-name", Use::NotedValue),
    ("downgrade-check-time", Use::NotedValue),
    ("election-timeout", Use::Value),
    ("enable-distributed-tracing", Use::NotedSwitch),
    ("enable-grpc-gateway", Use::NotedSwitch),
    ("enable-log-rotation", Use::NotedSwitch),
    ("enable-pprof", Use::NotedSwitch),
    ("enable-v2", Use::NotedSwitch),
    ("feature-gates", Use::NotedValue),
    ("force-new-cluster", Use::Refused),
    ("grpc-keepalive-interval", Use::NotedValue),
    ("grpc-keepalive-min-time", Use::NotedValue),
    ("grpc-keepalive-timeout", Use::NotedValue),
    ("heartbeat-interval", Use::Value),
    ("host-whitelist", Use::NotedValue),
    ("initial-advertise-peer-urls", Use::Value),
    ("initial-cluster", Use::Value),
    ("initial-cluster-state", Use::Value),
    ("initial-cluster-token", Use::Value),
    ("initial-election-tick-advance", Use::NotedSwitch),
    ("key-file", Use::Value),
    ("kubeconfig", Use::Value),
    ("listen-client-http-urls", Use::NotedValue),
    ("listen-client-urls", Use::Value),
    ("listen-metrics-urls", Use::Value),
    ("listen-peer-urls", Use::Value),
    ("log-format", Use::Value),
    ("log-level", Use::Value),
    ("log-outputs", Use::NotedValue),
    ("log-rotation-config-json", Use::NotedValue),
    ("logger", Use::NotedValue),
    ("max-concurrent-streams", Use::NotedValue),
    ("max-learners", Use::NotedValue),
    ("max-request-bytes", Use::Value),
    ("max-snapshots", Use::NotedValue),
    ("max-txn-ops", Use::Value),
    ("max-wals", Use::NotedValue),
    ("memory-mlock", Use::NotedSwitch),
    ("metrics", Use::NotedValue),
    ("name", Use::Value),
    ("peer-auto-tls", Use::Refused),
    ("peer-cert-allowed-cn", Use::Refused),
    ("peer-cert-allowed-hostname", Use::Refused),
    ("peer-cert-file", Use::Value),
    ("peer-client-cert-auth", Use::Switch),
    ("peer-client-cert-file", Use::NotedValue),
    ("peer-client-key-file", Use::NotedValue),
    ("peer-crl-file", Use::Refused),
    ("peer-key-file", Use::Value),
    ("peer-skip-client-san-verification", Use::NotedSwitch),
    ("peer-trusted-ca-file", Use::Value),
    ("pre-vote", Use::NotedSwitch),
    ("quota-backend-bytes", Use::Value),
    ("raft-read-timeout", Use::NotedValue),
    ("raft-write-timeout", Use::NotedValue),
    ("secure-port", Use::Value),
    ("self-signed-cert-validity", Use::NotedValue),
    ("service-cluster-ip-range", Use::Value),
    ("snapshot-catchup-entries", Use::NotedValue),
    ("snapshot-count", Use::NotedValue),
    ("socket-reuse-address", Use::NotedSwitch),
    ("socket-reuse-port", Use::NotedSwitch),
    ("strict-reconfig-check", Use::NotedSwitch),
    ("tls-max-version", Use::NotedValue),
    ("tls-min-version", Use::NotedValue),
    ("trusted-ca-file", Use::Value),
    ("unsafe-no-fsync", Use::NotedSwitch),
    ("v2-deprecation", Use::NotedValue),
    ("wal-dir", Use::Refused),
    ("warning-apply-duration", Use::NotedValue),
    ("warning-unary-request-duration", Use::NotedValue),
    ("watch-progress-notify-interval", Use::Value),
];

/// Experimental flags of etcd that are switches; the others take a value.
const EXPERIMENTAL_SWITCHES: &[&str] = &[
    "experimental-compact-hash-check-enabled",
    "experimental-enable-distributed-tracing",
    "experimental-enable-lease-checkpoint",
    "experimental-enable-lease-checkpoint-persist",
    "experimental-initial-corrupt-check",
    "experimental-memory-mlock",
    "experimental-stop-grpc-service-on-defrag",
    "experimental-txn-mode-write-with-shared-buffer",
];

/// What was given, by flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Given {
    values: BTreeMap<String, String>,
    /// What is to be said about flags without effect.
    pub(crate) notes: Vec<String>,
    /// Whether `--help` or `--version` was given.
    pub(crate) help: bool,
    pub(crate) version: bool,
}

impl Given {
    /// Sets a flag that was not given.
    pub(crate) fn set_default(&mut self, flag: &str, value: &str) {
        self.values.entry(flag.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Reads flags and the environment; a flag wins over a variable.
    pub(crate) fn read(
        words: &[OsString],
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, String> {
        let mut given = Self::default();
        given.read_words(words)?;
        for (name, value) in variables {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix("ETCD_")) else {
                continue;
            };
            let flag = name.to_lowercase().replace('_', "-");
            let known = find(&flag).is_some();
            if given.values.contains_key(&flag) || !known {
                // Containers set variables of that prefix for reasons of their own.
                continue;
            }
            let value = value.into_string().map_err(|_| format!("ETCD_{name} is no text"))?;
            given.take(&flag, value)?;
        }
        Ok(given)
    }

    fn read_words(&mut self, words: &[OsString]) -> Result<(), String> {
        let mut words = words.iter().map(|word| word.to_str().ok_or("a flag is no text"));
        while let Some(word) = words.next() {
            let word = word?;
            let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            let Some(flag) = flag.filter(|flag| !flag.is_empty()) else {
                return Err(format!("'{word}' is not a valid flag"));
            };
            let (flag, inline) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (flag, None),
            };
            match flag {
                "help" | "h" => self.help = true,
                "version" => self.version = true,
                _ => {
                    let known = find(flag)
                        .ok_or_else(|| format!("flag provided but not defined: -{flag}"))?;
                    let value = match (inline, known) {
                        (Some(value), _) => value,
                        (None, Use::Switch | Use::NotedSwitch) => "true".to_owned(),
                        (None, _) => {
                            let value = words.next().transpose()?;
                            value.ok_or_else(|| format!("flag needs an argument: -{flag}"))?.into()
                        }
                    };
                    self.take(flag, value)?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, flag: &str, value: String) -> Result<(), String> {
        match find(flag) {
            Some(Use::Value | Use::Switch) => {
                self.values.insert(flag.to_owned(), value);
                Ok(())
            }
            Some(Use::Refused) if is_off(&value) => Ok(()),
            Some(Use::Refused) => {
                Err(format!("--{flag} is not supported, and passing it over would do harm"))
            }
            Some(Use::NotedValue | Use::NotedSwitch) => {
                // So that a variable for it is passed over, too.
                self.values.insert(flag.to_owned(), value);
                self.notes.push(format!("--{flag} is taken for etcd's sake and has no effect"));
                Ok(())
            }
            None => Err(format!("flag provided but not defined: -{flag}")),
        }
    }

    /// The value of a flag; an empty one is none.
    pub(crate) fn value(&self, flag: &str) -> Option<&str> {
        self.values.get(flag).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a switch is on.
    pub(crate) fn switch(&self, flag: &str) -> Result<bool, String> {
        match self.value(flag) {
            None => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(format!("invalid boolean value \"{other}\" for -{flag}")),
        }
    }

    /// The number that a flag gives.
    pub(crate) fn number(&self, flag: &str) -> Result<Option<i64>, String> {
        let number = |text: &str| {
            text.parse().map_err(|_| format!("invalid value \"{text}\" for flag -{flag}"))
        };
        self.value(flag).map(number).transpose()
    }
}

fn find(flag: &str) -> Option<Use> {
    if flag.starts_with("experimental-") {
        let switch = EXPERIMENTAL_SWITCHES.contains(&flag);
        // The name that the flag had before it was no experiment any more.
        if flag == "experimental-watch-progress-notify-interval" {
            return Some(Use::Value);
        }
        return Some(if switch { Use::NotedSwitch } else { Use::NotedValue });
    }
    FLAGS.binary_search_by(|(name, _)| (*name).cmp(flag)).ok().map(|place| FLAGS[place].1)
}

fn is_off(value: &str) -> bool {
    value.is_empty() || value.eq_ignore_ascii_case("false") || value == "0"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], variables: &[(&str, &str)]) -> Result<Given, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Given::read(&words, variables)
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(FLAGS.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn flags_come_in_all_of_gos_forms() {
        let given = read(&["--name=a", "-data-dir", "d", "--client-cert-auth"], &[]).unwrap();
        assert_eq!(given.value("name"), Some("a"));
        assert_eq!(given.value("data-dir"), Some("d"));
        assert_eq!(given.switch("client-cert-auth"), Ok(true));
        assert_eq!(
            read(&["--client-cert-auth=false"], &[]).unwrap().switch("client-cert-auth"),
            Ok(false)
        );
    }

    #[test]
    fn a_flag_wins_over_its_variable() {
        let given = read(&["--name=a"], &[("ETCD_NAME", "b"), ("ETCD_DATA_DIR", "d")]).unwrap();
        assert_eq!(given.value("name"), Some("a"));
        assert_eq!(given.value("data-dir"), Some("d"));
    }

    #[test]
    fn flags_of_etcd_without_effect_are_noted() {
        let given = read(&["--snapshot-count", "1000", "--pre-vote", "--logger=zap"], &[]).unwrap();
        assert_eq!(given.notes.len(), 3);
        assert!(given.notes[0].contains("--snapshot-count"));
    }

    #[test]
    fn what_no_etcd_knows_is_refused() {
        let why = read(&["--nonsense"], &[]).unwrap_err();
        assert_eq!(why, "flag provided but not defined: -nonsense");
        assert!(read(&["word"], &[]).unwrap_err().contains("not a valid flag"));
        assert!(read(&["--name"], &[]).unwrap_err().contains("needs an argument"));
    }

    #[test]
    fn what_keeps_somebody_out_is_not_passed_over() {
        assert!(read(&["--client-crl-file=x"], &[]).unwrap_err().contains("do harm"));
        assert!(read(&["--peer-auto-tls=false"], &[]).is_ok());
    }

    #[test]
    fn variables_that_are_no_flags_are_passed_over() {
        assert!(read(&[], &[("ETCD_VERSION", "3.6"), ("HOME", "/root")]).unwrap().notes.is_empty());
    }
}
