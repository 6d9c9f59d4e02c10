//! The things that a host has, as plain values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::stack::{FrontHealth, Health};

/// What a host has of a file. It may hold secrets, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct OldFile {
    /// Not all of a large one.
    pub content: Zeroizing<Vec<u8>>,
    pub size: u64,
}

impl OldFile {
    #[must_use]
    pub fn whole(&self) -> bool {
        self.content.len() as u64 == self.size
    }
}

impl std::fmt::Debug for OldFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OldFile({} bytes)", self.size)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    pub enabled: String,
    pub active: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFact {
    pub sha256: String,
    /// Octal, as `stat -c %a` prints it.
    pub mode: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Container {
    pub id: String,
    pub service: String,
    /// `running`, `restarting`, `exited`...
    pub status: String,
    /// `healthy`, `unhealthy`, `starting`, or `none` without a health check.
    pub health: String,
    pub restarts: u32,
    pub started_at: String,
    pub image: String,
    /// Compose's hash of what the container was made from.
    pub config_hash: String,
}

/// One release folder of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFact {
    pub mark: ReleaseMark,
    /// As it was committed; `None` for one that never was.
    pub state: Option<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseMark {
    /// A push was cut.
    Partial,
    /// Everything of it is there.
    Complete,
    /// It was tried and did not become healthy.
    Failed,
}

impl ReleaseMark {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ReleaseMark::Partial => "partial",
            ReleaseMark::Complete => "complete",
            ReleaseMark::Failed => "failed",
        }
    }
}

impl ReleaseFact {
    /// Whether a host can go back to it.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.mark == ReleaseMark::Complete && self.state.is_some()
    }
}

impl Container {
    #[must_use]
    pub fn well(&self) -> bool {
        self.status == "running" && matches!(self.health.as_str(), "healthy" | "none")
    }
}

/// `/opt/<stack>/state.json`: written at the commit point of a release, and only there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub schema: String,
    pub release: String,
    /// What the release is made of; equal digests are the same release.
    pub digest: String,
    /// Code version the release was made from.
    pub version: String,
    pub client: String,
    pub domain: String,
    pub images: BTreeMap<String, String>,
    pub env_digest: String,
    /// Digest of what the database's role was last given.
    #[serde(default)]
    pub password_digest: Option<String>,
    /// What it was proved healthy by, for whoever goes back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateSpec>,
    pub who: String,
    pub run: String,
    pub at: String,
    /// Release that served before this one.
    #[serde(default)]
    pub previous: Option<String>,
}

/// What the services of a release must answer, and its front door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateSpec {
    pub services: Vec<(String, Health)>,
    pub front: Option<FrontHealth>,
    /// Address of the front door.
    pub url: Option<String>,
}

impl State {
    /// Whether everything in it may go into paths and messages: a state that a host made up is as
    /// good as none.
    pub(super) fn plain(&self) -> bool {
        let harmless = |text: &str| {
            matches!(crate::secret::clean(text), std::borrow::Cow::Borrowed(_))
                && !text.contains(['\n', '\t'])
        };
        plain_id(&self.release)
            && self.previous.as_deref().is_none_or(plain_id)
            && [&self.version, &self.client, &self.domain, &self.who, &self.run, &self.at]
                .into_iter()
                .all(|text| harmless(text))
            && self.images.iter().all(|(service, image)| harmless(service) && harmless(image))
    }
}

/// Release ids become folder names on the host.
pub(super) fn plain_id(text: &str) -> bool {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    !text.is_empty() && text.len() <= 64 && !text.starts_with(['-', '.']) && text.chars().all(allowed)
}

/// Who is changing the host now. Times are seconds of the host's own clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub holder: String,
    pub run: String,
    pub verb: String,
    /// When it was first taken; a renewal keeps it.
    #[serde(default)]
    pub since: Option<u64>,
    pub expires: u64,
}
