//! This machine: keys and who may read them, secrets and who can, programs, room.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::context::Fleet;
use super::failed;
use crate::doctor::{Area, Exposed, Finding, exposed};
use crate::registry::{Client, SecretRef};
use crate::stack::BuildPlace;
use crate::vault::Vault;

/// Room that runs, backups and images may need here, in bytes.
const LEAST_FREE: u64 = 1024 * 1024 * 1024;

/// Private files and their permissions; the key that every host knows; room on the disk.
pub fn files(fleet: &Fleet) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = fleet.ssh_key();
    let identity = fleet.state_dir().join("identity.txt");
    for path in [&key, &identity] {
        let Ok(found) = std::fs::metadata(path) else { continue };
        let tracked = git(&fleet.dir, &["ls-files", "--error-unmatch", "--", &path.display().to_string()]);
        let relative = path.strip_prefix(&fleet.dir).unwrap_or(path);
        findings.extend(exposed(&Exposed {
            path: relative.display().to_string(),
            mode: found.permissions().mode(),
            tracked,
        }));
    }
    if !key.exists() {
        let what = format!("the fleet's key {} is not there", fleet.registry.fleet.ssh_key);
        findings.push(if std::env::var_os("SSH_AUTH_SOCK").is_some() {
            Finding::warning(Area::Here, what).remedy("an agent may hold it; else `fleet ssh-key generate`")
        } else {
            Finding::error(Area::Here, what)
                .why("no host lets fleet in")
                .remedy("fleet ssh-key generate, then let it in on each host")
        });
    } else if let Err(error) = crate::keys::show(&key) {
        findings.extend(failed(Area::Here, &super::super::explain::explain(error.into())));
    }
    if let Ok(found) = std::fs::metadata(&fleet.dir)
        && found.permissions().mode() & 0o002 != 0
    {
        findings.push(
            Finding::error(Area::Here, "everybody on this machine may write to the fleet directory")
                .why("whoever changes clients.toml or a stack runs commands as root on every host")
                .remedy("chmod o-w on the directory"),
        );
    }
    if let Ok(room) = rustix::fs::statvfs(&fleet.dir) {
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < LEAST_FREE {
            findings.push(
                Finding::warning(
                    Area::Here,
                    format!("{} MB are left on the disk of the fleet directory", free >> 20),
                )
                .why("journals, secrets and backups are written there")
                .remedy("make room; `.fleet/runs` holds the journals of old runs"),
            );
        }
    }
    findings
}

/// Secrets: can they be read, by whom, is anything half done.
pub fn secrets(fleet: &Fleet, clients: &[&Client]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let vault = match fleet.vault() {
        Ok(vault) => vault,
        Err(error) => return failed(Area::Secrets, &super::super::explain::explain(error)),
    };
    let told = |error: crate::vault::VaultError| {
        failed(Area::Secrets, &super::super::explain::explain(anyhow::Error::new(error)))
    };
    let mut unreadable = 0;
    for client in clients {
        if let Err(error) = vault.read_optional(&client.name) {
            unreadable += 1;
            // The same fault a thousand times is one fault.
            if unreadable <= 3 {
                findings.extend(super::of_client(told(error), &client.name));
            }
        }
    }
    if unreadable > 3 {
        findings.push(Finding::error(
            Area::Secrets,
            format!("the secrets of {unreadable} clients cannot be read"),
        ));
    }
    findings.extend(readers(&vault, told));
    if let Ok(own) = vault.read_optional(crate::vault::FLEET) {
        for (reference, user) in fleet.registry.secrets() {
            if let SecretRef::Vault(name) = reference
                && own.as_ref().is_none_or(|own| own.get(name).is_none())
            {
                findings.push(
                    Finding::warning(
                        Area::Secrets,
                        format!("{user} names the secret {name}, which is not set"),
                    )
                    .remedy(format!("fleet secrets set --fleet {name}")),
                );
            }
        }
    }
    if unreadable == 0 {
        match vault.duplicates() {
            Ok(found) => {
                for one in found.into_iter().filter(|one| one.generated) {
                    let places: Vec<String> =
                        one.places.iter().map(|(client, name)| format!("{name} of {client}")).collect();
                    findings.push(
                        Finding::error(
                            Area::Secrets,
                            format!("one generated value is {}", places.join(" and ")),
                        )
                        .why("a file was copied from one client to another")
                        .remedy("fleet secrets rotate on all but one of them, then `fleet update`"),
                    );
                }
            }
            Err(error) => findings.extend(told(error)),
        }
    }
    findings
}

fn readers(vault: &Vault, told: impl Fn(crate::vault::VaultError) -> Vec<Finding>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match vault.recipients() {
        Ok(all) if all.len() == 1 => findings.push(
            Finding::warning(Area::Secrets, "one key alone reads the secrets")
                .why("when it is lost, they are lost to you")
                .remedy("fleet secrets recipients add KEY for a second person or an offline key, then `fleet secrets rekey`"),
        ),
        Ok(_) => {}
        Err(error) => findings.extend(told(error)),
    }
    match vault.needs_rekey() {
        Ok(outdated) if !outdated.is_empty() => findings.push(
            Finding::warning(
                Area::Secrets,
                format!(
                    "the secrets of {} are not encrypted to exactly the present recipients",
                    names(&outdated)
                ),
            )
            .why("somebody who should read them cannot, or somebody who should not still can")
            .remedy("fleet secrets rekey"),
        ),
        Ok(_) => {}
        Err(error) => findings.extend(told(error)),
    }
    if let Ok(Some(_)) = vault.pending_rekey() {
        findings
            .push(Finding::warning(Area::Secrets, "a rekeying was cut short").remedy("fleet secrets rekey"));
    }
    findings
}

/// The first few names, and how many more.
fn names(all: &[String]) -> String {
    match all {
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [first, .., _] => format!("{first} and {} others", all.len() - 1),
        [] => String::new(),
    }
}

/// Programs that commands start, and their versions.
pub fn tools(fleet: &Fleet, clients: &[&Client]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = |program: &str, why: &str, package: &str| {
        findings.push(
            Finding::error(Area::Here, format!("{program} is not installed here"))
                .why(why)
                .remedy(format!("on Debian: apt-get install {package}")),
        );
    };
    let stacks: Vec<_> = clients.iter().filter_map(|client| fleet.stack(client).ok()).collect();
    let builds = |place: BuildPlace| {
        stacks.iter().any(|stack| stack.source.as_ref().is_some_and(|source| source.build == place))
    };
    if stacks.iter().any(|stack| stack.source.is_some()) && version("rsync", "--version").is_none() {
        missing("rsync", "it pushes the source to the hosts", "rsync");
    }
    if version("ssh", "-V").is_none() {
        missing("ssh", "`fleet ssh` starts it", "openssh-client");
    }
    if builds(BuildPlace::Operator) && version("docker", "--version").is_none() {
        missing("docker", "a stack's images are built on this machine", "docker.io");
    }
    findings
}

/// Whether a program starts and says its version.
fn version(program: &str, option: &str) -> Option<()> {
    let mut command = Command::new(program);
    command.arg(option).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().ok().filter(std::process::ExitStatus::success).map(drop)
}

fn git(dir: &Path, words: &[&str]) -> bool {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
