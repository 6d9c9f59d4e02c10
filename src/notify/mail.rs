//! E-mail by SMTP (RFC 5321): STARTTLS that is insisted upon, or TLS from the first byte; the server's
//! certificate is always verified, against the system's roots or those of `ca`.

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{Error, SmtpTransport};
use lettre::{Address, Transport as _};

use super::{LIMIT, Level, Message};
use crate::registry::{Mail, MailTls};
use crate::secret::Secret;

/// What a mail channel needs beside its settings.
#[derive(Clone)]
pub struct Access {
    pub password: Option<Secret<String>>,
    /// The bytes of `ca`.
    pub roots: Option<Vec<u8>>,
}

pub fn send(mail: &Mail, access: &Access, message: &Message) -> Result<(), String> {
    let transport = transport(mail, access)?;
    let letter = letter(mail, message)?;
    transport.send(&letter).map(drop).map_err(|error| explain(&error))
}

fn letter(mail: &Mail, message: &Message) -> Result<lettre::Message, String> {
    let mailbox = |name: Option<String>, address: &str| -> Result<Mailbox, String> {
        let address: Address = address.parse().map_err(|_| "an address is not accepted".to_owned())?;
        Ok(Mailbox::new(name, address))
    };
    let mut builder = lettre::Message::builder()
        .from(mailbox(Some(format!("fleet {}", message.fleet)), &mail.from)?)
        .subject(message.subject())
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        builder = builder.to(mailbox(None, to)?);
    }
    // Out-of-office replies to a machine help nobody (RFC 3834, section 5).
    let auto = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into());
    let urgent = message.level() == Level::Problem;
    let letter = builder.body(message.text());
    let mut letter = letter.map_err(|_| "the mail cannot be composed".to_owned())?;
    letter.headers_mut().insert_raw(auto);
    if urgent {
        let name = HeaderName::new_from_ascii_str("Importance");
        letter.headers_mut().insert_raw(HeaderValue::new(name, "high".into()));
    }
    Ok(letter)
}

fn transport(mail: &Mail, access: &Access) -> Result<SmtpTransport, String> {
    let mut builder = SmtpTransport::builder_dangerous(&mail.server).port(mail.port).timeout(Some(LIMIT));
    let tls = match mail.tls {
        MailTls::None => Tls::None,
        MailTls::StartTls => Tls::Required(parameters(mail, access)?),
        MailTls::Implicit => Tls::Wrapper(parameters(mail, access)?),
    };
    builder = builder.tls(tls);
    if let (Some(user), Some(password)) = (&mail.user, &access.password) {
        builder = builder.credentials(Credentials::new(user.clone(), password.reveal().clone()));
    }
    Ok(builder.build())
}

fn parameters(mail: &Mail, access: &Access) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(mail.server.clone());
    if let Some(pem) = &access.roots {
        let bad = |_| "the file of `ca` holds no certificate (PEM)".to_owned();
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(bad)?);
    }
    builder.build().map_err(|_| "TLS cannot be set up".to_owned())
}

/// The library says what failed on the way and nothing of what was sent.
fn explain(error: &Error) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    // A read that runs into the socket's time limit is a WouldBlock on Linux.
    let mut late = error.is_timeout();
    while let Some(inner) = source {
        late |= inner
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        let inner_said = inner.to_string();
        if !said.contains(&inner_said) {
            said = format!("{said}: {inner_said}");
        }
        source = inner.source();
    }
    let said = crate::secret::clean(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().take(300).collect();
    if let Some((_, why)) = said.split_once("invalid peer certificate: ") {
        return format!("the server's certificate is not accepted ({why})");
    }
    match error.status() {
        Some(code) => format!("the server refuses with {code}: {said}"),
        None if late => "the server does not answer in time".to_owned(),
        None => said,
    }
}
