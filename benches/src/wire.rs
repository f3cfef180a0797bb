//! Unary gRPC calls over HTTP/2, and no more than these need.
//!
//! ```text
//!   client ──message──► out ──► one write for all that are waiting ──► socket
//!   client ◄──answer─── waiting[stream] ◄── frames ◄── one read ◄───── socket
//! ```
//!
//! A general client spends about as much on a call as a good server does, and takes that time from
//! it. This one calls one method per connection, so that after the first call all headers are six
//! references into the table that HPACK keeps; and it never reads headers. An answer with a message
//! is a success, one without is an error: a unary call knows no third kind.
//!
//! Invariant: a stream is in `waiting` from its headers on until its answer is whole or it failed.
//!
//! Deliberately missing: TLS, the texts of errors, padding, pushes, and messages that need more than
//! a stream's first window.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::io;
use std::rc::Rc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

/// A key and a value together; with their frames they fit into a stream's first window.
pub(crate) const PAYLOAD_MAX: usize = 60_000;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Every frame begins with its length, type, flags and stream.
const HEAD: usize = 9;
/// No frame is longer unless the other side allows it.
const FRAME_MAX: usize = 16_384;
/// What may be sent on a connection before the other side has said more.
const WINDOW_FIRST: usize = 65_535;
/// What the other side may send: as much as can be said, and said again when half is used.
const WINDOW_MAX: u32 = (1 << 31) - 1;
const WINDOW_STREAM: u32 = 1 << 24;
const READ_AT_ONCE: usize = 1 << 16;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Of DATA and HEADERS; the same bit is ACK in SETTINGS and PING.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const SETTING_INITIAL_WINDOW_SIZE: u16 = 4;

/// Every gRPC message begins with a byte that says "not compressed" and its length.
const PREFIX: usize = 5;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server answered with an error.
    Refused,
    /// The stream or the connection was broken off.
    Broken,
    /// The answer is no message of the kind that was expected.
    Garbled,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the server answered with an error",
            Self::Broken => "the connection was broken off",
            Self::Garbled => "the answer cannot be decoded",
        })
    }
}

type Answer = Result<Bytes, Failure>;

/// A connection for calls of one method.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Rc<Shared>,
    reader: AbortHandle,
    writer: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// Invariant: not borrowed while a task waits.
    state: RefCell<State>,
    /// Rung when there is something in `out`.
    outgoing: Notify,
}

#[derive(Debug)]
struct State {
    /// What is to be written next. Bounded by one request for each client.
    out: BytesMut,
    /// The header block of the next call: all of it the first time, references afterwards.
    headers: Bytes,
    /// The number of the next stream: odd, and growing.
    next: u32,
    waiting: BTreeMap<u32, Waiting>,
    /// Messages for which there is no window yet, at most one for each client.
    blocked: VecDeque<(Bytes, oneshot::Sender<Answer>)>,
    /// How many bytes of DATA may be sent.
    window: usize,
    /// How many bytes of DATA came since the other side was last given window.
    received: u32,
    /// After a failure of the connection no call can begin.
    broken: bool,
}

#[derive(Debug)]
struct Waiting {
    /// What has come of the answer.
    body: BytesMut,
    client: oneshot::Sender<Answer>,
}

impl Connection {
    /// Connects to `address`, which is `host:port`, for calls of the method `path`.
    pub(crate) async fn open(address: &str, path: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (from, to) = socket.into_split();
        let shared = Rc::new(Shared {
            state: RefCell::new(State {
                out: greeting(),
                headers: first_headers(address, path),
                next: 1,
                waiting: BTreeMap::new(),
                blocked: VecDeque::new(),
                window: WINDOW_FIRST,
                received: 0,
                broken: false,
            }),
            outgoing: Notify::new(),
        });
        let reader = tokio::task::spawn_local(read(Rc::clone(&shared), from)).abort_handle();
        let writer = tokio::task::spawn_local(write(Rc::clone(&shared), to)).abort_handle();
        Ok(Self { shared, reader, writer })
    }

