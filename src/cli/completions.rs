//! `fleet completions` and `fleet man`: made from the same description as the help.

use std::path::PathBuf;

use anyhow::Context as _;
use clap_complete::Shell;

use super::App;
use crate::event::ExitKind;

/// Print the completion script of a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet completions bash > ~/.local/share/bash-completion/completions/fleet
  fleet completions zsh > \"${fpath[1]}/_fleet\"
  fleet completions fish > ~/.config/fish/completions/fleet.fish")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Print the manual page, or write one for each command
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet man | man -l -
  fleet man --out ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write fleet.1, fleet-provision.1 and so on into this folder, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), "fleet", &mut script);
    app.out(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitKind::Ok)
}

/// The program without the commands that its help does not name either: the generators would offer them.
fn visible() -> clap::Command {
    let whole = super::command();
    let shown: Vec<_> = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    clap::Command::new("fleet")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(whole.get_arguments().cloned())
        .subcommands(shown)
}

pub fn man(app: &App, args: &ManArgs) -> anyhow::Result<ExitKind> {
    match &args.out {
        Some(dir) => {
            crate::fs_atomic::create_folder(dir, 0o755)?;
            clap_mangen::generate_to(super::command(), dir)
                .with_context(|| format!("the pages cannot be written to {}", dir.display()))?;
            app.tell(&format!("wrote the manual pages to {}\n", dir.display()));
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(super::command()).render(&mut page)?;
            app.out(String::from_utf8_lossy(&page).trim_end())?;
        }
    }
    Ok(ExitKind::Ok)
}
