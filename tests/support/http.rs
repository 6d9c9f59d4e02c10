//! A web server of a test: each request to one function, its answer back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Such as `GET /health HTTP/1.1`.
    pub line: String,
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    fn target(&self) -> (&str, &str) {
        let target = self.line.split(' ').nth(1).unwrap_or_default();
        target.split_once('?').unwrap_or((target, ""))
    }

    pub fn path(&self) -> &str {
        self.target().0
    }

    pub fn query(&self) -> &str {
        self.target().1
    }
}

pub struct Answer {
    pub status: u16,
    /// Each with its line end.
    pub headers: String,
    pub body: String,
}

/// Serves on a port of this machine until the test ends; `None` closes the connection without a word.
pub fn serve(answer: impl Fn(Request) -> Option<Answer> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || drop(connection(stream, &*answer)));
        }
    });
    port
}

fn connection(mut stream: TcpStream, answer: &dyn Fn(Request) -> Option<Answer>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = Request::default();
        if reader.read_line(&mut request.line)? == 0 {
            return Ok(());
        }
        request.line = request.line.trim_end().to_owned();
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            request.head.push_str(&line);
            line.clear();
        }
        if request.header("expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        request.body = String::from_utf8(body).unwrap();
        let Some(Answer { status, headers, body }) = answer(request) else { return Ok(()) };
        write!(stream, "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())?;
    }
}
