//! `backups show`.

use super::super::App;
use super::super::context::Fleet;
use super::super::repositories::explained;
use crate::backup::{manifest, shown};
use crate::event::ExitKind;
use crate::ui::{self, Role};

/// Show what a snapshot holds: database, row counts, files, release
///
/// With --files also every file in it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet backups show ville-lyon
  fleet backups show ville-lyon 2026-11-20 --files
  fleet backups show ville-lyon 3f9a1c22 --json")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Which one
    #[arg(value_name = "SNAPSHOT", default_value = "latest")]
    pub snapshot: String,

    /// List every file
    #[arg(long)]
    pub files: bool,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let (browser, snapshot) = super::one(&fleet, &args.client, &args.snapshot)?;
    let failed = |error| explained(error, &args.client);
    let found = browser.manifest(&snapshot).map_err(failed)?;
    let files = match args.files {
        true => {
            let root = browser.node(&snapshot, "").map_err(failed)?;
            browser.list(&root).map_err(failed)?
        }
        false => Vec::new(),
    };
    let size = |path: &std::path::Path, node: &rustic_core::repofile::Node| {
        // A stream has no size of its own in the tree.
        found.part(&path.to_string_lossy()).map_or(node.meta.size, |part| part.bytes)
    };
    if app.global.json {
        let mut record = super::list::record(&args.client, &snapshot);
        record["schema"] = "fleet.snapshot-content/1".into();
        record["manifest"] = serde_json::to_value(&found)?;
        if args.files {
            let list = files.iter().map(|(path, node)| {
                serde_json::json!({ "path": path.to_string_lossy(), "type": kind(node), "bytes": size(path, node) })
            });
            record["content"] = list.collect();
        }
        app.out(&record.to_string())?;
        return Ok(ExitKind::Ok);
    }
    let mut lines = vec![
        ("snapshot", format!("{} of {}", snapshot.short(), super::minute(snapshot.at))),
        ("made by", format!("{}, run {}", found.by, found.run)),
    ];
    if let Some(release) = &found.release {
        lines.push(("release", format!("{} ({}) of stack {}", release.id, release.version, found.stack)));
    }
    if let Some(database) = &found.database {
        let dump = found.part(&database.path).map_or(0, |part| part.bytes);
        lines.push((
            "database",
            format!(
                "{}, PostgreSQL {}: {} dumped, {} tables",
                database.name,
                database.server,
                ui::bytes(dump),
                database.tables
            ),
        ));
        lines.push(("migration", found.migration.clone().unwrap_or_else(|| "none".into())));
        for rows in &database.rows {
            lines.push(("rows", format!("{} in {} ({})", rows.rows, rows.table, ui::bytes(rows.bytes))));
        }
    }
    lines.push(("files", format!("{}, {}", found.files.files, ui::bytes(found.files.bytes))));
    for folder in &found.files.folders {
        lines.push(("folder", format!("{} from {}", folder.path, folder.from)));
    }
    for (name, text) in lines {
        app.out(&format!(
            "{} {}",
            app.stdout.paint(Role::Faint, &format!("{name:<10}")),
            crate::secret::clean(&text)
        ))?;
    }
    for (path, node) in &files {
        app.out(&format!("{:<8} {:>9} {}", kind(node), ui::bytes(size(path, node)), shown(path)))?;
    }
    debug_assert_eq!(found.schema, manifest::SCHEMA);
    Ok(ExitKind::Ok)
}

fn kind(node: &rustic_core::repofile::Node) -> &'static str {
    if node.is_dir() {
        "folder"
    } else if node.is_symlink() {
        "link"
    } else {
        "file"
    }
}
