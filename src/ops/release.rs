//! Releases on a host: complete, current, pruned.

use std::time::Duration;

use super::Layout;
use super::files::NewFile;
use crate::facts::State;
use crate::shell::{Cmd, Stdin, quote};

/// Prepares the folder of a new release. What an interrupted push of the same release left there
/// is used, not thrown away.
#[must_use]
pub fn open(layout: &Layout, id: &str) -> Cmd {
    Cmd::script(
        format!("set -eu\nmkdir -p {}\nchmod 0750 {}", quote(&layout.source(id)), quote(&layout.release(id))),
        Vec::<String>::new(),
    )
    .sudo()
    .timeout(Duration::from_secs(30))
}

/// The mark that a release folder is whole.
#[must_use]
pub fn complete_mark(layout: &Layout, id: &str) -> NewFile {
    NewFile {
        path: format!("{}/.complete", layout.release(id)),
        mode: "0600".into(),
        content: b"complete\n".to_vec(),
        secret: false,
    }
}

/// The commit point: `current` and the state file change together, each atomically, `current`
/// first, so that a cut between them leaves a serving release whose state the next run rewrites.
#[must_use]
pub fn commit(layout: &Layout, state: &State) -> Cmd {
    let text = serde_json::to_string_pretty(state).unwrap_or_default();
    let script = format!(
        "set -eu
umask 077
cd {base}
cat >state.json.new
cp state.json.new {target}/.state.json.new
mv -f {target}/.state.json.new {target}/.state.json
rm -f {target}/.failed
ln -sfn {target} current.new
mv -fT current.new current
sync state.json.new
mv -f state.json.new state.json",
        base = quote(&layout.base()),
        target = quote(&format!("releases/{}", state.release)),
    );
    Cmd::new(["sh", "-c", script.as_str()])
        .stdin(Stdin::Public(format!("{text}\n").into_bytes()))
        .sudo()
        .timeout(Duration::from_secs(30))
}

/// Marks a release that did not become healthy: nobody goes back to it.
#[must_use]
pub fn mark_failed(layout: &Layout, id: &str) -> Cmd {
    Cmd::new(["touch", &format!("{}/.failed", layout.release(id))]).sudo().timeout(Duration::from_secs(30))
}

/// Removes releases beyond the newest `keep`, never the current or the previous one, then images
/// of this stack that no kept release names, and rendered files that none mounts.
#[must_use]
pub fn prune(layout: &Layout, keep: usize, current: &str, previous: Option<&str>) -> Cmd {
    let script = format!(
        r#"set -eu
cd {base}
ls -1t releases | grep -vxF -e {current} -e {previous} | tail -n +{beyond} | while IFS= read -r old; do
    rm -rf -- "releases/$old"
done
cat releases/*/{images} 2>/dev/null | sort -u >.images-kept
docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep {ours} | while IFS= read -r tag; do
    grep -qxF -- "$tag" .images-kept || docker image rm "$tag" >/dev/null 2>&1 || true
done
rm -f .images-kept
for dir in files/*/; do
    [ -d "$dir" ] || continue
    name=$(basename "$dir")
    grep -rqF --exclude-dir=source -- "files/$name/" releases || rm -rf -- "$dir"
done"#,
        base = quote(&layout.base()),
        current = quote(current),
        previous = quote(previous.unwrap_or(current)),
        beyond = keep.saturating_sub(1).max(1),
        images = IMAGES_FILE,
        ours = quote(&format!("^{}/", layout.stack)),
    );
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(120))
}

/// Digests of what was written of a release, as `sha256sum -c` reads them: what differs later was
/// edited on the host.
pub const DIGESTS_FILE: &str = ".sha256";

/// Names, one a line, of the images that a release was built into.
pub const IMAGES_FILE: &str = ".images";

#[cfg(test)]
mod tests;
