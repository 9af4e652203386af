//! Arguments of `completions` and `man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward completions bash > ~/.local/share/bash-completion/completions/pushforward\n  pushforward completions zsh > \"${fpath[1]}/_pushforward\"\n  pushforward completions fish > ~/.config/fish/completions/pushforward.fish\n  pushforward completions powershell >> $PROFILE"
)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  pushforward man --out ~/.local/share/man/man1\n  man pushforward-sample")]
pub(crate) struct ManArgs {
    /// Folder for the pages, one a command, pushforward.1 first; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
