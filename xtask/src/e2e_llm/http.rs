//! The little of HTTP that a server on this machine is asked in: whole replies, and one that is read while it is written.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long a server that is working hard may keep silent.
const SILENCE: Duration = Duration::from_secs(120);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    authority: String,
}

/// A reply that has come whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// A reply of server-sent events; dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Events(BufReader<TcpStream>);

impl Host {
    /// The host of an address such as `http://127.0.0.1:8080/v1`.
    pub(super) fn of(url: &str) -> anyhow::Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("`{url}` does not begin with http://; name a server that speaks plain HTTP");
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority })
    }

    /// What the server has at a path.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Reply> {
        let mut stream = self.connect()?;
        // In 1.0 a reply ends with its connection, and comes in one piece.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.authority).as_bytes())?;
        let mut text = String::new();
        stream
            .read_to_string(&mut text)
            .with_context(|| format!("{path} of {} broke off", self.authority))?;
        reply(&text).with_context(|| format!("{path} of {} is no HTTP", self.authority))
    }

    /// Posts JSON, and leaves the reply to be read.
    pub(super) fn post(&self, path: &str, json: &str) -> anyhow::Result<Events> {
        let mut stream = self.connect()?;
        let (host, n_bytes) = (&self.authority, json.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {n_bytes}\r\n\r\n"
        );
        stream.write_all((head + json).as_bytes())?;
        Ok(Events(BufReader::new(stream)))
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let address = self.authority.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        let address = address.with_context(|| format!("`{}` is no address", self.authority))?;
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))
            .with_context(|| format!("cannot reach {}", self.authority))?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(stream)
    }
}

impl Events {
    /// Reads up to the end of the next event; false where there is none.
    pub(super) fn next(&mut self) -> anyhow::Result<bool> {
        let mut line = String::new();
        while self.0.read_line(&mut line).context("the stream broke off")? > 0 {
            if line.starts_with("data: ") {
                return Ok(!line.starts_with("data: [DONE]"));
            }
            line.clear();
        }
        Ok(false)
    }
}

fn reply(text: &str) -> Option<Reply> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: body.to_owned() })
}

/// Asks again and again until there is something, for so long at the most.
pub(super) fn wait_for<T>(
    patience: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if began.elapsed() >= patience {
            return Ok(None);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<&str>) {
        assert_eq!(Host::of(url).ok().map(|host| host.authority).as_deref(), expected, "{url}");
    }

    #[test]
    fn a_host_stands_between_scheme_and_path() {
        check("http://127.0.0.1:8080/v1", Some("127.0.0.1:8080"));
        check("http://u:p@[::1]:1", Some("[::1]:1"));
        check("http://localhost/v1", Some("localhost:80"));
        check("https://localhost/v1", None);
        check("localhost:8080", None);
    }

    /// A server that answers one connection.
    fn serve(answer: &'static str) -> (Host, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = Host::of(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n_bytes = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..n_bytes]).into_owned()
        });
        (host, serving)
    }

    #[test]
    fn a_reply_is_a_status_and_a_body() {
        let (host, serving) = serve("HTTP/1.1 503 Service Unavailable\r\nServer: x\r\n\r\nLoading");
        assert_eq!(host.get("/health").unwrap(), Reply { status: 503, body: "Loading".to_owned() });
        assert!(serving.join().unwrap().starts_with("GET /health HTTP/1.0\r\n"));
        let (host, _) = serve("SSH-2.0-OpenSSH\r\n");
        assert!(host.get("/health").is_err());
    }

    #[test]
    fn events_are_counted_up_to_the_end() {
        let (host, serving) = serve(
            "HTTP/1.1 200 OK\r\n\r\n1e\r\ndata: {\"a\":1}\n\n\r\n: comment\n\ndata: {}\n\ndata: [DONE]\n\ndata: {}\n\n",
        );
        let mut events = host.post("/v1/chat/completions", "{}").unwrap();
        assert_eq!([(); 3].map(|()| events.next().unwrap()), [true, true, false]);
        assert!(serving.join().unwrap().ends_with("\r\n\r\n{}"));
    }

    #[test]
    fn waiting_ends_with_what_is_found_or_without() {
        let mut n_looks = 0;
        let found = wait_for(Duration::from_secs(60), || {
            n_looks += 1;
            Ok((n_looks == 3).then_some("here"))
        });
        assert_eq!(found.unwrap(), Some("here"));
        assert_eq!(wait_for(Duration::ZERO, || Ok(None::<()>)).unwrap(), None);
    }
}
