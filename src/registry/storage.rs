//! Where the operator's backups are: a folder, or a bucket of object storage.

use serde_json::{Value as Json, json};

use super::notify::{SecretRef, reference};
use super::values::{FilePath, WebUrl};
use crate::diagnostic::{Fault, shown};
use crate::toml_reader::{Table, parsed, table};

/// Begins the address of a bucket.
const S3_SCHEME: &str = "s3://";

#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// Holds one folder a client.
    Folder(FilePath),
    S3(S3),
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

/// What `repository` says.
enum Said {
    Folder(FilePath),
    Bucket { name: String, prefix: String },
}

impl Storage {
    /// `repository` and `s3` of a table; `None` where neither is written.
    pub(super) fn read(backup: &mut Table<'_>) -> Option<Option<Storage>> {
        let said = backup.optional("repository", parsed(said));
        let access = backup.optional("s3", table(Access::read));
        match (said, access) {
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
            (Some(Said::Folder(_)) | None, Some(_)) => {
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

fn region(text: &str) -> Result<String, Fault> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !text.is_empty() && text.bytes().all(inner) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("{} is no region", shown(text))).expected("a word such as eu-west-3 or fr-par"))
}

fn said(text: &str) -> Result<Said, Fault> {
    let expected = "a folder, or s3://BUCKET/PREFIX";
    let Some(rest) = text.strip_prefix(S3_SCHEME) else {
        if text.contains("://") || ["s3:", "sftp:", "rest:"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(
                Fault::new(format!("{} is no place for repositories", shown(text))).expected(expected)
            );
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
        return Err(Fault::new(format!("{} is no bucket and prefix", shown(text))).expected(expected));
    }
    Ok(Said::Bucket { name: name.to_owned(), prefix: prefix.to_owned() })
}
