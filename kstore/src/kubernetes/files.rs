//! Keys and certificates of a server, as files: made once, renewed when they are nearly over.
//!
//! ```text
//!   <data dir>/pki/ca.{crt,key}   sa.key              copies of what the store has (super::shared)
//!                  apiserver.{crt,key}                this server's own
//!                  scheduler.kubeconfig   controller-manager.kubeconfig   hollow.kubeconfig
//!              admin.kubeconfig
//! ```
//!
//! Invariant: a file with a private key is readable by its owner only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kstore_apiserver::pki::kubeconfig::Kubeconfig;
use kstore_apiserver::pki::{Authority, Pair, SubjectNames, authority};
use kstore_host::{Disk, OpenMode};

use super::shared::Shared;

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
    /// Makes the directory, and the one that it lies in.
    pub(crate) fn make_dir(&self) -> Result<(), String> {
        let parent = self.dir.parent().unwrap_or(Path::new("."));
        for dir in [parent, &self.dir] {
            self.disk.create_dir(dir).map_err(|why| format!("make {}: {why}", dir.display()))?;
        }
        Ok(())
    }

    /// The authority and the key for tokens that lie here, if all of them do.
    pub(crate) fn shared(&self) -> Result<Option<Shared>, String> {
        let (authority, signing) = (self.pair("ca")?, self.read("sa.key")?);
        Ok(authority.zip(signing).map(|(authority, signing)| Shared { authority, signing }))
    }

    /// Puts them here, where people look for them.
    pub(crate) fn keep_shared(&self, shared: &Shared) -> Result<(), String> {
        if self.shared()?.as_ref() == Some(shared) {
            return Ok(());
        }
        if let Some(other) = self.read("ca.crt")?
            && other != shared.authority.certificate
        {
            return Err(format!(
                "{} is another authority than the cluster's, which the store has: \
                 take that directory away, and it is made anew",
                self.dir.join("ca.crt").display()
            ));
        }
        self.keep("ca", &shared.authority)?;
        self.write("sa.key", &shared.signing)
    }

    /// The certificate to serve with, of an authority: the one that lies here, if it will do.
    pub(crate) fn serving(
        &self,
        authority: &Authority,
        subject: &SubjectNames,
    ) -> Result<Pair, String> {
        match self.pair("apiserver")? {
            Some(pair) if !self.must_renew(&pair, authority, subject) => Ok(pair),
            _ => {
                let made = authority.serving(subject, self.now).map_err(|why| why.to_string())?;
                self.keep("apiserver", &made)?;
                Ok(made)
            }
        }
    }

    fn must_renew(&self, pair: &Pair, authority: &Authority, names: &SubjectNames) -> bool {
        let certificate = kstore_apiserver::pki::pem::certificate(&pair.certificate);
        let certificate =
            certificate.and_then(|der| kstore_apiserver::pki::Certificate::parse(&der));
        authority::is_due(pair, authority, self.now)
            || certificate.is_none_or(|certificate| !names.are_covered_by(&certificate))
    }

    /// Writes a kubeconfig for a user, with a new certificate.
    pub(crate) fn kubeconfig(
        &self,
        file: &Path,
        authority: &Authority,
        user: (&str, &str, Option<&str>),
        server: &str,
    ) -> Result<(), String> {
        let (shown, name, group) = user;
        let client =
            authority.client(name, group.as_slice(), self.now).map_err(|why| why.to_string())?;
        let text = Kubeconfig {
            cluster: "kstore",
            user: shown,
            server,
            authority: &authority.pair().certificate,
            client: &client,
        }
        .to_yaml();
        self.write_at(file, &text)
    }

    /// The certificate and key of a name, if both lie here.
    pub(crate) fn pair(&self, name: &str) -> Result<Option<Pair>, String> {
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
        match read(&**self.disk, &path) {
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

/// Reads a file that somebody named.
pub(crate) fn read_named(disk: &dyn Disk, path: &Path) -> Result<String, String> {
    read(disk, path).map_err(|error| format!("read {}: {error}", path.display()))
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    let file = disk.open(path, OpenMode::Read)?;
    let length = file.length()?.min(LARGEST);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text"))
}
