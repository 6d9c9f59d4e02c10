//! Where the operator's backups are: a folder, a bucket of object storage, or a server that speaks restic's protocol.

use serde_json::{Value as Json, json};

use super::notify::{SecretRef, reference};
use super::values::{FilePath, WebUrl};
use crate::diagnostic::{Fault, shown};
use crate::toml_reader::{Table, parsed, table};

/// Begins the address of a bucket.
const S3_SCHEME: &str = "s3://";
/// Begins the address of a server, as restic has it.
const REST_SCHEME: &str = "rest:";
/// What `repository` may be.
const PLACES: &str = "a folder, s3://BUCKET/PREFIX or rest:https://HOST/PATH";

#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// Holds one folder a client.
    Folder(FilePath),
    S3(S3),
    Rest(Rest),
}

/// A bucket of a storage that speaks S3.
#[derive(Clone, Debug, PartialEq)]
pub struct S3 {
    pub endpoint: WebUrl,
    pub region: String,
    pub bucket: String,
    /// Without slashes at its ends; may be empty.
    pub prefix: String,
    pub key_id: SecretRef,
    pub key: SecretRef,
}

/// A server that speaks restic's REST protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    pub url: WebUrl,
    pub login: Option<Login>,
}

/// What opens it.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    pub user: String,
    pub password: SecretRef,
}

/// What `repository` says.
enum Said {
    Folder(FilePath),
    Bucket { name: String, prefix: String },
    Server(WebUrl),
}

impl Storage {
    /// `repository`, `s3` and `rest` of a table; `None` where none is written.
    pub(super) fn read(backup: &mut Table<'_>) -> Option<Option<Storage>> {
        let said = backup.optional("repository", parsed(said));
        let access = backup.optional("s3", table(Access::read));
        let login = backup.optional("rest", table(Login::read));
        if login.is_some() && !matches!(said, Some(Said::Server(_))) {
            let fault = Fault::new("is no such server, and `rest` is there");
            return backup.missing("repository", fault.expected("rest:https://HOST/PATH"));
        }
        match (said, access) {
            (Some(Said::Server(url)), None) if login.is_some() && !private(&url) => {
                let fault = Fault::new("would carry the password of `rest` in the clear");
                backup.missing("repository", fault.expected("rest:https://HOST/PATH"))
            }
            (Some(Said::Server(url)), None) => Some(Some(Storage::Rest(Rest { url, login }))),
            (Some(Said::Bucket { name, prefix }), Some(access)) => Some(Some(Storage::S3(S3 {
                endpoint: access.endpoint,
                region: access.region,
                bucket: name,
                prefix,
                key_id: access.key_id,
                key: access.key,
            }))),
            (Some(Said::Bucket { .. }), None) => {
                let fault = Fault::new("says nothing of the storage that the bucket is in");
                backup.missing("s3", fault.expected("s3 = { endpoint = \"https://...\", region = \"...\", key_id = { secret = \"NAME\" }, key = { secret = \"NAME\" } }"))
            }
            (Some(Said::Folder(_) | Said::Server(_)) | None, Some(_)) => {
                let fault = Fault::new("is no bucket, and `s3` is there");
                backup.missing("repository", fault.expected("s3://BUCKET/PREFIX"))
            }
            (Some(Said::Folder(path)), None) => Some(Some(Storage::Folder(path))),
            (None, None) => Some(None),
        }
    }

    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Storage::Folder(path) => json!(path),
            Storage::S3(s3) => json!({ "endpoint": s3.endpoint, "region": s3.region, "bucket": s3.bucket,
                "prefix": s3.prefix, "key_id": s3.key_id.to_json(), "key": s3.key.to_json() }),
            Storage::Rest(rest) => {
                let (user, password) = match &rest.login {
                    Some(login) => (json!(login.user), login.password.to_json()),
                    None => (Json::Null, Json::Null),
                };
                json!({ "url": rest.url, "user": user, "password": password })
            }
        }
    }
}

struct Access {
    endpoint: WebUrl,
    region: String,
    key_id: SecretRef,
    key: SecretRef,
}

impl Access {
    fn read(s3: &mut Table<'_>) -> Option<Self> {
        // A key that is written here all the same is not shown, whatever else is wrong.
        for key in ["key", "key_id"] {
            s3.conceal_text(key);
        }
        let endpoint = s3.required("endpoint", parsed(WebUrl::parse));
        let region = s3.optional("region", parsed(region));
        let key_id = s3.required("key_id", reference);
        let key = s3.required("key", reference);
        Some(Access {
            endpoint: endpoint?,
            region: region.unwrap_or_else(|| "us-east-1".to_owned()),
            key_id: key_id?,
            key: key?,
        })
    }
}

impl Login {
    fn read(rest: &mut Table<'_>) -> Option<Self> {
        rest.conceal_text("password");
        let user = rest.required("user", parsed(user));
        let password = rest.required("password", reference);
        Some(Login { user: user?, password: password? })
    }
}

fn user(text: &str) -> Result<String, Fault> {
    // A colon ends it in the header that carries both.
    let inner = |b: u8| b.is_ascii_graphic() && b != b':';
    if !text.is_empty() && text.bytes().all(inner) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("{} is no user name", shown(text))).expected("a word such as town-halls"))
}

/// Whether nobody on the way can read what is sent there.
fn private(url: &WebUrl) -> bool {
    let Ok(url) = url::Url::parse(url.as_str()) else { return false };
    let here = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    here || url.scheme() == "https"
}

fn region(text: &str) -> Result<String, Fault> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !text.is_empty() && text.bytes().all(inner) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("{} is no region", shown(text))).expected("a word such as eu-west-3 or fr-par"))
}

fn said(text: &str) -> Result<Said, Fault> {
    if let Some(url) = text.strip_prefix(REST_SCHEME) {
        if url.contains(['?', '#']) {
            return Err(Fault::new(format!("{} is more than a place", shown(text))).expected(PLACES));
        }
        return WebUrl::parse(url).map(Said::Server);
    }
    let Some(rest) = text.strip_prefix(S3_SCHEME) else {
        if text.contains("://") || ["s3:", "sftp:"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(Fault::new(format!("{} is no place for repositories", shown(text))).expected(PLACES));
        }
        return FilePath::parse(text).map(Said::Folder);
    };
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    let of_prefix = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let fits = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(of_prefix);
    let name_fits =
        (3..=63).contains(&name.len()) && name.bytes().all(of_name) && !name.starts_with(['.', '-']);
    if !name_fits || !(prefix.is_empty() || prefix.split('/').all(fits)) {
        return Err(Fault::new(format!("{} is no bucket and prefix", shown(text))).expected(PLACES));
    }
    Ok(Said::Bucket { name: name.to_owned(), prefix: prefix.to_owned() })
}