    /// Sends a message and waits for the one that answers it.
    pub(crate) async fn call(&self, message: &impl Message) -> Answer {
        let length = message.encoded_len();
        let mut bytes = BytesMut::with_capacity(PREFIX + length);
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(length).expect("PAYLOAD_MAX bounds it"));
        message.encode(&mut bytes).expect("the buffer has room for it");
        let (client, answer) = oneshot::channel();
        {
            let mut state = self.shared.state.borrow_mut();
            if state.broken {
                return Err(Failure::Broken);
            }
            state.blocked.push_back((bytes.freeze(), client));
            state.send();
        }
        self.shared.outgoing.notify_one();
        answer.await.unwrap_or(Err(Failure::Broken))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

impl State {
    /// Sends the messages that there is window for.
    fn send(&mut self) {
        while let Some((message, client)) = self.blocked.pop_front() {
            if message.len() > self.window {
                self.blocked.push_front((message, client));
                return;
            }
            self.window -= message.len();
            let stream = self.next;
            self.next += 2;
            put_head(&mut self.out, self.headers.len(), HEADERS, END_HEADERS, stream);
            self.out.put_slice(&self.headers);
            self.headers = LATER_HEADERS;
            let mut rest = message;
            while !rest.is_empty() {
                let part = rest.split_to(rest.len().min(FRAME_MAX));
                let flags = if rest.is_empty() { END_STREAM } else { 0 };
                put_head(&mut self.out, part.len(), DATA, flags, stream);
                self.out.put_slice(&part);
            }
            self.waiting.insert(stream, Waiting { body: BytesMut::new(), client });
        }
    }

    fn take(&mut self, frame: Frame) {
        match frame.kind {
            DATA => self.take_data(&frame),
            HEADERS if frame.flags & END_STREAM != 0 => self.end(frame.stream),
            RST_STREAM => self.fail(frame.stream),
            SETTINGS if frame.flags & ACK == 0 => put_head(&mut self.out, 0, SETTINGS, ACK, 0),
            PING if frame.flags & ACK == 0 => {
                put_head(&mut self.out, frame.payload.len(), PING, ACK, 0);
                self.out.put_slice(&frame.payload);
            }
            WINDOW_UPDATE if frame.stream == 0 && frame.payload.len() == 4 => {
                self.window += frame.payload.clone().get_u32() as usize;
                self.send();
            }
            GOAWAY => self.break_off(),
            // What is left says nothing about unary calls, or continues headers.
            _ => {}
        }
    }

    fn take_data(&mut self, frame: &Frame) {
        self.received += u32::try_from(frame.payload.len()).expect("a frame's length has 24 bits");
        if self.received > WINDOW_MAX / 2 {
            put_head(&mut self.out, 4, WINDOW_UPDATE, 0, 0);
            self.out.put_u32(self.received);
            self.received = 0;
        }
        if let Some(waiting) = self.waiting.get_mut(&frame.stream) {
            waiting.body.put_slice(&frame.payload);
        }
        if frame.flags & END_STREAM != 0 {
            self.end(frame.stream);
        }
    }

    /// The answer of a stream is whole.
    fn end(&mut self, stream: u32) {
        let Some(waiting) = self.waiting.remove(&stream) else { return };
        let mut body = waiting.body.freeze();
        let answer = if body.len() < PREFIX {
            Err(Failure::Refused)
        } else {
            body.advance(PREFIX);
            Ok(body)
        };
        // A client that is gone wants no answer.
        let _ = waiting.client.send(answer);
    }

    fn fail(&mut self, stream: u32) {
        // Dropping the sender tells the client.
        self.waiting.remove(&stream);
    }

    fn break_off(&mut self) {
        self.broken = true;
        self.waiting.clear();
        self.blocked.clear();
    }
}

/// Writes what is in `out`, all of it at once.
async fn write(shared: Rc<Shared>, mut socket: OwnedWriteHalf) {
    loop {
        let out = shared.state.borrow_mut().out.split();
        if out.is_empty() {
            shared.outgoing.notified().await;
            continue;
        }
        if socket.write_all(&out).await.is_err() {
            shared.state.borrow_mut().break_off();
            return;
        }
    }
}

/// Takes frames until the connection ends.
async fn read(shared: Rc<Shared>, mut socket: OwnedReadHalf) {
    let mut buffer = BytesMut::with_capacity(READ_AT_ONCE);
    loop {
        buffer.reserve(READ_AT_ONCE);
        match socket.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return shared.state.borrow_mut().break_off(),
        }
        let mut state = shared.state.borrow_mut();
        while let Some(frame) = Frame::split_off(&mut buffer) {
            state.take(frame);
        }
        if !state.out.is_empty() {
            shared.outgoing.notify_one();
        }
    }
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Bytes,
}

