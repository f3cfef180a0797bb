//! `watch`: events as they happen.
//!
//! ```text
//!   lines of stdin ──┐ (interactive)           ┌──────────── one gRPC stream ───────────┐
//!   words and flags ─┴─► Follower, one a watch ─► create requests ►  ◄ created, events, ─┘
//!                         next revision, words      in order           progress, cancelled
//!                         of a command to run
//! ```
//!
//! All watches share a stream. The server names each when it says `created`, in the order of the
//! requests. When the stream breaks, a new one is opened, if need be at another endpoint, and each
//! watch goes on at the revision behind the last that it saw.
//!
//! Invariant: no event is printed twice and none is left out, whatever the connection does;
//! `Follower::next` only grows, and it grows only past revisions that were printed.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kstore_proto::etcdserverpb::watch_request::RequestUnion;
use kstore_proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use kstore_proto::failure::is_interrupted;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use super::arguments::{Flags, number, switch, verb};
use super::failure::{self, Exit, Failure};
use super::keys::{OPEN, Range, Widening};
use super::lock;
use super::notation;
use super::output::{complain, print, say};
use super::session::{Effect, Session, Wire, is_stale_login};
use super::settings::Settings;

/// Requests that wait for the stream. A person types them; at the bound, typing waits.
const REQUESTS: usize = 64;

/// The pause before a broken stream is opened again.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn command() -> Command {
    let exec = Arg::new("exec")
        .value_name("command")
        .help("Run for each event")
        .last(true)
        .num_args(0..)
        .action(ArgAction::Append)
        .value_parser(value_parser!(OsString));
    verb("watch", "Prints events as they happen", "key [range_end]").arg(exec).args([
        switch("interactive", "Read watch and progress commands from standard input").short('i'),
        switch("prefix", "Keys that begin with the key"),
        number("rev", "Begin with this revision"),
        switch("prev-kv", "Print what was there before each event"),
        switch("progress-notify", "Have the server say now and then how far it is"),
    ])
}

pub(crate) async fn run(settings: Settings, flags: &ArgMatches) -> Result<(), Failure> {
    let variables = Variables::read()?;
    if flags.on("interactive") {
        let session = Session::open(settings).await?;
        let lines = BufReader::new(tokio::io::stdin()).lines();
        return Watches::new(session).follow(Input::Lines(lines, variables)).await;
    }
    if std::env::args_os().next_back().is_some_and(|last| last == "--") {
        return Err(Failure::arguments(
            "bad number of arguments (found separator --, but no commands)",
        ));
    }
    let follower = Follower::parse(flags, &variables)?;
    let session = Session::open(settings).await?;
    let mut watches = Watches::new(session);
    watches.waiting.push_back(follower);
    watches.follow(Input::None).await
}

/// The range that the environment names.
#[derive(Debug, Clone)]
struct Variables {
    key: Option<Bytes>,
    end: Option<Bytes>,
}

impl Variables {
    fn read() -> Result<Self, Failure> {
        let read = |name| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(|value| Bytes::from(value.into_vec()))
        };
        let it = Self { key: read("ETCDCTL_WATCH_KEY"), end: read("ETCDCTL_WATCH_RANGE_END") };
        match &it {
            Self { key: None, end: Some(end) } => Err(Failure::arguments(format!(
                "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={}",
                notation::quote(end)
            ))),
            _ => Ok(it),
        }
    }

    /// The words of the range: from the environment or from the command, not from both.
    fn or(&self, words: Vec<Bytes>) -> Result<Vec<Bytes>, Failure> {
        match &self.key {
            None if words.is_empty() => Err(Failure::arguments("bad number of arguments")),
            None => Ok(words),
            Some(_) if !words.is_empty() => Err(Failure::arguments(
                "bad number of arguments (found conflicting environment key)",
            )),
            Some(key) => Ok([key].into_iter().chain(&self.end).cloned().collect()),
        }
    }
}

/// One watch: what it wants, and how far it came.
#[derive(Debug)]
struct Follower {
    request: WatchCreateRequest,
    /// The first revision not seen yet. Zero: none seen, begin with what comes next.
    next: i64,
    /// The command to run for each event, and its arguments.
    exec: Vec<OsString>,
}

