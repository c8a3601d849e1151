//! Connections as bytes: those that do nothing, and those that send a byte a second.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What a client of HTTP/2 says first: the preface, and empty settings.
const HTTP2_HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const FRAME_HEAD: usize = 9;

/// A connection whose bytes are read when some come.
pub struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Peer {
    /// Connects, and sends something at once.
    pub fn open(address: &str, hello: &[u8]) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(hello)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// A connection of HTTP/2.
    pub fn open_http2(address: &str) -> std::io::Result<Self> {
        Self::open(address, HTTP2_HELLO)
    }

    /// Sends something; whether the connection still stands.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        !matches!(self.stream.write(bytes), Err(error) if error.kind() != ErrorKind::WouldBlock)
    }

    /// Reads what has come; whether the connection still stands.
    pub fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(read) => self.unread.extend_from_slice(&bytes[..read]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Answers pings and settings, as every client of HTTP/2 does; whether the connection still stands.
    pub fn answer_http2(&mut self) -> bool {
        let stands = self.read();
        while let Some(&[a, b, c, kind, flags]) = self.unread.first_chunk::<5>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if self.unread.len() < FRAME_HEAD + length {
                break;
            }
            let frame: Vec<u8> = self.unread.drain(..FRAME_HEAD + length).collect();
            match (kind, flags & ACK) {
                (SETTINGS, 0) => drop(self.send(&[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0])),
                (PING, 0) => {
                    let mut pong = frame;
                    pong[4] = ACK;
                    self.send(&pong);
                }
                _ => {}
            }
        }
        stands
    }
}

/// Connections that do nothing: how many were opened, how many could not be, and how many the server let go.
#[derive(Debug, Default)]
pub struct Idle {
    pub opened: usize,
    pub refused: usize,
    pub let_go: usize,
}

/// Holds so many connections until it is told to stop.
pub fn hold(http: &str, http1: usize, grpc: &str, http2: usize, stop: &AtomicBool) -> Idle {
    let request = format!("GET /health HTTP/1.1\r\nhost: {http}\r\n\r\n");
    let mut idle = Idle::default();
    let (mut plain, mut multiplexed) = (Vec::new(), Vec::new());
    for number in 0..http1 + http2 {
        let opened = match number < http1 {
            true => Peer::open(http, request.as_bytes()).map(|peer| plain.push(peer)),
            false => Peer::open_http2(grpc).map(|peer| multiplexed.push(peer)),
        };
        match opened {
            Ok(()) => idle.opened += 1,
            Err(_) => idle.refused += 1,
        }
    }
    while !stop.load(Relaxed) {
        multiplexed.retain_mut(Peer::answer_http2);
        plain.retain_mut(Peer::read);
        std::thread::sleep(Duration::from_millis(500));
    }
    idle.let_go = idle.opened - plain.len() - multiplexed.len();
    idle
}

/// So many clients that send a byte a second, half of them of a head, half of a body; how often the server let one go, which
/// then comes again.
pub fn drip(http: &str, clients: usize, stop: &AtomicBool) -> usize {
    let head = format!("POST /ingest HTTP/1.1\r\nhost: {http}\r\ncontent-length: 100000\r\n\r\n");
    let open = |number: usize| {
        Peer::open(http, if number.is_multiple_of(2) { head.as_bytes() } else { b"POST /ingest HTTP/1.1\r\nx-a: " })
    };
    let mut peers: Vec<_> = (0..clients).map(open).collect();
    let mut let_go = 0;
    while !stop.load(Relaxed) {
        let second = Instant::now();
        for (number, peer) in peers.iter_mut().enumerate() {
            if !peer.as_mut().is_ok_and(|peer| peer.read() && peer.send(b"x")) {
                let_go += 1;
                *peer = open(number);
            }
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(second.elapsed()));
    }
    let_go
}
