//! What a snapshot says of itself: the last file written into it. Pure.

use serde::{Deserialize, Serialize};

use crate::ops::backup::Rows;

/// Name and version of the form. A field may be added within a version, never renamed.
pub const SCHEMA: &str = "fleet.manifest/1";
/// Its path in a snapshot.
pub const PATH: &str = "manifest.json";

/// Everything a restore and a proof need to know about a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: String,
    pub client: String,
    pub domain: String,
    /// The run that made it.
    pub run: String,
    /// RFC 3339: the instant of the dump, or of the first file where there is no database.
    pub at: String,
    /// `user@host` of the operator.
    pub by: String,
    /// Version of fleet.
    pub fleet: String,
    pub stack: String,
    /// What served then.
    pub release: Option<Release>,
    /// Name of the last migration of the database.
    pub migration: Option<String>,
    pub database: Option<Database>,
    pub files: Files,
    /// Every file that was written whole from one stream or from memory, in order.
    pub parts: Vec<Part>,
    /// Written last: a snapshot without it is no backup.
    pub complete: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub id: String,
    pub version: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Path of the dump in the snapshot, in pg_dump's custom format.
    pub path: String,
    /// Path of the roles in the snapshot, as SQL; none for a database outside the stack.
    pub roles: Option<String>,
    pub name: String,
    pub user: String,
    /// Version of the server.
    pub server: String,
    /// On the server's disk.
    pub bytes: u64,
    pub tables: u64,
    /// The largest tables in the instant of the dump.
    pub rows: Vec<Rows>,
}

/// One file of the snapshot with its true size and hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    pub folders: Vec<Folder>,
    pub files: u64,
    pub bytes: u64,
    /// Files that were read; the others were as in the snapshot before.
    pub read: u64,
    /// Deleted on the host between being listed and being read: not in the snapshot.
    pub vanished: u64,
    /// Written to while they were read: the next backup takes them again.
    pub changed: u64,
    /// Sockets, pipes and devices, which are not saved.
    pub others: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// In the snapshot.
    pub path: String,
    /// On the host.
    pub from: String,
}

impl Manifest {
    /// Reads the content of [`PATH`]. Only a complete one is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if manifest.schema != SCHEMA {
            return Err(format!("it is of the form {:?}, and this program reads {SCHEMA}", manifest.schema));
        }
        if !manifest.complete {
            return Err("it does not say that the snapshot is complete".to_owned());
        }
        Ok(manifest)
    }

    /// Its bytes in a snapshot.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text.into_bytes()
    }

    #[must_use]
    pub fn part(&self, path: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.path == path)
    }

    /// All that it holds, in bytes as on the host.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum::<u64>() + self.files.bytes
    }

    /// Tags of the snapshot, which are read without opening it.
    #[must_use]
    pub fn tags(&self, digest: &str) -> Vec<String> {
        let mut tags = vec![
            TAG_COMPLETE.to_owned(),
            format!("client={}", self.client),
            format!("run={}", self.run),
            format!("bytes={}", self.bytes()),
            format!("files={}", self.files.files),
            format!("manifest={digest}"),
        ];
        tags.extend(self.release.as_ref().map(|release| format!("release={}", release.id)));
        tags.extend(self.migration.as_ref().map(|name| format!("migration={name}")));
        if let Some(database) = &self.database {
            tags.push(format!("database={}", database.name));
            tags.extend(self.part(&database.path).map(|part| format!("dump={}", part.bytes)));
            tags.extend(database.rows.first().map(|rows| format!("rows={}:{}", rows.table, rows.rows)));
        }
        // A comma would be two tags.
        tags.iter().map(|tag| tag.replace([',', '\n'], "_")).collect()
    }
}

/// Only the commit writes it.
pub const TAG_COMPLETE: &str = "fleet-complete";

/// The value of a tag such as `release=`.
#[must_use]
pub fn tag<'a>(tags: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    tags.into_iter().find_map(|tag| tag.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest { schema: SCHEMA.into(), client: "ville-lyon".into(), complete: true, ..Manifest::default() }
    }

    #[test]
    fn only_a_complete_one_is_read() {
        assert_eq!(Manifest::parse(&manifest().to_bytes()), Ok(manifest()));
        let cut = Manifest { complete: false, ..manifest() };
        assert!(Manifest::parse(&cut.to_bytes()).unwrap_err().contains("complete"));
        let other = Manifest { schema: "fleet.manifest/2".into(), ..manifest() };
        assert!(Manifest::parse(&other.to_bytes()).unwrap_err().contains("fleet.manifest/2"));
        let bytes = manifest().to_bytes();
        assert!(Manifest::parse(&bytes[..bytes.len() / 2]).is_err());
    }

    #[test]
    fn a_name_that_holds_a_comma_stays_one_tag() {
        let made = Manifest { migration: Some("1,fleet-complete".into()), ..manifest() };
        let tags = made.tags("abc");
        assert!(tags.contains(&"migration=1_fleet-complete".to_owned()), "{tags:?}");
        assert_eq!(tag(tags.iter().map(String::as_str), "manifest"), Some("abc"));
    }
}
