//! One client as it shall be: everything a planner may know, as plain values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::hooks::Hooks;
use super::purge::Purge;
use super::restore::Restore;
use crate::ops::certbot;
use crate::ops::compose::Project;
use crate::ops::files::NewFile;
use crate::ops::host;
use crate::ops::migration::{Migration, Server};
use crate::ops::schedule::Schedule;
use crate::ops::{Layout, release};
use crate::registry::DockerSource;
use crate::registry::values::Swap;
use crate::secret::Secret;
use crate::stack::{FrontHealth, Health};

#[derive(Clone, Debug)]
pub struct Desired {
    pub client: String,
    pub domain: String,
    pub layout: Layout,
    pub docker: DockerSource,
    pub repository: Repository,
    pub registry_mirrors: Vec<String>,
    pub firewall: bool,
    /// Port that this very connection came in by: open whatever else is.
    pub ssh_port: u16,
    pub swap: Swap,
    /// Smallest memory in MiB that the stack asks for.
    pub memory_mb: Option<u64>,
    pub deploy_user: Option<String>,
    /// The fleet's public key, one line of `authorized_keys`.
    pub public_key: String,
    pub tls: Option<certbot::Wanted>,
    pub schedule: Schedule,
    pub release: DesiredRelease,
    /// Take away what was edited on the host by hand.
    pub overwrite_drift: bool,
    /// Release to go back to, in a rollback; the one before without.
    pub rollback_to: Option<String>,
    /// What a restore brings back.
    pub restore: Option<Restore>,
    /// The stack is taken off the host.
    pub purge: Option<Purge>,
    /// Variables of the environment that are no secrets, with this client's values.
    pub plain: BTreeMap<String, String>,
    pub hooks: Hooks,
    /// Pending migrations wait for a backup, with these commands around it; without this they wait for none.
    pub backup_first: Option<Hooks>,
    pub who: String,
    pub run: String,
    /// RFC 3339, for the state file.
    pub at: String,
}

/// Docker's apt repository or a mirror of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Base URL; the distribution's id is added for Docker's own.
    pub url: Option<String>,
    pub key: RepositoryKey,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryKey {
    /// Fetched by the host from this URL.
    Url(String),
    /// A file of the fleet directory.
    Content(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct DesiredRelease {
    pub id: String,
    /// Equal digests are the same release.
    pub digest: String,
    pub version: String,
    pub env_digest: String,
    pub source: Option<SourcePush>,
    /// Files of the release folder.
    pub files: Vec<NewFile>,
    /// Rendered files that containers mount, at paths named by their content.
    pub mounts: Vec<NewFile>,
    pub builds: Vec<Build>,
    /// Where the images are built once for all; without it each host builds its own.
    pub built_here: Option<BuiltHere>,
    /// Image of each built service.
    pub images: BTreeMap<String, String>,
    pub project: Project,
    pub health: Vec<(String, Health)>,
    /// Services that are replaced without a dropped request, and how long each may take.
    pub start_first: Vec<(String, Duration)>,
    pub front: Option<FrontHealth>,
    pub database: Option<Server>,
    /// What the database's own role shall have, where the stack names the variable.
    pub password: Option<Secret<String>>,
    /// What it had before and may have to have again: values that were rotated away.
    pub former_passwords: Vec<Secret<String>>,
    pub migrations: Vec<Migration>,
    /// How long the services must stay healthy before the release is committed.
    pub bake: Duration,
    /// Releases to keep on the host, the current one included.
    pub keep: usize,
    /// Only these services, when the operator named some.
    pub services: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePush {
    pub path: PathBuf,
    pub exclude: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    pub service: String,
    /// Folder within the source.
    pub context: String,
    pub tag: String,
}

/// Images that the operator's machine builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltHere {
    /// Their folder.
    pub store: PathBuf,
    /// Layers and bytes of those that are built already, by tag and platform.
    pub known: BTreeMap<String, BTreeMap<String, (usize, u64)>>,
}

impl DesiredRelease {
    /// Stands for the database password in the state file, to notice that it was rotated.
    pub(super) fn password_digest(&self) -> Option<String> {
        self.password.as_ref().map(digest_of)
    }

    /// The password, of now or before, that a state file stands for.
    pub(super) fn password_of(&self, digest: &str) -> Option<&Secret<String>> {
        self.password.iter().chain(&self.former_passwords).find(|password| digest_of(password) == digest)
    }

    pub(super) fn is_start_first(&self, service: &str) -> bool {
        self.start_first.iter().any(|(name, _)| name == service)
    }

    /// Absolute paths of what a kept release must still have, for drift and resumption.
    pub(super) fn paths(&self) -> Vec<String> {
        self.mounts.iter().map(|file| file.path.clone()).collect()
    }
}

fn digest_of(password: &Secret<String>) -> String {
    use sha2::{Digest as _, Sha256};
    crate::shell::hex(&Sha256::digest(password.reveal()))
}

impl Desired {
    /// The rendered files by their paths in the release.
    pub(super) fn rendered(&self) -> impl Iterator<Item = (&str, &NewFile)> {
        let dir = format!("{}/", self.layout.release(&self.release.id));
        self.release.files.iter().map(move |file| (file.path.strip_prefix(&dir).unwrap_or(&file.path), file))
    }

    /// Files of the machine that provisioning keeps as they shall be.
    pub(super) fn managed_files(&self) -> Vec<NewFile> {
        let mut files = vec![host::daemon_json(&self.registry_mirrors), host::unattended_upgrades()];
        if self.firewall {
            files.extend(host::firewall(&[self.ssh_port].into()));
        }
        files.extend(self.schedule.files());
        if let Some(tls) = &self.tls {
            files.extend(tls.files());
        }
        files
    }

    /// The digests of all rendered files, kept beside them to notice edits on the host.
    pub(super) fn digests_file(&self) -> NewFile {
        use sha2::{Digest as _, Sha256};
        let dir = self.layout.release(&self.release.id);
        let lines = self.release.files.iter().chain(&self.release.mounts).map(|file| {
            let name = file.path.strip_prefix(&format!("{dir}/")).unwrap_or(&file.path);
            format!("{}  {name}\n", crate::shell::hex(&Sha256::digest(&file.content)))
        });
        NewFile {
            path: format!("{dir}/{}", release::DIGESTS_FILE),
            mode: "0600".into(),
            content: lines.collect::<String>().into_bytes(),
            secret: false,
        }
    }

    /// The list of images of this release, kept beside it for pruning.
    pub(super) fn images_file(&self) -> NewFile {
        let mut content: String = self.release.images.values().map(|tag| format!("{tag}\n")).collect();
        content.push('\n');
        NewFile {
            path: format!("{}/{}", self.layout.release(&self.release.id), release::IMAGES_FILE),
            mode: "0600".into(),
            content: content.into_bytes(),
            secret: false,
        }
    }
}
