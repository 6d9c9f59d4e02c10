//! Receivers for messages: an HTTP server that keeps what it is asked, and a real mail server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy)]
pub enum Answer {
    Status(u16, &'static str),
    Redirect(&'static str),
    /// Takes the connection, then is silent.
    Never,
    /// Speaks as a mail server that has no TLS; each line it hears is kept.
    Smtp,
}

#[derive(Clone, Debug, Default)]
pub struct Request {
    pub line: String,
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<String> {
        let of = |line: &str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        self.head.lines().find_map(of)
    }
}

pub struct Recorder {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Recorder {
    pub fn start(answer: Answer) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || drop(serve(stream, answer, &kept)));
            }
        });
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

fn serve(mut stream: TcpStream, answer: Answer, kept: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    if let Answer::Smtp = answer {
        stream.write_all(b"220 mail.example.test ESMTP\r\n")?;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 {
            kept.lock().unwrap().push(Request { head: line.clone(), ..Request::default() });
            stream.write_all(b"250 mail.example.test\r\n")?;
            line.clear();
        }
        return Ok(());
    }
    let mut request = Request::default();
    reader.read_line(&mut request.line)?;
    request.line = request.line.trim_end().to_owned();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        request.head.push_str(&line);
        line.clear();
    }
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8(body).unwrap();
    kept.lock().unwrap().push(request);
    match answer {
        Answer::Status(status, body) => {
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
        Answer::Redirect(to) => {
            write!(stream, "HTTP/1.1 302 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
        // Until the other side gives up.
        Answer::Never | Answer::Smtp => reader.read(&mut [0]).map(drop),
    }
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
