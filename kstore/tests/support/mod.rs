//! A member in a process of its own, as the integration tests use it: started, asked, stopped,
//! and what it said.

#![allow(clippy::unwrap_used, reason = "what a test needs is there or the test has failed")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod api;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::Duration;

pub const KSTORE: &str = env!("CARGO_BIN_EXE_kstore");

/// How long a member that is to become ready, or to end, may say nothing: far more than it needs.
const LIMIT: Duration = Duration::from_secs(60);

const READY: &str = "ready to serve client requests";

/// How a member is started.
#[derive(Debug, Clone)]
pub struct Setup {
    pub name: String,
    pub data_dir: PathBuf,
    /// Host and port of each listener.
    pub client: String,
    pub peer: String,
    /// The first members, if it is not alone.
    pub cluster: Option<String>,
    pub token: String,
}

impl Setup {
    /// A member alone, on ports that were free a moment ago.
    pub fn alone(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: "default".to_owned(),
            data_dir: data_dir.into(),
            client: free_address(),
            peer: free_address(),
            cluster: None,
            token: "etcd-cluster".to_owned(),
        }
    }

    fn command(&self) -> Command {
        let peer_url = format!("http://{}", self.peer);
        let alone = format!("{}={peer_url}", self.name);
        let mut command = Command::new(KSTORE);
        command
            .arg("server")
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", self.data_dir.display()))
            .arg(format!("--listen-client-urls=http://{}", self.client))
            .arg(format!("--advertise-client-urls=http://{}", self.client))
            .arg(format!("--listen-peer-urls={peer_url}"))
            .arg(format!("--initial-advertise-peer-urls={peer_url}"))
            .arg(format!("--initial-cluster={}", self.cluster.as_ref().unwrap_or(&alone)))
            .arg(format!("--initial-cluster-token={}", self.token))
            .arg("--log-format=json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a process, which may end by itself.
    pub fn launch(&self) -> Member {
        let mut process = self.command().spawn().unwrap();
        let errors = process.stderr.take().unwrap();
        let (sender, said) = channel();
        // Ends with the process, whose end of the pipe closes then.
        spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Member { process, endpoint: self.client.clone(), said, lines: Vec::new() }
    }

    /// Starts a member that must become ready.
    #[track_caller]
    pub fn start(&self) -> Member {
        let mut member = self.launch();
        assert!(member.wait_for(READY), "it ended before it was ready: {:#?}", member.lines);
        member
    }

    /// Starts a member that must not become ready, and waits until it ends.
    #[track_caller]
    pub fn ends(&self) -> Ended {
        let mut member = self.launch();
        assert!(!member.wait_for(READY), "it became ready: {:#?}", member.lines);
        member.end()
    }
}

/// A running member. It is killed when it is dropped.
#[derive(Debug)]
pub struct Member {
    process: Child,
    pub endpoint: String,
    said: Receiver<String>,
    lines: Vec<String>,
}

/// A member that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub lines: Vec<String>,
}

impl Ended {
    /// The one line that is not about the usual course of things.
    #[track_caller]
    pub fn only_line(&self) -> &str {
        let mut unusual = unusual(&self.lines);
        assert_eq!(unusual.len(), 1, "{:#?}", self.lines);
        unusual.remove(0)
    }

    /// The only line of a member that did not start or go on.
    #[track_caller]
    pub fn complaint(&self) -> &str {
        assert_eq!(self.code, Some(1), "{:#?}", self.lines);
        let line = self.only_line();
        line.strip_prefix("kstore server: ").unwrap_or_else(|| panic!("{line}"))
    }
}

/// The lines that are not about the usual course of things.
pub fn unusual(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| !line.contains("\"level\":\"INFO\"")).collect()
}

impl Member {
    /// Reads what it says until a line has `text`; false if it ends before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> bool {
        loop {
            match self.said.recv_timeout(LIMIT) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.lines.push(line);
                    if found {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?}: {:#?}", self.lines),
            }
        }
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        assert!(!self.wait_for("\u{0}no line has this"), "it writes no zeros");
        let code = self.process.wait().unwrap().code();
        Ended { code, lines: std::mem::take(&mut self.lines) }
    }

    /// Ends it as an operator does.
    #[track_caller]
    pub fn stop(self) -> Ended {
        let kill = format!("kill -TERM {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let ended = self.end();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
        ended
    }

    pub fn run(&self, words: &[&str]) -> Output {
        Command::new(KSTORE).args(words).arg("--endpoints").arg(&self.endpoint).output().unwrap()
    }

    #[track_caller]
    pub fn says(&self, words: &[&str]) -> String {
        text(&self.run(words))
    }

    /// A transaction, as `kstore txn` reads it.
    #[track_caller]
    pub fn transacts(&self, words: &str) {
        let mut txn = Command::new(KSTORE)
            .args(["txn", "--endpoints", &self.endpoint])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        txn.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
        let said = text(&txn.wait_with_output().unwrap());
        assert!(said.starts_with("SUCCESS\n"), "{said}");
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended, and that is as good.
        let _ended = self.process.kill();
        self.process.wait().unwrap();
    }
}

/// An address that was free a moment ago.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[track_caller]
pub fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command that fails says.
#[track_caller]
pub fn errors(output: &Output) -> String {
    assert!(!output.status.success(), "it succeeded");
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn offline(words: &[&str]) -> Output {
    Command::new(KSTORE).args(words).output().unwrap()
}

/// A directory of its own for one test, removed at its end.
#[derive(Debug)]
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _was_not_there = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}
