//! Hostile clients at the socket: slow ones, silent ones, floods, and certificates that are no good.
//!
//! Time is tokio's, which jumps to the next timer when nobody has anything to do: minutes of
//! waiting take no time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "hostile/bench.rs"]
mod bench;
#[path = "hostile/front.rs"]
mod front;
#[path = "support/memory.rs"]
mod memory;

use std::time::Duration;

use axum::body::Body;
use front::{Front, now, rest};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kstore_apiserver::pki::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const YEAR: i64 = 366 * 86_400;

/// How long the other side takes to close; whatever it says before that.
async fn closes_within(mut stream: front::Stream) -> (Duration, Vec<u8>) {
    let began = Instant::now();
    let told = timeout(HOUR, rest(&mut stream)).await;
    let told = told.expect("within an hour the connection is closed").unwrap_or_default();
    (began.elapsed(), told)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go() {
    let front = Front::new().await;
    let mut silent = TcpStream::connect(front.address).await.unwrap();
    let began = Instant::now();
    let read = timeout(HOUR, silent.read(&mut [0; 16])).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "before its handshake: {read:?}");
    assert!(began.elapsed() < MINUTE, "before its handshake: {:?}", began.elapsed());
    for protocol in ["http/1.1", "h2"] {
        let stream = front.connect(None, protocol).await.unwrap();
        let (took, _) = closes_within(stream).await;
        assert!(took < MINUTE, "after its handshake, {protocol}: {took:?}");
    }
    assert!(front.is_alive().await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_its_headers_byte_by_byte_is_let_go() {
    let front = Front::new().await;
    let began = Instant::now();
    let mut stream = front.connect(None, "http/1.1").await.unwrap();
    for byte in b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: ".iter().chain([b'x'; 1000].iter()) {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert!(closes_within(stream).await.0 < MINUTE);
    assert!(began.elapsed() < HOUR, "however many bytes come, it is the whole that counts");
    let mut half = front.connect(None, "h2").await.unwrap();
    half.write_all(b"PRI * HTTP/2").await.unwrap();
    assert!(closes_within(half).await.0 < MINUTE);
    assert!(front.is_alive().await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_rest_between_two_requests() {
    let front = Front::new().await;
    let mut stream = front.connect(None, "http/1.1").await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut told = Vec::new();
        while !told.ends_with(b"ok") {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "it is closed");
            told.extend_from_slice(&piece[..length]);
        }
        tokio::time::sleep(MINUTE).await;
    }
    let (took, _) = closes_within(stream).await;
    assert!(took < 3 * MINUTE, "but not for ever: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_its_body_byte_by_byte_is_told_that_time_is_up() {
    let front = Front::new().await;
    let admin = front.admin();
    let mut stream = front.connect(Some(&admin), "http/1.1").await.unwrap();
    let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: a\r\n\
                content-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (took, told) = closes_within(stream).await;
    let told = String::from_utf8_lossy(&told);
    assert!(told.starts_with("HTTP/1.1 504"), "{told}");
    assert!(told.contains("\"reason\":\"Timeout\""), "{told}");
    assert!(took < 3 * MINUTE, "{took:?}");
    assert!(front.is_alive().await);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_refused_before_his_body_is_waited_for() {
    let front = Front::new().await;
    let mut stream = front.connect(None, "http/1.1").await.unwrap();
    let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: a\r\n\
                content-length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 403");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_no_tls_costs_nobody_but_who_sent_it() {
    let front = Front::new().await;
    let floods: [&[u8]; 5] =
        [&[0; 4096], &[0xff; 4096], b"\x16\x03\x01\xff\xff", b"SSH-2.0-OpenSSH\r\n", b"\r\n\r\n"];
    for garbage in floods {
        let mut socket = TcpStream::connect(front.address).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut told = Vec::new();
        let ended = timeout(MINUTE, socket.read_to_end(&mut told)).await;
        assert!(ended.is_ok(), "{garbage:?} is waited for");
    }
    assert!(front.is_alive().await);
}

#[tokio::test]
async fn plain_http_is_told_that_this_is_https() {
    let front = Front::new().await;
    let mut socket = TcpStream::connect(front.address).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut told = String::new();
    socket.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{told}");
    assert!(told.ends_with("Client sent an HTTP request to an HTTPS server.\n"), "{told}");
}

const ASK: &[u8] =
    b"GET /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn who_somebody_is_follows_from_a_certificate_of_ours_and_no_other() {
    let front = Front::new().await;
    let told = front.send(Some(&front.admin()), ASK).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    let told = front.send(None, ASK).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 403"), "{told}");
    let other = Authority::create(now()).unwrap();
    let stranger = other.client("admin", &["system:masters"], now()).unwrap();
    let refused = front.send(Some(&stranger), ASK).await;
    assert!(refused.is_err(), "of another authority: {refused:?}");
    let old = front.authority.client("admin", &["system:masters"], now() - 2 * YEAR).unwrap();
    let refused = front.send(Some(&old), ASK).await;
    assert!(refused.is_err(), "expired: {refused:?}");
    let early = front.authority.client("admin", &["system:masters"], now() + YEAR).unwrap();
    let refused = front.send(Some(&early), ASK).await;
    assert!(refused.is_err(), "not valid yet: {refused:?}");
    let names = kstore_apiserver::pki::SubjectNames::default();
    let server = front.authority.serving(&names, now()).unwrap();
    let refused = front.send(Some(&server), ASK).await;
    assert!(refused.is_err(), "a server's certificate: {refused:?}");
    assert!(front.is_alive().await);
}

#[tokio::test]
async fn requests_that_hide_another_are_refused_or_end_the_connection() {
    let front = Front::new().await;
    let hidden = "GET /version HTTP/1.1\r\nhost: a\r\n\r\n";
    let (length, post) = (hidden.len(), "POST /healthz HTTP/1.1\r\nhost: a\r\n");
    let chunked = "transfer-encoding: chunked\r\n";
    let refused = [
        format!("{post}content-length: 1\r\ncontent-length: 2\r\n\r\n{hidden}"),
        format!("{post}content-length: +1\r\n\r\n{hidden}"),
        format!("{post}content-length: 0x1\r\n\r\n{hidden}"),
        format!("{post}content-length: -1\r\n\r\n{hidden}"),
        format!("{post}content-length: 99999999999999999999\r\n\r\n{hidden}"),
        format!("{post}transfer-encoding: gzip\r\n\r\n{hidden}"),
        format!("{post}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{post}transfer-encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{post} folded: yes\r\n\r\n{hidden}"),
        format!("{post}\0: x\r\n\r\n{hidden}"),
        format!("{post}x: a\0b\r\n\r\n{hidden}"),
        format!("POST /healthz HTTP/9.9\r\nhost: a\r\n\r\n{hidden}"),
        format!("POST  /healthz HTTP/1.1\r\nhost: a\r\n\r\n{hidden}"),
    ];
    for request in refused {
        let told = front.send(None, request.as_bytes()).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 400"), "{request}\n{told}");
        assert!(!told.contains("gitVersion"), "the hidden request was answered: {request}");
    }
    // With both, the chunks count (RFC 9112), so that the hidden one is a body to both readings.
    let both = format!(
        "{post}connection: close\r\ncontent-length: 5\r\n{chunked}\r\n{length:x}\r\n{hidden}\r\n0\r\n\r\n"
    );
    let told = front.send(None, both.as_bytes()).await.unwrap();
    assert!(!told.contains("gitVersion"), "{told}");
    assert!(front.is_alive().await);
}

#[tokio::test]
async fn headers_beyond_the_bound_are_431() {
    let front = Front::new().await;
    let get = "GET /healthz HTTP/1.1\r\nhost: a\r\n";
    let long = format!("{get}x: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("{get}{}\r\n", "x: y\r\n".repeat(10_000));
    for request in [long, many] {
        let told = front.send(None, request.as_bytes()).await.unwrap_or_default();
        // A client that is still writing may see no more than the end.
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 431"), "{told}");
    }
    let stream = front.connect(None, "h2").await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().uri("https://localhost/healthz");
    for n in 0..2_000 {
        request = request.header(format!("x-{n}"), "y".repeat(100));
    }
    let answered = sender.send_request(request.body(Body::empty()).unwrap()).await;
    assert!(answered.is_err() || answered.unwrap().status() == 431);
    assert!(front.is_alive().await);
}

#[tokio::test]
async fn a_thousand_watches_on_one_connection_all_see_a_change() {
    const WATCHES: usize = 1_100;
    let front = Front::new().await;
    let stream = front.connect(Some(&front.admin()), "h2").await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let maps = "https://localhost/api/v1/namespaces/default/configmaps";
    let mut watches = Vec::new();
    for _ in 0..WATCHES {
        let request =
            Request::builder().uri(format!("{maps}?watch=1")).body(Body::empty()).unwrap();
        sender.ready().await.unwrap();
        watches.push(sender.send_request(request));
    }
    let mut bodies = Vec::new();
    for watch in watches {
        let answered = watch.await.unwrap();
        assert_eq!(answered.status(), 200);
        bodies.push(answered.into_body());
    }
    let request = Request::builder()
        .method(Method::POST)
        .uri(maps)
        .header("content-type", "application/json")
        .body(Body::from("{\"metadata\":{\"name\":\"seen-by-all\"}}"))
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 201);
    for mut body in bodies {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("seen-by-all") {
            let frame = timeout(MINUTE, body.frame()).await.expect("it is told").unwrap().unwrap();
            seen.extend_from_slice(frame.data_ref().unwrap());
        }
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

/// GET / of `a`, as HPACK writes it with its static table.
const GET_ROOT: [u8; 6] = [0x82, 0x87, 0x84, 0x41, 0x01, b'a'];

/// The kinds of the frames in some bytes, and the error of a GOAWAY among them.
fn goaway(mut bytes: &[u8]) -> Option<u32> {
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = rest.get(..length)?;
        if head[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().unwrap()));
        }
        bytes = &rest[length..];
    }
    None
}

/// Writes as much as the other side takes, while what it says is read; and what it said.
async fn flood(front: &Front, mut bytes: Vec<u8>) -> Vec<u8> {
    // If it is let to the end, it says goodbye.
    bytes.extend(frame(GOAWAY, 0, 0, &[0; 8]));
    let stream = front.connect(None, "h2").await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let writer = tokio::spawn(async move {
        let written = writing.write_all(&preface()).await;
        if written.is_ok() {
            drop(writing.write_all(&bytes).await);
            drop(writing.flush().await);
        }
        writing
    });
    let mut told = Vec::new();
    let mut piece = vec![0; 64 << 10];
    let reading = async {
        while goaway(&told).is_none() {
            match reading.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(length) => told.extend_from_slice(&piece[..length]),
            }
        }
    };
    timeout(MINUTE, reading).await.expect("the connection ends");
    writer.abort();
    told
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    const CALM: u32 = 0xb;
    let front = Front::new().await;
    let mut bytes = Vec::new();
    for stream in (1..40_000).step_by(2) {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &GET_ROOT));
        bytes.extend(frame(RESET, 0, stream, &[0, 0, 0, 8]));
    }
    let told = flood(&front, bytes).await;
    assert_eq!(goaway(&told), Some(CALM), "{} bytes were told", told.len());
    assert!(front.is_alive().await);
}

