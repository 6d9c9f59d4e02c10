//! Stage "purge": everything of the stack leaves a host, after a last backup.
//!
//! What names the client goes last, so that a run which was cut is known for what it is and goes on.

use super::{Change, Desired, Refusal, Step};
use crate::facts::Facts;
use crate::ops::Layout;
use crate::ops::files::{NewFile, put};
use crate::ops::purge;

/// How a stack is taken off.
#[derive(Clone, Debug, Default)]
pub struct Purge {
    /// The client is saved first.
    pub backup: bool,
}

/// Says that the last backup was made and the rest may go.
pub(super) fn mark_path(layout: &Layout) -> String {
    layout.at("purging")
}

pub(super) fn plan(desired: &Desired, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    let Some(wanted) = &desired.purge else { return Ok(Vec::new()) };
    if let Some(state) = facts.state.as_ref().filter(|state| state.client != desired.client) {
        return Err(Refusal {
            message: format!("this host serves {:?}, another client", state.client),
            hint: "look at its address in clients.toml; nothing of another client is taken off".into(),
        });
    }
    let layout = &desired.layout;
    let there = facts.dirs.contains_key(&layout.base())
        || !facts.containers.is_empty()
        || !facts.volumes.is_empty()
        || facts.units.get(&desired.schedule.unit_name()).is_some_and(|unit| unit.enabled == "enabled");
    if !there {
        return Ok(Vec::new());
    }
    let begun = facts.files.contains_key(&mark_path(layout));
    let mut steps = Vec::new();
    if wanted.backup && !begun {
        if facts.state.is_none() {
            return Err(Refusal {
                message: "no release serves on this host, so it cannot be saved first".into(),
                hint: "--no-final-backup takes off what is there without a last backup".into(),
            });
        }
        let hint = "nothing was taken off; --no-final-backup does so without it";
        steps.push(Step::save("take a final backup", &desired.hooks, hint));
    }
    if !begun {
        let mark = NewFile {
            path: mark_path(layout),
            mode: "0600".into(),
            content: format!("{}\n", desired.client).into_bytes(),
            secret: false,
        };
        steps.push(Step::run("note that the client leaves", Change::Modify, put(&[mark])));
    }
    let mut files: Vec<String> = desired.schedule.files().into_iter().map(|file| file.path).collect();
    files.extend(desired.tls.iter().flat_map(|tls| tls.files()).map(|file| file.path));
    files.retain(|path| !path.starts_with(&format!("{}/", layout.base())));
    let unit = desired.schedule.unit_name();
    steps.push(
        Step::run("stop what it does by itself", Change::Destroy, purge::schedules(&unit, &files))
            .detail(format!("{unit}, {}", files.join(", "))),
    );
    let volumes = facts.volumes.iter().cloned().collect::<Vec<_>>().join(", ");
    steps.push(
        Step::run("remove containers, volumes and images", Change::Destroy, purge::containers(layout))
            .detail(format!("{} containers; volumes: {volumes}", facts.containers.len())),
    );
    if desired.tls.is_some() {
        let cmd = purge::certificate(&desired.domain);
        steps.push(Step::run("remove the certificate", Change::Destroy, cmd).detail(desired.domain.clone()));
    }
    steps.push(
        Step::run("remove its folder", Change::Destroy, purge::folder(layout))
            .detail(format!("{}, with the nightly dumps", layout.base()))
            .detail("Docker, the firewall, the login and folders elsewhere stay"),
    );
    Ok(steps)
}