impl Frame {
    /// The first frame of `buffer`, once it is whole.
    fn split_off(buffer: &mut BytesMut) -> Option<Self> {
        let mut head: &[u8] = buffer.get(..HEAD)?;
        let length = head.get_uint(3);
        let length = usize::try_from(length).expect("three bytes");
        let (kind, flags) = (head.get_u8(), head.get_u8());
        let stream = head.get_u32() & WINDOW_MAX;
        if buffer.len() < HEAD + length {
            return None;
        }
        buffer.advance(HEAD);
        Some(Self { kind, flags, stream, payload: buffer.split_to(length).freeze() })
    }
}

fn put_head(out: &mut BytesMut, length: usize, kind: u8, flags: u8, stream: u32) {
    out.put_uint(length as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
}

/// What a connection begins with: the preface, settings, and all the window there is.
fn greeting() -> BytesMut {
    let mut out = BytesMut::from(PREFACE);
    put_head(&mut out, 6, SETTINGS, 0, 0);
    out.put_u16(SETTING_INITIAL_WINDOW_SIZE);
    out.put_u32(WINDOW_STREAM);
    put_head(&mut out, 4, WINDOW_UPDATE, 0, 0);
    out.put_u32(WINDOW_MAX - 65_535);
    out
}

/// A block of HPACK: two entries of its static table, and four that the other side is asked to keep.
fn first_headers(authority: &str, path: &str) -> Bytes {
    /// `:method: POST` and `:scheme: http`.
    const STATIC: [u8; 2] = [0x83, 0x86];
    /// "Keep this", and in the lower six bits where the static table has the name.
    const KEEP: u8 = 0x40;
    const AUTHORITY: u8 = 1;
    const PATH: u8 = 4;
    const CONTENT_TYPE: u8 = 31;
    let mut out = BytesMut::from(&STATIC[..]);
    out.put_u8(KEEP | PATH);
    put_text(&mut out, path);
    out.put_u8(KEEP | AUTHORITY);
    put_text(&mut out, authority);
    out.put_u8(KEEP | CONTENT_TYPE);
    put_text(&mut out, "application/grpc");
    out.put_u8(KEEP);
    put_text(&mut out, "te");
    put_text(&mut out, "trailers");
    out.freeze()
}

/// The same as the first, now that the other side has kept four entries: 62 is the newest of them.
const LATER_HEADERS: Bytes =
    Bytes::from_static(&[0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);

/// A text as HPACK has it, not compressed.
fn put_text(out: &mut BytesMut, text: &str) {
    /// A longer one's length would take more than one byte.
    const LENGTH_MAX: usize = 126;
    assert!(text.len() <= LENGTH_MAX, "the texts are an address and a method's path");
    out.put_u8(u8::try_from(text.len()).expect("asserted above"));
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_once_it_is_whole() {
        let mut whole = BytesMut::new();
        put_head(&mut whole, 3, DATA, END_STREAM, 7);
        whole.put_slice(b"abc");
        let mut buffer = BytesMut::new();
        for byte in &whole {
            assert!(Frame::split_off(&mut buffer).is_none());
            buffer.put_u8(*byte);
        }
        let frame = Frame::split_off(&mut buffer).unwrap();
        assert_eq!((frame.kind, frame.flags, frame.stream), (DATA, END_STREAM, 7));
        assert_eq!(frame.payload, "abc");
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_message_waits_for_window_and_goes_once_there_is_some() {
        let mut state = State {
            out: BytesMut::new(),
            headers: LATER_HEADERS,
            next: 1,
            waiting: BTreeMap::new(),
            blocked: VecDeque::new(),
            window: 10,
            received: 0,
            broken: false,
        };
        let (client, mut answer) = oneshot::channel();
        state.blocked.push_back((Bytes::from(vec![0; 20]), client));
        state.send();
        assert!(state.out.is_empty());
        let payload = Bytes::from_static(&[0, 0, 0, 10]);
        state.take(Frame { kind: WINDOW_UPDATE, flags: 0, stream: 0, payload });
        assert_eq!(state.out.len(), 2 * HEAD + LATER_HEADERS.len() + 20);
        state.take(Frame { kind: HEADERS, flags: END_STREAM, stream: 1, payload: Bytes::new() });
        assert_eq!(answer.try_recv().unwrap(), Err(Failure::Refused));
    }
}
