//! The fleet's own key: a file that only its owner may read, or an ssh-agent that holds it.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PublicKey, decode_secret_key};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::clean;
use super::error::{Agent, ConnectError};
use super::host_keys::reason;

/// Most keys of an agent that are offered: sshd hangs up after six refusals (MaxAuthTries).
const MOST_OFFERS: usize = 5;

/// An agent is a local program: this is for one that hangs.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

/// What we can prove who we are with.
pub enum Identity {
    File(Arc<PrivateKey>),
    Agent(Held),
}

/// Keys that an ssh-agent signs with.
pub struct Held {
    pub client: AgentClient<UnixStream>,
    pub keys: Vec<PublicKey>,
}

impl Identity {
    /// Lines for `authorized_keys`, to tell the operator which keys were offered.
    #[must_use]
    pub fn public(&self) -> String {
        let keys: Vec<&PublicKey> = match self {
            Identity::File(key) => vec![key.public_key()],
            Identity::Agent(held) => held.keys.iter().collect(),
        };
        let lines: Vec<String> =
            keys.into_iter().filter_map(|key| key.to_openssh().ok()).map(|line| clean::line(&line)).collect();
        lines.join(" or ")
    }
}

/// The key of `path`. When the file is absent or has a passphrase, the agent behind `socket` is
/// asked: for the public half beside it (`path.pub`) if there is one, else for whatever it holds.
pub async fn load(path: &Path, socket: Option<&Path>) -> Result<Identity, ConnectError> {
    match read(path)? {
        Found::Key(key) => Ok(Identity::File(key)),
        Found::Locked(public) => match agent(socket, public.as_ref()).await {
            Ok(held) => Ok(Identity::Agent(held)),
            Err(_) => Err(ConnectError::KeyPassphrase { path: path.to_path_buf() }),
        },
        Found::Nothing => match agent(socket, beside(path).as_ref()).await {
            Ok(held) => Ok(Identity::Agent(held)),
            Err(agent) => Err(ConnectError::KeyMissing { path: path.to_path_buf(), agent }),
        },
    }
}

enum Found {
    Key(Arc<PrivateKey>),
    /// It has a passphrase; its public half if that can be told.
    Locked(Option<PublicKey>),
    Nothing,
}

fn read(path: &Path) -> Result<Found, ConnectError> {
    let invalid = |cause: String| ConnectError::KeyInvalid { path: path.to_path_buf(), cause };
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(invalid(reason(&error))),
    };
    if !meta.is_file() {
        return Err(invalid("it is not a file".to_owned()));
    }
    // The rule of ssh itself (sshkey_perm_ok): group and others have no right whatever.
    if meta.mode() & 0o077 != 0 {
        return Err(ConnectError::KeyPermissions { path: path.to_path_buf(), mode: meta.mode() & 0o7777 });
    }
    let text = zeroize::Zeroizing::new(std::fs::read(path).map_err(|error| invalid(reason(&error)))?);
    let Ok(text) = std::str::from_utf8(&text) else { return Err(invalid("it is not text".to_owned())) };
    if text.trim_start().starts_with("ssh-") || text.trim_start().starts_with("ecdsa-") {
        return Err(invalid("it holds a public key".to_owned()));
    }
    if !text.contains("-----BEGIN ") {
        return Err(invalid("it holds no private key".to_owned()));
    }
    if let Ok(key) = PrivateKey::from_openssh(text) {
        return Ok(if key.is_encrypted() {
            Found::Locked(Some(key.public_key().clone()))
        } else {
            Found::Key(Arc::new(key))
        });
    }
    if text.contains("ENCRYPTED") {
        return Ok(Found::Locked(beside(path)));
    }
    match decode_secret_key(text, None) {
        Ok(key) => Ok(Found::Key(Arc::new(key))),
        Err(russh::keys::Error::KeyIsEncrypted) => Ok(Found::Locked(beside(path))),
        Err(error) => Err(invalid(clean::line(&error.to_string()).to_lowercase())),
    }
}

/// Where the public half is by custom: `path.pub`.
pub(super) fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn beside(path: &Path) -> Option<PublicKey> {
    let text = std::fs::read_to_string(public_path(path)).ok()?;
    PublicKey::from_openssh(text.trim()).ok()
}

async fn agent(socket: Option<&Path>, wanted: Option<&PublicKey>) -> Result<Held, Agent> {
    let socket = socket.filter(|path| !path.as_os_str().is_empty()).ok_or(Agent::Absent)?;
    let ask = async {
        let mut client = AgentClient::connect_uds(socket).await?;
        let identities = client.request_identities().await?;
        Ok::<_, russh::keys::Error>((client, identities))
    };
    let Ok(Ok((client, identities))) = timeout(AGENT_PATIENCE, ask).await else {
        return Err(Agent::Silent);
    };
    let keys: Vec<PublicKey> = identities
        .into_iter()
        .filter_map(|identity| match identity {
            AgentIdentity::PublicKey { key, .. } => Some(key),
            AgentIdentity::Certificate { .. } => None,
        })
        .filter(|key| wanted.is_none_or(|wanted| wanted.key_data() == key.key_data()))
        .take(MOST_OFFERS)
        .collect();
    if keys.is_empty() { Err(Agent::Empty) } else { Ok(Held { client, keys }) }
}

/// The signature hash of an RSA key: never SHA-1, whatever the host says it would take.
#[must_use]
pub fn rsa_hash(best: Option<Option<HashAlg>>) -> HashAlg {
    best.flatten().unwrap_or(HashAlg::Sha512)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn fault(text: &str, mode: u32) -> ConnectError {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        load(&path, None).await.err().expect("no key there")
    }

    #[tokio::test]
    async fn what_is_no_private_key_is_named() {
        for (text, cause) in [
            ("ssh-ed25519 AAAA x", "it holds a public key"),
            ("hello", "it holds no private key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", ""),
        ] {
            let error = fault(text, 0o600).await;
            assert!(matches!(&error, ConnectError::KeyInvalid { cause: found, .. } if found.contains(cause)));
        }
    }

    #[tokio::test]
    async fn a_key_that_others_may_read_is_refused_unread() {
        let error = fault("-----BEGIN", 0o640).await;
        assert!(matches!(error, ConnectError::KeyPermissions { mode: 0o640, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn no_file_and_no_agent() {
        let path = Path::new("/nonexistent/key");
        let error = load(path, None).await.err().expect("no key there");
        assert!(matches!(error, ConnectError::KeyMissing { agent: Agent::Absent, .. }));
        let error = load(path, Some(Path::new("/nonexistent/agent"))).await.err().expect("no agent there");
        assert!(matches!(error, ConnectError::KeyMissing { agent: Agent::Silent, .. }));
    }
}
