//! A repository in object storage that speaks S3, in restic's layout.
//!
//! Every request is signed for itself; a signed address grants what it is for, so no message holds one.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use rustic_core::{FileType, Id};
use rusty_s3::actions::{DeleteObject, GetObject, ListObjectsV2, PutObject, S3Action};
use rusty_s3::{Credentials, UrlStyle};

use super::error::BackupError;
use super::storage::{LARGEST, LONGEST_LIST, Refused, Remote, Requests, content, listed, patiently, range};
use crate::http::{Answer, Http};
use crate::secret::Secret;

/// How long a signed address holds: one request and its repetitions.
const SIGNED: Duration = Duration::from_secs(3600);

/// Where the repositories of a fleet are, and what opens the storage.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Such as <https://s3.fr-par.scw.cloud>.
    pub endpoint: String,
    pub region: String,
    pub name: String,
    /// Of one repository, without slashes at its ends.
    pub prefix: String,
    pub key_id: Secret<String>,
    pub key: Secret<String>,
}

/// One repository in it.
pub(super) struct Objects {
    bucket: rusty_s3::Bucket,
    credentials: Credentials,
    prefix: String,
    place: String,
    http: Http,
}

impl Bucket {
    /// As restic names it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("s3:{}/{}/{}", self.endpoint.trim_end_matches('/'), self.name, self.prefix)
    }

    /// # Errors
    /// An endpoint that is no address.
    pub(super) fn open(&self) -> Result<Remote<Objects>, BackupError> {
        let bad =
            |why: String| BackupError::Storage(format!("{} cannot be addressed: {why}", self.address()));
        let endpoint = self.endpoint.parse().map_err(|error: url::ParseError| bad(error.to_string()))?;
        let bucket = rusty_s3::Bucket::new(endpoint, UrlStyle::Path, self.name.clone(), self.region.clone())
            .map_err(|error| bad(error.to_string()))?;
        Ok(Remote(Objects {
            bucket,
            credentials: Credentials::new(self.key_id.reveal().clone(), self.key.reveal().clone()),
            prefix: self.prefix.clone(),
            place: self.address(),
            http: Http::patient(),
        }))
    }

    /// Whether there is a repository.
    ///
    /// # Errors
    /// A storage that does not answer, or refuses.
    pub fn exists(&self) -> Result<bool, BackupError> {
        self.open()?.exists()
    }
}

impl Objects {
    /// Signed anew each time that it is made.
    fn ask<'a, A: S3Action<'a>>(
        &self,
        action: &A,
        method: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
        most: u64,
    ) -> Result<Answer, Refused> {
        patiently(|| self.http.send(method, action.sign(SIGNED).as_str(), headers, body, most))
    }
}

impl Requests for Objects {
    fn place(&self) -> &str {
        &self.place
    }

    fn path(&self, kind: FileType, id: &Id) -> String {
        let name = id.to_hex();
        match kind {
            FileType::Config => format!("{}/config", self.prefix),
            FileType::Pack => format!("{}/data/{}/{}", self.prefix, &name.as_str()[..2], name.as_str()),
            _ => format!("{}/{}/{}", self.prefix, kind.dirname(), name.as_str()),
        }
    }

    fn get(&self, key: &str, part: Option<(u32, u32)>) -> Result<Option<Bytes>, Refused> {
        let action = GetObject::new(&self.bucket, Some(&self.credentials), key);
        let text = part.map(range);
        let headers: Vec<(&str, &str)> = text.iter().map(|text| ("range", text.as_str())).collect();
        let answer = self.ask(&action, "GET", &headers, None, LARGEST)?;
        match answer.status {
            200 | 206 => content(answer, part).map(Some),
            404 if code(&answer) != Some("NoSuchBucket") => Ok(None),
            _ => Err(refused(&answer)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<(Id, u32)>, Refused> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut action = ListObjectsV2::new(&self.bucket, Some(&self.credentials));
            action.with_prefix(format!("{}/{folder}/", self.prefix));
            if let Some(token) = &token {
                action.with_continuation_token(token.clone());
            }
            let answer = self.ask(&action, "GET", &[], None, LONGEST_LIST)?;
            if !answer.ok() {
                return Err(refused(&answer));
            }
            let text = std::str::from_utf8(&answer.body).map_err(|error| Refused(error.to_string()))?;
            let page = ListObjectsV2::parse_response(text)
                .map_err(|error| Refused(format!("its list of objects makes no sense: {error}")))?;
            for object in page.contents {
                let name = object.key.rsplit('/').next().unwrap_or_default();
                found.extend(listed(name, object.size.unwrap_or_default()));
            }
            match page.next_continuation_token {
                Some(next) if token.as_ref() != Some(&next) => token = Some(next),
                Some(_) => return Err(Refused("its list of objects does not end".to_owned())),
                None => return Ok(found),
            }
        }
    }

    /// A bucket is made by whoever pays for it.
    fn create(&self) -> Result<(), Refused> {
        Ok(())
    }

    fn put(&self, key: &str, whole: &[u8]) -> Result<(), Refused> {
        // The storage compares it with what arrived; a bucket with object lock insists on it.
        let digest = base64::engine::general_purpose::STANDARD.encode(Md5::digest(whole));
        let mut action = PutObject::new(&self.bucket, Some(&self.credentials), key);
        action.headers_mut().insert("content-md5", digest.clone());
        let headers = [("content-md5", digest.as_str()), ("content-type", "application/octet-stream")];
        match self.ask(&action, "PUT", &headers, Some(whole), LONGEST_LIST)? {
            answer if answer.ok() => Ok(()),
            answer => Err(refused(&answer)),
        }
    }

    fn delete(&self, key: &str) -> Result<(), Refused> {
        let action = DeleteObject::new(&self.bucket, Some(&self.credentials), key);
        match self.ask(&action, "DELETE", &[], None, LONGEST_LIST)? {
            answer if answer.ok() || answer.status == 404 => Ok(()),
            answer => Err(refused(&answer)),
        }
    }
}

/// `NoSuchBucket` and the like.
fn code(answer: &Answer) -> Option<&str> {
    let text = std::str::from_utf8(&answer.body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    code.bytes().all(|b| b.is_ascii_alphanumeric()).then_some(code)
}

fn refused(answer: &Answer) -> Refused {
    let why = match code(answer) {
        Some("NoSuchBucket") => "there is no such bucket: make it first",
        Some("InvalidAccessKeyId") => "it does not know the key id",
        Some("SignatureDoesNotMatch") => "the key does not fit the key id (or the endpoint is another's)",
        Some("AccessDenied") => "the key may not do this",
        Some("RequestTimeTooSkewed") => "the clock of this machine is wrong",
        Some("PermanentRedirect" | "AuthorizationHeaderMalformed") => "the bucket is in another region",
        _ => "",
    };
    let code = code(answer).map(|code| format!(" {code}")).unwrap_or_default();
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    Refused(format!("the storage answers {}{code}{why}", answer.status))
}