#[tokio::test]
async fn headers_that_go_on_without_end_end_the_connection() {
    let front = Front::new().await;
    let mut bytes = frame(HEADERS, END_STREAM, 1, &GET_ROOT);
    // A header that is not indexed: `x: yyyy...`.
    let mut header = vec![0x00, 0x01, b'x', 0x7f, 0xa1, 0x7d];
    header.extend_from_slice(&[b'y'; 16_160]);
    for _ in 0..2_000 {
        bytes.extend(frame(CONTINUATION, 0, 1, &header));
    }
    let told = flood(&front, bytes).await;
    assert!(goaway(&told).is_some(), "{} bytes were told", told.len());
    assert!(front.is_alive().await);
}

#[tokio::test]
async fn floods_of_pings_and_settings_leave_others_alone() {
    let front = Front::new().await;
    for kind in [PING, SETTINGS] {
        let payload: &[u8] = if kind == PING { &[0; 8] } else { &[] };
        let bytes = frame(kind, 0, 0, payload).repeat(50_000);
        drop(flood(&front, bytes).await);
        assert!(front.is_alive().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_more_is_let_go() {
    let front = Front::new().await;
    let mut stream = front.connect(Some(&front.admin()), "h2").await.unwrap();
    let watch = "/api/v1/namespaces/default/configmaps?watch=1";
    let mut headers = vec![0x82, 0x87, 0x04, u8::try_from(watch.len()).unwrap()];
    headers.extend_from_slice(watch.as_bytes());
    headers.extend_from_slice(&[0x41, 0x01, b'a']);
    let mut bytes = preface();
    bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, &headers));
    stream.write_all(&bytes).await.unwrap();
    // The server asks whether anybody is there, and nobody answers.
    let (took, told) = closes_within(stream).await;
    assert!(!told.is_empty());
    assert!(took < 3 * MINUTE, "{took:?}");
    assert!(front.bench.server.is_ready() && front.is_alive().await);
}