impl Follower {
    fn parse(flags: &ArgMatches, variables: &Variables) -> Result<Self, Failure> {
        let words = variables.or(flags.words())?;
        let prefix = flags.on("prefix");
        if prefix && words.len() == 2 {
            return Err(Failure::arguments("`range_end` and `--prefix` are mutually exclusive"));
        }
        // More than two words are no range; etcdctl watches the first of them.
        let named = if words.len() == 2 { &words[..] } else { &words[..1] };
        let widening = Widening { prefix, from_key: false };
        let range = Range::parse(named, widening).expect("there is a word")?;
        let exec = flags.get_many("exec").unwrap_or_default().cloned().collect();
        let request = WatchCreateRequest {
            key: if range.key.is_empty() { OPEN } else { range.key },
            range_end: range.end,
            start_revision: flags.number("rev"),
            progress_notify: flags.on("progress-notify"),
            prev_kv: flags.on("prev-kv"),
            ..WatchCreateRequest::default()
        };
        Ok(Self { next: request.start_revision, request, exec })
    }

    fn create(&self) -> WatchRequest {
        let request = WatchCreateRequest { start_revision: self.next, ..self.request.clone() };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) }
    }

    /// Moves on past what a response told.
    fn saw(&mut self, response: &WatchResponse) {
        let revision = response.header.map_or(0, |header| header.revision);
        let events = response.events.iter();
        if let Some(last) = events.filter_map(|event| Some(event.kv.as_ref()?.mod_revision)).max() {
            self.next = self.next.max(last + 1);
        } else if response.created && self.next == 0 {
            // Watching from now on: what happens while a broken stream is reopened counts.
            self.next = revision + 1;
        } else if !response.created {
            self.next = self.next.max(revision + 1);
        }
    }
}

/// Where further watches come from.
enum Input {
    None,
    Lines(Lines<BufReader<Stdin>>, Variables),
}

impl Input {
    async fn next(&mut self) -> Result<Option<String>, Failure> {
        match self {
            Self::None => std::future::pending().await,
            Self::Lines(lines, _) => match lines.next_line().await {
                Ok(Some(line)) => Ok(Some(line)),
                Ok(None) => Err(Failure::input("error reading watch request line: EOF")),
                Err(error) => {
                    Err(Failure::input(format!("error reading watch request line: {error}")))
                }
            },
        }
    }
}

/// The stream, while there is one.
struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Stream {
    /// Opens a stream that begins with some requests: a server does not answer before the first.
    async fn open(session: &Session, first: Vec<WatchRequest>) -> Result<Self, Failure> {
        let rpc = async |wire: Wire, first: Vec<WatchRequest>| {
            let (requests, queue) = mpsc::channel(REQUESTS);
            let first = tokio_stream::iter(first).chain(ReceiverStream::new(queue));
            let mut request = Request::new(first);
            // A member that lost its leader ends the stream instead of keeping silent.
            let yes = tonic::metadata::MetadataValue::from_static("true");
            request.metadata_mut().insert("hasleader", yes);
            let responses = wire.watch().watch(request).await?;
            Ok(responses.map(|responses| Self { requests, responses }))
        };
        session.call(None, Effect::Reads, first, rpc).await
    }

    /// Sends a request. A stream that broke shows it when it is read.
    async fn send(&self, request: WatchRequest) {
        let _broken = self.requests.send(request).await;
    }
}

/// All watches of the command.
struct Watches {
    session: Session,
    /// Asked for, in this order, and not named by the server yet.
    waiting: VecDeque<Follower>,
    /// By the id that the server gave them on the present stream.
    running: BTreeMap<i64, Follower>,
}

impl Watches {
    fn new(session: Session) -> Self {
        Self { session, waiting: VecDeque::new(), running: BTreeMap::new() }
    }

