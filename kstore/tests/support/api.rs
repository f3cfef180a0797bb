//! API servers in processes of their own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::time::{sleep, timeout};

use super::{KSTORE, free_address};

/// How long a server may take until it is ready.
const LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// A process that ends with the test.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    pub fn start(program: &str, words: &[String]) -> Self {
        let quiet = || Stdio::null();
        Self(Command::new(program).args(words).stdout(quiet()).stderr(quiet()).spawn().unwrap())
    }

    /// Ends it as an operator does; it must end well.
    #[track_caller]
    pub fn stop(mut self) {
        let kill = format!("kill -TERM {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, and that is as good.
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// Waits until the server that writes this kubeconfig is ready.
pub async fn ready(kubeconfig: &Path) -> Config {
    let ready = async {
        loop {
            if let Ok(file) = Kubeconfig::read_from(kubeconfig) {
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(file, &options).await;
                let mut config = config.unwrap();
                // Every answer counts, also one that says to come again.
                config.default_retry = false;
                let page = Request::get("/readyz").body(Vec::new()).unwrap();
                if client(config.clone()).request_text(page).await.is_ok() {
                    return config;
                }
            }
            sleep(LOOK).await;
        }
    };
    timeout(LIMIT, ready).await.expect("the API server is not ready")
}

pub fn client(config: Config) -> Client {
    Client::try_from(config).unwrap()
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A member: its flags with an API server or without.
pub fn member(data: &str, client: &str, more: &[&str]) -> Process {
    let peer = format!("http://{}", free_address());
    let mut flags = words(&["server", "--data-dir", data]);
    flags.push(format!("--listen-client-urls=http://{client}"));
    flags.push(format!("--listen-peer-urls={peer}"));
    flags.extend(words(more));
    Process::start(KSTORE, &flags)
}

/// An API server alone, on a store.
pub fn alone(data: &str, store: &str) -> Process {
    let flags = ["apiserver", "--etcd-servers", store, "--secure-port", "0", "--data-dir", data];
    Process::start(KSTORE, &words(&flags))
}
