//! What the world outside sees of a host: HTTPS verified against the lab's root, ports, serials.

use std::io::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Host, lab};

#[derive(Debug)]
pub struct Answer {
    /// 0 when there was none, with the reason in `body`.
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// `https://DOMAIN/PATH` of a host, its certificate verified.
pub fn get(host: &Host, path: &str) -> Answer {
    curl(host, path, &[], None)
}

/// A POST with a body of a type.
pub fn post(host: &Host, path: &str, kind: &str, body: &[u8]) -> Answer {
    let header = format!("Content-Type: {kind}");
    curl(host, path, &["-X", "POST", "-H", &header, "--data-binary", "@-"], Some(body))
}

fn curl(host: &Host, path: &str, extra: &[&str], body: Option<&[u8]>) -> Answer {
    let domain = host.domain();
    let mut child = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--noproxy", "*", "-w", "\n%{http_code}", "--cacert"])
        .arg(&lab().root)
        .arg("--resolve")
        .arg(format!("{domain}:443:{}", host.address))
        .args(extra)
        .arg(format!("https://{domain}{path}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    if let Some(body) = body {
        stdin.write_all(body).expect("curl reads the body");
    }
    drop(stdin);
    let output = child.wait_with_output().expect("curl ends");
    let text = String::from_utf8_lossy(&output.stdout);
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    if output.status.success() {
        Answer { status: status.trim().parse().unwrap_or(0), body: body.to_owned() }
    } else {
        Answer { status: 0, body: String::from_utf8_lossy(&output.stderr).into_owned() }
    }
}

/// Serial of the certificate that a host serves for its domain.
pub fn serial(host: &Host) -> String {
    let script = format!(
        "timeout 10 openssl s_client -connect {}:443 -servername {} </dev/null 2>/dev/null | openssl x509 -noout -serial",
        host.address,
        host.domain()
    );
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether a TCP connection from here comes about within two seconds.
pub fn tcp_open(host: &Host, port: u16) -> bool {
    let address = (host.address.as_str(), port).to_socket_addrs().expect("an address").next().expect("one");
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
}
