//! The one way to speak HTTP from here: bounded in time and size, verified, without redirects.
//!
//! Rule of this file: an address may hold a token, so no error tells one. Calls block; inside the
//! runtime they belong into `spawn_blocking`.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::http::HeaderMap;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest answer that is read, in bytes.
const MOST: u64 = 64 * 1024;

type Builder = ConfigBuilder<ureq::typestate::AgentScope>;

/// A client for a few requests. Its certificates are the system's (`SSL_CERT_FILE` is honoured).
#[derive(Clone, Debug)]
pub struct Http(Agent);

/// An answer of any status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HttpError(String);

/// The system's roots, in DER.
#[must_use]
pub fn roots() -> Vec<Vec<u8>> {
    rustls_native_certs::load_native_certs().certs.iter().map(|cert| cert.to_vec()).collect()
}

impl Http {
    /// `limit` is for a request from the name's resolution to the last byte.
    #[must_use]
    pub fn new(limit: Duration) -> Http {
        Http::with(|config| config.timeout_global(Some(limit)))
    }

    fn with(limits: impl FnOnce(Builder) -> Builder) -> Http {
        let roots: Vec<Certificate<'static>> =
            roots().iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = limits(Agent::config_builder())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("fleet/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Http(config.into())
    }

    /// For a storage: what is long may take its time, silence may not.
    #[must_use]
    pub fn patient() -> Http {
        Http::with(|config| {
            config
                .timeout_connect(Some(Duration::from_secs(15)))
                .timeout_recv_response(Some(Duration::from_secs(120)))
                .timeout_per_read(Some(Duration::from_secs(60)))
                .timeout_per_write(Some(Duration::from_secs(60)))
        })
    }

    /// One request whose answer has at most so many bytes.
    ///
    /// # Errors
    /// As [`Http::get`], and an answer that is longer.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
        most: u64,
    ) -> Result<Answer, HttpError> {
        let (answer, whole) = self.exchange(method, url, headers, body, most)?;
        if whole { Ok(answer) } else { Err(HttpError(format!("it answers with more than {most} bytes"))) }
    }

    /// # Errors
    /// When no whole answer came in time.
    pub fn get(&self, url: &str) -> Result<Answer, HttpError> {
        // What an endless answer says does not matter once its status is known.
        self.exchange("GET", url, &[], None, MOST).map(|(answer, _)| answer)
    }

    /// # Errors
    /// As [`Http::get`].
    pub fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, HttpError> {
        self.exchange("POST", url, headers, Some(body), MOST).map(|(answer, _)| answer)
    }

    /// One request, and whether its answer is whole; one that is too long has no body here.
    fn exchange(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
        most: u64,
    ) -> Result<(Answer, bool), HttpError> {
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bad = |_| HttpError("its address is no URL".to_owned());
        let answer = match body {
            Some(body) => self.0.run(request.body(body).map_err(bad)?),
            None => self.0.run(request.body(()).map_err(bad)?),
        };
        let mut answer = answer.map_err(|error| explain(&error))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let (body, whole) = match answer.body_mut().with_config().limit(most).read_to_vec() {
            Err(ureq::Error::BodyExceedsLimit(_)) => (Vec::new(), false),
            other => (other.map_err(|error| explain(&error))?, true),
        };
        Ok((Answer { status, headers, body }, whole))
    }
}

impl Answer {
    #[must_use]
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// One header; none where it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// In words of our own: those of the library may quote the address.
fn explain(error: &ureq::Error) -> HttpError {
    use ureq::Error as E;
    HttpError(match error {
        E::Timeout(_) => "no answer in time".to_owned(),
        E::HostNotFound => "its name is not found in DNS".to_owned(),
        E::ConnectionFailed => "the connection failed".to_owned(),
        E::Io(error) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "the connection is refused".to_owned(),
            std::io::ErrorKind::TimedOut => "no answer in time".to_owned(),
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => {
                "the connection was closed without an answer".to_owned()
            }
            _ if error.to_string().contains("lookup address information") => {
                "its name is not found in DNS".to_owned()
            }
            _ => certificate(&error.to_string())
                .unwrap_or_else(|| format!("the connection failed ({})", error.kind())),
        },
        E::Tls(_) | E::Rustls(_) | E::Pem(_) => {
            certificate(&error.to_string()).unwrap_or_else(|| "TLS failed".to_owned())
        }
        E::BadUri(_) | E::Http(_) => "its address is no URL".to_owned(),
        E::Protocol(_) | E::LargeResponseHeader(..) => "what answers there does not speak HTTP".to_owned(),
        _ => "the request failed".to_owned(),
    })
}

/// What is wrong with a certificate, from rustls's words.
fn certificate(said: &str) -> Option<String> {
    let (_, why) = said.split_once("invalid peer certificate: ")?;
    let why: String = why.chars().take(120).filter(|c| !c.is_control()).collect();
    Some(format!("its certificate is not accepted ({why})"))
}
