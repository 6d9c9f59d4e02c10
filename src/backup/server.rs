//! A repository on a server that speaks restic's REST protocol: rest-server, `rclone serve restic`.
//!
//! The protocol: <https://restic.readthedocs.io/en/stable/REST_backend.html>. Started as one that only adds, such a
//! server keeps what there is even from whoever has all keys of this machine.

use base64::Engine as _;
use bytes::Bytes;
use rustic_core::{FileType, Id};
use serde::Deserialize;

use super::error::BackupError;
use super::storage::{LARGEST, LONGEST_LIST, Refused, Remote, Requests, content, listed, patiently, range};
use crate::http::{Answer, Http};
use crate::secret::Secret;

/// The second version of the protocol lists sizes with the names.
const LISTS: &str = "application/vnd.x.restic.rest.v2";

/// Where one repository is, and what opens the server.
#[derive(Clone, Debug)]
pub struct Rest {
    /// With a slash at its end.
    pub url: String,
    pub login: Option<(String, Secret<String>)>,
}

/// The same, being asked.
pub(super) struct Server {
    url: String,
    place: String,
    /// `Authorization`, where there is a login.
    login: Option<Secret<String>>,
    http: Http,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

impl Rest {
    /// As restic names it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("rest:{}", self.url)
    }

    #[must_use]
    pub(super) fn open(&self) -> Remote<Server> {
        let basic = |(user, password): &(String, Secret<String>)| {
            let both = format!("{user}:{}", password.reveal());
            let text = base64::engine::general_purpose::STANDARD.encode(both);
            Secret::from(format!("Basic {text}"))
        };
        Remote(Server {
            url: self.url.clone(),
            place: self.address(),
            login: self.login.as_ref().map(basic),
            http: Http::patient(),
        })
    }

    /// Whether there is a repository.
    ///
    /// # Errors
    /// A server that does not answer, or refuses.
    pub fn exists(&self) -> Result<bool, BackupError> {
        self.open().exists()
    }
}

impl Server {
    fn ask(
        &self,
        method: &str,
        path: &str,
        header: Option<(&str, &str)>,
        body: Option<&[u8]>,
        most: u64,
    ) -> Result<Answer, Refused> {
        let url = format!("{}{path}", self.url);
        let login = self.login.as_ref().map(|login| ("authorization", login.reveal().as_str()));
        let headers: Vec<(&str, &str)> = header.into_iter().chain(login).collect();
        patiently(|| self.http.send(method, &url, &headers, body, most))
    }
}

impl Requests for Server {
    fn place(&self) -> &str {
        &self.place
    }

    fn path(&self, kind: FileType, id: &Id) -> String {
        match kind {
            FileType::Config => "config".to_owned(),
            _ => format!("{}/{}", kind.dirname(), id.to_hex().as_str()),
        }
    }

    fn get(&self, path: &str, part: Option<(u32, u32)>) -> Result<Option<Bytes>, Refused> {
        let wanted = part.map(range);
        let header = wanted.as_ref().map(|wanted| ("range", wanted.as_str()));
        let answer = self.ask("GET", path, header, None, LARGEST)?;
        match answer.status {
            200 | 206 => content(answer, part).map(Some),
            404 => Ok(None),
            _ => Err(refused(&answer)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<(Id, u32)>, Refused> {
        let answer = self.ask("GET", &format!("{folder}/"), Some(("accept", LISTS)), None, LONGEST_LIST)?;
        match answer.status {
            200 => {}
            404 => return Ok(Vec::new()),
            _ => return Err(refused(&answer)),
        }
        // A server that has nothing there may say `null`.
        let files: Option<Vec<Listed>> = serde_json::from_slice(&answer.body)
            .map_err(|error| Refused(format!("its list of files makes no sense: {error}")))?;
        Ok(files.unwrap_or_default().iter().filter_map(|file| listed(&file.name, file.size)).collect())
    }

    fn create(&self) -> Result<(), Refused> {
        done(&self.ask("POST", "?create=true", None, Some(b""), LONGEST_LIST)?)
    }

    fn put(&self, path: &str, whole: &[u8]) -> Result<(), Refused> {
        let kind = Some(("content-type", "application/octet-stream"));
        let answer = self.ask("POST", path, kind, Some(whole), LONGEST_LIST)?;
        if answer.ok() {
            return Ok(());
        }
        // A request that was made again meets what the first one left: whole, it is well.
        let there = match answer.status {
            403 | 409 => self.get(path, None)?,
            _ => None,
        };
        if there.is_some_and(|there| there == whole) { Ok(()) } else { Err(refused(&answer)) }
    }

    fn delete(&self, path: &str) -> Result<(), Refused> {
        match self.ask("DELETE", path, None, None, LONGEST_LIST)? {
            answer if answer.status == 404 => Ok(()),
            answer => done(&answer),
        }
    }
}

fn done(answer: &Answer) -> Result<(), Refused> {
    if answer.ok() { Ok(()) } else { Err(refused(answer)) }
}

fn refused(answer: &Answer) -> Refused {
    let why = match answer.status {
        401 => ": it does not know the user, or the password is another",
        403 => ": it does not allow that (one that only adds deletes and replaces nothing)",
        404 => ": it has no such place",
        413 => ": the file is larger than it, or what is before it, takes",
        507 => ": its disk or quota is full",
        _ => "",
    };
    Refused(format!("the server answers {}{why}", answer.status))
}
