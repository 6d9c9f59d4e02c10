//! `backups export`: everything of a client, in forms that need nothing of ours.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::App;
use super::super::context::Fleet;
use super::super::exit::refused;
use super::super::repositories::explained;
use crate::backup::Appending;
use crate::event::ExitKind;
use crate::hint::HintExt as _;

/// Write a whole snapshot as plain files: pg_dump's own dump, roles as SQL, one tar of the files
///
/// For a client who leaves, or to look into a backup by other means. What is written is not encrypted.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups export ville-lyon --out /media/usb/ville-lyon
  fleet backups export ville-lyon 2026-11-20 --out ville-lyon-20 --without-secrets")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Which one
    #[arg(value_name = "SNAPSHOT", default_value = "latest")]
    pub snapshot: String,

    /// Folder to write to, new or empty, such as /media/usb/ville-lyon
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Leave out what is the operator's: registry, encrypted secrets, the release with its .env, roles
    #[arg(long)]
    pub without_secrets: bool,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    if std::fs::read_dir(&args.out).is_ok_and(|mut list| list.next().is_some()) {
        return Err(refused(format!("{} is not empty", args.out.display())).hint("name a new folder"));
    }
    let (browser, snapshot) = super::one(&fleet, &args.client, &args.snapshot)?;
    let failed = |error| explained(error, &args.client);
    let manifest = browser.manifest(&snapshot).map_err(failed)?;
    crate::fs_atomic::create_folder(&args.out, 0o700)?;
    let secret = |path: &str| {
        path.starts_with("client/")
            || manifest.database.as_ref().is_some_and(|database| database.roles.as_deref() == Some(path))
    };
    for part in &manifest.parts {
        if args.without_secrets && secret(&part.path) {
            continue;
        }
        let node = browser.node(&snapshot, &part.path).map_err(failed)?;
        let name = part.path.rsplit('/').next().unwrap_or(&part.path).trim_start_matches('~');
        let path = args.out.join(name);
        let mut file = create(&path)?;
        browser.dump(&node, &mut file).map_err(failed)?;
        end(file, &path)?;
        app.tell(&format!("{}\n", path.display()));
    }
    let files = browser.node(&snapshot, "files").map_err(failed)?;
    let path = args.out.join("files.tar");
    let mut builder = tar::Builder::new(create(&path)?);
    for (below, node) in browser.list(&files).map_err(failed)? {
        if args.without_secrets && below.starts_with("release") {
            continue;
        }
        browser.append(&mut builder, &below, &node).map_err(|error| match error {
            Appending::Backup(error) => failed(error),
            Appending::Io(error) => {
                anyhow::Error::new(error).context(format!("{} cannot be written", path.display()))
            }
        })?;
    }
    end(builder.into_inner().with_context(|| format!("{} cannot be written", path.display()))?, &path)?;
    app.tell(&format!("{}\n", path.display()));
    Ok(ExitKind::Ok)
}

fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    Ok(BufWriter::with_capacity(1 << 20, file.with_context(|| format!("{} cannot be made", path.display()))?))
}

fn end(mut file: BufWriter<File>, path: &Path) -> anyhow::Result<()> {
    file.flush()
        .and_then(|()| file.get_ref().sync_all())
        .with_context(|| format!("{} cannot be written", path.display()))
}