    /// Prints until there is nothing left to follow.
    async fn follow(mut self, mut input: Input) -> Result<(), Failure> {
        loop {
            while self.waiting.is_empty() && self.running.is_empty() {
                if let Some(line) = input.next().await? {
                    self.obey(&line, None, &input).await?;
                }
            }
            let stream = self.open().await?;
            let broken = self.follow_stream(stream, &mut input).await?;
            let over = !is_interrupted(&broken) && broken.code() != Code::Internal;
            if over && !is_stale_login(&broken) {
                return Err(cancelled(&failure::text(&broken)));
            }
            if is_stale_login(&broken) {
                self.session.authenticate().await?;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Opens a stream and asks for every watch again.
    async fn open(&mut self) -> Result<Stream, Failure> {
        let running = std::mem::take(&mut self.running);
        for follower in running.into_values().rev() {
            self.waiting.push_front(follower);
        }
        let first = self.waiting.iter().map(Follower::create).collect();
        Stream::open(&self.session, first).await
    }

    /// Prints until the stream breaks.
    async fn follow_stream(
        &mut self,
        mut stream: Stream,
        input: &mut Input,
    ) -> Result<Status, Failure> {
        loop {
            tokio::select! {
                line = input.next() => {
                    if let Some(line) = line? {
                        self.obey(&line, Some(&stream), input).await?;
                    }
                }
                response = stream.responses.message() => match response {
                    Ok(Some(response)) => self.take(response, matches!(input, Input::None)).await?,
                    Ok(None) => return Ok(Status::unavailable("watch stream ended")),
                    Err(status) => return Ok(status),
                }
            }
        }
    }

    /// Does what a line says.
    async fn obey(
        &mut self,
        line: &str,
        stream: Option<&Stream>,
        input: &Input,
    ) -> Result<(), Failure> {
        let Input::Lines(_, variables) = input else {
            return Ok(());
        };
        let words = notation::words(line).map_err(Failure::input)?;
        match words.first().map(Vec::as_slice) {
            Some(b"watch") if words.len() < 2 && variables.key.is_none() => {
                complain(&format!(
                    "Invalid command {line} (command type or key is not provided)\n"
                ));
            }
            Some(b"watch") => {
                let words = words.into_iter().map(OsString::from_vec);
                let command = command().args_override_self(true).disable_help_flag(true);
                let flags = command
                    .try_get_matches_from(words)
                    .map_err(|error| Failure::arguments(error.render().to_string().trim_end()))?;
                match Follower::parse(&flags, variables) {
                    Ok(follower) => {
                        if let Some(stream) = stream {
                            stream.send(follower.create()).await;
                        }
                        self.waiting.push_back(follower);
                    }
                    Err(failure) if flags.on("prefix") => {
                        complain(&format!("Invalid command {line} ({})\n", failure.message));
                    }
                    Err(failure) => return Err(failure),
                }
            }
            Some(b"progress") => {
                let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
                // Without a stream there is no watch to hear of progress.
                if let Some(stream) = stream {
                    stream.send(WatchRequest { request_union: Some(request) }).await;
                }
            }
            Some(_) => complain(&format!("Invalid command {line} (only support watch)\n")),
            None => complain(&format!("Invalid command: {line} (watch and progress supported)\n")),
        }
        Ok(())
    }

    /// Prints a response. `alone`: the end of this watch is the end of the command.
    async fn take(&mut self, response: WatchResponse, alone: bool) -> Result<(), Failure> {
        if response.created {
            let Some(mut follower) = self.waiting.pop_front() else {
                return Err(Failure::error("the server made a watch that was not asked for"));
            };
            if !response.canceled {
                follower.saw(&response);
                self.running.insert(response.watch_id, follower);
                return Ok(());
            }
        } else if response.watch_id == -1 && !response.canceled {
            // How far the whole stream is: every watch hears it.
            for follower in self.running.values_mut() {
                follower.saw(&response);
                show(&self.session, &response)?;
            }
            return Ok(());
        }
        let follower = self.running.get_mut(&response.watch_id);
        let exec = follower.map_or_else(Vec::new, |follower| {
            follower.saw(&response);
            follower.exec.clone()
        });
        if response.canceled {
            self.running.remove(&response.watch_id);
            complain(&format!("watch was canceled ({})\n", reason(&response)));
        }
        show(&self.session, &response)?;
        if !exec.is_empty() {
            execute(exec, response.clone()).await?;
        }
        if response.canceled && alone {
            return Err(Failure::new(Exit::Interrupted, "watch is canceled by the server"));
        }
        Ok(())
    }
}

fn show(session: &Session, response: &WatchResponse) -> Result<(), Failure> {
    let news = response.events.is_empty() && !response.canceled && !response.created;
    if news {
        let revision = response.header.map_or(0, |header| header.revision);
        say(format!("progress notify: {revision}"))?;
    }
    // The member of `created` is only shown for watches that failed at once.
    let shown = WatchResponse { created: false, ..response.clone() };
    print(session.settings.style, &shown)
}

/// Why a watch was cancelled.
fn reason(response: &WatchResponse) -> &str {
    match response.compact_revision {
        0 if response.cancel_reason.is_empty() => {
            "etcdserver: mvcc: required revision is a future revision"
        }
        0 => &response.cancel_reason,
        _ => "etcdserver: mvcc: required revision has been compacted",
    }
}

fn cancelled(why: &str) -> Failure {
    complain(&format!("watch was canceled ({why})\n"));
    Failure::new(Exit::Interrupted, "watch is canceled by the server")
}

/// Runs a command once for each event, one after the other, with the event in its environment.
async fn execute(exec: Vec<OsString>, response: WatchResponse) -> Result<(), Failure> {
    let run = move || {
        let revision = response.header.map_or(0, |header| header.revision);
        for event in &response.events {
            let kv = event.kv.clone().unwrap_or_default();
            let kind = event.r#type().as_str_name();
            let done = std::process::Command::new(&exec[0])
                .args(&exec[1..])
                .env("ETCD_WATCH_REVISION", revision.to_string())
                .env("ETCD_WATCH_EVENT_TYPE", notation::quote(kind.as_bytes()))
                .env("ETCD_WATCH_KEY", notation::quote(&kv.key))
                .env("ETCD_WATCH_VALUE", notation::quote(&kv.value))
                .status();
            let why = match done {
                Ok(status) if status.success() => continue,
                Ok(status) => lock::ending(status),
                Err(error) => error.to_string(),
            };
            let words: Vec<String> =
                exec.iter().map(|word| notation::quote(word.as_encoded_bytes())).collect();
            complain(&format!("command [{}] error ({why})\n", words.join(" ")));
            return Err(Failure::said(Exit::Error));
        }
        Ok(())
    };
    tokio::task::spawn_blocking(run).await.map_err(Failure::error)?
}

#[cfg(test)]
mod tests {
    use kstore_proto::etcdserverpb::ResponseHeader;
    use kstore_proto::mvccpb::{Event, KeyValue};

    use super::*;

    fn follower(words: &[&str]) -> Result<Follower, Failure> {
        let flags = command().try_get_matches_from([&["watch"], words].concat()).unwrap();
        Follower::parse(&flags, &Variables { key: None, end: None })
    }

    fn response(created: bool, revision: i64, events: &[i64]) -> WatchResponse {
        let event = |&mod_revision| Event {
            kv: Some(KeyValue { mod_revision, ..KeyValue::default() }),
            ..Event::default()
        };
        WatchResponse {
            header: Some(ResponseHeader { revision, ..ResponseHeader::default() }),
            created,
            events: events.iter().map(event).collect(),
            ..WatchResponse::default()
        }
    }

    #[test]
    fn a_watch_goes_on_behind_the_last_event_that_it_saw() {
        let mut follower = follower(&["key", "--rev", "5"]).unwrap();
        follower.saw(&response(true, 90, &[]));
        assert_eq!(follower.next, 5, "the creation says nothing about old events");
        follower.saw(&response(false, 90, &[6, 8]));
        assert_eq!(follower.next, 9);
        follower.saw(&response(false, 95, &[]));
        assert_eq!(follower.next, 96, "progress covers what did not match");
    }

    #[test]
    fn a_watch_from_now_on_begins_where_it_was_created() {
        let mut follower = follower(&["key"]).unwrap();
        follower.saw(&response(true, 90, &[]));
        assert_eq!(follower.next, 91);
    }

    #[test]
    fn words_behind_two_dashes_are_a_command() {
        let follower = follower(&["key", "end", "--prev-kv", "--", "echo", "--prefix"]).unwrap();
        assert_eq!(follower.exec, ["echo", "--prefix"]);
        assert_eq!(&follower.request.range_end[..], b"end");
        assert!(follower.request.prev_kv);
    }

    #[test]
    fn a_watch_needs_a_key() {
        assert_eq!(follower(&[]).unwrap_err().message, "bad number of arguments");
        let both = follower(&["a", "b", "--prefix"]).unwrap_err();
        assert_eq!(both.message, "`range_end` and `--prefix` are mutually exclusive");
    }
}
