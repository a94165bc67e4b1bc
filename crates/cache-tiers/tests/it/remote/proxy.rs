//! A man in the middle: passes on what a server answers, or spoils it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// What becomes of the server's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Answers {
    /// They are passed on.
    Whole,
    /// Bytes that are no answer come instead.
    Nonsense,
    /// A well-formed answer to some other question comes instead.
    Mistaken,
    /// The connection ends instead.
    Reset,
    /// The proxy itself is over.
    Over,
}

/// A proxy before a server, on a port of its own.
pub(super) struct Proxy {
    pub(super) port: u16,
    answers: Arc<AtomicU8>,
}

impl Proxy {
    pub(super) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(AtomicU8::new(Answers::Whole as u8));
        let mode = Arc::clone(&answers);
        thread::spawn(move || {
            for client in listener.incoming() {
                if mode.load(Ordering::Relaxed) == Answers::Over as u8 {
                    return;
                }
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) {
                    connect(client, server, &mode);
                }
            }
        });
        Self { port, answers }
    }

    pub(super) fn set(&self, answers: Answers) {
        self.answers.store(answers as u8, Ordering::Relaxed);
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Answers::Over);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(client: TcpStream, server: TcpStream, mode: &Arc<AtomicU8>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (mut questions, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut questions, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client, mode) = (server, client, Arc::clone(mode));
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(n_bytes @ 1..) = from_server.read(&mut buffer) {
            let bytes = match mode.load(Ordering::Relaxed) {
                mode if mode == Answers::Whole as u8 => &buffer[..n_bytes],
                mode if mode == Answers::Nonsense as u8 => b"\x00\xff<html>\r\n\r\n".as_slice(),
                mode if mode == Answers::Mistaken as u8 => b":42\r\n".as_slice(),
                _ => break,
            };
            if to_client.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
}
