//! `discodiff completions`: what makes a shell complete commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::exit::Exit;
use super::{Cli, output};

const EXAMPLES: &str = "\
Examples:
  source <(discodiff completions bash)
      for this shell alone
  mkdir -p ~/.local/share/bash-completion/completions
  discodiff completions bash > ~/.local/share/bash-completion/completions/discodiff
      for each bash that comes, where the package bash-completion is installed
  mkdir -p ~/.zfunc
  discodiff completions zsh > ~/.zfunc/_discodiff
      for zsh, with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  mkdir -p ~/.config/fish/completions
  discodiff completions fish > ~/.config/fish/completions/discodiff.fish";

/// What `discodiff completions` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell: bash, elvish, fish, powershell or zsh
    #[arg(value_enum, hide_possible_values = true)]
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "discodiff", &mut script);
    output::bytes(&script)?;
    Ok(Exit::Complete)
}
