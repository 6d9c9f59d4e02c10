//! Receivers for messages: an HTTP server that keeps what it is asked, and a real mail server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::http::{self, Request};

#[derive(Clone, Copy)]
pub enum Answer {
    Status(u16, &'static str),
    Redirect(&'static str),
    /// Takes the connection, then is silent.
    Never,
    /// Speaks as a mail server that has no TLS; each line it hears is kept.
    Smtp,
}

pub struct Recorder {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Recorder {
    pub fn start(answer: Answer) -> Recorder {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = Arc::clone(&requests);
        let port = match answer {
            Answer::Smtp => mail(kept),
            _ => http::serve(move |request| {
                kept.lock().unwrap().push(request);
                answer.to_http()
            }),
        };
        Recorder { port, requests }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn one(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }
}

impl Answer {
    fn to_http(self) -> Option<http::Answer> {
        let (status, headers, body) = match self {
            Answer::Status(status, body) => (status, String::new(), body),
            Answer::Redirect(to) => (302, format!("location: {to}\r\n"), ""),
            Answer::Never | Answer::Smtp => loop {
                std::thread::park();
            },
        };
        Some(http::Answer { status, headers, body: body.to_owned() })
    }
}

fn mail(kept: Arc<Mutex<Vec<Request>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || drop(session(stream, &kept)));
        }
    });
    port
}

fn session(mut stream: TcpStream, kept: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 mail.example.test ESMTP\r\n")?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        kept.lock().unwrap().push(Request { head: line.clone(), ..Request::default() });
        stream.write_all(b"250 mail.example.test\r\n")?;
        line.clear();
    }
    Ok(())
}

/// A port of this machine that nobody listens on.
pub fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn openssl(words: &[&str], dir: &Path) {
    let output = Command::new("openssl").args(words).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A root (`ca.pem`) and a certificate of it for 127.0.0.1 (`cert.pem`, `key.pem`).
pub fn certificates(dir: &Path) {
    let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test"];
    let made = |more: &[&str]| openssl(&[&new[..], more].concat(), dir);
    made(&["-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"]);
    made(&["-keyout", "key.pem", "-out", "cert.csr"]);
    std::fs::write(dir.join("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let sign =
        "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out cert.pem";
    openssl(&sign.split(' ').collect::<Vec<_>>(), dir);
}

/// Base64 of HMAC-SHA256, by another program than the one that is tested.
pub fn hmac_by_openssl(key_hex: &str, text: &str) -> String {
    let script =
        format!("openssl dgst -sha256 -mac HMAC -macopt hexkey:{key_hex} -binary | openssl base64 -A");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// aiosmtpd (Debian's package, so Debian's python), which insists upon TLS and a login.
pub struct Mail {
    pub port: u16,
    server: Child,
    kept: PathBuf,
    _dir: tempfile::TempDir,
}

impl Mail {
    pub fn start(mode: &str, certificates: &Path) -> Mail {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("mails");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/notify/smtp.py");
        let mut server = Command::new("/usr/bin/python3")
            .arg(program)
            .arg(mode)
            .args([certificates.join("cert.pem"), certificates.join("key.pem"), kept.clone()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("python3-aiosmtpd is installed by scripts/test.sh");
        Mail { port, server, kept, _dir: dir }
    }

    pub fn mails(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.kept).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
