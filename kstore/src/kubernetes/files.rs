//! Keys and certificates of a cluster on one machine, as files: made once, renewed when they are
//! nearly over.
//!
//! ```text
//!   <data dir>/pki/ca.{crt,key}   apiserver.{crt,key}   sa.key   sa.pub
//!              admin.kubeconfig   scheduler.kubeconfig   controller-manager.kubeconfig   node.kubeconfig
//! ```
//!
//! Invariant: a file with a private key is readable by its owner only.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kstore_apiserver::pki::kubeconfig::Kubeconfig;
use kstore_apiserver::pki::{Authority, Pair, SigningKey, SubjectNames, authority};
use kstore_host::{Disk, OpenMode};

/// What the API server is and proves itself with.
pub(crate) struct Files {
    pub(crate) authority: Authority,
    pub(crate) serving: Pair,
    pub(crate) signing: SigningKey,
}

/// Where and when they are made.
pub(crate) struct Maker<'a> {
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

/// A largest file of this kind is far smaller.
const LARGEST: u64 = 1 << 20;

impl Maker<'_> {
    /// Reads what is there, and makes what is not.
    pub(crate) fn open(&self, names: &[String], service: Ipv4Addr) -> Result<Files, String> {
        let parent = self.dir.parent().unwrap_or(Path::new("."));
        for dir in [parent, &self.dir] {
            self.disk.create_dir(dir).map_err(|why| format!("make {}: {why}", dir.display()))?;
        }
        let authority = match self.pair("ca")? {
            Some(pair) => Authority::load(pair).map_err(|why| format!("pki/ca.crt: {why}"))?,
            None => {
                let made = Authority::create(self.now).map_err(|why| why.to_string())?;
                self.keep("ca", made.pair())?;
                made
            }
        };
        let mut subject = SubjectNames::of_api_server(service.into());
        for name in names {
            subject.add(name);
        }
        let serving = match self.pair("apiserver")? {
            Some(pair) if !self.must_renew(&pair, &authority, &subject) => pair,
            _ => {
                let made = authority.serving(&subject, self.now).map_err(|why| why.to_string())?;
                self.keep("apiserver", &made)?;
                made
            }
        };
        Ok(Files { authority, serving, signing: self.signing()? })
    }

    fn must_renew(&self, pair: &Pair, authority: &Authority, names: &SubjectNames) -> bool {
        let certificate = kstore_apiserver::pki::pem::certificate(&pair.certificate);
        let certificate =
            certificate.and_then(|der| kstore_apiserver::pki::Certificate::parse(&der));
        authority::is_due(pair, authority, self.now)
            || certificate.is_none_or(|certificate| !names.are_covered_by(&certificate))
    }

    fn signing(&self) -> Result<SigningKey, String> {
        let text = match self.read("sa.key")? {
            Some(text) => text,
            None => {
                let made = SigningKey::generate().map_err(|why| why.to_string())?;
                self.write("sa.key", &made)?;
                made
            }
        };
        SigningKey::from_pem(&text).map_err(|why| format!("pki/sa.key: {why}"))
    }

    /// Writes a kubeconfig for a user, with a new certificate.
    pub(crate) fn kubeconfig(
        &self,
        file: &Path,
        files: &Files,
        user: (&str, &str, Option<&str>),
        server: &str,
    ) -> Result<String, String> {
        let (shown, name, group) = user;
        let client = files
            .authority
            .client(name, group.as_slice(), self.now)
            .map_err(|why| why.to_string())?;
        let text = Kubeconfig {
            cluster: "kstore",
            user: shown,
            server,
            authority: &files.authority.pair().certificate,
            client: &client,
        }
        .to_yaml();
        self.write_at(file, &text)?;
        Ok(text)
    }

    fn pair(&self, name: &str) -> Result<Option<Pair>, String> {
        let certificate = self.read(&format!("{name}.crt"))?;
        let key = self.read(&format!("{name}.key"))?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Pair { certificate, key })),
            _ => Ok(None),
        }
    }

    fn keep(&self, name: &str, pair: &Pair) -> Result<(), String> {
        self.write(&format!("{name}.key"), &pair.key)?;
        self.write(&format!("{name}.crt"), &pair.certificate)
    }

    fn read(&self, name: &str) -> Result<Option<String>, String> {
        let path = self.dir.join(name);
        let read = || {
            let file = self.disk.open(&path, OpenMode::Read)?;
            let length = file.length()?.min(LARGEST);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut bytes, 0)?;
            String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text"))
        };
        match read() {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("read {}: {error}", path.display())),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        self.write_at(&self.dir.join(name), text)
    }

    /// Written beside it and renamed, so that a crash leaves the old one or the new one.
    fn write_at(&self, path: &Path, text: &str) -> Result<(), String> {
        let beside = path.with_extension("new");
        let write = || {
            match self.disk.remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = self.disk.open(&beside, OpenMode::CreateNew)?;
            file.write_at(text.as_bytes(), 0)?;
            file.sync()?;
            self.disk.rename(&beside, path)?;
            self.disk.sync_dir(
                path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            )
        };
        write().map_err(|error: io::Error| format!("write {}: {error}", path.display()))
    }
}
