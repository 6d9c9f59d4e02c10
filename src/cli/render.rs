//! `fleet render`: one client's files, as its host would get them, without a host.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::App;
use super::assemble::{Assembler, Made, NewSecrets};
use super::context::Fleet;
use super::exit::refused;
use super::running::new_run;
use super::targets::Targets;
use crate::diagnostic::{nearest, shown};
use crate::event::ExitKind;
use crate::fs_atomic;
use crate::hint::HintExt as _;
use crate::registry::values::FilePath;
use crate::secret::{Redactor, Secret};
use crate::stack::{RenderInput, Rendered, RenderedFile, ResolvedEnv};
use crate::ui::Out;

/// Render one client's files on this machine
///
/// Shows what the client's host would get, without contacting it. Secrets are masked unless --reveal
/// is given; those that do not exist yet are made by `provision` and are never shown.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet render ville-lyon
  fleet render ville-lyon docker-compose.yml
  fleet render ville-lyon .env --reveal
  fleet render ville-lyon --out /tmp/ville-lyon
  fleet render ville-lyon --stack stacks/next      the same client with another stack")]
pub struct Args {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Only this file, without a header, such as docker-compose.yml
    #[arg(value_name = "FILE")]
    pub file: Option<String>,

    /// Show secrets as they are
    #[arg(long)]
    pub reveal: bool,

    /// Write the files into this folder, such as /tmp/ville-lyon
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Render with another stack, such as stacks/next
    #[arg(long, value_name = "STACK", value_parser = super::add::value(FilePath::parse))]
    pub stack: Option<FilePath>,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let mut client = Targets::one(&fleet, &args.client)?.clone();
    if let Some(stack) = &args.stack {
        client.stack = Some(stack.clone());
    }
    let made = Assembler::new(&fleet, new_run(), NewSecrets::Pretend)?.make(&client)?;
    let rendered = fit_to_show(&fleet, &client, &made, args.reveal)?;
    let files: Vec<&RenderedFile> = match &args.file {
        Some(name) => vec![file(&rendered, name)?],
        None => rendered.files.iter().collect(),
    };
    match &args.out {
        Some(dir) => write(app, dir, &files)?,
        None if app.global.json => records(app, &client.name, &files, args.reveal)?,
        None => print(app, &files, args.file.is_some())?,
    }
    if !made.pretended.is_empty() {
        app.tell(&format!(
            "not made yet, `fleet provision {}` does: {}\n",
            client.name,
            made.pretended.join(", ")
        ));
    }
    Ok(ExitKind::Ok)
}

/// The files with every secret's name in the place of its value, from the first byte on: they are
/// rendered so, and then searched for what may have slipped through.
fn fit_to_show(
    fleet: &Fleet,
    client: &crate::registry::Client,
    made: &Made,
    reveal: bool,
) -> anyhow::Result<Rendered> {
    let unborn: BTreeSet<&str> = made.pretended.iter().map(String::as_str).collect();
    let mut env = made.env.clone();
    let mut hidden: Vec<(String, Secret<String>)> = Vec::new();
    for (name, value) in &mut env.values {
        if value.secret && (!reveal || unborn.contains(name.as_str())) {
            hidden.push((name.clone(), value.value.clone()));
            value.value = mask(name, unborn.contains(name.as_str()));
        }
    }
    let mut rendered = render(fleet, client, made, &env)?;
    let redactor = Redactor::new(hidden.iter().map(|(name, value)| (name.as_str(), value)));
    for file in &mut rendered.files {
        if redactor.finds(&file.content) {
            let clean = redactor.redact_bytes(&file.content).into_owned();
            *file.content = clean;
        }
    }
    Ok(rendered)
}

fn mask(name: &str, unborn: bool) -> Secret<String> {
    Secret::new(if unborn { format!("[secret {name}, not made yet]") } else { format!("[secret {name}]") })
}

fn render(
    fleet: &Fleet,
    client: &crate::registry::Client,
    made: &Made,
    env: &ResolvedEnv,
) -> anyhow::Result<Rendered> {
    Ok(made.stack.render(&RenderInput {
        client,
        fleet: fleet.registry.fleet.name.as_str(),
        env,
        release: &made.release,
        images: &made.images,
        source_digest: None,
    })?)
}

fn file<'r>(rendered: &'r Rendered, name: &str) -> anyhow::Result<&'r RenderedFile> {
    let name = name.trim_start_matches("./");
    rendered.file(name).ok_or_else(|| {
        let known = || rendered.files.iter().map(|file| file.destination.as_str());
        refused(format!("the stack renders no file {}", shown(name))).hint(match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its files are {}", known().collect::<Vec<_>>().join(", ")),
        })
    })
}

fn print(app: &App, files: &[&RenderedFile], alone: bool) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = Out::stdout();
    for (at, file) in files.iter().enumerate() {
        if !alone {
            let gap = if at > 0 { "\n" } else { "" };
            app.out(&format!("{gap}==> {} ({:04o}) <==", file.destination, file.mode))?;
        }
        out.write_all(&file.content)?;
        if !alone && !file.content.ends_with(b"\n") {
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn records(app: &App, client: &str, files: &[&RenderedFile], reveal: bool) -> anyhow::Result<()> {
    for file in files {
        // Of a masked file the digest would be one of something that is nowhere.
        let digest = (!file.secret || reveal).then_some(&file.digest);
        app.out(
            &json!({ "schema": "fleet.file/1", "client": client, "destination": file.destination,
                "mode": format!("{:04o}", file.mode), "secret": file.secret, "digest": digest,
                "content": String::from_utf8_lossy(&file.content) })
            .to_string(),
        )?;
    }
    Ok(())
}

fn write(app: &App, dir: &Path, files: &[&RenderedFile]) -> anyhow::Result<()> {
    for file in files {
        let below = Path::new(&file.destination);
        if !below.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(refused(format!("{} leads out of the folder", file.destination)));
        }
        let path = dir.join(below);
        if let Some(folder) = path.parent() {
            fs_atomic::create_folder(folder, 0o755)?;
        }
        let mode = if file.secret { 0o600 } else { file.mode & 0o777 };
        fs_atomic::replace(&path, &file.content, mode)?;
        if app.global.json {
            app.out(
                &json!({ "schema": "fleet.file/1", "destination": file.destination, "path": path,
                    "mode": format!("{mode:04o}"), "secret": file.secret })
                .to_string(),
            )?;
        } else {
            app.out(&path.display().to_string())?;
        }
    }
    Ok(())
}
